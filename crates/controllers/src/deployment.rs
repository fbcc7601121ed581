//! Shell of Deployments: routes and caches.

use crate::core::deployment::{World, plan};
use crate::replicaset::{BY_OWNER, children, owners_of};
use crate::views::{Deployment, Pod, ReplicaSet};
use client::{Controller, Informer, ObjectKey, Plan, Routes};
use platform::WallTime;

/// The controller.
pub struct Deployments {
    /// Deployments.
    pub deployments: Informer<Deployment>,
    /// ReplicaSets, indexed by [`BY_OWNER`].
    pub sets: Informer<ReplicaSet>,
    /// Pods, indexed by [`BY_OWNER`].
    pub pods: Informer<Pod>,
}

impl Controller for Deployments {
    const NAME: &'static str = "deployment-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.deployments, |change| vec![change.key()]);
        let deployments = self.deployments.clone();
        routes.on(&self.sets, move |change| {
            let mut keys = owners_of(change, "Deployment");
            let orphan = change.object();
            if keys.is_empty() && orphan.metadata.controller().is_none() {
                let mine = deployments.in_namespace(&orphan.metadata.namespace);
                let mine = mine
                    .iter()
                    .filter(|d| !d.spec.selector.is_empty() && d.spec.selector.matches(&orphan.metadata.labels));
                keys.extend(mine.map(|d| d.metadata.key()));
            }
            keys
        });
        // A Recreate rollout waits for the last old pod.
        let (sets, deployments) = (self.sets.clone(), self.deployments.clone());
        routes.on(&self.pods, move |change| {
            if change.new.is_some() && change.new.as_ref().is_none_or(|p| !crate::core::pods::is_finished(p)) {
                return Vec::new();
            }
            let keys = owners_of(change, "ReplicaSet");
            let owner = keys.first().and_then(|key| sets.get_key(key));
            let owner =
                owner.and_then(|s| s.metadata.controller().map(|o| ObjectKey::new(&s.metadata.namespace, &o.name)));
            owner
                .filter(|key| deployments.get_key(key).is_some_and(|d| d.spec.strategy.kind == "Recreate"))
                .into_iter()
                .collect()
        });
    }

    fn gather(&self, key: &ObjectKey) -> World {
        let Some(deployment) = self.deployments.get_key(key) else { return World::default() };
        let sets = children(&self.sets, &deployment.metadata.uid, &key.namespace);
        let pods = if deployment.spec.strategy.kind == "Recreate" {
            let mine = sets.iter().filter(|s| s.metadata.controller().is_some());
            mine.map(|s| (s.metadata.uid.clone(), self.pods.by_index(BY_OWNER, &s.metadata.uid))).collect()
        } else {
            Default::default()
        };
        World { deployment: Some(deployment), sets, pods }
    }

    fn plan(&self, _key: &ObjectKey, world: &World, now: WallTime) -> Plan {
        plan(world, now)
    }
}
