//! DaemonSets: one pod on every node that fits.
//! Source: `pkg/controller/daemon/{daemon_controller,update}.go`, `util/daemonset_util.go`.

use super::nodes::tolerates;
use super::pods::{self, Claim};
use super::revisions::{self, REVISION_HASH};
use crate::views::{DaemonSet, DaemonSetStatus, Node, Pod, Revision, Taint, Toleration};
use client::{Announce, Event, Expression, Op, Plan, Regarding, Target, resources};
use platform::WallTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The set.
    pub set: Option<Arc<DaemonSet>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Its pods, and orphans in its namespace.
    pub pods: Vec<Arc<Pod>>,
    /// Its revisions.
    pub revisions: Vec<Arc<Revision>>,
}

/// Taints of nodes in trouble that daemons live with.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

fn tolerations(template: &Value) -> Vec<Toleration> {
    let mut out: Vec<Toleration> = serde_json::from_value(template["spec"]["tolerations"].clone()).unwrap_or_default();
    let mut add = |key: &str, effect: &str| {
        out.push(Toleration {
            key: key.into(),
            operator: "Exists".into(),
            effect: effect.into(),
            ..Toleration::default()
        });
    };
    TOLERATED.iter().for_each(|(key, effect)| add(key, effect));
    if template["spec"]["hostNetwork"] == true {
        add("node.kubernetes.io/network-unavailable", "NoSchedule");
    }
    out
}

/// Whether a template selects a node by name, labels or affinity.
fn selects(template: &Value, node: &Node) -> bool {
    let spec = &template["spec"];
    let labels = &node.metadata.labels;
    if spec["nodeName"].as_str().is_some_and(|n| !n.is_empty() && n != node.metadata.name) {
        return false;
    }
    let selector: BTreeMap<String, String> = serde_json::from_value(spec["nodeSelector"].clone()).unwrap_or_default();
    if !selector.iter().all(|(k, v)| labels.get(k) == Some(v)) {
        return false;
    }
    let fields = BTreeMap::from([("metadata.name".to_string(), node.metadata.name.clone())]);
    let Some(terms) =
        spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
    else {
        return true;
    };
    terms.as_array().into_iter().flatten().any(|term| {
        let read = |name: &str| serde_json::from_value::<Vec<Expression>>(term[name].clone()).unwrap_or_default();
        let (by_label, by_field) = (read("matchExpressions"), read("matchFields"));
        !(by_label.is_empty() && by_field.is_empty())
            && by_label.iter().all(|e| e.matches(labels))
            && by_field.iter().all(|e| e.matches(&fields))
    })
}

/// (a new pod may come, a pod that is there may stay)
fn fits(template: &Value, tolerations: &[Toleration], node: &Node) -> (bool, bool) {
    let free = |effects: &[&str]| {
        let bad = |t: &&Taint| effects.contains(&t.effect.as_str()) && !tolerations.iter().any(|o| tolerates(o, t));
        node.spec.taints.iter().filter(bad).count() == 0
    };
    let selected = selects(template, node);
    (selected && free(&["NoSchedule", "NoExecute"]), selected && free(&["NoExecute"]))
}

/// The node that a pod is on, or is meant for.
fn node_of(pod: &Pod) -> String {
    if !pod.spec.node_name.is_empty() {
        return pod.spec.node_name.clone();
    }
    let pointer =
        "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    pod.spec.affinity.as_ref().and_then(|a| a.pointer(pointer)).and_then(Value::as_str).unwrap_or_default().to_string()
}

struct Work<'a> {
    set: &'a DaemonSet,
    hash: String,
    tolerations: Vec<Toleration>,
    now: i64,
    announce: Announce,
    plan: Plan,
    status: DaemonSetStatus,
}

