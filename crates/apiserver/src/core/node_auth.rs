//! What a node's identity may do: its own node, lease and pods, and what those pods refer to.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/node`. The graph of references is looked up on demand in the
//! pods that are bound to the node, found by index.

use super::rbac::{Attributes, User};
use api::{Value, f};

/// The name of the node that a user is.
pub fn node_name(user: &User) -> Option<&str> {
    if !user.in_group("system:nodes") {
        return None;
    }
    user.name.strip_prefix("system:node:").filter(|n| !n.is_empty())
}

/// What a decision may look at.
pub trait Graph {
    /// The pods bound to a node.
    fn pods_of(&self, node: &str) -> Vec<Value>;
}

const LOOK: &[&str] = &["get", "list", "watch"];

/// Allowed, or why not (a suffix of the refusal).
pub fn authorize(node: &str, a: &Attributes, graph: &dyn Graph) -> Result<(), String> {
    if !a.is_resource {
        return Err(String::new());
    }
    let no_path = || Err(format!("no relationship found between node '{node}' and this object"));
    match (a.group, a.resource) {
        ("", "secrets" | "configmaps") => {
            if a.name.is_empty() {
                return Err("No Object name found".into());
            }
            if !LOOK.contains(&a.verb) || !a.subresource.is_empty() {
                return Err("can only read resources of this type".into());
            }
            let found = graph
                .pods_of(node)
                .iter()
                .any(|p| p.at(f::metadata).at(f::namespace).str() == a.namespace && refers(p, a.resource, a.name));
            if found { Ok(()) } else { no_path() }
        }
        ("", "serviceaccounts") if a.subresource == "token" => {
            if a.verb != "create" {
                return Err("can only create tokens for this resource".into());
            }
            let found = graph.pods_of(node).iter().any(|p| {
                p.at(f::metadata).at(f::namespace).str() == a.namespace
                    && p.at(f::spec).at(f::serviceAccountName).str() == a.name
            });
            if found { Ok(()) } else { no_path() }
        }
        ("", "nodes") => own_node(node, a),
        ("coordination.k8s.io", "leases") => own_lease(node, a),
        ("", "pods") => match (a.subresource, a.verb) {
            ("", "get" | "list" | "watch" | "create" | "delete")
            | ("status", "update" | "patch")
            | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        },
        ("", "persistentvolumeclaims" | "persistentvolumes") if a.verb == "get" => Ok(()),
        ("", "services") if LOOK.contains(&a.verb) => Ok(()),
        ("discovery.k8s.io", "endpointslices") | ("networking.k8s.io", "servicecidrs") if LOOK.contains(&a.verb) => {
            Ok(())
        }
        ("", "endpoints" | "namespaces") if a.verb == "get" => Ok(()),
        ("", "events") | ("events.k8s.io", "events") if matches!(a.verb, "create" | "update" | "patch") => Ok(()),
        ("authentication.k8s.io", "tokenreviews")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews")
            if a.verb == "create" =>
        {
            Ok(())
        }
        ("certificates.k8s.io", "certificatesigningrequests")
            if matches!(a.verb, "create" | "get" | "list" | "watch") =>
        {
            Ok(())
        }
        ("node.k8s.io", "runtimeclasses") | ("storage.k8s.io", "csidrivers") if LOOK.contains(&a.verb) => Ok(()),
        ("storage.k8s.io", "csinodes")
            if matches!(a.verb, "get" | "create" | "update" | "patch" | "delete")
                && (a.name == node || a.verb == "create") =>
        {
            Ok(())
        }
        ("storage.k8s.io", "volumeattachments") if a.verb == "get" => Ok(()),
        _ => Err(String::new()),
    }
}

/// Every node may be seen; only its own may be changed.
fn own_node(node: &str, a: &Attributes) -> Result<(), String> {
    let own = a.name == node || a.name.is_empty();
    let verbs = match a.subresource {
        "" => matches!(a.verb, "create" | "get" | "list" | "watch" | "update" | "patch"),
        "status" => matches!(a.verb, "update" | "patch"),
        _ => false,
    };
    if verbs && (own || LOOK.contains(&a.verb)) {
        Ok(())
    } else {
        Err(format!("node '{node}' cannot {} node '{}'", a.verb, a.name))
    }
}

fn own_lease(node: &str, a: &Attributes) -> Result<(), String> {
    if a.namespace != "kube-node-lease" {
        return Err(format!("can only access leases in the {:?} system namespace", "kube-node-lease"));
    }
    let verbs = matches!(a.verb, "get" | "create" | "update" | "patch" | "delete");
    if verbs && (a.verb == "create" || a.name == node) {
        Ok(())
    } else {
        Err("can only access node lease with the same name as the requesting node".into())
    }
}

/// Whether a pod refers to a secret or config map.
fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = pod.at(f::spec);
    let (source, name_key, env_from, key_ref) = match resource {
        "secrets" => (f::secret, f::secretName, f::secretRef, f::secretKeyRef),
        _ => (f::configMap, f::name, f::configMapRef, f::configMapKeyRef),
    };
    if resource == "secrets" && spec.at(f::imagePullSecrets).items().iter().any(|s| s.at(f::name).str() == name) {
        return true;
    }
    let volume = spec.at(f::volumes).items().iter().any(|v| {
        v.at(source).at(name_key).str() == name
            || v.at(f::projected).at(f::sources).items().iter().any(|s| s.at(source).at(f::name).str() == name)
    });
    volume
        || kinds::rules::pod::containers(spec).any(|(_, c)| {
            c.at(f::envFrom).items().iter().any(|e| e.at(env_from).at(f::name).str() == name)
                || c.at(f::env).items().iter().any(|e| e.at(f::valueFrom).at(key_ref).at(f::name).str() == name)
        })
}
