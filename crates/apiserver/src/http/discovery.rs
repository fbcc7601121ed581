//! Discovery: which groups, versions and resources there are, derived from the table of resources.

use super::{Body, Call, Server, respond};
use crate::core::negotiate::{Form, Media, View};
use crate::registry::encode;
use api::{Status, Value, value::object};
use http::Response;
use kinds::{Resource, resources};
use std::sync::Arc;

/// (group, versions) in the order in which they are announced.
fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for r in resources().iter().filter(|r| !r.group.is_empty()) {
        match out.iter_mut().find(|(g, _)| *g == r.group) {
            Some((_, versions)) if versions.contains(&r.version.as_str()) => {}
            Some((_, versions)) => versions.push(&r.version),
            None => out.push((&r.group, vec![&r.version])),
        }
    }
    out
}

fn strings(list: &[String]) -> Value {
    list.iter().map(Value::from).collect::<Vec<_>>().into()
}

/// Storage's fingerprint of a resource's form: a hash of its path.
fn storage_hash(r: &Resource) -> String {
    use base64::Engine as _;
    let digest =
        ring::digest::digest(&ring::digest::SHA256, format!("{}/{}/{}", r.group, r.version, r.kind).as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

fn api_resource(r: &Resource) -> Value {
    let mut v = object([
        ("name", r.plural.as_str().into()),
        ("singularName", r.singular.as_str().into()),
        ("namespaced", r.namespaced.into()),
        ("kind", r.kind.as_str().into()),
        ("verbs", strings(&r.verbs)),
    ]);
    if !r.short_names.is_empty() {
        v.set("shortNames", strings(&r.short_names));
    }
    if !r.categories.is_empty() {
        v.set("categories", strings(&r.categories));
    }
    if !r.prefix.is_empty() {
        v.set("storageVersionHash", storage_hash(r));
    }
    v
}

fn sub_resource(r: &Resource, s: &kinds::Subresource) -> Value {
    let mut v = object([
        ("name", format!("{}/{}", r.plural, s.name).into()),
        ("singularName", "".into()),
        ("namespaced", r.namespaced.into()),
    ]);
    if s.gvk.0 != r.group || s.gvk.1 != r.version {
        if !s.gvk.0.is_empty() {
            v.set("group", s.gvk.0.as_str());
        }
        v.set("version", s.gvk.1.as_str());
    }
    v.set("kind", s.gvk.2.as_str());
    v.set("verbs", strings(&s.verbs));
    v
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for r in resources().iter().filter(|r| r.group == group && r.version == version) {
        list.push(api_resource(r));
        list.extend(r.subresources.iter().map(|s| sub_resource(r, s)));
    }
    if list.is_empty() {
        return None;
    }
    let gv = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    let mut v = object([("kind", "APIResourceList".into())]);
    if !group.is_empty() {
        v.set("apiVersion", "v1");
    }
    v.set("groupVersion", gv);
    v.set("resources", list);
    Some(v)
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let one = |v: &str| object([("groupVersion", format!("{group}/{v}").into()), ("version", v.into())]);
    object([
        ("name", group.into()),
        ("versions", versions.iter().map(|v| one(v)).collect::<Vec<_>>().into()),
        ("preferredVersion", one(versions[0])),
    ])
}

/// The aggregated form: everything at once.
fn aggregated(core: bool) -> Value {
    let one = |group: &str, versions: &[&str]| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|v| {
                let list: Vec<Value> = resources()
                    .iter()
                    .filter(|r| r.group == group && r.version == *v)
                    .map(aggregated_resource)
                    .collect();
                object([("version", (*v).into()), ("resources", list.into()), ("freshness", "Current".into())])
            })
            .collect();
        let mut metadata = Value::object();
        if !group.is_empty() {
            metadata.set("name", group);
        }
        metadata.set("creationTimestamp", Value::Null);
        object([("metadata", metadata), ("versions", versions.into())])
    };
    let items: Vec<Value> =
        if core { vec![one("", &["v1"])] } else { groups().iter().map(|(g, v)| one(g, v)).collect() };
    object([
        ("kind", "APIGroupDiscoveryList".into()),
        ("apiVersion", "apidiscovery.k8s.io/v2".into()),
        ("metadata", Value::object()),
        ("items", items.into()),
    ])
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    object([("group", group.into()), ("version", version.into()), ("kind", kind.into())])
}

