//! The Node object and its lease: registration, conditions, heartbeats.
//!
//! The lease is renewed every heartbeat; the status is told when it has changed, and else every few minutes. Until the
//! runtime and its network are ready the node looks every half second, so that it gets ready without delay.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use client::{At, Error, PatchKind, resources};
use platform::time::{Duration, sleep};
use serde_json::{Value, json};
use wire::cri::{ListImagesRequest, StatusRequest};

use crate::config::KubeletConfig;
use crate::core::pod::{quantity_milli, quantity_value};
use crate::core::status::time;
use crate::shared::Shared;

/// Version that the node reports: the API's.
pub const VERSION: &str = "v1.36.0";
static NODES: client::Resource = resources::NODES;
const LEASES: &str = "kube-node-lease";
const MAX_IMAGES: usize = 50;

/// What the machine has: thousandths of cores, and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    pub milli_cpu: i64,
    pub memory: i64,
    pub storage: i64,
}

/// Reads the machine's size.
pub fn machine(config: &KubeletConfig) -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<i64>().ok());
    let storage = crate::gc::disk(&config.root_dir).map_or(0, |(total, _)| total as i64);
    Machine { milli_cpu: cpus * 1000, memory: total.unwrap_or(0) * 1024, storage }
}

/// What is left for pods, as [`crate::core::env::Facts`] wants it.
pub fn allocatable(config: &KubeletConfig, m: &Machine) -> BTreeMap<String, i64> {
    let less = |name: &str, total: i64, read: fn(&Value) -> i64| {
        total - config.system_reserved.get(name).map_or(0, |q| read(&Value::from(q.as_str())))
    };
    [
        ("cpu".to_string(), less("cpu", m.milli_cpu, quantity_milli)),
        ("memory".to_string(), less("memory", m.memory, quantity_value)),
        ("ephemeral-storage".to_string(), less("ephemeral-storage", m.storage, quantity_value)),
    ]
    .into()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(config: &KubeletConfig) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/arch"), architecture().into());
        labels.insert(format!("{prefix}/os"), "linux".into());
    }
    labels.insert("kubernetes.io/hostname".into(), config.hostname.clone());
    labels
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn node_info(runtime: &str) -> Value {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty =
        release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"').to_string();
    let machine_id = read_line("/etc/machine-id");
    let uuid = read_line("/sys/class/dmi/id/product_uuid");
    json!({
        "machineID": machine_id, "systemUUID": if uuid.is_empty() { machine_id.clone() } else { uuid },
        "bootID": read_line("/proc/sys/kernel/random/boot_id"), "kernelVersion": read_line("/proc/sys/kernel/osrelease"),
        "osImage": pretty, "containerRuntimeVersion": runtime, "kubeletVersion": VERSION, "kubeProxyVersion": "",
        "operatingSystem": "linux", "architecture": architecture(),
    })
}

/// Keeps the Node.
pub struct NodeKeeper {
    shared: Arc<Shared>,
    machine: Machine,
    runtime: String,
    told: Value,
    told_at: Option<platform::Instant>,
    uid: String,
    lease_known: bool,
    begun: platform::Instant,
}

impl NodeKeeper {
    pub fn new(shared: Arc<Shared>, machine: Machine, runtime: String) -> NodeKeeper {
        let begun = shared.env.now();
        NodeKeeper {
            begun,
            shared,
            machine,
            runtime,
            told: Value::Null,
            told_at: None,
            uid: String::new(),
            lease_known: false,
        }
    }

