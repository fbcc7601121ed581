//! Shells of DaemonSets, StatefulSets, Jobs and disruption budgets.

use crate::core::{daemonset, disruption, job, statefulset};
use crate::replicaset::{BY_OWNER, children, owners_of};
use crate::views::{Budget, Claim, DaemonSet, Job, Node, Pod, ReplicaSet, Revision, StatefulSet};
use client::{Change, Controller, Informer, ObjectKey, Plan, Routes, Selector, View};
use platform::WallTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys woken by a pod: its owner of `kind`, or owners whose selector an orphan matches.
fn pod_keys<V: View>(
    change: &Change<Pod>,
    kind: &str,
    owners: &Informer<V>,
    selector: impl Fn(&V) -> &Selector,
) -> Vec<ObjectKey> {
    let mut keys = owners_of(change, kind);
    let pod = change.object();
    if keys.is_empty() && pod.metadata.controller().is_none() && !pod.metadata.labels.is_empty() {
        let wanted = |owner: &Arc<V>| !selector(owner).is_empty() && selector(owner).matches(&pod.metadata.labels);
        keys.extend(owners.in_namespace(&pod.metadata.namespace).iter().filter(|o| wanted(o)).map(|o| o.meta().key()));
    }
    keys
}

/// DaemonSets.
pub struct DaemonSets {
    pub sets: Informer<DaemonSet>,
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub revisions: Informer<Revision>,
}

impl Controller for DaemonSets {
    const NAME: &'static str = "daemon-set-controller";
    type Key = ObjectKey;
    type World = daemonset::World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.sets, |change| vec![change.key()]);
        let sets = self.sets.clone();
        routes.on(&self.pods, move |change| pod_keys(change, "DaemonSet", &sets, |s| &s.spec.selector));
        routes.on(&self.revisions, |change| owners_of(change, "DaemonSet"));
        let sets = self.sets.clone();
        routes.on(&self.nodes, move |change: &Change<Node>| {
            let same = match (&change.old, &change.new) {
                (Some(old), Some(new)) => old.metadata.labels == new.metadata.labels && old.spec == new.spec,
                _ => false,
            };
            if same { Vec::new() } else { sets.all().iter().map(|s| s.metadata.key()).collect() }
        });
    }

    fn gather(&self, key: &ObjectKey) -> daemonset::World {
        let Some(set) = self.sets.get_key(key) else { return daemonset::World::default() };
        let pods = children(&self.pods, &set.metadata.uid, &key.namespace);
        let revisions = self.revisions.by_index(BY_OWNER, &set.metadata.uid);
        daemonset::World { set: Some(set), nodes: self.nodes.all(), pods, revisions }
    }

    fn plan(&self, _key: &ObjectKey, world: &daemonset::World, now: WallTime) -> Plan {
        daemonset::plan(world, now)
    }
}

/// StatefulSets.
pub struct StatefulSets {
    pub sets: Informer<StatefulSet>,
    pub pods: Informer<Pod>,
    pub revisions: Informer<Revision>,
    pub claims: Informer<Claim>,
}

impl Controller for StatefulSets {
    const NAME: &'static str = "statefulset-controller";
    type Key = ObjectKey;
    type World = statefulset::World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.sets, |change| vec![change.key()]);
        let sets = self.sets.clone();
        routes.on(&self.pods, move |change| pod_keys(change, "StatefulSet", &sets, |s| &s.spec.selector));
        routes.on(&self.revisions, |change| owners_of(change, "StatefulSet"));
        routes.reads(&self.claims);
    }

    fn gather(&self, key: &ObjectKey) -> statefulset::World {
        let Some(set) = self.sets.get_key(key) else { return statefulset::World::default() };
        let pods = children(&self.pods, &set.metadata.uid, &key.namespace);
        let revisions = self.revisions.by_index(BY_OWNER, &set.metadata.uid);
        let claims =
            self.claims.in_namespace(&key.namespace).into_iter().map(|c| (c.metadata.name.clone(), c)).collect();
        statefulset::World { set: Some(set), pods, revisions, claims }
    }

    fn plan(&self, _key: &ObjectKey, world: &statefulset::World, now: WallTime) -> Plan {
        statefulset::plan(world, now)
    }
}

/// Jobs.
pub struct Jobs {
    pub jobs: Informer<Job>,
    pub pods: Informer<Pod>,
}

