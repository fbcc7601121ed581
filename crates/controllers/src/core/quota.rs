//! Quotas: what a namespace uses of what it may. Source: `pkg/controller/resourcequota`, `pkg/quota/v1/evaluator/core`.
//!
//! The numbers are counted anew each time from what the server lists; refusing what does not fit is admission's business.

use api::quantity::Quantity;
use client::{Meta, Op, Plan, Resource, Target, View, resources};
use platform::WallTime;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Without news it is counted again after this, as upstream does.
const AGAIN_SECONDS: i64 = 300;
/// Resources that are counted by their plain names, too.
const PLAIN: &[&str] = &[
    "pods",
    "services",
    "persistentvolumeclaims",
    "configmaps",
    "secrets",
    "replicationcontrollers",
    "resourcequotas",
];
const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Amounts by name.
pub type Amounts = BTreeMap<String, Quantity>;

/// A ResourceQuota.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Quota {
    pub metadata: Meta,
    pub spec: QuotaSpec,
    pub status: QuotaStatus,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct QuotaSpec {
    pub hard: BTreeMap<String, String>,
    pub scopes: Vec<String>,
    pub scope_selector: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct QuotaStatus {
    pub hard: BTreeMap<String, String>,
    pub used: BTreeMap<String, String>,
}

impl View for Quota {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The quota.
    pub quota: Option<Arc<Quota>>,
    /// Objects of the namespace, by the resource's name in a quota (`pods`, `deployments.apps`).
    pub objects: BTreeMap<String, Vec<Value>>,
}

/// A resource's name in a quota.
pub fn name_of(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.plural.to_string()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

/// Names of the resources whose objects have to be counted for a quota.
pub fn counted(quota: &Quota) -> BTreeSet<String> {
    quota.spec.hard.keys().filter_map(|limit| owner_of(limit)).collect()
}

/// The resource that a limit counts, if it is one that is known.
fn owner_of(limit: &str) -> Option<String> {
    if let Some(name) = limit.strip_prefix("count/") {
        return Some(name.into());
    }
    if PLAIN.contains(&limit) {
        return Some(limit.into());
    }
    if limit.starts_with("services.") {
        return Some("services".into());
    }
    if limit == "requests.storage" || limit.contains(".storageclass.storage.k8s.io/") {
        return Some("persistentvolumeclaims".into());
    }
    let bare = limit.strip_prefix("requests.").or_else(|| limit.strip_prefix("limits.")).unwrap_or(limit);
    let of_pods = COMPUTE.contains(&bare) || bare.starts_with("hugepages-") || limit.starts_with("requests.");
    of_pods.then(|| "pods".into())
}

fn add(amounts: &mut Amounts, name: &str, amount: Quantity) {
    let sum = amounts.get(name).map_or(amount, |old| old.plus(amount));
    amounts.insert(name.into(), sum);
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}

/// A container's `requests` or `limits`.
fn of_container(container: &Value, part: &str) -> Amounts {
    let amounts = container["resources"][part].as_object().into_iter().flatten();
    amounts.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

fn raise(amounts: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if amounts.get(name).is_none_or(|mine| mine.cmp_value(*amount).is_lt()) {
            amounts.insert(name.clone(), *amount);
        }
    }
}

fn plus(amounts: &mut Amounts, other: &Amounts) {
    other.iter().for_each(|(name, amount)| add(amounts, name, *amount));
}

/// What a pod asks for or is limited to. Source: `component-helpers/resource/helpers.go`.
fn of_pod(pod: &Value, part: &str) -> Amounts {
    let spec = &pod["spec"];
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let mut total = Amounts::new();
    list("containers").iter().for_each(|c| plus(&mut total, &of_container(c, part)));
    // Sidecars run beside everything that starts after them; other init containers run alone with the sidecars so far.
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list("initContainers") {
        let mut need = of_container(&container, part);
        if container["restartPolicy"] == "Always" {
            plus(&mut sidecars, &need);
            raise(&mut peak, &sidecars);
        } else {
            plus(&mut need, &sidecars);
            raise(&mut peak, &need);
        }
    }
    plus(&mut total, &sidecars);
    raise(&mut total, &peak);
    // Amounts of the pod as a whole take the place of its containers'.
    total.extend(of_container(spec, part).into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")));
    for (name, amount) in spec["overhead"].as_object().into_iter().flatten() {
        if let Some(amount) = quantity(amount).filter(|_| part == "requests" || total.contains_key(name)) {
            add(&mut total, name, amount);
        }
    }
    total
}

/// Whether a pod is charged: not ended, not stuck in its deletion.
fn is_charged(pod: &Value, now: i64) -> bool {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let meta = &pod["metadata"];
    let deleted = meta["deletionTimestamp"].as_str().and_then(api::time::parse_seconds);
    let grace = meta["deletionGracePeriodSeconds"].as_i64();
    !ended && !deleted.zip(grace).is_some_and(|(deleted, grace)| now > deleted + grace)
}

fn pod_usage(pod: &Value, now: i64) -> Amounts {
    let one = Quantity::from_int(1);
    let mut out = Amounts::from([("count/pods".to_string(), one)]);
    if !is_charged(pod, now) {
        return out;
    }
    out.insert("pods".into(), one);
    for (name, amount) in of_pod(pod, "requests") {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            out.insert(name.clone(), amount);
        }
        out.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in of_pod(pod, "limits").into_iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        out.insert(format!("limits.{name}"), amount);
    }
    out
}

fn service_usage(service: &Value) -> Amounts {
    let one = Quantity::from_int(1);
    let mut out = Amounts::from([("services".to_string(), one), ("count/services".to_string(), one)]);
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let balanced = spec["type"] == "LoadBalancer";
    if balanced {
        out.insert("services.loadbalancers".into(), one);
    }
    let node_ports = if spec["type"] == "NodePort" || (balanced && spec["allocateLoadBalancerNodePorts"] != false) {
        ports.len()
    } else {
        ports.iter().filter(|p| p["nodePort"].as_i64().is_some_and(|n| n != 0)).count()
    };
    out.insert("services.nodeports".into(), Quantity::from_int(node_ports as i64));
    out
}

fn claim_usage(claim: &Value) -> Amounts {
    let one = Quantity::from_int(1);
    let mut out =
        Amounts::from([("persistentvolumeclaims".to_string(), one), ("count/persistentvolumeclaims".to_string(), one)]);
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
    let of_class = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
    let asked = quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    if let Some(asked) = asked {
        out.insert("requests.storage".into(), asked);
    }
    if !class.is_empty() {
        out.insert(of_class("persistentvolumeclaims"), one);
        out.extend(asked.map(|asked| (of_class("requests.storage"), asked)));
    }
    out
}

/// What an object uses of a quota's limits.
pub fn usage(resource: &str, object: &Value, now: i64) -> Amounts {
    match resource {
        "pods" => pod_usage(object, now),
        "services" => service_usage(object),
        "persistentvolumeclaims" => claim_usage(object),
        other => {
            let one = Quantity::from_int(1);
            Amounts::from([(format!("count/{other}"), one), (other.to_string(), one)])
        }
    }
}

fn is_best_effort(pod: &Value) -> bool {
    let quiet =
        |part: &str| of_pod(pod, part).iter().all(|(n, q)| !matches!(n.as_str(), "cpu" | "memory") || q.is_zero());
    quiet("requests") && quiet("limits")
}

fn crosses_namespaces(pod: &Value) -> bool {
    let of = |kind: &str, when: &str| pod["spec"]["affinity"][kind][when].as_array().cloned().unwrap_or_default();
    let hard = "requiredDuringSchedulingIgnoredDuringExecution";
    let soft = "preferredDuringSchedulingIgnoredDuringExecution";
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = of(kind, soft).into_iter().map(|mut t| t["podAffinityTerm"].take()).chain(of(kind, hard));
        terms
            .into_iter()
            .any(|t| t["namespaces"].as_array().is_some_and(|n| !n.is_empty()) || t["namespaceSelector"].is_object())
    })
}

