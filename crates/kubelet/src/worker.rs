//! One pod's executor: feeds its state machine, carries out effects, tells the API its status.
//!
//! One task a pod. Effects run concurrently inside it; after each end the runtime is looked at again before the machine
//! decides. The status is patched when it differs from what the API has, one patch at a time, the newest last.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use client::{At, DeleteOptions, PatchKind, resources};
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use platform::WallTime;
use platform::time::{Duration, sleep};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wire::cri::*;

use crate::convert::{self, LABEL_UID};
use crate::core::machine::{Effect, Event, Key, Life, Machine, Observation, Outcome, ProbeKind};
use crate::core::pod::Pod;
use crate::core::status;
use crate::prober::Probers;
use crate::shared::Shared;
use crate::volumes::{self, Prepared};

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// The API's pod has changed.
    Pod(Arc<Pod>),
    /// The API has no such pod.
    Gone,
    /// Something happened in the runtime.
    Look,
    /// An object that the pod uses has changed.
    Refresh,
    Probed {
        container: String,
        id: String,
        kind: ProbeKind,
        passed: bool,
        message: String,
    },
}

type Running = Pin<Box<dyn Future<Output = (Key, Outcome)> + Send>>;

/// See the file's head.
pub struct PodWorker {
    shared: Arc<Shared>,
    machine: Machine,
    commands: mpsc::UnboundedReceiver<Command>,
    seen: Arc<Mutex<Observation>>,
    running: FuturesUnordered<Running>,
    aborts: BTreeMap<Key, AbortHandle>,
    prepared: Arc<Mutex<Prepared>>,
    probers: Probers,
    wake_at: Option<WallTime>,
    /// The status that the API has, as far as known.
    told: Value,
    /// The revision that telling it made.
    told_at: u64,
    telling: Option<Pin<Box<dyn Future<Output = Result<(Value, u64), client::Error>> + Send>>>,
    tell_again_at: Option<WallTime>,
    look: bool,
    finishing: bool,
}

impl PodWorker {
    pub fn new(
        shared: Arc<Shared>,
        pod: Pod,
        commands: mpsc::UnboundedReceiver<Command>,
        seen: Arc<Mutex<Observation>>,
    ) -> PodWorker {
        let now = shared.env.wall();
        let probers = Probers::new(shared.clone(), pod.metadata.uid.clone());
        PodWorker {
            machine: Machine::new(pod, now, shared.env.limits().kubelet),
            shared,
            commands,
            seen,
            running: FuturesUnordered::new(),
            aborts: BTreeMap::new(),
            prepared: Arc::default(),
            probers,
            wake_at: None,
            told: Value::Null,
            told_at: 0,
            telling: None,
            tell_again_at: None,
            look: true,
            finishing: false,
        }
    }

    /// Runs until the pod is gone.
    pub async fn run(mut self) {
        let pod = self.machine.pod.clone();
        if pod.metadata.is_deleting() {
            self.event(Event::Pod(Box::new(pod)));
        }
        loop {
            if std::mem::take(&mut self.look) {
                self.observe().await;
            }
            self.after_events();
            if self.finishing && self.telling.is_none() {
                match self.finish().await {
                    Ok(()) => return,
                    Err(e) => {
                        tracing::debug!(pod = self.machine.pod.metadata.name, error = %e, "cannot finish a pod yet");
                        self.tell_again_at = Some(self.shared.env.wall().plus(self.shared.env.limits().kubelet.tell));
                    }
                }
            }
            self.wait().await;
        }
    }

