//! HorizontalPodAutoscaler.
//!
//! Source: `pkg/apis/autoscaling/v2/defaults.go`, `pkg/apis/autoscaling/validation`.

use super::validation as v;
use api::check::At;
use api::{Value, f, format};

/// HorizontalPodAutoscaler.
pub fn defaults(h: &mut Value) {
    let spec = h.entry(f::spec);
    spec.set_default(f::minReplicas, 1);
    let v1 = spec.has(f::targetCPUUtilizationPercentage);
    if spec.at(f::metrics).is_zero() && !v1 {
        let target = api::value::object([("type", "Utilization".into()), ("averageUtilization", 80.into())]);
        let resource = api::value::object([("name", "cpu".into()), ("target", target)]);
        spec.set(f::metrics, vec![api::value::object([("type", "Resource".into()), ("resource", resource)])]);
    }
    if let Some(behavior) = spec.get_mut(f::behavior).filter(|b| !b.is_null()) {
        rules_defaults(behavior.entry(f::scaleUp), None, &[("Pods", 4, 15), ("Percent", 100, 15)], 0);
        rules_defaults(behavior.entry(f::scaleDown), Some(()), &[("Percent", 100, 15)], 300);
    }
}

fn rules_defaults(rules: &mut Value, down: Option<()>, policies: &[(&str, i64, i64)], window: i64) {
    if down.is_none() {
        rules.set_default(f::stabilizationWindowSeconds, window);
    }
    rules.set_default(f::selectPolicy, "Max");
    if rules.at(f::policies).is_null() {
        let list = policies.iter().map(|(kind, value, period)| {
            api::value::object([
                ("type", (*kind).into()),
                ("value", (*value).into()),
                ("periodSeconds", (*period).into()),
            ])
        });
        rules.set(f::policies, list.collect::<Vec<_>>());
    }
}

/// HorizontalPodAutoscaler.
pub fn validate(h: At) {
    let spec = h.at(f::spec);
    let (min, max) = (spec.at(f::minReplicas), spec.at(f::maxReplicas));
    if min.v.as_int().is_some_and(|n| n < 1) {
        min.invalid("must be greater than or equal to 1");
    }
    if max.v.int() < 1 {
        max.required("must be set and greater than 0");
    }
    if min.v.as_int().is_some_and(|n| max.v.int() < n) {
        max.invalid_as(max.v.int(), "must be greater than or equal to `minReplicas`");
    }
    let target = spec.at(f::scaleTargetRef);
    reference(target);
    api_version(target.at(f::apiVersion));
    metrics(spec.at(f::metrics), min.v);
    if let Some(behavior) = spec.at(f::behavior).some() {
        rules(behavior.at(f::scaleUp));
        rules(behavior.at(f::scaleDown));
    }
}

fn reference(at: At) {
    for key in [f::kind, f::name] {
        at.at(key).named(format::is_path_segment);
    }
}

fn api_version(at: At) {
    let text = at.v.str();
    match text.matches('/').count() {
        0 => at.invalid_as(text, "apiVersion must specify API group"),
        1 => {}
        _ => at.invalid(format!("unexpected GroupVersion string: {text}")),
    }
}

fn metrics(list: At, min: &Value) {
    let mut scaled_to_zero = false;
    for m in list.items() {
        scaled_to_zero |= matches!(m.str(f::type_), "Object" | "External");
        metric(m);
    }
    if min.as_int() == Some(0) && !scaled_to_zero {
        list.forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
    }
}

/// The types of metrics, and the member where each says more.
const SOURCES: &[(&str, api::Name)] = &[
    ("Object", f::object),
    ("Pods", f::pods),
    ("Resource", f::resource),
    ("ContainerResource", f::containerResource),
    ("External", f::external),
];

