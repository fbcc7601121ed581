//! The runtime's heart: configuration, opening (with adoption), what the shims report, events to subscribers.
//!
//! Adoption: the state files say what should be there; the shim's socket says what is. A shim that does not answer has
//! taken its containers with it (the kernel kills them); what it reported before is in their `exit.json`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::mpsc;
use wire::cri::{ContainerEventResponse, ContainerEventType};

use crate::cgroup::{self, Cgroups};
use crate::cni::Cni;
use crate::error::{Error, Result};
use crate::image::registry::{Puller, RegistryConfig};
use crate::image::store::ImageStore;
use crate::namespaces;
use crate::shim::client::{self, Event, ShimClient};
use crate::shim::containers::Running;
use crate::state::{Container, ContainerRecord, Ended, Live, Phase, Sandbox, SandboxRecord, State, load, lock};

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Eight hexadecimal digits; part of every name that others can see.
    pub cluster_id: String,
    /// Name of the node in cgroup paths, unique on this machine.
    pub node: String,
    /// Persistent files: images, containers.
    pub root: PathBuf,
    /// Files of this boot: sockets, namespaces. Should be on a tmpfs.
    pub run: PathBuf,
    /// Command that runs the shim; `--dir DIR` is appended. Default: this binary, `shim`.
    pub shim_command: Vec<String>,
    pub registry: RegistryConfig,
    /// Ask the kernel for cheap cgroup changes; lasts until the next boot.
    pub favor_dynamic_cgroups: bool,
    /// Processes a pod may have; 0 is no limit.
    pub pod_pids_limit: i64,
}

impl RuntimeConfig {
    /// The usual places for a cluster and a node.
    pub fn new(cluster_id: &str, node: &str, root: PathBuf) -> RuntimeConfig {
        RuntimeConfig {
            cluster_id: cluster_id.to_string(),
            node: node.to_string(),
            root,
            run: PathBuf::from(format!("/run/corten-{cluster_id}/{node}")),
            shim_command: vec!["/proc/self/exe".into(), "shim".into()],
            registry: RegistryConfig::default(),
            favor_dynamic_cgroups: true,
            pod_pids_limit: 0,
        }
    }

    /// The group that holds everything of this cluster.
    pub fn cluster_cgroup(&self) -> String {
        format!("/corten-{}", self.cluster_id)
    }

    /// The group that holds everything of this node.
    pub fn node_cgroup(&self) -> String {
        format!("{}/{}", self.cluster_cgroup(), self.node)
    }
}

/// Shared by everything in this crate; [`crate::Runtime`] is its public face.
pub struct Engine {
    pub config: RuntimeConfig,
    pub cgroups: Cgroups,
    pub images: Arc<ImageStore>,
    pub puller: Puller,
    pub cni: Arc<dyn Cni>,
    pub state: Mutex<State>,
    pub boot_id: String,
    pub shim_events: mpsc::UnboundedSender<Event>,
    pub pod_cidr: Mutex<String>,
    /// Shims that this process has started, to be reaped. Older ones are the system's.
    pub shims: Mutex<HashMap<String, Child>>,
    subscribers: Mutex<Vec<mpsc::Sender<ContainerEventResponse>>>,
}

/// Events that a subscriber may leave unread before it is cut off.
const EVENT_QUEUE: usize = 1024;

/// Now, in Unix nanoseconds.
pub fn unix_nanos() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A fresh id: 64 hexadecimal digits.
pub fn new_id() -> String {
    let mut random = [0; 32];
    platform::rng::secret(&mut random);
    crate::image::unpack::hex(&random)
}

