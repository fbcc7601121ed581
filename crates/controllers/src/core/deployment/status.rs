//! A deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

use super::Work;
use crate::core::pods::set_condition;
use crate::views::{Condition, DeploymentStatus, condition};
use client::Op;
use platform::WallTime;
use serde_json::json;

impl Work<'_> {
    fn stamp(&self) -> Option<String> {
        Some(api::time::format_seconds(self.now.unix_seconds()))
    }

    fn made(&self, kind: &str, status: &str, reason: &str, message: String) -> Condition {
        Condition {
            kind: kind.into(),
            status: status.into(),
            last_update_time: self.stamp(),
            last_transition_time: self.stamp(),
            reason: reason.into(),
            message,
            ..Condition::default()
        }
    }

    /// Sets a condition unless its status and reason are as before (then its times stay).
    fn set(&mut self, new: Condition) {
        let same = condition(&self.conditions, &new.kind)
            .is_some_and(|old| old.status == new.status && old.reason == new.reason);
        if !same {
            set_condition(&mut self.conditions, new);
        }
    }

    pub fn progressing(&mut self, status: &str, reason: &str, message: String) {
        if self.d.spec.progress_deadline_seconds.is_some() {
            let new = self.made("Progressing", status, reason, message);
            self.set(new);
        }
    }

    pub fn paused_conditions(&mut self) {
        let Some(deadline) = self.d.spec.progress_deadline_seconds else { return };
        if deadline == i64::from(i32::MAX) {
            return;
        }
        let old = condition(&self.conditions, "Progressing").map(|c| c.reason.clone()).unwrap_or_default();
        if old == "ProgressDeadlineExceeded" {
            return;
        }
        let paused = old == "DeploymentPaused";
        if self.d.spec.paused && !paused {
            self.progressing("Unknown", "DeploymentPaused", "Deployment is paused".into());
        } else if !self.d.spec.paused && paused {
            self.progressing("Unknown", "DeploymentResumed", "Deployment is resumed".into());
        }
    }

    fn counts(&self) -> DeploymentStatus {
        let sum = |of: &dyn Fn(&crate::views::ReplicaSetStatus) -> i64| {
            self.sets.iter().filter_map(|s| s.there.as_ref()).map(|s| of(&s.status)).sum::<i64>()
        };
        let (replicas, available) = (sum(&|s| s.replicas), sum(&|s| s.available_replicas));
        DeploymentStatus {
            observed_generation: self.d.metadata.generation,
            replicas,
            updated_replicas: self.new_set().map_or(0, |at| self.sets[at].actual()),
            ready_replicas: sum(&|s| s.ready_replicas),
            available_replicas: available,
            unavailable_replicas: (self.total() - available).max(0),
            terminating_replicas: Some(sum(&|s| s.terminating_replicas.unwrap_or(0))),
            conditions: Vec::new(),
            collision_count: self.collisions,
        }
    }

    pub fn is_complete(&self) -> bool {
        complete(&self.counts(), self.replicas())
    }

    /// Writes sets and status. `rollout`: judge the progress too.
    pub fn finish(&mut self, rollout: bool) {
        self.write_sets();
        let mut status = self.counts();
        let available = if status.available_replicas >= self.replicas() - self.max_unavailable() {
            self.made("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
        } else {
            self.made(
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".into(),
            )
        };
        self.set(available);
        if rollout {
            self.judge_progress(&status);
        }
        self.replica_failures();
        status.conditions = self.conditions.clone();
        if status != self.d.status {
            let metadata = json!({"uid": self.d.metadata.uid});
            self.plan.push(Op::status(self.target(), json!({"metadata": metadata, "status": status})));
        }
    }

    fn judge_progress(&mut self, status: &DeploymentStatus) {
        let Some(deadline) = self.d.spec.progress_deadline_seconds.filter(|d| *d != i64::from(i32::MAX)) else {
            self.conditions.retain(|c| c.kind != "Progressing");
            return;
        };
        let old = condition(&self.d.status.conditions, "Progressing").cloned();
        let was_done = old.as_ref().is_some_and(|c| c.reason == "NewReplicaSetAvailable");
        if was_done && status.replicas == status.updated_replicas {
            return;
        }
        let subject = match self.new_set() {
            Some(at) => format!("ReplicaSet \"{}\"", self.sets[at].name),
            None => format!("Deployment \"{}\"", self.d.metadata.name),
        };
        let before = &self.d.status;
        let left = |s: &DeploymentStatus| s.replicas - s.updated_replicas;
        let moves = status.updated_replicas > before.updated_replicas
            || left(status) < left(before)
            || status.ready_replicas > before.ready_replicas
            || status.available_replicas > before.available_replicas;
        if complete(status, self.replicas()) {
            self.progressing("True", "NewReplicaSetAvailable", format!("{subject} has successfully progressed."));
        } else if moves {
            let new = self.made("Progressing", "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
            let since = old.filter(|c| c.status == "True").and_then(|c| c.last_transition_time);
            let new = Condition { last_transition_time: since.or(new.last_transition_time.clone()), ..new };
            self.conditions.retain(|c| c.kind != "Progressing"); // its update time counts: always replaced
            self.conditions.push(new);
        } else if let Some(current) = condition(&self.conditions, "Progressing").cloned() {
            self.judge_deadline(&current, deadline, &subject);
        }
    }

    fn judge_deadline(&mut self, current: &Condition, deadline: i64, subject: &str) {
        if current.reason == "NewReplicaSetAvailable" || current.reason == "ProgressDeadlineExceeded" {
            return;
        }
        let since = current.last_update_time.as_deref().and_then(api::time::parse_seconds).unwrap_or(0);
        if since + deadline < self.now.unix_seconds() {
            self.progressing("False", "ProgressDeadlineExceeded", format!("{subject} has timed out progressing."));
        } else {
            self.plan.look_again(WallTime::from_unix(since + deadline + 1, 0));
        }
    }

    fn replica_failures(&mut self) {
        let find = |new: bool| {
            let sets = self.sets.iter().filter(|s| s.is_new == new).filter_map(|s| s.there.as_ref());
            sets.filter_map(|s| {
                condition(&s.status.conditions, "ReplicaFailure").filter(|c| c.status == "True").cloned()
            })
            .next()
        };
        match find(true).or_else(|| find(false)) {
            Some(failure) => {
                let new = self.made("ReplicaFailure", "True", &failure.reason, failure.message);
                self.set(new);
            }
            None => self.conditions.retain(|c| c.kind != "ReplicaFailure"),
        }
    }
}

fn complete(status: &DeploymentStatus, wanted: i64) -> bool {
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}
