//! What an object uses of a namespace's quotas, and which quotas are about it: one answer for admission, which refuses, and
//! for the controller, which counts.
//!
//! Source: `k8s.io/kubernetes/pkg/quota/v1/evaluator/core`, `k8s.io/apiserver/pkg/admission/plugin/resourcequota`.

use super::pod;
use api::quantity::Quantity;
use api::{Value, f};
use std::collections::BTreeMap;

/// Amounts by resource name.
pub type Usage = BTreeMap<String, Quantity>;

/// A resource's name in a quota: `pods`, `deployments.apps`.
pub fn name_of(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") }
}

/// What an object of the resource with this name uses.
pub fn usage(name: &str, object: &Value) -> Usage {
    let one = Quantity::from_int(1);
    let mut out = Usage::from([(format!("count/{name}"), one)]);
    match name {
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            out.insert(name.to_string(), one);
        }
        "services" => service(object.at(f::spec), &mut out),
        "persistentvolumeclaims" => claim(object, &mut out),
        "pods" => {
            out.insert("pods".into(), one);
            pod_usage(object.at(f::spec), &mut out);
        }
        _ => {}
    }
    out
}

fn service(spec: &Value, out: &mut Usage) {
    out.insert("services".into(), Quantity::from_int(1));
    let ports = spec.at(f::ports).items();
    let kind = spec.at(f::type_).str();
    let given = ports.iter().filter(|p| p.at(f::nodePort).int() != 0).count();
    let nodes = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if spec.at(f::allocateLoadBalancerNodePorts).as_bool() == Some(false) => given,
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    out.insert("services.nodeports".into(), Quantity::from_int(nodes as i64));
    out.insert("services.loadbalancers".into(), Quantity::from_int(i64::from(kind == "LoadBalancer")));
}

fn claim(claim: &Value, out: &mut Usage) {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let one = Quantity::from_int(1);
    out.insert("persistentvolumeclaims".into(), one);
    let spec = claim.at(f::spec);
    let class = match claim.at(f::metadata).at(f::annotations).at(CLASS).str() {
        "" => spec.at(f::storageClassName).str(),
        old => old,
    };
    let suffix = format!("{class}.storageclass.storage.k8s.io");
    if !class.is_empty() {
        out.insert(format!("{suffix}/persistentvolumeclaims"), one);
    }
    if let Some(size) = pod::amount(spec.at(f::resources).at(f::requests), "storage") {
        out.insert("requests.storage".into(), size);
        if !class.is_empty() {
            out.insert(format!("{suffix}/requests.storage"), size);
        }
    }
}

/// What a pod's containers ask for together: the running ones, or the most that starting needs.
pub fn pod_total(spec: &Value, list: api::Name) -> Usage {
    let zero = Quantity::from_int(0);
    let add = |into: &mut Usage, from: &Value| {
        for (k, v) in from.members() {
            if let Ok(q) = Quantity::parse(v.str()) {
                let slot = into.entry(k.as_str().into()).or_insert(zero);
                *slot = slot.plus(q);
            }
        }
    };
    let of = |c: &Value| c.at(f::resources).at(list).clone();
    let mut total = Usage::new();
    spec.at(f::containers).items().iter().for_each(|c| add(&mut total, &of(c)));
    let (mut sidecars, mut most) = (Usage::new(), Usage::new());
    for c in spec.at(f::initContainers).items() {
        let now = if c.at(f::restartPolicy).str() == "Always" {
            add(&mut sidecars, &of(c));
            add(&mut total, &of(c));
            sidecars.clone()
        } else {
            let mut now = sidecars.clone();
            add(&mut now, &of(c));
            now
        };
        for (k, q) in now {
            let slot = most.entry(k).or_insert(zero);
            *slot = if q > *slot { q } else { *slot };
        }
    }
    for (k, q) in most {
        let slot = total.entry(k).or_insert(zero);
        *slot = if q > *slot { q } else { *slot };
    }
    for (k, v) in spec.at(f::resources).at(list).members() {
        if let Ok(q) = Quantity::parse(v.str()) {
            total.insert(k.as_str().into(), q); // a pod's own amounts stand for its containers'
        }
    }
    for (k, v) in spec.at(f::overhead).members() {
        let counts = list == f::requests || total.contains_key(k.as_str());
        if let Some(q) = Quantity::parse(v.str()).ok().filter(|_| counts) {
            let slot = total.entry(k.as_str().into()).or_insert(zero);
            *slot = slot.plus(q);
        }
    }
    total
}

