//! The shell: feeds the caches from informers, takes pods off the queue, applies decisions.

use crate::core::decide::{Decision, Diagnosis, Framework, Nominated};
use crate::core::framework::Wake;
use crate::core::preempt::{Preemption, preempt};
use crate::core::queue::{Entry, Queue};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::{BudgetView, ClaimView, NamespaceView, NodeView, PodView};
use client::{At, Change, Client, DeleteOptions, Informer, PatchKind, Recorder, Regarding, Selection, resources};
use platform::time::{Duration, Instant, sleep_until};
use platform::{Env, Rng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the scheduler has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pods with this `schedulerName` are its own.
    pub name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options { name: "default-scheduler".into() }
    }
}

/// Attempts by their result.
#[derive(Debug, Default)]
pub struct Counters {
    pub scheduled: AtomicU64,
    pub unschedulable: AtomicU64,
    pub errors: AtomicU64,
    pub preempted: AtomicU64,
}

/// A running scheduler.
pub struct Handle {
    /// Its counters.
    pub counters: Arc<Counters>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Number of pods in line, in backoff, waiting for a change.
    pub fn depths(&self) -> (usize, usize, usize) {
        self.shared.core().queue.depths()
    }
}

struct Shared {
    core: Mutex<Core>,
    news: Notify,
    start: Instant,
    name: String,
}

/// Everything that changes, under one lock.
#[derive(Default)]
struct Core {
    cluster: Snapshot,
    /// Where pods are: by uid, their node and form.
    placed: BTreeMap<String, (String, Arc<Pod>)>,
    /// Decided, not yet seen as placed.
    assumed: BTreeSet<String>,
    nominated: BTreeMap<String, (String, Arc<Pod>)>,
    queue: Queue,
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wake(&self, core: &mut Core, wake: Wake) {
        core.queue.wake(wake, self.now());
        self.news.notify_one();
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let mut core = self.core();
        let Some(view) = change.new.as_ref().filter(|p| !matches!(p.status.phase.as_str(), "Succeeded" | "Failed"))
        else {
            let uid = change.object().metadata.uid.clone();
            core.queue.remove(&uid);
            core.nominated.remove(&uid);
            core.assumed.remove(&uid);
            if core.take(&uid) {
                self.wake(&mut core, Wake::PodGone);
            }
            return;
        };
        let uid = &view.metadata.uid;
        // Another object under the same name: the older one is gone.
        if let Some(old) = change.old.as_ref().filter(|old| old.metadata.uid != *uid) {
            core.queue.remove(&old.metadata.uid);
            core.take(&old.metadata.uid);
        }
        if !view.spec.node_name.is_empty() {
            core.queue.remove(uid);
            core.nominated.remove(uid);
            core.assumed.remove(uid);
            let was = core.placed.get(uid).map(|(node, pod)| (node.clone(), pod.meta().labels.clone()));
            core.put(&view.spec.node_name, &Pod::new(view));
            if was.is_none_or(|(node, labels)| node != view.spec.node_name || labels != view.metadata.labels) {
                self.wake(&mut core, Wake::PodPlaced);
            }
        } else if view.spec.scheduler_name == self.name
            && !view.metadata.is_deleting()
            && view.spec.scheduling_gates.is_empty()
        {
            if !core.assumed.contains(uid) {
                core.queue.update(&Pod::new(view), self.now());
                self.news.notify_one();
            }
        } else {
            core.queue.remove(uid);
        }
    }

    fn node_changed(&self, change: &Change<NodeView>) {
        let mut core = self.core();
        let name = change.key().name;
        let Some(node) = &change.new else {
            core.cluster.nodes.remove(&name);
            return;
        };
        let mut info = NodeInfo::new(node);
        for (_, pod) in core.placed.values().filter(|(on, _)| *on == name) {
            info.add(pod);
        }
        core.cluster.nodes.insert(name, Arc::new(info));
        let Some(old) = &change.old else { return self.wake(&mut core, Wake::NodeAdded) };
        if old.status.allocatable != node.status.allocatable {
            self.wake(&mut core, Wake::NodeAllocatable);
        }
        if old.metadata.labels != node.metadata.labels {
            self.wake(&mut core, Wake::NodeLabels);
        }
        if old.spec != node.spec {
            self.wake(&mut core, Wake::NodeTaints);
        }
    }

    fn claim_changed(&self, change: &Change<ClaimView>) {
        let mut core = self.core();
        match &change.new {
            Some(claim) => {
                core.cluster.claims.insert(change.key(), claim.clone());
                self.wake(&mut core, Wake::Claim);
            }
            None => drop(core.cluster.claims.remove(&change.key())),
        }
    }

    fn budget_changed(&self, change: &Change<BudgetView>) {
        let mut core = self.core();
        match &change.new {
            Some(budget) => drop(core.cluster.budgets.insert(change.key(), budget.clone())),
            None => drop(core.cluster.budgets.remove(&change.key())),
        }
    }

