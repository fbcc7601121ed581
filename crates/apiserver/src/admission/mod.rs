//! Admission: what a write must satisfy beyond its kind's own rules, plugin by plugin in upstream's order.
//!
//! A plugin is a pure function over the request and a view of what the caches hold ([`Registry::find`], [`Registry::all`]).
//! Mutating plugins run first, all validating ones after the object is complete.

mod certificates;
mod classes;
mod limits;
mod namespace;
pub(crate) mod nodes;
mod pod_security;
mod pods;
pub(crate) mod quota;
mod rbac;

use crate::registry::{Registry, User};
use api::{Status, Value};
use kinds::Resource;
use std::sync::Arc;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It makes an object.
    Create,
    /// It changes one.
    Update,
    /// It removes one.
    Delete,
}

/// A write.
pub struct Attrs<'a> {
    /// What it does.
    pub operation: Operation,
    /// To which resource.
    pub resource: &'static Resource,
    /// Through which subresource.
    pub subresource: &'a str,
    /// Where.
    pub namespace: &'a str,
    /// To which object.
    pub name: &'a str,
    /// Who.
    pub user: &'a User,
    /// Without effect.
    pub dry_run: bool,
    /// What there is.
    pub old: Option<&'a Value>,
}

impl Attrs<'_> {
    /// Whether it is about this resource of the core group, not about a subresource.
    pub fn is(&self, plural: &str) -> bool {
        self.resource.group.is_empty() && self.resource.plural == plural && self.subresource.is_empty()
    }

    /// The refusal of a plugin.
    pub fn forbid(&self, why: impl AsRef<str>) -> Status {
        Status::forbidden(&self.resource.group, &self.resource.plural, self.name, why.as_ref())
    }
}

/// Lets plugins complete the object.
pub fn mutate(registry: &Arc<Registry>, a: &Attrs, object: &mut Value) -> Result<(), Status> {
    namespace::lifecycle(registry, a)?;
    if a.operation == Operation::Update && a.is("pods") {
        pods::keep_priority(a, object);
        pods::tolerations(object);
    }
    if a.operation != Operation::Create || !a.subresource.is_empty() {
        return Ok(());
    }
    match (a.resource.group.as_str(), a.resource.plural.as_str()) {
        ("", "pods") => {
            limits::complete(registry, a, object);
            pods::service_account(registry, a, object)?;
            pods::priority(registry, a, object)?;
            pods::tolerations(object);
            classes::runtime_class(registry, a, object)?;
        }
        ("", "nodes") => nodes::not_ready_taint(object),
        ("", "persistentvolumeclaims") => classes::storage_class(registry, object),
        ("networking.k8s.io", "ingresses") => classes::ingress_class(registry, object),
        _ => {}
    }
    Ok(())
}

/// Lets plugins refuse the write.
pub fn validate(registry: &Arc<Registry>, a: &Attrs, object: &Value, warnings: &mut Vec<String>) -> Result<(), Status> {
    if a.operation == Operation::Delete {
        namespace::protected(a)?;
    }
    rbac::check(registry, a, object)?;
    limits::check(registry, a, object)?;
    if registry.settings.node_restriction {
        nodes::restrict(registry, a, object)?;
    }
    pod_security::validate(registry, a, object, warnings)?;
    classes::resize(registry, a, object)?;
    certificates::check(registry, a, object)
}
