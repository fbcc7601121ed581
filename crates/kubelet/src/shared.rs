//! What all parts of one kubelet share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::{Client, Informer, Meta, Recorder, Regarding, View, resources};
use platform::Env;
use serde::Deserialize;
use tokio::sync::mpsc;
use wire::Cri;

use crate::config::KubeletConfig;
use crate::core::env::{Facts, ServiceFacts};
use crate::core::files::NodeDns;
use crate::core::pod::{Kind, Pod};
use crate::core::status::Host;
use crate::objects::Objects;
use crate::volumes::sources::Tokens;
use crate::worker::Command;

/// A Service, for variables.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    pub metadata: Meta,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    pub ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    pub name: String,
    pub port: u16,
    pub protocol: String,
}

impl View for Service {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// A pod that has a worker.
pub struct Worker {
    pub pod: Arc<Pod>,
    pub commands: mpsc::UnboundedSender<Command>,
    /// The newest observation's addresses and container ids, for the kubelet's API.
    pub seen: Arc<Mutex<crate::core::machine::Observation>>,
}

/// One kubelet.
pub struct Shared {
    pub env: Env,
    pub config: KubeletConfig,
    pub client: Client,
    pub cri: Arc<dyn Cri>,
    pub recorder: Recorder,
    pub objects: Objects,
    pub tokens: Tokens,
    pub services: Informer<Service>,
    pub node_dns: NodeDns,
    /// Memory of the node in bytes, and resources by name as [`Facts`] has them.
    pub node_memory: i64,
    pub allocatable: BTreeMap<String, i64>,
    /// `corten` in `corten://id`.
    pub scheme: String,
    pub workers: Mutex<BTreeMap<String, Worker>>,
}

impl Shared {
    pub fn workers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a pod's worker a command; false if there is no such pod.
    pub fn send(&self, uid: &str, command: Command) -> bool {
        self.workers().get(uid).is_some_and(|w| w.commands.send(command).is_ok())
    }

    /// Where pods run.
    pub fn host(&self) -> Host {
        Host { ips: self.config.node_ips.clone(), runtime: self.scheme.clone() }
    }

    /// What a pod's fields are now.
    pub fn facts(&self, pod: &Pod) -> Facts {
        let seen = self.workers().get(&pod.metadata.uid).map(|w| w.seen.clone());
        let seen = seen.map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default();
        let pod_ips = match pod.spec.host_network {
            true => self.config.node_ips.clone(),
            false => seen.sandboxes.first().map(|s| s.ips.clone()).unwrap_or_default(),
        };
        Facts {
            host_ips: self.config.node_ips.clone(),
            pod_ips,
            node_name: self.config.node_name.clone(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// The services that a pod gets variables of: those of its namespace, and the API server's.
    pub fn services_for(&self, namespace: &str, links: bool) -> Vec<ServiceFacts> {
        let mut found: BTreeMap<String, Arc<Service>> = BTreeMap::new();
        if let Some(api) = self.services.get("default", "kubernetes") {
            found.insert("kubernetes".into(), api);
        }
        if links {
            found.extend(self.services.in_namespace(namespace).into_iter().map(|s| (s.metadata.name.clone(), s)));
        }
        let facts = |s: Arc<Service>| ServiceFacts {
            name: s.metadata.name.clone(),
            cluster_ip: s.spec.cluster_ip.clone(),
            ports: s.spec.ports.iter().map(|p| (p.name.clone(), p.port, p.protocol.clone())).collect(),
        };
        found.into_values().map(facts).collect()
    }

    /// Tells an event about a pod, or about one of its containers.
    pub fn tell(&self, pod: &Pod, container: &str, warning: bool, reason: &str, message: impl Into<String>) {
        let mut regarding = Regarding::of(&resources::PODS, &pod.metadata);
        if let Some((kind, c)) = pod.all_containers().find(|(_, c)| c.name == container) {
            let list = match kind {
                Kind::Init | Kind::Sidecar => "initContainers",
                Kind::Main => "containers",
                Kind::Ephemeral => "ephemeralContainers",
            };
            regarding.field_path = format!("spec.{list}{{{}}}", c.name);
        }
        match warning {
            true => self.recorder.warning(regarding, reason, message),
            false => self.recorder.normal(regarding, reason, message),
        }
    }
}
