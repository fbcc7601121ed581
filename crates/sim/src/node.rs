//! A hollow node: a machine whose runtime outlives its agent, and the agent, which does for pods what a kubelet does, with
//! containers that only count. It reads its own pods, starts and ends them, tells their status, renews its lease.

use crate::checks::Checks;
use crate::runtime::SimCri;
use client::{
    At, BoxFuture, Client, Controller, DeleteOptions, Error, Informer, Meta, ObjectKey, Op, PatchKind, Plan, Recorder,
    Routes, Selection, Target, View, resources,
};
use platform::time::{Duration, sleep};
use platform::{Env, Rng, WallTime};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pods that a hollow node has room for: few, so that room matters.
const ROOM: u64 = 6;
const LEASE_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodView {
    pub metadata: Meta,
    pub spec: SpecView,
    pub status: StatusView,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpecView {
    pub node_name: String,
    pub containers: Vec<ContainerView>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerView {
    pub image: String,
}

impl PodView {
    /// It ends by itself.
    fn is_job(&self) -> bool {
        self.spec.containers.iter().any(|c| c.image == "job")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusView {
    pub phase: String,
    pub conditions: Vec<Value>,
}

impl View for PodView {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// The part of a machine that a crash of its agent does not touch: running pods by uid, with their name.
pub struct Machine {
    /// The node's name.
    pub name: String,
    /// Runs the real kubelet over this runtime, with its files here; `None`: it is hollow.
    pub real: Option<(Arc<SimCri>, PathBuf)>,
    number: u64,
    checks: Arc<Checks>,
    running: Mutex<BTreeMap<String, (ObjectKey, u64)>>,
    /// Pods that have ended by themselves.
    done: Mutex<BTreeSet<String>>,
    started: Mutex<u64>,
}

impl Machine {
    /// A machine that runs nothing.
    pub fn new(number: u64, seed: u64, root: Option<PathBuf>, checks: &Arc<Checks>) -> Arc<Machine> {
        let name = format!("n{number}");
        let real = root.map(|root| (SimCri::new(&name, number, seed, checks), root.join(&name)));
        Arc::new(Machine {
            name,
            real,
            number,
            checks: checks.clone(),
            running: Mutex::default(),
            done: Mutex::default(),
            started: Mutex::default(),
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, (ObjectKey, u64)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, meta: &Meta) {
        let stateful = meta.controller().is_some_and(|o| o.kind == "StatefulSet");
        let identity = stateful.then(|| meta.key().to_string());
        self.checks.starts(&self.name, &meta.uid, identity.as_deref());
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        *started += 1;
        self.running().insert(meta.uid.clone(), (meta.key(), *started));
    }

    fn done(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, uid: &str) {
        if self.running().remove(uid).is_some() {
            self.checks.stopped(uid);
        }
    }

    /// The power goes: nothing runs any more.
    pub fn power_off(&self) {
        let uids: Vec<String> = self.running().keys().cloned().collect();
        uids.iter().for_each(|uid| self.stop(uid));
        if let Some((runtime, _)) = &self.real {
            runtime.power_off();
        }
    }

    fn address(&self, uid: &str) -> String {
        let n = self.running().get(uid).map_or(0, |(_, n)| *n);
        format!("10.244.{}.{}", self.number, n % 250 + 1)
    }

    /// Uids of running pods.
    pub fn uids(&self) -> Vec<String> {
        match &self.real {
            Some((runtime, _)) => runtime.uids(),
            None => self.running().keys().cloned().collect(),
        }
    }
}

/// Starts the real kubelet of a machine.
fn run_kubelet(env: &Env, client: &Client, machine: &Arc<Machine>, runtime: &Arc<SimCri>, root: &std::path::Path) {
    let address = format!("192.0.2.{}", machine.number + 1);
    let mut config = kubelet::KubeletConfig::new(&machine.name, root.join("kubelet"), vec![address]);
    config.pod_logs_dir = root.join("logs");
    config.resolv_conf = root.join("resolv.conf");
    let (inner, client, runtime) = (env.clone(), client.clone(), runtime.clone());
    let work = async move {
        let mut handle = None;
        while handle.is_none() {
            match kubelet::run(&inner, config.clone(), client.clone(), runtime.clone()).await {
                Ok(running) => handle = Some(running),
                Err(error) => {
                    tracing::warn!(error, "the kubelet did not start");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    drop(env.spawn("kubelet", work)); // it ends with the process
}

/// Starts the agent of a machine as tasks of `env`.
pub fn run(env: &Env, client: &Client, machine: &Arc<Machine>) {
    if let Some((runtime, root)) = &machine.real {
        return run_kubelet(env, client, machine, runtime, root);
    }
    let selection =
        Selection { fields: Some(format!("spec.nodeName={}", machine.name)), ..Selection::all(&resources::PODS) };
    let pods: Informer<PodView> = Informer::start(env, client, selection);
    let recorder = Recorder::start(env, client, "kubelet", &machine.name);
    let rng = Mutex::new(env.rng("agent"));
    let agent = Agent { machine: machine.clone(), pods: pods.clone(), rng };
    client::run(env, client, &recorder, agent, 10);
    let (env, client, machine) = (env.clone(), client.clone(), machine.clone());
    drop(env.clone().spawn("heartbeat", async move { heartbeat(&env, &client, &machine).await })); // ends with the process
}

async fn heartbeat(env: &Env, client: &Client, machine: &Machine) {
    loop {
        if let Err(error) = beat(env, client, machine).await {
            tracing::debug!(node = machine.name, %error, "heartbeat");
            sleep(Duration::from_secs(1)).await;
            continue;
        }
        sleep(LEASE_EVERY).await;
    }
}

/// Makes sure that the node is registered and ready, and renews its lease.
async fn beat(env: &Env, client: &Client, machine: &Machine) -> Result<(), Error> {
    let at = At { resource: &resources::NODES, namespace: "", name: &machine.name };
    let node: Value = match client.get(at).await {
        Err(error) if error.is_not_found() => {
            let labels = json!({"kubernetes.io/hostname": machine.name});
            let made = client
                .create(&resources::NODES, "", json!({"metadata": {"name": machine.name, "labels": labels}}))
                .await?;
            client::decode(&made)?
        }
        other => other?,
    };
    let ready = node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    let stamp = api::time::format_seconds(env.wall().unix_seconds());
    if !ready {
        let amounts = json!({"cpu": "8", "memory": "16Gi", "pods": ROOM.to_string()});
        let condition = |kind: &str, status: &str| {
            json!({
                "type": kind, "status": status, "reason": "Simulated", "message": "", "lastHeartbeatTime": stamp, "lastTransitionTime": stamp,
            })
        };
        let conditions = json!([
            condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"),
            condition("PIDPressure", "False"),
            condition("Ready", "True")
        ]);
        let status = json!({"status": {"capacity": amounts, "allocatable": amounts, "conditions": conditions}});
        client.patch(at, Some("status"), &PatchKind::Merge, &status).await?;
    }
    let now = api::time::format_micros(env.wall().unix_nanos());
    let lease = At { resource: &resources::LEASES, namespace: "kube-node-lease", name: &machine.name };
    match client.patch(lease, None, &PatchKind::Merge, &json!({"spec": {"renewTime": now}})).await {
        Err(error) if error.is_not_found() => {
            let spec = json!({"holderIdentity": machine.name, "leaseDurationSeconds": 40, "renewTime": now});
            client
                .create(
                    &resources::LEASES,
                    "kube-node-lease",
                    json!({"metadata": {"name": machine.name}, "spec": spec}),
                )
                .await
                .map(drop)
        }
        other => other.map(drop),
    }
}

struct Agent {
    machine: Arc<Machine>,
    pods: Informer<PodView>,
    rng: Mutex<Rng>,
}

impl Agent {
    fn pause(&self, most_ms: u64) -> Duration {
        Duration::from_millis(20 + self.rng.lock().unwrap_or_else(PoisonError::into_inner).below(most_ms))
    }

    /// Pods of this name that run and should not: their object is gone, or another one has their name.
    fn leftovers(&self, key: &ObjectKey, wanted: Option<&str>) -> Vec<String> {
        let running = self.machine.running();
        running
            .iter()
            .filter(|(uid, (k, _))| k == key && Some(uid.as_str()) != wanted)
            .map(|(uid, _)| uid.clone())
            .collect()
    }
}

impl Controller for Agent {
    const NAME: &'static str = "kubelet";
    type Key = ObjectKey;
    /// The pod, and its phase and address if it was started.
    type World = (Option<Arc<PodView>>, Option<(&'static str, String)>);

    fn routes(&self, routes: &mut Routes<ObjectKey>) {
        routes.on(&self.pods, |change| vec![change.key()]);
        // After a restart of the agent: what runs is looked at, whether its object is still there or not.
        let there: Vec<ObjectKey> = self.machine.running().values().map(|(key, _)| key.clone()).collect();
        there.into_iter().for_each(|key| routes.once(key));
    }

    fn gather(&self, key: &ObjectKey) -> Self::World {
        (self.pods.get_key(key), None)
    }

    fn refine<'a>(
        &'a self,
        _client: &'a Client,
        key: &'a ObjectKey,
        (pod, _): Self::World,
    ) -> BoxFuture<'a, Result<Self::World, Error>> {
        Box::pin(async move {
            let uid = pod.as_ref().map(|p| p.metadata.uid.as_str());
            for uid in self.leftovers(key, uid) {
                sleep(self.pause(300)).await;
                self.machine.stop(&uid);
            }
            let Some(pod) = pod else { return Ok((None, None)) };
            let uid = &pod.metadata.uid;
            let runs = self.machine.running().contains_key(uid);
            let finished = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
            if pod.metadata.is_deleting() || finished {
                if runs {
                    sleep(self.pause(2000)).await;
                    self.machine.stop(uid);
                }
                return Ok((Some(pod), None));
            }
            if self.machine.done().contains(uid) {
                return Ok((Some(pod), Some(("Succeeded", String::new()))));
            }
            if !runs {
                sleep(self.pause(800)).await;
                // It may have been told to end meanwhile.
                if self.pods.get_key(key).is_some_and(|p| p.metadata.uid == *uid && !p.metadata.is_deleting()) {
                    self.machine.start(&pod.metadata);
                }
            }
            if pod.is_job() && pod.status.phase == "Running" {
                sleep(self.pause(3000)).await;
                self.machine.stop(uid);
                self.machine.done().insert(uid.clone());
                return Ok((Some(pod), Some(("Succeeded", String::new()))));
            }
            let runs = self.machine.running().contains_key(uid);
            Ok((Some(pod.clone()), runs.then(|| ("Running", self.machine.address(uid)))))
        })
    }

    fn plan(&self, key: &ObjectKey, (pod, address): &Self::World, now: WallTime) -> Plan {
        let mut plan = Plan::nothing();
        let Some(pod) = pod else { return plan };
        let target = Target::new(&resources::PODS, &key.namespace, &key.name);
        if pod.metadata.is_deleting() {
            let options = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::uid(&pod.metadata.uid) };
            plan.push(Op::Delete { target, options, announce: None });
            return plan;
        }
        let Some((phase, address)) = address else { return plan };
        let ready = pod.status.conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        if *phase == "Succeeded" && pod.status.phase != "Succeeded" {
            let status = json!({"phase": "Succeeded"});
            plan.push(Op::status(target, json!({"metadata": {"uid": pod.metadata.uid}, "status": status})));
        } else if *phase == "Running" && (pod.status.phase != "Running" || !ready) {
            let stamp = api::time::format_seconds(now.unix_seconds());
            let mut conditions = pod.status.conditions.clone();
            conditions.retain(|c| c["type"] != "Ready");
            conditions.push(json!({"type": "Ready", "status": "True", "lastTransitionTime": stamp}));
            let status = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions, "startTime": stamp});
            plan.push(Op::status(target, json!({"metadata": {"uid": pod.metadata.uid}, "status": status})));
        }
        plan
    }
}
