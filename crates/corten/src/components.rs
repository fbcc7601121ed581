//! `corten controller-manager | scheduler | proxy | kubelet`: each alone, against a kubeconfig, with upstream's flags.

use crate::flags::{Flags, Spec};
use crate::{node, paths};
use client::{Candidate, Client, Config, Election, Https};
use network::Cidr;
use platform::Env;
use std::path::PathBuf;
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
        ELECTION[0],
        ELECTION[1],
        ELECTION[2],
        ELECTION[3],
        ELECTION[4],
        ELECTION[5],
        ELECTION[6],
    ],
    own: &[],
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
};

/// The kubelet's flags.
pub const KUBELET: Spec = Spec {
    component: "kubelet",
    table: include_str!("../../../facts/flags/kubelet.tsv"),
    acting: &[
        ("cluster-dns", "Addresses of the cluster's DNS servers."),
        ("cluster-domain", "The cluster's domain."),
        ("container-runtime-endpoint", "Socket of the container runtime (unix://…)."),
        ("hostname-override", "Name of this node; default: the machine's."),
        ("kubeconfig", "How the API server is reached."),
        ("max-pods", "Pods that the node takes."),
        ("node-ip", "Address of this node."),
        ("port", "Port of the kubelet's API."),
        ("resolv-conf", "The host's resolver configuration."),
        ("root-dir", "Where volumes and checkpoints are kept."),
        ("tls-cert-file", "Serving certificate."),
        ("tls-private-key-file", "Its key."),
        ("client-ca-file", "Authority of client certificates."),
    ],
    own: &[],
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
    let acting = client.clone();
    lead(&env, &client, &flags, "kube-controller-manager", move |env| {
        let clients: controllers::Clients = Arc::new(move |_| acting.clone());
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

/// `corten kubelet`.
pub async fn kubelet(flags: Flags) -> Result<(), String> {
    let env = Env::system("kubelet");
    let (_, client) = connect(&env, &flags, "kubelet")?;
    let endpoint = flags.get("container-runtime-endpoint").unwrap_or("unix:///run/containerd/containerd.sock");
    let cri = node::connect_runtime(&env, endpoint)?;
    let root = flags.path("root-dir").unwrap_or_else(|| PathBuf::from("/var/lib/kubelet"));
    let ip = flags.get("node-ip").ok_or("flag --node-ip is needed: the address by which others reach this node")?;
    let mut config = kubelet::KubeletConfig::new(&node_name(&flags), root, vec![ip.to_string()]);
    let dns = flags.list("cluster-dns");
    if !dns.is_empty() {
        config.cluster_dns = dns;
    }
    config.cluster_domain = flags.get("cluster-domain").unwrap_or("cluster.local").into();
    config.max_pods = flags.parsed("max-pods", config.max_pods)?;
    if let Some(p) = flags.path("resolv-conf") {
        config.resolv_conf = p;
    }
    if let (Some(cert), Some(key)) = (flags.path("tls-cert-file"), flags.path("tls-private-key-file")) {
        let port = flags.parsed("port", 10250_u16)?;
        let client_ca = flags.path("client-ca-file").map(|p| paths::read(&p)).transpose()?.unwrap_or_default();
        config.server = Some(kubelet::ServerConfig {
            address: (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
            certificate: paths::read(&cert)?.into_bytes(),
            key: paths::read(&key)?.into_bytes(),
            client_ca: client_ca.into_bytes(),
        });
    }
    let _handle = kubelet::run(&env, config, client, cri).await?;
    crate::cli::until_signal().await;
    Ok(())
}
