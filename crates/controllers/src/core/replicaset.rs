//! ReplicaSets and ReplicationControllers: as many active pods as wanted.
//! Source: `pkg/controller/replicaset/replica_set.go`.

use super::pods::{self, Claim};
use crate::views::{Pod, ReplicaSet, ReplicaSetStatus};
use client::{Announce, Op, Plan, Regarding, Resource, Selector, Target, resources};
use platform::WallTime;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const BURST: usize = 500;

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `v1` ReplicationController.
    ReplicationController,
}

impl Kind {
    /// Its resource.
    pub fn resource(self) -> &'static Resource {
        static SETS: Resource = resources::REPLICASETS;
        static CONTROLLERS: Resource = resources::REPLICATIONCONTROLLERS;
        match self {
            Kind::ReplicaSet => &SETS,
            Kind::ReplicationController => &CONTROLLERS,
        }
    }

    /// A set's selector.
    pub fn selector(self, set: &ReplicaSet) -> Selector {
        match self {
            Kind::ReplicaSet => serde_json::from_value(set.spec.selector.clone()).unwrap_or_default(),
            Kind::ReplicationController => {
                let labels: BTreeMap<String, String> =
                    serde_json::from_value(set.spec.selector.clone()).unwrap_or_default();
                Selector::labels(&labels)
            }
        }
    }
}

/// All that one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The set.
    pub set: Option<Arc<ReplicaSet>>,
    /// Its pods, and orphans in its namespace.
    pub pods: Vec<Arc<Pod>>,
    /// Active pods per node of all sets of the same owner (for spreading removals).
    pub rank: BTreeMap<String, usize>,
}

/// What to do for a set.
pub fn plan(kind: Kind, world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(set) = &world.set else { return plan };
    let selector = kind.selector(set);
    let owner = pods::controller_ref(kind.resource(), &set.metadata);
    let mut mine = Vec::new();
    for pod in &world.pods {
        match pods::claim(&set.metadata, &selector, &pod.metadata) {
            Claim::Owned => mine.push(pod.clone()),
            Claim::Adopt if !pods::is_finished(pod) => {
                pods::adopt(&mut plan, kind.resource(), &set.metadata, &resources::PODS, &pod.metadata);
                mine.push(pod.clone());
            }
            Claim::Release => plan.push(pods::release(&set.metadata, &resources::PODS, &pod.metadata)),
            _ => {}
        }
    }
    let terminating = mine.iter().filter(|p| p.metadata.is_deleting() && !pods::is_finished(p)).count() as i64;
    let mut active: Vec<_> = mine.into_iter().filter(|p| pods::is_active(p)).collect();
    status(kind, set, &active, terminating, now, &mut plan);
    if set.metadata.is_deleting() {
        return plan;
    }
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    let announce = Announce { regarding: Regarding::of(kind.resource(), &set.metadata), child: "pod" };
    for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
        let pod = pods::from_template(&set.spec.template, &owner, &set.metadata.namespace);
        plan.push(Op::create(&resources::PODS, &set.metadata.namespace, pod).announced(announce.clone()));
    }
    let surplus = active.len().saturating_sub(wanted).min(BURST);
    if surplus > 0 {
        pods::sort_for_deletion(&mut active, &world.rank, now.unix_seconds());
        plan.ops.extend(active[..surplus].iter().map(|pod| pods::delete(pod).announced(announce.clone())));
    }
    plan
}

fn status(kind: Kind, set: &ReplicaSet, active: &[Arc<Pod>], terminating: i64, now: WallTime, plan: &mut Plan) {
    let labels = pods::template_labels(&set.spec.template);
    let mut new = ReplicaSetStatus {
        replicas: active.len() as i64,
        observed_generation: set.metadata.generation,
        conditions: set.status.conditions.clone(),
        terminating_replicas: (kind == Kind::ReplicaSet).then_some(terminating),
        ..ReplicaSetStatus::default()
    };
    for pod in active {
        new.fully_labeled_replicas += i64::from(labels.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v)));
        new.ready_replicas += i64::from(pods::is_ready(pod));
        match pods::available(pod, set.spec.min_ready_seconds, now.unix_seconds()) {
            Ok(()) => new.available_replicas += 1,
            Err(Some(at)) => plan.look_again(WallTime::from_unix(at, 0)),
            Err(None) => {}
        }
    }
    if new != set.status {
        let target = Target::new(kind.resource(), &set.metadata.namespace, &set.metadata.name);
        let metadata = json!({"uid": set.metadata.uid, "resourceVersion": set.metadata.resource_version});
        // First, so that a refused creation does not keep the status old.
        plan.ops.insert(0, Op::status(target, json!({"metadata": metadata, "status": new})));
    }
}
