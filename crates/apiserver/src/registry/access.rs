//! The role-based policy as the caches have it: put together when it is first asked for after a change, of parts of which
//! only the changed ones are decoded anew. Whoever holds a long answer open (a local subscription) is told of changes and
//! asks again.

use super::Registry;
use crate::core::node_auth::{self, Graph};
use crate::core::rbac::{Attributes, Part, Policy, User};
use api::Value;
use cache::Interest;
use platform::watch as signal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The decoded policy.
pub struct PolicyCache {
    changes: signal::Sender<u64>,
    decoded: Mutex<Option<Decoded>>,
}

struct Decoded {
    /// The change counter it was made at.
    at: u64,
    policy: Arc<Policy>,
    /// What each object said at which revision.
    parts: BTreeMap<Arc<str>, (u64, Part)>,
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
        let at = *self.policy.changes.borrow();
        let mut decoded = self.policy.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = match &mut *decoded {
            Some(d) if d.at == at => return d.policy.clone(),
            Some(d) => std::mem::take(&mut d.parts),
            None => BTreeMap::new(),
        };
        let (mut policy, mut parts) = (Policy::default(), BTreeMap::new());
        for plural in ["roles", "clusterroles", "rolebindings", "clusterrolebindings"] {
            let Some(r) = kinds::by_path("rbac.authorization.k8s.io", "v1", plural) else { continue };
            for object in self.cache(r).map(|c| c.list(&r.key_prefix(""))).unwrap_or_default() {
                let part = match known.remove(&object.key) {
                    Some((revision, part)) if revision == object.revision => part,
                    _ => Part::from_value(&super::encode::tree(&object.text())),
                };
                policy.add(&object.index.namespace, &object.index.name, part.clone());
                parts.insert(object.key.clone(), (object.revision, part));
            }
        }
        let policy = Arc::new(policy);
        *decoded = Some(Decoded { at, policy: policy.clone(), parts });
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
    fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.find(group, plural, namespace, name)
    }

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