fn has_priority(pod: &Value, operator: &str, values: &Value) -> bool {
    let class = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let listed = values.as_array().into_iter().flatten().any(|v| v == class);
    match operator {
        "Exists" => !class.is_empty(),
        "DoesNotExist" => class.is_empty(),
        "In" => !class.is_empty() && listed,
        "NotIn" => !listed,
        _ => false,
    }
}

fn in_scope(pod: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let terminating = pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|s| s >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => has_priority(pod, operator, values),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

/// Whether a quota is about an object: only pods have scopes.
pub fn matches(quota: &Quota, resource: &str, object: &Value) -> bool {
    let selector = quota.spec.scope_selector.as_ref().map(|s| &s["matchExpressions"]);
    let expressions = selector.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if quota.spec.scopes.is_empty() && expressions.is_empty() {
        return true;
    }
    resource == "pods"
        && quota.spec.scopes.iter().all(|scope| in_scope(object, scope, "Exists", &Value::Null))
        && expressions.iter().all(|e| {
            let text = |field: &str| e[field].as_str().unwrap_or_default();
            in_scope(object, text("scopeName"), text("operator"), &e["values"])
        })
}

/// What to do for a quota.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(quota) = world.quota.as_ref().filter(|q| !q.metadata.is_deleting()) else { return plan };
    let seconds = now.unix_seconds();
    plan.look_again(WallTime::from_unix(seconds + AGAIN_SECONDS, 0));
    let mut sums = Amounts::new();
    for (resource, objects) in &world.objects {
        for object in objects.iter().filter(|o| matches(quota, resource, o)) {
            plus(&mut sums, &usage(resource, object, seconds));
        }
    }
    let limits = quota.spec.hard.keys().filter(|limit| owner_of(limit).is_some_and(|o| world.objects.contains_key(&o)));
    let used: BTreeMap<String, String> = limits
        .map(|limit| (limit.clone(), sums.get(limit).copied().unwrap_or(Quantity::from_int(0)).to_string()))
        .collect();
    if quota.status.hard == quota.spec.hard && quota.status.used == used {
        return plan;
    }
    // The role has `update` but no `get`: the whole object is put, at the revision that was seen.
    let meta = &quota.metadata;
    let metadata = json!({
        "name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version,
    });
    let object = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": quota.spec.hard},
        "status": {"hard": quota.spec.hard, "used": used},
    });
    let target = Target::new(&resources::RESOURCEQUOTAS, &meta.namespace, &meta.name);
    plan.push(Op::Put { target, subresource: "status", object });
    plan
}

#[cfg(test)]
mod tests;
