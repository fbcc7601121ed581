//! Objects between their stored text and what a client sends or gets.

use super::stored_of;
use crate::core::negotiate::{Form, Media, View};
use api::decode::Notes;
use api::{Status, Value, canon, decode, f, json, proto, value::object, yaml};
use bytes::Bytes;
use kinds::Resource;

/// The tree of stored text (which is ours, hence well formed).
pub fn tree(bytes: &Bytes) -> Value {
    json::parse_object(bytes, None).unwrap_or_default()
}

/// The text to be stored, and where the committer writes the revision.
pub fn store_text(object: &mut Value, r: &'static Resource) -> (Bytes, Option<u32>) {
    object.remove(f::kind);
    object.remove(f::apiVersion);
    object.entry(f::metadata).set(f::resourceVersion, "?");
    canon::canonicalize(object, stored_of(r).ty);
    object.entry(f::metadata).set(f::resourceVersion, "");
    let mut out = Vec::with_capacity(4096);
    json::write(&mut out, object);
    const MARK: &[u8] = b"\"resourceVersion\":\"\"";
    // Quotes inside texts are escaped and metadata comes first: the first match is the member itself.
    let at = out.windows(MARK.len()).position(|w| w == MARK).map(|n| (n + MARK.len() - 1) as u32);
    (Bytes::from(out), at)
}

/// A decoded body.
pub struct Decoded {
    /// The object, without kind and apiVersion.
    pub object: Value,
    /// apiVersion and kind as given.
    pub gvk: (String, String),
    /// Strict complaints.
    pub strict: Vec<String>,
}

/// A body to a tree, unchecked.
pub fn parse_body(body: &[u8], media: Media, duplicates: &mut Vec<String>) -> Result<Value, String> {
    match media {
        Media::Json => json::parse_object(body, Some(duplicates)).map_err(|e| e.message),
        Media::Yaml => yaml::parse(&String::from_utf8_lossy(body)),
        Media::Protobuf => Err("protobuf is read by type".into()),
    }
}

/// A body to an object of a resource's type.
pub fn decode_body(
    body: &[u8],
    media: Media,
    want: (&str, &str),
    ty: &'static api::schema::Type,
) -> Result<Decoded, Status> {
    let (api_version, kind) = want;
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    let cannot =
        |e: String| Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {e}"));
    if media == Media::Protobuf {
        let (v, k, raw) = proto::open(body).map_err(cannot)?;
        let object = proto::decode(raw, ty).map_err(cannot)?;
        check_gvk(&v, &k, want)?;
        return Ok(Decoded { object, gvk: (v, k), strict: Vec::new() });
    }
    let mut strict = Vec::new();
    let mut object = parse_body(body, media, &mut strict).map_err(|e| {
        let shown = if media == Media::Json { format!("couldn't get version/kind; json parse error: {e}") } else { e };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {shown} ({})",
            excerpt(body)
        ))
    })?;
    let mut strict: Vec<String> = strict.into_iter().map(|p| format!("duplicate field \"{p}\"")).collect();
    if !matches!(object, Value::Map(_) | Value::Null) {
        let got = object.go_kind();
        let kind_error = format!(
            "json: cannot unmarshal {got} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        );
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {kind_error} ({})",
            excerpt(body)
        )));
    }
    let (v, k) = (object.at(f::apiVersion).str().to_string(), object.at(f::kind).str().to_string());
    check_gvk(&v, &k, want)?;
    if object.is_null() {
        object = Value::object();
    }
    let mut notes = Notes::default();
    decode::decode(&mut object, ty, &mut notes).map_err(cannot)?;
    strict.extend(notes.strict);
    object.remove(f::kind);
    object.remove(f::apiVersion);
    Ok(Decoded { object, gvk: (v, k), strict })
}

/// What is shown of a body that cannot be read.
fn excerpt(body: &[u8]) -> String {
    if body.is_empty() {
        return "<empty>".into();
    }
    let text = std::str::from_utf8(body).ok().filter(|t| t.trim_start().starts_with('{'));
    match text {
        Some(t) if t.len() <= 30 => t.to_string(),
        Some(t) => format!("{} ...", &t[..t.char_indices().nth(30).map_or(t.len(), |(i, _)| i)]),
        None => {
            let hex: String = body.iter().take(30).map(|b| format!("{b:02x}")).collect();
            if body.len() > 30 { format!("{hex} ...") } else { hex }
        }
    }
}

