//! Nodes: silence, taints, evictions by taints, pod address ranges, pods whose node is gone.
//! Sources: `pkg/controller/{nodelifecycle,tainteviction,nodeipam,podgc}`.

use super::pods::{is_finished, set_condition};
use crate::views::{Condition, Node, Pod, Taint, Toleration, condition};
use client::{DeleteOptions, Event, Op, Plan, Regarding, Target, resources};
use platform::WallTime;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Seconds of silence after which a node's state is unknown.
pub const GRACE_SECONDS: i64 = 50;
/// The same for a node that has just been made.
pub const STARTUP_GRACE_SECONDS: i64 = 60;
/// Seconds for which pods of a missing node are left alone.
pub const QUARANTINE_SECONDS: i64 = 40;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep pods from being scheduled: (condition, the status that does it, taint).
const PRESSURE: &[(&str, &str, &str)] = &[
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// What one decision about a node looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The node.
    pub node: Option<Arc<Node>>,
    /// When it was last heard of (its lease or its status changed).
    pub heard: WallTime,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
}

/// Conditions of a silent node, and taints of every node.
pub fn lifecycle(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(node) = &world.node else { return plan };
    let target = Target::new(&resources::NODES, "", &node.metadata.name);
    let mut conditions = node.status.conditions.clone();
    let grace = if condition(&conditions, "Ready").is_some() { GRACE_SECONDS } else { STARTUP_GRACE_SECONDS };
    let silent_at = world.heard.plus_nanos(grace * 1_000_000_000);
    if now >= silent_at {
        let mut changed = false;
        for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
            let (reason, message) = match condition(&conditions, kind) {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
            };
            if condition(&conditions, kind).is_none_or(|c| c.status != "Unknown") {
                let stamp = Some(api::time::format_seconds(now.unix_seconds()));
                let (reason, message) = (reason.into(), message.into());
                let new = Condition {
                    kind: kind.into(),
                    status: "Unknown".into(),
                    last_transition_time: stamp,
                    reason,
                    message,
                    ..Condition::default()
                };
                changed |= set_condition(&mut conditions, new);
            }
        }
        if changed {
            let metadata = json!({"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version});
            plan.push(Op::patch_status(
                target.clone(),
                json!({"metadata": metadata, "status": {"conditions": conditions}}),
            ));
            let regarding = Regarding::of(&resources::NODES, &node.metadata);
            let message = format!("Node {} status is now: NodeNotReady", node.metadata.name);
            plan.push(Op::Tell(Event { regarding, warning: false, reason: "NodeNotReady".into(), message }));
            plan.look_again(now.plus_nanos(1)); // taints follow from what the cache shows then
            return plan;
        }
    } else {
        plan.look_again(silent_at);
    }
    let wanted = taints(node, now);
    if wanted != node.spec.taints {
        let metadata = json!({"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version});
        plan.push(Op::merge(target, json!({"metadata": metadata, "spec": {"taints": wanted}})));
    }
    if condition(&conditions, "Ready").is_some_and(|c| c.status != "True") {
        mark_pods(&world.pods, now, &mut plan);
    }
    plan
}

/// The node's taints with those that follow from its state in place of older ones.
fn taints(node: &Node, now: WallTime) -> Vec<Taint> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match condition(&node.status.conditions, "Ready").map(|c| c.status.as_str()) {
        Some("True") => {}
        Some("False") => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some(_) => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        None => wanted.push((NOT_READY, "NoSchedule")),
    }
    for (kind, status, taint) in PRESSURE {
        if condition(&node.status.conditions, kind).is_some_and(|c| c.status == *status) {
            wanted.push((taint, "NoSchedule"));
        }
    }
    if node.spec.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |t: &Taint| {
        let known =
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&t.key.as_str()) || PRESSURE.iter().any(|p| p.2 == t.key);
        known && t.effect != "PreferNoSchedule"
    };
    let keep = |t: &&Taint| !ours(t) || wanted.contains(&(t.key.as_str(), t.effect.as_str()));
    let mut out: Vec<Taint> = node.spec.taints.iter().filter(keep).cloned().collect();
    for (key, effect) in wanted {
        if !out.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(api::time::format_seconds(now.unix_seconds()));
            out.push(Taint { key: key.into(), effect: effect.into(), time_added, ..Taint::default() });
        }
    }
    out
}

