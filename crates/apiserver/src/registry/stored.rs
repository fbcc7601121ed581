//! From a record of the store to what is served: `read(stored bytes, stored version, schema generation)`.
//!
//! A record says under which generation of its type it was written. One of the present generation is served as it lies
//! there; any other (an older or newer program's, or upstream's own encodings in a shared etcd) is converted, pruned,
//! defaulted and made canonical when it is loaded, once. What is stored changes only when somebody writes the object.

use super::{encode, stored_of};
use api::schema::{Ty, Type};
use api::{Value, decode, f, json, proto};
use bytes::Bytes;
use cache::{Index, Object};
use kinds::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;
use store::Entry;

/// Raise it when defaults change that stored objects shall get.
const RULES: u32 = 1;

/// The generation of a resource's type: a number that changes with anything that is said of the type or of one in it. Never
/// 0, which is what records have that do not say.
pub fn generation(r: &Resource) -> u32 {
    static ALL: LazyLock<BTreeMap<&str, u32>> =
        LazyLock::new(|| kinds::resources().iter().map(|r| (r.ty.name, generation_of(r.ty).max(1))).collect());
    ALL.get(stored_type(r).name).copied().unwrap_or(0)
}

fn stored_type(r: &Resource) -> &'static Type {
    match &r.stored {
        Some((group, version)) => kinds::by_path(group, version, &r.plural).map_or(r.ty, |s| s.ty),
        None => r.ty,
    }
}

fn generation_of(ty: &'static Type) -> u32 {
    let (mut text, mut seen, mut line) = (format!("{RULES}"), BTreeSet::new(), vec![ty]);
    while let Some(ty) = line.pop() {
        if !seen.insert(ty.name) {
            continue;
        }
        let _ = write!(text, "\n{} {} {:?}", ty.name, ty.atomic, ty.unions.len()); // writing to a String does not fail
        for field in ty.fields {
            let of = shape(&field.ty, &mut line);
            let _ =
                write!(text, "\n{} {of} {} {} {:?}", field.name.as_str(), field.always, field.optional, field.default);
        }
    }
    crc32fast::hash(text.as_bytes())
}

fn shape(ty: &Ty, line: &mut Vec<&'static Type>) -> String {
    match ty {
        Ty::Scalar(scalar) => format!("{scalar:?}"),
        Ty::Object(id) => {
            line.push(Type::of(*id));
            Type::of(*id).name.into()
        }
        Ty::List(of) => format!("[{}]", shape(of, line)),
        Ty::Map(of) => format!("{{{}}}", shape(of, line)),
    }
}

/// The object of a record.
pub(crate) fn object_of(entry: &Entry, r: &'static Resource) -> Object {
    let current = entry.meta.schema == generation(r) && entry.meta.media_type.is_empty();
    let (bytes, rv_at) = if current {
        (entry.value.clone(), entry.rv_at)
    } else {
        reread(entry, r).unwrap_or_else(|why| {
            tracing::error!(key = &*entry.key, why, "a record was not understood; it is served as it is");
            (entry.value.clone(), entry.rv_at)
        })
    };
    let index = index_of(&bytes, r);
    Object::new(entry.key.clone(), bytes, rv_at, entry.revision.0, index)
}

/// The text that the record would have, had it been written now.
fn reread(entry: &Entry, r: &'static Resource) -> Result<(Bytes, Option<u32>), String> {
    let r = stored_of(r);
    let (mut object, api_version) = if entry.value.starts_with(b"k8s\0") {
        let (api_version, kind, raw) = proto::open(&entry.value)?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let ty = Type::of_kind(group, version, &kind).ok_or_else(|| format!("{api_version} {kind} is not known"))?;
        (proto::decode(raw, ty)?, api_version)
    } else {
        let object = json::parse(&entry.value).map_err(|e| e.message)?;
        let api_version = object.at(f::apiVersion).str().to_string();
        (object, api_version)
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    if !api_version.is_empty()
        && let Some(from) = kinds::by_path(group, version, &r.plural).filter(|from| !std::ptr::eq(*from, r))
    {
        crate::convert::convert(&mut object, from, r);
    }
    decode::decode(&mut object, r.ty, &mut decode::Notes::default())?;
    (r.rules.defaults)(&mut object);
    let (text, rv_at) = encode::store_text(&mut object, r);
    Ok((super::write::with_revision(&text, rv_at, entry.revision.0), rv_at))
}

/// What [`index_of`] looks at.
fn indexed_paths(r: &Resource) -> Vec<&str> {
    let mut paths =
        vec!["metadata.labels", "metadata.name", "metadata.namespace", "metadata.ownerReferences", "metadata.uid"];
    for path in &r.selectable {
        match path.as_str() {
            "source" => paths.extend(["source.component", "reportingComponent"]),
            "status.successful" => paths.push("status.succeeded"),
            path => paths.push(path),
        }
    }
    paths
}

/// Extracts what readers filter by.
fn index_of(bytes: &Bytes, r: &Resource) -> Index {
    let Ok(v) = json::parse_parts(bytes, &indexed_paths(r)) else { return Index::default() };
    let m = v.at(f::metadata);
    let pairs = m.at(f::labels).members().map(|(k, v)| (k.as_str().into(), v.str().into()));
    Index {
        namespace: m.at(f::namespace).str().into(),
        name: m.at(f::name).str().into(),
        uid: m.at(f::uid).str().into(),
        labels: pairs.collect(),
        fields: r.selectable.iter().map(|path| selectable(&v, path).into()).collect(),
        owners: m.at(f::ownerReferences).items().iter().map(|o| o.at(f::uid).str().into()).collect(),
    }
}

/// The text of a selectable field.
fn selectable(v: &Value, path: &str) -> String {
    match path {
        "source" => {
            let component = v.at(f::source).at(f::component).str();
            return if component.is_empty() { v.at(f::reportingComponent).str().into() } else { component.into() };
        }
        "status.successful" => return v.at(f::status).at(f::succeeded).int().to_string(),
        _ => {}
    }
    let value = path.split('.').fold(v, |v, part| v.at(part));
    match value {
        Value::Str(s) => s.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        _ if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        _ if path == "status.replicas" => "0".into(),
        _ => String::new(),
    }
}
