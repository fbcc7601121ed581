//! `corten controller-manager | scheduler | proxy | kubelet`: each alone, against a kubeconfig, with upstream's flags.

use crate::accounts::Accounts;
use crate::config_file::ConfigSpec;
use crate::flags::{Flags, Spec};
use crate::{node, paths, pki};
use client::{Candidate, Client, Config, Election, Https};
use network::Cidr;
use platform::Env;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const ELECTION: [(&str, &str); 7] = [
    ("leader-elect", "Act only while holding the lease."),
    ("leader-elect-lease-duration", "How long others respect a silent holder."),
    ("leader-elect-renew-deadline", "When a holder that cannot renew gives up."),
    ("leader-elect-resource-lock", "Kind of the lock; only \"leases\"."),
    ("leader-elect-resource-name", "Name of the lease."),
    ("leader-elect-resource-namespace", "Namespace of the lease."),
    ("leader-elect-retry-period", "Between tries."),
];

/// The controller manager's flags.
pub const CONTROLLERS: Spec = Spec {
    component: "controller-manager",
    table: include_str!("../../../facts/flags/kube-controller-manager.tsv"),
    acting: &[
        ("cluster-cidr", "Range of pods' addresses, cut into one block a node."),
        ("kubeconfig", "How the API server is reached."),
        ("root-ca-file", "Authority published in every namespace; default: the kubeconfig's."),
        (
            "use-service-account-credentials",
            "Each controller acts as a service account of its own, for which upstream's roles have the rights.",
        ),
        ELECTION[0],
        ELECTION[1],
        ELECTION[2],
        ELECTION[3],
        ELECTION[4],
        ELECTION[5],
        ELECTION[6],
    ],
    own: &[],
    config: None,
};

/// The scheduler's flags.
pub const SCHEDULER: Spec = Spec {
    component: "scheduler",
    table: include_str!("../../../facts/flags/kube-scheduler.tsv"),
    acting: &[
        ("kubeconfig", "How the API server is reached."),
        ELECTION[0],
        ELECTION[1],
        ELECTION[2],
        ELECTION[3],
        ELECTION[4],
        ELECTION[5],
        ELECTION[6],
    ],
    own: &[],
    config: Some(ConfigSpec {
        api_version: "kubescheduler.config.k8s.io/v1",
        kind: "KubeSchedulerConfiguration",
        root: "kube-scheduler/config/v1.KubeSchedulerConfiguration",
        defaults: include_str!("../../../facts/config-defaults/KubeSchedulerConfiguration.json"),
        acting: &[
            ("clientConnection.kubeconfig", "kubeconfig"),
            ("leaderElection.leaderElect", "leader-elect"),
            ("leaderElection.leaseDuration", "leader-elect-lease-duration"),
            ("leaderElection.renewDeadline", "leader-elect-renew-deadline"),
            ("leaderElection.resourceLock", "leader-elect-resource-lock"),
            ("leaderElection.resourceName", "leader-elect-resource-name"),
            ("leaderElection.resourceNamespace", "leader-elect-resource-namespace"),
            ("leaderElection.retryPeriod", "leader-elect-retry-period"),
        ],
        does: &[],
    }),
};

/// The service proxy's flags.
pub const PROXY: Spec = Spec {
    component: "proxy",
    table: include_str!("../../../facts/flags/kube-proxy.tsv"),
    acting: &[
        ("cluster-cidr", "Range of pods' addresses."),
        ("hostname-override", "Name of this node; default: the machine's."),
        ("kubeconfig", "How the API server is reached."),
    ],
    own: &[
        ("cluster-id", "Eight hexadecimal digits that stand in the names of rules."),
        ("service-cluster-ip-range", "Range of services' addresses."),
    ],
    config: Some(ConfigSpec {
        api_version: "kubeproxy.config.k8s.io/v1alpha1",
        kind: "KubeProxyConfiguration",
        root: "kube-proxy/config/v1alpha1.KubeProxyConfiguration",
        defaults: include_str!("../../../facts/config-defaults/KubeProxyConfiguration.json"),
        acting: &[
            ("clientConnection.kubeconfig", "kubeconfig"),
            ("clusterCIDR", "cluster-cidr"),
            ("hostnameOverride", "hostname-override"),
        ],
        does: &[("mode", "nftables")],
    }),
};