/// Pods of a node that is not ready are not ready either.
fn mark_pods(pods: &[Arc<Pod>], now: WallTime, plan: &mut Plan) {
    for pod in pods {
        let mut conditions = pod.status.conditions.clone();
        let Some(ready) = conditions.iter_mut().find(|c| c.kind == "Ready" && c.status == "True") else { continue };
        ready.status = "False".into();
        ready.last_transition_time = Some(api::time::format_seconds(now.unix_seconds()));
        let metadata = json!({"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version});
        let target = Target::new(&resources::PODS, &pod.metadata.namespace, &pod.metadata.name);
        plan.push(Op::patch_status(target, json!({"metadata": metadata, "status": {"conditions": conditions}})));
    }
}

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if !toleration.effect.is_empty() && toleration.effect != taint.effect {
        return false;
    }
    if !toleration.key.is_empty() && toleration.key != taint.key {
        return false;
    }
    match toleration.operator.as_str() {
        "" | "Equal" => !toleration.key.is_empty() && toleration.value == taint.value,
        "Exists" => true,
        "Gt" | "Lt" => match (taint.value.parse::<i64>(), toleration.value.parse::<i64>()) {
            (Ok(have), Ok(want)) => {
                if toleration.operator == "Gt" {
                    have > want
                } else {
                    have < want
                }
            }
            _ => false,
        },
        _ => false,
    }
}

/// When a pod has to leave its node because of the node's taints; `None`: it may stay.
pub fn leaves_at(pod: &Pod, node: &Node, now: WallTime) -> Option<WallTime> {
    let mut leaves: Option<WallTime> = None;
    for taint in node.spec.taints.iter().filter(|t| t.effect == "NoExecute") {
        let covering: Vec<_> = pod.spec.tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if covering.is_empty() {
            return Some(now);
        }
        let since =
            taint.time_added.as_deref().and_then(api::time::parse_seconds).map_or(now, |s| WallTime::from_unix(s, 0));
        let least = covering.iter().filter_map(|t| t.toleration_seconds).min();
        if let Some(seconds) = least {
            let at = since.plus_nanos(seconds.max(0).saturating_mul(1_000_000_000));
            leaves = Some(leaves.map_or(at, |l| l.min(at)));
        }
    }
    leaves
}

/// Evicts a pod that does not tolerate its node's taints.
pub fn evict(pod: Option<&Pod>, node: Option<&Node>, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let (Some(pod), Some(node)) = (pod.filter(|p| !p.metadata.is_deleting() && !is_finished(p)), node) else {
        return plan;
    };
    match leaves_at(pod, node, now) {
        None => {}
        Some(at) if at > now => plan.look_again(at),
        Some(_) => {
            let regarding = Regarding::of(&resources::PODS, &pod.metadata);
            let message = format!("Marking for deletion Pod {}", pod.metadata.key());
            plan.push(Op::Tell(Event { regarding, warning: false, reason: "TaintManagerEviction".into(), message }));
            disrupt(
                pod,
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
                None,
                now,
                &mut plan,
            );
            plan.push(super::pods::delete(pod));
        }
    }
    plan
}

fn disrupt(pod: &Pod, reason: &str, message: &str, phase: Option<&str>, now: WallTime, plan: &mut Plan) {
    let mut conditions = pod.status.conditions.clone();
    let stamp = Some(api::time::format_seconds(now.unix_seconds()));
    let new = Condition {
        kind: "DisruptionTarget".into(),
        status: "True".into(),
        last_transition_time: stamp,
        reason: reason.into(),
        message: message.into(),
        ..Condition::default()
    };
    if set_condition(&mut conditions, new) {
        let mut status = json!({"conditions": conditions});
        if let Some(phase) = phase {
            status["phase"] = phase.into();
        }
        let target = Target::new(&resources::PODS, &pod.metadata.namespace, &pod.metadata.name);
        plan.push(Op::patch_status(target, json!({"metadata": {"uid": pod.metadata.uid}, "status": status})));
    }
}

/// Removes a pod whose node is gone (since `missing`), and one that was to end before it got a node.
pub fn collect(pod: Option<&Pod>, missing: Option<WallTime>, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(pod) = pod else { return plan };
    let unscheduled = pod.spec.node_name.is_empty() && pod.metadata.is_deleting();
    let gone_at = missing.map(|m| m.plus_nanos(QUARANTINE_SECONDS * 1_000_000_000));
    match gone_at {
        Some(at) if at > now => return Plan { again_at: Some(at), ..plan },
        Some(_) if !is_finished(pod) => {
            disrupt(pod, "DeletionByPodGC", "PodGC: node no longer exists", Some("Failed"), now, &mut plan);
        }
        None if !unscheduled => return plan,
        _ => {}
    }
    let options = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::uid(&pod.metadata.uid) };
    let target = Target::new(&resources::PODS, &pod.metadata.namespace, &pod.metadata.name);
    plan.push(Op::Delete { target, options, announce: None });
    plan
}

/// The range that nodes' ranges are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// First address.
    pub base: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// Prefix length of a node's range.
    pub node_prefix: u8,
}

impl Ranges {
    /// From `10.244.0.0/16`, with a /24 for a node.
    pub fn parse(text: &str) -> Option<Ranges> {
        let (base, prefix) = text.split_once('/')?;
        let (base, prefix) = (base.parse().ok()?, prefix.parse().ok().filter(|p| *p <= 30_u8)?);
        Some(Ranges { base, prefix, node_prefix: prefix.max(24) })
    }

    fn all(self) -> impl Iterator<Item = String> {
        let count = 1_u32 << (self.node_prefix - self.prefix);
        let step = 1_u64 << (32 - self.node_prefix);
        (0..count).map(move |i| {
            let address = u32::from(self.base).wrapping_add((u64::from(i) * step) as u32);
            format!("{}/{}", Ipv4Addr::from(address), self.node_prefix)
        })
    }
}

/// Gives each node without a range the first free one.
pub fn ranges(nodes: &[Arc<Node>], ranges: Ranges) -> Plan {
    let mut plan = Plan::nothing();
    let mut used: BTreeSet<String> =
        nodes.iter().flat_map(|n| n.spec.pod_cidrs.iter().chain([&n.spec.pod_cidr]).cloned()).collect();
    for node in nodes.iter().filter(|n| n.spec.pod_cidr.is_empty() && !n.metadata.is_deleting()) {
        let regarding = Regarding::of(&resources::NODES, &node.metadata);
        let Some(range) = ranges.all().find(|r| !used.contains(r)) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.metadata.name);
            plan.push(Op::Tell(Event { regarding, warning: false, reason: "CIDRNotAvailable".into(), message }));
            return plan;
        };
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": range, "podCIDRs": [range]}});
        plan.push(Op::Patch {
            target: Target::new(&resources::NODES, "", &node.metadata.name),
            subresource: "",
            kind: client::PatchKind::Merge,
            patch,
        });
        used.insert(range);
    }
    plan
}
