//! Controllers of pods in `apps` and the replication controller: defaults and validation.
//!
//! Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`.

use super::pod::template_defaults;
use super::{pod_validation, validation as v};
use api::errors::{FieldErrors, Path};
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
        super::core::pvc_defaults(claim);
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

fn selector_and_template(spec: &Value, path: &Path, errs: &mut FieldErrors) {
    let at = path.child("selector");
    let selector = spec.at(f::selector);
    if selector.is_null() {
        errs.required(&at, "");
    } else {
        v::label_selector(selector, &at, errs);
        if selector.at(f::matchLabels).is_zero() && selector.at(f::matchExpressions).is_zero() {
            errs.invalid(&at, selector, "empty selector is invalid for deployment");
        }
    }
    let template = path.child("template");
    if let Ok(s) = LabelSelector::from_object(selector)
        && !s.is_everything()
    {
        let labels = spec.at(f::template).at(f::metadata).at(f::labels);
        if !s.matches(labels) {
            let metadata = template.child("metadata");
            errs.invalid(
                &metadata.child("labels"),
                &labels_shown(labels),
                "`selector` does not match template `labels`",
            );
        }
    }
    pod_validation::template(spec.at(f::template), &template, errs);
    let policy = spec.at(f::template).at(f::spec).at(f::restartPolicy).str();
    if policy != "Always" && !policy.is_empty() {
        let spec = template.child("spec");
        errs.not_supported(&spec.child("restartPolicy"), policy, &["Always"]);
    }
    if spec.at(f::template).at(f::spec).has(f::activeDeadlineSeconds) {
        let spec = template.child("spec");
        errs.forbidden(&spec.child("activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

fn labels_shown(labels: &Value) -> Value {
    if labels.is_null() { Value::Null } else { labels.clone() }
}

/// Deployment.
pub fn deployment(d: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = d.at(f::spec);
    v::non_negative(spec.at(f::replicas), &path.child("replicas"), errs);
    selector_and_template(spec, &path, errs);
    let strategy = spec.at(f::strategy);
    let at = path.child("strategy");
    match strategy.at(f::type_).str() {
        "Recreate" => {
            if strategy.has(f::rollingUpdate) {
                errs.forbidden(&at.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => {
            let at = at.child("rollingUpdate");
            let rolling = strategy.at(f::rollingUpdate);
            let (unavailable, surge) = (rolling.at(f::maxUnavailable), rolling.at(f::maxSurge));
            v::int_or_percent(unavailable, &at.child("maxUnavailable"), errs);
            v::int_or_percent(surge, &at.child("maxSurge"), errs);
            if v::is_nothing(unavailable) && v::is_nothing(surge) {
                errs.invalid(&at.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
            }
            v::at_most_all(unavailable, &at.child("maxUnavailable"), errs);
        }
        other => errs.not_supported(&at.child("type"), other, &["Recreate", "RollingUpdate"]),
    }
    v::non_negative(spec.at(f::minReadySeconds), &path.child("minReadySeconds"), errs);
    v::non_negative(spec.at(f::revisionHistoryLimit), &path.child("revisionHistoryLimit"), errs);
    let deadline = spec.at(f::progressDeadlineSeconds);
    v::non_negative(deadline, &path.child("progressDeadlineSeconds"), errs);
    if !deadline.is_null() && deadline.int() <= spec.at(f::minReadySeconds).int() {
        errs.invalid(&path.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
    }
}

/// ReplicaSet.
pub fn replicaset(r: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = r.at(f::spec);
    v::non_negative(spec.at(f::replicas), &path.child("replicas"), errs);
    v::non_negative(spec.at(f::minReadySeconds), &path.child("minReadySeconds"), errs);
    selector_and_template(spec, &path, errs);
}

/// ReplicationController.
pub fn rc(r: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = r.at(f::spec);
    v::non_negative(spec.at(f::minReadySeconds), &path.child("minReadySeconds"), errs);
    if spec.at(f::selector).is_zero() {
        errs.required(&path.child("selector"), "");
    }
    v::non_negative(spec.at(f::replicas), &path.child("replicas"), errs);
    let template = path.child("template");
    if !spec.has(f::template) {
        errs.required(&template, "");
        return;
    }
    let labels = spec.at(f::template).at(f::metadata).at(f::labels);
    if let Some(m) = spec.at(f::selector).as_map()
        && !LabelSelector::from_map(m).matches(labels)
    {
        let metadata = template.child("metadata");
        errs.invalid(&metadata.child("labels"), labels, "`selector` does not match template `labels`");
    }
    pod_validation::template(spec.at(f::template), &template, errs);
}

/// StatefulSet.
pub fn statefulset(s: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = s.at(f::spec);
    let policy = spec.at(f::podManagementPolicy).str();
    if !matches!(policy, "OrderedReady" | "Parallel") {
        errs.invalid(&path.child("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
    }
    v::non_negative(spec.at(f::replicas), &path.child("replicas"), errs);
    v::non_negative(spec.at(f::minReadySeconds), &path.child("minReadySeconds"), errs);
    selector_and_template(spec, &path, errs);
}

/// DaemonSet.
pub fn daemonset(d: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = d.at(f::spec);
    selector_and_template(spec, &path, errs);
    v::non_negative(spec.at(f::minReadySeconds), &path.child("minReadySeconds"), errs);
    v::non_negative(spec.at(f::revisionHistoryLimit), &path.child("revisionHistoryLimit"), errs);
    let strategy = spec.at(f::updateStrategy).at(f::type_).str();
    if !matches!(strategy, "RollingUpdate" | "OnDelete") {
        let at = path.child("updateStrategy");
        errs.not_supported(&at.child("type"), strategy, &["RollingUpdate", "OnDelete"]);
    }
}

/// A selector stays what it is.
pub fn selector_immutable(new: &Value, old: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let (n, o) = (new.at(f::spec).at(f::selector), old.at(f::spec).at(f::selector));
    if n != o {
        errs.invalid(&path.child("selector"), n, "field is immutable");
    }
}

/// Most of a StatefulSet's spec stays what it is.
pub fn statefulset_update(new: &Value, old: &Value, errs: &mut FieldErrors) {
    const FREE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let rest = |v: &Value| {
        let mut spec = v.at(f::spec).clone();
        if let Some(m) = spec.as_map_mut() {
            m.retain(|k, v| !FREE.contains(&k.as_str()) && !v.is_zero());
        }
        spec
    };
    if rest(new) != rest(old) {
        let path = Path::Root.child_static("spec");
        errs.forbidden(&path, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

/// A root child with a name that lives forever.
pub trait RootChild {
    /// The path of a top-level member.
    fn child_static(self, name: &'static str) -> Path<'static>;
}

impl RootChild for Path<'static> {
    fn child_static(self, name: &'static str) -> Path<'static> {
        static ROOT: Path<'static> = Path::Root;
        ROOT.child(name)
    }
}
