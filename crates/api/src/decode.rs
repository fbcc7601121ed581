//! From a parsed document to an object of a type: every value checked against the type table, unknown fields dropped and
//! noted, leaves brought into canonical form (quantities, times, base64).
//!
//! Errors read like Go's JSON decoder, because clients do.

use crate::names::Key;
use crate::quantity;
use crate::schema::{Scalar, Ty, Type};
use crate::time;
use crate::value::{Map, Value};
use std::fmt::Write as _;

/// What a decoding met besides the object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Strict complaints in the order of finding: `unknown field "…"`.
    pub strict: Vec<String>,
}

/// Checks and normalizes `value` as an object of `ty`. `apiVersion` and `kind` at the top are left alone.
pub fn decode(value: &mut Value, ty: &'static Type, notes: &mut Notes) -> Result<(), String> {
    let mut walk = Walk { path: Vec::new(), root: ty, notes };
    let Value::Map(map) = value else {
        return Err(format!("json: cannot unmarshal {} into Go value of type {}", value.go_kind(), ty.go_qualified()));
    };
    walk.fields(map, ty, true)
}

/// Checks and normalizes a value of any shape.
pub fn decode_value(value: &mut Value, ty: Ty, root: &'static Type, notes: &mut Notes) -> Result<(), String> {
    Walk { path: Vec::new(), root, notes }.value(value, ty, root)
}

enum Step {
    Key(Key),
    Index(usize),
}

struct Walk<'a> {
    path: Vec<Step>,
    root: &'static Type,
    notes: &'a mut Notes,
}

