//! Jobs and CronJobs.
//!
//! Source: `pkg/apis/batch/v1/defaults.go`, `pkg/registry/batch/job/strategy.go`, `pkg/apis/batch/validation`.

use super::workloads::RootChild;
use super::{pod, pod_validation, validation as v};
use api::errors::{FieldErrors, Path};
use api::{Value, f};

/// Job.
pub fn job_defaults(j: &mut Value) {
    let labels = j.at(f::spec).at(f::template).at(f::metadata).at(f::labels).clone();
    if j.at(f::metadata).at(f::labels).is_zero() && !labels.is_zero() {
        j.entry(f::metadata).set(f::labels, labels);
    }
    spec_defaults(j.entry(f::spec));
}

fn spec_defaults(spec: &mut Value) {
    if !spec.has(f::completions) && !spec.has(f::parallelism) {
        spec.set(f::completions, 1);
        spec.set(f::parallelism, 1);
    }
    spec.set_default(f::parallelism, 1);
    let per_index = spec.has(f::backoffLimitPerIndex);
    spec.set_default(f::backoffLimit, if per_index { i64::from(i32::MAX) } else { 6 });
    spec.set_default(f::completionMode, "NonIndexed");
    spec.set_default(f::suspend, false);
    let replacement = if spec.has(f::podFailurePolicy) { "Failed" } else { "TerminatingOrFailed" };
    spec.set_default(f::podReplacementPolicy, replacement);
    spec.set_default(f::manualSelector, false);
    pod::template_defaults(spec.entry(f::template));
}

/// The server makes a job's selector from its uid.
pub fn job_create(j: &mut Value) {
    let uid = j.at(f::metadata).at(f::uid).clone();
    let name = j.at(f::metadata).at(f::name).clone();
    let spec = j.entry(f::spec);
    if spec.at(f::manualSelector).is_true() {
        return;
    }
    let labels = spec.entry(f::template).entry(f::metadata).entry(f::labels);
    for (key, value) in [
        ("job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        labels.set_default(key, value.clone());
    }
    spec.entry(f::selector).entry(f::matchLabels).set_default("batch.kubernetes.io/controller-uid", uid);
}

/// Job.
pub fn job(j: &Value, errs: &mut FieldErrors) {
    job_spec(j.at(f::spec), &Path::Root.child_static("spec"), errs);
}

fn job_spec(spec: &Value, path: &Path, errs: &mut FieldErrors) {
    for (key, name) in [
        (f::parallelism, "parallelism"),
        (f::completions, "completions"),
        (f::activeDeadlineSeconds, "activeDeadlineSeconds"),
        (f::backoffLimit, "backoffLimit"),
        (f::ttlSecondsAfterFinished, "ttlSecondsAfterFinished"),
        (f::backoffLimitPerIndex, "backoffLimitPerIndex"),
        (f::maxFailedIndexes, "maxFailedIndexes"),
    ] {
        v::non_negative(spec.at(key), &path.child(name), errs);
    }
    let mode = spec.at(f::completionMode).str();
    if !mode.is_empty() && !matches!(mode, "NonIndexed" | "Indexed") {
        errs.not_supported(&path.child("completionMode"), mode, &["Indexed", "NonIndexed"]);
    }
    if mode == "Indexed" && !spec.has(f::completions) {
        errs.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let template = path.child("template");
    pod_validation::template(spec.at(f::template), &template, errs);
    let policy = spec.at(f::template).at(f::spec).at(f::restartPolicy);
    let at = template.child("spec");
    match policy.str() {
        "" | "Always" => errs.required(&at.child("restartPolicy"), "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => {}
        _ => errs.not_supported(&at.child("restartPolicy"), policy, &["OnFailure", "Never"]),
    }
}

/// Completions, selector and template stay.
pub fn job_update(new: &Value, old: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    let indexed_both = n.at(f::completionMode).str() == "Indexed" && n.at(f::completions) == n.at(f::parallelism);
    for (key, name) in [
        (f::completions, "completions"),
        (f::selector, "selector"),
        (f::completionMode, "completionMode"),
        (f::podFailurePolicy, "podFailurePolicy"),
        (f::backoffLimitPerIndex, "backoffLimitPerIndex"),
    ] {
        if n.at(key) != o.at(key) && !(name == "completions" && indexed_both) {
            errs.invalid(&path.child(name), n.at(key), "field is immutable");
        }
    }
    let suspended = o.at(f::suspend).is_true() && !old.at(f::status).has(f::startTime);
    if n.at(f::template) != o.at(f::template) && !suspended {
        errs.invalid(&path.child("template"), n.at(f::template), "field is immutable");
    }
}

/// CronJob.
pub fn cronjob_defaults(c: &mut Value) {
    let spec = c.entry(f::spec);
    if spec.at(f::concurrencyPolicy).str().is_empty() {
        spec.set(f::concurrencyPolicy, "Allow");
    }
    spec.set_default(f::suspend, false);
    spec.set_default(f::successfulJobsHistoryLimit, 3);
    spec.set_default(f::failedJobsHistoryLimit, 1);
    pod::template_defaults(spec.entry(f::jobTemplate).entry(f::spec).entry(f::template));
}

/// CronJob.
pub fn cronjob(c: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = c.at(f::spec);
    if spec.at(f::schedule).str().is_empty() {
        errs.required(&path.child("schedule"), "");
    }
    v::non_negative(spec.at(f::startingDeadlineSeconds), &path.child("startingDeadlineSeconds"), errs);
    v::one_of(spec.at(f::concurrencyPolicy), &path.child("concurrencyPolicy"), &["Allow", "Forbid", "Replace"], errs);
    v::non_negative(spec.at(f::successfulJobsHistoryLimit), &path.child("successfulJobsHistoryLimit"), errs);
    v::non_negative(spec.at(f::failedJobsHistoryLimit), &path.child("failedJobsHistoryLimit"), errs);
    let job = path.child("jobTemplate");
    job_spec(spec.at(f::jobTemplate).at(f::spec), &job.child("spec"), errs);
}
