//! Shells of the node controllers.

use crate::core::nodes::{Ranges, World, collect, evict, lifecycle, ranges};
use crate::views::{Lease, Node, Pod};
use client::{Controller, Informer, ObjectKey, Plan, Routes};
use platform::{Env, WallTime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Index of pods by their node.
pub const BY_NODE: &str = "node";

type Times = Arc<Mutex<BTreeMap<String, WallTime>>>;

fn times(times: &Times) -> MutexGuard<'_, BTreeMap<String, WallTime>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notices silent nodes and taints nodes by their conditions.
pub struct Lifecycle {
    env: Env,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    heard: Times,
}

impl Lifecycle {
    /// `leases` are those of `kube-node-lease`; `pods` is indexed by [`BY_NODE`].
    pub fn new(env: &Env, nodes: &Informer<Node>, pods: &Informer<Pod>, leases: &Informer<Lease>) -> Lifecycle {
        let heard: Times = Arc::default();
        let (note, clock) = (heard.clone(), env.clone());
        leases.on_change(move |change| {
            if change.new.is_some() {
                times(&note).insert(change.key().name, clock.wall());
            }
        });
        let (note, clock) = (heard.clone(), env.clone());
        nodes.on_change(move |change| {
            let ready = |n: &Arc<Node>| crate::core::pods::node_ready(n);
            match &change.new {
                // A node that says again that it is ready was heard of.
                Some(node) if change.old.as_ref().is_none_or(|old| !ready(old) && ready(node)) => {
                    times(&note).insert(node.metadata.name.clone(), clock.wall());
                }
                Some(_) => {}
                None => drop(times(&note).remove(&change.key().name)),
            }
        });
        Lifecycle { env: env.clone(), nodes: nodes.clone(), pods: pods.clone(), heard }
    }
}

impl Controller for Lifecycle {
    const NAME: &'static str = "node-lifecycle-controller";
    const ACCOUNT: &'static str = "node-controller";
    type Key = String;
    type World = World;

    fn routes(&self, routes: &mut Routes<String>) {
        routes.on(&self.nodes, |change| vec![change.key().name]);
        routes.reads(&self.pods);
    }

    fn gather(&self, key: &String) -> World {
        let node = self.nodes.get("", key);
        let heard = *times(&self.heard).entry(key.clone()).or_insert_with(|| self.env.wall());
        World { node, heard, pods: self.pods.by_index(BY_NODE, key) }
    }

    fn plan(&self, _key: &String, world: &World, now: WallTime) -> Plan {
        lifecycle(world, now)
    }
}

/// Evicts pods that do not tolerate their node's taints.
pub struct TaintEviction {
    /// Nodes.
    pub nodes: Informer<Node>,
    /// Pods, indexed by [`BY_NODE`].
    pub pods: Informer<Pod>,
}

impl Controller for TaintEviction {
    const NAME: &'static str = "taint-eviction-controller";
    const ACCOUNT: &'static str = "node-controller";
    type Key = ObjectKey;
    type World = (Option<Arc<Pod>>, Option<Arc<Node>>);

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        let nodes = self.nodes.clone();
        let tainted = |node: &Node| node.spec.taints.iter().any(|t| t.effect == "NoExecute");
        routes.on(&self.pods, move |change| {
            let on = nodes.get("", &change.object().spec.node_name);
            if change.new.is_some() && on.is_some_and(|n| tainted(&n)) { vec![change.key()] } else { Vec::new() }
        });
        let pods = self.pods.clone();
        routes.on(&self.nodes, move |change| match &change.new {
            Some(node) if tainted(node) => {
                pods.by_index(BY_NODE, &node.metadata.name).iter().map(|p| p.metadata.key()).collect()
            }
            _ => Vec::new(),
        });
    }

    fn gather(&self, key: &ObjectKey) -> Self::World {
        let pod = self.pods.get_key(key);
        let node = pod.as_ref().and_then(|p| self.nodes.get("", &p.spec.node_name));
        (pod, node)
    }

    fn plan(&self, _key: &ObjectKey, (pod, node): &Self::World, now: WallTime) -> Plan {
        evict(pod.as_deref(), node.as_deref(), now)
    }
}

/// Removes pods of nodes that are gone.
pub struct PodCollector {
    env: Env,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    missing: Times,
}

impl PodCollector {
    /// `pods` is indexed by [`BY_NODE`].
    pub fn new(env: &Env, nodes: &Informer<Node>, pods: &Informer<Pod>) -> PodCollector {
        PodCollector { env: env.clone(), nodes: nodes.clone(), pods: pods.clone(), missing: Arc::default() }
    }
}

impl Controller for PodCollector {
    const NAME: &'static str = "pod-garbage-collector-controller";
    const ACCOUNT: &'static str = "pod-garbage-collector";
    type Key = ObjectKey;
    type World = (Option<Arc<Pod>>, Option<WallTime>);

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        let nodes = self.nodes.clone();
        routes.on(&self.pods, move |change| match &change.new {
            Some(pod) if pod.spec.node_name.is_empty() && pod.metadata.is_deleting() => vec![change.key()],
            Some(pod) if !pod.spec.node_name.is_empty() && nodes.get("", &pod.spec.node_name).is_none() => {
                vec![change.key()]
            }
            _ => Vec::new(),
        });
        let (pods, missing) = (self.pods.clone(), self.missing.clone());
        routes.on(&self.nodes, move |change| {
            let name = change.key().name;
            if change.new.is_some() {
                times(&missing).remove(&name);
                return Vec::new();
            }
            pods.by_index(BY_NODE, &name).iter().map(|p| p.metadata.key()).collect()
        });
    }

    fn gather(&self, key: &ObjectKey) -> Self::World {
        let Some(pod) = self.pods.get_key(key) else { return (None, None) };
        let node = &pod.spec.node_name;
        let missing = (!node.is_empty() && self.nodes.get("", node).is_none())
            .then(|| *times(&self.missing).entry(node.clone()).or_insert_with(|| self.env.wall()));
        (Some(pod), missing)
    }

    fn plan(&self, _key: &ObjectKey, (pod, missing): &Self::World, now: WallTime) -> Plan {
        collect(pod.as_deref(), *missing, now)
    }
}

/// Gives nodes their pod address ranges. One key for all nodes, so that no range is given twice.
pub struct NodeRanges {
    /// Nodes.
    pub nodes: Informer<Node>,
    /// What to cut them from.
    pub ranges: Ranges,
}

impl Controller for NodeRanges {
    const NAME: &'static str = "node-ipam-controller";
    const ACCOUNT: &'static str = "node-controller";
    type Key = ();
    type World = Vec<Arc<Node>>;

    fn routes(&self, routes: &mut Routes<()>) {
        routes.on(&self.nodes, |change| match &change.new {
            Some(node) if node.spec.pod_cidr.is_empty() => vec![()],
            _ => Vec::new(),
        });
    }

    fn gather(&self, _key: &()) -> Vec<Arc<Node>> {
        self.nodes.all()
    }

    fn plan(&self, _key: &(), nodes: &Vec<Arc<Node>>, _now: WallTime) -> Plan {
        ranges(nodes, self.ranges)
    }
}
