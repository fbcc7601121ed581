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
use std::sync::{Arc, OnceLock};

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
    let network = Arc::new(Network(OnceLock::new()));
    let cri: Arc<dyn wire::Cri> = match &o.runtime_endpoint {
        Some(endpoint) => connect_runtime(env, endpoint)?,
        None => {
            let config = runtime::RuntimeConfig {
                run: o.cluster.run_dir().join(&o.name),
                ..runtime::RuntimeConfig::new(&o.cluster.id, &o.name, o.dir.join("runtime"))
            };
            let runtime = runtime::Runtime::open(config, network.clone())
                .await
                .map_err(|e| format!("open the container runtime: {e}"))?;
            let control = crate::control::serve(crate::control::socket(&o.cluster.run_dir(), &o.name), runtime.clone());
            env.spawn("control socket", async move {
                if let Err(e) = control.await {
                    tracing::warn!(error = %e, "the control socket ended");
                }
            });
            let socket = o.cluster.run_dir().join(&o.name).join("cri.sock");
            let served = runtime.clone();
            env.spawn("cri socket", async move {
                if let Err(e) = runtime::grpc::serve(served, &socket).await {
                    tracing::warn!(error = %e, "the CRI socket ended");
                }
            });
            Arc::new(runtime)
        }
    };
    services(env, &client, &o, network);
    let config = kubelet_config(&o);
    let kubelet = kubelet::run(env, config, client, cri).await.map_err(|e| format!("start the kubelet: {e}"))?;
    Ok(Started { _kubelet: kubelet })
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

/// The node's networking: each part waits for what it needs.
fn services(env: &Env, client: &Client, o: &NodeOptions, network: Arc<Network>) {
    let (Some(cluster_block), Some(service_block)) =
        (Cidr::parse(&o.cluster.pod_range), Cidr::parse(&o.cluster.service_range))
    else {
        return;
    };
    let proxy = network::proxy::Options {
        cluster_id: o.cluster.id.clone(),
        node: o.name.clone(),
        cluster_block,
        service_block,
    };
    let (e, c) = (env.clone(), client.clone());
    env.spawn("service proxy", async move {
        if let Err(error) = network::proxy::run(e, c, proxy, || tracing::info!("service rules are in place")).await {
            tracing::error!(%error, "the service proxy ended");
        }
    });
    let (e, c, cluster, name, dir) = (env.clone(), client.clone(), o.cluster.clone(), o.name.clone(), o.dir.clone());
    env.spawn("pod network", async move {
        let (node_block, address) = network::overlay::identity(&e, &c, &name).await;
        let mtu = network::overlay::pod_mtu(address).unwrap_or(1450);
        let config = network::cni::Config {
            cluster_id: cluster.id.clone(),
            node_block,
            cluster_block,
            dir: dir.join("network"),
            mtu,
        };
        match network::cni::Plugin::new(config) {
            Ok(plugin) => {
                let keep = plugin.clone().keep();
                e.spawn("pod rules", async move {
                    if let Err(error) = keep.await {
                        tracing::error!(%error, "the pod rules are not watched");
                    }
                });
                drop(network.0.set(plugin));
            }
            Err(error) => {
                tracing::error!(%error, "the pod network cannot be built");
                return;
            }
        }
        if let Some(gateway) = node_block.nth(1) {
            let dns = dns::Options {
                domain: "cluster.local".into(),
                listen: SocketAddr::new(gateway.into(), dns::PORT),
                service_address: cluster.service_address(10).into(),
                resolv_conf: "/etc/resolv.conf".into(),
            };
            e.spawn("dns", dns::run(e.clone(), c.clone(), dns, || tracing::info!("cluster DNS answers")));
        }
        let overlay = network::overlay::Options {
            cluster_id: cluster.id.clone(),
            node: name,
            node_block,
            service_block,
            address,
            port: cluster.overlay_port,
        };
        if let Err(error) = network::overlay::run(e, c, overlay, || tracing::info!("the overlay is up")).await {
            tracing::error!(%error, "the overlay ended");
        }
    });
}

/// A node in a process and network namespace of its own.
pub struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts it. It ends with this process; its pods go on.
    pub fn start(paths: &Paths, name: &str, n: u8, netns: &Path, kubeconfig: &Path) -> Result<Child, String> {
        let log = paths.node(name).join("corten.log");
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).map_err(|e| format!("make {}: {e}", parent.display()))?;
        }
        let out = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|e| format!("open {}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| format!("open {}: {e}", log.display()))?;
        let mut command = std::process::Command::new("/proc/self/exe");
        command
            .arg("node")
            .arg("--data-dir")
            .arg(&paths.data)
            .arg("--name")
            .arg(name)
            .arg("--number")
            .arg(n.to_string())
            .arg("--netns")
            .arg(netns)
            .arg("--kubeconfig")
            .arg(kubeconfig);
        command.stdin(std::process::Stdio::null()).stdout(out).stderr(err);
        let process = command.spawn().map_err(|e| format!("start {name}: {e}"))?;
        Ok(Child { process })
    }

    /// Ends it.
    pub fn stop(&mut self) {
        // SAFETY: kill takes a pid of a child that was not reaped yet, and a signal number.
        unsafe { libc::kill(self.process.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.process.wait();
    }
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
            .map_err(|e| format!("tie to the parent process: {e}"))
    }

    /// Runs the node.
    pub async fn run(self) -> Result<(), String> {
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
