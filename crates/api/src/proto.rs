//! Protobuf by table: objects to Kubernetes' binary form and back, byte for byte as upstream's generated code.
//!
//! Rules: fields in ascending number; scalars and messages that are not pointers are written even when empty; pointers,
//! lists, maps and absent bytes are left out; map entries sorted by key.

use crate::decode::schema_props;
use crate::json;
use crate::names::Key;
use crate::schema::{Field, Layout, Scalar, Ty, Type};
use crate::time;
use crate::value::{Map, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What every encoded object starts with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Wraps an encoded object into `runtime.Unknown`.
pub fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, api_version.as_bytes());
    put_bytes(&mut meta, 2, kind.as_bytes());
    put_bytes(&mut out, 1, &meta);
    put_bytes(&mut out, 2, raw);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}

/// Opens an envelope: apiVersion, kind, and the encoded object.
pub fn open(bytes: &[u8]) -> Result<(String, String, &[u8]), String> {
    let body = bytes
        .strip_prefix(MAGIC)
        .ok_or("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &body[..0]);
    let mut r = Reader(body);
    while let Some((tag, wire)) = r.key()? {
        match tag {
            1 => {
                let mut meta = Reader(r.bytes(wire)?);
                while let Some((tag, wire)) = meta.key()? {
                    match tag {
                        1 => version = text(meta.bytes(wire)?)?,
                        2 => kind = text(meta.bytes(wire)?)?,
                        _ => meta.skip(wire)?,
                    }
                }
            }
            2 => raw = r.bytes(wire)?,
            _ => r.skip(wire)?,
        }
    }
    Ok((version, kind, raw))
}

/// Encodes an object (without envelope).
pub fn encode(value: &Value, ty: &'static Type) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    static EMPTY: Map = Map::new();
    message(&mut out, value.as_map().unwrap_or(&EMPTY), ty);
    out
}

/// Decodes an object (without envelope).
pub fn decode(bytes: &[u8], ty: &'static Type) -> Result<Value, String> {
    let mut map = Map::new();
    read_message(bytes, ty, &mut map, 0)?;
    Ok(Value::Map(map))
}

// === writing ===

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_key(out: &mut Vec<u8>, tag: u32, wire: u8) {
    put_varint(out, u64::from(tag) << 3 | u64::from(wire));
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_key(out, tag, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
pub fn put_int(out: &mut Vec<u8>, tag: u32, n: i64) {
    put_key(out, tag, 0);
    put_varint(out, n as u64);
}

fn put_nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    put_bytes(out, tag, &body);
}

fn message(out: &mut Vec<u8>, map: &Map, ty: &'static Type) {
    for (tag, layout) in ty.layout {
        match layout {
            Layout::Inline(id) => put_nested(out, *tag, |body| message(body, map, Type::of(*id))),
            Layout::Field(i) => field(out, map.get(ty.fields[*i].name), &ty.fields[*i]),
        }
    }
}

fn field(out: &mut Vec<u8>, value: Option<&Value>, field: &Field) {
    let value = value.filter(|v| !v.is_null());
    match (field.ty, value) {
        (Ty::List(_) | Ty::Map(_), None) => {}
        (Ty::List(item), Some(v)) => v.items().iter().for_each(|v| single(out, field.tag, v, *item)),
        (Ty::Map(item), Some(v)) => {
            let mut entries: Vec<(&Key, &Value)> = v.members().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            for (k, v) in entries {
                put_nested(out, field.tag, |body| {
                    put_bytes(body, 1, k.as_str().as_bytes());
                    single(body, 2, v, *item);
                });
            }
        }
        (_, None) if field.optional => {}
        (Ty::Scalar(Scalar::Bytes), None) => {}
        (ty, None) => single(out, field.tag, &Value::Null, ty),
        (ty, Some(v)) => single(out, field.tag, v, ty),
    }
}

fn single(out: &mut Vec<u8>, tag: u32, value: &Value, ty: Ty) {
    static EMPTY: Map = Map::new();
    match ty {
        Ty::Object(id) => put_nested(out, tag, |b| message(b, value.as_map().unwrap_or(&EMPTY), Type::of(id))),
        // A list inside a list or map is a message of its own with the items as field 1.
        Ty::List(item) => put_nested(out, tag, |b| value.items().iter().for_each(|v| single(b, 1, v, *item))),
        Ty::Map(_) => {}
        Ty::Scalar(s) => scalar(out, tag, value, s),
    }
}

fn scalar(out: &mut Vec<u8>, tag: u32, value: &Value, s: Scalar) {
    match s {
        Scalar::String => put_bytes(out, tag, value.str().as_bytes()),
        Scalar::Bool => put_int(out, tag, value.is_true().into()),
        Scalar::Int32 | Scalar::Int64 => put_int(out, tag, value.int()),
        Scalar::Double => {
            put_key(out, tag, 1);
            let n = match value {
                Value::Float(n) => *n,
                other => other.int() as f64,
            };
            out.extend_from_slice(&n.to_le_bytes());
        }
        Scalar::Bytes => put_bytes(out, tag, &STANDARD.decode(value.str()).unwrap_or_default()),
        Scalar::Time | Scalar::MicroTime => put_nested(out, tag, |b| {
            if let Some((seconds, nanos)) = value.as_str().and_then(time::parse) {
                put_int(b, 1, seconds);
                put_int(b, 2, if s == Scalar::Time { 0 } else { i64::from(nanos / 1_000 * 1_000) });
            }
        }),
        Scalar::Duration => {
            put_nested(out, tag, |b| put_int(b, 1, time::parse_duration(value.str()).unwrap_or_default()))
        }
        Scalar::Quantity => put_nested(out, tag, |b| put_bytes(b, 1, value.as_str().unwrap_or("0").as_bytes())),
        Scalar::IntOrString => put_nested(out, tag, |b| {
            put_int(b, 1, value.as_str().is_some().into());
            put_int(b, 2, value.int());
            put_bytes(b, 3, value.str().as_bytes());
        }),
        Scalar::Raw | Scalar::Fields | Scalar::Json => put_nested(out, tag, |b| {
            if !value.is_null() {
                put_bytes(b, 1, json::to_string(value).as_bytes());
            }
        }),
        Scalar::SchemaOrBool => put_nested(out, tag, |b| {
            put_int(b, 1, (value.is_true() || value.as_map().is_some()).into());
            if let Some(map) = value.as_map() {
                put_nested(b, 2, |b| message(b, map, schema_props()));
            }
        }),
        Scalar::SchemaOrArray | Scalar::SchemaOrStringArray => put_nested(out, tag, |b| match value {
            Value::Map(map) => put_nested(b, 1, |b| message(b, map, schema_props())),
            _ => value.items().iter().for_each(|v| match v {
                Value::Map(map) => put_nested(b, 2, |b| message(b, map, schema_props())),
                other => put_bytes(b, 2, other.str().as_bytes()),
            }),
        }),
    }
}

// === reading ===

const DEPTH_MAX: usize = 100;

struct Reader<'a>(&'a [u8]);

const EOF: &str = "unexpected EOF";

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(EOF)?;
            self.0 = rest;
            n |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err("proto: integer overflow".into())
    }

    fn key(&mut self) -> Result<Option<(u32, u8)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| "proto: illegal tag")?;
        if tag == 0 {
            return Err("proto: illegal tag 0".into());
        }
        Ok(Some((tag, (key & 7) as u8)))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        if self.0.len() < n {
            return Err(EOF.into());
        }
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }

    fn bytes(&mut self, wire: u8) -> Result<&'a [u8], String> {
        if wire != 2 {
            return Err(format!("proto: wrong wireType = {wire}"));
        }
        let n = self.varint()?;
        self.take(usize::try_from(n).map_err(|_| EOF)?)
    }

    fn int(&mut self, wire: u8) -> Result<i64, String> {
        if wire != 0 {
            return Err(format!("proto: wrong wireType = {wire}"));
        }
        Ok(self.varint()? as i64)
    }

    fn skip(&mut self, wire: u8) -> Result<(), String> {
        match wire {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            2 => self.bytes(2).map(drop),
            5 => self.take(4).map(drop),
            _ => Err(format!("proto: illegal wireType {wire}")),
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(String::from).map_err(|_| "proto: string field contains invalid UTF-8".into())
}

fn read_message(bytes: &[u8], ty: &'static Type, map: &mut Map, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err("proto: message nested too deeply".into());
    }
    let mut r = Reader(bytes);
    while let Some((tag, wire)) = r.key()? {
        let Some((_, layout)) = ty.layout.iter().find(|(t, _)| *t == tag) else {
            r.skip(wire)?;
            continue;
        };
        match layout {
            Layout::Inline(id) => read_message(r.bytes(wire)?, Type::of(*id), map, depth + 1)?,
            Layout::Field(i) => {
                let field = &ty.fields[*i];
                match field.ty {
                    Ty::List(item) => {
                        let v = read_single(&mut r, wire, *item, depth)?;
                        map.entry(field.name).make_list().push(v);
                    }
                    Ty::Map(item) => {
                        let (k, v) = read_entry(r.bytes(wire)?, *item, depth)?;
                        map.entry(field.name).make_map().set(&Key::from(k), v);
                    }
                    ty => map.set(field.name, read_single(&mut r, wire, ty, depth)?),
                }
            }
        }
    }
    Ok(())
}