/// The kubelet's flags.
pub const KUBELET: Spec = Spec {
    component: "kubelet",
    table: include_str!("../../../facts/flags/kubelet.tsv"),
    acting: &[
        ("address", "Address on which the kubelet's API listens."),
        ("cert-dir", "Where a serving certificate is made when no --tls-cert-file is given."),
        ("client-ca-file", "Authority of client certificates."),
        ("cluster-dns", "Addresses of the cluster's DNS servers."),
        ("cluster-domain", "The cluster's domain."),
        (
            "container-runtime-endpoint",
            "Socket of the container runtime (unix://…); without it the embedded runtime runs the pods.",
        ),
        ("hostname-override", "Name of this node; default: the machine's."),
        ("image-gc-high-threshold", "Unused images go when the disk is fuller than this (percent) …"),
        ("image-gc-low-threshold", "… until it is at this."),
        ("kubeconfig", "How the API server is reached."),
        ("max-pods", "Pods that the node takes."),
        ("node-ip", "Address of this node; default: that by which it reaches the API server."),
        ("node-labels", "More labels of the Node, key=value,…"),
        ("node-status-update-frequency", "How often the node is looked at and its lease renewed."),
        ("port", "Port of the kubelet's API."),
        ("register-node", "The Node is made if it is not there."),
        ("resolv-conf", "The host's resolver configuration."),
        ("root-dir", "Where volumes and checkpoints are kept."),
        ("system-reserved", "Set aside for the system, resource=quantity,…"),
        ("tls-cert-file", "Serving certificate."),
        ("tls-private-key-file", "Its key."),
    ],
    own: &[
        ("cluster-cidr", "Embedded runtime: range of all pods' addresses (default 10.244.0.0/16)"),
        (
            "cluster-id",
            "Embedded runtime: eight hexadecimal digits in the names of links and rules, the same on all nodes",
        ),
        ("pod-logs-dir", "Where the logs of pods are (default /var/log/pods)"),
        ("service-cluster-ip-range", "Embedded runtime: range of services' addresses (default 10.96.0.0/16)"),
    ],
    config: Some(ConfigSpec {
        api_version: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        root: "kubelet/config/v1beta1.KubeletConfiguration",
        defaults: include_str!("../../../facts/config-defaults/KubeletConfiguration.json"),
        acting: &[
            ("address", "address"),
            ("authentication.x509.clientCAFile", "client-ca-file"),
            ("clusterDNS", "cluster-dns"),
            ("clusterDomain", "cluster-domain"),
            ("containerRuntimeEndpoint", "container-runtime-endpoint"),
            ("imageGCHighThresholdPercent", "image-gc-high-threshold"),
            ("imageGCLowThresholdPercent", "image-gc-low-threshold"),
            ("maxPods", "max-pods"),
            ("nodeStatusUpdateFrequency", "node-status-update-frequency"),
            ("podLogsDir", "pod-logs-dir"),
            ("port", "port"),
            ("registerNode", "register-node"),
            ("resolvConf", "resolv-conf"),
            ("systemReserved", "system-reserved"),
            ("tlsCertFile", "tls-cert-file"),
            ("tlsPrivateKeyFile", "tls-private-key-file"),
        ],
        does: &[("failCgroupV1", "false")],
    }),
};

/// Prints help, or answers the flags.
pub fn flags(spec: &Spec, args: &[String]) -> Result<Option<Flags>, String> {
    if args.iter().any(|a| a == "--help" || a == "-h") {
        print!("{}", spec.help());
        return Ok(None);
    }
    spec.parse(args).map(Some)
}

fn connect(env: &Env, flags: &Flags, agent: &str) -> Result<(Config, Client), String> {
    let path = flags.path("kubeconfig").ok_or("flag --kubeconfig is needed: it says how the API server is reached")?;
    let config = Config::load(&path, None).map_err(|e| e.to_string())?;
    let https = Https::new(env, config.clone()).map_err(|e| e.to_string())?;
    Ok((config, Client::new(Arc::new(https), agent)))
}

fn duration(flags: &Flags, name: &str, default: u64) -> Result<Duration, String> {
    match flags.get(name) {
        None => Ok(Duration::from_secs(default)),
        Some(text) => api::time::parse_duration(text)
            .and_then(|n| u64::try_from(n).ok())
            .map(Duration::from_nanos)
            .ok_or_else(|| format!("flag --{name}: {text:?} is no duration such as 15s")),
    }
}

