//! TaintNodesByCondition and NodeRestriction.

use super::{Attrs, Operation};
use crate::core::{csr, node_auth};
use crate::registry::Registry;
use api::{Status, Value, f, value::object};

/// A new node is not ready until somebody says so.
pub fn not_ready_taint(node: &mut Value) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let taints = node.entry(f::spec).entry(f::taints).make_list();
    if !taints.iter().any(|t| t.at(f::key).str() == KEY && t.at(f::effect).str() == "NoSchedule") {
        taints.push(object([("key", KEY.into()), ("effect", "NoSchedule".into())]));
    }
}

/// A node touches itself and its own pods only.
pub fn restrict(registry: &Registry, a: &Attrs, new: &Value) -> Result<(), Status> {
    let Some(node) = node_auth::node_name(a.user) else { return Ok(()) };
    let name = if a.name.is_empty() { new.at(f::metadata).at(f::name).str() } else { a.name };
    match (a.resource.group.as_str(), a.resource.plural.as_str()) {
        ("", "pods") => pods(registry, a, node, new),
        ("", "nodes") => node_object(a, node, name, new),
        ("", "persistentvolumeclaims") => claim_status(a, node, new),
        ("coordination.k8s.io", "leases") => {
            if a.namespace != "kube-node-lease" {
                return Err(a.forbid(format!("can only access leases in the {:?} system namespace", "kube-node-lease")));
            }
            same_name(a, "node lease", name == node)
        }
        ("storage.k8s.io", "csinodes") => same_name(a, "CSINode", name == node),
        ("resource.k8s.io", "resourceslices") => {
            let object = if a.operation == Operation::Delete { a.old.unwrap_or(new) } else { new };
            if object.at(f::spec).at(f::nodeName).str() == node {
                return Ok(());
            }
            let verb = if a.operation == Operation::Delete { "delete" } else { "create" };
            Err(a.forbid(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
        }
        ("certificates.k8s.io", "certificatesigningrequests") if a.operation == Operation::Create => {
            certificate(a, new)
        }
        _ => Ok(()),
    }
}

fn same_name(a: &Attrs, kind: &str, same: bool) -> Result<(), Status> {
    if same {
        Ok(())
    } else {
        Err(a.forbid(format!("can only access {kind} with the same name as the requesting node")))
    }
}

/// A kubelet asks for certificates of its own name.
fn certificate(a: &Attrs, new: &Value) -> Result<(), Status> {
    let spec = new.at(f::spec);
    let kubelet = matches!(
        spec.at(f::signerName).str(),
        "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet"
    );
    if !kubelet {
        return Ok(());
    }
    let subject = csr::subject(spec.at(f::request)).unwrap_or_default();
    if subject.common_name == a.user.name {
        Ok(())
    } else {
        Err(a.forbid(format!("can only create a node CSR with CN={}", a.user.name)))
    }
}

fn node_object(a: &Attrs, node: &str, name: &str, new: &Value) -> Result<(), Status> {
    if name != node {
        return Err(a.forbid(format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let spec = new.at(f::spec);
    let old = a.old.unwrap_or(&Value::Null);
    match a.operation {
        Operation::Create => {
            if spec.has(f::configSource) {
                return Err(
                    a.forbid(format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
                );
            }
            let wrong = forbidden_labels(new, &Value::Null);
            if !wrong.is_empty() {
                return Err(a.forbid(format!(
                    "node {node:?} is not allowed to set the following labels: {}",
                    wrong.join(", ")
                )));
            }
        }
        Operation::Update => {
            let was = old.at(f::spec);
            if spec.has(f::configSource) && spec.at(f::configSource) != was.at(f::configSource) {
                return Err(a.forbid(format!(
                    "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                )));
            }
            if spec.at(f::taints) != was.at(f::taints) {
                return Err(a.forbid(format!("node {node:?} is not allowed to modify taints")));
            }
            let wrong = forbidden_labels(new, old);
            if !wrong.is_empty() {
                return Err(a.forbid(format!("is not allowed to modify labels: {}", wrong.join(", "))));
            }
            let owners = |v: &Value| v.at(f::metadata).at(f::ownerReferences).clone();
            if owners(new) != owners(old) {
                return Err(a.forbid(format!("node {node:?} is not allowed to modify ownerReferences")));
            }
        }
        Operation::Delete => {}
    }
    Ok(())
}

fn claim_status(a: &Attrs, node: &str, new: &Value) -> Result<(), Status> {
    const FREE: &[api::Name] = &[f::capacity, f::conditions, f::allocatedResourceStatuses, f::allocatedResources];
    if a.subresource != "status" {
        return Err(a.forbid("may only update PVC status"));
    }
    let rest = |v: &Value| {
        let mut v = v.clone();
        v.entry(f::metadata).remove(f::managedFields);
        v.entry(f::metadata).remove(f::resourceVersion);
        FREE.iter().for_each(|k| drop(v.entry(f::status).remove(*k)));
        v
    };
    if a.old.is_some_and(|old| rest(old) != rest(new)) {
        return Err(a.forbid(format!(
            "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
        )));
    }
    Ok(())
}

fn pods(registry: &Registry, a: &Attrs, node: &str, new: &Value) -> Result<(), Status> {
    let bound = |v: &Value| v.at(f::spec).at(f::nodeName).str() == node;
    let old = a.old.unwrap_or(&Value::Null);
    match (a.operation, a.subresource) {
        (Operation::Create, "eviction") if !bound(old) => {
            Err(a.forbid(format!("node {node} can only evict pods with spec.nodeName set to itself")))
        }
        (Operation::Create, "eviction") => Ok(()),
        (Operation::Create, "") => mirror_pod(registry, a, node, new),
        (Operation::Delete, "") if !bound(old) => {
            Err(a.forbid(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        (Operation::Delete, _) => Ok(()),
        (Operation::Update, "status") => pod_status(a, node, new, old),
        (_, "") => Err(
            a.forbid(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        ),
        (_, other) => {
            Err(a.forbid(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")))
        }
    }
}

fn pod_status(a: &Attrs, node: &str, new: &Value, old: &Value) -> Result<(), Status> {
    if old.at(f::spec).at(f::nodeName).str() != node {
        return Err(
            a.forbid(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
        );
    }
    if new.at(f::metadata).at(f::labels) != old.at(f::metadata).at(f::labels) {
        return Err(a.forbid(format!("node {node:?} cannot update labels through pod status")));
    }
    let claims = |v: &Value| v.at(f::status).at(f::resourceClaimStatuses).clone();
    if claims(new) != claims(old) {
        return Err(a.forbid(format!("node {node:?} cannot update resource claim statues")));
    }
    Ok(())
}

/// A node creates pods that stand for its static ones: owned by it, referring to nothing.
fn mirror_pod(registry: &Registry, a: &Attrs, node: &str, pod: &Value) -> Result<(), Status> {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let m = pod.at(f::metadata);
    if !m.at(f::annotations).has(MIRROR) {
        return Err(
            a.forbid(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"))
        );
    }
    if pod.at(f::spec).at(f::nodeName).str() != node {
        return Err(a.forbid(format!("node {node:?} can only create pods with spec.nodeName set to itself")));
    }
    let owner = match m.at(f::ownerReferences).items() {
        [owner] => owner,
        [] => {
            return Err(a.forbid(format!("node {node:?} can only create pods with an owner reference set to itself")));
        }
        _ => {
            return Err(
                a.forbid(format!("node {node:?} can only create pods with a single owner reference set to itself"))
            );
        }
    };
    let is = |key: api::Name, text: &str| owner.at(key).str() == text;
    if !is(f::apiVersion, "v1") || !is(f::kind, "Node") || !is(f::name, node) {
        return Err(a.forbid(format!("node {node:?} can only create pods with an owner reference set to itself")));
    }
    if !owner.at(f::controller).is_true() {
        return Err(
            a.forbid(format!("node {node:?} can only create pods with a controller owner reference set to itself"))
        );
    }
    if owner.at(f::blockOwnerDeletion).is_true() {
        return Err(a.forbid(format!("node {node:?} must not set blockOwnerDeletion on an owner reference")));
    }
    let own = registry.find("", "nodes", "", node).ok_or_else(|| Status::not_found("", "nodes", node))?;
    let (expected, got) = (owner.at(f::uid).str(), own.at(f::metadata).at(f::uid).str());
    if expected != got {
        return Err(a.forbid(format!("node {node} UID mismatch: expected {expected} got {got}")));
    }
    match node_auth::reference(pod.at(f::spec)) {
        Some(what) => Err(a.forbid(format!("node {node:?} can not create pods that reference {what}"))),
        None => Ok(()),
    }
}

/// Labels by which workloads are kept to trusted nodes are not the node's to set or take away.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let (n, o) = (new.at(f::metadata).at(f::labels), old.at(f::metadata).at(f::labels));
    let changed = |a: &Value, b: &Value| -> Vec<String> {
        a.members().filter(|(k, v)| b.at(*k) != *v).map(|(k, _)| k.as_str().to_string()).collect()
    };
    let mut all = changed(n, o);
    all.extend(changed(o, n));
    all.retain(|name| !free_label(name));
    all.sort();
    all.dedup();
    all
}

fn free_label(name: &str) -> bool {
    let Some((domain, _)) = name.split_once('/') else { return true };
    let within = |d: &str| domain == d || domain.ends_with(&format!(".{d}"));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let known = matches!(
        name,
        "kubernetes.io/hostname"
            | "kubernetes.io/os"
            | "kubernetes.io/arch"
            | "node.kubernetes.io/instance-type"
            | "topology.kubernetes.io/region"
            | "topology.kubernetes.io/zone"
            | "beta.kubernetes.io/os"
            | "beta.kubernetes.io/arch"
            | "beta.kubernetes.io/instance-type"
            | "failure-domain.beta.kubernetes.io/region"
            | "failure-domain.beta.kubernetes.io/zone"
    );
    known
        || within("kubelet.kubernetes.io")
        || within("node.kubernetes.io")
        || !(within("kubernetes.io") || within("k8s.io"))
}

/// A node asks for tokens of pods that run on it, for the audiences that the pods name.
pub fn restrict_token(registry: &Registry, a: &Attrs, request: &Value) -> Result<(), Status> {
    let Some(node) = node_auth::node_name(a.user) else { return Ok(()) };
    let bound = request.at(f::spec).at(f::boundObjectRef);
    let name = bound.at(f::name).str();
    if bound.at(f::apiVersion).str() != "v1" || bound.at(f::kind).str() != "Pod" || name.is_empty() {
        return Err(a.forbid("node requested token not bound to a pod"));
    }
    let uid = bound.at(f::uid).str();
    if uid.is_empty() {
        return Err(a.forbid("node requested token with a pod binding without a uid"));
    }
    let pod = registry.find("", "pods", a.namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    if pod.at(f::metadata).at(f::uid).str() != uid {
        return Err(a.forbid(format!("the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated")));
    }
    if pod.at(f::spec).at(f::nodeName).str() != node {
        return Err(a.forbid("node requested token bound to a pod scheduled on a different node"));
    }
    let audiences = request.at(f::spec).at(f::audiences).items();
    if audiences.len() > 1 {
        return Err(a.forbid("node may only request 0 or 1 audiences"));
    }
    let audience = audiences.first().map_or("", Value::str);
    let sources = pod.at(f::spec).at(f::volumes).items().iter().flat_map(|v| v.at(f::projected).at(f::sources).items());
    let mut named = sources.filter(|s| s.has(f::serviceAccountToken));
    let driver = |v: &Value| {
        let driver = v.at(f::csi).at(f::driver).as_str()?;
        registry.find("storage.k8s.io", "csidrivers", "", driver)
    };
    let by_driver = || {
        let asks =
            |d: Value| d.at(f::spec).at(f::tokenRequests).items().iter().any(|t| t.at(f::audience).str() == audience);
        pod.at(f::spec).at(f::volumes).items().iter().filter_map(driver).any(asks)
    };
    if named.any(|s| s.at(f::serviceAccountToken).at(f::audience).str() == audience) || by_driver() {
        return Ok(());
    }
    Err(a.forbid(format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        a.user.name
    )))
}