fn read_entry(bytes: &[u8], item: Ty, depth: usize) -> Result<(String, Value), String> {
    let mut r = Reader(bytes);
    let mut key = String::new();
    let mut value = None;
    while let Some((tag, wire)) = r.key()? {
        match tag {
            1 => key = text(r.bytes(wire)?)?,
            2 => value = Some(read_single(&mut r, wire, item, depth)?),
            _ => r.skip(wire)?,
        }
    }
    let value = value.unwrap_or(match item {
        Ty::Scalar(Scalar::String | Scalar::Bytes) => Value::from(""),
        Ty::Scalar(Scalar::Quantity) => Value::from("0"),
        _ => Value::Null,
    });
    Ok((key, value))
}

fn read_single(r: &mut Reader, wire: u8, ty: Ty, depth: usize) -> Result<Value, String> {
    match ty {
        Ty::Object(id) => {
            let mut map = Map::new();
            read_message(r.bytes(wire)?, Type::of(id), &mut map, depth + 1)?;
            Ok(Value::Map(map))
        }
        Ty::List(item) => {
            let mut inner = Reader(r.bytes(wire)?);
            let mut items = Vec::new();
            while let Some((tag, wire)) = inner.key()? {
                if tag == 1 {
                    items.push(read_single(&mut inner, wire, *item, depth + 1)?)
                } else {
                    inner.skip(wire)?
                }
            }
            Ok(Value::List(items))
        }
        Ty::Map(_) => Err("proto: map in a map".into()),
        Ty::Scalar(s) => read_scalar(r, wire, s, depth),
    }
}

