//! Metadata: what the server fills in, keeps, and checks on every write.
//!
//! Source: `k8s.io/apiserver/pkg/registry/rest/{create,update,meta}.go`, `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use api::check::At;
use api::{Value, f, format};
use kinds::Resource;

/// What the server gives to a new object.
pub struct Birth<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Now, as RFC 3339.
    pub now: &'a str,
    /// What is appended to `generateName`.
    pub suffix: &'a str,
}

/// `generateName` plus a suffix, cut so that it fits a label.
pub fn generated(base: &str, suffix: &str) -> String {
    const BASE_MAX: usize = 63 - 5;
    let mut end = base.len().min(BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &base[..end])
}

/// Fills in a new object's metadata.
pub fn fill_create(object: &mut Value, r: &Resource, namespace: &str, birth: &Birth) {
    let m = object.entry(f::metadata);
    for key in [f::deletionTimestamp, f::deletionGracePeriodSeconds, f::selfLink, f::resourceVersion] {
        m.remove(key);
    }
    if r.namespaced {
        m.set(f::namespace, namespace);
    } else {
        m.remove(f::namespace);
    }
    m.set(f::uid, birth.uid);
    m.set(f::creationTimestamp, birth.now);
    let base = m.at(f::generateName).str().to_string();
    if !base.is_empty() && m.at(f::name).str().is_empty() {
        m.set(f::name, generated(&base, birth.suffix));
    }
    if r.rules.generation.is_empty() || r.rules.first_generation == 0 {
        m.remove(f::generation);
    } else {
        m.set(f::generation, r.rules.first_generation);
    }
    for finalizer in r.rules.finalizers {
        let list = m.entry(f::finalizers).make_list();
        if !list.iter().any(|v| v.str() == *finalizer) {
            list.push((*finalizer).into());
        }
    }
}

/// What no update can change goes back to the old value.
pub fn keep_on_update(new: &mut Value, old: &Value, r: &Resource) {
    let was = old.at(f::metadata);
    let annotated = r.kind == "Deployment" && new.at(f::metadata).at(f::annotations) != was.at(f::annotations);
    let changed = annotated || r.rules.generation.iter().any(|k| new.at(*k) != old.at(*k));
    let m = new.entry(f::metadata);
    for key in [f::creationTimestamp, f::selfLink, f::generation] {
        match was.get(key) {
            Some(v) => m.set(key, v.clone()),
            None => drop(m.remove(key)),
        }
    }
    // A deletion goes on; it does not begin by a write.
    if was.has(f::deletionTimestamp) {
        m.set(f::deletionTimestamp, was.at(f::deletionTimestamp).clone());
        if !m.has(f::deletionGracePeriodSeconds) && was.has(f::deletionGracePeriodSeconds) {
            m.set(f::deletionGracePeriodSeconds, was.at(f::deletionGracePeriodSeconds).clone());
        }
    }
    if m.at(f::uid).str().is_empty() {
        m.set(f::uid, was.at(f::uid).clone());
    }
    if !r.rules.generation.is_empty() && changed {
        m.set(f::generation, was.at(f::generation).int() + 1);
    }
}

/// What is wrong with metadata.
pub fn validate(object: At, r: &Resource) {
    let m = object.at(f::metadata);
    let base = m.at(f::generateName);
    if !base.v.str().is_empty() {
        for e in (r.rules.name)(&format::mask_trailing_dash(base.v.str())) {
            base.invalid(e);
        }
    }
    let name = m.at(f::name);
    if name.v.str().is_empty() {
        name.required("name or generateName is required");
    } else {
        name.format(r.rules.name);
    }
    let namespace = m.at(f::namespace);
    if r.namespaced {
        namespace.named(format::is_dns1123_label);
    } else if !namespace.v.str().is_empty() {
        namespace.forbidden("not allowed on this type");
    }
    m.at(f::generation).non_negative();
    kinds::rules::validation::labels(m.at(f::labels));
    kinds::rules::validation::annotations(m.at(f::annotations));
    owners(m.at(f::ownerReferences));
    finalizers(m.at(f::finalizers), r);
}

