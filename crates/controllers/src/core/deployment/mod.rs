//! Deployments: which ReplicaSets there should be, and how large.
//! Source: `pkg/controller/deployment/{deployment_controller,sync,rolling,recreate,progress}.go` and `util/deployment_util.go`.
//!
//! The plan works on copies of the ReplicaSets ([`Set`]) whose wanted size it changes; what differs in the end becomes patches.

mod rollout;
mod sets;
mod status;

use super::pods::{self, Claim};
use crate::views::{Deployment, Pod, ReplicaSet};
use client::{Event, Op, Plan, Regarding, Target, resources};
use platform::WallTime;
use sets::Set;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotation: the revision.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation: revisions that a reused ReplicaSet had before.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotation: the deployment's replicas when the ReplicaSet was sized.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation: the same with surge.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Label: the hash of the template.
pub const HASH: &str = "pod-template-hash";

/// All that one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// Its ReplicaSets, and orphans in its namespace.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Pods of its ReplicaSets by the set's uid.
    pub pods: BTreeMap<String, Vec<Arc<Pod>>>,
}

/// One decision in the making.
struct Work<'a> {
    d: &'a Deployment,
    world: &'a World,
    now: WallTime,
    /// All sets, oldest first.
    sets: Vec<Set>,
    plan: Plan,
    /// The status as it will be.
    conditions: Vec<crate::views::Condition>,
    collisions: Option<i64>,
}

/// What to do for a deployment.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let Some(d) = &world.deployment else { return Plan::nothing() };
    let mut work = Work {
        d,
        world,
        now,
        sets: Vec::new(),
        plan: Plan::nothing(),
        conditions: d.status.conditions.clone(),
        collisions: d.status.collision_count,
    };
    if d.spec.selector.is_empty() {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        work.tell(true, "SelectingAll", message.into());
        return work.plan;
    }
    work.claim();
    if d.metadata.is_deleting() {
        work.finish(false);
        return work.plan;
    }
    work.paused_conditions();
    let scaling = work
        .sets
        .iter()
        .any(|s| s.replicas > 0 && s.annotated(DESIRED).is_some_and(|desired| desired != work.replicas()));
    if d.spec.paused || scaling {
        work.find_new(false);
        work.scale();
        if d.spec.paused {
            work.clean_up();
        }
        work.finish(false);
    } else if d.spec.strategy.kind == "Recreate" {
        work.recreate();
    } else {
        work.rolling();
    }
    work.plan
}

impl Work<'_> {
    fn replicas(&self) -> i64 {
        self.d.spec.replicas.unwrap_or(1)
    }

    /// (surge, unavailable), never both zero.
    fn fenceposts(&self) -> (i64, i64) {
        if self.d.spec.strategy.kind == "Recreate" {
            return (0, 0);
        }
        let rolling = self.d.spec.strategy.rolling_update.clone().unwrap_or_default();
        let surge = pods::scaled(rolling.max_surge.as_ref(), self.replicas(), true).unwrap_or(0);
        let unavailable = pods::scaled(rolling.max_unavailable.as_ref(), self.replicas(), false).unwrap_or(0);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    fn max_unavailable(&self) -> i64 {
        if self.d.spec.strategy.kind == "Recreate" || self.replicas() == 0 {
            0
        } else {
            self.fenceposts().1.min(self.replicas())
        }
    }

    fn regarding(&self) -> Regarding {
        Regarding::of(&resources::DEPLOYMENTS, &self.d.metadata)
    }

    fn tell(&mut self, warning: bool, reason: &str, message: String) {
        let regarding = self.regarding();
        self.plan.push(Op::Tell(Event { regarding, warning, reason: reason.into(), message }));
    }

    fn target(&self) -> Target {
        Target::new(&resources::DEPLOYMENTS, &self.d.metadata.namespace, &self.d.metadata.name)
    }

    /// Takes what is the deployment's, adopts orphans, lets go of the rest.
    fn claim(&mut self) {
        for set in &self.world.sets {
            match pods::claim(&self.d.metadata, &self.d.spec.selector, &set.metadata) {
                Claim::Owned => self.sets.push(Set::of(set)),
                Claim::Adopt => {
                    // It is dealt with once it carries the reference, at its new revision.
                    let owner = &self.d.metadata;
                    pods::adopt(&mut self.plan, &resources::DEPLOYMENTS, owner, &resources::REPLICASETS, &set.metadata);
                }
                Claim::Release => {
                    self.plan.push(pods::release(&self.d.metadata, &resources::REPLICASETS, &set.metadata))
                }
                Claim::Ignore => {}
            }
        }
        self.sets.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    }
}

#[cfg(test)]
mod tests;
