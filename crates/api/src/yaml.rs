//! YAML to trees, as Go's `sigs.k8s.io/yaml` reads it (YAML 1.1 scalars: `yes` is a boolean, `010` is 8), and trees to YAML.

use crate::names::Key;
use crate::value::{Map, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads one document.
pub fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        strict_booleans: false,
    };
    // Of several documents the first one counts.
    let first = text.contains("\n---").then(|| documents(text)).and_then(|all| all.into_iter().next());
    let text = first.as_deref().unwrap_or(text);
    serde_saphyr::from_str_with_options::<Value>(text, options).map_err(|e| as_go(&e.to_string()))
}

/// An error in the words of Go's parser, where they are known. It counts lines from zero and leaves the first one out.
fn as_go(error: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("illegal placement of ':' indicator", "did not find expected ',' or ']'"),
        ("mapping values are not allowed in this context", "mapping values are not allowed in this context"),
        ("cannot start any token", "found character that cannot start any token"),
    ];
    let first = error.lines().next().unwrap_or_default();
    let line = first.split("line ").nth(1).and_then(|r| r.split(' ').next()).and_then(|n| n.parse::<usize>().ok());
    match (WORDS.iter().find(|(ours, _)| first.contains(ours)), line) {
        (Some((_, words)), None | Some(0 | 1)) => format!("yaml: {words}"),
        (Some((_, words)), Some(n)) => format!("yaml: line {}: {words}", n - 1),
        (None, _) => format!("yaml: {error}"),
    }
}

/// Reads every document of a stream; empty ones are left out.
pub fn parse_all(text: &str) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for document in documents(text) {
        let value = parse(&document)?;
        if !value.is_null() {
            out.push(value);
        }
    }
    Ok(out)
}

/// Splits a stream at its `---` lines.
fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    all.retain(|d| d.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    all
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Value, D::Error> {
        d.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(Build)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Int))
    }
    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Float(n))
    }
    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::from(s))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(v) = seq.next_element()? {
            items.push(v);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((k, v)) = access.next_entry::<Value, Value>()? {
            let key = match &k {
                Value::Str(s) => Key::from(&**s),
                other => Key::from(crate::json::to_string(other)),
            };
            map.set(&key, v);
        }
        Ok(Value::Map(map))
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeMap, SerializeSeq};
        match self {
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(n) => s.serialize_i64(*n),
            Value::Float(n) => s.serialize_f64(*n),
            Value::Str(text) => s.serialize_str(text),
            Value::List(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for v in items {
                    seq.serialize_element(v)?;
                }
                seq.end()
            }
            Value::Map(map) => {
                let mut out = s.serialize_map(Some(map.len()))?;
                for (k, v) in map.iter() {
                    out.serialize_entry(k.as_str(), v)?;
                }
                out.end()
            }
            Value::Raw(text) => crate::json::parse(text.as_bytes()).unwrap_or_default().serialize(s),
        }
    }
}

/// Writes a document as Go's `sigs.k8s.io/yaml` does: keys sorted, lists not indented, text quoted only where it must be.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, false);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a value; `inline` when the cursor stands behind a key or a dash.
fn write(out: &mut String, value: &Value, indent: usize, inline: bool) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            for (i, (k, v)) in entries.into_iter().enumerate() {
                if i > 0 || !inline {
                    pad(out, indent);
                }
                out.push_str(&scalar(k.as_str(), indent));
                out.push(':');
                match v {
                    Value::Map(m) if !m.is_empty() => {
                        out.push('\n');
                        write(out, v, indent + 2, false);
                    }
                    Value::List(l) if !l.is_empty() => {
                        out.push('\n');
                        write(out, v, indent, false);
                    }
                    _ => {
                        out.push(' ');
                        write(out, v, indent + 2, true);
                    }
                }
            }
        }
        Value::List(items) if !items.is_empty() => {
            for v in items {
                pad(out, indent);
                out.push_str("- ");
                write(out, v, indent + 2, true);
            }
        }
        Value::Map(_) => out.push_str("{}\n"),
        Value::List(_) => out.push_str("[]\n"),
        Value::Str(s) => {
            out.push_str(&scalar(s, indent));
            out.push('\n');
        }
        other => {
            out.push_str(&crate::json::to_string(other));
            out.push('\n');
        }
    }
}

/// A text as a YAML scalar: plain, block, single or double quoted.
fn scalar(text: &str, indent: usize) -> String {
    let controls = text.chars().any(|c| c.is_control() && c != '\n');
    if controls {
        return crate::status::quoted(text);
    }
    if text.contains('\n') {
        if text.starts_with([' ', '\n']) {
            return crate::status::quoted(text);
        }
        let chomp = match (text.ends_with('\n'), text.ends_with("\n\n")) {
            (_, true) => "+",
            (true, _) => "",
            _ => "-",
        };
        let mut out = format!("|{chomp}");
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            out.push('\n');
            if !line.is_empty() {
                pad(&mut out, indent.max(2));
                out.push_str(line);
            }
        }
        return out;
    }
    if !ambiguous(text) {
        return text.to_string();
    }
    // Texts that would be read as another type are double quoted by Go's writer, awkward characters single quoted.
    if resolves(text) { format!("\"{text}\"") } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Whether a plain scalar would be read as something else than this text.
fn resolves(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "", ".nan", ".inf", "-.inf", "+.inf", "<<",
        "=",
    ];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let body = text.trim_start_matches(['-', '+']);
    // A prefix alone does not make a number: a uid may begin with `0b`.
    let prefixed = |prefix: &str, radix: u32| {
        body.strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix)))
    };
    let sexagesimal = || body.split(':').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let number = body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (body.replace('_', "").parse::<f64>().is_ok()
            || prefixed("0x", 16)
            || prefixed("0o", 8)
            || prefixed("0b", 2)
            || sexagesimal());
    number
        || crate::time::parse(text).is_some()
        || (text.len() == 10
            && text.as_bytes()[4] == b'-'
            && text.as_bytes()[7] == b'-'
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
}

fn ambiguous(text: &str) -> bool {
    resolves(text)
        || text.starts_with(|c: char| "-?:,[]{}#&*!|>'\"%@` ".contains(c))
            && !(text.len() > 1 && text.starts_with(['-', '?', ':']) && !text[1..].starts_with(' '))
        || text.ends_with(' ')
        || text.ends_with(':')
        || text.contains(": ")
        || text.contains(" #")
}

#[cfg(test)]
mod tests {
    use super::scalar;

    #[test]
    fn only_what_reads_as_a_number_is_quoted() {
        for plain in ["0b1f6d3a-9a52-4c3e-8d0b-1f6d3a9a524c", "0x", "0b12", "0o9", "1e5-2", "v1.2"] {
            assert_eq!(scalar(plain, 0), plain);
        }
        for quoted in ["0b10", "0x1F", "0o17", "1e5", "12:30", "1_000", ".5"] {
            assert_eq!(scalar(quoted, 0), format!("\"{quoted}\""));
        }
    }
}
