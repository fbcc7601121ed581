//! What a job says of failures and of success: pod failure policies and success policies.
//! Source: `pkg/controller/job/{pod_failure_policy,success_policy}.go`. Pure functions over the policies' JSON.

use super::pods::is_finished;
use crate::views::{Job, Pod};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// The job fails; why.
    FailJob(String),
}

fn rules(policy: Option<&Value>) -> &[Value] {
    policy.and_then(|p| p["rules"].as_array()).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a pod is replaced only once it has failed: not while it is being deleted.
pub fn replaces_failed_only(job: &Job) -> bool {
    job.spec.pod_replacement_policy.as_deref() == Some("Failed") || job.spec.pod_failure_policy.is_some()
}

/// Whether a pod counts as failed. A deleted one does, even if it never gets to the phase, unless only failed ones do.
pub fn is_failed(job: &Job, pod: &Pod) -> bool {
    let unscheduled = pod.spec.node_name.is_empty();
    let deleted = pod.metadata.is_deleting() && !is_finished(pod);
    pod.status.phase == "Failed" || (deleted && (unscheduled || !replaces_failed_only(job)))
}

/// What the policy says of a failed pod: the first rule that matches.
pub fn failure(job: &Job, pod: &Pod) -> Failure {
    for (index, rule) in rules(job.spec.pod_failure_policy.as_ref()).iter().enumerate() {
        let action = rule["action"].as_str().unwrap_or_default();
        let Some(what) = by_exit_code(rule, pod).or_else(|| by_condition(rule, pod)) else { continue };
        return match action {
            "FailJob" => Failure::FailJob(format!("{what} matching {action} rule at index {index}")),
            "Ignore" => Failure::Ignore,
            _ => Failure::Count,
        };
    }
    Failure::Count
}

fn by_exit_code(rule: &Value, pod: &Pod) -> Option<String> {
    let wanted = rule["onExitCodes"].as_object()?;
    let listed =
        |code: i32| wanted.get("values").and_then(Value::as_array).is_some_and(|v| v.iter().any(|n| *n == code));
    let inside = wanted.get("operator").is_some_and(|o| o == "In");
    let only = wanted.get("containerName").and_then(Value::as_str);
    let all = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let ended = all.filter(|c| only.is_none_or(|name| name == c.name));
    let mut codes = ended.filter_map(|c| Some((&c.name, c.state.terminated.as_ref()?.exit_code)));
    let (name, code) = codes.find(|(_, code)| *code != 0 && listed(*code) == inside)?;
    let meta = &pod.metadata;
    Some(format!("Container {name} for pod {}/{} failed with exit code {code}", meta.namespace, meta.name))
}

fn by_condition(rule: &Value, pod: &Pod) -> Option<String> {
    let patterns = rule["onPodConditions"].as_array()?;
    let found = pod.status.conditions.iter().find(|c| {
        patterns.iter().any(|p| p["type"] == *c.kind && p["status"].as_str().unwrap_or("True") == c.status)
    })?;
    Some(format!("Pod {}/{} has condition {}", pod.metadata.namespace, pod.metadata.name, found.kind))
}

/// The success rule that the finished indexes satisfy: what is said of it.
pub fn success(job: &Job, done: &BTreeSet<i64>) -> Option<String> {
    let met = |rule: &Value| {
        let indexes = rule["succeededIndexes"].as_str().map(super::job::parse_indexes);
        let count = rule["succeededCount"].as_u64();
        match (indexes, count) {
            (Some(wanted), Some(count)) => wanted.intersection(done).count() as u64 >= count,
            (Some(wanted), None) => wanted.is_subset(done),
            (None, Some(count)) => done.len() as u64 >= count,
            (None, None) => false,
        }
    };
    let index = rules(job.spec.success_policy.as_ref()).iter().position(met)?;
    Some(format!("Matched rules at index {index}"))
}

#[cfg(test)]
mod tests;