/// Runs `act` while this process leads; ends when it no longer does.
async fn lead(
    env: &Env,
    client: &Client,
    flags: &Flags,
    name: &str,
    act: impl FnOnce(&Env) -> Result<(), String>,
) -> Result<(), String> {
    if flags.get("leader-elect-resource-lock").is_some_and(|l| l != "leases") {
        return Err("flag --leader-elect-resource-lock: only \"leases\" is supported".into());
    }
    if !flags.bool("leader-elect", true)? {
        act(env)?;
        crate::cli::until_signal().await;
        return Ok(());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let election = Election {
        namespace: flags.get("leader-elect-resource-namespace").unwrap_or("kube-system").into(),
        name: flags.get("leader-elect-resource-name").unwrap_or(name).into(),
        identity: format!("{}_{}", host.trim(), env.rng("identity").uuid()),
        lease: duration(flags, "leader-elect-lease-duration", 15)?,
        renew: duration(flags, "leader-elect-renew-deadline", 10)?,
        retry: duration(flags, "leader-elect-retry-period", 2)?,
    };
    let mut candidate = Candidate::new(env, client, election);
    let mut ended = std::pin::pin!(crate::cli::until_signal());
    tokio::select! {
        biased;
        () = &mut ended => return Ok(()),
        () = candidate.acquire() => {}
    }
    tracing::info!(name, "leading");
    act(env)?;
    tokio::select! {
        biased;
        () = &mut ended => Ok(()),
        () = candidate.hold() => Err(format!("{name} lost its lease: ending, so that nobody acts twice")),
    }
}

/// `corten controller-manager`.
pub async fn controller_manager(flags: Flags) -> Result<(), String> {
    let env = Env::system("controller-manager");
    let (config, client) = connect(&env, &flags, "kube-controller-manager")?;
    let root_ca = match flags.path("root-ca-file") {
        Some(p) => paths::read(&p)?,
        None => config.authorities.as_ref().map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or_default(),
    };
    let pod_range = flags.get("cluster-cidr").unwrap_or("10.244.0.0/16").to_string();
    let own = client.clone();
    let apart = flags.bool("use-service-account-credentials", false)?;
    let accounts = if apart { Some(Arc::new(Accounts::new(&env, &config, &client)?)) } else { None };
    let lent = accounts.clone();
    lead(&env, &client, &flags, "kube-controller-manager", move |env| {
        let clients: controllers::Clients = Arc::new(move |name| match &lent {
            Some(accounts) if name != "controller-manager" => {
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(accounts.client(name)))
            }
            _ => own.clone(),
        });
        controllers::run(env, clients, controllers::Options { root_ca, pod_range, ..controllers::Options::default() })
            .map(drop)
    })
    .await
}

/// `corten scheduler`.
pub async fn scheduler(flags: Flags) -> Result<(), String> {
    let env = Env::system("scheduler");
    let (_, client) = connect(&env, &flags, "kube-scheduler")?;
    let acting = client.clone();
    lead(&env, &client, &flags, "kube-scheduler", move |env| {
        scheduler::run(env, &acting, scheduler::Options::default());
        Ok(())
    })
    .await
}

fn node_name(flags: &Flags) -> String {
    flags.get("hostname-override").map(String::from).unwrap_or_else(crate::cluster::hostname)
}

/// `corten proxy`.
pub async fn proxy(flags: Flags) -> Result<(), String> {
    let env = Env::system("proxy");
    let (_, client) = connect(&env, &flags, "kube-proxy")?;
    let block = |flag: &str, default: &str| {
        Cidr::parse(flags.get(flag).unwrap_or(default))
            .ok_or_else(|| format!("flag --{flag}: no range such as {default}"))
    };
    let options = network::proxy::Options {
        cluster_id: flags.get("cluster-id").unwrap_or("00000000").into(),
        node: node_name(&flags),
        cluster_block: block("cluster-cidr", "10.244.0.0/16")?,
        service_block: block("service-cluster-ip-range", "10.96.0.0/16")?,
    };
    let running = network::proxy::run(env.clone(), client, options, || tracing::info!("service rules are in place"));
    tokio::select! {
        biased;
        () = crate::cli::until_signal() => Ok(()),
        r = running => r.map_err(|e| e.to_string()),
    }
}

/// The address of this machine by which the API server is reached, or else its first one.
fn own_address(server: &str) -> Result<IpAddr, String> {
    let target = server.split("//").nth(1).unwrap_or(server).split('/').next().unwrap_or_default();
    // Connecting a datagram socket sends nothing: it asks the kernel for the way.
    let way = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.connect(target).and_then(|()| s.local_addr()));
    if let Some(ip) = way.ok().map(|a| a.ip()).filter(|ip| !ip.is_loopback()) {
        return Ok(ip);
    }
    let socket = network::netlink::Socket::open(network::netlink::Protocol::Route).map_err(|e| e.to_string())?;
    let all = network::links::addresses(&socket).map_err(|e| e.to_string())?;
    let usable = |ip: &IpAddr| matches!(ip, IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local());
    all.into_iter().map(|(_, ip)| ip).find(usable).ok_or_else(|| {
        "this machine has no address but its loopback's: say with --node-ip by which one others reach it".into()
    })
}

/// `key=value,…`.
fn pairs(flags: &Flags, name: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |text: &String| {
        let (k, v) = text.split_once('=').ok_or_else(|| format!("flag --{name}: {text:?} is no key=value"))?;
        Ok((k.to_string(), v.to_string()))
    };
    flags.list(name).iter().map(pair).collect()
}