    /// Registers, then beats until the process ends.
    pub async fn run(mut self) {
        let mut rng = self.shared.env.rng("node");
        let limits = self.shared.env.limits().kubelet;
        let mut pause = limits.register_first;
        while self.shared.config.register_node {
            match self.register().await {
                Ok(()) => break,
                Err(e) => {
                    tracing::warn!(node = self.shared.config.node_name, error = %e, "cannot register the node yet")
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(limits.register_most);
        }
        let mut next_lease = self.shared.env.now();
        loop {
            let ready = match self.report().await {
                Ok(ready) => ready,
                Err(e) => {
                    if e.is_not_found() && self.shared.config.register_node {
                        let _ = self.register().await; // somebody deleted the node; tried again with the next beat
                    }
                    tracing::warn!(error = %e, "cannot tell the node's status");
                    false
                }
            };
            if next_lease <= self.shared.env.now() {
                match self.renew().await {
                    Ok(()) => {
                        next_lease = self.shared.env.now() + self.shared.config.heartbeat - Duration::from_millis(1)
                    }
                    Err(e) => tracing::warn!(error = %e, "cannot renew the node's lease"),
                }
            }
            crate::gc::rotate_logs(&self.shared).await;
            let beat = if ready { self.shared.config.heartbeat } else { limits.not_ready };
            sleep(beat + beat.mul_f64(rng.below(40) as f64 / 1000.0)).await;
        }
    }

    async fn register(&mut self) -> Result<(), Error> {
        let config = &self.shared.config;
        let mut node = json!({"metadata": {"name": config.node_name, "labels": labels(config)}, "spec": {}});
        node["spec"]["taints"] = config.taints.clone().into();
        node["status"] = self.status(false, "the node is starting".into(), Vec::new());
        match self.shared.client.create(&resources::NODES, "", node).await {
            Ok(body) => self.learn(&body),
            Err(e) if e.is_already_exists() => {
                let patch = json!({"metadata": {"labels": labels(config)}});
                let body = self.shared.client.patch(self.at(), None, &PatchKind::Strategic, &patch).await?;
                self.learn(&body);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn learn(&mut self, body: &[u8]) {
        let node: Value = serde_json::from_slice(body).unwrap_or_default();
        self.uid = node["metadata"]["uid"].as_str().unwrap_or_default().to_string();
        // Conditions keep their times over a restart of the kubelet.
        self.told = json!({"conditions": node["status"]["conditions"]});
        self.told_at = None;
    }

    fn at(&self) -> At<'_> {
        At { resource: &NODES, namespace: "", name: &self.shared.config.node_name }
    }

    /// Looks at the runtime and tells the API what has changed. True when the node is ready.
    async fn report(&mut self) -> Result<bool, Error> {
        let problem = match self.shared.cri.status(StatusRequest::default()).await {
            Err(e) => Some(format!("[container runtime is down: {}]", e.message())),
            Ok(answer) => {
                let conditions = answer.status.unwrap_or_default().conditions;
                let bad = conditions.iter().find(|c| !c.status);
                bad.map(|c| {
                    format!(
                        "container runtime network not ready: {}=false reason:{} message:{}",
                        c.r#type, c.reason, c.message
                    )
                })
            }
        };
        let ready = problem.is_none();
        let status = self.status(
            ready,
            problem.unwrap_or_else(|| "kubelet is posting ready status".into()),
            self.images().await,
        );
        // A node that was ready is not told otherwise while its parts come up again after a restart.
        if !ready
            && ready_of(&self.told) == Some(true)
            && self.begun.elapsed() < self.shared.env.limits().kubelet.starting
        {
            return Ok(false);
        }
        let old = self.told_at.map(|at| at.elapsed());
        let unchanged = without_times(&self.told) == without_times(&status);
        if unchanged && old.is_some_and(|age| age < self.shared.config.status_report) {
            return Ok(ready);
        }
        let patch = json!({"status": status});
        self.shared.client.patch(self.at(), Some("status"), &PatchKind::Strategic, &patch).await?;
        if !unchanged && ready != (ready_of(&self.told) == Some(true)) {
            tracing::info!(node = self.shared.config.node_name, ready, "node status changed");
        }
        (self.told, self.told_at) = (status, Some(self.shared.env.now()));
        Ok(ready)
    }

    async fn images(&self) -> Vec<Value> {
        let mut images =
            self.shared.cri.list_images(ListImagesRequest::default()).await.map(|a| a.images).unwrap_or_default();
        images.sort_by_key(|i| (std::cmp::Reverse(i.size), i.id.clone()));
        let named =
            images.into_iter().filter(|i| !i.repo_tags.is_empty() || !i.repo_digests.is_empty()).take(MAX_IMAGES);
        named
            .map(|i| (i.size, [i.repo_digests, i.repo_tags].concat()))
            .map(|(size, names)| json!({"names": names, "sizeBytes": size}))
            .collect()
    }

    fn status(&self, ready: bool, message: String, images: Vec<Value>) -> Value {
        let config = &self.shared.config;
        let m = &self.machine;
        let cpu = |milli: i64| if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") };
        let resources = |cpu_milli: i64, memory: i64, storage: i64| {
            json!({"cpu": cpu(cpu_milli), "memory": format!("{}Ki", memory / 1024), "ephemeral-storage": storage.to_string(),
                   "pods": config.max_pods.to_string(), "hugepages-1Gi": "0", "hugepages-2Mi": "0"})
        };
        let free = &self.shared.allocatable;
        let left = |name: &str| free.get(name).copied().unwrap_or(0);
        let mut addresses: Vec<Value> =
            config.node_ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        addresses.push(json!({"type": "Hostname", "address": config.hostname}));
        let calm = |kind: &str, reason: &str, text: &str| self.condition(kind, false, reason, text);
        let reason = if ready { "KubeletReady" } else { "KubeletNotReady" };
        let mut status = json!({
            "capacity": resources(m.milli_cpu, m.memory, m.storage),
            "allocatable": resources(left("cpu"), left("memory"), left("ephemeral-storage")),
            "conditions": [
                calm("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                calm("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                calm("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                self.condition("Ready", ready, reason, &message),
            ],
            "addresses": addresses,
            "nodeInfo": node_info(&self.runtime),
            "images": images,
        });
        if let Some(server) = &config.server {
            status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": server.address.port()}});
        }
        status
    }

    fn condition(&self, kind: &str, on: bool, reason: &str, message: &str) -> Value {
        let now = time(self.shared.env.wall());
        let value = if on { "True" } else { "False" };
        let old = self.told["conditions"]
            .as_array()
            .and_then(|l| l.iter().find(|c| c["type"] == kind && c["status"] == value));
        let since = old.map_or_else(|| now.clone(), |c| c["lastTransitionTime"].clone());
        json!({"type": kind, "status": value, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": since})
    }

    async fn renew(&mut self) -> Result<(), Error> {
        let config = &self.shared.config;
        let renew = api::time::format_micros(self.shared.env.wall().unix_nanos());
        let spec = json!({"holderIdentity": config.node_name, "leaseDurationSeconds": config.lease_duration.as_secs(), "renewTime": renew});
        let at = At { resource: &resources::LEASES, namespace: LEASES, name: &config.node_name };
        if self.lease_known {
            let patch = json!({"spec": spec});
            match self.shared.client.patch(at, None, &PatchKind::Merge, &patch).await {
                Err(e) if e.is_not_found() => self.lease_known = false,
                other => return other.map(drop),
            }
        }
        let mut lease = json!({"metadata": {"name": config.node_name, "namespace": LEASES}, "spec": spec});
        if !self.uid.is_empty() {
            lease["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Node", "name": config.node_name, "uid": self.uid}]);
        }
        match self.shared.client.create(&resources::LEASES, LEASES, lease).await {
            Ok(_) => self.lease_known = true,
            Err(e) if e.is_already_exists() => {
                self.lease_known = true;
                self.shared.client.patch(at, None, &PatchKind::Merge, &json!({"spec": spec})).await?;
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

fn ready_of(status: &Value) -> Option<bool> {
    let ready = status["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")?;
    Some(ready["status"] == "True")
}

fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for c in status["conditions"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        c.remove("lastHeartbeatTime");
        c.remove("lastTransitionTime");
    }
    status
}
