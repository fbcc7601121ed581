//! Metadata: what the server fills in, keeps, and checks on every write.
//!
//! Source: `k8s.io/apiserver/pkg/registry/rest/{create,update,meta}.go`, `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use api::errors::{FieldErrors, Path};
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
    if r.rules.generation.is_empty() {
        m.remove(f::generation);
    } else {
        m.set(f::generation, 1);
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
    for key in [f::creationTimestamp, f::deletionTimestamp, f::deletionGracePeriodSeconds, f::selfLink, f::generation] {
        match was.get(key) {
            Some(v) => m.set(key, v.clone()),
            None => drop(m.remove(key)),
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
pub fn validate(object: &Value, r: &Resource, errs: &mut FieldErrors) {
    static ROOT: Path<'static> = Path::Root;
    let path = ROOT.child("metadata");
    let m = object.at(f::metadata);
    let base = m.at(f::generateName).str();
    if !base.is_empty() {
        for e in (r.rules.name)(&format::mask_trailing_dash(base)) {
            errs.invalid(&path.child("generateName"), base, e);
        }
    }
    let name = m.at(f::name).str();
    if name.is_empty() {
        errs.required(&path.child("name"), "name or generateName is required");
    } else {
        for e in (r.rules.name)(name) {
            errs.invalid(&path.child("name"), name, e);
        }
    }
    let namespace = m.at(f::namespace).str();
    if r.namespaced {
        if namespace.is_empty() {
            errs.required(&path.child("namespace"), "");
        } else {
            for e in format::is_dns1123_label(namespace) {
                errs.invalid(&path.child("namespace"), namespace, e);
            }
        }
    } else if !namespace.is_empty() {
        errs.forbidden(&path.child("namespace"), "not allowed on this type");
    }
    if m.at(f::generation).int() < 0 {
        errs.invalid(&path.child("generation"), m.at(f::generation), "must be greater than or equal to 0");
    }
    labels_and_more(m, &path, errs);
}

fn labels_and_more(m: &Value, path: &Path, errs: &mut FieldErrors) {
    kinds::rules::validation::labels(m.at(f::labels), &path.child("labels"), errs);
    kinds::rules::validation::annotations(m.at(f::annotations), &path.child("annotations"), errs);
    owners(m.at(f::ownerReferences), &path.child("ownerReferences"), errs);
    let list = path.child("finalizers");
    for (i, v) in m.at(f::finalizers).items().iter().enumerate() {
        let wrong = format::is_qualified_name(v.str());
        for e in &wrong {
            errs.invalid(&list, v, e);
        }
        if wrong.is_empty()
            && !v.str().contains('/')
            && !matches!(v.str(), "orphan" | "foregroundDeletion" | "kubernetes")
        {
            errs.invalid(&list.index(i), v, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
    let has = |name: &str| m.at(f::finalizers).items().iter().any(|v| v.str() == name);
    if has("orphan") && has("foregroundDeletion") {
        errs.invalid(&list, m.at(f::finalizers), "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

fn owners(list: &Value, path: &Path, errs: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for o in list.items() {
        let at = *path;
        if o.at(f::apiVersion).str().is_empty() {
            errs.invalid(&at.child("apiVersion"), "", "version must not be empty");
        }
        for (key, name) in [(f::kind, "kind"), (f::name, "name"), (f::uid, "uid")] {
            if o.at(key).str().is_empty() {
                errs.invalid(&at.child(name), "", "must not be empty");
            }
        }
        if o.at(f::controller).is_true() {
            let shown = format!("{}/{}", o.at(f::kind).str(), o.at(f::name).str());
            match &controller {
                Some(first) => errs.invalid(path, list, format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {shown}")),
                None => controller = Some(shown),
            }
        }
    }
}

/// Whether upstream's strategy of a kind checks a change of metadata itself, after the registry did: the causes of a refusal
/// then stand twice, and clients count them.
pub fn checked_twice(r: &Resource) -> bool {
    const ONCE: &[&str] = &[
        "events",
        "flowschemas",
        "limitranges",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
        "volumeattachments",
    ];
    r.group == "events.k8s.io" || !ONCE.contains(&r.plural.as_str())
}

/// What is wrong with a change of metadata.
pub fn validate_update(new: &Value, old: &Value, errs: &mut FieldErrors) {
    static ROOT: Path<'static> = Path::Root;
    let path = ROOT.child("metadata");
    let (n, o) = (new.at(f::metadata), old.at(f::metadata));
    if n.at(f::generation).int() < o.at(f::generation).int() {
        errs.invalid(&path.child("generation"), n.at(f::generation), "must not be decremented");
    }
    for (key, name) in [
        (f::name, "name"),
        (f::namespace, "namespace"),
        (f::uid, "uid"),
        (f::creationTimestamp, "creationTimestamp"),
        (f::deletionTimestamp, "deletionTimestamp"),
        (f::deletionGracePeriodSeconds, "deletionGracePeriodSeconds"),
    ] {
        if n.at(key) != o.at(key) {
            errs.invalid(&path.child(name), n.at(key), "field is immutable");
        }
    }
    if o.has(f::deletionTimestamp) {
        let before = o.at(f::finalizers).items();
        let mut added: Vec<&str> =
            n.at(f::finalizers).items().iter().filter(|v| !before.contains(v)).map(Value::str).collect();
        added.sort_unstable();
        if !added.is_empty() {
            let shown: Vec<String> = added.iter().map(|s| format!("{s:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            );
            errs.forbidden(&path.child("finalizers"), detail);
        }
    }
}
