//! Budgets, quotas, limits, priorities.
//!
//! Source: `pkg/apis/policy/validation`, `pkg/apis/core/validation`, `pkg/apis/scheduling/validation`.

use super::validation as v;
use api::check::At;
use api::{Value, f, format};

// === PodDisruptionBudget ===

/// PodDisruptionBudget.
pub fn budget(b: At) {
    let spec = b.at(f::spec);
    if spec.has(f::minAvailable) && spec.has(f::maxUnavailable) {
        spec.invalid("minAvailable and maxUnavailable cannot be both set");
    }
    for key in [f::minAvailable, f::maxUnavailable] {
        if let Some(at) = spec.at(key).some() {
            v::int_or_percent(at);
            v::at_most_all(at);
        }
    }
    v::label_selector(spec.at(f::selector));
    spec.at(f::unhealthyPodEvictionPolicy).maybe_one_of(&["AlwaysAllow", "IfHealthyBudget"]);
}

/// Status of a PodDisruptionBudget.
pub fn budget_status(b: At, _: &Value) {
    let status = b.at(f::status);
    v::conditions(status.at(f::conditions));
    for key in [f::disruptionsAllowed, f::currentHealthy, f::desiredHealthy, f::expectedPods] {
        status.at(key).non_negative();
    }
}

// === LimitRange ===

/// LimitRange: limits fill in defaults, defaults fill in requests.
pub fn limit_range_defaults(l: &mut Value) {
    for item in l.get_mut(f::spec).map(|s| super::each(s, f::limits)).into_iter().flatten() {
        if item.at(f::type_).str() != "Container" {
            continue;
        }
        for (target, sources) in [(f::default_, [f::max].as_slice()), (f::defaultRequest, &[f::default_, f::min])] {
            for source in sources {
                let from = item.at(*source).clone();
                for (k, v) in from.members() {
                    if item.at(target).get(k).is_none() {
                        item.entry(target).set(k, v.clone());
                    }
                }
            }
        }
    }
}

/// A new LimitRange without a name is called by its uid.
pub fn limit_range_create(l: &mut Value) {
    if l.at(f::metadata).at(f::name).str().is_empty() {
        let uid = l.at(f::metadata).at(f::uid).clone();
        l.entry(f::metadata).set(f::name, uid);
    }
}

/// LimitRange.
pub fn limit_range(l: At) {
    let limits = l.at(f::spec).at(f::limits);
    for limit in limits.items() {
        let kind = limit.at(f::type_);
        if kind.format_as(format::is_qualified_name)
            && !kind.v.str().contains('/')
            && !matches!(kind.v.str(), "Pod" | "Container" | "PersistentVolumeClaim")
        {
            kind.invalid("must be a standard limit type or fully qualified");
        }
        bounds(limit);
    }
    limits.unique(|l| l.at(f::type_), |l| l.at(f::type_).duplicate());
}

const BOUNDS: &[api::Name] = &[f::max, f::min, f::default_, f::defaultRequest, f::maxLimitRequestRatio];

