//! Shells of the Endpoints and EndpointSlice controllers.

use crate::core::endpoints::{MANAGED_BY, MANAGER, SERVICE_NAME, World, endpoints, slices};
use crate::views::{EndpointSlice, Endpoints, Node, Pod, Service};
use client::{Change, Controller, Informer, ObjectKey, Plan, Routes};
use platform::WallTime;
use std::sync::Arc;

/// Index of slices by namespace and service.
pub const BY_SERVICE: &str = "service";

/// The values of [`BY_SERVICE`].
pub fn service_values(slice: &EndpointSlice) -> Vec<String> {
    let name = slice.metadata.labels.get(SERVICE_NAME);
    name.map(|name| format!("{}/{name}", slice.metadata.namespace)).into_iter().collect()
}

/// What both controllers read.
#[derive(Clone)]
pub struct Sources {
    /// Services.
    pub services: Informer<Service>,
    /// Pods.
    pub pods: Informer<Pod>,
    /// Nodes.
    pub nodes: Informer<Node>,
    /// Slices, indexed by [`BY_SERVICE`].
    pub slices: Informer<EndpointSlice>,
    /// Endpoints.
    pub endpoints: Informer<Endpoints>,
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty() && selector.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
}

impl Sources {
    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.services, |change| vec![change.key()]);
        let services = self.services.clone();
        routes.on(&self.pods, move |change: &Change<Pod>| {
            let mine = services.in_namespace(&change.object().metadata.namespace);
            mine.iter().filter(|s| change.both().any(|p| selects(s, p))).map(|s| s.metadata.key()).collect()
        });
        routes.reads(&self.nodes);
    }

    fn gather(&self, key: &ObjectKey) -> World {
        let Some(service) = self.services.get_key(key) else { return World::default() };
        let pods: Vec<Arc<Pod>> =
            self.pods.in_namespace(&key.namespace).into_iter().filter(|p| selects(&service, p)).collect();
        let nodes = pods
            .iter()
            .filter_map(|p| self.nodes.get("", &p.spec.node_name))
            .map(|n| (n.metadata.name.clone(), n))
            .collect();
        let slices = self.slices.by_index(BY_SERVICE, &key.to_string());
        let slices =
            slices.into_iter().filter(|s| s.metadata.labels.get(MANAGED_BY).is_some_and(|m| m == MANAGER)).collect();
        World { service: Some(service), pods, nodes, slices, endpoints: self.endpoints.get_key(key) }
    }
}

/// Keeps EndpointSlices.
pub struct Slices(pub Sources);

impl Controller for Slices {
    const NAME: &'static str = "endpointslice-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        self.0.routes(routes);
        routes.on(&self.0.slices, |change| {
            let keys = change
                .both()
                .filter_map(|s| Some(ObjectKey::new(&s.metadata.namespace, s.metadata.labels.get(SERVICE_NAME)?)));
            keys.collect()
        });
    }

    fn gather(&self, key: &ObjectKey) -> World {
        self.0.gather(key)
    }

    fn plan(&self, _key: &ObjectKey, world: &World, _now: WallTime) -> Plan {
        slices(world)
    }
}

/// Keeps Endpoints.
pub struct OldEndpoints(pub Sources);

impl Controller for OldEndpoints {
    const NAME: &'static str = "endpoints-controller";
    const ACCOUNT: &'static str = "endpoint-controller";
    type Key = ObjectKey;
    type World = World;

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        self.0.routes(routes);
        routes.on(&self.0.endpoints, |change| vec![change.key()]);
    }

    fn gather(&self, key: &ObjectKey) -> World {
        self.0.gather(key)
    }

    fn plan(&self, _key: &ObjectKey, world: &World, _now: WallTime) -> Plan {
        endpoints(world)
    }
}
