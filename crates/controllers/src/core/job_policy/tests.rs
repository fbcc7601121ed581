//! Policies, and jobs that follow them.
use super::*;
use crate::core::fixtures::{lines, pod, view};
use crate::core::job;
use platform::WallTime;
use serde_json::json;
use std::sync::Arc;

fn a_job(spec: Value, status: Value) -> Arc<Job> {
    let mut object = json!({
        "metadata": {"name": "j", "namespace": "default", "uid": "u"},
        "spec": {"completions": 3, "parallelism": 3, "backoffLimit": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {}},
        "status": status,
    });
    client::merge(&mut object["spec"], &spec);
    view(object)
}

fn failed(job: &Arc<Job>, name: &str, code: i32) -> Arc<Pod> {
    let mut pod = pod(name).of("Job", &**job).label("a", "b").on("n").phase("Failed").build();
    let status = json!([{"name": "main", "state": {"terminated": {"exitCode": code}}}]);
    let inner = Arc::make_mut(&mut pod);
    inner.metadata.finalizers = vec![job::TRACKING.into()];
    inner.status.container_statuses = serde_json::from_value(status).expect("statuses");
    pod
}

fn said(job: &Arc<Job>, pods: Vec<Arc<Pod>>) -> String {
    lines(&job::plan(&job::World { job: Some(job.clone()), pods }, WallTime::from_unix(1000, 0))).join("\n")
}

#[test]
fn a_failure_policy_decides_what_a_failure_means() {
    let rule = |action: &str, operator: &str| json!({"action": action, "onExitCodes": {"containerName": "main", "operator": operator, "values": [42]}});
    let with = |rules: Value| a_job(json!({"podFailurePolicy": {"rules": rules}}), json!({}));
    let fails = with(json!([rule("FailJob", "In")]));
    let said_of = said(&fails, vec![failed(&fails, "p", 42)]);
    let message = "Container main for pod default/p failed with exit code 42 matching FailJob rule at index 0";
    assert!(said_of.contains("\"reason\":\"PodFailurePolicy\"") && said_of.contains(message), "{said_of}");
    let ignored = with(json!([rule("Count", "NotIn"), rule("Ignore", "In")]));
    let said_of = said(&ignored, vec![failed(&ignored, "p", 42)]);
    assert!(!said_of.contains("FailureTarget") && said_of.contains("create pods j-"), "{said_of}");
    assert!(said_of.contains(r#"patch pods p {"metadata":{"finalizers":[]}}"#), "it is let go all the same: {said_of}");
    let said_of = said(&ignored, vec![failed(&ignored, "p", 7)]);
    assert!(said_of.contains("BackoffLimitExceeded"), "another code counts: {said_of}");
    let by_condition =
        with(json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]));
    let mut evicted = failed(&by_condition, "p", 1);
    let condition = serde_json::from_value(json!({"type": "DisruptionTarget", "status": "True"})).expect("a condition");
    Arc::make_mut(&mut evicted).status.conditions.push(condition);
    assert_eq!(failure(&by_condition, &evicted), Failure::Ignore);
}

#[test]
fn a_success_policy_ends_a_job_early() {
    let with = |rules: Value, done: &str| {
        let spec = json!({"completionMode": "Indexed", "successPolicy": {"rules": rules}});
        a_job(spec, json!({"completedIndexes": done, "succeeded": 1}))
    };
    for (rules, done, met) in [
        (json!([{"succeededIndexes": "0"}]), "0", Some("Matched rules at index 0")),
        (json!([{"succeededIndexes": "1-2"}]), "0,1", None),
        (json!([{"succeededIndexes": "1-2", "succeededCount": 1}]), "0,1", Some("Matched rules at index 0")),
        (json!([{"succeededIndexes": "2"}, {"succeededCount": 2}]), "0,1", Some("Matched rules at index 1")),
    ] {
        let job = with(rules.clone(), done);
        assert_eq!(success(&job, &job::parse_indexes(done)).as_deref(), met, "{rules} {done}");
    }
    let job = with(json!([{"succeededCount": 1}]), "0");
    let running = pod("p").of("Job", &*job).label("a", "b").on("n").phase("Running").build();
    let said_of = said(&job, vec![running]);
    assert!(said_of.contains("\"reason\":\"SuccessPolicy\"") && said_of.contains("delete pods p"), "{said_of}");
    assert!(!said_of.contains("\"type\":\"Complete\""), "not before its pods have ended: {said_of}");
}

#[test]
fn a_deleted_pod_counts_as_failed_unless_only_failed_ones_do() {
    let gone = |job: &Arc<Job>| pod("p").of("Job", &**job).on("n").phase("Running").deleting().build();
    let plain = a_job(json!({}), json!({}));
    let strict = a_job(json!({"podReplacementPolicy": "Failed"}), json!({}));
    assert!(is_failed(&plain, &gone(&plain)) && !is_failed(&strict, &gone(&strict)));
}