fn bounds(limit: At) {
    let kind = limit.str(f::type_);
    let mut names: Vec<&str> = Vec::new();
    for key in BOUNDS {
        let list = limit.at(*key);
        if kind == "Pod" && matches!(*key, f::default_ | f::defaultRequest) {
            if !list.v.is_zero() {
                list.forbidden("may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, _) in list.entries() {
            v::resource_name(list.key(name), name);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if kind == "PersistentVolumeClaim"
        && !["storage"].iter().all(|k| limit.get(f::min).get(*k).is_some() || limit.get(f::max).get(*k).is_some())
    {
        limit.at(f::limits).required("either minimum or maximum storage value is required, but neither was provided");
    }
    for name in names {
        bound(limit, name);
    }
}

/// The amounts given for one resource, against each other.
fn bound(limit: At, name: &str) {
    let amount = |key: api::Name| limit.get(key).get(name).and_then(v::quantity);
    let [max, min, default, request, ratio] = [0, 1, 2, 3, 4].map(|i| amount(BOUNDS[i]));
    let place = |key: api::Name| limit.at(key).key(name);
    let above = |a: Option<_>, b: Option<_>, at: api::Name, shown: api::Name, a_name: &str, b_name: &str| {
        if let (Some(a), Some(b)) = (a, b)
            && a > b
        {
            let value = limit.get(shown).at(name);
            place(at).invalid_as(value, format!("{a_name} value {a} is greater than {b_name} value {b}"));
        }
    };
    above(min, max, f::min, f::min, "min", "max");
    above(min, request, f::defaultRequest, f::defaultRequest, "min", "default request");
    above(request, max, f::defaultRequest, f::defaultRequest, "default request", "max");
    above(request, default, f::defaultRequest, f::defaultRequest, "default request", "default limit");
    above(min, default, f::default_, f::min, "min", "default");
    above(default, max, f::default_, f::max, "default", "max");
    let Some(ratio) = ratio else { return };
    if ratio.milli() < 1000 {
        place(f::maxLimitRequestRatio).invalid(format!("ratio {ratio} is less than 1"));
    }
    if let (Some(min), Some(max)) = (min, max) {
        let most = max.milli() as f64 / min.milli() as f64;
        if ratio.milli() as f64 / 1000.0 > most {
            place(f::maxLimitRequestRatio).invalid(format!("ratio {ratio} is greater than max/min = {most:.6}"));
        }
    }
}

// === ResourceQuota ===

const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope can narrow the counting of a resource.
fn scope_fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => resource == "pods" || COMPUTE.contains(&resource),
    }
}

/// Whether the scopes fit everything that is limited and known without a domain.
fn scope_fits_all(scope: &str, hard: &Value) -> bool {
    hard.members().all(|(k, _)| !v::STANDARD.contains(&k.as_str()) || scope_fits(scope, k.as_str()))
}

/// ResourceQuota.
pub fn quota(q: At) {
    let spec = q.at(f::spec);
    quota_amounts(spec.at(f::hard));
    let (scopes, hard) = (spec.at(f::scopes), spec.get(f::hard));
    let names: Vec<&str> = scopes.v.items().iter().map(Value::str).collect();
    for scope in &names {
        if !SCOPES.contains(scope) {
            scopes.invalid("unsupported scope");
        }
        if !scope_fits_all(scope, hard) {
            scopes.invalid("unsupported scope applied to resource");
        }
    }
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if names.contains(&a) && names.contains(&b) {
            scopes.invalid("conflicting scopes");
        }
    }
    let selector = spec.at(f::scopeSelector);
    let place = selector.at(f::matchExpressions);
    for e in place.v.items() {
        scope_requirement(place.with(e), hard, selector);
    }
}

fn quota_amounts(list: At) {
    for (name, amount) in list.entries() {
        let at = list.key(name);
        if v::resource_name(at, name) && !name.contains('/') && !v::STANDARD.contains(&name) {
            at.invalid_as(name, "must be a standard resource for quota");
        }
        let at = at.with(amount);
        v::quantity_not_negative(at);
        v::whole_if_counted(at, name);
    }
}

/// A requirement of a scope selector; upstream reports it without its index.
fn scope_requirement(e: At, hard: &Value, selector: At) {
    let scope = e.str(f::scopeName);
    if !SCOPES.contains(&scope) {
        e.at(f::scopeName).invalid_as(scope, "unsupported scope");
    }
    if !scope_fits_all(scope, hard) {
        selector.at(f::matchExpressions).invalid("unsupported scope applied to resource");
    }
    let operator = e.at(f::operator);
    if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator.v.str() != "Exists" {
        operator.invalid_as(operator.v.str(), "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        return;
    }
    let values = e.at(f::values);
    match operator.v.str() {
        "In" | "NotIn" if values.v.is_zero() => {
            values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
        }
        "Exists" | "DoesNotExist" if !values.v.is_zero() => {
            values.invalid("must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector")
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => operator.invalid_as(other, "not a valid selector operator"),
    }
}

/// What a quota is about stays.
pub fn quota_update(new: At, old: &Value) {
    let set = |v: &Value| {
        let mut names: Vec<String> = v.at(f::spec).at(f::scopes).items().iter().map(|s| s.str().into()).collect();
        names.sort();
        names
    };
    if set(new.v) != set(old) {
        new.at(f::spec).at(f::scopes).invalid("field is immutable");
    }
}

/// Status of a ResourceQuota.
pub fn quota_status(q: At, _: &Value) {
    quota_amounts(q.at(f::status).at(f::hard));
    quota_amounts(q.at(f::status).at(f::used));
}

// === PriorityClass ===

/// PriorityClass.
pub fn priority_class_defaults(p: &mut Value) {
    p.set_default(f::preemptionPolicy, "PreemptLowerPriority");
}

/// PriorityClass.
pub fn priority_class(p: At) {
    const HIGHEST: i64 = 1_000_000_000;
    const SYSTEM: &[(&str, i64)] =
        &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
    let name = p.get(f::metadata).at(f::name).str();
    if name.starts_with("system-") {
        let known = SYSTEM.iter().find(|(n, _)| *n == name);
        let wrong = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, value)) if p.int(f::value) != *value => {
                Some(format!("value of {name} PriorityClass must be {value}"))
            }
            Some(_) if p.get(f::globalDefault).is_true() => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = wrong {
            p.at(f::metadata).at(f::name).forbidden(format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            ));
        }
    } else if p.int(f::value) > HIGHEST {
        p.at(f::value).forbidden(format!("maximum allowed value of a user defined priority is {HIGHEST}"));
    }
    p.at(f::preemptionPolicy).one_of(&["PreemptLowerPriority", "Never"]);
}

/// A class's meaning stays.
pub fn priority_class_update(new: At, old: &Value) {
    if new.get(f::value) != old.at(f::value) {
        new.at(f::value).forbidden("may not be changed in an update.");
    }
    new.at(f::preemptionPolicy).immutable(old.at(f::preemptionPolicy));
}

// === Lease, RuntimeClass ===

/// Lease.
pub fn lease(l: At) {
    let spec = l.at(f::spec);
    spec.at(f::leaseDurationSeconds).positive();
    spec.at(f::leaseTransitions).non_negative();
}

/// RuntimeClass.
pub fn runtime_class(r: At) {
    if r.at(f::handler).needed() {
        r.at(f::handler).format(format::is_dns1123_label);
    }
    if let Some(overhead) = r.at(f::overhead).some() {
        let fixed = overhead.at(f::podFixed);
        for (name, amount) in fixed.entries() {
            let at = fixed.key(name);
            super::pods::resources::container_resource(at, name);
            v::quantity_not_negative(at.with(amount));
        }
    }
    if let Some(scheduling) = r.at(f::scheduling).some() {
        v::labels(scheduling.at(f::nodeSelector));
        super::pods::scheduling::tolerations(scheduling.at(f::tolerations));
        scheduling.at(f::tolerations).unique(|t| t, |t| t.duplicate());
    }
}

/// A runtime's handler stays.
pub fn runtime_class_update(new: At, old: &Value) {
    new.at(f::handler).immutable(old.at(f::handler));
}
