//! JSON: bytes to [`Value`] and back, with Go's syntax errors, Go's escapes, and every duplicate key noted.

use crate::names::{Key, f};
use crate::value::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

mod parts;
mod scan;
pub use parts::parse_parts;

/// Nesting beyond which a document is refused (it would exhaust the stack of whoever walks it).
const DEPTH_MAX: usize = 1_000;

/// Why bytes are not JSON; the text is that of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes from the start.
    pub offset: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// Reads one document; the last of several equal keys wins.
pub fn parse(bytes: &[u8]) -> Result<Value, SyntaxError> {
    Parser::new(bytes, None).document()
}

/// Reads an API object as [`parse`] does, but what its `fieldsV1` say is only checked, and stays text ([`Value::Raw`]); and
/// notes, given `duplicates`, the path of every key that occurs twice in its object.
pub fn parse_object(bytes: &[u8], duplicates: Option<&mut Vec<String>>) -> Result<Value, SyntaxError> {
    Parser { raw: true, ..Parser::new(bytes, duplicates) }.document()
}

/// Reads a document that is an object nobody looks into.
pub fn parse_raw(bytes: &[u8]) -> Result<Value, SyntaxError> {
    let mut p = Parser::new(bytes, None);
    let value = if bytes.starts_with(b"{") { p.raw()? } else { p.value()? };
    if p.at < bytes.len() {
        return Err(p.unexpected("after top-level value"));
    }
    Ok(value)
}

enum Step {
    Key(Key),
    Index(usize),
}