impl Walk<'_> {
    fn fields(&mut self, map: &mut Map, ty: &'static Type, top: bool) -> Result<(), String> {
        let mut unknown = false;
        for (key, value) in map.iter_mut() {
            if top && matches!(key.as_str(), "kind" | "apiVersion") {
                continue;
            }
            let Some(field) = ty.field_of(key) else {
                unknown = true;
                let mut path = self.dotted(true);
                if !path.is_empty() {
                    path.push('.');
                }
                self.notes.strict.push(format!("unknown field \"{path}{}\"", key.as_str()));
                continue;
            };
            self.path.push(Step::Key(key.clone()));
            self.value(value, field.ty, ty)?;
            self.path.pop();
        }
        if unknown {
            map.retain(|key, _| (top && matches!(key.as_str(), "kind" | "apiVersion")) || ty.field_of(key).is_some());
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Value, ty: Ty, owner: &'static Type) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        match ty {
            Ty::Object(id) => match value {
                Value::Map(map) => self.fields(map, Type::of(id), false),
                _ => Err(self.mismatch(value, ty, owner)),
            },
            Ty::List(item) => {
                let Value::List(items) = value else { return Err(self.mismatch(value, ty, owner)) };
                for (i, v) in items.iter_mut().enumerate() {
                    self.path.push(Step::Index(i));
                    fill(v, *item);
                    self.value(v, *item, owner)?;
                    self.path.pop();
                }
                Ok(())
            }
            Ty::Map(item) => {
                let Value::Map(map) = value else { return Err(self.mismatch(value, ty, owner)) };
                for (k, v) in map.iter_mut() {
                    self.path.push(Step::Key(k.clone()));
                    fill(v, *item);
                    // Go's error stops at the field: keys of maps are not part of its path.
                    self.value(v, *item, owner)?;
                    self.path.pop();
                }
                Ok(())
            }
            Ty::Scalar(s) => self.scalar(value, s, owner),
        }
    }

    fn scalar(&mut self, value: &mut Value, s: Scalar, owner: &'static Type) -> Result<(), String> {
        let fits = match (s, &*value) {
            (Scalar::String | Scalar::Bytes | Scalar::Time | Scalar::MicroTime | Scalar::Duration, Value::Str(_)) => {
                true
            }
            (Scalar::Bool, Value::Bool(_)) | (Scalar::Double, Value::Int(_) | Value::Float(_)) => true,
            (Scalar::Int32, Value::Int(n)) => i32::try_from(*n).is_ok(),
            (Scalar::Int64, Value::Int(_)) => true,
            (Scalar::Quantity, Value::Int(_) | Value::Float(_) | Value::Str(_)) => true,
            (Scalar::IntOrString, Value::Int(_) | Value::Str(_)) => true,
            (Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStringArray, _) => {
                return self.schema_or(value, s, owner);
            }
            (Scalar::Raw | Scalar::Fields | Scalar::Json, _) => return Ok(()),
            _ => false,
        };
        if !fits {
            return Err(self.mismatch(value, Ty::Scalar(s), owner));
        }
        match (s, &*value) {
            (Scalar::Bytes, Value::Str(text)) => {
                if let Some(at) = bad_base64(text) {
                    return Err(format!("illegal base64 data at input byte {at}"));
                }
                if text.contains(['\n', '\r']) {
                    *value = Value::from(text.replace(['\n', '\r'], ""));
                }
            }
            (Scalar::Time | Scalar::MicroTime, Value::Str(text)) => match time::parse(text) {
                Some((seconds, _)) if s == Scalar::Time => *value = Value::from(time::format_seconds(seconds)),
                Some((seconds, nanos)) => {
                    *value = Value::from(time::format_micros(
                        seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into()),
                    ))
                }
                None => {
                    let layout = if s == Scalar::Time {
                        "2006-01-02T15:04:05Z07:00"
                    } else {
                        "2006-01-02T15:04:05.000000Z07:00"
                    };
                    return Err(time_error(text, layout));
                }
            },
            (Scalar::Duration, Value::Str(text)) => match time::parse_duration(text) {
                Some(nanos) => *value = Value::from(time::format_duration(nanos)),
                None => return Err(format!("time: invalid duration {}", crate::errors::go_quote(text))),
            },
            (Scalar::Quantity, v) => {
                let text = match v {
                    Value::Str(t) => t.to_string(),
                    other => crate::json::to_string(other),
                };
                *value = Value::from(quantity::canonical(text.trim()).map_err(str::to_string)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// A JSON schema or something simpler in its place.
    fn schema_or(&mut self, value: &mut Value, s: Scalar, owner: &'static Type) -> Result<(), String> {
        let schema = schema_props();
        match (s, &mut *value) {
            (_, Value::Map(map)) => self.fields(map, schema, false),
            (Scalar::SchemaOrBool, Value::Bool(_)) => Ok(()),
            (Scalar::SchemaOrArray, Value::List(_)) => self.value(value, Ty::List(schema_ty()), owner),
            (Scalar::SchemaOrStringArray, Value::List(_)) => {
                self.value(value, Ty::List(&Ty::Scalar(Scalar::String)), owner)
            }
            (Scalar::SchemaOrBool, _) => Err("boolean or JSON schema expected".into()),
            (Scalar::SchemaOrArray, _) => Ok(()),
            (_, _) => Err(self.mismatch(value, Ty::Scalar(s), owner)),
        }
    }

    /// The path from the root; without list indices and map keys when Go's decoder would leave them out.
    fn dotted(&self, full: bool) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Index(i) if full => {
                    let _ = write!(text, "[{i}]");
                }
                Step::Index(_) => {}
                Step::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key.as_str());
                }
            }
        }
        text
    }

    fn mismatch(&self, value: &Value, ty: Ty, owner: &'static Type) -> String {
        let kind = match (value, ty) {
            (Value::Int(_) | Value::Float(_), Ty::Scalar(Scalar::Int32 | Scalar::Int64)) => {
                format!("number {}", crate::json::to_string(value))
            }
            _ => value.go_kind().to_string(),
        };
        let mut field = String::new();
        let mut at: Option<Ty> = None;
        let mut ty_here = self.root;
        for step in &self.path {
            match (step, at) {
                (Step::Key(key), None | Some(Ty::Object(_))) => {
                    if let Some(Ty::Object(id)) = at {
                        ty_here = Type::of(id);
                    }
                    if !field.is_empty() {
                        field.push('.');
                    }
                    field.push_str(key.as_str());
                    at = ty_here.field_of(key).map(|f| f.ty);
                }
                (_, Some(Ty::List(item) | Ty::Map(item))) => at = Some(*item),
                _ => {}
            }
        }
        format!(
            "json: cannot unmarshal {kind} into Go struct field {}.{field} of type {}",
            owner.go_name(),
            go_type(ty)
        )
    }
}

