//! ControllerRevisions: the templates that a DaemonSet or StatefulSet has had.
//! Source: `pkg/controller/history/controller_history.go`.

use super::hash::template_hash;
use super::pods::controller_ref;
use crate::views::Revision;
use client::{Meta, Op, Plan, Resource, Target, resources};
use serde_json::{Value, json};
use std::sync::Arc;

/// Label of pods and revisions: which revision.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// A revision that is there, or is being made.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its hash, as pods carry it.
    pub hash: String,
    /// Its data.
    pub data: Value,
}

/// A template as a revision's data.
pub fn data(template: &Value) -> Value {
    let mut template = template.clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// A revision's template.
pub fn template(data: &Value) -> Value {
    let mut template = data["spec"]["template"].clone();
    if let Some(map) = template.as_object_mut() {
        map.shift_remove("$patch");
    }
    template
}

fn found(revision: &Revision) -> Found {
    let hash = revision.metadata.labels.get(REVISION_HASH).cloned().unwrap_or_else(|| revision.metadata.name.clone());
    Found { name: revision.metadata.name.clone(), hash, data: revision.data.clone() }
}

/// The revision called `name`.
pub fn named(revisions: &[Arc<Revision>], name: &str) -> Option<Found> {
    revisions.iter().find(|r| r.metadata.name == name).map(|r| found(r))
}

/// The revision of the current template: one that is there (made the newest), or a new one.
pub fn current(
    resource: &Resource,
    owner: &Meta,
    template: &Value,
    revisions: &[Arc<Revision>],
    plan: &mut Plan,
) -> Found {
    let data = data(template);
    let newest = revisions.iter().map(|r| r.revision).max().unwrap_or(0);
    if let Some(same) = revisions.iter().filter(|r| r.data == data).max_by_key(|r| r.revision) {
        if same.revision < newest {
            let patch = json!({"metadata": {"uid": same.metadata.uid}, "revision": newest + 1});
            plan.push(Op::merge(
                Target::new(&resources::CONTROLLERREVISIONS, &owner.namespace, &same.metadata.name),
                patch,
            ));
        }
        return found(same);
    }
    let mut collisions = None;
    let (hash, name) = loop {
        let hash = template_hash(&data, collisions);
        let name = format!("{}-{hash}", owner.name);
        if !revisions.iter().any(|r| r.metadata.name == name) {
            break (hash, name);
        }
        collisions = Some(collisions.unwrap_or(0) + 1);
    };
    let mut labels = json!(super::pods::template_labels(template));
    labels[REVISION_HASH] = hash.as_str().into();
    let metadata = json!({"name": name, "namespace": owner.namespace, "labels": labels, "ownerReferences": [controller_ref(resource, owner)]});
    let object = json!({"metadata": metadata, "data": data, "revision": newest + 1});
    plan.push(Op::create(&resources::CONTROLLERREVISIONS, &owner.namespace, object));
    Found { name, hash, data }
}

/// Removes revisions beyond the limit that nothing uses.
pub fn truncate(revisions: &[Arc<Revision>], used: &[&str], limit: Option<i64>, plan: &mut Plan) {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let is_used = |r: &Revision| {
        used.iter().any(|u| *u == r.metadata.name || r.metadata.labels.get(REVISION_HASH).is_some_and(|h| h == u))
    };
    let mut old: Vec<_> = revisions.iter().filter(|r| !is_used(r)).collect();
    old.sort_by_key(|r| r.revision);
    let surplus = old.len().saturating_sub(limit);
    for revision in &old[..surplus] {
        let target =
            Target::new(&resources::CONTROLLERREVISIONS, &revision.metadata.namespace, &revision.metadata.name);
        plan.push(Op::delete(target, &revision.metadata.uid));
    }
}
