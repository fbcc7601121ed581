//! The two tasks of cluster DNS: a server on every node ([`run`]), and in the control plane the service by which pods
//! find it ([`publish`]).

use crate::core::index::Index;
use crate::core::publish::{self, NAMESPACE, SLICE};
use crate::core::resolv::upstreams;
use crate::core::views::{EndpointSlice, Node, Service};
use crate::forward::Forwarder;
use crate::server::{Shared, bind, serve};
use client::{At, Client, Error, Informer, PatchKind, Selection, resources};
use platform::Env;
use platform::time::{Duration, sleep, timeout};
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use tokio::sync::Notify;

/// What the server must know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's domain (`cluster.local`).
    pub domain: String,
    /// Where it listens: this node's gateway address, [`crate::PORT`].
    pub listen: SocketAddr,
    /// The service's address (10.96.0.10): never an upstream server.
    pub service_address: IpAddr,
    /// The host's resolver configuration (`/etc/resolv.conf`).
    pub resolv_conf: PathBuf,
}

const RETRY: Duration = Duration::from_millis(100);
const RESYNC: Duration = Duration::from_secs(60);

/// Serves until the process ends. Calls `ready` when the first query can be answered. The address may appear later than
/// this is called: it waits for it.
pub async fn run(env: Env, client: Client, options: Options, ready: impl FnOnce() + Send) {
    let ours = [options.service_address, options.listen.ip()];
    let text = std::fs::read_to_string(&options.resolv_conf).unwrap_or_else(|error| {
        tracing::warn!("{}: {error}; names outside the cluster cannot be resolved", options.resolv_conf.display());
        String::new()
    });
    let servers = upstreams(&text, &ours);
    if servers.is_empty() {
        tracing::warn!(
            "no upstream DNS server in {}; names outside the cluster cannot be resolved",
            options.resolv_conf.display()
        );
    }
    let shared = Shared::new(Index::new(&options.domain), Forwarder::new(servers));
    let services: Informer<Service> = Informer::new(Selection::all(&resources::SERVICES));
    let slices: Informer<EndpointSlice> = Informer::new(Selection::all(&resources::ENDPOINTSLICES));
    let target = shared.clone();
    services.on_change(move |change| {
        let key = change.key();
        let mut index = target.index.write().unwrap_or_else(PoisonError::into_inner);
        index.set_service(&key.namespace, &key.name, change.new.as_deref());
    });
    let target = shared.clone();
    slices.on_change(move |change| {
        let key = change.key();
        let mut index = target.index.write().unwrap_or_else(PoisonError::into_inner);
        index.set_slice(&key.namespace, &key.name, change.new.as_deref().cloned());
    });
    services.run(&env, &client);
    slices.run(&env, &client);
    services.synced().await;
    slices.synced().await;
    let mut said = false;
    let (udp, tcp) = loop {
        match bind(options.listen).await {
            Ok(sockets) => break sockets,
            Err(error) => {
                if !said {
                    tracing::info!("DNS cannot listen on {} yet: {error}", options.listen);
                    said = true;
                }
                sleep(RETRY).await;
            }
        }
    };
    serve(&env, &shared, udp, tcp);
    ready();
    pending::<()>().await;
}

/// Keeps the service `kube-system/kube-dns` and its EndpointSlice until the process ends: run it in the control plane,
/// once per cluster. `address` is the service's cluster address.
pub async fn publish(env: Env, client: Client, address: IpAddr) {
    let nodes: Informer<Node> = Informer::new(Selection::all(&resources::NODES));
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    nodes.on_change(move |change| {
        // Heartbeats change nothing here.
        if change.old.as_ref().map(|n| &n.spec.pod_cidr) != change.new.as_ref().map(|n| &n.spec.pod_cidr) {
            wake.notify_one();
        }
    });
    nodes.run(&env, &client);
    nodes.synced().await;
    loop {
        match publish_once(&client, &nodes, address).await {
            Ok(()) => {
                let _ = timeout(RESYNC, changed.notified()).await; // either way: compare
            }
            Err(error) => {
                tracing::warn!("could not publish the DNS service: {error}");
                sleep(RETRY * 10).await;
            }
        }
    }
}

async fn publish_once(client: &Client, nodes: &Informer<Node>, address: IpAddr) -> Result<(), Error> {
    let create = client.create(&resources::SERVICES, NAMESPACE, publish::service(&address.to_string())).await;
    tolerate_existing(create.map(|_| ()))?;
    let all = nodes.all();
    let wanted = publish::slice(all.iter().map(|n| &**n));
    let at = At { resource: &resources::ENDPOINTSLICES, namespace: NAMESPACE, name: SLICE };
    let present = client.get::<EndpointSlice>(at).await;
    match present {
        Ok(present) => {
            let same = serde_json::from_value::<EndpointSlice>(wanted.clone())
                .is_ok_and(|w| w.endpoints == present.endpoints && w.ports == present.ports);
            if same {
                return Ok(());
            }
            let patch = serde_json::json!({"endpoints": wanted["endpoints"], "ports": wanted["ports"]});
            client.patch(at, None, &PatchKind::Merge, &patch).await.map(|_| ())
        }
        Err(error) if error.is_not_found() => {
            tolerate_existing(client.create(&resources::ENDPOINTSLICES, NAMESPACE, wanted).await.map(|_| ()))
        }
        Err(error) => Err(error),
    }
}

fn tolerate_existing(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}
