//! Where an object's revision goes. Values in etcd carry none: it is the key's modification revision, spliced in when read.
//!
//! Corten writes `"resourceVersion":""` and remembers the offset. Upstream leaves the field out of JSON: then it is put in
//! as the first member of `metadata`. Values that are no JSON objects (protobuf, CBOR) are passed as they are.

use bytes::Bytes;

const FIELD: &str = "\"resourceVersion\":\"\"";

/// The value with an empty resourceVersion, and the offset between its quotes.
pub fn prepare(value: &Bytes) -> (Bytes, Option<u32>) {
    let Some(metadata) = member(value, 0, b"metadata") else { return (value.clone(), None) };
    let Some(at) = member(value, metadata, b"resourceVersion") else { return insert(value, metadata) };
    match value.get(at..at + 2) {
        Some(b"\"\"") => (value.clone(), u32::try_from(at + 1).ok()),
        _ => (value.clone(), None), // it has one already: not written by an API server
    }
}

fn insert(value: &Bytes, metadata: usize) -> (Bytes, Option<u32>) {
    if value.get(metadata) != Some(&b'{') {
        return (value.clone(), None);
    }
    let rest = &value[metadata + 1..];
    let empty = rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
    let mut out = Vec::with_capacity(value.len() + FIELD.len() + 1);
    out.extend_from_slice(&value[..=metadata]);
    out.extend_from_slice(FIELD.as_bytes());
    if !empty {
        out.push(b',');
    }
    out.extend_from_slice(rest);
    (out.into(), u32::try_from(metadata + FIELD.len()).ok())
}

/// Offset of the value of member `name` of the object that begins at or after `start`; other members are skipped.
fn member(text: &[u8], start: usize, name: &[u8]) -> Option<usize> {
    let mut at = blank(text, start);
    if text.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(text, at + 1);
    while text.get(at) == Some(&b'"') {
        let end = string_end(text, at)?;
        let found = &text[at + 1..end - 1] == name;
        at = blank(text, end);
        if text.get(at) != Some(&b':') {
            return None;
        }
        at = blank(text, at + 1);
        if found {
            return Some(at);
        }
        at = blank(text, skip(text, at)?);
        match text.get(at) {
            Some(b',') => at = blank(text, at + 1),
            _ => return None,
        }
    }
    None
}

fn blank(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The offset after the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match text.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// The offset after the value that begins at `at`.
fn skip(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut i = at;
    loop {
        match text.get(i)? {
            b'"' => i = string_end(text, i)?,
            b'{' | b'[' => {
                depth += 1;
                i += 1;
            }
            b'}' | b']' if depth == 0 => return Some(i),
            b'}' | b']' => {
                depth -= 1;
                i += 1;
            }
            b',' if depth == 0 => return Some(i),
            _ => i += 1,
        }
        if depth == 0 && matches!(text.get(i - 1), Some(b'"' | b'}' | b']')) {
            return Some(i);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of finding the place.
    use super::*;

    #[test]
    fn places() {
        for (value, expected, at) in [
            (r#"{"metadata":{"resourceVersion":""},"a":1}"#, r#"{"metadata":{"resourceVersion":""},"a":1}"#, Some(32)),
            (
                r#"{"kind":"A","metadata":{"name":"x"}}"#,
                r#"{"kind":"A","metadata":{"resourceVersion":"","name":"x"}}"#,
                Some(43),
            ),
            (r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":""}}"#, Some(32)),
            (
                r#"{"a":{"metadata":{"resourceVersion":""}},"b":["x\"]",{}],"metadata":{"labels":{"resourceVersion":""},"resourceVersion":""}}"#,
                r#"{"a":{"metadata":{"resourceVersion":""}},"b":["x\"]",{}],"metadata":{"labels":{"resourceVersion":""},"resourceVersion":""}}"#,
                Some(120),
            ),
            (r#"{"metadata":{"resourceVersion":"7"}}"#, r#"{"metadata":{"resourceVersion":"7"}}"#, None),
            ("k8s\0\n", "k8s\0\n", None),
            ("{", "{", None),
            (r#"{"metadata":"#, r#"{"metadata":"#, None),
            ("[1]", "[1]", None),
        ] {
            let (got, place) = prepare(&Bytes::copy_from_slice(value.as_bytes()));
            assert_eq!((std::str::from_utf8(&got).unwrap(), place), (expected, at), "{value}");
            if let Some(place) = place {
                assert_eq!(&got[place as usize - 1..=place as usize], b"\"\"");
            }
        }
    }
}