fn aggregated_resource(r: &Resource) -> Value {
    let mut v = object([
        ("resource", r.plural.as_str().into()),
        ("responseKind", response_kind(&r.group, &r.version, &r.kind)),
        ("scope", if r.namespaced { "Namespaced" } else { "Cluster" }.into()),
        ("singularResource", r.singular.as_str().into()),
        ("verbs", strings(&r.verbs)),
    ]);
    if !r.short_names.is_empty() {
        v.set("shortNames", strings(&r.short_names));
    }
    if !r.categories.is_empty() {
        v.set("categories", strings(&r.categories));
    }
    if !r.subresources.is_empty() {
        let subs = r.subresources.iter().map(|s| {
            object([
                ("subresource", s.name.as_str().into()),
                ("responseKind", response_kind(&s.gvk.0, &s.gvk.1, &s.gvk.2)),
                ("verbs", strings(&s.verbs)),
            ])
        });
        v.set("subresources", subs.collect::<Vec<_>>());
    }
    v
}

fn paths() -> Value {
    let mut all: Vec<String> = vec![
        "/.well-known/openid-configuration".into(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
        "/apis/".into(),
    ];
    for (g, versions) in groups() {
        all.push(format!("/apis/{g}"));
        all.extend(versions.iter().map(|v| format!("/apis/{g}/{v}")));
    }
    all.extend(
        [
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openapi/v3/",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(String::from),
    );
    object([("paths", strings(&all))])
}

/// Everything that is not about objects.
pub fn answer(_: &Arc<Server>, call: &Call) -> Response<Body> {
    let path = call.info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let wants_aggregated = call.header("accept").is_some_and(|a| {
        a.contains("as=APIGroupDiscoveryList") && a.contains("g=apidiscovery.k8s.io") && a.contains("v=v2")
    });
    let found = match parts[..] {
        [""] | ["index.html"] => Some(paths()),
        ["api"] if wants_aggregated => Some(aggregated(true)),
        ["apis"] if wants_aggregated => Some(aggregated(false)),
        ["api"] => Some(object([
            ("kind", "APIVersions".into()),
            ("versions", vec!["v1".into()].into()),
            (
                "serverAddressByClientCIDRs",
                vec![object([
                    ("clientCIDR", "0.0.0.0/0".into()),
                    ("serverAddress", call.header("host").unwrap_or_default().into()),
                ])]
                .into(),
            ),
        ])),
        ["apis"] => {
            let list: Vec<Value> = groups().iter().map(|(g, v)| group_value(g, v)).collect();
            Some(object([("kind", "APIGroupList".into()), ("apiVersion", "v1".into()), ("groups", list.into())]))
        }
        ["api", version] => resource_list("", version),
        ["apis", group] => groups().iter().find(|(g, _)| *g == group).map(|(g, v)| {
            let mut out = object([("kind", "APIGroup".into()), ("apiVersion", "v1".into())]);
            for (k, x) in group_value(g, v).members() {
                out.set(k, x.clone());
            }
            out
        }),
        ["apis", group, version] => resource_list(group, version),
        _ => None,
    };
    let known_group = matches!(parts[..], ["api", _])
        || matches!(parts[..], ["apis", g, ..] if groups().iter().any(|(x, _)| *x == g));
    match found {
        Some(v) => {
            let form = match respond::form(call, false) {
                Ok(f) => Form { view: View::Full, ..f },
                Err(_) if wants_aggregated => Form::JSON,
                Err(s) => return respond::status(&s, call),
            };
            let form = if form.media == Media::Protobuf { Form::JSON } else { form };
            let media = if wants_aggregated {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            } else {
                form.content_type()
            };
            respond::raw(200, media, encode::value_form(&v, form))
        }
        None if known_group => {
            let mut s = Status::failure(404, "NotFound", "the server could not find the requested resource");
            s.details = true;
            respond::status(&s, call)
        }
        None => respond::text(404, "404 page not found\n"),
    }
}
