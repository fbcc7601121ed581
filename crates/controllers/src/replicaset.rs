//! Shell of ReplicaSets and ReplicationControllers: routes and caches.

use crate::core::pods;
use crate::core::replicaset::{Kind, World, plan};
use crate::views::{Pod, ReplicaSet};
use client::{Change, Controller, Informer, ObjectKey, Plan, Routes, View};
use platform::WallTime;
use std::sync::Arc;

/// Index of pods by their controller's uid; orphans are under `/<namespace>`.
pub const BY_OWNER: &str = "owner";

/// The values of [`BY_OWNER`].
pub fn owner_values<V: View>(object: &V) -> Vec<String> {
    let meta = object.meta();
    vec![meta.controller().map_or_else(|| format!("/{}", meta.namespace), |o| o.uid.clone())]
}

/// Children of the owner with this uid, and orphans of the namespace.
pub fn children<V: View>(informer: &Informer<V>, uid: &str, namespace: &str) -> Vec<Arc<V>> {
    let mut out = informer.by_index(BY_OWNER, uid);
    out.extend(informer.by_index(BY_OWNER, &format!("/{namespace}")));
    out
}

/// Keys of owners of `kind` named by a changed child.
pub fn owners_of<V: View>(change: &Change<V>, kind: &str) -> Vec<ObjectKey> {
    let owner = |object: &Arc<V>| {
        let meta = object.meta();
        meta.controller().filter(|o| o.kind == kind).map(|o| ObjectKey::new(&meta.namespace, &o.name))
    };
    let mut keys: Vec<_> = change.both().filter_map(owner).collect();
    keys.dedup();
    keys
}

macro_rules! shell {
    ($name:ident, $kind:expr, $label:literal) => {
        #[doc = concat!("The controller `", $label, "`.")]
        pub struct $name {
            /// Sets.
            pub sets: Informer<ReplicaSet>,
            /// Pods, indexed by [`BY_OWNER`].
            pub pods: Informer<Pod>,
        }

        impl Controller for $name {
            const NAME: &'static str = $label;
            type Key = ObjectKey;
            type World = World;

            fn routes(&self, routes: &mut Routes<ObjectKey>) {
                routes.on(&self.sets, |change| vec![change.key()]);
                let sets = self.sets.clone();
                routes.on(&self.pods, move |change| {
                    let mut keys = owners_of(change, &$kind.resource().kind);
                    let orphan = change.object();
                    if keys.is_empty() && orphan.metadata.controller().is_none() && !orphan.metadata.labels.is_empty() {
                        let wanted = |set: &Arc<ReplicaSet>| {
                            let selector = $kind.selector(set);
                            !selector.is_empty() && selector.matches(&orphan.metadata.labels)
                        };
                        keys.extend(
                            sets.in_namespace(&orphan.metadata.namespace)
                                .iter()
                                .filter(|s| wanted(s))
                                .map(|s| s.metadata.key()),
                        );
                    }
                    keys
                });
            }

            fn gather(&self, key: &ObjectKey) -> World {
                let Some(set) = self.sets.get_key(key) else { return World::default() };
                let pods = children(&self.pods, &set.metadata.uid, &key.namespace);
                let family: Vec<Arc<Pod>> = match set.metadata.controller() {
                    // Pods of a Deployment's other ReplicaSets count when removals are spread over nodes.
                    Some(owner) => {
                        let siblings = self.sets.in_namespace(&key.namespace);
                        let siblings =
                            siblings.iter().filter(|s| s.metadata.controller().is_some_and(|o| o.uid == owner.uid));
                        siblings.flat_map(|s| self.pods.by_index(BY_OWNER, &s.metadata.uid)).collect()
                    }
                    None => self.pods.by_index(BY_OWNER, &set.metadata.uid),
                };
                World { rank: pods::per_node(family.iter()), set: Some(set), pods }
            }

            fn plan(&self, _key: &ObjectKey, world: &World, now: WallTime) -> Plan {
                plan($kind, world, now)
            }
        }
    };
}

shell!(ReplicaSets, Kind::ReplicaSet, "replicaset-controller");
shell!(ReplicationControllers, Kind::ReplicationController, "replication-controller");
