//! Builders for tables of worlds.

use crate::views::{Condition, Node, Pod};
use client::{Meta, OwnerReference, View};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// A view from JSON.
pub fn view<V: DeserializeOwned>(object: Value) -> Arc<V> {
    Arc::new(serde_json::from_value(object).expect("a view"))
}

/// A pod named `name` of `owner`.
pub struct PodBuilder(pub Pod);

pub fn pod(name: &str) -> PodBuilder {
    let metadata = Meta {
        name: name.into(),
        namespace: "default".into(),
        uid: format!("u-{name}"),
        resource_version: "1".into(),
        ..Meta::default()
    };
    PodBuilder(Pod { metadata, ..Pod::default() })
}

impl PodBuilder {
    pub fn of<V: View>(mut self, kind: &str, owner: &V) -> PodBuilder {
        let meta = owner.meta();
        let reference = OwnerReference {
            kind: kind.into(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        self.0.metadata.owner_references.push(reference);
        self
    }
    pub fn label(mut self, key: &str, value: &str) -> PodBuilder {
        self.0.metadata.labels.insert(key.into(), value.into());
        self
    }
    pub fn phase(mut self, phase: &str) -> PodBuilder {
        self.0.status.phase = phase.into();
        self
    }
    pub fn on(mut self, node: &str) -> PodBuilder {
        self.0.spec.node_name = node.into();
        self
    }
    pub fn ip(mut self, ip: &str) -> PodBuilder {
        self.0.status.pod_ip = ip.into();
        self
    }
    pub fn ready(mut self, since: i64) -> PodBuilder {
        let time = Some(api::time::format_seconds(since));
        self.0.status.phase = "Running".into();
        self.0.status.conditions.push(Condition {
            kind: "Ready".into(),
            status: "True".into(),
            last_transition_time: time,
            ..Condition::default()
        });
        self
    }
    pub fn deleting(mut self) -> PodBuilder {
        self.0.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
        self
    }
    pub fn build(self) -> Arc<Pod> {
        Arc::new(self.0)
    }
}

pub fn node(name: &str, ready: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("n-{name}"), "resourceVersion": "1"},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }))
    .expect("a node")
}

/// A plan's operations, one line each.
pub fn lines(plan: &client::Plan) -> Vec<String> {
    plan.ops.iter().map(line).collect()
}

fn line(op: &client::Op) -> String {
    use client::Op;
    match op {
        Op::Require { target, .. } => format!("require {} {}", target.resource.plural, target.name),
        Op::Create { resource, object, .. } => {
            let meta = &object["metadata"];
            format!(
                "create {} {}",
                resource.plural,
                meta["name"].as_str().or(meta["generateName"].as_str()).unwrap_or_default()
            )
        }
        Op::Patch { target, subresource, patch, .. } => {
            let mut patch = patch.clone();
            if let Some(meta) = patch["metadata"].as_object_mut() {
                meta.shift_remove("uid");
                meta.shift_remove("resourceVersion");
                if meta.is_empty() {
                    patch.as_object_mut().map(|p| p.shift_remove("metadata"));
                }
            }
            let what = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            format!("patch {}{what} {} {patch}", target.resource.plural, target.name)
        }
        Op::Update { target, subresource, patch } => line(&Op::Patch {
            target: target.clone(),
            subresource,
            kind: client::PatchKind::Merge,
            patch: patch.clone(),
        }),
        Op::Delete { target, .. } => format!("delete {} {}", target.resource.plural, target.name),
        Op::Post { target, subresource, .. } => {
            format!("post {}/{subresource} {}", target.resource.plural, target.name)
        }
        Op::Put { target, subresource, .. } => format!("put {}/{subresource} {}", target.resource.plural, target.name),
        Op::DeleteAll { resource, .. } => format!("delete all {}", resource.plural),
        Op::Tell(event) => format!("tell {}: {}", event.reason, event.message),
    }
}
