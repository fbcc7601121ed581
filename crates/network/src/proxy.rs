//! The service proxy's shell: feeds [`crate::core::proxy`] from informers and carries its transactions out.
//!
//! One task owns the state and both sockets. It builds the table when the informers have synced, then sends what changed,
//! as one transaction each time. A refused transaction, or a change of our table by somebody else (heard by multicast),
//! leads to a rebuild, which replaces the table in one step: packets see the old rules or the new ones.

use crate::conntrack;
use crate::core::nft::Transaction;
use crate::core::proxy::{Changes, Proxy, Settings};
use crate::core::rt::Cidr;
use crate::core::views::{EndpointSlice, Service};
use crate::error::Result;
use crate::listener::Listener;
use crate::netlink::{Protocol, Socket};
use client::{Client, Informer, Selection, resources};
use platform::Env;
use platform::time::{Duration, sleep};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What the proxy must know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's id: eight hexadecimal digits.
    pub cluster_id: String,
    /// This node's name.
    pub node: String,
    /// All pods of the cluster.
    pub cluster_block: Cidr,
    /// All cluster addresses of services.
    pub service_block: Cidr,
}

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Keeps this node's service rules until the process ends. Calls `ready` when the rules are in place for the first time.
/// Acts in the network namespace of the calling thread.
pub async fn run(env: Env, client: Client, options: Options, ready: impl FnOnce() + Send) -> Result<()> {
    crate::cni::check_cluster_id(&options.cluster_id)?;
    let settings = Settings {
        node: options.node.clone(),
        cluster_block: options.cluster_block,
        service_block: options.service_block,
    };
    let state = Arc::new((Mutex::new(Proxy::new(settings)), Notify::new()));
    let services: Informer<Service> = Informer::new(Selection::all(&resources::SERVICES));
    let slices: Informer<EndpointSlice> = Informer::new(Selection::all(&resources::ENDPOINTSLICES));
    let shared = state.clone();
    services.on_change(move |change| {
        let key = change.key();
        let mut proxy = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        proxy.set_service(&key.namespace, &key.name, change.new.as_deref().cloned());
        shared.1.notify_one();
    });
    let shared = state.clone();
    slices.on_change(move |change| {
        let key = change.key();
        let mut proxy = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        proxy.set_slice(&key.namespace, &key.name, change.new.as_deref().cloned());
        shared.1.notify_one();
    });
    services.run(&env, &client);
    slices.run(&env, &client);
    services.synced().await;
    slices.synced().await;
    let mut table = Kernel::new(&options.cluster_id)?;
    table.sync(&state.0, true).await;
    ready();
    loop {
        let foreign = tokio::select! {
            biased;
            () = state.1.notified() => false,
            foreign = table.listener.foreign_change(&table.name, table.socket.port()) => foreign,
        };
        if foreign {
            tracing::warn!(table = table.name, "somebody else changed the table of service rules; building it anew");
        }
        table.sync(&state.0, foreign).await;
    }
}

/// The table in the kernel.
struct Kernel {
    name: String,
    socket: Socket,
    listener: Listener,
}

impl Kernel {
    fn new(cluster_id: &str) -> Result<Kernel> {
        Ok(Kernel {
            name: table_name(cluster_id),
            socket: Socket::open(Protocol::Netfilter)?,
            listener: Listener::new()?,
        })
    }

    /// Makes the kernel follow the state; tries again until it does.
    async fn sync(&mut self, state: &Mutex<Proxy>, mut whole: bool) {
        let mut pause = RETRY_FIRST;
        loop {
            match self.attempt(state, whole) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!("service rules: {error}; building them anew in {pause:?}");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MOST);
                    whole = true;
                }
            }
        }
    }

    fn attempt(&mut self, state: &Mutex<Proxy>, whole: bool) -> Result<()> {
        let mut tx = Transaction::new(&self.name, self.socket.next_seq());
        let changes = {
            let mut proxy = state.lock().unwrap_or_else(PoisonError::into_inner);
            if whole { proxy.rebuild(&mut tx) } else { proxy.changes(&mut tx) }
        };
        if tx.is_empty() {
            return Ok(());
        }
        self.socket.transact("change the service rules", &tx.finish())?;
        if whole {
            self.listener = Listener::new()?; // the many messages about our own rebuild are not worth reading
        }
        self.afterwards(&changes);
        Ok(())
    }

    /// What must follow a transaction; a failure here costs old flows some time, and is not worth a rebuild.
    fn afterwards(&self, changes: &Changes) {
        match conntrack::redirect(&self.socket, &changes.flows) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "flows to endpoints that are gone were ended"),
            Err(error) => tracing::warn!("flows to endpoints that are gone: {error}"),
        }
    }
}

/// Name of the services' nftables table.
pub fn table_name(cluster_id: &str) -> String {
    format!("corten-{cluster_id}")
}
