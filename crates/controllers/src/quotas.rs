//! Shell of quotas: what is counted is listed when a quota is looked at, so that nothing is kept in memory for it.

use crate::core::quota::{Quota, World, counted, plan};
use crate::garbage::Slim;
use crate::views::Pod;
use client::{
    BoxFuture, Change, Client, Controller, Error, Informer, ListRequest, ObjectKey, Plan, Resource, Routes, Served,
    View,
};
use kinds::rules::quota::name_of;
use platform::WallTime;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Resources whose changes, not only their coming and going, change what they use.
const CHANGING: &[&str] = &["services", "persistentvolumeclaims"];

/// Quotas.
pub struct Quotas {
    pub quotas: Informer<Quota>,
    pub pods: Informer<Pod>,
    /// Metadata of everything, shared with the garbage collector.
    pub metadata: Vec<Informer<Slim>>,
    resources: BTreeMap<String, Resource>,
}

impl Quotas {
    /// Over what is served.
    pub fn new(
        quotas: Informer<Quota>,
        pods: Informer<Pod>,
        metadata: Vec<Informer<Slim>>,
        served: &[Served],
    ) -> Quotas {
        let listed = served.iter().filter(|s| s.can(&["list"]) && s.resource.namespaced);
        let resources = listed.map(|s| (name_of(&s.resource.group, &s.resource.plural), s.resource.clone())).collect();
        Quotas { quotas, pods, metadata, resources }
    }
}

impl Controller for Quotas {
    const NAME: &'static str = "resourcequota-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.quotas, |change: &Change<Quota>| match (&change.old, &change.new) {
            // Its own status is what this controller writes.
            (Some(old), Some(new)) if old.spec == new.spec && new.status.used == old.status.used => Vec::new(),
            _ => vec![change.key()],
        });
        let quotas = self.quotas.clone();
        let all = move |namespace: &str| -> Vec<ObjectKey> {
            quotas.in_namespace(namespace).iter().map(|q| q.metadata.key()).collect()
        };
        let of = all.clone();
        routes.on(&self.pods, move |change: &Change<Pod>| {
            let same = matches!((&change.old, &change.new), (Some(a), Some(b)) if a.status.phase == b.status.phase
                && a.spec.containers == b.spec.containers && a.metadata.is_deleting() == b.metadata.is_deleting());
            if same { Vec::new() } else { of(&change.object().metadata.namespace) }
        });
        let others = |i: &&Informer<Slim>| {
            i.resource().namespaced && !matches!(&*i.resource().plural, "pods" | "resourcequotas")
        };
        for informer in self.metadata.iter().filter(others) {
            let (of, changing) = (all.clone(), CHANGING.contains(&&*informer.resource().plural));
            routes.on(informer, move |change: &Change<Slim>| {
                let stays = change.old.is_some() && change.new.is_some();
                if stays && !changing { Vec::new() } else { of(&change.object().meta().namespace) }
            });
        }
    }

    fn gather(&self, key: &ObjectKey) -> World {
        World { quota: self.quotas.get_key(key), ..World::default() }
    }

    fn refine<'a>(
        &'a self,
        client: &'a Client,
        key: &'a ObjectKey,
        mut world: World,
    ) -> BoxFuture<'a, Result<World, Error>> {
        Box::pin(async move {
            let Some(quota) = &world.quota else { return Ok(world) };
            for name in counted(quota) {
                let Some(resource) = self.resources.get(&name) else { continue };
                let namespace = Some(key.namespace.clone());
                let request = ListRequest { namespace, limit: 500, ..ListRequest::all(resource.clone()) };
                let found: Vec<Box<RawValue>> = client.list_all(request).await?;
                // What the server sends is JSON: `list_all` has read it already.
                let objects = found.iter().filter_map(|o| api::json::parse(o.get().as_bytes()).ok()).collect();
                world.objects.insert(name, objects);
            }
            Ok(world)
        })
    }

    fn plan(&self, _key: &ObjectKey, world: &World, now: WallTime) -> Plan {
        plan(world, now)
    }
}
