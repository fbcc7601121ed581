//! Disruption budgets: how many pods may go. Source: `pkg/controller/disruption/disruption.go`.

use super::pods::{is_finished, is_ready, scaled, set_condition};
use crate::views::{Budget, BudgetStatus, Condition, Pod};
use client::{Op, Plan, Resource, Target, resources};
use platform::WallTime;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An eviction that was granted counts for so long.
const GRANTED_SECONDS: i64 = 120;

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The budget.
    pub budget: Option<Arc<Budget>>,
    /// Pods that it selects.
    pub pods: Vec<Arc<Pod>>,
    /// Wanted replicas of the pods' controllers, by the controller's uid; those that cannot be told are missing.
    pub scales: BTreeMap<String, i64>,
}

/// The budget's status.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(budget) = world.budget.as_ref().filter(|b| !b.metadata.is_deleting()) else { return plan };
    let live: Vec<_> = world.pods.iter().filter(|p| !is_finished(p)).collect();
    let (expected, desired, failed) = wanted(budget, &live, &world.scales);
    // Evictions that were granted but not seen yet; later they are forgotten.
    let mut disrupted = budget.status.disrupted_pods.clone();
    disrupted.retain(|name, time| {
        let since = api::time::parse_seconds(time).unwrap_or(0);
        let there = live.iter().any(|p| p.metadata.name == *name && !p.metadata.is_deleting());
        let fresh = since + GRANTED_SECONDS > now.unix_seconds();
        if there && fresh {
            plan.look_again(WallTime::from_unix(since + GRANTED_SECONDS, 0));
        }
        there && fresh
    });
    let healthy = live
        .iter()
        .filter(|p| !p.metadata.is_deleting() && !disrupted.contains_key(&p.metadata.name) && is_ready(p))
        .count() as i64;
    let allowed = if expected <= 0 || failed { 0 } else { (healthy - desired).max(0) };
    let mut status = BudgetStatus {
        observed_generation: budget.metadata.generation,
        disrupted_pods: disrupted,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: desired,
        expected_pods: expected,
        conditions: budget.status.conditions.clone(),
    };
    set_condition(&mut status.conditions, condition(failed, allowed, budget.metadata.generation, now));
    if status != budget.status {
        static BUDGETS: Resource = resources::PODDISRUPTIONBUDGETS;
        let gone: BTreeMap<_, _> = budget
            .status
            .disrupted_pods
            .keys()
            .filter(|k| !status.disrupted_pods.contains_key(*k))
            .map(|k| (k, ()))
            .collect();
        let mut patch = json!(status);
        for name in gone.keys() {
            patch["disruptedPods"][name.as_str()] = serde_json::Value::Null;
        }
        let metadata = json!({"uid": budget.metadata.uid, "resourceVersion": budget.metadata.resource_version});
        let target = Target::new(&BUDGETS, &budget.metadata.namespace, &budget.metadata.name);
        plan.push(Op::status(target, json!({"metadata": metadata, "status": patch})));
    }
    plan
}

/// Expected pods, healthy pods that must stay, and whether that cannot be told.
fn wanted(budget: &Budget, live: &[&Arc<Pod>], scales: &BTreeMap<String, i64>) -> (i64, i64, bool) {
    let mut uids: Vec<&str> = live.iter().filter_map(|p| p.metadata.controller()).map(|o| o.uid.as_str()).collect();
    uids.sort_unstable();
    uids.dedup();
    let scale: i64 = uids.iter().filter_map(|u| scales.get(*u)).sum();
    let unknown =
        uids.iter().any(|u| !scales.contains_key(*u)) || live.iter().any(|p| p.metadata.controller().is_none());
    let count = live.len() as i64;
    match (&budget.spec.max_unavailable, &budget.spec.min_available) {
        (Some(_), _) if unknown => (0, 0, true),
        (Some(max), _) => (scale, (scale - scaled(Some(max), scale, true).unwrap_or(0)).max(0), false),
        (None, Some(min)) if min.is_number() => (count, min.as_i64().unwrap_or(0), false),
        (None, Some(_)) if unknown => (0, 0, true),
        (None, min) => (scale, scaled(min.as_ref(), scale, true).unwrap_or(0), false),
    }
}

fn condition(failed: bool, allowed: i64, generation: i64, now: WallTime) -> Condition {
    let (ok, reason) = match (failed, allowed) {
        (true, _) => ("False", "SyncFailed"),
        (false, 0) => ("False", "InsufficientPods"),
        (false, _) => ("True", "SufficientPods"),
    };
    let mut other = BTreeMap::new();
    other.insert("observedGeneration".to_string(), generation.into());
    Condition {
        kind: "DisruptionAllowed".into(),
        status: ok.into(),
        last_transition_time: Some(api::time::format_seconds(now.unix_seconds())),
        reason: reason.into(),
        message: if failed { "found no controllers for all pods".into() } else { String::new() },
        other,
        ..Condition::default()
    }
}
