//! One node: runtime, pod network, service proxy, DNS and kubelet, in the network namespace of this process.

use crate::cluster::Cluster;
use crate::paths::{self, Paths};
use crate::pki;
use client::Client;
use network::Cidr;
use platform::Env;
use runtime::cni::{Cni, CniRequest, CniResult};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What a node needs.
pub struct NodeOptions {
    /// The cluster.
    pub cluster: Cluster,
    /// The node's name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its files.
    pub dir: PathBuf,
    /// The port of its own API.
    pub kubelet_port: u16,
    /// Its serving certificate.
    pub serving: pki::Pair,
    /// Who signs clients of its API.
    pub client_ca: String,
    /// A socket of another runtime.
    pub runtime_endpoint: Option<String>,
}

/// A running node.
pub struct Started {
    _kubelet: kubelet::Handle,
}

/// The built-in pod network, which is there once the node knows its pod range.
struct Network(OnceLock<network::cni::Plugin>);

#[async_trait::async_trait]
impl Cni for Network {
    async fn add(&self, request: &CniRequest) -> Result<CniResult, String> {
        let plugin = self.plugin()?;
        let netns = request.netns.clone().ok_or("a pod without a network namespace cannot be attached")?;
        let ports = request.port_mappings.iter().map(|p| network::PortMapping {
            host_port: p.host_port,
            container_port: p.container_port,
            protocol: match p.protocol {
                "udp" => network::Protocol::Udp,
                "sctp" => network::Protocol::Sctp,
                _ => network::Protocol::Tcp,
            },
            host_ip: match p.host_ip {
                Some(IpAddr::V4(ip)) => Some(ip),
                _ => None,
            },
        });
        let attach = network::cni::Attach {
            sandbox: request.container_id.clone(),
            pod_uid: request.pod_uid.clone(),
            netns,
            ifname: request.interface.clone(),
            ports: ports.collect(),
        };
        let attached = plugin.add(attach).await.map_err(|e| e.to_string())?;
        Ok(CniResult { ips: vec![attached.address.into()] })
    }

    async fn del(&self, request: &CniRequest) -> Result<(), String> {
        self.plugin()?.del(&request.container_id).await.map_err(|e| e.to_string())
    }

    async fn check(&self, request: &CniRequest) -> Result<(), String> {
        self.plugin()?.check(&request.container_id).await.map(drop).map_err(|e| e.to_string())
    }

    async fn status(&self) -> Result<(), String> {
        self.plugin().map(drop)
    }
}

impl Network {
    fn plugin(&self) -> Result<&network::cni::Plugin, String> {
        self.0.get().ok_or_else(|| "the node has no pod range yet".to_string())
    }
}

/// Starts a node; its parts run as tasks of `env`.
pub async fn start(env: &Env, client: Client, o: NodeOptions) -> Result<Started, String> {
    let network = pod_network(env, &client, network_options(&o))?;
    let cri = match &o.runtime_endpoint {
        Some(endpoint) => connect_runtime(env, endpoint)?,
        None => {
            let (id, run) = (&o.cluster.id, o.cluster.run_dir());
            embedded_runtime(env, id, &o.name, &run, o.dir.join("runtime"), network).await?
        }
    };
    service_proxy(env, &client, &o)?;
    let config = kubelet_config(&o);
    let kubelet = kubelet::run(env, config, client, cri).await.map_err(|e| format!("start the kubelet: {e}"))?;
    Ok(Started { _kubelet: kubelet })
}

/// The runtime in this process, with its sockets for `corten image` and `crictl`.
pub async fn embedded_runtime(
    env: &Env,
    id: &str,
    node: &str,
    run: &Path,
    root: PathBuf,
    network: Arc<dyn Cni>,
) -> Result<Arc<dyn wire::Cri>, String> {
    let config = runtime::RuntimeConfig { run: run.join(node), ..runtime::RuntimeConfig::new(id, node, root) };
    let runtime =
        runtime::Runtime::open(config, network).await.map_err(|e| format!("open the container runtime: {e}"))?;
    let images = runtime.clone();
    let work = async move |request| crate::images::answer(&images, request).await;
    env.spawn("control socket", crate::control::serve(crate::control::of_node(run, node), work));
    let (socket, served) = (run.join(node).join("cri.sock"), runtime.clone());
    env.spawn("cri socket", async move {
        if let Err(e) = runtime::grpc::serve(served, &socket).await {
            tracing::warn!(error = %e, "the CRI socket ended");
        }
    });
    Ok(Arc::new(runtime))
}

