//! The role-based policy as the caches have it: decoded when it is first asked for after a change. Whoever holds a long
//! answer open (a local subscription) is told of changes and asks again.

use super::Registry;
use crate::core::node_auth::{self, Graph};
use crate::core::rbac::{Attributes, Policy, User};
use api::Value;
use cache::Interest;
use platform::watch as signal;
use std::sync::{Arc, Mutex, PoisonError};

/// The decoded policy and the change counter it was made at.
pub struct PolicyCache {
    changes: signal::Sender<u64>,
    decoded: Mutex<Option<(u64, Arc<Policy>)>>,
}

impl Default for PolicyCache {
    fn default() -> PolicyCache {
        PolicyCache { changes: signal::Sender::new(0), decoded: Mutex::default() }
    }
}

impl PolicyCache {
    /// A role or binding changed.
    pub fn touch(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

impl Registry {
    /// A signal of changes of roles and bindings.
    pub fn policy_changes(&self) -> signal::Receiver<u64> {
        self.policy.changes.subscribe()
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        let changes = *self.policy.changes.borrow();
        let mut decoded = self.policy.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, policy)) = &*decoded
            && *at == changes
        {
            return policy.clone();
        }
        const GROUP: &str = "rbac.authorization.k8s.io";
        let all = |plural: &str| self.all(GROUP, plural, "");
        let policy = Arc::new(Policy::new(
            &all("roles"),
            &all("clusterroles"),
            &all("rolebindings"),
            &all("clusterrolebindings"),
        ));
        *decoded = Some((changes, policy.clone()));
        policy
    }

    /// Whether a user may: the reason, or the reason why not.
    pub fn authorize(&self, user: &User, a: &Attributes) -> Result<String, String> {
        if user.in_group("system:masters") {
            return Ok(String::new());
        }
        let mut why = String::new();
        if let Some(node) = node_auth::node_name(user) {
            match node_auth::authorize(node, a, self) {
                Ok(()) => return Ok(String::new()),
                Err(e) => why = e,
            }
        }
        self.policy().authorize(user, a).map_err(|e| match (why.is_empty(), e.is_empty()) {
            (true, _) => e,
            (false, true) => why,
            (false, false) => format!("{why}, {e}"),
        })
    }
}

impl Graph for Registry {
    fn pods_of(&self, node: &str) -> Vec<Value> {
        let Some(cache) = self.cache_of("", "pods") else { return Vec::new() };
        let at = kinds::by_path("", "v1", "pods").and_then(|r| r.selectable.iter().position(|s| s == "spec.nodeName"));
        let mut out = Vec::new();
        cache.scan("/registry/pods/", None, |o| {
            if at.and_then(|i| o.index.fields.get(i)).is_some_and(|n| **n == *node) {
                out.push(super::encode::tree(&o.text()));
            }
            true
        });
        out
    }
}

/// The narrowest interest that covers what a watch asks for.
pub fn interest(namespace: &str, name: Option<&str>, node: Option<&str>) -> Interest {
    match (name, node) {
        (Some(n), _) => Interest::Object(namespace.into(), n.into()),
        (None, Some(n)) => Interest::Field(n.into()),
        (None, None) if !namespace.is_empty() => Interest::Namespace(namespace.into()),
        _ => Interest::All,
    }
}
