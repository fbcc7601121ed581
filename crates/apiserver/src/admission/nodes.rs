//! TaintNodesByCondition and NodeRestriction.

use super::{Attrs, Operation};
use crate::core::node_auth;
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
pub fn restrict(a: &Attrs, new: &Value) -> Result<(), Status> {
    let Some(node) = node_auth::node_name(a.user) else { return Ok(()) };
    let group = a.resource.group.as_str();
    match (group, a.resource.plural.as_str()) {
        ("", "pods") => pods(a, node, new),
        ("", "nodes") => {
            let name = if a.name.is_empty() { new.at(f::metadata).at(f::name).str() } else { a.name };
            if name != node {
                return Err(a.forbid(format!("node {node:?} is not allowed to modify node {name:?}")));
            }
            if a.operation == Operation::Update
                && new.at(f::spec).at(f::taints) != a.old.map_or(&Value::Null, |o| o.at(f::spec).at(f::taints))
            {
                return Err(a.forbid(format!("node {node:?} is not allowed to modify taints")));
            }
            labels(a, node, new)
        }
        ("", "serviceaccounts") if a.subresource == "token" => Ok(()),
        ("coordination.k8s.io", "leases") if a.namespace == "kube-node-lease" => {
            let name = if a.name.is_empty() { new.at(f::metadata).at(f::name).str() } else { a.name };
            if name == node {
                Ok(())
            } else {
                Err(a.forbid("can only access node lease with the same name as the requesting node"))
            }
        }
        _ => Ok(()),
    }
}

fn pods(a: &Attrs, node: &str, new: &Value) -> Result<(), Status> {
    let bound = |v: &Value| v.at(f::spec).at(f::nodeName).str() == node;
    match a.operation {
        Operation::Create => {
            let mirror = new.at(f::metadata).at(f::annotations).get("kubernetes.io/config.mirror").is_some();
            if !mirror {
                return Err(a.forbid(format!("pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods")));
            }
            if bound(new) {
                Ok(())
            } else {
                Err(a.forbid(format!("node {node:?} can only create pods with spec.nodeName set to itself")))
            }
        }
        Operation::Update if a.subresource == "status" => match a.old {
            Some(old) if !bound(old) => Err(
                a.forbid(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
            ),
            _ => Ok(()),
        },
        Operation::Delete => match a.old {
            Some(old) if !bound(old) => {
                Err(a.forbid(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
            }
            _ => Ok(()),
        },
        Operation::Update => Err(a.forbid("unexpected operation \"UPDATE\"")),
    }
}

/// Labels by which workloads are kept to trusted nodes are not the node's to set.
fn labels(a: &Attrs, node: &str, new: &Value) -> Result<(), Status> {
    let old = a.old.map_or(&Value::Null, |o| o.at(f::metadata).at(f::labels));
    let mut wrong: Vec<&str> = Vec::new();
    for (k, v) in new.at(f::metadata).at(f::labels).members() {
        let name = k.as_str();
        let Some((domain, _)) = name.split_once('/') else { continue };
        let ours = domain == "kubernetes.io"
            || domain.ends_with(".kubernetes.io")
            || domain == "k8s.io"
            || domain.ends_with(".k8s.io");
        let free = matches!(
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
        ) || domain == "kubelet.kubernetes.io"
            || domain.ends_with(".kubelet.kubernetes.io")
            || (domain == "node.kubernetes.io" || domain.ends_with(".node.kubernetes.io"));
        if ours && !free && old.at(k) != v {
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(a.forbid(format!("node {node:?} is not allowed to modify labels: {}", wrong.join(", "))))
    }
}
