//! The ReplicaSets of a deployment: finding the new one, making it, sizing, scaling in proportion, removing old ones.

use super::{DESIRED, HASH, MAX, REVISION, REVISION_HISTORY, Work};
use crate::core::hash::template_hash;
use crate::core::pods;
use crate::views::{ReplicaSet, condition};
use client::{Op, Target, resources};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotations that stay with the deployment.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// A ReplicaSet with the size it shall have.
#[derive(Clone, Debug)]
pub struct Set {
    pub name: String,
    pub uid: String,
    pub created: i64,
    pub replicas: i64,
    pub annotations: BTreeMap<String, String>,
    /// As the cache has it; `None`: it is to be made.
    pub there: Option<Arc<ReplicaSet>>,
    pub is_new: bool,
}

impl Set {
    pub fn of(set: &Arc<ReplicaSet>) -> Set {
        Set {
            name: set.metadata.name.clone(),
            uid: set.metadata.uid.clone(),
            created: set.metadata.created(),
            replicas: set.spec.replicas.unwrap_or(1),
            annotations: set.metadata.annotations.clone(),
            there: Some(set.clone()),
            is_new: false,
        }
    }

    pub fn annotated(&self, name: &str) -> Option<i64> {
        self.annotations.get(name)?.parse().ok()
    }

    pub fn revision(&self) -> i64 {
        self.annotated(REVISION).unwrap_or(0)
    }

    pub fn available(&self) -> i64 {
        self.there.as_ref().map_or(0, |s| s.status.available_replicas)
    }

    pub fn actual(&self) -> i64 {
        self.there.as_ref().map_or(0, |s| s.status.replicas)
    }
}

/// Whether two templates are the same but for the hash label.
pub fn same_template(a: &Value, b: &Value) -> bool {
    let strip = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.shift_remove(HASH);
        }
        if let Some(meta) = template["metadata"].as_object_mut() {
            meta.shift_remove("creationTimestamp");
        }
        template
    };
    strip(a) == strip(b)
}