/// What to do for a set.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let Some(set) = &world.set else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    if set.spec.selector.is_empty() {
        let regarding = Regarding::of(&resources::DAEMONSETS, &set.metadata);
        let message = "This daemon set is selecting all pods. A non-empty selector is required.".to_string();
        plan.push(Op::Tell(Event { regarding, warning: true, reason: "SelectingAll".into(), message }));
        return plan;
    }
    if set.metadata.is_deleting() {
        return plan;
    }
    let revision =
        revisions::current(&resources::DAEMONSETS, &set.metadata, &set.spec.template, &world.revisions, &mut plan);
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in &world.pods {
        match pods::claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Owned => by_node.entry(node_of(pod)).or_default().push(pod.clone()),
            Claim::Adopt => {
                pods::adopt(&mut plan, &resources::DAEMONSETS, &set.metadata, &resources::PODS, &pod.metadata)
            }
            Claim::Release => plan.push(pods::release(&set.metadata, &resources::PODS, &pod.metadata)),
            Claim::Ignore => {}
        }
    }
    let used: Vec<&str> = world
        .pods
        .iter()
        .filter_map(|p| p.metadata.labels.get(REVISION_HASH).map(String::as_str))
        .chain([revision.hash.as_str()])
        .collect();
    revisions::truncate(&world.revisions, &used, set.spec.revision_history_limit, &mut plan);
    let status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.collision_count,
        ..Default::default()
    };
    let announce = Announce { regarding: Regarding::of(&resources::DAEMONSETS, &set.metadata), child: "pod" };
    let tolerations = tolerations(&set.spec.template);
    let mut work = Work { set, hash: revision.hash, tolerations, now: now.unix_seconds(), announce, plan, status };
    work.nodes(&world.nodes, &by_node);
    work.plan
}

/// A node's pods: those of the current revision and older ones, without those that are ending.
#[derive(Default)]
struct Here {
    new: Vec<Arc<Pod>>,
    old: Vec<Arc<Pod>>,
    ending: bool,
}

