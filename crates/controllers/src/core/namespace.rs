//! Emptying a namespace that is being deleted, and what every namespace gets: a service account and the authority's
//! certificate. Source: `pkg/controller/namespace/deletion`, `pkg/controller/serviceaccount`, `.../certificates/rootcacertpublisher`.

use crate::core::pods::set_condition;
use crate::views::{Condition, ConfigMap, Namespace, ServiceAccount};
use client::{Op, Plan, Resource, Target, resources};
use platform::WallTime;
use serde_json::{Value, json};
use std::sync::Arc;

const FINALIZER: &str = "kubernetes";
const LOOK_AGAIN_NS: i64 = 2_000_000_000;

/// What is left in a namespace.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The namespace.
    pub namespace: Option<Arc<Namespace>>,
    /// It as the server has it.
    pub object: Value,
    /// Resources with objects in it, how many, and the finalizers these have.
    pub left: Vec<(Resource, usize, Vec<String>)>,
    /// Resources that could not be listed, with the reason.
    pub failed: Vec<String>,
}

/// What to do for a namespace that goes away.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(namespace) = &world.namespace else { return plan };
    if !namespace.metadata.is_deleting() || !namespace.spec.finalizers.iter().any(|f| f == FINALIZER) {
        return plan;
    }
    let target = Target::new(&resources::NAMESPACES, "", &namespace.metadata.name);
    let stamp = api::time::format_seconds(now.unix_seconds());
    let mut conditions = namespace.status.conditions.clone();
    let mut changed = false;
    for new in conditions_of(world, &stamp) {
        changed |= set_condition(&mut conditions, new);
    }
    if changed {
        let metadata = json!({"uid": namespace.metadata.uid});
        plan.push(Op::status(target.clone(), json!({"metadata": metadata, "status": {"conditions": conditions}})));
    }
    // Pods go first: what they use (secrets, policies) stays until they are gone.
    let pods_left = world.left.iter().any(|(r, _, _)| *r == resources::PODS);
    for (resource, _, _) in world.left.iter().filter(|(r, _, _)| !pods_left || *r == resources::PODS) {
        plan.push(Op::DeleteAll { resource: resource.clone(), namespace: namespace.metadata.name.clone() });
    }
    if world.left.is_empty() && world.failed.is_empty() {
        let mut object = world.object.clone();
        let kept: Vec<_> = namespace.spec.finalizers.iter().filter(|f| *f != FINALIZER).collect();
        object["spec"]["finalizers"] = json!(kept);
        plan.push(Op::Put { target, subresource: "finalize", object });
    } else {
        plan.look_again(now.plus_nanos(LOOK_AGAIN_NS));
    }
    plan
}

fn conditions_of(world: &World, stamp: &str) -> Vec<Condition> {
    let made = |kind: &str, bad: bool, reasons: (&str, &str), messages: (String, &str)| Condition {
        kind: kind.into(),
        status: if bad { "True" } else { "False" }.into(),
        last_transition_time: Some(stamp.into()),
        reason: if bad { reasons.1 } else { reasons.0 }.into(),
        message: if bad { messages.0 } else { messages.1.into() },
        ..Condition::default()
    };
    let count = |(r, n, _): &(Resource, usize, Vec<String>)| {
        let group = if r.group.is_empty() { String::new() } else { format!(".{}", r.group) };
        format!("{}{group} has {n} resource instances", r.plural)
    };
    let content: Vec<String> = world.left.iter().map(count).collect();
    let mut finalizers: Vec<(String, usize)> = Vec::new();
    for finalizer in world.left.iter().flat_map(|(_, _, f)| f) {
        match finalizers.iter_mut().find(|(name, _)| name == finalizer) {
            Some((_, n)) => *n += 1,
            None => finalizers.push((finalizer.clone(), 1)),
        }
    }
    finalizers.sort();
    let finalizing: Vec<String> =
        finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
    vec![
        made(
            "NamespaceDeletionDiscoveryFailure",
            false,
            ("ResourcesDiscovered", "DiscoveryFailed"),
            (String::new(), "All resources successfully discovered"),
        ),
        made(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            ("ParsedGroupVersions", ""),
            (String::new(), "All legacy kube types successfully parsed"),
        ),
        made(
            "NamespaceDeletionContentFailure",
            !world.failed.is_empty(),
            ("ContentDeleted", "ContentDeletionFailed"),
            (
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    world.failed.len(),
                    world.failed.join(", ")
                ),
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        made(
            "NamespaceContentRemaining",
            !content.is_empty(),
            ("ContentRemoved", "SomeResourcesRemain"),
            (format!("Some resources are remaining: {}", content.join(", ")), "All content successfully removed"),
        ),
        made(
            "NamespaceFinalizersRemaining",
            !finalizing.is_empty(),
            ("ContentHasNoFinalizers", "SomeFinalizersRemain"),
            (
                format!("Some content in the namespace has finalizers remaining: {}", finalizing.join(", ")),
                "All content-preserving finalizers finished",
            ),
        ),
    ]
}

/// Name of the service account of every namespace.
pub const ACCOUNT: &str = "default";
/// Name of the config map with the authority's certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// Makes the default service account.
pub fn account(namespace: Option<&Namespace>, account: Option<&ServiceAccount>) -> Plan {
    let mut plan = Plan::nothing();
    if let (Some(namespace), None) = (namespace.filter(|n| !n.metadata.is_deleting()), account) {
        let object = json!({"metadata": {"name": ACCOUNT, "namespace": namespace.metadata.name}});
        plan.push(create_or_find(&resources::SERVICEACCOUNTS, &namespace.metadata.name, object));
    }
    plan
}

/// Publishes the authority's certificate.
pub fn root_ca(namespace: Option<&Namespace>, map: Option<&ConfigMap>, certificate: &str) -> Plan {
    let mut plan = Plan::nothing();
    let Some(namespace) = namespace.filter(|n| !n.metadata.is_deleting()) else { return plan };
    let name = &namespace.metadata.name;
    let data = json!({"ca.crt": certificate});
    match map {
        None => {
            let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service \
                         IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
            let metadata =
                json!({"name": ROOT_CA, "namespace": name, "annotations": {"kubernetes.io/description": about}});
            plan.push(create_or_find(&resources::CONFIGMAPS, name, json!({"metadata": metadata, "data": data})));
        }
        Some(map) if map.data.len() != 1 || map.data.get("ca.crt").map(String::as_str) != Some(certificate) => {
            let mut object = map.object.clone();
            object["data"] = data;
            plan.push(Op::Put { target: Target::new(&resources::CONFIGMAPS, name, ROOT_CA), subresource: "", object });
        }
        Some(_) => {}
    }
    plan
}

fn create_or_find(resource: &Resource, namespace: &str, object: Value) -> Op {
    Op::Create { resource: resource.clone(), namespace: namespace.into(), object, may_exist: true, announce: None }
}