fn check_gvk(v: &str, k: &str, want: (&str, &str)) -> Result<(), Status> {
    let (api_version, kind) = want;
    let (v, k) = (if v.is_empty() { api_version } else { v }, if k.is_empty() { kind } else { k });
    if (v, k) == (api_version, kind) {
        return Ok(());
    }
    let version = v.rsplit('/').next().unwrap_or(v);
    let (group, bare) = v.split_once('/').unwrap_or(("", v));
    if api::schema::Type::of_kind(group, bare, k).is_none() {
        return Err(Status::bad_request(format!(
            "{k} in version {version:?} cannot be handled as a {kind}: no kind {k:?} is registered for version {v:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    if k == kind {
        return Err(Status::bad_request(format!(
            "the API version in the data ({v}) does not match the expected API version ({api_version})"
        )));
    }
    Err(Status::bad_request(format!(
        "{k} in version {version:?} cannot be handled as a {kind}: the object provided is of another kind"
    )))
}

// === answers ===

fn head(api_version: &str, kind: &str) -> Vec<u8> {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",").into_bytes()
}

/// Stored text with kind and apiVersion in front.
pub fn with_head(bytes: &Bytes, api_version: &str, kind: &str) -> Vec<u8> {
    let mut out = head(api_version, kind);
    out.reserve_exact(bytes.len());
    if bytes.len() > 2 {
        out.extend_from_slice(&bytes[1..]);
    } else {
        out.pop();
        out.push(b'}');
    }
    out
}

/// The object as `r` serves it: stored text, or its conversion.
pub fn served(bytes: &Bytes, r: &'static Resource) -> Bytes {
    let from = stored_of(r);
    if std::ptr::eq(from, r) {
        return bytes.clone();
    }
    let mut v = tree(bytes);
    crate::convert::convert(&mut v, from, r);
    canon::canonicalize(&mut v, r.ty);
    Bytes::from(json::to_string(&v))
}

/// One object in a form.
pub fn object_form(bytes: &Bytes, r: &'static Resource, form: Form, now: i64, include: Include) -> Bytes {
    let bytes = served(bytes, r);
    let api_version = r.api_version();
    match form.view {
        View::Full => match form.media {
            Media::Json if !form.pretty => Bytes::from(with_head(&bytes, &api_version, &r.kind)),
            Media::Json => pretty(&with_head(&bytes, &api_version, &r.kind)),
            Media::Yaml => yaml_form(&with_head(&bytes, &api_version, &r.kind)),
            Media::Protobuf => Bytes::from(proto::envelope(&api_version, &r.kind, &proto::encode(&tree(&bytes), r.ty))),
        },
        View::Metadata => value_form(&partial(&tree(&bytes)), form),
        View::Table => {
            let v = tree(&bytes);
            let rv = v.at(f::metadata).at(f::resourceVersion).clone();
            let mut meta = Value::object();
            meta.set(f::resourceVersion, rv);
            value_form(&table(r, meta, vec![row(r, &v, &bytes, now, include)], true), form)
        }
    }
}

/// What a table's row carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// A tree (with kind and apiVersion in it) in a form.
pub fn value_form(v: &Value, form: Form) -> Bytes {
    let text = json::to_string(v);
    match form.media {
        Media::Yaml => yaml_form(text.as_bytes()),
        Media::Protobuf => {
            let (api_version, kind) = (v.at(f::apiVersion).str(), v.at(f::kind).str());
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            match api::schema::Type::of_kind(group, version, kind) {
                Some(ty) => Bytes::from(proto::envelope(api_version, kind, &proto::encode(v, ty))),
                None => partial_proto(v, api_version, kind).unwrap_or_else(|| Bytes::from(text)),
            }
        }
        Media::Json if form.pretty => pretty(text.as_bytes()),
        Media::Json => Bytes::from(text),
    }
}

/// Metadata forms are not in the type table: a message with metadata, or a list of them.
fn partial_proto(v: &Value, api_version: &str, kind: &str) -> Option<Bytes> {
    let meta = api::schema::Type::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")?;
    let list_meta = api::schema::Type::named("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")?;
    let mut raw = Vec::new();
    match kind {
        "PartialObjectMetadata" => proto::put_bytes(&mut raw, 1, &proto::encode(v.at(f::metadata), meta)),
        "PartialObjectMetadataList" => {
            proto::put_bytes(&mut raw, 1, &proto::encode(v.at(f::metadata), list_meta));
            for item in v.at(f::items).items() {
                let mut one = Vec::new();
                proto::put_bytes(&mut one, 1, &proto::encode(item.at(f::metadata), meta));
                proto::put_bytes(&mut raw, 2, &one);
            }
        }
        _ => return None,
    }
    Some(Bytes::from(proto::envelope(api_version, kind, &raw)))
}

/// Indented JSON, as Go does it.
pub fn pretty(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut i) = (0_usize, false, 0);
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    while i < text.len() {
        let b = text[i];
        match b {
            b'\\' if quoted => {
                out.extend_from_slice(&text[i..(i + 2).min(text.len())]);
                i += 2;
                continue;
            }
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                out.push(b);
                if matches!(text.get(i + 1), Some(b'}' | b']')) {
                    out.push(text[i + 1]);
                    i += 2;
                    continue;
                }
                depth += 1;
                newline(&mut out, depth);
                i += 1;
                continue;
            }
            b'}' | b']' if !quoted => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
            }
            b',' if !quoted => {
                out.push(b);
                newline(&mut out, depth);
                i += 1;
                continue;
            }
            b':' if !quoted => {
                out.extend_from_slice(b": ");
                i += 1;
                continue;
            }
            _ => {}
        }
        out.push(b);
        i += 1;
    }
    Bytes::from(out)
}

