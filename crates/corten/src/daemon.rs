//! The cluster's process: store, API server, controllers, scheduler, and the first node.

use crate::cluster::Cluster;
use crate::kubeconfig;
use crate::node::{self, NodeOptions};
use crate::paths::{self, Paths};
use crate::{pki, server};
use apiserver::http::local::Local;
use apiserver::{Server, ServerConfig, Settings, User};
use client::Client;
use platform::Env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's files.
    pub paths: Paths,
    /// Where the administrator's kubeconfig goes.
    pub kubeconfig: PathBuf,
}

/// Tells whoever waits how far the start is.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Runs the cluster until it is told to end.
pub async fn run(env: Env, cluster: Cluster, options: Options, progress: Progress) -> Result<(), String> {
    let now = env.wall().unix_seconds();
    let pki_dir = options.paths.pki();
    let authority = pki::Authority::open(&pki_dir, now)?;
    network_of_nodes(&cluster)?;
    progress("certificates");
    let server = control_plane(&env, &cluster, &options, &authority, now).await?;
    progress("API server");
    let admin = authority.kept(
        &pki_dir,
        "admin",
        || authority.client("kubernetes-admin", &["system:masters"], now),
        "admin",
        now,
    )?;
    let server_url = format!("https://{}:{}", Ipv4Addr::LOCALHOST, cluster.port);
    let text = kubeconfig::text(&server_url, &authority.cert, &admin);
    kubeconfig::write(&options.kubeconfig, &text, &authority.cert)?;
    let local = |user: &str, groups: Vec<String>| {
        Local::new(server.clone(), User { name: user.into(), groups, ..User::default() })
    };
    crate::roles::ensure(&Client::new(Arc::new(local("system:apiserver", vec!["system:masters".into()])), "corten"))
        .await?;
    controllers(&env, &server, &cluster, &authority)?;
    progress("controllers and scheduler");
    let node_server = server.clone();
    let name = cluster.node.clone();
    let client = move |user: User| Client::new(Arc::new(Local::new(node_server.clone(), user)), "kubelet");
    let node_client = client(node_user(&name));
    let address = cluster.node_address(1);
    let node_options = NodeOptions {
        cluster: cluster.clone(),
        name: name.clone(),
        address,
        dir: options.paths.node(&name),
        kubelet_port: cluster.kubelet_port,
        serving: serving(&authority, &pki_dir, &name, address, now)?,
        client_ca: authority.cert.clone(),
        runtime_endpoint: cluster.wish.runtime_endpoint.clone(),
    };
    let started = node::start(&env, node_client, node_options).await?;
    progress("node agent");
    let mut children = Vec::new();
    let nodes = cluster.wish.nodes;
    for n in 2..=nodes {
        children.push(extra_node(&cluster, &options, &authority, n, now, &progress)?);
    }
    wait_ready(&server, nodes as usize, now).await;
    progress(&if nodes == 1 { "node ready".to_string() } else { format!("{nodes} nodes ready") });
    progress("ready");
    crate::cli::until_signal().await;
    tracing::info!("ending: pods keep running, `corten up` takes them over again");
    children.iter().for_each(node::Child::end);
    children.into_iter().for_each(node::Child::wait);
    drop(started);
    Ok(())
}

fn node_user(name: &str) -> User {
    User { name: format!("system:node:{name}"), groups: vec!["system:nodes".into()], ..User::default() }
}

fn serving(authority: &pki::Authority, dir: &Path, name: &str, address: IpAddr, now: i64) -> Result<pki::Pair, String> {
    let names = [name.to_string(), "localhost".into()];
    let addresses = [address, IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let stamp = format!("{names:?} {addresses:?}");
    authority.kept(
        dir,
        &format!("kubelet-{name}"),
        || authority.server(&format!("system:node:{name}"), &names, &addresses, now),
        &stamp,
        now,
    )
}

async fn control_plane(
    env: &Env,
    cluster: &Cluster,
    options: &Options,
    authority: &pki::Authority,
    now: i64,
) -> Result<Arc<Server>, String> {
    let dir = options.paths.pki();
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(String::from);
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), cluster.address, IpAddr::V4(cluster.service_address(1))];
    let stamp = format!("{names:?} {addresses:?}");
    let pair = authority.kept(
        &dir,
        "apiserver",
        || authority.server("kube-apiserver", &names, &addresses, now),
        &stamp,
        now,
    )?;
    let kubelet = authority.kept(
        &dir,
        "apiserver-kubelet-client",
        || authority.client(crate::roles::KUBELET_CLIENT, &[], now),
        crate::roles::KUBELET_CLIENT,
        now,
    )?;
    let store = server::open_log(env, &options.paths.store(), &cluster.key_file()).await?;
    let asked = store.clone();
    let work = async move |request| crate::upgrade::answer(&*asked, request).await;
    env.spawn("control socket", crate::control::serve(crate::control::of_server(&cluster.run_dir()), work));
    let public = ["/healthz", "/livez", "/readyz", "/version"].map(String::from).to_vec();
    server::start(
        env,
        server::Options {
            store,
            settings: Settings {
                issuer: "https://kubernetes.default.svc.cluster.local".into(),
                service_cidr: crate::apiserver::parse_cidr(&cluster.service_range)?,
                node_ports: (30000, 32767),
                advertise: (cluster.address, cluster.port),
                node_restriction: true,
                service_account_admission: true,
                event_ttl_seconds: 3600,
            },
            config: ServerConfig {
                anonymous: true,
                anonymous_paths: Some(public),
                kubelet: Some(pki::client_config(&authority.cert, &kubelet)?),
                ..ServerConfig::default()
            },
            signer: pki::signer(&dir.join("sa.key"))?,
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), cluster.port)],
            tls: pki::server_config(&pair, Some(&authority.cert))?,
        },
    )
    .await
}

