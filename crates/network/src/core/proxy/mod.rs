//! The service proxy as pure state: Services and EndpointSlices in, nftables transactions out.
//!
//! No chain per service: a verdict map from (address, protocol, port) to a chain shared by all services with as many
//! endpoints, and a data map from (address, protocol, port, index) to an endpoint. Chains of their own exist only for
//! services with session affinity, source ranges or a local external policy. A change costs what changed, at any size
//! (`docs/decisions/0301-proxy-maps.md`).
//!
//! [`Proxy`] keeps objects and what each service contributes ([`rules`]); [`table`] counts what is shared and turns
//! differences into transactions. Leaves out: zones (`traffic_distribution`), IPv6.

pub mod rules;
pub mod table;

use super::nft::Transaction;
use super::rt::Cidr;
use super::views::{EndpointSlice, Service};
use rules::{Contribution, Flows};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use table::Table;

/// Namespace and name.
pub type Key = Arc<(String, String)>;

/// What the rules depend on besides the objects.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name: decides which endpoints are local.
    pub node: String,
    /// All pods of the cluster: sources that need no masquerading.
    pub cluster_block: Cidr,
    /// All cluster addresses of services.
    pub service_block: Cidr,
}

/// The state of the proxy.
pub struct Proxy {
    settings: Settings,
    services: HashMap<Key, Service>,
    slices: HashMap<Key, BTreeMap<String, EndpointSlice>>,
    slice_owner: HashMap<(String, String), Key>,
    dirty: BTreeSet<Key>,
    contributions: HashMap<Key, Contribution>,
    table: Table,
}

impl Proxy {
    /// Nothing known yet.
    pub fn new(settings: Settings) -> Proxy {
        Proxy {
            settings,
            services: HashMap::new(),
            slices: HashMap::new(),
            slice_owner: HashMap::new(),
            dirty: BTreeSet::new(),
            contributions: HashMap::new(),
            table: Table::default(),
        }
    }

    /// A Service is there, changed or (`None`) gone.
    pub fn set_service(&mut self, namespace: &str, name: &str, service: Option<Service>) {
        let key: Key = Arc::new((namespace.to_string(), name.to_string()));
        let changed = match service {
            Some(service) => {
                let relevant = |s: &Service| (s.spec.clone(), s.status.clone(), s.metadata.labels.clone());
                let same = self.services.get(&key).is_some_and(|old| relevant(old) == relevant(&service));
                self.services.insert(key.clone(), service);
                !same
            }
            None => self.services.remove(&key).is_some(),
        };
        if changed {
            self.dirty.insert(key);
        }
    }

    /// An EndpointSlice is there, changed or (`None`) gone.
    pub fn set_slice(&mut self, namespace: &str, name: &str, slice: Option<EndpointSlice>) {
        let id = (namespace.to_string(), name.to_string());
        let owner = slice.as_ref().and_then(|s| s.service()).map(|(ns, n)| Arc::new((ns.to_string(), n.to_string())));
        if let Some(old) = self.slice_owner.remove(&id) {
            let same =
                owner.as_ref() == Some(&old) && self.slices.get(&old).and_then(|s| s.get(name)) == slice.as_ref();
            if same {
                self.slice_owner.insert(id, old);
                return;
            }
            if let Some(slices) = self.slices.get_mut(&old) {
                slices.remove(name);
                if slices.is_empty() {
                    self.slices.remove(&old);
                }
            }
            self.dirty.insert(old);
        }
        if let (Some(owner), Some(slice)) = (owner, slice) {
            self.slices.entry(owner.clone()).or_default().insert(name.to_string(), slice);
            self.slice_owner.insert(id, owner.clone());
            self.dirty.insert(owner);
        }
    }

    /// Is there anything to do?
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Adds to `tx` what makes the table follow the objects. If the transaction is refused, call [`Proxy::rebuild`].
    pub fn changes(&mut self, tx: &mut Transaction) -> Changes {
        let mut out = Changes::default();
        for key in std::mem::take(&mut self.dirty) {
            let new = self.services.get(&key).and_then(|service| {
                let slices = self.slices.get(&key);
                rules::contribution(&self.settings, &key, service, slices.into_iter().flat_map(BTreeMap::values))
            });
            let old = self.contributions.remove(&key);
            if old == new {
                if let Some(same) = new {
                    self.contributions.insert(key, same);
                }
                continue;
            }
            out.services += 1;
            let nothing = Contribution::default();
            let (before, after) = (old.as_ref().unwrap_or(&nothing), new.as_ref().unwrap_or(&nothing));
            out.note(before, after);
            self.table.replace(&key, before, after);
            if let Some(new) = new {
                self.contributions.insert(key, new);
            }
        }
        self.table.flush(tx);
        out
    }

    /// Adds to `tx` the whole table, in place of what is there.
    pub fn rebuild(&mut self, tx: &mut Transaction) -> Changes {
        let mut scratch = Transaction::new("", 0);
        let mut out = self.changes(&mut scratch);
        self.table.rebuild(tx, &self.settings);
        out.flows = self.contributions.values().flat_map(|c| c.flows.iter().cloned()).collect();
        out
    }
}

/// What a transaction is about, for what has to be done after it.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// How many services changed.
    pub services: usize,
    /// Connectionless flows that must go only to these endpoints from now on.
    pub flows: Vec<Flows>,
}

impl Changes {
    fn note(&mut self, before: &Contribution, after: &Contribution) {
        let gone = before.flows.iter().filter(|old| !after.flows.iter().any(|new| new.entrance == old.entrance));
        self.flows.extend(gone.map(|old| Flows { entrance: old.entrance.clone(), endpoints: BTreeSet::new() }));
        self.flows.extend(after.flows.iter().filter(|new| !before.flows.contains(new)).cloned());
    }
}

#[cfg(test)]
mod tests;
