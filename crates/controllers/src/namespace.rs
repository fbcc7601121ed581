//! Shells of the namespace controllers.

use crate::core::namespace::{ACCOUNT, ROOT_CA, World, account, plan, root_ca};
use crate::views::{ConfigMap, Namespace, Pod, ServiceAccount};
use client::{
    At, BoxFuture, Client, Controller, Error, Informer, ListRequest, ObjectKey, Partial, Plan, Routes, discover,
    resources,
};
use platform::WallTime;
use std::sync::Arc;

/// Empties and finalizes namespaces.
pub struct Namespaces {
    /// Namespaces.
    pub namespaces: Informer<Namespace>,
    /// Pods: the last one that goes wakes its namespace.
    pub pods: Informer<Pod>,
}

impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.namespaces, |change| match &change.new {
            Some(namespace) if namespace.metadata.is_deleting() => vec![change.key()],
            _ => Vec::new(),
        });
        let namespaces = self.namespaces.clone();
        routes.on(&self.pods, move |change| {
            let key = ObjectKey::new("", &change.object().metadata.namespace);
            let going = change.new.is_none() && namespaces.get_key(&key).is_some_and(|n| n.metadata.is_deleting());
            if going { vec![key] } else { Vec::new() }
        });
    }

    fn gather(&self, key: &ObjectKey) -> World {
        World { namespace: self.namespaces.get_key(key), ..World::default() }
    }

    fn refine<'a>(
        &'a self,
        client: &'a Client,
        key: &'a ObjectKey,
        mut world: World,
    ) -> BoxFuture<'a, Result<World, Error>> {
        Box::pin(async move {
            if !world.namespace.as_ref().is_some_and(|n| n.metadata.is_deleting()) {
                return Ok(world);
            }
            world.object =
                match client.get(At { resource: &resources::NAMESPACES, namespace: "", name: &key.name }).await {
                    Ok(object) => object,
                    Err(error) if error.is_not_found() => return Ok(World::default()),
                    Err(error) => return Err(error),
                };
            let found = discover(client).await?;
            world.failed.extend(found.missing); // there may be something left that nobody can see
            for served in found.served.into_iter().filter(|s| s.resource.namespaced && s.can(&["list", "delete"])) {
                let request = ListRequest {
                    namespace: Some(key.name.clone()),
                    metadata_only: true,
                    ..ListRequest::all(served.resource.clone())
                };
                match client.list_all::<Partial>(request).await {
                    Ok(found) if found.is_empty() => {}
                    Ok(found) => {
                        let finalizers = found.iter().flat_map(|o| o.metadata.finalizers.clone()).collect();
                        world.left.push((served.resource, found.len(), finalizers));
                    }
                    Err(error) if error.is_not_found() => {}
                    Err(error) => world.failed.push(format!("{}: {error}", served.resource.plural)),
                }
            }
            Ok(world)
        })
    }

    fn plan(&self, _key: &ObjectKey, world: &World, now: WallTime) -> Plan {
        plan(world, now)
    }
}

/// Gives every namespace its default service account.
pub struct Accounts {
    /// Namespaces.
    pub namespaces: Informer<Namespace>,
    /// Service accounts.
    pub accounts: Informer<ServiceAccount>,
}

impl Controller for Accounts {
    const NAME: &'static str = "serviceaccount-controller";
    const ACCOUNT: &'static str = "service-account-controller";
    type Key = String;
    type World = (Option<Arc<Namespace>>, Option<Arc<ServiceAccount>>);

    fn routes(&self, routes: &mut Routes<String>) {
        routes.on(&self.namespaces, |change| vec![change.key().name]);
        routes.on(&self.accounts, |change| match change.key() {
            key if key.name == ACCOUNT && change.new.is_none() => vec![key.namespace],
            _ => Vec::new(),
        });
    }

    fn gather(&self, key: &String) -> Self::World {
        (self.namespaces.get("", key), self.accounts.get(key, ACCOUNT))
    }

    fn plan(&self, _key: &String, (namespace, found): &Self::World, _now: WallTime) -> Plan {
        account(namespace.as_deref(), found.as_deref())
    }
}

/// Gives every namespace the authority's certificate.
pub struct RootCa {
    /// Namespaces.
    pub namespaces: Informer<Namespace>,
    /// Config maps named `kube-root-ca.crt`.
    pub maps: Informer<ConfigMap>,
    /// PEM of the certificate.
    pub certificate: String,
}

impl Controller for RootCa {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";
    const ACCOUNT: &'static str = "root-ca-cert-publisher";
    type Key = String;
    type World = (Option<Arc<Namespace>>, Option<Arc<ConfigMap>>);

    fn routes(&self, routes: &mut Routes<String>) {
        routes.on(&self.namespaces, |change| vec![change.key().name]);
        routes.on(&self.maps, |change| match change.key() {
            key if key.name == ROOT_CA => vec![key.namespace],
            _ => Vec::new(),
        });
    }

    fn gather(&self, key: &String) -> Self::World {
        (self.namespaces.get("", key), self.maps.get(key, ROOT_CA))
    }

    fn plan(&self, _key: &String, (namespace, map): &Self::World, _now: WallTime) -> Plan {
        root_ca(namespace.as_deref(), map.as_deref(), &self.certificate)
    }
}