    /// Waits for the next thing and takes it in.
    async fn wait(&mut self) {
        let now = self.shared.env.wall();
        let next = [self.wake_at, self.tell_again_at, self.refresh_at()].into_iter().flatten().min();
        let timer = async {
            match next {
                Some(at) => sleep(at.since(now)).await,
                None => std::future::pending().await,
            }
        };
        let telling = async {
            match &mut self.telling {
                Some(telling) => telling.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { biased;
            command = self.commands.recv() => match command {
                Some(command) => self.command(command),
                None => self.finishing = true, // the kubelet itself is going away
            },
            Some((key, outcome)) = self.running.next(), if !self.running.is_empty() => {
                self.aborts.remove(&key);
                self.event(Event::Done(key, outcome));
                self.look = true;
            }
            result = telling => {
                self.telling = None;
                self.tell_again_at = None;
                match result {
                    Ok((status, revision)) => (self.told, self.told_at) = (status, revision),
                    Err(e) if e.is_not_found() => self.event(Event::Gone),
                    Err(e) => {
                        tracing::debug!(pod = self.machine.pod.metadata.name, error = %e, "cannot tell a pod's status");
                        self.tell_again_at = Some(self.shared.env.wall().plus(self.shared.env.limits().kubelet.tell));
                    }
                }
            }
            () = timer => {
                let now = self.shared.env.wall();
                self.tell_again_at = self.tell_again_at.filter(|at| *at > now);
                if self.wake_at.is_some_and(|at| at <= now) {
                    self.wake_at = None;
                    self.event(Event::Wake);
                }
                if self.refresh_at().is_some_and(|at| at <= now) {
                    self.refresh();
                }
            }
        }
    }

    fn refresh_at(&self) -> Option<WallTime> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).refresh_at
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Pod(pod) => {
                if pod.metadata.revision() > self.told_at && overwritten(&self.told, &pod) {
                    self.told = Value::Null; // somebody else wrote it (a silent node's pods are marked): tell it again
                }
                self.event(Event::Pod(Box::new((*pod).clone())));
            }
            Command::Gone => self.event(Event::Gone),
            Command::Look => self.look = true,
            Command::Refresh => self.refresh(),
            Command::Probed { container, id, kind, passed, message } => {
                self.event(Event::Probed { container, id, kind, passed, message });
            }
        }
    }

    /// Brings the volumes up to date beside everything else.
    fn refresh(&mut self) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).refresh_at = None;
        if self.machine.life != Life::Syncing || !self.machine.volumes.done {
            return;
        }
        let (shared, pod, prepared) = (self.shared.clone(), self.machine.pod.clone(), self.prepared.clone());
        drop(self.shared.env.spawn("refresh-volumes", async move {
            match volumes::set_up(&shared, &pod).await {
                Ok(fresh) => *prepared.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
                Err(e) => {
                    shared.tell(&pod, "", true, "FailedMount", e);
                    let again = shared.env.wall().plus(shared.env.limits().kubelet.refresh);
                    prepared.lock().unwrap_or_else(PoisonError::into_inner).refresh_at = Some(again);
                }
            }
        }));
    }

    fn event(&mut self, event: Event) {
        let effects = self.machine.step(self.shared.env.wall(), event);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::WakeAt(at) => self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at))),
            Effect::Finish => self.finishing = true,
            Effect::Tell { container, warning, reason, message } => {
                self.shared.tell(&self.machine.pod, &container, warning, reason, message);
            }
            Effect::Cancel(key) => {
                if let Some(abort) = self.aborts.get(&key) {
                    abort.abort();
                }
            }
            effect => {
                let Some(key) = effect.key() else { return };
                let context = crate::ops::Context {
                    shared: self.shared.clone(),
                    pod: Arc::new(self.machine.pod.clone()),
                    seen: self.machine.seen.clone(),
                    prepared: self.prepared.clone(),
                };
                let (work, abort) = abortable(crate::ops::carry_out(context, effect));
                self.aborts.insert(key.clone(), abort);
                self.running.push(Box::pin(async move { (key, work.await.unwrap_or(Outcome::Cancelled)) }));
            }
        }
    }

    /// Looks at the runtime and tells the machine.
    async fn observe(&mut self) {
        let after = self.machine.completed;
        match observe(&self.shared, &self.machine.pod.metadata.uid, after).await {
            Ok(seen) => {
                self.event(Event::Observed(seen));
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.seen.clone();
            }
            Err(e) => {
                tracing::warn!(error = %e, "the container runtime does not answer");
                let at = self.shared.env.wall().plus(self.shared.env.limits().kubelet.runtime);
                self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
                self.look = true;
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// After every turn: probes and status follow the machine.
    fn after_events(&mut self) {
        self.probers.run(status::wanted_probes(&self.machine), &self.machine.pod);
        let now = self.shared.env.wall();
        if self.telling.is_some()
            || self.machine.api_gone
            || self.tell_again_at.is_some_and(|at| at > now)
            || !self.machine.observed
        {
            return;
        }
        let status = status::build(&self.machine, &self.shared.host(), now);
        if same(&self.told, &status) {
            return;
        }
        let (client, meta) = (self.shared.client.clone(), self.machine.pod.metadata.clone());
        self.telling = Some(Box::pin(async move {
            let patch = json!({"metadata": {"uid": meta.uid}, "status": as_patch(&status)});
            let at = At { resource: &resources::PODS, namespace: &meta.namespace, name: &meta.name };
            client.patch(at, Some("status"), &PatchKind::Strategic, &patch).await.map(|answer| {
                let revision = client::decode::<client::Partial>(&answer).map_or(0, |pod| pod.metadata.revision());
                (status, revision)
            })
        }));
    }

    /// Nothing runs: frees everything and takes the pod out of the API.
    async fn finish(&mut self) -> Result<(), String> {
        let meta = self.machine.pod.metadata.clone();
        if !matches!(self.machine.life, Life::Finished) {
            return Ok(()); // the kubelet is stopping: the pod goes on
        }
        if !self.machine.api_gone {
            let mut options = DeleteOptions::uid(&meta.uid);
            options.grace_seconds = Some(0);
            let at = At { resource: &resources::PODS, namespace: &meta.namespace, name: &meta.name };
            match self.shared.client.delete(at, &options).await {
                Err(e) if !e.is_not_found() && !e.is_conflict() => return Err(e.to_string()),
                _ => {}
            }
        }
        self.probers.run(Vec::new(), &self.machine.pod);
        for sandbox in &self.machine.seen.sandboxes {
            let request = RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
            match self.shared.cri.remove_pod_sandbox(request).await {
                Err(e) if e.code() != wire::Code::NotFound => {
                    return Err(format!("remove the sandbox {}: {}", sandbox.id, e.message()));
                }
                _ => {}
            }
        }
        self.shared.objects.follow(&meta.uid, &BTreeSet::new());
        self.shared.tokens.forget(&meta.uid);
        let _ = std::fs::remove_dir_all(convert::log_dir(&self.shared.config, &self.machine.pod));
        // Last: by this directory a kubelet that was killed in between finds what is left.
        let _ = std::fs::remove_dir_all(volumes::pod_dir(&self.shared.config.root_dir, &meta.uid));
        Ok(())
    }
}

/// Whether a condition that was told has another status in the API.
fn overwritten(told: &Value, pod: &Pod) -> bool {
    let conditions = told["conditions"].as_array().into_iter().flatten();
    let mut pairs = conditions.filter_map(|c| Some((c["type"].as_str()?, c["status"].as_str()?)));
    pairs.any(|(kind, status)| pod.status.conditions.iter().any(|c| c.r#type == kind && c.status != status))
}

/// The status as a strategic merge patch: addresses are replaced, not merged with those of an earlier sandbox.
fn as_patch(status: &Value) -> Value {
    let mut patch = status.clone();
    for list in ["podIPs", "hostIPs"] {
        if let Some(addresses) = patch.get_mut(list).and_then(Value::as_array_mut) {
            addresses.insert(0, json!({"$patch": "replace"}));
        }
    }
    patch
}

/// Equal but for the times of conditions that have not changed otherwise.
fn same(told: &Value, status: &Value) -> bool {
    let strip = |v: &Value| {
        let mut v = v.clone();
        if let Some(list) = v.get_mut("conditions").and_then(Value::as_array_mut) {
            for c in list.iter_mut().filter_map(Value::as_object_mut) {
                c.remove("lastTransitionTime");
            }
        }
        v
    };
    strip(told) == strip(status)
}

/// What the runtime has of a pod.
pub async fn observe(shared: &Shared, uid: &str, after: u64) -> Result<Observation, wire::Status> {
    let labels = [(LABEL_UID.to_string(), uid.to_string())].into();
    let filter = PodSandboxFilter { label_selector: labels, ..Default::default() };
    let found = shared.cri.list_pod_sandbox(ListPodSandboxRequest { filter: Some(filter) }).await?;
    let mut seen = Observation { after, ..Observation::default() };
    for sandbox in found.items {
        let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox.id.clone(), verbose: false };
        let answer = match shared.cri.pod_sandbox_status(request).await {
            Ok(answer) => answer,
            Err(e) if e.code() == wire::Code::NotFound => continue,
            Err(e) => return Err(e),
        };
        seen.sandboxes.extend(answer.status.as_ref().map(convert::sandbox_seen));
        let statuses = match answer.containers_statuses.is_empty() {
            false => answer.containers_statuses,
            true => list_containers(shared, &sandbox.id).await?,
        };
        seen.containers.extend(statuses.iter().map(|c| convert::container_seen(c, &sandbox.id)));
    }
    Ok(seen)
}

/// For runtimes that do not tell containers with their sandbox.
async fn list_containers(shared: &Shared, sandbox: &str) -> Result<Vec<ContainerStatus>, wire::Status> {
    let filter = ContainerFilter { pod_sandbox_id: sandbox.to_string(), ..Default::default() };
    let found = shared.cri.list_containers(ListContainersRequest { filter: Some(filter) }).await?;
    let mut out = Vec::new();
    for container in found.containers {
        match shared.cri.container_status(ContainerStatusRequest { container_id: container.id, verbose: false }).await {
            Ok(answer) => out.extend(answer.status),
            Err(e) if e.code() == wire::Code::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(out)
}
