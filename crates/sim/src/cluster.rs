//! The processes of a cluster, each with an environment of its own that can be killed and started again.

use crate::checks::{self, Checks};
use crate::net::{Door, Net};
use crate::node::{self, Machine};
use crate::trace::Trace;
use apiserver::{Registry, Server, ServerConfig, Settings, Signer, User};
use client::Client;
use platform::Limits;
use platform::disk::SimDisk;
use platform::time::{Duration, Instant, sleep};
use platform::{Env, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{AesGcm, At, RangeRequest, Revision, Seal, Store, WatchItem};

const EPOCH: i64 = 1_800_000_000;

/// See the file's head.
pub struct Cluster {
    seed: u64,
    start: Instant,
    limits: Limits,
    /// The store's disk.
    pub disk: SimDisk,
    /// The network.
    pub net: Arc<Net>,
    /// What is checked.
    pub checks: Arc<Checks>,
    /// What happened.
    pub trace: Arc<Trace>,
    /// Nodes' machines.
    pub machines: Vec<Arc<Machine>>,
    processes: BTreeMap<String, Env>,
    starts: u64,
    signer: Vec<u8>,
    _root: Root,
}

/// A directory for kubelets' files, removed in the end.
struct Root(std::path::PathBuf);

impl Root {
    fn new(seed: u64) -> Result<Root, String> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let run = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // In memory where it can be: file systems are slow to make thousands of files anew.
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let path = parent.join(format!("corten-sim-{}-{seed}-{run}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Root(path))
    }

    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // left over at worst: it is a temporary directory
    }
}

/// An authenticated user.
pub fn user(name: &str, groups: &[&str]) -> User {
    User {
        name: name.into(),
        groups: groups.iter().map(|g| g.to_string()).chain(["system:authenticated".into()]).collect(),
        ..User::default()
    }
}

impl Cluster {
    /// A cluster in which nothing runs yet.
    pub fn new(seed: u64, disk: SimDisk, limits: Limits, nodes: u64, loud: bool) -> Result<Cluster, String> {
        let root = Root::new(seed)?;
        let (checks, trace) = (Arc::new(Checks::default()), Arc::new(Trace::new(loud)));
        let net = Net::new(seed, trace.clone(), checks.clone());
        // Every other machine has the real kubelet; the rest are hollow.
        let machines =
            (0..nodes).map(|n| Machine::new(n, seed, (n % 2 == 0).then(|| root.path().into()), &checks)).collect();
        let signer = Signer::generate()?;
        Ok(Cluster {
            seed,
            start: Instant::now(),
            limits,
            disk,
            net,
            checks,
            trace,
            machines,
            processes: BTreeMap::new(),
            starts: 0,
            signer,
            _root: root,
        })
    }

    /// Names of everything that can be crashed and started again, but the server.
    pub fn names(&self) -> Vec<String> {
        ["controllers", "scheduler"]
            .map(String::from)
            .into_iter()
            .chain(self.machines.iter().map(|m| m.name.clone()))
            .collect()
    }

    /// The environment of a new process.
    pub fn process(&mut self, name: &str) -> Env {
        self.starts += 1;
        let now = WallTime::from_unix(EPOCH, 0).plus(self.start.elapsed());
        let env = Env::simulated(name, self.seed.wrapping_mul(1000) + self.starts, now).limited(self.limits);
        self.processes.insert(name.into(), env.clone());
        env
    }

    /// Ends a process at once.
    pub fn kill(&mut self, name: &str) {
        self.trace.note(&format!("killed {name}"));
        if name == "server" {
            self.net.set_server(None);
            self.disk.process_ended();
        }
        if let Some(env) = self.processes.remove(name) {
            env.kill();
        }
    }

    /// Whether a process runs.
    pub fn runs(&self, name: &str) -> bool {
        self.processes.contains_key(name)
    }

    /// Moves a process' clock.
    pub fn skew(&self, name: &str, nanos: i64) {
        if let Some(env) = self.processes.get(name) {
            env.skew(nanos);
        }
    }

    /// Damages a file that was durable as a whole; the server has to refuse it, with the file's name. Then the damage is undone.
    pub async fn rot(&mut self, pick: u64, offset: u64) {
        let names: Vec<String> =
            self.disk.names().into_iter().filter(|n| n.ends_with(".log") || n.ends_with(".snap")).collect();
        // The last segment's end may be torn lawfully.
        let whole =
            names.iter().filter(|n| n.ends_with(".snap") || Some(*n) != names.iter().rfind(|n| n.ends_with(".log")));
        let whole: Vec<&String> = whole.collect();
        // An older snapshot does not count any more.
        let newest = names.iter().rfind(|n| n.ends_with(".snap"));
        let whole: Vec<&String> = whole.into_iter().filter(|n| n.ends_with(".log") || Some(*n) == newest).collect();
        let Some(name) = whole.get(pick as usize % whole.len().max(1)).map(|n| n.to_string()) else { return };
        let at = offset % self.disk.size(&name).unwrap_or(1).max(1);
        self.trace.note(&format!("byte {at} of {name} rots"));
        if !self.disk.rot(&name, at) {
            return;
        }
        let env = self.process("server");
        let seal: Option<Arc<dyn Seal>> = AesGcm::new(&[(1, [3; 32])]).ok().map(|s| Arc::new(s) as Arc<dyn Seal>);
        let opened = store::log::open(&env, Arc::new(self.disk.clone()), seal, self.limits.store).await;
        env.kill();
        self.disk.process_ended();
        match opened.err() {
            // A segment that a crash left behind before the one that counts is not read at all.
            None if self.disk.size(&name).is_none() => return,
            Some(store::log::OpenError::Corrupt(why)) if why.contains(&name) => {}
            other => {
                self.checks.violated(checks::ROT, format!("byte {at} of {name}: {:?}", other.map(|e| e.to_string())))
            }
        }
        self.disk.rot(&name, at);
    }

    /// Starts the API server on its store. Tries again while the disk fails.
    pub async fn start_server(&mut self) -> Result<(), String> {
        for _ in 0..50 {
            let env = self.process("server");
            match self.try_server(&env).await {
                Ok(server) => {
                    self.net.set_server(Some((server, env)));
                    self.trace.note("the server is up");
                    return Ok(());
                }
                Err(error) if error.contains("damaged") => return Err(error),
                Err(error) => {
                    self.trace.note(&format!("the server did not start: {error}"));
                    self.kill("server");
                    sleep(Duration::from_millis(500)).await;
                }
            }
        }
        Err("the server does not start".into())
    }

    async fn try_server(&self, env: &Env) -> Result<Arc<Server>, String> {
        let seal: Arc<dyn Seal> = Arc::new(AesGcm::new(&[(1, [3; 32])]).map_err(|e| e.to_string())?);
        let store = store::log::open(env, Arc::new(self.disk.clone()), Some(seal), self.limits.store)
            .await
            .map_err(|e| e.to_string())?;
        self.history(&*store).await?;
        let recorder: Arc<dyn Store> = store.clone();
        drop(env.spawn("truth", record(recorder, self.checks.clone())));
        let settings = Settings {
            issuer: "https://kubernetes.default.svc".into(),
            service_cidr: ([10, 96, 0, 0].into(), 16),
            node_ports: (30000, 32767),
            advertise: ([10, 0, 0, 1].into(), 6443),
            node_restriction: true,
            service_account_admission: false,
            event_ttl_seconds: 3600,
        };
        let registry = Registry::start(env.clone(), store, settings, Signer::from_pkcs8(&self.signer)?).await?;
        apiserver::bootstrap::run(&registry).await.map_err(|s| s.message)?;
        Ok(Server::new(registry, ServerConfig::default()))
    }

    /// Tells the checks what a store that was opened again still knows.
    async fn history(&self, store: &dyn Store) -> Result<(), String> {
        let status = store.status();
        let mut watch = store.watch("/registry/", status.compacted).map_err(|e| e.to_string())?;
        let (mut seen, mut revisions) = (status.compacted, BTreeSet::new());
        while seen < status.revision {
            match watch.next().await.map_err(|e| e.to_string())? {
                WatchItem::Progress(at) => seen = at,
                WatchItem::Changes(batch) => {
                    seen = batch.revision;
                    revisions.insert(seen.0);
                }
            }
        }
        self.checks.history(self.net.generation() + 1, status.compacted.0, &revisions);
        Ok(())
    }

    /// Starts controllers, the scheduler or a node's agent.
    pub fn start(&mut self, name: &str) -> Result<(), String> {
        self.trace.note(&format!("starting {name}"));
        let env = self.process(name);
        let net = self.net.clone();
        match name {
            "controllers" => {
                let clients: controllers::Clients = Arc::new(move |who| {
                    let identity = if who == "controller-manager" {
                        user("system:kube-controller-manager", &[])
                    } else {
                        user(
                            &format!("system:serviceaccount:kube-system:{who}"),
                            &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
                        )
                    };
                    Client::new(Arc::new(Door::new(&net, "controllers", identity)), who)
                });
                controllers::run(&env, clients, controllers::Options { root_ca: "PEM".into(), ..Default::default() })
                    .map(drop)
            }
            "scheduler" => {
                let door = Door::new(&net, "scheduler", user("system:kube-scheduler", &[]));
                scheduler::run(&env, &Client::new(Arc::new(door), "scheduler"), scheduler::Options::default());
                Ok(())
            }
            node => {
                let machine =
                    self.machines.iter().find(|m| m.name == node).ok_or_else(|| format!("no machine {node}"))?;
                let door = Door::new(&net, node, user(&format!("system:node:{node}"), &["system:nodes"]));
                node::run(&env, &Client::new(Arc::new(door), "kubelet"), machine);
                Ok(())
            }
        }
    }

    /// A client that may do everything.
    pub fn admin(&self, name: &str) -> Client {
        self.client(name, "admin", &["system:masters"])
    }

    /// A client of the machine `name`, as a user.
    pub fn client(&self, name: &str, who: &str, groups: &[&str]) -> Client {
        Client::new(Arc::new(Door::new(&self.net, name, user(who, groups))), name)
    }
}

/// Writes down every change that the store tells.
async fn record(store: Arc<dyn Store>, checks: Arc<Checks>) {
    let mut after = store.status().compacted;
    loop {
        let objects = RangeRequest { at: At::Revision(after), ..RangeRequest::prefix("/registry/") };
        let (Ok(range), Ok(mut watch)) = (store.range(objects).await, store.watch("/registry/", after)) else {
            // Lost in a reopening: the next revision that can be watched is the newest.
            after = store.revision().max(Revision(after.0 + 1));
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        checks.begin(&range.entries);
        while let Ok(item) = watch.next().await {
            match item {
                WatchItem::Progress(at) => after = at,
                WatchItem::Changes(batch) => {
                    after = batch.revision;
                    batch.records.iter().for_each(|r| checks.truth(r));
                }
            }
        }
    }
}
