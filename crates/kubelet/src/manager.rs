//! The kubelet as a whole: start, the pods of this node, their workers, the runtime's events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use client::{Client, Informer, Recorder, Selection, resources};
use platform::Env;
use platform::time::sleep;
use tokio::sync::mpsc;
use wire::Cri;
use wire::cri::ContainerEventResponse;

use crate::config::KubeletConfig;
use crate::convert::LABEL_UID;
use crate::core::files;
use crate::core::pod::Pod;
use crate::objects::Objects;
use crate::shared::{Shared, Worker};
use crate::worker::{Command, PodWorker};
use crate::{checkpoint, gc, node, server};

/// A running kubelet. Its tasks end with the `Env` that started it.
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Number of pods that have a worker.
    pub fn pods(&self) -> usize {
        self.shared.workers().len()
    }
}

/// Starts a kubelet; answers when its API listens and its first look at the runtime has worked.
pub async fn run(env: &Env, config: KubeletConfig, client: Client, cri: Arc<dyn Cri>) -> Result<Handle, String> {
    std::fs::create_dir_all(config.root_dir.join("pods")).map_err(|e| format!("{}: {e}", config.root_dir.display()))?;
    let version = cri.version().await.map_err(|e| format!("the container runtime does not answer: {}", e.message()))?;
    let scheme =
        if config.runtime_scheme.is_empty() { version.runtime_name.clone() } else { config.runtime_scheme.clone() };
    let machine = node::machine(&config);
    let shared = Arc::new_cyclic(|weak: &std::sync::Weak<Shared>| {
        let weak = weak.clone();
        let wake = move |uid: &str| {
            if let Some(shared) = weak.upgrade() {
                shared.send(uid, Command::Refresh);
            }
        };
        Shared {
            recorder: Recorder::start(env, &client, "kubelet", &config.node_name),
            objects: Objects::new(env.clone(), client.clone(), wake),
            tokens: Default::default(),
            services: Informer::start(env, &client, Selection::all(&resources::SERVICES)),
            node_dns: files::parse_resolv(&std::fs::read_to_string(&config.resolv_conf).unwrap_or_default()),
            node_memory: machine.memory,
            allocatable: node::allocatable(&config, &machine),
            scheme,
            workers: Mutex::default(),
            env: env.clone(),
            client: client.clone(),
            cri,
            config,
        }
    });
    if let Some(wanted) = &shared.config.server {
        server::start(&shared, wanted).await?;
    }
    let runtime = format!("{}://{}", version.runtime_name, version.runtime_version);
    drop(env.spawn("node", node::NodeKeeper::new(shared.clone(), machine, runtime).run()));
    drop(env.spawn("runtime-events", follow_runtime(shared.clone())));
    drop(env.spawn("image-gc", gc::images(shared.clone())));
    drop(env.spawn("pods", follow_pods(shared.clone())));
    Ok(Handle { shared })
}

/// Wakes the workers when something happens in the runtime. After a gap everybody looks.
async fn follow_runtime(shared: Arc<Shared>) {
    loop {
        match shared.cri.container_events().await {
            Ok(mut events) => {
                look_all(&shared);
                while let Some(event) = events.recv().await {
                    match uid_of(&event) {
                        Some(uid) => drop(shared.send(&uid, Command::Look)),
                        None => look_all(&shared),
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "the container runtime tells no events"),
        }
        look_all(&shared);
        sleep(shared.env.limits().kubelet.runtime).await;
    }
}

fn look_all(shared: &Shared) {
    for worker in shared.workers().values() {
        let _ = worker.commands.send(Command::Look);
    }
}

fn uid_of(event: &ContainerEventResponse) -> Option<String> {
    let sandbox = event.pod_sandbox_status.as_ref()?;
    sandbox.labels.get(LABEL_UID).cloned().or_else(|| sandbox.metadata.as_ref().map(|m| m.uid.clone()))
}

/// Starts a worker for each pod of this node and hands changes on.
async fn follow_pods(shared: Arc<Shared>) {
    let mut selection = Selection::all(&resources::PODS);
    selection.fields = Some(format!("spec.nodeName={}", shared.config.node_name));
    let informer: Informer<Pod> = Informer::new(selection);
    let (sender, mut changes) = mpsc::unbounded_channel::<(Option<Arc<Pod>>, Option<Arc<Pod>>)>();
    informer.on_change(move |change| drop(sender.send((change.old.clone(), change.new.clone()))));
    informer.run(&shared.env, &shared.client);
    let root = shared.config.root_dir.clone();
    let waiting = async {
        // Without an answer from the server what ran before is started again.
        platform::time::timeout(shared.env.limits().kubelet.silence, informer.synced()).await.is_err()
    };
    if waiting.await {
        for pod in checkpoint::load(&root) {
            tracing::info!(pod = pod.metadata.name, "starting a pod from its checkpoint: the server does not answer");
            start(&shared, pod);
        }
        informer.synced().await;
    }
    let known: BTreeMap<String, Arc<Pod>> = informer.all().into_iter().map(|p| (p.metadata.uid.clone(), p)).collect();
    // A statement of its own: in the head of the loop the lock would be held through it, and `send` takes it again.
    let gone: Vec<String> = shared.workers().keys().filter(|uid| !known.contains_key(*uid)).cloned().collect();
    for uid in gone {
        shared.send(&uid, Command::Gone);
    }
    known.values().for_each(|pod| apply(&shared, &root, pod.clone()));
    gc::strays(&shared).await;
    while let Some((old, new)) = changes.recv().await {
        if let Some(old) = &old
            && new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid)
        {
            checkpoint::forget(&root, &old.metadata.uid);
            shared.send(&old.metadata.uid, Command::Gone);
        }
        if let Some(pod) = new {
            apply(&shared, &root, pod);
        }
    }
}

fn apply(shared: &Arc<Shared>, root: &Path, pod: Arc<Pod>) {
    let uid = pod.metadata.uid.clone();
    let changed = |worker: &Worker| worker.pod.metadata.generation != pod.metadata.generation;
    let known = {
        let mut workers = shared.workers();
        workers.get_mut(&uid).map(|worker| {
            let changed = changed(worker);
            worker.pod = pod.clone();
            let _ = worker.commands.send(Command::Pod(pod.clone()));
            changed
        })
    };
    match known {
        Some(false) => {}
        Some(true) => checkpoint::save(root, &pod),
        None => {
            checkpoint::save(root, &pod);
            start(shared, (*pod).clone());
        }
    }
}

fn start(shared: &Arc<Shared>, pod: Pod) {
    let uid = pod.metadata.uid.clone();
    let (commands, receiver) = mpsc::unbounded_channel();
    let seen = Arc::new(Mutex::default());
    let worker = Worker { pod: Arc::new(pod.clone()), commands, seen: Arc::clone(&seen) };
    shared.workers().insert(uid.clone(), worker);
    let task = PodWorker::new(shared.clone(), pod, receiver, seen).run();
    let shared_again = shared.clone();
    drop(shared.env.spawn("pod", async move {
        task.await;
        checkpoint::forget(&shared_again.config.root_dir, &uid);
        shared_again.workers().remove(&uid);
    }));
}
