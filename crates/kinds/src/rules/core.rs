//! Namespaces, nodes, configuration.
//!
//! Source: the `defaults.go` and `strategy.go` files of `core`, `pkg/apis/core/validation`.

use super::{text_default, validation as v};
use api::check::At;
use api::{Value, f, format};
use base64::Engine as _;

// === namespaces, nodes ===

/// The label that names a namespace.
pub fn namespace_defaults(n: &mut Value) {
    let name = n.at(f::metadata).at(f::name).str().to_string();
    if !name.is_empty() {
        n.entry(f::metadata).entry(f::labels).set("kubernetes.io/metadata.name", name);
    }
}

/// A new namespace is active and has the finalizer of the namespace controller.
pub fn namespace_create(n: &mut Value) {
    namespace_defaults(n); // a generated name is known only now
    n.set(f::status, api::value::object([(f::phase, "Active".into())]));
    let list = n.entry(f::spec).entry(f::finalizers).make_list();
    if !list.iter().any(|v| v.str() == "kubernetes") {
        list.push("kubernetes".into());
    }
}

/// Finalizers of a namespace change through `/finalize` only.
pub fn namespace_update(new: &mut Value, old: &Value) {
    let list = old.at(f::spec).at(f::finalizers).clone();
    new.entry(f::spec).set(f::finalizers, list);
}