pub(crate) struct Parser<'a> {
    bytes: &'a [u8],
    /// The bytes as text, when all of them are UTF-8: strings without escapes are slices of it.
    text: Option<&'a str>,
    at: usize,
    /// Where the reader stands, kept only while somebody wants to know of duplicates.
    path: Vec<Step>,
    duplicates: Option<&'a mut Vec<String>>,
    depth: usize,
    scratch: Vec<u8>,
    /// Whether `fieldsV1` stay text.
    raw: bool,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(bytes: &'a [u8], duplicates: Option<&'a mut Vec<String>>) -> Parser<'a> {
        let text = std::str::from_utf8(bytes).ok();
        Parser { bytes, text, at: 0, path: Vec::new(), duplicates, depth: 0, scratch: Vec::new(), raw: false }
    }

    fn document(mut self) -> Result<Value, SyntaxError> {
        self.space();
        let value = self.value()?;
        self.space();
        if self.at < self.bytes.len() {
            return Err(self.unexpected("after top-level value"));
        }
        Ok(value)
    }

    /// Goes a step into the document, if anybody wants to know where.
    fn step(&mut self, step: impl FnOnce() -> Step) {
        if self.duplicates.is_some() {
            self.path.push(step());
        }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, context: &str) -> SyntaxError {
        let message = match self.bytes.get(self.at) {
            None => "unexpected end of JSON input".to_string(),
            Some(b) => {
                let shown = match b {
                    b'\'' => r"'\''".to_string(),
                    b'"' => "'\"'".to_string(),
                    b if b.is_ascii_graphic() || *b == b' ' => format!("'{}'", *b as char),
                    b'\n' => r"'\n'".to_string(),
                    b'\r' => r"'\r'".to_string(),
                    b'\t' => r"'\t'".to_string(),
                    0 => r"'\x00'".to_string(),
                    b if *b < 0x80 => format!("'\\x{b:02x}'"),
                    b => format!("'{}'", char::from(*b)),
                };
                format!("invalid character {shown} {context}")
            }
        };
        SyntaxError { message, offset: self.at }
    }

    fn value(&mut self) -> Result<Value, SyntaxError> {
        match self.bytes.get(self.at) {
            Some(b'{') => self.nested(Parser::object),
            Some(b'[') => self.nested(Parser::list),
            Some(b'"') => Ok(Value::Str(Box::from(&*self.string()?))),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, SyntaxError>) -> Result<Value, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SyntaxError { message: "exceeded max depth".into(), offset: self.at });
        }
        self.at += 1;
        self.space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, SyntaxError> {
        for (i, want) in word.bytes().enumerate() {
            if self.bytes.get(self.at) != Some(&want) {
                let context = format!("in literal {word} (expecting '{}')", want as char);
                return Err(if i == 0 {
                    self.unexpected("looking for beginning of value")
                } else {
                    self.unexpected(&context)
                });
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        let mut whole = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            whole = false;
            self.at += 1;
            self.need_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.need_digits("in exponent of numeric literal")?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        if whole && let Ok(n) = text.parse::<i64>() {
            return Ok(Value::Int(n));
        }
        let n: f64 = text.parse().unwrap_or(f64::INFINITY);
        if n.is_infinite() {
            return Err(SyntaxError {
                message: format!("json: cannot unmarshal number {text} into Go value of type float64"),
                offset: start,
            });
        }
        Ok(Value::Float(n))
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn need_digits(&mut self, context: &str) -> Result<(), SyntaxError> {
        if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    fn list(&mut self) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            self.step(|| Step::Index(items.len()));
            items.push(self.value()?);
            self.path.pop();
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
            self.space();
        }
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut seen: Option<HashSet<Key>> = None;
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Map(Map::new()));
        }
        loop {
            let key = self.key()?;
            let old = Parser::position(&entries, &mut seen, &key);
            self.step(|| Step::Key(key.clone()));
            let raw = self.raw && key == Key::Known(f::fieldsV1) && self.bytes.get(self.at) == Some(&b'{');
            let value = if raw { self.raw()? } else { self.value()? };
            if old.is_some() {
                self.note_duplicate();
            }
            self.path.pop();
            match old {
                Some(at) => entries[at].1 = value,
                None => entries.push((key, value)),
            }
            if !self.another_member()? {
                return Ok(Value::Map(Map::from_unique(entries)));
            }
        }
    }

    /// An object as its text; without spaces, whoever wrote it.
    fn raw(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        let compact = self.pass()?;
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]);
        if compact {
            return Ok(Value::Raw(text.into()));
        }
        parse(text.as_bytes()).map(|v| Value::Raw(to_string(&v).into()))
    }

    /// Checks a value without keeping it: whether its text is free of spaces between tokens.
    fn pass(&mut self) -> Result<bool, SyntaxError> {
        let close = match self.bytes.get(self.at) {
            Some(b'{') => b'}',
            Some(b'[') => b']',
            _ => return self.value().map(|_| true),
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SyntaxError { message: "exceeded max depth".into(), offset: self.at });
        }
        self.at += 1;
        let mut compact = self.tight();
        if self.bytes.get(self.at) == Some(&close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(compact);
        }
        loop {
            if close == b'}' {
                if self.bytes.get(self.at) != Some(&b'"') {
                    return Err(self.unexpected("looking for beginning of object key string"));
                }
                self.string()?;
                compact &= self.tight();
                if self.bytes.get(self.at) != Some(&b':') {
                    return Err(self.unexpected("after object key"));
                }
                self.at += 1;
                compact &= self.tight();
            }
            compact &= self.pass()?;
            compact &= self.tight();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b) if *b == close => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(compact);
                }
                _ if close == b'}' => return Err(self.unexpected("after object key:value pair")),
                _ => return Err(self.unexpected("after array element")),
            }
            compact &= self.tight();
        }
    }

    /// Goes past spaces: whether there were none.
    fn tight(&mut self) -> bool {
        let before = self.at;
        self.space();
        self.at == before
    }

    /// Reads an object whose members the caller takes: at each key, which has been read, `member` reads the value.
    pub(crate) fn members(
        &mut self,
        member: &mut dyn FnMut(&mut Self, Cow<'a, str>) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        if self.bytes.get(self.at) != Some(&b'{') {
            return Err(self.unexpected("looking for an object"));
        }
        self.at += 1;
        self.space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key_text()?;
            member(self, key)?;
            if !self.another_member()? {
                return Ok(());
            }
        }
    }

    /// Past what follows a member: whether another one does, or the object ends.
    fn another_member(&mut self) -> Result<bool, SyntaxError> {
        self.space();
        let more = match self.bytes.get(self.at) {
            Some(b',') => true,
            Some(b'}') => false,
            _ => return Err(self.unexpected("after object key:value pair")),
        };
        self.at += 1;
        if more {
            self.space();
        }
        Ok(more)
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Key, SyntaxError> {
        self.key_text().map(|text| Key::from(&*text))
    }

    fn key_text(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        self.space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    /// Where a key stands already. Large objects get a set, so that reading stays linear.
    fn position(entries: &[(Key, Value)], seen: &mut Option<HashSet<Key>>, key: &Key) -> Option<usize> {
        const SMALL: usize = 32;
        if entries.len() >= SMALL {
            let set = seen.get_or_insert_with(|| entries.iter().map(|(k, _)| k.clone()).collect());
            if set.insert(key.clone()) {
                return None;
            }
        }
        entries.iter().position(|(k, _)| k == key)
    }

    fn note_duplicate(&mut self) {
        let Some(duplicates) = &mut self.duplicates else { return };
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Index(i) => text.push_str(&format!("[{i}]")),
                Step::Key(k) if text.is_empty() => text.push_str(k.as_str()),
                Step::Key(k) => {
                    text.push('.');
                    text.push_str(k.as_str());
                }
            }
        }
        duplicates.push(text);
    }

    /// A string, with Go's treatment of what is not UTF-8: each bad byte or lone surrogate becomes U+FFFD.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        self.at = scan::ends_string(self.bytes, start);
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let plain = match self.text {
                        Some(text) => Cow::Borrowed(&text[start..self.at]),
                        None => String::from_utf8_lossy(&self.bytes[start..self.at]),
                    };
                    self.at += 1;
                    return Ok(plain);
                }
                Some(b'\\') => break,
                Some(0..0x20) => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("")),
            }
        }
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        out.extend_from_slice(&self.bytes[start..self.at]);
        let result = self.escaped(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        self.scratch = out;
        result.map(|()| Cow::Owned(text))
    }

    fn escaped(&mut self, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(out)?;
                }
                Some(0..0x20) => return Err(self.unexpected("in string literal")),
                Some(b) => {
                    out.push(*b);
                    self.at += 1;
                }
                None => return Err(self.unexpected("")),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let plain = match self.bytes.get(self.at) {
            Some(b @ (b'"' | b'\\' | b'/')) => *b,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        out.push(plain);
        self.at += 1;
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hex4()?;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|b| (*b as char).to_digit(16));
            let Some(digit) = digit else { return Err(self.unexpected("in \\u hexadecimal character escape")) };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// The value as compact JSON, escaped as Go does.