/// A runtime behind a socket.
pub fn connect_runtime(env: &Env, endpoint: &str) -> Result<Arc<dyn wire::Cri>, String> {
    let cri =
        kubelet::remote::Remote::new(env, endpoint).map_err(|e| format!("container runtime at {endpoint}: {e}"))?;
    Ok(Arc::new(cri))
}

fn kubelet_config(o: &NodeOptions) -> kubelet::KubeletConfig {
    let server = kubelet::ServerConfig {
        address: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), o.kubelet_port),
        certificate: o.serving.cert.clone().into_bytes(),
        key: o.serving.key.clone().into_bytes(),
        client_ca: o.client_ca.clone().into_bytes(),
    };
    kubelet::KubeletConfig {
        pod_logs_dir: o.dir.join("logs"),
        cluster_dns: vec![o.cluster.service_address(10).to_string()],
        server: Some(server),
        ..kubelet::KubeletConfig::new(&o.name, o.dir.join("kubelet"), vec![o.address.to_string()])
    }
}

/// What a node's pod network needs.
#[derive(Clone)]
pub struct NetworkOptions {
    /// Eight hexadecimal digits, part of every name in the kernel.
    pub cluster_id: String,
    /// The node's name.
    pub node: String,
    /// All pods' addresses.
    pub pod_range: String,
    /// All services' addresses.
    pub service_range: String,
    /// The overlay's UDP port.
    pub overlay_port: u16,
    /// Where allocations are kept.
    pub dir: PathBuf,
    /// The address of the cluster's DNS service, if this node answers it.
    pub dns: Option<IpAddr>,
}

fn network_options(o: &NodeOptions) -> NetworkOptions {
    NetworkOptions {
        cluster_id: o.cluster.id.clone(),
        node: o.name.clone(),
        pod_range: o.cluster.pod_range.clone(),
        service_range: o.cluster.service_range.clone(),
        overlay_port: o.cluster.overlay_port,
        dir: o.dir.join("network"),
        dns: Some(o.cluster.service_address(10).into()),
    }
}

fn block(text: &str) -> Result<Cidr, String> {
    Cidr::parse(text).ok_or_else(|| format!("{text:?} is no range such as 10.244.0.0/16"))
}

fn service_proxy(env: &Env, client: &Client, o: &NodeOptions) -> Result<(), String> {
    let proxy = network::proxy::Options {
        cluster_id: o.cluster.id.clone(),
        node: o.name.clone(),
        cluster_block: block(&o.cluster.pod_range)?,
        service_block: block(&o.cluster.service_range)?,
    };
    let (e, c) = (env.clone(), client.clone());
    env.spawn("service proxy", async move {
        if let Err(error) = network::proxy::run(e, c, proxy, || tracing::info!("service rules are in place")).await {
            tracing::error!(%error, "the service proxy ended");
        }
    });
    Ok(())
}