/// Null elements become their type's zero value, as in Go.
fn fill(value: &mut Value, ty: Ty) {
    if value.is_null() {
        *value = match ty {
            Ty::Scalar(Scalar::String) => Value::from(""),
            Ty::Scalar(Scalar::Bool) => Value::Bool(false),
            Ty::Scalar(Scalar::Int32 | Scalar::Int64) => Value::Int(0),
            Ty::Scalar(Scalar::Quantity) => Value::from("0"),
            Ty::Object(_) => Value::object(),
            _ => Value::Null,
        };
    }
}

/// The type of JSON schemas in CRDs.
pub fn schema_props() -> &'static Type {
    match schema_ty() {
        Ty::Object(id) => Type::of(*id),
        _ => unreachable!("made as an object below"),
    }
}

fn schema_ty() -> &'static Ty {
    static TY: std::sync::LazyLock<Ty> = std::sync::LazyLock::new(|| {
        let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let at = Type::all().iter().position(|t| t.name == name).unwrap_or_default();
        Ty::Object(at as u16)
    });
    &TY
}

fn go_type(ty: Ty) -> String {
    match ty {
        Ty::Scalar(Scalar::String | Scalar::Time | Scalar::MicroTime | Scalar::Duration) => "string".into(),
        Ty::Scalar(Scalar::Bool) => "bool".into(),
        Ty::Scalar(Scalar::Int32 | Scalar::IntOrString) => "int32".into(),
        Ty::Scalar(Scalar::Int64) => "int64".into(),
        Ty::Scalar(Scalar::Double) => "float64".into(),
        Ty::Scalar(Scalar::Bytes) => "[]uint8".into(),
        Ty::Scalar(_) => "interface {}".into(),
        Ty::Object(id) => Type::of(id).go_qualified().into(),
        Ty::List(item) => format!("[]{}", go_type(*item)),
        Ty::Map(item) => format!("map[string]{}", go_type(*item)),
    }
}

fn time_error(text: &str, layout: &str) -> String {
    let quoted = crate::errors::go_quote(text);
    // Go names the first part that does not match; a text without a leading year is the usual mistake.
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits < 4 {
        return format!("parsing time {quoted} as \"{layout}\": cannot parse {quoted} as \"2006\"");
    }
    for (at, want) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")] {
        if text.get(at..=at) != Some(want) {
            let rest = crate::errors::go_quote(text.get(at..).unwrap_or_default());
            return format!("parsing time {quoted} as \"{layout}\": cannot parse {rest} as \"{want}\"");
        }
    }
    if text.len() <= 19 {
        return format!("parsing time {quoted} as \"{layout}\": cannot parse \"\" as \"Z07:00\"");
    }
    format!("parsing time {quoted}: out of range")
}

/// The offset of the first byte that makes a text no standard base64.
fn bad_base64(text: &str) -> Option<usize> {
    let mut count = 0;
    let mut padding = 0;
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'\n' | b'\r' => continue,
            b'=' if count % 4 >= 2 || padding > 0 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return Some(i),
        }
        count += 1;
        if padding > 2 || (padding > 0 && count % 4 == 0 && i + 1 < text.trim_end_matches(['\n', '\r']).len()) {
            return Some(i + 1);
        }
    }
    (count % 4 != 0).then(|| text.len() - count % 4)
}
