//! Controllers of pods in `apps` and the replication controller: defaults and validation.
//!
//! Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`.

use super::pod::template_defaults;
use super::{pods, storage, validation as v};
use api::check::At;
use api::selector::LabelSelector;
use api::{Value, f};

fn default_int(v: &mut Value, key: api::Name, n: i64) {
    v.set_default(key, n);
}

/// Deployment.
pub fn deployment_defaults(d: &mut Value) {
    let spec = d.entry(f::spec);
    default_int(spec, f::replicas, 1);
    let strategy = spec.entry(f::strategy);
    if strategy.at(f::type_).str().is_empty() {
        strategy.set(f::type_, "RollingUpdate");
    }
    if strategy.at(f::type_).str() == "RollingUpdate" {
        let rolling = strategy.entry(f::rollingUpdate);
        rolling.set_default(f::maxUnavailable, "25%");
        rolling.set_default(f::maxSurge, "25%");
    }
    default_int(spec, f::revisionHistoryLimit, 10);
    default_int(spec, f::progressDeadlineSeconds, 600);
    template_defaults(spec.entry(f::template));
}

/// ReplicaSet.
pub fn replicaset_defaults(r: &mut Value) {
    let spec = r.entry(f::spec);
    default_int(spec, f::replicas, 1);
    template_defaults(spec.entry(f::template));
}

/// ReplicationController: labels and selector come from the template.
pub fn rc_defaults(r: &mut Value) {
    let labels = r.at(f::spec).at(f::template).at(f::metadata).at(f::labels).clone();
    if !labels.is_zero() {
        if r.at(f::spec).at(f::selector).is_zero() {
            r.entry(f::spec).set(f::selector, labels.clone());
        }
        if r.at(f::metadata).at(f::labels).is_zero() {
            r.entry(f::metadata).set(f::labels, labels);
        }
    }
    let spec = r.entry(f::spec);
    default_int(spec, f::replicas, 1);
    if spec.has(f::template) {
        template_defaults(spec.entry(f::template));
    }
}

/// StatefulSet.
pub fn statefulset_defaults(s: &mut Value) {
    let spec = s.entry(f::spec);
    if spec.at(f::podManagementPolicy).str().is_empty() {
        spec.set(f::podManagementPolicy, "OrderedReady");
    }
    let strategy = spec.entry(f::updateStrategy);
    if strategy.at(f::type_).str().is_empty() {
        strategy.set(f::type_, "RollingUpdate");
        strategy.entry(f::rollingUpdate).make_map();
    }
    if strategy.at(f::type_).str() == "RollingUpdate" && strategy.has(f::rollingUpdate) {
        default_int(strategy.entry(f::rollingUpdate), f::partition, 0);
    }
    let retention = spec.entry(f::persistentVolumeClaimRetentionPolicy);
    for key in [f::whenDeleted, f::whenScaled] {
        if retention.at(key).str().is_empty() {
            retention.set(key, "Retain");
        }
    }
    default_int(spec, f::replicas, 1);
    default_int(spec, f::revisionHistoryLimit, 10);
    template_defaults(spec.entry(f::template));
    for claim in spec.get_mut(f::volumeClaimTemplates).and_then(Value::as_list_mut).into_iter().flatten() {
        storage::pvc_defaults(claim);
        claim.set_default(f::kind, "PersistentVolumeClaim");
        claim.set_default(f::apiVersion, "v1");
    }
}

