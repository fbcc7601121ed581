//! Builders: `pod("a").cpu("1").on("n1")`, `node("n1").cpu("4")`.

use super::snapshot::{NodeInfo, Pod, Snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct PodBuilder(Value);

pub fn pod(name: &str) -> PodBuilder {
    PodBuilder(
        json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"containers": [{"name": "c"}], "schedulerName": "default-scheduler"}}),
    )
}

impl PodBuilder {
    pub fn cpu(mut self, cpu: &str) -> Self {
        self.0["spec"]["containers"][0]["resources"]["requests"]["cpu"] = cpu.into();
        self
    }
    pub fn memory(mut self, memory: &str) -> Self {
        self.0["spec"]["containers"][0]["resources"]["requests"]["memory"] = memory.into();
        self
    }
    pub fn port(mut self, port: i32) -> Self {
        self.0["spec"]["containers"][0]["ports"] = json!([{"hostPort": port}]);
        self
    }
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }
    pub fn priority(mut self, priority: i64) -> Self {
        self.0["spec"]["priority"] = priority.into();
        self
    }
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }
    pub fn on(self, node: &str) -> Self {
        self.spec("nodeName", node.into())
    }
    pub fn json(self) -> Value {
        self.0
    }
    pub fn build(self) -> Arc<Pod> {
        Pod::new(&Arc::new(serde_json::from_value(self.0).expect("a pod")))
    }
}

pub struct NodeBuilder(Value);

pub fn node(name: &str) -> NodeBuilder {
    NodeBuilder(json!({
        "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    }))
}

impl NodeBuilder {
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }
    pub fn cpu(mut self, cpu: &str) -> Self {
        self.0["status"]["allocatable"]["cpu"] = cpu.into();
        self
    }
    pub fn taint(mut self, key: &str, effect: &str) -> Self {
        self.0["spec"]["taints"] = json!([{"key": key, "effect": effect}]);
        self
    }
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }
    pub fn json(self) -> Value {
        self.0
    }
}

pub fn cluster(nodes: Vec<NodeBuilder>, pods: Vec<PodBuilder>) -> Snapshot {
    let mut out = Snapshot::default();
    for node in nodes {
        let info = NodeInfo::new(&Arc::new(serde_json::from_value(node.0).expect("a node")));
        out.nodes.insert(info.name().to_string(), Arc::new(info));
    }
    for pod in pods {
        let pod = pod.build();
        let info = out.nodes.get_mut(&pod.view.spec.node_name).expect("its node");
        Arc::make_mut(info).add(&pod);
    }
    out
}