fn read_scalar(r: &mut Reader, wire: u8, s: Scalar, depth: usize) -> Result<Value, String> {
    Ok(match s {
        Scalar::String => Value::from(text(r.bytes(wire)?)?),
        Scalar::Bool => Value::Bool(r.int(wire)? != 0),
        Scalar::Int32 => Value::Int(i64::from(r.int(wire)? as i32)),
        Scalar::Int64 => Value::Int(r.int(wire)?),
        Scalar::Double => {
            let b = r.take(8)?;
            let n = f64::from_le_bytes(b.try_into().map_err(|_| EOF)?);
            if n.fract() == 0.0 && n.abs() < 1e15 { Value::Int(n as i64) } else { Value::Float(n) }
        }
        Scalar::Bytes => Value::from(STANDARD.encode(r.bytes(wire)?)),
        _ => read_wrapped(r.bytes(wire)?, s, depth)?,
    })
}

/// Leaves that are messages on the wire.
fn read_wrapped(bytes: &[u8], s: Scalar, depth: usize) -> Result<Value, String> {
    let mut r = Reader(bytes);
    let (mut first, mut second, mut body) = (None, 0, &bytes[..0]);
    let mut parts: Vec<(u32, &[u8])> = Vec::new();
    while let Some((tag, wire)) = r.key()? {
        match wire {
            0 if tag == 1 => first = Some(r.int(0)?),
            0 if tag == 2 => second = r.int(0)?,
            2 => {
                body = r.bytes(2)?;
                parts.push((tag, body));
            }
            _ => r.skip(wire)?,
        }
    }
    Ok(match s {
        Scalar::Time | Scalar::MicroTime => match first {
            None => Value::Null,
            Some(seconds) if s == Scalar::Time => Value::from(time::format_seconds(seconds)),
            Some(seconds) => {
                Value::from(time::format_micros(seconds.saturating_mul(1_000_000_000).saturating_add(second)))
            }
        },
        Scalar::Duration => Value::from(time::format_duration(first.unwrap_or_default())),
        Scalar::Quantity => Value::from(text(body)?),
        Scalar::IntOrString if first == Some(1) => Value::from(text(body)?),
        Scalar::IntOrString => Value::Int(i64::from(second as i32)),
        Scalar::SchemaOrBool if parts.is_empty() => Value::Bool(first == Some(1)),
        Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStringArray => read_schema_or(&parts, s, depth)?,
        _ if parts.is_empty() => Value::Null,
        Scalar::Fields => json::parse_raw(body).map_err(|e| e.message)?,
        _ => json::parse(body).map_err(|e| e.message)?,
    })
}

fn read_schema_or(parts: &[(u32, &[u8])], s: Scalar, depth: usize) -> Result<Value, String> {
    let schema = |bytes: &[u8]| -> Result<Value, String> {
        let mut map = Map::new();
        read_message(bytes, schema_props(), &mut map, depth + 1)?;
        Ok(Value::Map(map))
    };
    let single = if s == Scalar::SchemaOrBool { 2 } else { 1 };
    if let Some((_, bytes)) = parts.iter().find(|(tag, _)| *tag == single) {
        return schema(bytes);
    }
    let items =
        parts.iter().map(|(_, b)| if s == Scalar::SchemaOrStringArray { text(b).map(Value::from) } else { schema(b) });
    items.collect::<Result<Vec<_>, _>>().map(Value::List)
}