fn finalizers(list: At, r: &Resource) {
    for v in list.items() {
        let wrong = format::is_qualified_name(v.v.str());
        for e in &wrong {
            list.invalid_as(v.v, e);
        }
        if !free_finalizers(r)
            && !v.v.str().contains('/')
            && !matches!(v.v.str(), "orphan" | "foregroundDeletion" | "kubernetes")
        {
            v.invalid("name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    both_finalizers(list);
}

/// Whether a kind's finalizers may be names without a domain.
fn free_finalizers(r: &Resource) -> bool {
    r.group == "admissionregistration.k8s.io"
}

fn both_finalizers(list: At) {
    let has = |name: &str| list.v.items().iter().any(|v| v.str() == name);
    if has("orphan") && has("foregroundDeletion") {
        list.invalid("finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// A group and a version, if the text is one.
fn group_version(text: &str) -> Option<(&str, &str)> {
    match text.matches('/').count() {
        0 => Some(("", text)),
        1 => text.split_once('/'),
        _ => None,
    }
    .filter(|(_, version)| !version.is_empty())
}

fn owners(list: At) {
    let mut controller: Option<String> = None;
    for o in list.v.items() {
        let at = |key: api::Name| list.at(key).with(o.at(key));
        let gv = group_version(o.at(f::apiVersion).str());
        if gv.is_none() {
            at(f::apiVersion).invalid_as(o.at(f::apiVersion).str(), "version must not be empty");
        }
        for key in [f::kind, f::name, f::uid] {
            if o.at(key).str().is_empty() {
                at(key).invalid_as("", "must not be empty");
            }
        }
        if gv.is_some_and(|(g, _)| matches!(g, "" | "events.k8s.io")) && o.at(f::kind).str() == "Event" {
            let gv = o.at(f::apiVersion).str();
            let shown = if gv.contains('/') { gv.to_string() } else { format!("/{gv}") };
            list.with(o).invalid_as(o, format!("{shown}, Kind=Event is disallowed from being an owner"));
        }
        if o.at(f::controller).is_true() {
            let shown = format!("{}/{}", o.at(f::kind).str(), o.at(f::name).str());
            match &controller {
                Some(first) => list.invalid(format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {shown}")),
                None => controller = Some(shown),
            }
        }
    }
}

/// The same owner named twice is one; answers what the client is told of it.
pub fn unite_owners(object: &mut Value) -> Option<String> {
    let list = object.get_mut(f::metadata)?.get_mut(f::ownerReferences)?.as_list_mut()?;
    let mut twice: Vec<String> = Vec::new();
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    for o in list.drain(..) {
        if kept.contains(&o) {
            twice.push(o.at(f::uid).str().into());
        } else {
            kept.push(o);
        }
    }
    *list = kept;
    (!twice.is_empty()).then(|| {
        format!(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}", twice.join(", "))
    })
}

/// Whether upstream's strategy of a kind checks a change of metadata itself, after the registry did: the causes of a refusal
/// then stand twice, and clients count them.
pub fn checked_twice(r: &Resource) -> bool {
    const ONCE: &[&str] = &[
        "endpointslices",
        "events",
        "flowschemas",
        "limitranges",
        "mutatingwebhookconfigurations",
        "persistentvolumes",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
        "volumeattachments",
    ];
    r.group == "events.k8s.io" || !ONCE.contains(&r.plural.as_str())
}

/// What is wrong with a change of metadata.
pub fn validate_update(new: At, old: &Value) {
    let (m, o) = (new.at(f::metadata), old.at(f::metadata));
    if m.int(f::generation) < o.at(f::generation).int() {
        m.at(f::generation).invalid("must not be decremented");
    }
    for key in
        [f::name, f::namespace, f::uid, f::creationTimestamp, f::deletionTimestamp, f::deletionGracePeriodSeconds]
    {
        m.at(key).immutable(o.at(key));
    }
    if o.has(f::deletionTimestamp) {
        let before = o.at(f::finalizers).items();
        let mut added: Vec<&str> =
            m.get(f::finalizers).items().iter().filter(|v| !before.contains(v)).map(Value::str).collect();
        added.sort_unstable();
        if !added.is_empty() {
            let shown: Vec<String> = added.iter().map(|s| format!("{s:?}")).collect();
            m.at(f::finalizers).forbidden(format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            ));
        }
    }
}
