//! Jobs and CronJobs.
//!
//! Source: `pkg/apis/batch/v1/defaults.go`, `pkg/registry/batch/job/strategy.go`, `pkg/apis/batch/validation`.

use super::{pod, pods, schedule, validation as v};
use api::check::At;
use api::selector::LabelSelector;
use api::{Value, f, format};

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
    let rules = spec.get_mut(f::podFailurePolicy).and_then(|p| p.get_mut(f::rules)).and_then(Value::as_list_mut);
    for rule in rules.into_iter().flatten() {
        for c in rule.get_mut(f::onPodConditions).and_then(Value::as_list_mut).into_iter().flatten() {
            if c.at(f::status).str().is_empty() {
                c.set(f::status, "True");
            }
        }
    }
    pod::template_defaults(spec.entry(f::template));
}

const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// The server makes a job's selector from its uid.
pub fn job_create(j: &mut Value) {
    let uid = j.at(f::metadata).at(f::uid).clone();
    let name = j.at(f::metadata).at(f::name).clone();
    let spec = j.entry(f::spec);
    if spec.at(f::manualSelector).is_true() {
        return;
    }
    let labels = spec.entry(f::template).entry(f::metadata).entry(f::labels);
    for (key, value) in [("job-name", &name), ("controller-uid", &uid), (JOB_NAME, &name), (CONTROLLER_UID, &uid)] {
        labels.set_default(key, value.clone());
    }
    spec.entry(f::selector).entry(f::matchLabels).set_default(CONTROLLER_UID, uid);
}

/// Job.
pub fn job(j: At) {
    let spec = j.at(f::spec);
    generated_selector(j, spec);
    selected_spec(spec);
    let completions = spec.int(f::completions);
    if spec.str(f::completionMode) == "Indexed" && completions > 0 {
        let name = j.at(f::metadata).at(f::name);
        let last = format!("{}-{}", name.v.str(), completions - 1);
        if !format::is_dns1123_label(&last).is_empty() {
            name.invalid(format!("will not able to create pod with invalid DNS label: {last}"));
        }
    }
}

/// A job's spec with its selector.
fn selected_spec(spec: At) {
    job_spec(spec);
    let selector = spec.at(f::selector);
    if selector.v.is_null() {
        selector.required("");
    } else {
        v::label_selector(selector);
    }
    if let Ok(s) = LabelSelector::from_object(selector.v) {
        let labels = spec.at(f::template).at(f::metadata).at(f::labels);
        if !s.matches(labels.v) {
            labels.invalid("`selector` does not match template `labels`");
        }
    }
}

/// The labels and the selector that the server made are as it made them.
fn generated_selector(j: At, spec: At) {
    if spec.get(f::manualSelector).is_true() || spec.get(f::selector).is_null() {
        return;
    }
    let m = j.get(f::metadata);
    let (name, uid) = (m.at(f::name), m.at(f::uid));
    let labels = spec.at(f::template).at(f::metadata).at(f::labels);
    for (key, want) in [("controller-uid", uid), ("job-name", name), (CONTROLLER_UID, uid), (JOB_NAME, name)] {
        let expected = format!("must be '{}'", want.str());
        match labels.v.get(key) {
            None => labels.key(key).required(expected),
            Some(v) if v != want => labels.key(key).invalid_text(labels.shown(), expected),
            Some(_) => {}
        }
    }
    let made = |k: &str| match k {
        "controller-uid" | CONTROLLER_UID => Some(uid.str()),
        "job-name" | JOB_NAME => Some(name.str()),
        _ => None,
    };
    if LabelSelector::from_object(spec.get(f::selector)).is_ok_and(|s| !s.matches_with(made)) {
        spec.at(f::selector).invalid("`selector` not auto-generated");
    }
}

const INDEXES_MAX: i64 = 100_000;

fn job_spec(spec: At) {
    for key in [
        f::parallelism,
        f::completions,
        f::activeDeadlineSeconds,
        f::backoffLimit,
        f::ttlSecondsAfterFinished,
        f::backoffLimitPerIndex,
        f::maxFailedIndexes,
    ] {
        spec.at(key).non_negative();
    }
    if spec.has(f::maxFailedIndexes) && !spec.has(f::backoffLimitPerIndex) {
        spec.at(f::backoffLimitPerIndex).required("when maxFailedIndexes is specified");
    }
    managed_by(spec.at(f::managedBy));
    let mode = spec.at(f::completionMode);
    mode.maybe_one_of(&["NonIndexed", "Indexed"]);
    if mode.v.str() == "Indexed" {
        indexed(spec);
    } else {
        for key in [f::backoffLimitPerIndex, f::maxFailedIndexes].into_iter().filter(|k| spec.has(*k)) {
            spec.at(key).invalid("requires indexed completion mode");
        }
    }
    let failure = spec.at(f::podFailurePolicy);
    if !failure.v.is_null() {
        failure_policy(spec, failure);
    }
    let success = spec.at(f::successPolicy);
    if !success.v.is_null() {
        if mode.v.str() == "Indexed" {
            success_policy(spec, success);
        } else {
            success.invalid("requires indexed completion mode");
        }
    }
    let replacement = spec.at(f::podReplacementPolicy);
    let allowed: &[&str] = if failure.v.is_null() { &["Failed", "TerminatingOrFailed"] } else { &["Failed"] };
    replacement.maybe_one_of(allowed);
    pods::template(spec.at(f::template));
    let policy = spec.at(f::template).at(f::spec).at(f::restartPolicy);
    match policy.v.str() {
        "" | "Always" => policy.required("valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if !failure.v.is_null() => {
            policy.invalid("only \"Never\" is supported when podFailurePolicy is specified")
        }
        "OnFailure" | "Never" => {}
        _ => policy.unsupported(&["OnFailure", "Never"]),
    }
}