    fn namespace_changed(&self, change: &Change<NamespaceView>) {
        let mut core = self.core();
        let name = change.key().name;
        match &change.new {
            Some(namespace) => drop(core.cluster.namespaces.insert(name, namespace.metadata.labels.clone())),
            None => drop(core.cluster.namespaces.remove(&name)),
        }
    }

    /// The next pod, with what the decision looks at.
    async fn next(&self) -> (Entry, Snapshot, Nominated, u64) {
        loop {
            let time = {
                let mut core = self.core();
                if let Some(entry) = core.queue.pop(self.now()) {
                    let mut nominated = Nominated::new();
                    for (node, pod) in core.nominated.values() {
                        nominated.entry(node.clone()).or_default().push(pod.clone());
                    }
                    return (entry, core.cluster.clone(), nominated, core.queue.sequence());
                }
                core.queue.next_time()
            };
            match time {
                Some(time) => {
                    tokio::select! {
                        biased;
                        () = self.news.notified() => {}
                        () = sleep_until(self.start + Duration::from_nanos(time)) => {}
                    }
                }
                None => self.news.notified().await,
            }
        }
    }
}

impl Core {
    fn put(&mut self, node: &str, pod: &Arc<Pod>) {
        self.take(&pod.meta().uid);
        self.placed.insert(pod.meta().uid.clone(), (node.to_string(), pod.clone()));
        if let Some(info) = self.cluster.nodes.get_mut(node) {
            Arc::make_mut(info).add(pod);
        }
    }

    fn take(&mut self, uid: &str) -> bool {
        let Some((node, _)) = self.placed.remove(uid) else { return false };
        if let Some(info) = self.cluster.nodes.get_mut(&node) {
            Arc::make_mut(info).remove(uid);
        }
        true
    }
}

/// Starts the scheduler.
pub fn run(env: &Env, client: &Client, options: Options) -> Handle {
    let core = Mutex::new(Core { queue: Queue::new(&env.limits().scheduler), ..Core::default() });
    let shared = Arc::new(Shared { core, news: Notify::new(), start: env.now(), name: options.name.clone() });
    let counters = Arc::new(Counters::default());
    let client = client.with_agent("kube-scheduler");
    let pods: Informer<PodView> = Informer::new(Selection::all(&resources::PODS));
    let nodes: Informer<NodeView> = Informer::new(Selection::all(&resources::NODES));
    let claims: Informer<ClaimView> = Informer::new(Selection::all(&resources::PERSISTENTVOLUMECLAIMS));
    let namespaces: Informer<NamespaceView> = Informer::new(Selection::all(&resources::NAMESPACES));
    let budgets: Informer<BudgetView> = Informer::new(Selection::all(&resources::PODDISRUPTIONBUDGETS));
    let to = shared.clone();
    budgets.on_change(move |change| to.budget_changed(change));
    budgets.run(env, &client);
    let to = shared.clone();
    pods.on_change(move |change| to.pod_changed(change));
    let to = shared.clone();
    nodes.on_change(move |change| to.node_changed(change));
    let to = shared.clone();
    claims.on_change(move |change| to.claim_changed(change));
    let to = shared.clone();
    namespaces.on_change(move |change| to.namespace_changed(change));
    for informer in [&pods] {
        informer.run(env, &client);
    }
    nodes.run(env, &client);
    claims.run(env, &client);
    namespaces.run(env, &client);
    let recorder = Recorder::start(env, &client, &options.name, "");
    let worker = Worker { env: env.clone(), client, recorder, shared: shared.clone(), counters: counters.clone() };
    let rng = env.rng("scheduler");
    let work = async move {
        pods.synced().await;
        nodes.synced().await;
        claims.synced().await;
        namespaces.synced().await;
        budgets.synced().await;
        Arc::new(worker).run(rng).await;
    };
    drop(env.spawn("scheduler", work)); // detached: it ends with the process
    Handle { counters, shared }
}