pub fn to_string(value: &Value) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).unwrap_or_default() // what `write` makes of strings is UTF-8
}

/// Appends the value as compact JSON.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(*n).as_bytes()),
        Value::Float(n) => out.extend_from_slice(go_float(*n).as_bytes()),
        Value::Str(s) => write_str(out, s),
        Value::Raw(text) => out.extend_from_slice(text.as_bytes()),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.push(b'{');
            for (i, (k, v)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_str(out, k.as_str());
                out.push(b':');
                write(out, v);
            }
            out.push(b'}');
        }
    }
}

/// Appends a JSON string: `<`, `>`, `&` and the two Unicode line ends are escaped, as Go does.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends what stands between a JSON string's quotes.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut done = 0;
    let mut i = 0;
    loop {
        i = scan::is_escaped(bytes, i);
        let Some(&b) = bytes.get(i) else { break };
        let width = match b {
            b'"' | b'\\' | b'<' | b'>' | b'&' | 0..0x20 => 1,
            0xe2 if bytes[i..].starts_with(b"\xe2\x80\xa8") || bytes[i..].starts_with(b"\xe2\x80\xa9") => 3,
            _ => {
                i += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[done..i]);
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0xe2 => out.extend_from_slice(if bytes[i + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" }),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[(b >> 4) as usize]);
                out.push(HEX[(b & 15) as usize]);
            }
        }
        i += width;
        done = i;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// A float as Go's encoder writes it: shortest digits, exponent form below 1e-6 and from 1e21.
pub fn go_float(n: f64) -> String {
    let abs = n.abs();
    if abs != 0.0 && !(1e-6..1e21).contains(&abs) {
        let text = format!("{n:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |d| ("-", d));
        return format!("{mantissa}e{sign}{digits:0>2}").replace("e-0", "e-").replace("e+0", "e+");
    }
    format!("{n}")
}

#[cfg(test)]
mod tests;