fn managed_by(at: At) {
    if let Some(by) = at.v.as_str() {
        match by.split_once('/') {
            Some((domain, path)) if !path.is_empty() && format::is_dns1123_subdomain(domain).is_empty() => {}
            _ => at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
        if by.len() > 63 {
            at.too_long(63);
        }
    }
}

fn indexed(spec: At) {
    let (completions, failed) = (spec.at(f::completions), spec.at(f::maxFailedIndexes));
    if completions.v.is_null() {
        completions.required("when completion mode is Indexed");
    }
    if spec.int(f::parallelism) > INDEXES_MAX {
        spec.at(f::parallelism)
            .invalid(format!("must be less than or equal to {INDEXES_MAX} when completion mode is Indexed"));
    }
    if !completions.v.is_null() && failed.v.int() > completions.v.int() {
        failed.invalid("must be less than or equal to completions");
    }
    if failed.v.int() > INDEXES_MAX {
        failed.invalid(format!("must be less than or equal to {INDEXES_MAX}"));
    }
    // So many indexes are followed only if few of them may fail.
    if completions.v.int() > INDEXES_MAX && spec.has(f::backoffLimitPerIndex) {
        const FEW: i64 = 10_000;
        if failed.v.is_null() {
            failed.required(format!("must be specified when completions is above {INDEXES_MAX}"));
        }
        if spec.int(f::parallelism) > FEW {
            spec.at(f::parallelism).invalid(format!(
                "must be less than or equal to {FEW} when completions are above {INDEXES_MAX} and used with backoff limit per index"
            ));
        }
        if failed.v.int() > FEW {
            failed.invalid(format!(
                "must be less than or equal to {FEW} when completions are above {INDEXES_MAX} and used with backoff limit per index"
            ));
        }
    }
}

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

fn failure_policy(spec: At, policy: At) {
    let rules = policy.at(f::rules);
    if rules.v.items().len() > RULES_MAX {
        rules.too_many(RULES_MAX);
    }
    for rule in rules.items() {
        let action = rule.at(f::action);
        match action.v.str() {
            "" => action.required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if !spec.has(f::backoffLimitPerIndex) => {
                action.invalid("requires the backoffLimitPerIndex to be set")
            }
            _ => action.any_of(&["Count", "FailIndex", "FailJob", "Ignore"]),
        }
        let (codes, conditions) = (rule.at(f::onExitCodes), rule.at(f::onPodConditions));
        if !codes.v.is_null() {
            exit_codes(spec, codes);
        }
        if conditions.v.items().len() > RULES_MAX {
            conditions.too_many(RULES_MAX);
        }
        for c in conditions.items() {
            c.at(f::type_).named(format::is_qualified_name);
            match c.str(f::status) {
                "" => c.at(f::status).required("valid values: [\"False\" \"True\" \"Unknown\"]"),
                _ => c.at(f::status).any_of(&["False", "True", "Unknown"]),
            }
        }
        match (codes.v.is_null(), conditions.v.is_zero()) {
            (false, false) => rule.wrong("specifying both OnExitCodes and OnPodConditions is not supported"),
            (true, true) => rule.wrong("specifying one of OnExitCodes and OnPodConditions is required"),
            _ => {}
        }
    }
}

fn exit_codes(spec: At, codes: At) {
    let operator = codes.at(f::operator);
    match operator.v.str() {
        "" => operator.required("valid values: [\"In\" \"NotIn\"]"),
        _ => operator.any_of(&["In", "NotIn"]),
    }
    if let Some(name) = codes.get(f::containerName).as_str() {
        let known = pod::containers(spec.get(f::template).at(f::spec)).any(|(_, c)| c.at(f::name).str() == name);
        if !known {
            codes
                .at(f::containerName)
                .invalid("must be one of the container or initContainer names in the pod template");
        }
    }
    let values = codes.at(f::values);
    let list = values.v.items();
    if list.is_empty() {
        values.invalid_as(&Value::List(Vec::new()), "at least one value is required");
    } else if list.len() > EXIT_CODES_MAX {
        values.too_many(EXIT_CODES_MAX);
    }
    for (i, code) in list.iter().enumerate() {
        if list[..i].contains(code) {
            values.index(i).duplicate();
        }
        if operator.v.str() == "In" && code.int() == 0 {
            values.index(i).invalid("must not be 0 for the In operator");
        }
    }
    if !list.is_sorted_by_key(Value::int) {
        values.invalid("must be ordered");
    }
}

fn success_policy(spec: At, policy: At) {
    let rules = policy.at(f::rules);
    if rules.v.is_zero() {
        rules.required("at least one rules must be specified when the successPolicy is specified");
    } else if rules.v.items().len() > RULES_MAX {
        rules.too_many(RULES_MAX);
    }
    let completions = spec.int(f::completions);
    for rule in rules.items() {
        let (indexes, count) = (rule.at(f::succeededIndexes), rule.at(f::succeededCount));
        if indexes.v.is_null() && count.v.is_null() {
            rule.required("at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = None;
        if let Some(text) = indexes.v.as_str() {
            match count_indexes(text, completions) {
                Ok(n) => total = Some(n),
                Err(why) => indexes.invalid(format!("error parsing succeededIndexes: {why}")),
            }
        }
        if count.v.is_null() {
            continue;
        }
        count.non_negative();
        if count.v.int() > completions {
            count.invalid(format!("must be less than or equal to {completions} (the number of specified completions)"));
        }
        if total.is_some_and(|t| count.v.int() > t) {
            count.invalid(format!(
                "must be less than or equal to {} (the number of indexes in the specified succeededIndexes field)",
                total.unwrap_or_default()
            ));
        }
    }
}

/// How many indexes `1,3-5` names, all below `completions` and rising.
fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last): (i64, Option<i64>) = (0, None);
    for part in text.split(',') {
        let ends: Vec<&str> = part.split('-').collect();
        if ends.len() > 2 {
            return Err(format!(
                "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let mut first = None;
        for end in &ends {
            let n: i64 = end.parse().map_err(|_| format!("cannot convert string to integer for index: {end:?}"))?;
            if let Some(before) = last.filter(|l| *l >= n) {
                return Err(format!("non-increasing order, previous: {before}, current: {n}"));
            }
            if n >= completions {
                return Err(format!("too large index: {end:?}"));
            }
            first.get_or_insert(n);
            last = Some(n);
        }
        total += last.unwrap_or_default() - first.unwrap_or_default() + 1;
    }
    Ok(total)
}

/// Completions, selector and template stay.
pub fn job_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    selected_spec(n); // upstream checks it with the change once more, and clients count causes
    let completions = n.at(f::completions);
    if n.str(f::completionMode) != "Indexed" {
        completions.immutable(o.at(f::completions));
    } else if !completions.v.is_null()
        && completions.v != o.at(f::completions)
        && completions.v != n.get(f::parallelism)
    {
        completions.invalid("can only be modified in tandem with spec.parallelism");
    }
    n.at(f::selector).immutable(o.at(f::selector));
    let suspended = o.at(f::suspend).is_true() && !old.at(f::status).has(f::startTime);
    if !suspended {
        n.at(f::template).immutable(o.at(f::template));
    }
    for key in [f::completionMode, f::podFailurePolicy, f::backoffLimitPerIndex, f::managedBy, f::successPolicy] {
        n.at(key).immutable(o.at(key));
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
pub fn cronjob(c: At) {
    const NAME_MAX: usize = 52; // what is left of a label when the time of a run is appended
    let spec = c.at(f::spec);
    let at = spec.at(f::schedule);
    if at.needed() {
        if at.v.str().contains("TZ") {
            at.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        } else if let Err(why) = schedule::check(at.v.str()) {
            at.invalid(why);
        }
    }
    spec.at(f::startingDeadlineSeconds).non_negative();
    time_zone(spec.at(f::timeZone));
    spec.at(f::concurrencyPolicy).one_of(&["Allow", "Forbid", "Replace"]);
    let job = spec.at(f::jobTemplate).at(f::spec);
    job_spec(job);
    if job.has(f::selector) {
        job.at(f::selector).invalid("`selector` will be auto-generated");
    }
    if job.get(f::manualSelector).is_true() {
        job.at(f::manualSelector).unsupported(&["nil", "false"]);
    }
    spec.at(f::successfulJobsHistoryLimit).non_negative();
    spec.at(f::failedJobsHistoryLimit).non_negative();
    let name = c.at(f::metadata).at(f::name);
    if name.v.str().len() > NAME_MAX {
        name.invalid(format!("must be no more than {NAME_MAX} characters"));
    }
}

/// The form of a time zone's name; which zones there are is known where clocks are.
fn time_zone(at: At) {
    let Some(zone) = at.v.as_str() else { return };
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b));
    if zone.is_empty() {
        at.invalid("timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        at.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    } else if !zone.split('/').all(part) {
        at.invalid(format!("unknown time zone {zone}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted() {
        assert_eq!(count_indexes("0,2-4", 5), Ok(4));
        assert_eq!(count_indexes("2-1", 5), Err("non-increasing order, previous: 2, current: 1".into()));
        assert_eq!(count_indexes("0-1,9", 3), Err("too large index: \"9\"".into()));
        assert!(count_indexes("1-2-3", 9).is_err());
    }
}