impl Engine {
    /// Opens the runtime's directories and takes over what runs.
    pub async fn open(config: RuntimeConfig, cni: Arc<dyn Cni>) -> Result<Arc<Engine>> {
        for dir in [config.root.join("sandboxes"), config.root.join("containers"), config.run.join("s")] {
            fs::create_dir_all(&dir).map_err(|e| Error::file("make directory", &dir, e))?;
        }
        let cgroups = Cgroups::detect().map_err(|e| Error::internal(format!("find cgroups: {e}")))?;
        if config.favor_dynamic_cgroups {
            cgroup::favor_dynamic_changes(&cgroups);
        }
        let images = Arc::new(ImageStore::open(&config.root.join("images"))?);
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string();
        let (shim_events, receiver) = mpsc::unbounded_channel();
        let puller = Puller::new(config.registry.clone());
        let engine = Arc::new(Engine {
            config,
            cgroups,
            images,
            puller,
            cni,
            state: Mutex::default(),
            boot_id,
            shim_events,
            pod_cidr: Mutex::default(),
            shims: Mutex::default(),
            subscribers: Mutex::default(),
        });
        engine.adopt().await?;
        tokio::spawn(Engine::follow_shims(Arc::downgrade(&engine), receiver));
        Ok(engine)
    }

    pub fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.config.root.join("sandboxes").join(id)
    }

    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.config.root.join("containers").join(id)
    }

    pub fn run_dir(&self, sandbox: &str) -> PathBuf {
        client::run_dir(&self.config.run, sandbox)
    }

    /// Finds by id or unique prefix.
    pub fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        let state = lock(&self.state);
        by_prefix(&state.sandboxes, id)
            .ok_or_else(|| Error::not_found(format!("an error occurred when try to find sandbox {id:?}: not found")))
    }

    /// Finds by id or unique prefix.
    pub fn container(&self, id: &str) -> Result<Arc<Container>> {
        let state = lock(&self.state);
        by_prefix(&state.containers, id)
            .ok_or_else(|| Error::not_found(format!("an error occurred when try to find container {id:?}: not found")))
    }

    /// The containers of a sandbox.
    pub fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        lock(&self.state).containers.values().filter(|c| c.record.sandbox == sandbox).cloned().collect()
    }

    /// Layers that containers stand on.
    pub fn layers_in_use(&self) -> BTreeSet<String> {
        lock(&self.state).containers.values().flat_map(|c| c.record.layers.iter().cloned()).collect()
    }

    pub fn save_sandbox(&self, record: &SandboxRecord) -> Result<()> {
        crate::state::save(&self.sandbox_dir(&record.id).join("sandbox.json"), record)
    }

    async fn adopt(self: &Arc<Self>) -> Result<()> {
        for record in self.records::<SandboxRecord>("sandboxes", "sandbox.json")? {
            let sandbox = Arc::new(Sandbox::new(record));
            let running = self.reconnect(&sandbox).await;
            lock(&self.state).sandboxes.insert(sandbox.id.clone(), sandbox.clone());
            if running.is_none() {
                self.bury(&sandbox);
            }
        }
        for record in self.records::<ContainerRecord>("containers", "container.json")? {
            let container = self.adopt_container(record)?;
            lock(&self.state).containers.insert(container.record.id.clone(), Arc::new(container));
        }
        self.remove_strays()?;
        // What a pull that was killed has left without an image.
        self.images.sweep(&self.layers_in_use())
    }

    /// Reads every state file of a kind. One that cannot be read stops the start: guessing could kill what runs.
    fn records<T: serde::de::DeserializeOwned>(&self, kind: &str, file: &str) -> Result<Vec<T>> {
        let dir = self.config.root.join(kind);
        let mut out = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| Error::file("list", &dir, e))?.flatten() {
            match load(&entry.path().join(file))? {
                Some(record) => out.push(record),
                None => drop(fs::remove_dir_all(entry.path())), // died before the record was written
            }
        }
        Ok(out)
    }

    /// Connects to the shim of a sandbox that should be running; none if there is no such shim.
    async fn reconnect(&self, sandbox: &Sandbox) -> Option<()> {
        let record = sandbox.record();
        if record.phase != Phase::Ready || record.boot_id != self.boot_id {
            return None;
        }
        let client = ShimClient::connect(&sandbox.id, &self.run_dir(&sandbox.id), self.shim_events.clone()).ok()?;
        client.hello().await.ok()?;
        *lock(&sandbox.shim) = Some(Arc::new(client));
        Some(())
    }

    /// A sandbox whose shim is gone: nothing of it may run on.
    fn bury(&self, sandbox: &Sandbox) {
        let mut record = lock(&sandbox.record);
        *lock(&sandbox.shim) = None;
        if record.boot_id == self.boot_id {
            client::shut_down_unknown(&self.run_dir(&sandbox.id));
        }
        record.phase = Phase::NotReady;
        if let Err(e) = self.save_sandbox(&record) {
            tracing::error!(sandbox = sandbox.id, error = %e, "cannot save a sandbox' state");
        }
    }

    fn adopt_container(&self, record: ContainerRecord) -> Result<Container> {
        let dir = self.container_dir(&record.id);
        let running: Option<Running> = load(&dir.join("running.json"))?;
        let mut ended: Option<Ended> = load(&dir.join("exit.json"))?;
        let mut live = Live::default();
        if let Some(running) = running {
            live = Live { started_at: running.started_at, pid: running.pid, user: Some(running.user), ..live };
            let sandbox = lock(&self.state).sandboxes.get(&record.sandbox).cloned();
            if ended.is_none() && !sandbox.is_some_and(|s| s.is_ready()) {
                self.cgroups.kill(&record.cgroup);
                let lost = lost("the container's shim was gone when the runtime started");
                crate::state::save(&dir.join("exit.json"), &lost)?;
                ended = Some(lost);
            }
        }
        live.ended = ended;
        Ok(Container::new(record, live))
    }

    /// Run directories of sandboxes that no record mentions.
    fn remove_strays(&self) -> Result<()> {
        let dir = self.config.run.join("s");
        for entry in fs::read_dir(&dir).map_err(|e| Error::file("list", &dir, e))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !lock(&self.state).sandboxes.contains_key(&name) {
                client::shut_down_unknown(&entry.path());
                namespaces::destroy(&entry.path())?;
            }
        }
        Ok(())
    }

    async fn follow_shims(engine: Weak<Engine>, mut events: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            let Some(engine) = engine.upgrade() else { return };
            match event {
                Event::Exited { container, exit } => {
                    let ended = Ended {
                        code: exit.code,
                        signal: exit.signal,
                        oom: exit.oom,
                        finished_at: exit.finished_at,
                        ..Ended::default()
                    };
                    engine.container_ended(&container, ended);
                }
                Event::Gone { sandbox } => engine.shim_gone(&sandbox),
            }
        }
    }

    /// Records the end of a container, once, and tells everybody.
    pub fn container_ended(&self, id: &str, ended: Ended) {
        let Ok(container) = self.container(id) else { return };
        let first = container.live.send_if_modified(|live| {
            let first = live.ended.is_none();
            live.ended.get_or_insert(ended);
            live.starting = false;
            first
        });
        if first {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, &container.record.sandbox);
        }
    }

    fn shim_gone(&self, id: &str) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        self.reap(id);
        let expected = lock(&sandbox.record).phase != Phase::Ready;
        let reconnected = lock(&sandbox.shim).as_ref().is_some_and(|s| !s.is_closed());
        if expected || reconnected {
            return;
        }
        tracing::warn!(sandbox = id, "the pod's shim has died and taken its containers with it");
        for container in self.containers_of(id).iter().filter(|c| c.is_running()) {
            self.cgroups.kill(&container.record.cgroup);
            let dir = self.container_dir(&container.record.id);
            let ended = load(&dir.join("exit.json")).ok().flatten().unwrap_or_else(|| {
                let ended = lost("the container's shim died");
                let _ = crate::state::save(&dir.join("exit.json"), &ended);
                ended
            });
            self.container_ended(&container.record.id, ended);
        }
        self.bury(&sandbox);
        self.announce(ContainerEventType::ContainerStoppedEvent, id, id);
    }

    /// Waits for a shim that has ended or is about to.
    pub fn reap(&self, sandbox: &str) {
        if let Some(mut child) = lock(&self.shims).remove(sandbox) {
            let wait = std::thread::Builder::new()
                .name("reap-shim".into())
                .stack_size(64 * 1024)
                .spawn(move || drop(child.wait()));
            if let Err(e) = wait {
                tracing::debug!(sandbox, error = %e, "a finished shim stays a zombie until this process ends");
            }
        }
    }

    /// A new subscription to events.
    pub fn subscribe(&self) -> mpsc::Receiver<ContainerEventResponse> {
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        lock(&self.subscribers).push(sender);
        receiver
    }

    /// Tells every subscriber what happened. One that does not keep up is cut off: it lists again.
    pub fn announce(&self, kind: ContainerEventType, id: &str, sandbox: &str) {
        if lock(&self.subscribers).is_empty() {
            return;
        }
        let event = ContainerEventResponse {
            container_id: id.to_string(),
            container_event_type: kind as i32,
            created_at: unix_nanos(),
            pod_sandbox_status: self.sandbox(sandbox).ok().map(|s| crate::status::sandbox_status(self, &s)),
            containers_statuses: self
                .containers_of(sandbox)
                .iter()
                .map(|c| crate::status::container_status(self, c))
                .collect(),
        };
        lock(&self.subscribers).retain(|s| s.try_send(event.clone()).is_ok());
    }
}