fn yaml_form(text: &[u8]) -> Bytes {
    Bytes::from(yaml::to_string(&json::parse(text).unwrap_or_default()))
}

/// The metadata form of an object.
pub fn partial(v: &Value) -> Value {
    object([
        (f::kind, "PartialObjectMetadata".into()),
        (f::apiVersion, "meta.k8s.io/v1".into()),
        (f::metadata, v.at(f::metadata).clone()),
    ])
}

/// A table's row.
pub fn row(r: &'static Resource, v: &Value, bytes: &Bytes, now: i64, include: Include) -> Value {
    let mut cells = (r.rules.cells)(v, now);
    // Columns of the type `date` show the time itself.
    for (cell, _) in cells.iter_mut().zip(&r.columns).filter(|(_, c)| c.ty == "date") {
        *cell = v.at(f::metadata).at(f::creationTimestamp).clone();
    }
    let mut row = object([("cells", Value::List(cells))]);
    match include {
        Include::None => row.set("object", Value::Null),
        Include::Metadata => row.set("object", partial(v)),
        Include::Object => row.set("object", tree(&Bytes::from(with_head(bytes, &r.api_version(), &r.kind)))),
    }
    row
}

/// A table.
pub fn table(r: &'static Resource, metadata: Value, rows: Vec<Value>, columns: bool) -> Value {
    let definitions: Vec<Value> = if columns { r.columns.iter().map(|c| column(r, c)).collect() } else { Vec::new() };
    object([
        ("kind", "Table".into()),
        ("apiVersion", "meta.k8s.io/v1".into()),
        ("metadata", metadata),
        ("columnDefinitions", definitions.into()),
        ("rows", rows.into()),
    ])
}

fn column(r: &Resource, c: &kinds::Column) -> Value {
    let description = match c.name.as_str() {
        "Name" => format!("The name of the {}, unique among its kind in a namespace.", r.singular),
        "Age" => format!("Time since the {} was created.", r.singular),
        other => format!("{other} of the {}.", r.singular),
    };
    object([
        ("name", c.name.as_str().into()),
        ("type", c.ty.as_str().into()),
        ("format", c.format.as_str().into()),
        ("description", description.into()),
        ("priority", c.priority.into()),
    ])
}
