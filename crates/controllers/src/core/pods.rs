//! What controllers say about pods: states, ownership, ranking, creation from a template.

use crate::views::{Condition, Node, Pod, condition};
use client::{Meta, Op, OwnerReference, Plan, Resource, Selector, Target, resources};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether it has ended.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
}

/// Whether it counts as a replica: not ended, not being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.metadata.is_deleting()
}

fn ready(pod: &Pod) -> Option<&Condition> {
    condition(&pod.status.conditions, "Ready").filter(|c| c.status == "True")
}

/// Whether it is ready.
pub fn is_ready(pod: &Pod) -> bool {
    ready(pod).is_some()
}

/// Second since which it is ready.
pub fn ready_since(pod: &Pod) -> Option<i64> {
    ready(pod)?.last_transition_time.as_deref().and_then(api::time::parse_seconds)
}

/// Whether it has been ready for `min_ready` seconds; else when it will have been.
pub fn available(pod: &Pod, min_ready: i64, now: i64) -> Result<(), Option<i64>> {
    if !is_ready(pod) {
        return Err(None);
    }
    match ready_since(pod) {
        _ if min_ready == 0 => Ok(()),
        Some(since) if since + min_ready <= now => Ok(()),
        Some(since) => Err(Some(since + min_ready)),
        None => Err(None),
    }
}

/// The reference by which `owner` manages a child.
pub fn controller_ref(resource: &Resource, owner: &Meta) -> OwnerReference {
    OwnerReference {
        api_version: resource.api_version(),
        kind: resource.kind.to_string(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What happens to a possible child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is managed already.
    Owned,
    /// It is an orphan that the selector wants.
    Adopt,
    /// It is managed, but the selector does not want it any more.
    Release,
    /// It is none of the owner's business.
    Ignore,
}

/// Decides about a possible child. Source: `pkg/controller/controller_ref_manager.go:ClaimObject`.
pub fn claim(owner: &Meta, selector: &Selector, child: &Meta) -> Claim {
    match child.controller() {
        Some(reference) if reference.uid != owner.uid => Claim::Ignore,
        Some(_) if selector.matches(&child.labels) => Claim::Owned,
        Some(_) if owner.is_deleting() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner.is_deleting()
            || child.is_deleting()
            || selector.is_empty()
            || !selector.matches(&child.labels) =>
        {
            Claim::Ignore
        }
        None => Claim::Adopt,
    }
}

/// Makes `child` the owner's, after asking whether there still is that owner: its cache may be older than the deletion that
/// orphaned the child. Source: `pkg/controller/controller_ref_manager.go:RecheckDeletionTimestamp`.
pub fn adopt(plan: &mut Plan, kind: &Resource, owner: &Meta, resource: &Resource, child: &Meta) {
    plan.push(Op::Require { target: Target::new(kind, &owner.namespace, &owner.name), uid: owner.uid.clone() });
    let mut references = child.owner_references.clone();
    references.push(controller_ref(kind, owner));
    plan.push(set_owners(resource, child, &references));
}

/// Takes the owner's name off `child`.
pub fn release(owner: &Meta, resource: &Resource, child: &Meta) -> Op {
    let references: Vec<_> = child.owner_references.iter().filter(|o| o.uid != owner.uid).cloned().collect();
    set_owners(resource, child, &references)
}

fn set_owners(resource: &Resource, child: &Meta, references: &[OwnerReference]) -> Op {
    let patch = json!({"metadata": {"uid": child.uid, "resourceVersion": child.resource_version, "ownerReferences": references}});
    Op::merge(Target::new(resource, &child.namespace, &child.name), patch)
}

/// A pod made from `template` for `owner`; the server makes its name.
pub fn from_template(template: &Value, owner: &OwnerReference, namespace: &str) -> Value {
    let meta = &template["metadata"];
    let mut metadata =
        json!({"generateName": format!("{}-", owner.name), "namespace": namespace, "ownerReferences": [owner]});
    for field in ["labels", "annotations", "finalizers"] {
        if !meta[field].is_null() {
            metadata[field] = meta[field].clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// A template's labels.
pub fn template_labels(template: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(template["metadata"]["labels"].clone()).unwrap_or_default()
}

/// Deletes a pod by its uid.
pub fn delete(pod: &Pod) -> Op {
    Op::delete(Target::new(&resources::PODS, &pod.metadata.namespace, &pod.metadata.name), &pod.metadata.uid)
}

/// Annotation by which people say which pods to remove first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts so that those to delete first come first; `rank` is the number of related active pods on the pod's node.
/// Source: `pkg/controller/controller_utils.go:ActivePodsWithRanks`.
pub fn sort_for_deletion(pods: &mut [Arc<Pod>], rank: &BTreeMap<String, usize>, now: i64) {
    let phase = |p: &Pod| match p.status.phase.as_str() {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |p: &Pod| p.metadata.annotations.get(DELETION_COST).and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
    let on_node = |p: &Pod| rank.get(&p.spec.node_name).copied().unwrap_or(0);
    let age = |since: Option<i64>| since.map_or(0, |s| (now - s).max(0)).checked_ilog2().map_or(-1, i64::from);
    let restarts = |p: &Pod| p.status.container_statuses.iter().map(|c| c.restart_count).max().unwrap_or(0);
    pods.sort_by(|a, b| {
        let unassigned = |p: &Pod| !p.spec.node_name.is_empty();
        unassigned(a)
            .cmp(&unassigned(b))
            .then(phase(a).cmp(&phase(b)))
            .then(is_ready(a).cmp(&is_ready(b)))
            .then(cost(a).cmp(&cost(b)))
            .then(on_node(b).cmp(&on_node(a)))
            .then_with(|| {
                if is_ready(a) && is_ready(b) { age(ready_since(a)).cmp(&age(ready_since(b))) } else { Ordering::Equal }
            })
            .then(restarts(b).cmp(&restarts(a)))
            .then_with(|| age(Some(a.metadata.created())).cmp(&age(Some(b.metadata.created()))))
            .then(a.metadata.uid.cmp(&b.metadata.uid))
    });
}

/// Number of pods per node.
pub fn per_node<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for pod in pods.filter(|p| is_active(p)) {
        *out.entry(pod.spec.node_name.clone()).or_insert(0) += 1;
    }
    out
}

/// Sets a condition, keeping its transition time while the status stays. True if anything changed.
pub fn set_condition(conditions: &mut Vec<Condition>, new: Condition) -> bool {
    match conditions.iter_mut().find(|c| c.kind == new.kind) {
        Some(old) => {
            let kept = if old.status == new.status {
                old.last_transition_time.clone()
            } else {
                new.last_transition_time.clone()
            };
            let changed = old.status != new.status || old.reason != new.reason || old.message != new.message;
            if changed {
                let other = std::mem::take(&mut old.other);
                *old = Condition { last_transition_time: kept, other, ..new };
            }
            changed
        }
        None => {
            conditions.push(new);
            true
        }
    }
}

/// Whether a node is ready.
pub fn node_ready(node: &Node) -> bool {
    condition(&node.status.conditions, "Ready").is_some_and(|c| c.status == "True")
}

/// A number or percentage of `total`. `up`: round up.
pub fn scaled(value: Option<&Value>, total: i64, up: bool) -> Option<i64> {
    match value? {
        Value::Number(n) => n.as_i64(),
        Value::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            Some(if up { (percent * total + 99).div_euclid(100) } else { (percent * total).div_euclid(100) })
        }
        _ => None,
    }
}
