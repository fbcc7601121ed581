//! Quotas: what a namespace uses of what it may. Source: `pkg/controller/resourcequota`, `pkg/quota/v1/evaluator/core`.
//!
//! The numbers are counted anew each time from what the server lists; what an object uses stands in `kinds::rules::quota`, and
//! refusing what does not fit is admission's business.

use api::quantity::Quantity;
use api::{Value as Object, f};
use client::{Meta, Op, Plan, Target, View, resources};
use kinds::rules::quota::{self, Usage};
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
    pub objects: BTreeMap<String, Vec<Object>>,
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

/// Whether a pod is charged: not ended, not stuck in its deletion.
fn is_charged(pod: &Object, now: i64) -> bool {
    let ended = matches!(pod.at(f::status).at(f::phase).str(), "Succeeded" | "Failed");
    let meta = pod.at(f::metadata);
    let deleted = api::time::parse_seconds(meta.at(f::deletionTimestamp).str());
    let grace = meta.at(f::deletionGracePeriodSeconds).as_int();
    !ended && !deleted.zip(grace).is_some_and(|(deleted, grace)| now > deleted + grace)
}

/// What an object uses now.
fn usage(resource: &str, object: &Object, now: i64) -> Usage {
    let mut usage = quota::usage(resource, object);
    if resource == "pods" && !is_charged(object, now) {
        usage.retain(|name, _| name == "count/pods");
    }
    usage
}

/// The quota's spec as the rules read it.
fn rules_of(spec: &QuotaSpec) -> Object {
    let text = json!({"scopes": spec.scopes, "scopeSelector": spec.scope_selector}).to_string();
    api::json::parse(text.as_bytes()).unwrap_or_default() // what was just written is read
}

/// What to do for a quota.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(quota) = world.quota.as_ref().filter(|q| !q.metadata.is_deleting()) else { return plan };
    let seconds = now.unix_seconds();
    plan.look_again(WallTime::from_unix(seconds + AGAIN_SECONDS, 0));
    let (rules, zero) = (rules_of(&quota.spec), Quantity::from_int(0));
    let mut sums = Usage::new();
    for (resource, objects) in &world.objects {
        for object in objects.iter().filter(|o| quota::concerns(&rules, resource, o)) {
            for (name, amount) in usage(resource, object, seconds) {
                let sum = sums.entry(name).or_insert(zero);
                *sum = sum.plus(amount);
            }
        }
    }
    let limits = quota.spec.hard.keys().filter(|limit| owner_of(limit).is_some_and(|o| world.objects.contains_key(&o)));
    let used: BTreeMap<String, String> =
        limits.map(|limit| (limit.clone(), sums.get(limit).copied().unwrap_or(zero).to_string())).collect();
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