impl Work<'_> {
    /// Index of the new ReplicaSet, if there is one.
    pub fn new_set(&self) -> Option<usize> {
        self.sets.iter().position(|s| s.is_new)
    }

    pub fn total(&self) -> i64 {
        self.sets.iter().map(|s| s.replicas).sum()
    }

    /// Finds the ReplicaSet of the current template and brings its annotations up to date; makes it if `create`.
    pub fn find_new(&mut self, create: bool) {
        let found = self
            .sets
            .iter()
            .position(|s| s.there.as_ref().is_some_and(|t| same_template(&t.spec.template, &self.d.spec.template)));
        let old_most = self
            .sets
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != found)
            .map(|(_, s)| s.revision())
            .max()
            .unwrap_or(0);
        match found {
            Some(at) => {
                self.sets[at].is_new = true;
                self.renew(at, old_most + 1);
                let revision = self.sets[at].annotations.get(REVISION).cloned().unwrap_or_default();
                self.set_revision(&revision);
                if self.d.spec.progress_deadline_seconds.is_some()
                    && condition(&self.conditions, "Progressing").is_none()
                {
                    let message = format!("Found new replica set \"{}\"", self.sets[at].name);
                    self.progressing("True", "FoundNewReplicaSet", message);
                }
            }
            None if create => self.make_new(old_most + 1),
            None => {}
        }
    }

    /// Annotations and minReadySeconds of a new set that was there already.
    fn renew(&mut self, at: usize, revision: i64) {
        let copied = self.copied_annotations();
        let set = &mut self.sets[at];
        set.annotations.extend(copied);
        if set.revision() < revision {
            if let Some(old) = set.annotations.get(REVISION).cloned() {
                let history = set.annotations.entry(REVISION_HISTORY.into()).or_default();
                let known: Vec<&str> = history.split(',').filter(|h| !h.is_empty()).chain([old.as_str()]).collect();
                *history = known.join(",");
            }
            set.annotations.insert(REVISION.into(), revision.to_string());
        }
    }

    fn copied_annotations(&self) -> BTreeMap<String, String> {
        let own = self.d.metadata.annotations.iter();
        own.filter(|(k, _)| !NOT_COPIED.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn set_revision(&mut self, revision: &str) {
        if self.d.metadata.annotations.get(REVISION).map(String::as_str) != Some(revision) {
            let patch = json!({"metadata": {"uid": self.d.metadata.uid, "annotations": {REVISION: revision}}});
            self.plan.push(Op::update(self.target(), patch));
        }
    }

    fn make_new(&mut self, revision: i64) {
        let (d, meta) = (self.d, &self.d.metadata);
        let hash = template_hash(&d.spec.template, self.collisions);
        let name = format!("{}-{hash}", meta.name);
        if self.world.sets.iter().any(|s| s.metadata.name == name) {
            // Another template, or another owner, has this name: count it, so that the next hash differs.
            self.collisions = Some(self.collisions.unwrap_or(0) + 1);
            return;
        }
        let replicas = self.new_size(0);
        let (surge, _) = self.fenceposts();
        let mut annotations = self.copied_annotations();
        annotations.insert(REVISION.into(), revision.to_string());
        annotations.insert(DESIRED.into(), self.replicas().to_string());
        annotations.insert(MAX.into(), (self.replicas() + surge).to_string());
        let mut template = d.spec.template.clone();
        template["metadata"]["labels"][HASH] = hash.clone().into();
        let mut selector = d.spec.selector.clone();
        selector.match_labels.insert(HASH.into(), hash);
        let object = json!({
            "metadata": {
                "name": name, "namespace": meta.namespace, "labels": template["metadata"]["labels"], "annotations": annotations,
                "ownerReferences": [pods::controller_ref(&resources::DEPLOYMENTS, meta)],
            },
            "spec": {"replicas": replicas, "minReadySeconds": d.spec.min_ready_seconds, "selector": selector, "template": template},
        });
        self.plan.push(Op::create(&resources::REPLICASETS, &meta.namespace, object));
        if replicas > 0 {
            self.tell(false, "ScalingReplicaSet", format!("Scaled up replica set {name} from 0 to {replicas}"));
        }
        self.set_revision(&revision.to_string());
        self.progressing("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
        let created = i64::MAX;
        self.sets.push(Set { name, uid: String::new(), created, replicas, annotations, there: None, is_new: true });
    }

    /// The size the new set may have now, when it has `size`.
    pub fn new_size(&self, size: i64) -> i64 {
        if self.d.spec.strategy.kind == "Recreate" {
            return self.replicas();
        }
        let room = self.replicas() + self.fenceposts().0 - self.total();
        if room <= 0 { size } else { size + room.min(self.replicas() - size) }
    }

    /// Gives a set a size, with the annotations that tell what it was sized for.
    pub fn resize(&mut self, at: usize, replicas: i64) {
        let (surge, _) = self.fenceposts();
        let desired = self.replicas();
        let set = &mut self.sets[at];
        set.annotations.insert(DESIRED.into(), desired.to_string());
        set.annotations.insert(MAX.into(), (desired + surge).to_string());
        set.replicas = replicas;
    }

    /// Sizes without a rollout: the deployment is paused or was only scaled.
    pub fn scale(&mut self) {
        let active: Vec<usize> = (0..self.sets.len()).filter(|i| self.sets[*i].replicas > 0).collect();
        let only = match active[..] {
            [] => self.new_set().or(self.sets.len().checked_sub(1)),
            [one] => Some(one),
            _ => None,
        };
        if let Some(at) = only {
            if self.sets[at].replicas != self.replicas() || self.sets[at].annotated(DESIRED) != Some(self.replicas()) {
                self.resize(at, self.replicas());
            }
            return;
        }
        let saturated = self.new_set().map(|at| &self.sets[at]).is_some_and(|new| {
            let wanted = self.replicas();
            new.replicas == wanted && new.annotated(DESIRED) == Some(wanted) && new.available() == wanted
        });
        if saturated {
            for at in active {
                if !self.sets[at].is_new {
                    self.resize(at, 0);
                }
            }
        } else if self.d.spec.strategy.kind != "Recreate" {
            self.scale_in_proportion(active);
        }
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let allowed = if self.replicas() > 0 { self.replicas() + self.fenceposts().0 } else { 0 };
        let to_add = allowed - self.total();
        // Larger first; among equals the newer when growing, the older when shrinking.
        active.sort_by(|a, b| {
            let (a, b) = (&self.sets[*a], &self.sets[*b]);
            let age = if to_add > 0 { b.created.cmp(&a.created) } else { a.created.cmp(&b.created) };
            b.replicas.cmp(&a.replicas).then(age)
        });
        let mut sizes = Vec::new();
        let mut added = 0;
        for at in &active {
            let share = if to_add == 0 || to_add == added { 0 } else { self.share(&self.sets[*at], to_add - added) };
            added += share;
            sizes.push(self.sets[*at].replicas + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.resize(at, size);
        }
    }

    /// A set's part of a change, at most `left`.
    fn share(&self, set: &Set, left: i64) -> i64 {
        let part = if self.replicas() == 0 {
            -set.replicas
        } else {
            let most = self.replicas() + self.fenceposts().0;
            let before = set.annotated(MAX).filter(|m| *m > 0).unwrap_or(self.d.status.replicas).max(1);
            (set.replicas as f64 * most as f64 / before as f64).round() as i64 - set.replicas
        };
        if left > 0 { part.min(left) } else { part.max(left) }
    }

    /// Removes empty old sets beyond the history limit.
    pub fn clean_up(&mut self) {
        let Some(limit) = self.d.spec.revision_history_limit else { return };
        let mut old: Vec<&Set> = self.sets.iter().filter(|s| !s.is_new).collect();
        old.retain(|s| s.there.as_ref().is_some_and(|t| !t.metadata.is_deleting()));
        old.sort_by_key(|s| s.revision());
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let empty = |s: &&Set| {
            let Some(there) = &s.there else { return false };
            s.replicas == 0
                && there.status.replicas == 0
                && there.metadata.generation <= there.status.observed_generation
        };
        let namespace = &self.d.metadata.namespace;
        let gone: Vec<Op> = old[..surplus]
            .iter()
            .copied()
            .filter(empty)
            .map(|s| Op::delete(Target::new(&resources::REPLICASETS, namespace, &s.name), &s.uid))
            .collect();
        self.plan.ops.extend(gone);
    }

    /// Turns differences into patches and tells them.
    pub fn write_sets(&mut self) {
        for set in self.sets.clone() {
            let Some(there) = &set.there else { continue };
            let before = there.spec.replicas.unwrap_or(1);
            let mut patch = json!({"metadata": {"uid": set.uid, "resourceVersion": there.metadata.resource_version}});
            let mut differs = false;
            if set.annotations != there.metadata.annotations {
                patch["metadata"]["annotations"] = json!(set.annotations);
                differs = true;
            }
            if set.replicas != before {
                patch["spec"]["replicas"] = set.replicas.into();
                differs = true;
            }
            if set.is_new && there.spec.min_ready_seconds != self.d.spec.min_ready_seconds {
                patch["spec"]["minReadySeconds"] = self.d.spec.min_ready_seconds.into();
                differs = true;
            }
            if differs {
                self.plan.push(Op::merge(
                    Target::new(&resources::REPLICASETS, &self.d.metadata.namespace, &set.name),
                    patch,
                ));
            }
            if set.replicas != before {
                let way = if set.replicas > before { "up" } else { "down" };
                let message = format!("Scaled {way} replica set {} from {before} to {}", set.name, set.replicas);
                self.tell(false, "ScalingReplicaSet", message);
            }
        }
    }
}