/// The built-in pod network: it attaches pods as soon as the node has a pod range.
pub fn pod_network(env: &Env, client: &Client, o: NetworkOptions) -> Result<Arc<dyn Cni>, String> {
    let (cluster_block, service_block) = (block(&o.pod_range)?, block(&o.service_range)?);
    let network = Arc::new(Network(OnceLock::new()));
    let (e, c, shared) = (env.clone(), client.clone(), network.clone());
    env.spawn("pod network", async move {
        let (node_block, address) = network::overlay::identity(&e, &c, &o.node).await;
        let mtu = network::overlay::pod_mtu(address).unwrap_or(1450);
        let config =
            network::cni::Config { cluster_id: o.cluster_id.clone(), node_block, cluster_block, dir: o.dir, mtu };
        match network::cni::Plugin::new(config) {
            Ok(plugin) => {
                let keep = plugin.clone().keep();
                e.spawn("pod rules", async move {
                    if let Err(error) = keep.await {
                        tracing::error!(%error, "the pod rules are not watched");
                    }
                });
                drop(shared.0.set(plugin));
            }
            Err(error) => {
                tracing::error!(%error, "the pod network cannot be built");
                return;
            }
        }
        if let (Some(gateway), Some(service_address)) = (node_block.nth(1), o.dns) {
            let dns = dns::Options {
                domain: "cluster.local".into(),
                listen: SocketAddr::new(gateway.into(), dns::PORT),
                service_address,
                resolv_conf: "/etc/resolv.conf".into(),
            };
            e.spawn("dns", dns::run(e.clone(), c.clone(), dns, || tracing::info!("cluster DNS answers")));
        }
        let overlay = network::overlay::Options {
            cluster_id: o.cluster_id,
            node: o.node,
            node_block,
            service_block,
            address,
            port: o.overlay_port,
        };
        if let Err(error) = network::overlay::run(e, c, overlay, || tracing::info!("the overlay is up")).await {
            tracing::error!(%error, "the overlay ended");
        }
    });
    Ok(network)
}

/// How a node's process is started.
pub struct Launch {
    /// The cluster's files.
    pub paths: Paths,
    /// The node's name.
    pub name: String,
    /// Its number.
    pub number: u8,
    /// Its network namespace.
    pub netns: PathBuf,
    /// How it reaches the API server.
    pub kubeconfig: PathBuf,
}

impl Launch {
    fn log(&self) -> PathBuf {
        self.paths.node(&self.name).join("corten.log")
    }

    fn spawn(&self) -> Result<std::process::Child, String> {
        let log = self.log();
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).map_err(|e| format!("make {}: {e}", parent.display()))?;
        }
        let fail = |e: std::io::Error| format!("open {}: {e}", log.display());
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(fail)?;
        let err = out.try_clone().map_err(fail)?;
        let mut command = std::process::Command::new("/proc/self/exe");
        command
            .arg("node")
            .arg("--data-dir")
            .arg(&self.paths.data)
            .arg("--name")
            .arg(&self.name)
            .arg("--number")
            .arg(self.number.to_string())
            .arg("--netns")
            .arg(&self.netns)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--parent")
            .arg(std::process::id().to_string());
        command.stdin(std::process::Stdio::null()).stdout(out).stderr(err);
        command.spawn().map_err(|e| format!("start {}: {e}", self.name))
    }
}

/// Longest pause before a node's process that keeps ending is started again.
const PAUSE_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// A process that ran this long has its earlier ends forgotten.
const STABLE: std::time::Duration = std::time::Duration::from_secs(60);

/// A node in a process and network namespace of its own. A process that ends by itself is started again, and that is told;
/// its pods go on meanwhile. One thread looks after it as long as it lives: the kernel ends the process with that thread.
pub struct Child {
    state: Arc<Mutex<ChildState>>,
    keeper: std::thread::JoinHandle<()>,
}

#[derive(Default)]
struct ChildState {
    ending: bool,
    /// The process, as long as it was not reaped.
    pid: Option<libc::pid_t>,
}

impl Child {
    /// Starts it.
    pub fn start(launch: Launch, progress: crate::daemon::Progress) -> Result<Child, String> {
        let state: Arc<Mutex<ChildState>> = Arc::default();
        let (name, shared) = (launch.name.clone(), state.clone());
        let keeper = std::thread::Builder::new()
            .name(format!("node {name}"))
            .spawn(move || keep(&launch, &shared, &progress))
            .map_err(|e| format!("start the thread that looks after {name}: {e}"))?;
        Ok(Child { state, keeper })
    }

    /// Tells it to end.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ending = true;
        if let Some(pid) = state.pid {
            // SAFETY: kill takes a signal number and the pid of a child that was not reaped yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        drop(state);
        self.keeper.thread().unpark();
    }

    /// Waits until it has ended.
    pub fn wait(self) {
        let _ = self.keeper.join();
    }
}

