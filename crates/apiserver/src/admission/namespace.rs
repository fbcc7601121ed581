//! NamespaceLifecycle: nothing new in a namespace that is missing or going.

use super::{Attrs, Operation};
use crate::registry::Registry;
use api::status::Cause;
use api::{Status, f};

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// New objects need a living namespace.
pub fn lifecycle(registry: &Registry, a: &Attrs) -> Result<(), Status> {
    if a.operation != Operation::Create || !a.resource.namespaced || a.namespace.is_empty() {
        return Ok(());
    }
    // Access reviews are answers, not content.
    if a.resource.group == "authorization.k8s.io" {
        return Ok(());
    }
    let namespace = registry
        .find("", "namespaces", "", a.namespace)
        .ok_or_else(|| Status::not_found("", "namespaces", a.namespace))?;
    if namespace.at(f::metadata).has(f::deletionTimestamp) {
        let mut s = a.forbid(format!(
            "unable to create new content in namespace {} because it is being terminated",
            a.namespace
        ));
        s.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {} is being terminated", a.namespace),
            field: "metadata.namespace".into(),
        });
        return Err(s);
    }
    Ok(())
}

/// Some namespaces stay.
pub fn protected(a: &Attrs) -> Result<(), Status> {
    if a.is("namespaces") && IMMORTAL.contains(&a.name) {
        Err(a.forbid("this namespace may not be deleted"))
    } else {
        Ok(())
    }
}