/// The certificate that was given, or one of an authority of this kubelet's own, as upstream does.
fn kubelet_serving(flags: &Flags, env: &Env, root: &Path, name: &str, ip: IpAddr) -> Result<pki::Pair, String> {
    match (flags.path("tls-cert-file"), flags.path("tls-private-key-file")) {
        (Some(cert), Some(key)) => Ok(pki::Pair { cert: paths::read(&cert)?, key: paths::read(&key)? }),
        (None, None) => {
            let dir = flags.path("cert-dir").unwrap_or_else(|| root.join("pki"));
            let now = env.wall().unix_seconds();
            let authority = pki::Authority::open(&dir, now)?;
            let (names, addresses) = ([name.to_string(), "localhost".into()], [ip, IpAddr::from([127, 0, 0, 1])]);
            let make = || authority.server(&format!("system:node:{name}"), &names, &addresses, now);
            authority.kept(&dir, "kubelet", make, &format!("{names:?} {addresses:?}"), now)
        }
        _ => Err("flags --tls-cert-file and --tls-private-key-file are needed together".into()),
    }
}

fn kubelet_config(flags: &Flags, env: &Env, server: &str) -> Result<kubelet::KubeletConfig, String> {
    let root = flags.path("root-dir").unwrap_or_else(|| PathBuf::from("/var/lib/kubelet"));
    let name = node_name(flags);
    let ip: IpAddr = match flags.get("node-ip") {
        Some(text) => text.parse().map_err(|_| format!("flag --node-ip: {text:?} is no address"))?,
        None => own_address(server)?,
    };
    let address: IpAddr = flags.parsed("address", IpAddr::from([0, 0, 0, 0]))?;
    let serving = kubelet_serving(flags, env, &root, &name, ip)?;
    let client_ca = flags.path("client-ca-file").map(|p| paths::read(&p)).transpose()?.unwrap_or_default();
    let default = kubelet::KubeletConfig::new(&name, root, vec![ip.to_string()]);
    let dns = flags.list("cluster-dns");
    Ok(kubelet::KubeletConfig {
        cluster_dns: if dns.is_empty() { default.cluster_dns.clone() } else { dns },
        cluster_domain: flags.get("cluster-domain").unwrap_or("cluster.local").into(),
        heartbeat: duration(flags, "node-status-update-frequency", default.heartbeat.as_secs())?,
        image_gc_high: flags.parsed("image-gc-high-threshold", default.image_gc_high)?,
        image_gc_low: flags.parsed("image-gc-low-threshold", default.image_gc_low)?,
        labels: pairs(flags, "node-labels")?,
        max_pods: flags.parsed("max-pods", default.max_pods)?,
        pod_logs_dir: flags.path("pod-logs-dir").unwrap_or_else(|| default.pod_logs_dir.clone()),
        register_node: flags.bool("register-node", true)?,
        resolv_conf: flags.path("resolv-conf").unwrap_or_else(|| default.resolv_conf.clone()),
        system_reserved: pairs(flags, "system-reserved")?,
        server: Some(kubelet::ServerConfig {
            address: (address, flags.parsed("port", 10250_u16)?).into(),
            certificate: serving.cert.into_bytes(),
            key: serving.key.into_bytes(),
            client_ca: client_ca.into_bytes(),
        }),
        ..default
    })
}

/// `corten kubelet`.
pub async fn kubelet(flags: Flags) -> Result<(), String> {
    let env = Env::system("kubelet");
    let (api, client) = connect(&env, &flags, "kubelet")?;
    let config = kubelet_config(&flags, &env, &api.server)?;
    let cri = match flags.get("container-runtime-endpoint") {
        Some(endpoint) => node::connect_runtime(&env, endpoint)?,
        None => {
            crate::preflight::check()?;
            let text = |flag: &str, default: &str| flags.get(flag).unwrap_or(default).to_string();
            let network = node::NetworkOptions {
                cluster_id: text("cluster-id", "00000000"),
                node: config.node_name.clone(),
                pod_range: text("cluster-cidr", "10.244.0.0/16"),
                service_range: text("service-cluster-ip-range", "10.96.0.0/16"),
                overlay_port: 8472,
                dir: config.root_dir.join("network"),
                dns: None,
            };
            let run = PathBuf::from(format!("/run/corten-{}", network.cluster_id));
            let cni = node::pod_network(&env, &client, network.clone())?;
            node::embedded_runtime(
                &env,
                &network.cluster_id,
                &config.node_name,
                &run,
                config.root_dir.join("runtime"),
                cni,
            )
            .await?
        }
    };
    let _handle = kubelet::run(&env, config, client, cri).await?;
    crate::cli::until_signal().await;
    Ok(())
}