fn lock(state: &Mutex<ChildState>) -> MutexGuard<'_, ChildState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(launch: &Launch, state: &Mutex<ChildState>, progress: &crate::daemon::Progress) {
    let mut pause = std::time::Duration::ZERO;
    loop {
        let began = std::time::Instant::now();
        let ended = run_once(launch, state);
        if lock(state).ending {
            return;
        }
        if began.elapsed() > STABLE {
            pause = std::time::Duration::ZERO;
        }
        let (name, log) = (&launch.name, launch.log());
        tracing::error!(node = name, how = ended, log = %log.display(), "a node's process has ended by itself and is started again; its pods go on");
        progress(&format!("the process of {name} has ended ({ended}) and is started again; see {}", log.display()));
        std::thread::park_timeout(pause);
        if lock(state).ending {
            return;
        }
        pause = (pause * 2).clamp(std::time::Duration::from_secs(1), PAUSE_MAX);
    }
}

/// Runs the process to its end; answers how it ended.
fn run_once(launch: &Launch, state: &Mutex<ChildState>) -> String {
    let mut process = match launch.spawn() {
        Ok(process) => process,
        Err(e) => return e,
    };
    let pid = process.id() as libc::pid_t;
    {
        let mut state = lock(state);
        state.pid = Some(pid);
        if state.ending {
            // SAFETY: as in `Child::end`.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
    // Waited for without reaping, so that nobody signals a pid that is somebody else's by then.
    // SAFETY: zero is a valid siginfo_t, and it outlives the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        while libc::waitid(libc::P_PID, process.id(), &raw mut info, libc::WEXITED | libc::WNOWAIT) < 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
    lock(state).pid = None;
    process.wait().map_or_else(|e| e.to_string(), |status| status.to_string())
}

/// The hidden command `corten node`: enters the namespace while there is one thread, then runs the node.
pub struct Join {
    /// The cluster's files.
    pub paths: Paths,
    /// The node's name.
    pub name: String,
    /// Its number.
    pub number: u8,
    /// Its network namespace.
    pub netns: PathBuf,
    /// How it reaches the API server.
    pub kubeconfig: PathBuf,
    /// The process that started it.
    pub parent: u32,
}

impl Join {
    /// Enters the namespace. Must be called before any thread is started.
    pub fn enter(&self) -> Result<(), String> {
        let file = std::fs::File::open(&self.netns).map_err(|e| format!("open {}: {e}", self.netns.display()))?;
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .map_err(|e| format!("enter {}: {e}", self.netns.display()))?;
        // A node without its cluster is of no use: it ends with the process that started it.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .map_err(|e| format!("tie to the parent process: {e}"))?;
        let parent = rustix::process::getppid().map(|p| p.as_raw_nonzero().get() as u32);
        if parent == Some(self.parent) {
            return Ok(());
        }
        Err(format!("process {}, which started this node, has ended", self.parent))
    }

    /// Runs the node.
    pub async fn run(self) -> Result<(), String> {
        // The same node's process of a cluster that was killed may still be ending: two must not work side by side.
        let path = self.paths.node(&self.name).join("lock");
        let _lock = paths::lock(&path, std::time::Duration::from_secs(20))?
            .ok_or_else(|| format!("another process runs this node: it holds {}", path.display()))?;
        let env = Env::system(&self.name);
        let cluster = Cluster::load(&self.paths)?
            .ok_or_else(|| format!("there is no cluster in {}", self.paths.data.display()))?;
        let config = client::Config::load(&self.kubeconfig, None).map_err(|e| e.to_string())?;
        let client = Client::new(Arc::new(client::Https::new(&env, config).map_err(|e| e.to_string())?), "kubelet");
        let dir = self.paths.pki();
        let file = |end: &str| paths::read(&dir.join(format!("kubelet-{}.{end}", self.name)));
        let options = NodeOptions {
            address: cluster.node_address(self.number),
            dir: self.paths.node(&self.name),
            kubelet_port: 10250,
            serving: pki::Pair { cert: file("crt")?, key: file("key")? },
            client_ca: paths::read(&dir.join("ca.crt"))?,
            runtime_endpoint: None,
            name: self.name,
            cluster,
        };
        let _started = start(&env, client, options).await?;
        crate::cli::until_signal().await;
        Ok(())
    }
}