fn metric(m: At) {
    let kind = m.at(f::type_);
    if kind.v.str().is_empty() {
        return kind.required("must specify a metric source type");
    }
    let Some((_, own)) = SOURCES.iter().find(|(name, _)| *name == kind.v.str()) else {
        return kind.unsupported(&["ContainerResource", "External", "Object", "Pods", "Resource"]);
    };
    if !m.has(*own) {
        m.at(*own).required("must populate information for the given metric source");
    }
    for (name, key) in SOURCES {
        let Some(source) = m.at(*key).some() else { continue };
        if key != own {
            source.forbidden("must populate the given metric source only");
        }
        match *name {
            "Object" => {
                reference(source.at(f::describedObject));
                identifier(source.at(f::metric));
                either(source.at(f::target), f::value);
            }
            "Pods" => {
                identifier(source.at(f::metric));
                let target = source.at(f::target);
                target_form(target);
                if !target.has(f::averageValue) {
                    target.at(f::averageValue).required("must specify a positive target averageValue");
                }
            }
            "External" => {
                identifier(source.at(f::metric));
                external(source.at(f::target));
            }
            _ => {
                if source.str(f::name).is_empty() {
                    source.at(f::name).required("must specify a resource name");
                }
                if *name == "ContainerResource" && source.str(f::container).is_empty() {
                    source.at(f::container).required("must specify a container");
                }
                by_resource(source.at(f::target));
            }
        }
    }
}

fn identifier(metric: At) {
    let name = metric.at(f::name);
    if name.v.str().is_empty() {
        name.required("must specify a metric name");
    } else {
        name.format(format::is_path_segment);
    }
}

/// What every target must satisfy.
fn target_form(target: At) {
    let kind = target.at(f::type_);
    if kind.v.str().is_empty() {
        kind.required("must specify a metric target type");
    } else {
        kind.any_of(&["Utilization", "AverageValue", "Value"]);
    }
    for key in [f::value, f::averageValue] {
        if v::quantity(target.get(key)).is_some_and(|q| q.is_negative() || q.is_zero()) {
            target.at(key).invalid("must be positive");
        }
    }
    if target.get(f::averageUtilization).as_int().is_some_and(|n| n < 1) {
        target.at(f::averageUtilization).invalid("must be greater than 0");
    }
}

fn either(target: At, value: api::Name) {
    target_form(target);
    if !target.has(value) && !target.has(f::averageValue) {
        target.at(f::averageValue).required("must set either a target value or averageValue");
    }
}

fn external(target: At) {
    target_form(target);
    match (target.has(f::value), target.has(f::averageValue)) {
        (false, false) => {
            target.at(f::averageValue).required("must set either a target value for metric or a per-pod target")
        }
        (true, true) => {
            target.at(f::value).forbidden("may not set both a target value for metric and a per-pod target")
        }
        _ => {}
    }
}

fn by_resource(target: At) {
    target_form(target);
    match (target.has(f::averageUtilization), target.has(f::averageValue)) {
        (false, false) => {
            target.at(f::averageUtilization).required("must set either a target raw value or a target utilization")
        }
        (true, true) => {
            target.at(f::averageValue).forbidden("may not set both a target raw value and a target utilization")
        }
        _ => {}
    }
}

fn rules(at: At) {
    const WINDOW_MAX: i64 = 3600;
    const PERIOD_MAX: i64 = 1800;
    let Some(at) = at.some() else { return };
    let window = at.at(f::stabilizationWindowSeconds);
    match window.v.as_int() {
        Some(n) if n < 0 => window.invalid("must be greater than or equal to zero"),
        Some(n) if n > WINDOW_MAX => window.invalid(format!("must be less than or equal to {WINDOW_MAX}")),
        _ => {}
    }
    at.at(f::selectPolicy).maybe_one_of(&["Disabled", "Max", "Min"]);
    let policies = at.at(f::policies);
    if policies.v.is_zero() {
        policies.required("must specify at least one Policy");
    }
    for p in policies.items() {
        p.at(f::type_).any_of(&["Percent", "Pods"]);
        for key in [f::value, f::periodSeconds] {
            if p.int(key) <= 0 {
                p.at(key).invalid_as(p.int(key), "must be greater than zero");
            }
        }
        if p.int(f::periodSeconds) > PERIOD_MAX {
            p.at(f::periodSeconds).invalid(format!("must be less than or equal to {PERIOD_MAX}"));
        }
    }
}
