//! OpenAPI v2 in its protobuf form (gnostic's `openapi.v2.Document`), which kubectl up to 1.28 reads.
//!
//! Only the parts that our document has: definitions with types, references, items, properties and extensions.

use api::proto::put_bytes;
use api::{Key, Value, json};

/// The media type asked for.
pub const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    put_bytes(out, tag, &body);
}

fn text(out: &mut Vec<u8>, tag: u32, v: &Value) {
    if let Some(s) = v.as_str() {
        put_bytes(out, tag, s.as_bytes());
    }
}

/// Any JSON value: gnostic's `Any` holds YAML text, which JSON is.
fn any(out: &mut Vec<u8>, tag: u32, v: &Value) {
    nested(out, tag, |o| put_bytes(o, 2, json::to_string(v).as_bytes()));
}

/// The whole document.
pub fn document(v: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, v.at("swagger"));
    nested(&mut out, 2, |o| {
        text(o, 1, v.at("info").at("title"));
        text(o, 2, v.at("info").at("version"));
    });
    nested(&mut out, 8, |_| {});
    nested(&mut out, 9, |o| v.at("definitions").members().for_each(|(k, s)| named(o, k, s)));
    out
}

fn named(out: &mut Vec<u8>, name: &Key, schema_: &Value) {
    nested(out, 1, |o| {
        put_bytes(o, 1, name.as_str().as_bytes());
        nested(o, 2, |o| schema(o, schema_));
    });
}

fn schema(out: &mut Vec<u8>, v: &Value) {
    text(out, 1, v.at("$ref"));
    text(out, 2, v.at("format"));
    text(out, 4, v.at("description"));
    if let Some(d) = v.get("default") {
        any(out, 5, d);
    }
    v.at("required").items().iter().for_each(|r| text(out, 19, r));
    v.at("enum").items().iter().for_each(|e| any(out, 20, e));
    if let Some(a) = v.get("additionalProperties") {
        nested(out, 21, |o| nested(o, 1, |o| schema(o, a)));
    }
    if v.get("type").is_some() {
        nested(out, 22, |o| text(o, 1, v.at("type")));
    }
    if let Some(i) = v.get("items") {
        nested(out, 23, |o| nested(o, 1, |o| schema(o, i)));
    }
    v.at("allOf").items().iter().for_each(|a| nested(out, 24, |o| schema(o, a)));
    if let Some(p) = v.get("properties") {
        nested(out, 25, |o| p.members().for_each(|(k, s)| named(o, k, s)));
    }
    for (k, x) in v.members().filter(|(k, _)| k.as_str().starts_with("x-")) {
        nested(out, 31, |o| {
            put_bytes(o, 1, k.as_str().as_bytes());
            any(o, 2, x);
        });
    }
}
