//! Nodes with the pods on them, at one moment. Snapshots share what did not change.

use super::resources::{Amounts, requests};
use crate::views::{BudgetView, ClaimView, NodeView, PodView, Port};
use client::{Meta, ObjectKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod with what is computed from it once.
#[derive(Debug)]
pub struct Pod {
    /// The view.
    pub view: Arc<PodView>,
    /// What it asks for.
    pub requests: Amounts,
    /// What it is counted as.
    pub counted: Amounts,
    /// Ports of the node that it needs.
    pub ports: Vec<Port>,
}

impl Pod {
    /// From a view.
    pub fn new(view: &Arc<PodView>) -> Arc<Pod> {
        let (requests, counted) = requests(&view.spec);
        let containers = view.spec.containers.iter().chain(&view.spec.init_containers);
        let ports = containers.flat_map(|c| &c.ports).filter(|p| p.host_port > 0).cloned().collect();
        Arc::new(Pod { view: view.clone(), requests, counted, ports })
    }

    /// Its metadata.
    pub fn meta(&self) -> &Meta {
        &self.view.metadata
    }

    /// Its priority.
    pub fn priority(&self) -> i64 {
        self.view.spec.priority.unwrap_or(0)
    }
}

/// A node with its pods.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// The node.
    pub node: Arc<NodeView>,
    /// What it has to give.
    pub allocatable: Amounts,
    /// Its pods by uid.
    pub pods: BTreeMap<String, Arc<Pod>>,
    /// What they ask for together.
    pub requested: Amounts,
    /// What they are counted as together.
    pub counted: Amounts,
}

impl NodeInfo {
    /// A node without pods.
    pub fn new(node: &Arc<NodeView>) -> NodeInfo {
        let allocatable = Amounts::parse(&node.status.allocatable);
        NodeInfo {
            node: node.clone(),
            allocatable,
            pods: BTreeMap::new(),
            requested: Amounts::default(),
            counted: Amounts::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.node.metadata.name
    }

    /// A label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.get(key).map(String::as_str)
    }

    /// Puts a pod on it (again).
    pub fn add(&mut self, pod: &Arc<Pod>) {
        self.remove(&pod.meta().uid);
        self.requested.add(&pod.requests);
        self.counted.add(&pod.counted);
        self.pods.insert(pod.meta().uid.clone(), pod.clone());
    }

    /// Takes a pod off.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let pod = self.pods.remove(uid)?;
        self.requested.sub(&pod.requests);
        self.counted.sub(&pod.counted);
        Some(pod)
    }
}

/// Everything a decision looks at.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Claims that are there.
    pub claims: BTreeMap<ObjectKey, Arc<ClaimView>>,
    /// Disruption budgets.
    pub budgets: BTreeMap<ObjectKey, Arc<BudgetView>>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Snapshot {
    /// All pods with their nodes.
    pub fn pods(&self) -> impl Iterator<Item = (&Arc<NodeInfo>, &Arc<Pod>)> {
        self.nodes.values().flat_map(|node| node.pods.values().map(move |pod| (node, pod)))
    }

    /// The same with one node changed.
    #[must_use]
    pub fn with(&self, node: NodeInfo) -> Snapshot {
        let mut changed = self.clone();
        changed.nodes.insert(node.name().to_string(), Arc::new(node));
        changed
    }
}