/// The end of a container that nobody saw.
fn lost(message: &str) -> Ended {
    Ended {
        code: 137,
        signal: 9,
        finished_at: unix_nanos(),
        reason: "Unknown".into(),
        message: message.into(),
        ..Ended::default()
    }
}

fn by_prefix<T>(map: &std::collections::BTreeMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(found) = map.get(id) {
        return Some(found.clone());
    }
    if id.is_empty() {
        return None;
    }
    let mut hits = map.range(id.to_string()..).take_while(|(k, _)| k.starts_with(id));
    match (hits.next(), hits.next()) {
        (Some((_, found)), None) => Some(found.clone()),
        _ => None,
    }
}

/// Removes everything that a cluster left on this machine: processes, cgroups, mounts, sockets. `run` is the cluster's run
/// directory (`/run/corten-<id>`). Images and other files below the data directory are left to the caller.
pub fn reset(cluster_id: &str, run: &Path) -> Result<()> {
    if cluster_id.len() != 8 || !cluster_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::invalid(format!("{cluster_id:?} is not a cluster id")));
    }
    let cgroups = Cgroups::detect().map_err(|e| Error::internal(format!("find cgroups: {e}")))?;
    let group = format!("/corten-{cluster_id}");
    if cgroups.exists(&group) {
        cgroups.kill(&group);
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut ours: Vec<&str> =
        mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|p| Path::new(p).starts_with(run)).collect();
    ours.sort_by_key(|p| std::cmp::Reverse(p.len()));
    for path in ours {
        crate::sys::umount(Path::new(path), libc::MNT_DETACH)
            .map_err(|e| Error::file("unmount", Path::new(path), e))?;
    }
    match fs::remove_dir_all(run) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::file("remove", run, e)),
        _ => {}
    }
    remove_when_empty(&cgroups, &group)
}

/// Removes a group as soon as the kernel has let go of what was killed in it.
pub fn remove_when_empty(cgroups: &Cgroups, group: &str) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match cgroups.remove(group) {
            Ok(()) => return Ok(()),
            Err(e) if std::time::Instant::now() > deadline => {
                return Err(Error::internal(format!("remove cgroup: {e}")));
            }
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}