/// DaemonSet.
pub fn daemonset_defaults(d: &mut Value) {
    let spec = d.entry(f::spec);
    let strategy = spec.entry(f::updateStrategy);
    if strategy.at(f::type_).str().is_empty() {
        strategy.set(f::type_, "RollingUpdate");
    }
    if strategy.at(f::type_).str() == "RollingUpdate" {
        let rolling = strategy.entry(f::rollingUpdate);
        rolling.set_default(f::maxUnavailable, 1);
        rolling.set_default(f::maxSurge, 0);
    }
    default_int(spec, f::revisionHistoryLimit, 10);
    template_defaults(spec.entry(f::template));
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// A new DaemonSet's template is its first.
pub fn daemonset_create(d: &mut Value) {
    d.entry(f::metadata).entry(f::annotations).set_default(TEMPLATE_GENERATION, "1");
}

/// A changed template is a new generation of it.
pub fn daemonset_change(new: &mut Value, old: &Value) {
    let number =
        |v: &Value| v.at(f::metadata).at(f::annotations).at(TEMPLATE_GENERATION).str().parse::<i64>().unwrap_or(1);
    let changed = new.at(f::spec).at(f::template) != old.at(f::spec).at(f::template);
    let n = number(old) + i64::from(changed);
    new.entry(f::metadata).entry(f::annotations).set(TEMPLATE_GENERATION, n.to_string());
}

/// What a kind with a pod template calls itself, and what it says of an empty selector.
struct Owner {
    kind: &'static str,
    empty: &'static str,
}

/// The template must have labels that the selector matches, and pods that start again when they end.
fn template(spec: At, selector: &LabelSelector, owner: &Owner, claims: &[&str]) {
    let template = spec.at(f::template);
    if !selector.is_everything() {
        matches_selector(template, selector);
    }
    pods::template_with(template, claims);
    always_restarted(template, owner.kind);
}

fn matches_selector(template: At, selector: &LabelSelector) {
    let labels = template.at(f::metadata).at(f::labels);
    if !selector.matches(labels.v) {
        labels.invalid("`selector` does not match template `labels`");
    }
}

fn always_restarted(template: At, kind: &str) {
    let spec = template.at(f::spec);
    let policy = spec.at(f::restartPolicy);
    if !matches!(policy.v.str(), "Always" | "") {
        policy.unsupported(&["Always"]);
    }
    if spec.has(f::activeDeadlineSeconds) {
        spec.at(f::activeDeadlineSeconds).forbidden(format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

fn is_empty(selector: &Value) -> bool {
    selector.at(f::matchLabels).is_zero() && selector.at(f::matchExpressions).is_zero()
}

/// A selector and its template; answers nothing when the selector is none.
fn selector_and_template(spec: At, owner: &Owner, claims: &[&str]) {
    let at = spec.at(f::selector);
    let mut sound = true;
    if at.v.is_null() {
        at.required("");
    } else {
        sound = v::label_selector(at);
        if is_empty(at.v) {
            at.invalid(owner.empty);
        }
    }
    match LabelSelector::from_object(at.v) {
        Ok(s) if sound => template(spec, &s, owner, claims),
        _ => at.invalid("invalid label selector"),
    }
}

/// Deployment.
pub fn deployment(d: At) {
    let spec = d.at(f::spec);
    spec.at(f::replicas).non_negative();
    selector_and_template(spec, &Owner { kind: "ReplicaSet", empty: "empty selector is invalid for deployment" }, &[]);
    deployment_strategy(spec.at(f::strategy));
    spec.at(f::minReadySeconds).non_negative();
    spec.at(f::revisionHistoryLimit).non_negative();
    let deadline = spec.at(f::progressDeadlineSeconds);
    deadline.non_negative();
    if !deadline.v.is_null() && deadline.v.int() <= spec.int(f::minReadySeconds) {
        deadline.invalid("must be greater than minReadySeconds");
    }
}

fn deployment_strategy(strategy: At) {
    match strategy.str(f::type_) {
        "Recreate" => {
            if strategy.has(f::rollingUpdate) {
                strategy.at(f::rollingUpdate).forbidden("may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => {
            let rolling = strategy.at(f::rollingUpdate);
            let (unavailable, surge) = (rolling.at(f::maxUnavailable), rolling.at(f::maxSurge));
            v::int_or_percent(unavailable);
            v::int_or_percent(surge);
            if v::is_nothing(unavailable.v) && v::is_nothing(surge.v) {
                unavailable.invalid("may not be 0 when `maxSurge` is 0");
            }
            v::at_most_all(unavailable);
        }
        _ => strategy.at(f::type_).unsupported(&["Recreate", "RollingUpdate"]),
    }
}

/// ReplicaSet.
pub fn replicaset(r: At) {
    let spec = r.at(f::spec);
    spec.at(f::replicas).non_negative();
    spec.at(f::minReadySeconds).non_negative();
    selector_and_template(spec, &Owner { kind: "ReplicaSet", empty: "empty selector is invalid for deployment" }, &[]);
}

/// ReplicationController.
pub fn rc(r: At) {
    let spec = r.at(f::spec);
    spec.at(f::minReadySeconds).non_negative();
    if spec.get(f::selector).is_zero() {
        spec.at(f::selector).required("");
    }
    spec.at(f::replicas).non_negative();
    if !spec.has(f::template) {
        return spec.at(f::template).required("");
    }
    let selector = spec.get(f::selector).as_map().map(LabelSelector::from_map).unwrap_or_default();
    template(spec, &selector, &Owner { kind: "ReplicationController", empty: "" }, &[]);
}

/// StatefulSet.
pub fn statefulset(s: At) {
    let spec = s.at(f::spec);
    let policy = spec.at(f::podManagementPolicy);
    match policy.v.str() {
        "" => policy.required(""),
        "OrderedReady" | "Parallel" => {}
        _ => policy.invalid("must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.at(f::updateStrategy);
    let rolling = strategy.at(f::rollingUpdate);
    match strategy.str(f::type_) {
        "" => strategy.required(""),
        "OnDelete" if !rolling.v.is_null() => rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"),
        "OnDelete" => {}
        "RollingUpdate" => rolling.at(f::partition).non_negative(),
        _ => strategy.invalid("must be 'RollingUpdate' or 'OnDelete'"),
    }
    for key in [f::whenDeleted, f::whenScaled] {
        let policy = spec.at(f::persistentVolumeClaimRetentionPolicy).at(key);
        policy.maybe_one_of(&["Delete", "Retain"]);
    }
    spec.at(f::replicas).non_negative();
    spec.at(f::minReadySeconds).non_negative();
    spec.at(f::ordinals).at(f::start).non_negative();
    let claims = spec.at(f::volumeClaimTemplates);
    claims.items().for_each(|c| storage::claim_spec(c.at(f::spec)));
    let names: Vec<&str> = claims.v.items().iter().map(|c| c.at(f::metadata).at(f::name).str()).collect();
    selector_and_template(
        spec,
        &Owner { kind: "StatefulSet", empty: "empty selector is invalid for statefulset" },
        &names,
    );
}

/// DaemonSet.
pub fn daemonset(d: At) {
    let spec = d.at(f::spec);
    let at = spec.at(f::selector);
    v::label_selector(at);
    if let Ok(s) = LabelSelector::from_object(at.v) {
        matches_selector(spec.at(f::template), &s);
    }
    if !at.v.is_null() && is_empty(at.v) {
        at.invalid("empty selector is invalid for daemonset");
    }
    pods::template(spec.at(f::template));
    always_restarted(spec.at(f::template), "DaemonSet");
    spec.at(f::minReadySeconds).non_negative();
    let strategy = spec.at(f::updateStrategy);
    match strategy.str(f::type_) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.at(f::rollingUpdate);
            let (unavailable, surge) = (rolling.at(f::maxUnavailable), rolling.at(f::maxSurge));
            v::int_or_percent(unavailable);
            v::int_or_percent(surge);
            v::at_most_all(unavailable);
            v::at_most_all(surge);
            match (v::is_nothing(unavailable.v), v::is_nothing(surge.v)) {
                (false, false) => surge.invalid("may not be set when maxUnavailable is non-zero"),
                (true, true) => unavailable.required("cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => strategy.unsupported(&["RollingUpdate", "OnDelete"]),
    }
    spec.at(f::revisionHistoryLimit).non_negative();
}

/// ControllerRevision.
pub fn revision(r: At) {
    r.at(f::revision).non_negative();
}

/// A revision's data stays.
pub fn revision_update(new: At, old: &Value) {
    new.at(f::data).immutable(old.at(f::data));
}

/// A selector stays what it is.
pub fn selector_immutable(new: At, old: &Value) {
    new.at(f::spec).at(f::selector).immutable(old.at(f::spec).at(f::selector));
}

/// Most of a StatefulSet's spec stays what it is.
pub fn statefulset_update(new: At, old: &Value) {
    const FREE: &[api::Name] = &[
        f::replicas,
        f::ordinals,
        f::template,
        f::updateStrategy,
        f::revisionHistoryLimit,
        f::persistentVolumeClaimRetentionPolicy,
        f::minReadySeconds,
    ];
    let (n, o) = (new.get(f::spec), old.at(f::spec));
    let differs =
        |a: &Value, b: &Value| a.members().any(|(k, v)| k.name().is_none_or(|k| !FREE.contains(&k)) && v != b.at(k));
    if differs(n, o) || differs(o, n) {
        new.at(f::spec).forbidden("updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

/// A status of counts: none negative, none above `status.replicas`.
fn counts(status: At, all: &[api::Name], bounded: &[api::Name]) {
    for key in all {
        status.at(*key).non_negative();
    }
    let replicas = status.int(f::replicas);
    for key in bounded.iter().filter(|k| status.int(**k) > replicas) {
        status.at(*key).invalid_as(status.int(*key), "cannot be greater than status.replicas");
    }
}

fn available_at_most(status: At, other: api::Name, name: &str) {
    if status.int(f::availableReplicas) > status.int(other) {
        status
            .at(f::availableReplicas)
            .invalid_as(status.int(f::availableReplicas), format!("cannot be greater than {name}"));
    }
}

/// Status of a ReplicaSet or ReplicationController.
pub fn replicas_status(r: At, _: &Value) {
    let bounded = [f::fullyLabeledReplicas, f::readyReplicas, f::availableReplicas];
    let mut all = vec![f::replicas];
    all.extend(bounded);
    all.push(f::observedGeneration);
    counts(r.at(f::status), &all, &bounded);
    available_at_most(r.at(f::status), f::readyReplicas, "readyReplicas");
}

/// Status of a Deployment.
pub fn deployment_status(d: At, old: &Value) {
    let status = d.at(f::status);
    let bounded = [f::updatedReplicas, f::readyReplicas, f::availableReplicas];
    counts(
        status,
        &[
            f::observedGeneration,
            f::replicas,
            f::updatedReplicas,
            f::readyReplicas,
            f::availableReplicas,
            f::unavailableReplicas,
            f::collisionCount,
        ],
        &bounded,
    );
    available_at_most(status, f::readyReplicas, "readyReplicas");
    never_fewer_collisions(status, old);
}

/// Status of a StatefulSet.
pub fn statefulset_status(s: At, old: &Value) {
    let status = s.at(f::status);
    let bounded = [f::readyReplicas, f::currentReplicas, f::updatedReplicas, f::availableReplicas];
    let mut all = vec![f::replicas];
    all.extend(bounded);
    all.extend([f::observedGeneration, f::collisionCount]);
    counts(status, &all, &bounded);
    available_at_most(status, f::readyReplicas, "status.readyReplicas");
    never_fewer_collisions(status, old);
}

/// Status of a DaemonSet.
pub fn daemonset_status(d: At, old: &Value) {
    let status = d.at(f::status);
    let all = [
        f::currentNumberScheduled,
        f::numberMisscheduled,
        f::desiredNumberScheduled,
        f::numberReady,
        f::observedGeneration,
        f::updatedNumberScheduled,
        f::numberAvailable,
        f::numberUnavailable,
        f::collisionCount,
    ];
    counts(status, &all, &[]);
    never_fewer_collisions(status, old);
}

fn never_fewer_collisions(status: At, old: &Value) {
    let (now, was) = (status.get(f::collisionCount), old.at(f::status).at(f::collisionCount));
    if !was.is_null() && now.int() < was.int() {
        status.at(f::collisionCount).invalid_as(now.int(), "cannot be decremented");
    }
}

/// What a client is told of a StatefulSet.
pub fn statefulset_warnings(s: &Value) -> Vec<String> {
    let mut out = pods::warnings::of_template(s);
    if s.at(f::spec).at(f::revisionHistoryLimit).int() < 0 {
        out.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .into(),
        );
    }
    out
}