/// Namespace.
pub fn namespace(n: At) {
    let list = n.at(f::spec).at(f::finalizers);
    for v in list.v.items().iter().map(Value::str) {
        for m in format::is_qualified_name(v) {
            list.invalid_as(v, m);
        }
        if !v.contains('/') && !matches!(v, "kubernetes" | "orphan" | "foregroundDeletion") {
            list.invalid_as(v, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

/// Finalizing writes everything but the status.
pub fn keep_status(new: &mut Value, old: &Value) {
    match old.get(f::status) {
        Some(s) => new.set(f::status, s.clone()),
        None => drop(new.remove(f::status)),
    }
}

/// A namespace with other finalizers.
pub fn finalized(n: At, _: &Value) {
    namespace(n);
}

/// What is allocatable is what there is, unless said otherwise.
pub fn node_defaults(n: &mut Value) {
    let status = n.at(f::status);
    if status.at(f::allocatable).is_zero() && !status.at(f::capacity).is_zero() {
        let capacity = status.at(f::capacity).clone();
        n.entry(f::status).set(f::allocatable, capacity);
    }
}

/// Configuration by reference is gone.
pub fn node_create(n: &mut Value) {
    if let Some(spec) = n.get_mut(f::spec) {
        spec.remove(f::configSource);
    }
}

/// Node.
pub fn node(n: At) {
    const AVOID: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";
    if let Some(text) = n.get(f::metadata).at(f::annotations).at(AVOID).as_str()
        && let Err(e) = api::json::parse(text.as_bytes())
    {
        n.at(f::metadata).at(f::annotations).place("AvoidPods").invalid_as(AVOID, e.message);
    }
    // Upstream reports taints as if they stood in the metadata.
    let taints = n.at(f::metadata).place("taints").with(n.get(f::spec).at(f::taints));
    for (i, t) in taints.items().enumerate() {
        for m in format::is_qualified_name(t.str(f::key)) {
            t.at(f::key).invalid_as(t.str(f::key), m);
        }
        t.at(f::value).maybe(format::is_label_value);
        t.at(f::effect).one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        let same = |o: &Value| o.at(f::key) == t.get(f::key) && o.at(f::effect) == t.get(f::effect);
        if taints.v.items()[..i].iter().any(same) {
            let shown = n.at(f::spec).at(f::taints).index(i).shown();
            t.duplicate_text(shown, "taints must be unique by key and effect pair");
        }
    }
    node_resources(n);
    for cidr in n.at(f::spec).at(f::podCIDRs).items() {
        cidr.format(format::is_cidr);
    }
}

fn node_resources(n: At) {
    for list in [f::capacity, f::allocatable] {
        let list = n.at(f::status).at(list);
        for (name, amount) in list.entries() {
            let at = list.member(name).with(amount);
            v::quantity_not_negative(at);
            v::whole_if_counted(at, name);
        }
    }
}

/// What of a node stays once it is known.
pub fn node_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    if !o.at(f::podCIDRs).is_zero() && n.get(f::podCIDRs) != o.at(f::podCIDRs) {
        n.at(f::podCIDRs).forbidden("node updates may not change podCIDR except from \"\" to valid");
    }
    if !o.at(f::providerID).is_zero() && n.get(f::providerID) != o.at(f::providerID) {
        n.at(f::providerID).forbidden("node updates may not change providerID except from \"\" to valid");
    }
}

/// What is told of a node.
pub fn node_warnings(n: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if n.at(f::spec).has(f::configSource) {
        out.push("spec.configSource: the feature is no longer supported".into());
    }
    if !n.at(f::spec).at(f::externalID).str().is_empty() {
        out.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
    }
    out
}

// === configuration ===

const DATA_MAX: usize = 1024 * 1024;

/// Keys of data, and its size.
fn data_keys(data: At, decode: bool) -> usize {
    let mut total = 0;
    for (k, v) in data.entries() {
        for m in format::is_config_map_key(k) {
            data.key(k).invalid_as(k, m);
        }
        total += if decode { v.str().len() / 4 * 3 } else { v.str().len() };
    }
    total
}

/// ConfigMap.
pub fn config_map(c: At) {
    let mut total = data_keys(c.at(f::data), false);
    let data = c.at(f::data);
    for (k, _) in c.at(f::binaryData).entries() {
        if data.v.has(k) {
            data.key(k).invalid_as(k, "duplicate of key present in binaryData");
        }
    }
    total += data_keys(c.at(f::binaryData), true);
    if total > DATA_MAX {
        c.too_long(DATA_MAX);
    }
}

/// What is immutable stays.
pub fn immutable_data(new: At, old: &Value) {
    if !old.at(f::immutable).is_true() {
        return;
    }
    if !new.get(f::immutable).is_true() {
        new.at(f::immutable).forbidden("field is immutable when `immutable` is set");
    }
    for key in [f::data, f::binaryData] {
        if new.get(key) != old.at(key) && !(new.get(key).is_zero() && old.at(key).is_zero()) {
            new.at(key).forbidden("field is immutable when `immutable` is set");
        }
    }
}

/// Secret.
pub fn secret_defaults(s: &mut Value) {
    text_default(s, f::type_, "Opaque");
}

/// `stringData` is written into `data`.
pub fn secret_string_data(s: &mut Value) {
    let Some(Value::Map(strings)) = s.remove(f::stringData) else { return };
    for (k, v) in strings.iter() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(v.str());
        s.entry(f::data).set(k, encoded);
    }
}

/// As for a create; a type left out stays.
pub fn secret_update(new: &mut Value, old: &Value) {
    secret_string_data(new);
    if new.at(f::type_).str().is_empty() {
        let kind = old.at(f::type_).clone();
        new.set(f::type_, kind);
    }
}

/// Secret.
pub fn secret(s: At) {
    let data = s.at(f::data);
    if data_keys(data, true) > DATA_MAX {
        data.too_long(DATA_MAX);
    }
    let need = |keys: &[&str]| {
        for key in keys.iter().filter(|k| data.v.get(**k).is_none()) {
            data.key(key).required("");
        }
    };
    match s.str(f::type_) {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let annotations = s.at(f::metadata).at(f::annotations);
            if annotations.v.at(NAME).str().is_empty() {
                annotations.key(NAME).required("");
            }
        }
        "kubernetes.io/dockerconfigjson" => need(&[".dockerconfigjson"]),
        "kubernetes.io/dockercfg" => need(&[".dockercfg"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        "kubernetes.io/basic-auth" => {
            if data.v.get("username").is_none() && data.v.get("password").is_none() {
                need(&["username", "password"]);
            }
        }
        _ => {}
    }
}

/// A secret's type stays.
pub fn secret_change(new: At, old: &Value) {
    new.at(f::type_).immutable(old.at(f::type_));
    immutable_data(new, old);
}
