//! Shell of the garbage collector: metadata of every object, by uid and by owner.
//!
//! An owner that no cache shows is looked up on the server before anything is deleted: caches of different resources may lag
//! behind each other.

use crate::core::garbage::{Owner, World, is_waiting, plan};
use client::{
    At, BoxFuture, Client, Controller, Error, Informer, Meta, ObjectKey, OwnerReference, Partial, Plan, Resource,
    Routes, Selection, Served, View,
};
use platform::{Env, WallTime};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const BY_UID: &str = "uid";
const BY_OWNER: &str = "owner";

/// An object: which informer knows it, and its key there.
pub type Key = (usize, ObjectKey);

/// Just enough metadata; labels and annotations are dropped while reading.
pub struct Slim {
    metadata: Meta,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SlimMeta {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
    owner_references: Vec<OwnerReference>,
    finalizers: Vec<String>,
}

#[derive(Deserialize)]
struct SlimObject {
    metadata: SlimMeta,
}

impl<'de> Deserialize<'de> for Slim {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Slim, D::Error> {
        let SlimObject { metadata: m } = SlimObject::deserialize(deserializer)?;
        let metadata = Meta {
            name: m.name,
            namespace: m.namespace,
            uid: m.uid,
            resource_version: m.resource_version,
            deletion_timestamp: m.deletion_timestamp,
            owner_references: m.owner_references,
            finalizers: m.finalizers,
            ..Meta::default()
        };
        Ok(Slim { metadata })
    }
}

impl View for Slim {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// The controller.
pub struct Garbage {
    /// Of everything.
    pub informers: Vec<Informer<Slim>>,
    kinds: BTreeMap<(String, String), Resource>,
}

impl Garbage {
    /// Over everything that can be deleted, listed and watched, but events.
    pub fn new(env: &Env, client: &Client, served: &[Served]) -> Garbage {
        let group_kind = |r: &Resource| (r.group.to_string(), r.kind.to_string());
        let wanted = |s: &&Served| s.can(&["delete", "list", "watch"]) && s.resource.plural != "events";
        let informers = served.iter().filter(wanted).map(|s| {
            let informer: Informer<Slim> = Informer::new(Selection::metadata(&s.resource));
            informer.index(BY_UID, |o| vec![o.metadata.uid.clone()]);
            informer.index(BY_OWNER, |o| o.metadata.owner_references.iter().map(|r| r.uid.clone()).collect());
            informer.run(env, client);
            informer
        });
        Garbage {
            informers: informers.collect(),
            kinds: served.iter().map(|s| (group_kind(&s.resource), s.resource.clone())).collect(),
        }
    }

    fn dependents(informers: &[Informer<Slim>], uid: &str) -> Vec<(usize, Arc<Slim>)> {
        let each = informers.iter().enumerate();
        each.flat_map(|(i, informer)| informer.by_index(BY_OWNER, uid).into_iter().map(move |o| (i, o))).collect()
    }

    fn cached_owner(&self, uid: &str) -> Option<Owner> {
        let found = self.informers.iter().find_map(|i| i.by_index(BY_UID, uid).into_iter().next())?;
        Some(if is_waiting(&found.metadata) { Owner::Waiting } else { Owner::Solid })
    }

    async fn live_owner(&self, client: &Client, namespace: &str, owner: &OwnerReference) -> Result<Owner, Error> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let Some(resource) = self.kinds.get(&(group.to_string(), owner.kind.clone())) else {
            return Ok(Owner::Unknown);
        };
        match client.get::<Partial>(At { resource, namespace, name: &owner.name }).await {
            Ok(found) if found.metadata.uid != owner.uid => Ok(Owner::Absent),
            Ok(found) if is_waiting(&found.metadata) => Ok(Owner::Waiting),
            Ok(_) => Ok(Owner::Solid),
            Err(error) if error.is_not_found() => Ok(Owner::Absent),
            Err(error) => Err(error),
        }
    }
}

impl Controller for Garbage {
    const NAME: &'static str = "garbage-collector-controller";
    const ACCOUNT: &'static str = "generic-garbage-collector";
    type Key = Key;
    type World = World;

    fn routes(&self, routes: &mut Routes<Key>) {
        for (at, informer) in self.informers.iter().enumerate() {
            let all = self.informers.clone();
            routes.on(informer, move |change| {
                let meta = change.object().meta();
                let mut keys = Vec::new();
                // An object without owners that is not going away is nobody's garbage.
                if change.new.is_some() && (!meta.owner_references.is_empty() || meta.is_deleting()) {
                    keys.push((at, meta.key()));
                }
                if change.new.is_none() || meta.is_deleting() {
                    keys.extend(Garbage::dependents(&all, &meta.uid).into_iter().map(|(i, d)| (i, d.metadata.key())));
                }
                // A waiting owner may be able to go.
                for owner in change.both().flat_map(|o| o.meta().owner_references.clone()) {
                    let each = all.iter().enumerate();
                    let found = each.flat_map(|(i, informer)| {
                        informer.by_index(BY_UID, &owner.uid).into_iter().map(move |o| (i, o))
                    });
                    keys.extend(found.filter(|(_, o)| is_waiting(&o.metadata)).map(|(i, o)| (i, o.metadata.key())));
                }
                keys
            });
        }
    }

    fn gather(&self, key: &Key) -> World {
        let informer = &self.informers[key.0];
        let Some(object) = informer.get_key(&key.1) else { return World::default() };
        let meta = object.metadata.clone();
        let dependents = Garbage::dependents(&self.informers, &meta.uid);
        let dependents =
            dependents.into_iter().map(|(i, d)| (self.informers[i].resource().clone(), d.metadata.clone())).collect();
        let owners = meta.owner_references.iter();
        let owners = owners.map(|o| (o.clone(), self.cached_owner(&o.uid).unwrap_or(Owner::Unknown))).collect();
        World { object: Some((informer.resource().clone(), meta)), owners, dependents }
    }

    fn refine<'a>(
        &'a self,
        client: &'a Client,
        _key: &'a Key,
        mut world: World,
    ) -> BoxFuture<'a, Result<World, Error>> {
        Box::pin(async move {
            let Some((_, meta)) = &world.object else { return Ok(world) };
            for (owner, state) in world.owners.iter_mut().filter(|(_, state)| *state == Owner::Unknown) {
                *state = self.live_owner(client, &meta.namespace, owner).await?;
            }
            Ok(world)
        })
    }

    fn plan(&self, _key: &Key, world: &World, _now: WallTime) -> Plan {
        plan(world)
    }
}