impl Controller for Jobs {
    const NAME: &'static str = "job-controller";
    type Key = ObjectKey;
    type World = job::World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.jobs, |change| vec![change.key()]);
        let jobs = self.jobs.clone();
        routes.on(&self.pods, move |change| pod_keys(change, "Job", &jobs, |j| &j.spec.selector));
    }

    fn gather(&self, key: &ObjectKey) -> job::World {
        let Some(job) = self.jobs.get_key(key) else { return job::World::default() };
        let pods = children(&self.pods, &job.metadata.uid, &key.namespace);
        job::World { job: Some(job), pods }
    }

    fn plan(&self, _key: &ObjectKey, world: &job::World, now: WallTime) -> Plan {
        job::plan(world, now)
    }
}

/// Removes jobs some time after their end.
pub struct TtlAfterFinished {
    pub jobs: Informer<Job>,
}

impl Controller for TtlAfterFinished {
    const NAME: &'static str = "ttl-after-finished-controller";
    type Key = ObjectKey;
    type World = Option<Arc<Job>>;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.jobs, |change| vec![change.key()]);
    }

    fn gather(&self, key: &ObjectKey) -> Self::World {
        self.jobs.get_key(key)
    }

    fn plan(&self, _key: &ObjectKey, world: &Self::World, now: WallTime) -> Plan {
        job::expire(world.as_deref(), now)
    }
}

/// Disruption budgets.
pub struct Budgets {
    pub budgets: Informer<Budget>,
    pub pods: Informer<Pod>,
    pub replica_sets: Informer<ReplicaSet>,
    pub replication: Informer<ReplicaSet>,
    pub stateful_sets: Informer<StatefulSet>,
}

fn selects(budget: &Budget, pod: &Pod) -> bool {
    // An empty selector is everything, a missing one nothing.
    budget.spec.selector.as_ref().is_some_and(|s| s.matches(&pod.metadata.labels))
}

impl Controller for Budgets {
    const NAME: &'static str = "disruption-controller";
    type Key = ObjectKey;
    type World = disruption::World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.budgets, |change| vec![change.key()]);
        let budgets = self.budgets.clone();
        routes.on(&self.pods, move |change: &Change<Pod>| {
            let mine = budgets.in_namespace(&change.object().metadata.namespace);
            mine.iter().filter(|b| change.both().any(|p| selects(b, p))).map(|b| b.metadata.key()).collect()
        });
        let budgets = self.budgets.clone();
        let all =
            move |namespace: &str| budgets.in_namespace(namespace).iter().map(|b| b.metadata.key()).collect::<Vec<_>>();
        let scaled = all.clone();
        routes.on(&self.replica_sets, move |change: &Change<ReplicaSet>| {
            let same = matches!((&change.old, &change.new), (Some(a), Some(b)) if a.spec.replicas == b.spec.replicas);
            if same { Vec::new() } else { scaled(&change.object().metadata.namespace) }
        });
        routes.on(&self.stateful_sets, move |change: &Change<StatefulSet>| {
            let same = matches!((&change.old, &change.new), (Some(a), Some(b)) if a.spec.replicas == b.spec.replicas);
            if same { Vec::new() } else { all(&change.object().metadata.namespace) }
        });
        routes.reads(&self.replication);
    }

    fn gather(&self, key: &ObjectKey) -> disruption::World {
        let Some(budget) = self.budgets.get_key(key) else { return disruption::World::default() };
        let pods: Vec<_> = self.pods.in_namespace(&key.namespace).into_iter().filter(|p| selects(&budget, p)).collect();
        let mut scales = BTreeMap::new();
        for owner in pods.iter().filter_map(|p| p.metadata.controller()) {
            let scale = match owner.kind.as_str() {
                "ReplicaSet" => self
                    .replica_sets
                    .get(&key.namespace, &owner.name)
                    .map(|s| (s.metadata.uid.clone(), s.spec.replicas)),
                "ReplicationController" => {
                    self.replication.get(&key.namespace, &owner.name).map(|s| (s.metadata.uid.clone(), s.spec.replicas))
                }
                "StatefulSet" => self
                    .stateful_sets
                    .get(&key.namespace, &owner.name)
                    .map(|s| (s.metadata.uid.clone(), s.spec.replicas)),
                _ => None,
            };
            if let Some((uid, replicas)) = scale.filter(|(uid, _)| *uid == owner.uid) {
                scales.insert(uid, replicas.unwrap_or(1));
            }
        }
        disruption::World { budget: Some(budget), pods, scales }
    }

    fn plan(&self, _key: &ObjectKey, world: &disruption::World, now: WallTime) -> Plan {
        disruption::plan(world, now)
    }
}
