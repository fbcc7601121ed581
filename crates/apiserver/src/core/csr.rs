//! The subject of a certificate request: a reader of just so much DER.
//!
//! Source: RFC 2986 (CertificationRequestInfo: version, subject, …), X.501 (Name).

use api::Value;

/// Who a certificate is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// CN.
    pub common_name: String,
    /// O, in order.
    pub organizations: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The subject of the request in `spec.request`.
pub fn subject(request: &Value) -> Option<Subject> {
    let (_, der) = kinds::rules::access::pem(request)?;
    let (request, _) = element(&der, SEQUENCE)?;
    let (info, _) = element(request, SEQUENCE)?;
    let (_, rest) = element(info, INTEGER)?;
    let (mut name, _) = element(rest, SEQUENCE)?;
    let mut out = Subject::default();
    while !name.is_empty() {
        let (mut set, rest) = element(name, SET)?;
        name = rest;
        while !set.is_empty() {
            let (pair, rest) = element(set, SEQUENCE)?;
            set = rest;
            let (oid, value) = element(pair, OID)?;
            let (text, _) = element(value, *value.first()?)?;
            let text = String::from_utf8_lossy(text).into_owned();
            match oid {
                COMMON_NAME => out.common_name = text,
                ORGANIZATION => out.organizations.push(text),
                _ => {}
            }
        }
    }
    Some(out)
}

/// The content of an element of a type at the start, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        n @ 0..=0x7f => (usize::from(n), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
        _ => return None,
    };
    (first == tag && rest.len() >= length).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::element;

    #[test]
    fn elements_are_cut() {
        assert_eq!(element(&[0x02, 1, 7, 9], 0x02), Some((&[7_u8][..], &[9_u8][..])));
        assert_eq!(element(&[0x02, 2, 7], 0x02), None);
        assert_eq!(element(&[0x30, 0], 0x02), None);
    }
}
