//! OpenAPI documents made from the type table: v3 per group and version, v2 as one document.

use super::{Body, Call, Server, openapi_proto, respond};
use api::schema::{Field, ListKind, Scalar, Ty, Type};
use api::{Value, json, value::object};
use bytes::Bytes;
use http::Response;
use kinds::{Resource, resources};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Documents made so far: they never change while the server runs.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<String, Bytes>>);

impl Documents {
    fn get(&self, path: &str, make: impl FnOnce() -> Option<Value>) -> Option<Bytes> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(b) = made.get(path) {
            return Some(b.clone());
        }
        let bytes = Bytes::from(json::to_string(&make()?));
        made.insert(path.to_string(), bytes.clone());
        Some(bytes)
    }
}

impl Documents {
    fn get_bytes(&self, path: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(path.to_string()).or_insert_with(|| Bytes::from(make())).clone()
    }
}

/// Serves `/openapi/…`.
pub fn answer(server: &Arc<Server>, call: &Call) -> Response<Body> {
    let path = call.info.path.trim_end_matches('/');
    let found = server.openapi.get(path, || match path.strip_prefix("/openapi/") {
        Some("v2") => Some(v2()),
        Some("v3") => Some(v3_index()),
        Some(rest) => {
            let gv = rest.strip_prefix("v3/")?;
            let (group, version) = match gv.split('/').collect::<Vec<_>>()[..] {
                ["api", v] => (String::new(), v.to_string()),
                ["apis", g, v] => (g.to_string(), v.to_string()),
                _ => return None,
            };
            resources().iter().any(|r| r.group == group && r.version == version).then(|| v3(&group, &version))
        }
        None => None,
    });
    let wants_proto = path == "/openapi/v2" && call.header("accept").is_some_and(|a| a.contains("proto-openapi"));
    match found {
        Some(_) if wants_proto => {
            let bytes = server.openapi.get_bytes("/openapi/v2.pb", || openapi_proto::document(&v2()));
            respond::raw(200, openapi_proto::MEDIA, bytes)
        }
        Some(bytes) => respond::raw(200, "application/json", bytes),
        None => respond::text(404, "404 page not found\n"),
    }
}

fn gv_path(r: &Resource) -> String {
    if r.group.is_empty() { format!("api/{}", r.version) } else { format!("apis/{}/{}", r.group, r.version) }
}

fn v3_index() -> Value {
    let all: BTreeSet<String> = resources().iter().map(gv_path).collect();
    let paths = all.iter().map(|p| {
        let digest = ring::digest::digest(&ring::digest::SHA256, p.as_bytes());
        let hash: String = digest.as_ref().iter().take(16).map(|b| format!("{b:02X}")).collect();
        (p.as_str().into(), object([("serverRelativeURL", format!("/openapi/v3/{p}?hash={hash}").into())]))
    });
    object([("paths", Value::Map(paths.collect()))])
}

fn info() -> Value {
    object([("title", "Kubernetes".into()), ("version", "v1.36.1".into())])
}

fn v3(group: &str, version: &str) -> Value {
    let mine: Vec<&Resource> = resources().iter().filter(|r| r.group == group && r.version == version).collect();
    let mut paths = BTreeMap::new();
    let mut wanted: Vec<&'static Type> = Vec::new();
    for r in &mine {
        wanted.push(r.ty);
        wanted.extend(list_type(r));
        for (path, item) in resource_paths(r) {
            paths.insert(path, item);
        }
    }
    wanted.extend(
        ["DeleteOptions", "Status"]
            .iter()
            .filter_map(|n| Type::named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{n}"))),
    );
    let schemas = schemas(wanted, "#/components/schemas/");
    let paths: api::Map = paths.into_iter().map(|(k, v)| (k.as_str().into(), v)).collect();
    object([
        ("openapi", "3.0.0".into()),
        ("info", info()),
        ("paths", Value::Map(paths)),
        ("components", object([("schemas", schemas)])),
    ])
}

fn v2() -> Value {
    let all = resources().iter().flat_map(|r| std::iter::once(r.ty).chain(list_type(r))).collect();
    object([
        ("swagger", "2.0".into()),
        ("info", info()),
        ("paths", Value::object()),
        ("definitions", schemas(all, "#/definitions/")),
    ])
}

fn list_type(r: &Resource) -> Option<&'static Type> {
    Type::of_kind(&r.group, &r.version, &format!("{}List", r.kind))
}

fn schemas(mut wanted: Vec<&'static Type>, prefix: &str) -> Value {
    let mut out = BTreeMap::new();
    while let Some(ty) = wanted.pop() {
        if out.contains_key(ty.name) {
            continue;
        }
        out.insert(ty.name, Value::Null);
        let mut properties = api::Map::new();
        let gvks: Vec<Value> = Type::kinds()
            .iter()
            .filter(|k| std::ptr::eq(Type::of(k.3), ty))
            .map(|k| object([("group", k.0.into()), ("kind", k.2.into()), ("version", k.1.into())]))
            .collect();
        if !gvks.is_empty() {
            for key in ["apiVersion", "kind"] {
                properties.set(
                    key,
                    object([("type", "string".into()), ("description", format!("{key} of the object.").into())]),
                );
            }
        }
        for field in ty.fields {
            properties.set(field.name, field_schema(field, prefix, &mut wanted));
        }
        let mut v = object([("type", "object".into()), ("description", describe(ty).into())]);
        let required: Vec<Value> = ty.fields.iter().filter(|f| f.required).map(|f| f.name.as_str().into()).collect();
        if !required.is_empty() {
            v.set("required", required);
        }
        if !properties.is_empty() {
            v.set("properties", properties);
        }
        if ty.atomic {
            v.set("x-kubernetes-map-type", "atomic");
        }
        if !gvks.is_empty() {
            v.set("x-kubernetes-group-version-kind", gvks);
        }
        out.insert(ty.name, v);
    }
    Value::Map(out.into_iter().map(|(k, v)| (k.into(), v)).collect())
}

