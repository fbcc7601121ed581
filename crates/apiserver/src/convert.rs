//! Conversion between versions of one stored resource: Events of the two groups, autoscalers v1 and v2.
//!
//! Source: `pkg/apis/core/v1/conversion.go`, `pkg/apis/events/v1/conversion.go`, `pkg/apis/autoscaling/v1/conversion.go`.

use api::{Name, Value, f, json, value::object};
use kinds::Resource;

/// Converts an object in place.
pub fn convert(v: &mut Value, from: &Resource, to: &Resource) {
    match (from.group.as_str(), to.group.as_str(), from.kind.as_str()) {
        ("", "events.k8s.io", "Event") => rename(v, |(core, events)| (core, events)),
        ("events.k8s.io", "", "Event") => rename(v, |(core, events)| (events, core)),
        ("autoscaling", "autoscaling", _) if from.version == "v1" => hpa_to_v2(v),
        ("autoscaling", "autoscaling", _) => hpa_to_v1(v),
        _ => {}
    }
}

/// Members of core Events and their names in events.k8s.io.
const EVENT: &[(Name, Name)] = &[
    (f::involvedObject, f::regarding),
    (f::message, f::note),
    (f::source, f::deprecatedSource),
    (f::firstTimestamp, f::deprecatedFirstTimestamp),
    (f::lastTimestamp, f::deprecatedLastTimestamp),
    (f::count, f::deprecatedCount),
    (f::reportingComponent, f::reportingController),
];

fn rename(v: &mut Value, direction: fn((Name, Name)) -> (Name, Name)) {
    for pair in EVENT {
        let (from, to) = direction(*pair);
        if let Some(x) = v.remove(from) {
            v.set(to, x);
        }
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn is_cpu(m: &Value) -> bool {
    m.at(f::type_).str() == "Resource"
        && m.at(f::resource).at(f::name).str() == "cpu"
        && m.at(f::resource).at(f::target).has(f::averageUtilization)
}

/// What v1 cannot say goes into annotations.
fn hpa_to_v1(v: &mut Value) {
    let spec = v.entry(f::spec);
    let metrics = spec.remove(f::metrics).unwrap_or_default();
    let behavior = spec.remove(f::behavior).unwrap_or_default();
    let mut others = Vec::new();
    for m in metrics.items() {
        if is_cpu(m) && !spec.has(f::targetCPUUtilizationPercentage) {
            let n = m.at(f::resource).at(f::target).at(f::averageUtilization).clone();
            spec.set(f::targetCPUUtilizationPercentage, n);
        } else {
            others.push(m.clone());
        }
    }
    let status = v.entry(f::status);
    let current = status.remove(f::currentMetrics).unwrap_or_default();
    let conditions = status.remove(f::conditions).unwrap_or_default();
    for m in current.items() {
        let n = m.at(f::resource).at(f::current).at(f::averageUtilization);
        if m.at(f::resource).at(f::name).str() == "cpu" && !n.is_null() {
            status.set(f::currentCPUUtilizationPercentage, n.clone());
        }
    }
    for (key, x) in [(METRICS, Value::List(others)), (BEHAVIOR, behavior), (CURRENT, current), (CONDITIONS, conditions)]
    {
        if !x.is_zero() {
            v.entry(f::metadata).entry(f::annotations).set(key, json::to_string(&x));
        }
    }
}

/// And comes back from there.
fn hpa_to_v2(v: &mut Value) {
    let mut take = |key: &str| -> Value {
        let Some(a) = v.get_mut(f::metadata).and_then(|m| m.get_mut(f::annotations)) else { return Value::Null };
        let text = a.remove(key);
        text.as_ref().and_then(Value::as_str).and_then(|t| json::parse(t.as_bytes()).ok()).unwrap_or_default()
    };
    let (metrics, behavior, current, conditions) = (take(METRICS), take(BEHAVIOR), take(CURRENT), take(CONDITIONS));
    let spec = v.entry(f::spec);
    let mut all: Vec<Value> = metrics.items().to_vec();
    if let Some(n) = spec.remove(f::targetCPUUtilizationPercentage).filter(|n| !n.is_null()) {
        let target = object([("type", "Utilization".into()), ("averageUtilization", n)]);
        all.push(object([
            ("type", "Resource".into()),
            ("resource", object([("name", "cpu".into()), ("target", target)])),
        ]));
    }
    if !all.is_empty() {
        spec.set(f::metrics, all);
    }
    if !behavior.is_null() {
        spec.set(f::behavior, behavior);
    }
    let status = v.entry(f::status);
    let cpu = status.remove(f::currentCPUUtilizationPercentage);
    let mut list: Vec<Value> = current.items().to_vec();
    if let (true, Some(n)) = (list.is_empty(), cpu.filter(|n| !n.is_null())) {
        let value = object([("averageUtilization", n)]);
        list.push(object([
            ("type", "Resource".into()),
            ("resource", object([("name", "cpu".into()), ("current", value)])),
        ]));
    }
    if !list.is_empty() {
        status.set(f::currentMetrics, list);
    }
    if !conditions.is_null() {
        status.set(f::conditions, conditions);
    }
}
