//! Reading only some members of a document: what an index needs of an object is a twentieth of it.

use super::{Parser, SyntaxError, scan};
use crate::names::Key;
use crate::value::{Map, Value};

/// Reads of an object only what lies at these dotted paths or under them, and goes no further than it must: for documents
/// that we wrote ourselves. For more than 64 paths the whole is read.
pub fn parse_parts(bytes: &[u8], paths: &[&str]) -> Result<Value, SyntaxError> {
    let mut p = Parser::new(bytes, None);
    p.space();
    if p.bytes.get(p.at) != Some(&b'{') {
        return Err(p.unexpected("looking for an object"));
    }
    match paths.len() {
        0 => Ok(Value::object()),
        n @ 1..=64 => p.parts(paths, 0, u64::MAX >> (64 - n)).map(|(value, _)| value),
        _ => super::parse(bytes),
    }
}

impl Parser<'_> {
    /// An object, of which the paths in `live` (bits) have been followed `depth` steps to here; and how many brackets, its own
    /// and of what is in it, the reader has left open.
    fn parts(&mut self, paths: &[&str], depth: usize, mut live: u64) -> Result<(Value, usize), SyntaxError> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        self.at += 1;
        self.space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok((Value::Map(Map::new()), 0));
        }
        loop {
            let key = self.key_text()?;
            let (mut below, mut whole) = (0_u64, false);
            for (i, path) in paths.iter().enumerate().filter(|(i, _)| live & (1 << i) != 0) {
                let mut steps = path.split('.').skip(depth);
                if steps.next() == Some(&*key) {
                    below |= 1 << i;
                    whole |= steps.next().is_none();
                }
            }
            live &= !below; // no key comes twice
            let mut open = 0;
            if whole {
                entries.push((Key::from(&*key), self.value()?));
            } else if below != 0 && self.bytes.get(self.at) == Some(&b'{') {
                let (value, left) = self.parts(paths, depth + 1, below)?;
                entries.push((Key::from(&*key), value));
                open = left;
            } else {
                self.skip(0)?;
            }
            if live == 0 {
                return Ok((Value::Map(Map::from_unique(entries)), open + 1));
            }
            if open > 0 {
                self.skip(open)?;
            }
            if !self.another_member()? {
                return Ok((Value::Map(Map::from_unique(entries)), 0));
            }
        }
    }

    /// Goes past a value: to where its brackets close, or to what ends a plain one. `open` of the brackets are behind.
    fn skip(&mut self, mut open: usize) -> Result<(), SyntaxError> {
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => {
                    open += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                Some(b',' | b'}' | b']') if open == 0 => return Ok(()),
                Some(_) => {
                    self.at += 1;
                    continue;
                }
                None => return Err(self.unexpected("")),
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        loop {
            self.at = scan::ends_string(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_string;

    #[test]
    fn only_what_is_asked_for_is_read() {
        let text = br#"{"a":{"b":1,"c":{"d":"}\"]","e":[1,{"x":"\\"}]},"f":{"g":[1],"h":2}},"i":[{"j":"],"}],"k":-1.5e3, "l" : null}"#;
        let got = |paths: &[&str]| to_string(&parse_parts(text, paths).expect("ours"));
        assert_eq!(got(&["a.b", "k"]), r#"{"a":{"b":1},"k":-1500}"#);
        assert_eq!(
            got(&["a.f.g", "a.c", "l"]),
            r#"{"a":{"c":{"d":"}\"]","e":[1,{"x":"\\"}]},"f":{"g":[1]}},"l":null}"#
        );
        assert_eq!(got(&["i", "a.b.z", "nowhere"]), r#"{"a":{},"i":[{"j":"],"}]}"#);
        assert_eq!(got(&["a", "a.b"]).len(), got(&["a"]).len());
        let many: Vec<String> = (0..70).map(|i| format!("n{i}")).collect();
        assert_eq!(got(&many.iter().map(String::as_str).collect::<Vec<_>>()).len(), got(&["a", "i", "k", "l"]).len());
        assert_eq!(got(&[]), "{}");
        assert!(parse_parts(b"[]", &["a"]).is_err());
        assert!(parse_parts(br#"{"a":"x"#, &["b"]).is_err());
        assert_eq!(got(&["a.c.d", "k"]), r#"{"a":{"c":{"d":"}\"]"}},"k":-1500}"#, "on from the middle of an object");
        let cut = parse_parts(br#"{"a":{"b":1,"c":"#, &["a.b"]).expect("nothing behind it is looked at");
        assert_eq!(to_string(&cut), r#"{"a":{"b":1}}"#);
    }
}