impl Work<'_> {
    fn is_available(&mut self, pod: &Pod) -> bool {
        match pods::available(pod, self.set.spec.min_ready_seconds, self.now) {
            Ok(()) => true,
            Err(Some(at)) => {
                self.plan.look_again(WallTime::from_unix(at, 0));
                false
            }
            Err(None) => false,
        }
    }

    fn nodes(&mut self, nodes: &[Arc<Node>], by_node: &BTreeMap<String, Vec<Arc<Pod>>>) {
        let mut wanted: Vec<(String, Here)> = Vec::new();
        let mut gone: Vec<&String> =
            by_node.keys().filter(|name| !nodes.iter().any(|n| n.metadata.name == **name)).collect();
        gone.retain(|name| !name.is_empty());
        for node in nodes {
            let (run, stay) = fits(&self.set.spec.template, &self.tolerations, node);
            let here = by_node.get(&node.metadata.name).cloned().unwrap_or_default();
            self.count(run, &here);
            if !stay {
                self.remove(&here);
                continue;
            }
            let sorted = self.sort(&node.metadata.name, here);
            let empty = sorted.new.is_empty() && sorted.old.is_empty() && !sorted.ending;
            if run && empty {
                self.create(&node.metadata.name);
            }
            if run {
                wanted.push((node.metadata.name.clone(), sorted));
            }
        }
        for name in gone {
            let pods = by_node[name].clone();
            self.remove(&pods);
        }
        if self.set.spec.update_strategy.kind != "OnDelete" {
            self.update(wanted);
        }
        self.status.number_unavailable = self.status.desired_number_scheduled - self.status.number_available;
        if self.status != self.set.status {
            let target = Target::new(&resources::DAEMONSETS, &self.set.metadata.namespace, &self.set.metadata.name);
            let patch = json!({"metadata": {"uid": self.set.metadata.uid}, "status": self.status});
            self.plan.ops.insert(0, Op::status(target, patch));
        }
    }

    fn count(&mut self, run: bool, here: &[Arc<Pod>]) {
        if !run {
            self.status.number_misscheduled += i64::from(!here.is_empty());
            return;
        }
        self.status.desired_number_scheduled += 1;
        // The oldest ready pod stands for its node.
        let mut live: Vec<_> = here.iter().filter(|p| !p.metadata.is_deleting()).collect();
        live.sort_by_key(|p| (!pods::is_ready(p), p.metadata.created()));
        let Some(pod) = live.first() else { return };
        self.status.current_number_scheduled += 1;
        self.status.number_ready += i64::from(pods::is_ready(pod));
        self.status.number_available += i64::from(self.is_available(pod));
        let updated = live.iter().any(|p| p.metadata.labels.get(REVISION_HASH) == Some(&self.hash));
        self.status.updated_number_scheduled += i64::from(updated);
    }

    /// Removes what has failed or is too much; answers the rest.
    fn sort(&mut self, node: &str, here: Vec<Arc<Pod>>) -> Here {
        let mut out = Here::default();
        for pod in here {
            if pod.metadata.is_deleting() {
                out.ending = true;
            } else if pods::is_finished(&pod) {
                let failed = pod.status.phase == "Failed";
                let what = if failed { "failed" } else { "succeeded" };
                let reason = if failed { "FailedDaemonPod" } else { "SucceededDaemonPod" };
                let message = format!(
                    "Found {what} daemon pod {} on node {node}, will try to {} it",
                    pod.metadata.key(),
                    if failed { "kill" } else { "delete" }
                );
                self.plan.push(Op::Tell(Event {
                    regarding: self.announce.regarding.clone(),
                    warning: failed,
                    reason: reason.into(),
                    message,
                }));
                self.plan.push(pods::delete(&pod).announced(self.announce.clone()));
                out.ending = true;
            } else if pod.metadata.labels.get(REVISION_HASH) == Some(&self.hash) {
                out.new.push(pod);
            } else {
                out.old.push(pod);
            }
        }
        // The oldest of each kind stays, of the ready ones if there are any.
        for side in [&mut out.new, &mut out.old] {
            side.sort_by_key(|p| (!pods::is_ready(p), p.metadata.created(), p.metadata.name.clone()));
            for extra in side.drain(1.min(side.len())..) {
                self.plan.push(pods::delete(&extra).announced(self.announce.clone()));
            }
        }
        out
    }

    fn remove(&mut self, here: &[Arc<Pod>]) {
        for pod in here.iter().filter(|p| !p.metadata.is_deleting()) {
            self.plan.push(pods::delete(pod).announced(self.announce.clone()));
        }
    }

    fn create(&mut self, node: &str) {
        let owner = pods::controller_ref(&resources::DAEMONSETS, &self.set.metadata);
        let mut pod = pods::from_template(&self.set.spec.template, &owner, &self.set.metadata.namespace);
        pod["metadata"]["labels"][REVISION_HASH] = self.hash.as_str().into();
        pod["metadata"]["labels"]["pod-template-generation"] = self.set.metadata.generation.to_string().into();
        pod["spec"]["tolerations"] = json!(self.tolerations);
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms});
        self.plan
            .push(Op::create(&resources::PODS, &self.set.metadata.namespace, pod).announced(self.announce.clone()));
    }

    /// Replaces old pods, within unavailability or surge.
    fn update(&mut self, wanted: Vec<(String, Here)>) {
        let rolling = self.set.spec.update_strategy.rolling_update.clone().unwrap_or_default();
        let total = self.status.desired_number_scheduled;
        let surge = pods::scaled(rolling.max_surge.as_ref(), total, true).unwrap_or(0);
        let unavailable = pods::scaled(rolling.max_unavailable.as_ref(), total, true).unwrap_or(1);
        let mut room = if surge > 0 { surge } else { unavailable };
        let mut ready_to_go = Vec::new();
        for (node, here) in wanted {
            let new_available = match here.new.first() {
                Some(pod) => self.is_available(pod),
                None => false,
            };
            let Some(old) = here.old.first() else {
                room -= i64::from(surge == 0 && !new_available);
                continue;
            };
            let old_available = self.is_available(old);
            if surge == 0 {
                if !old_available || !here.new.is_empty() {
                    room -= i64::from(!new_available);
                    self.plan.push(pods::delete(old).announced(self.announce.clone()));
                } else {
                    ready_to_go.push((node, old.clone()));
                }
            } else if here.new.is_empty() {
                if old_available {
                    ready_to_go.push((node, old.clone()));
                } else if !here.ending {
                    self.create(&node); // it serves nobody: no room is needed to replace it
                }
            } else if new_available || !old_available {
                self.plan.push(pods::delete(old).announced(self.announce.clone()));
            } else {
                room -= 1;
            }
        }
        for (node, old) in ready_to_go.into_iter().take(usize::try_from(room).unwrap_or(0)) {
            if surge == 0 {
                self.plan.push(pods::delete(&old).announced(self.announce.clone()));
            } else {
                self.create(&node);
            }
        }
    }
}