fn controllers(env: &Env, server: &Arc<Server>, cluster: &Cluster, authority: &pki::Authority) -> Result<(), String> {
    let local = server.clone();
    let clients: controllers::Clients = Arc::new(move |name: &str| {
        let user = match name {
            "controller-manager" => User { name: "system:kube-controller-manager".into(), ..User::default() },
            _ => User {
                name: format!("system:serviceaccount:kube-system:{name}"),
                groups: vec!["system:serviceaccounts".into(), "system:serviceaccounts:kube-system".into()],
                ..User::default()
            },
        };
        Client::new(Arc::new(Local::new(local.clone(), user)), "kube-controller-manager")
    });
    let options = controllers::Options {
        root_ca: authority.cert.clone(),
        pod_range: cluster.pod_range.clone(),
        ..controllers::Options::default()
    };
    controllers::run(env, clients, options).map(drop)?;
    let user = User { name: "system:kube-scheduler".into(), ..User::default() };
    scheduler::run(
        env,
        &Client::new(Arc::new(Local::new(server.clone(), user)), "kube-scheduler"),
        scheduler::Options::default(),
    );
    let user = User { name: "system:corten:dns".into(), ..User::default() };
    let publisher = Client::new(Arc::new(Local::new(server.clone(), user)), "corten-dns");
    env.spawn("dns publisher", dns::publish(env.clone(), publisher, IpAddr::V4(cluster.service_address(10))));
    Ok(())
}

/// The bridge that leads from this machine to its nodes in namespaces; its address is the first node's.
fn network_of_nodes(cluster: &Cluster) -> Result<(), String> {
    network::hosts::bridge(&cluster.id, cluster.node_address(1), 24)
        .map_err(|e| format!("make the network between nodes: {e}"))
}

fn extra_node(
    cluster: &Cluster,
    options: &Options,
    authority: &pki::Authority,
    n: u8,
    now: i64,
    progress: &Progress,
) -> Result<node::Child, String> {
    let name = format!("{}-{n}", cluster.node);
    let address = cluster.node_address(n);
    let netns = cluster.run_dir().join("hosts").join(&name);
    network::hosts::host(&cluster.id, n, &netns, address, 24, cluster.node_address(1))
        .map_err(|e| format!("make the network namespace of {name}: {e}"))?;
    let dir = options.paths.pki();
    let pair = authority.kept(
        &dir,
        &format!("node-{name}"),
        || authority.client(&format!("system:node:{name}"), &["system:nodes"], now),
        &name,
        now,
    )?;
    let node_dir = options.paths.node(&name);
    let url = format!("https://{}:{}", cluster.address, cluster.port);
    let config = kubeconfig::text(&url, &authority.cert, &pair);
    let kubeconfig = node_dir.join("kubeconfig");
    paths::write(&kubeconfig, config.as_bytes(), true)?;
    serving(authority, &dir, &name, address, now)?;
    let launch = node::Launch { paths: options.paths.clone(), name, number: n, netns, kubeconfig };
    node::Child::start(launch, progress.clone())
}

/// Waits until so many nodes are ready, each with a lease renewed since `start` (a Ready of an earlier life does not count).
async fn wait_ready(server: &Arc<Server>, nodes: usize, start: i64) {
    use api::f;
    let registry = &server.registry;
    let alive = |name: &str| {
        let lease = registry.find("coordination.k8s.io", "leases", "kube-node-lease", name).unwrap_or_default();
        lease.at(f::spec).at(f::renewTime).as_str().and_then(api::time::parse_seconds).is_some_and(|t| t >= start)
    };
    let ready = |n: &api::Value| {
        n.at(f::status)
            .at(f::conditions)
            .items()
            .iter()
            .any(|c| c.at(f::type_).str() == "Ready" && c.at(f::status).str() == "True")
    };
    let mut progress = registry.progress();
    loop {
        let count = registry
            .all("", "nodes", "")
            .iter()
            .filter(|n| ready(n) && alive(n.at(f::metadata).at(f::name).str()))
            .count();
        if count >= nodes || progress.changed().await.is_err() {
            return;
        }
    }
}