/// `PodSpec` reads "Pod spec."
fn words(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push(' ');
            out.extend(c.to_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn describe(ty: &Type) -> String {
    format!("{} of the Kubernetes API.", words(ty.go_name()))
}

fn field_schema(field: &Field, prefix: &str, wanted: &mut Vec<&'static Type>) -> Value {
    let mut v = schema(field.ty, prefix, wanted);
    let description = format!("{}.", words(field.name.as_str()));
    if v.get("$ref").is_some() {
        if prefix == "#/definitions/" {
            return v; // v2 allows nothing beside a reference
        }
        v = object([("allOf", vec![v].into()), ("default", Value::object())]);
        if field.optional || !field.always {
            v.remove("default");
        }
    }
    v.set("description", description);
    if let Some(d) = field.default.and_then(|d| json::parse(d.as_bytes()).ok()) {
        v.set("default", d);
    }
    if !field.values.is_empty() {
        v.set("enum", field.values.iter().map(|s| Value::from(*s)).collect::<Vec<_>>());
    }
    if let Ty::List(_) = field.ty {
        match field.list {
            ListKind::Atomic => v.set("x-kubernetes-list-type", "atomic"),
            ListKind::Set => v.set("x-kubernetes-list-type", "set"),
            ListKind::Map(keys) => {
                v.set("x-kubernetes-list-type", "map");
                v.set("x-kubernetes-list-map-keys", keys.iter().map(|k| Value::from(k.as_str())).collect::<Vec<_>>());
            }
        }
    }
    if let Some(k) = field.merge_key {
        v.set("x-kubernetes-patch-merge-key", k.as_str());
    }
    match (field.patch_merge, field.retain_keys) {
        (true, true) => v.set("x-kubernetes-patch-strategy", "merge,retainKeys"),
        (true, false) => v.set("x-kubernetes-patch-strategy", "merge"),
        (false, true) => v.set("x-kubernetes-patch-strategy", "retainKeys"),
        _ => {}
    }
    v
}

fn schema(ty: Ty, prefix: &str, wanted: &mut Vec<&'static Type>) -> Value {
    let plain = |t: &str, format: &str| {
        let mut v = object([("type", t.into())]);
        if !format.is_empty() {
            v.set("format", format);
        }
        v
    };
    match ty {
        Ty::Object(id) => {
            let t = Type::of(id);
            wanted.push(t);
            object([("$ref", format!("{prefix}{}", t.name).into())])
        }
        Ty::List(item) => object([("type", "array".into()), ("items", schema(*item, prefix, wanted))]),
        Ty::Map(item) => object([("type", "object".into()), ("additionalProperties", schema(*item, prefix, wanted))]),
        Ty::Scalar(s) => match s {
            Scalar::String | Scalar::Duration | Scalar::Quantity => plain("string", ""),
            Scalar::Bool => plain("boolean", ""),
            Scalar::Int32 => plain("integer", "int32"),
            Scalar::Int64 => plain("integer", "int64"),
            Scalar::Double => plain("number", "double"),
            Scalar::Bytes => plain("string", "byte"),
            Scalar::Time | Scalar::MicroTime => plain("string", "date-time"),
            Scalar::IntOrString => plain("string", "int-or-string"),
            Scalar::Raw | Scalar::Fields => plain("object", ""),
            _ => Value::object(),
        },
    }
}

fn resource_paths(r: &Resource) -> Vec<(String, Value)> {
    let base = format!("/{}", gv_path(r));
    let place = if r.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", r.plural)
    } else {
        format!("{base}/{}", r.plural)
    };
    let kind = object([
        ("group", r.group.as_str().into()),
        ("kind", r.kind.as_str().into()),
        ("version", r.version.as_str().into()),
    ]);
    let reference = object([("$ref", format!("#/components/schemas/{}", r.ty.name).into())]);
    let content = object([("application/json", object([("schema", reference)]))]);
    let operation = |action: &str| {
        let query = |name: &str| {
            object([
                ("in", "query".into()),
                ("name", name.into()),
                ("schema", object([("type", "string".into()), ("uniqueItems", true.into())])),
            ])
        };
        let mut parameters = Vec::new();
        if matches!(action, "post" | "put" | "patch") {
            parameters.extend(["dryRun", "fieldManager", "fieldValidation"].map(query));
        }
        if action == "patch" {
            parameters.push(query("force"));
        }
        let ok = object([("200", object([("description", "OK".into()), ("content", content.clone())]))]);
        object([
            ("responses", ok),
            ("parameters", parameters.into()),
            ("x-kubernetes-action", action.into()),
            ("x-kubernetes-group-version-kind", kind.clone()),
        ])
    };
    let item = |pairs: &[(&str, &str, &str)]| {
        let entries = pairs.iter().filter(|(_, verb, _)| r.has_verb(verb)).map(|(method, _, action)| {
            (
                (*method).into(),
                operation(if *action == "patch" || *action == "post" || *action == "put" { method } else { action }),
            )
        });
        Value::Map(entries.collect())
    };
    let mut out = vec![(
        place.clone(),
        item(&[
            ("get", "list", "list"),
            ("post", "create", "post"),
            ("delete", "deletecollection", "deletecollection"),
        ]),
    )];
    if r.has_verb("get") {
        out.push((
            format!("{place}/{{name}}"),
            item(&[
                ("get", "get", "get"),
                ("put", "update", "put"),
                ("patch", "patch", "patch"),
                ("delete", "delete", "delete"),
            ]),
        ));
    }
    out
}