fn pod_usage(spec: &Value, out: &mut Usage) {
    for (name, q) in pod_total(spec, f::requests) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            out.insert(name.clone(), q);
        }
        out.insert(format!("requests.{name}"), q);
    }
    for (name, q) in pod_total(spec, f::limits) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            out.insert(format!("limits.{name}"), q);
        }
    }
}

/// Whether a quota with this spec counts an object of the resource with this name: all of its scopes fit.
pub fn concerns(spec: &Value, name: &str, object: &Value) -> bool {
    let plain = spec.at(f::scopes).items().iter().map(|s| (s.str(), "Exists", &Value::Null));
    let chosen = spec.at(f::scopeSelector).at(f::matchExpressions).items();
    let chosen = chosen.iter().map(|e| (e.at(f::scopeName).str(), e.at(f::operator).str(), e.at(f::values)));
    let mut all = plain.chain(chosen).peekable();
    if all.peek().is_none() {
        return true;
    }
    match name {
        "pods" => all.all(|(scope, operator, values)| pod_fits(object.at(f::spec), scope, operator, values)),
        "persistentvolumeclaims" => all.all(|(scope, operator, values)| {
            let class = object.at(f::spec).at(f::volumeAttributesClassName).str();
            scope == "VolumeAttributesClass" && chosen_by(class, operator, values)
        }),
        _ => false,
    }
}

fn chosen_by(name: &str, operator: &str, values: &Value) -> bool {
    let among = values.items().iter().any(|v| v.str() == name);
    match operator {
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        "In" => among,
        "NotIn" => !among,
        _ => false,
    }
}

fn pod_fits(spec: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let ends = spec.at(f::activeDeadlineSeconds).as_int().is_some_and(|n| n >= 0);
    let best_effort = || pod::qos_class(spec) == "BestEffort";
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => chosen_by(spec.at(f::priorityClassName).str(), operator, values),
        "CrossNamespacePodAffinity" => crosses_namespaces(spec.at(f::affinity)),
        _ => false,
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let far = |t: &Value| !t.at(f::namespaces).is_zero() || t.has(f::namespaceSelector);
    [f::podAffinity, f::podAntiAffinity].iter().any(|k| {
        let a = affinity.at(*k);
        a.at(f::requiredDuringSchedulingIgnoredDuringExecution).items().iter().any(far)
            || a.at(f::preferredDuringSchedulingIgnoredDuringExecution)
                .items()
                .iter()
                .any(|p| far(p.at(f::podAffinityTerm)))
    })
}

/// What a pod under a quota of computing must say and does not: `limits.memory for: a,b; requests.cpu for: a`.
pub fn unsaid(hard: &Value, spec: &Value) -> Option<String> {
    const COMPUTE: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
    let whole = |list: api::Name, name: &str| spec.at(f::resources).at(list).has(name);
    let missing = COMPUTE.iter().filter(|n| hard.has(**n)).filter_map(|name| {
        let (list, resource) = match name.split_once('.') {
            Some(("limits", r)) => (f::limits, r),
            Some((_, r)) => (f::requests, r),
            None => (f::requests, *name),
        };
        let containers = [f::containers, f::initContainers];
        let silent: Vec<&str> = containers
            .iter()
            .flat_map(|l| spec.at(*l).items())
            .filter(|c| !c.at(f::resources).at(list).has(resource) && !whole(list, resource))
            .map(|c| c.at(f::name).str())
            .collect();
        (!silent.is_empty()).then(|| format!("{name} for: {}", silent.join(",")))
    });
    let all: Vec<String> = missing.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uses_the_most_of_starting_and_running() {
        let spec = api::json::parse(
            br#"{"containers":[{"resources":{"requests":{"cpu":"100m"}}},{"resources":{"requests":{"cpu":"200m"}}}],
                "initContainers":[{"restartPolicy":"Always","resources":{"requests":{"cpu":"50m"}}},{"resources":{"requests":{"cpu":"1"}}}]}"#,
        )
        .unwrap();
        assert_eq!(pod_total(&spec, f::requests)["cpu"].to_string(), "1050m");
    }
}