struct Worker {
    env: Env,
    client: Client,
    recorder: Recorder,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

impl Worker {
    async fn run(self: Arc<Self>, mut rng: Rng) {
        let framework = Framework::default();
        loop {
            let (entry, cluster, nominated, sequence) = self.shared.next().await;
            match framework.decide(&cluster, &entry.pod, &nominated, rng.u64()) {
                Decision::Node(node) => {
                    {
                        let mut core = self.shared.core();
                        core.assumed.insert(entry.pod.meta().uid.clone());
                        core.put(&node, &entry.pod);
                    }
                    let worker = self.clone();
                    let bind = async move { worker.bind(entry, node, sequence).await };
                    drop(self.env.spawn("bind", bind)); // detached: its failure puts the pod back in line
                }
                Decision::Nowhere(diagnosis) => self.refused(&framework, &cluster, entry, diagnosis, sequence),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn bind(&self, entry: Entry, node: String, sequence: u64) {
        let meta = entry.pod.meta();
        let at = At { resource: &resources::PODS, namespace: &meta.namespace, name: &meta.name };
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        match self.client.post(at, "binding", &binding).await {
            Ok(_) => {
                self.counters.scheduled.fetch_add(1, Ordering::Relaxed);
                let message = format!("Successfully assigned {}/{} to {node}", meta.namespace, meta.name);
                self.recorder.normal(Regarding::of(&resources::PODS, meta), "Scheduled", message);
            }
            Err(error) => {
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
                let mut core = self.shared.core();
                // The informer may have seen it placed (an answer was lost): then it stays.
                if core.assumed.remove(&meta.uid) {
                    tracing::debug!(pod = %meta.key(), %error, "binding failed");
                    core.take(&meta.uid);
                    if error.is_not_found() {
                        core.queue.remove(&meta.uid);
                    } else {
                        let now = self.shared.now();
                        core.queue.failed(entry, BTreeSet::new(), sequence, now);
                    }
                    self.shared.wake(&mut core, Wake::PodGone);
                }
            }
        }
    }

    fn refused(
        self: &Arc<Self>,
        framework: &Framework,
        cluster: &Snapshot,
        entry: Entry,
        diagnosis: Diagnosis,
        sequence: u64,
    ) {
        self.counters.unschedulable.fetch_add(1, Ordering::Relaxed);
        let preemption = if diagnosis.nodes == 0 {
            Preemption::No(String::new())
        } else {
            preempt(framework, cluster, &entry.pod, &diagnosis)
        };
        let (node, victims, why) = match preemption {
            Preemption::Victims(node, victims) => (Some(node), victims, String::new()),
            Preemption::No(why) => (None, Vec::new(), why),
        };
        let message = diagnosis.message(&why);
        let pod = entry.pod.clone();
        {
            let mut core = self.shared.core();
            if let Some(node) = &node {
                core.nominated.insert(pod.meta().uid.clone(), (node.clone(), pod.clone()));
            }
            let now = self.shared.now();
            let mut wakes = diagnosis.wakes;
            wakes.extend([Wake::NodeAdded, Wake::PodItself]);
            core.queue.failed(entry, wakes, sequence, now);
        }
        self.shared.news.notify_one();
        let worker = self.clone();
        let tell = async move { worker.tell(&pod, message, node, victims).await };
        drop(self.env.spawn("tell-refusal", tell)); // detached: nothing depends on it
    }

    /// Tells a refusal, and carries out a preemption.
    async fn tell(&self, pod: &Pod, message: String, node: Option<String>, victims: Vec<Arc<Pod>>) {
        let meta = pod.meta();
        self.recorder.warning(Regarding::of(&resources::PODS, meta), "FailedScheduling", message.clone());
        let mut conditions = pod.view.status.conditions.clone();
        let stamp = api::time::format_seconds(self.env.wall().unix_seconds());
        let old = conditions.iter().find(|c| c["type"] == "PodScheduled").cloned();
        let since = old
            .as_ref()
            .filter(|c| c["status"] == "False")
            .map_or(Value::from(stamp), |c| c["lastTransitionTime"].clone());
        let new = json!({
            "type": "PodScheduled", "status": "False", "lastProbeTime": Value::Null, "lastTransitionTime": since,
            "reason": "Unschedulable", "message": message,
        });
        let same = old.is_some_and(|o| {
            o["status"] == "False" && o["reason"] == "Unschedulable" && o["message"] == message.as_str()
        });
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(new);
        let mut status = json!({"conditions": conditions});
        if let Some(node) = &node {
            status["nominatedNodeName"] = node.as_str().into();
        }
        let at = At { resource: &resources::PODS, namespace: &meta.namespace, name: &meta.name };
        if !same || node.is_some() {
            let patch =
                json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status});
            if let Err(error) = self.client.patch(at, Some("status"), &PatchKind::Merge, &patch).await {
                tracing::debug!(pod = %meta.key(), %error, "the refusal was not written");
            }
        }
        for victim in victims {
            self.evict(pod, &victim, node.as_deref().unwrap_or_default()).await;
        }
    }

    async fn evict(&self, pod: &Pod, victim: &Pod, node: &str) {
        let meta = victim.meta();
        let at = At { resource: &resources::PODS, namespace: &meta.namespace, name: &meta.name };
        match self.client.delete(at, &DeleteOptions::uid(&meta.uid)).await {
            Ok(_) => {
                self.counters.preempted.fetch_add(1, Ordering::Relaxed);
                let message = format!("Preempted by pod {} on node {node}", pod.meta().uid);
                self.recorder.normal(Regarding::of(&resources::PODS, meta), "Preempted", message);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(victim = %meta.key(), %error, "a pod was not preempted"),
        }
    }
}
