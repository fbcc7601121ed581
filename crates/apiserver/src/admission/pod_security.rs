//! PodSecurity: namespaces say by labels how much their pods may ask for.

use super::{Attrs, Operation};
use crate::core::pod_security::{Level, is_version, violations};
use crate::registry::Registry;
use api::check::check;
use api::{Status, Value, f};

const MODES: &[&str] = &["enforce", "audit", "warn"];

fn label(mode: &str) -> String {
    format!("pod-security.kubernetes.io/{mode}")
}

/// A namespace's level and version for a mode; what is malformed is the strictest.
fn policy(namespace: &Value, mode: &str) -> (Level, String) {
    let labels = namespace.at(f::metadata).at(f::labels);
    let level = match labels.at(label(mode).as_str()).as_str() {
        None => Level::Privileged,
        Some(text) => Level::of(text).unwrap_or(Level::Restricted),
    };
    let version = labels.at(label(&format!("{mode}-version")).as_str()).str().to_string();
    (level, if is_version(&version) { version } else { "latest".into() })
}

/// Where a kind keeps the pod that it is or makes.
fn pod_in<'a>(a: &Attrs, v: &'a Value) -> Option<&'a Value> {
    Some(match (a.resource.group.as_str(), a.resource.plural.as_str()) {
        ("", "pods") => v,
        ("", "podtemplates") => v.at(f::template),
        ("", "replicationcontrollers") | ("apps", _) | ("batch", "jobs") => v.at(f::spec).at(f::template),
        ("batch", "cronjobs") => v.at(f::spec).at(f::jobTemplate).at(f::spec).at(f::template),
        _ => return None,
    })
    .filter(|t| t.has(f::spec))
}

/// Whether an update of a pod can make it ask for more.
fn matters(a: &Attrs, new: &Value) -> bool {
    let Some(old) = a.old else { return true };
    let images = |v: &Value| -> Vec<String> {
        kinds::rules::pod::containers(v.at(f::spec)).map(|(_, c)| c.at(f::image).str().to_string()).collect()
    };
    images(old) != images(new)
}

/// Checks a pod, or warns of what makes pods.
pub fn validate(registry: &Registry, a: &Attrs, new: &Value, warnings: &mut Vec<String>) -> Result<(), Status> {
    if a.operation == Operation::Delete {
        return Ok(());
    }
    if a.is("namespaces") {
        return labels(new);
    }
    let about = a.subresource.is_empty() || (a.resource.plural == "pods" && a.subresource == "ephemeralcontainers");
    let Some(pod) = pod_in(a, new).filter(|_| about) else { return Ok(()) };
    let Some(namespace) = registry.find("", "namespaces", "", a.namespace) else { return Ok(()) };
    let is_pod = a.resource.plural == "pods" && a.resource.group.is_empty();
    if is_pod && !matters(a, new) {
        return Ok(());
    }
    let (m, spec) = (pod.at(f::metadata), pod.at(f::spec));
    let (level, version) = policy(&namespace, "enforce");
    if is_pod && let Some(found) = violations(level, m, spec) {
        return Err(a.forbid(format!("violates PodSecurity \"{}:{version}\": {found}", level.name())));
    }
    let (level, version) = policy(&namespace, "warn");
    if let Some(found) = violations(level, m, spec) {
        warnings.push(format!("would violate PodSecurity \"{}:{version}\": {found}", level.name()));
    }
    Ok(())
}

/// The labels of a namespace are known levels and versions.
fn labels(namespace: &Value) -> Result<(), Status> {
    let errs = check(namespace, None, |n| {
        let labels = n.at(f::metadata).at(f::labels);
        for mode in MODES {
            if let Some(level) = labels.key(&label(mode)).some()
                && Level::of(level.v.str()).is_none()
            {
                level.invalid("must be one of privileged, baseline, restricted");
            }
            if let Some(version) = labels.key(&label(&format!("{mode}-version"))).some()
                && !is_version(version.v.str())
            {
                version.invalid("must be \"latest\" or \"v1.x\"");
            }
        }
    });
    let name = namespace.at(f::metadata).at(f::name).str();
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid("", "Namespace", name, &errs)) }
}
