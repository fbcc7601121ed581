//! Every controller: `gather` (shell) and a pure plan (`core`), run by `client`'s runner.
//!
//! # For callers
//! [`run`]`(env, clients, options)` starts all of them as tasks of `env` and answers a [`Handle`]. `clients` makes a client
//! for a service account's name, so that each controller acts under an identity of its own
//! (`system:serviceaccount:kube-system:<name>`, with the rights that upstream's roles give it);
//! the informers, which all share, use the name
//! `controller-manager` (the user `system:kube-controller-manager`). Run it only while this process leads
//! (`client::Candidate`), in an [`Env`] of its own that is killed when leadership is lost.
//!
//! Leaves out: cloud controllers, volumes, autoscaling, certificates (CSR), tokens (the API server makes them).

pub mod core;
mod cronjob;
mod deployment;
mod endpoints;
mod garbage;
mod namespace;
mod nodes;
mod quotas;
mod replicaset;
pub mod views;
mod workloads;

use crate::core::nodes::Ranges;
use client::{
    Client, Controller, Informer, Recorder, Resource, Running, Selection, View, discover, resources, run as start,
};
use platform::{Env, time};
use std::sync::Arc;
use views::*;

/// What the controllers have to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// PEM of the authority that signed the API server's certificate, published in every namespace.
    pub root_ca: String,
    /// Where nodes' pod ranges are cut from (`10.244.0.0/16`).
    pub pod_range: String,
    /// Keys that one controller works on at a time.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { root_ca: String::new(), pod_range: "10.244.0.0/16".into(), workers: 5 }
    }
}

/// The running controllers.
pub struct Handle {
    /// By name.
    pub running: Vec<(&'static str, Running)>,
}

impl Handle {
    /// Whether no controller has anything in line.
    pub fn is_idle(&self) -> bool {
        self.running.iter().all(|(_, r)| r.is_idle())
    }
}

/// The user agent of all controllers, by which the server names the field manager.
const AGENT: &str = "kube-controller-manager";

/// How often a complete discovery is waited for: who knows only a part collects only a part.
const DISCOVERY_TRIES: usize = 60;

/// Makes a client for a service account's name, or for `controller-manager` (the user `system:kube-controller-manager`).
pub type Clients = Arc<dyn Fn(&str) -> Client + Send + Sync>;

struct Starter {
    env: Env,
    clients: Clients,
    shared: Client,
    workers: usize,
    running: Vec<(&'static str, Running)>,
}

impl Starter {
    fn inform<V: View>(&self, resource: &Resource) -> Informer<V> {
        Informer::new(Selection::all(resource))
    }

    fn run<V: View>(&self, informer: &Informer<V>) {
        informer.run(&self.env, &self.shared);
    }

    fn start<C: Controller>(&mut self, controller: C) {
        let client = (self.clients)(C::ACCOUNT).with_agent(AGENT);
        let recorder = Recorder::start(&self.env, &client, C::NAME, "");
        self.running.push((C::NAME, start(&self.env, &client, &recorder, controller, self.workers)));
    }
}

/// Starts all controllers.
pub fn run(env: &Env, clients: Clients, options: Options) -> Result<Handle, String> {
    let ranges = Ranges::parse(&options.pod_range)
        .ok_or_else(|| format!("pod range {:?}: an IPv4 range like 10.244.0.0/16 is wanted", options.pod_range))?;
    let shared = clients("controller-manager").with_agent(AGENT);
    let mut s =
        Starter { env: env.clone(), clients: clients.clone(), shared, workers: options.workers, running: Vec::new() };
    let pods: Informer<Pod> = s.inform(&resources::PODS);
    pods.index(replicaset::BY_OWNER, replicaset::owner_values);
    pods.index(nodes::BY_NODE, |p| vec![p.spec.node_name.clone()]);
    let sets: Informer<ReplicaSet> = s.inform(&resources::REPLICASETS);
    sets.index(replicaset::BY_OWNER, replicaset::owner_values);
    let (replication, deployments) = (s.inform(&resources::REPLICATIONCONTROLLERS), s.inform(&resources::DEPLOYMENTS));
    let (node_informer, services, namespaces) =
        (s.inform(&resources::NODES), s.inform(&resources::SERVICES), s.inform(&resources::NAMESPACES));
    let slices: Informer<EndpointSlice> = s.inform(&resources::ENDPOINTSLICES);
    slices.index(endpoints::BY_SERVICE, endpoints::service_values);
    let (old_endpoints, accounts) = (s.inform(&resources::ENDPOINTS), s.inform(&resources::SERVICEACCOUNTS));
    let only = |name: &str| Some(format!("metadata.name={name}"));
    let maps = Informer::new(Selection {
        fields: only(crate::core::namespace::ROOT_CA),
        ..Selection::all(&resources::CONFIGMAPS)
    });
    let leases =
        Informer::new(Selection { namespace: Some("kube-node-lease".into()), ..Selection::all(&resources::LEASES) });

    s.start(replicaset::ReplicaSets { sets: sets.clone(), pods: pods.clone() });
    s.start(replicaset::ReplicationControllers { sets: Informer::clone(&replication), pods: pods.clone() });
    s.start(deployment::Deployments {
        deployments: Informer::clone(&deployments),
        sets: sets.clone(),
        pods: pods.clone(),
    });
    s.start(namespace::Namespaces { namespaces: Informer::clone(&namespaces), pods: pods.clone() });
    s.start(namespace::Accounts { namespaces: namespaces.clone(), accounts: Informer::clone(&accounts) });
    if !options.root_ca.is_empty() {
        s.start(namespace::RootCa {
            namespaces: namespaces.clone(),
            maps: Informer::clone(&maps),
            certificate: options.root_ca,
        });
        s.run(&maps);
    }
    s.start(nodes::Lifecycle::new(env, &node_informer, &pods, &leases));
    s.start(nodes::TaintEviction { nodes: Informer::clone(&node_informer), pods: pods.clone() });
    s.start(nodes::PodCollector::new(env, &node_informer, &pods));
    s.start(nodes::NodeRanges { nodes: node_informer.clone(), ranges });
    let sources =
        endpoints::Sources { services, pods: pods.clone(), nodes: node_informer, slices, endpoints: old_endpoints };
    s.start(endpoints::Slices(sources.clone()));
    s.start(endpoints::OldEndpoints(sources.clone()));
    run_workloads(&mut s, &Shared { pods: &pods, sets: &sets, replication: &replication, nodes: &sources.nodes });

    s.run(&pods);
    s.run(&sets);
    s.run(&replication);
    s.run(&deployments);
    s.run(&namespaces);
    s.run(&accounts);
    s.run(&leases);
    s.run(&sources.services);
    s.run(&sources.nodes);
    s.run(&sources.slices);
    s.run(&sources.endpoints);
    let discovered = when_discovered(env.clone(), clients, options.workers, pods);
    drop(env.spawn("garbage-collector", discovered)); // detached: ends with the process
    Ok(Handle { running: s.running })
}

/// Informers that several groups of controllers read.
struct Shared<'a> {
    pods: &'a Informer<Pod>,
    sets: &'a Informer<ReplicaSet>,
    replication: &'a Informer<ReplicaSet>,
    nodes: &'a Informer<Node>,
}

/// The controllers of daemon sets, stateful sets, jobs and budgets.
fn run_workloads(s: &mut Starter, shared: &Shared) {
    let revisions: Informer<Revision> = s.inform(&resources::CONTROLLERREVISIONS);
    revisions.index(replicaset::BY_OWNER, replicaset::owner_values);
    let (daemons, stateful, jobs) =
        (s.inform(&resources::DAEMONSETS), s.inform(&resources::STATEFULSETS), s.inform(&resources::JOBS));
    let (claims, budgets) = (s.inform(&resources::PERSISTENTVOLUMECLAIMS), s.inform(&resources::PODDISRUPTIONBUDGETS));
    s.start(workloads::DaemonSets {
        sets: Informer::clone(&daemons),
        pods: Informer::clone(shared.pods),
        nodes: Informer::clone(shared.nodes),
        revisions: revisions.clone(),
    });
    s.start(workloads::StatefulSets {
        sets: Informer::clone(&stateful),
        pods: Informer::clone(shared.pods),
        revisions: revisions.clone(),
        claims: Informer::clone(&claims),
    });
    s.start(workloads::Jobs { jobs: Informer::clone(&jobs), pods: Informer::clone(shared.pods) });
    s.start(workloads::TtlAfterFinished { jobs: jobs.clone() });
    let crons: Informer<CronJob> = s.inform(&resources::CRONJOBS);
    jobs.index(replicaset::BY_OWNER, replicaset::owner_values);
    s.start(cronjob::CronJobs { crons: crons.clone(), jobs: jobs.clone() });
    s.run(&crons);
    s.start(workloads::Budgets {
        budgets: Informer::clone(&budgets),
        pods: Informer::clone(shared.pods),
        replica_sets: Informer::clone(shared.sets),
        replication: Informer::clone(shared.replication),
        stateful_sets: stateful.clone(),
    });

    s.run(&revisions);
    s.run(&daemons);
    s.run(&stateful);
    s.run(&jobs);
    s.run(&claims);
    s.run(&budgets);
}

/// Discovers what there is, then starts the garbage collector and what counts for quotas.
async fn when_discovered(env: Env, clients: Clients, workers: usize, pods: Informer<Pod>) {
    let client = clients(garbage::Garbage::ACCOUNT).with_agent(AGENT);
    let mut tries = 0;
    let served = loop {
        tries += 1;
        match discover(&client).await {
            Ok(found) if found.missing.is_empty() => break found.served,
            Ok(found) if tries > DISCOVERY_TRIES => {
                tracing::warn!(missing = ?found.missing, "objects of these groups are not collected");
                break found.served;
            }
            Ok(found) => tracing::debug!(missing = ?found.missing, "discovery is not complete"),
            Err(error) => tracing::debug!(%error, "discovery failed"),
        }
        time::sleep(time::Duration::from_secs(1)).await;
    };
    let garbage = garbage::Garbage::new(&env, &client, &served);
    let counter = clients(quotas::Quotas::ACCOUNT).with_agent(AGENT);
    let quotas = Informer::start(&env, &counter, Selection::all(&resources::RESOURCEQUOTAS));
    let quotas = quotas::Quotas::new(quotas, pods, garbage.informers.clone(), &served);
    let recorder = Recorder::start(&env, &counter, quotas::Quotas::NAME, "");
    start(&env, &counter, &recorder, quotas, workers);
    let recorder = Recorder::start(&env, &client, garbage::Garbage::NAME, "");
    start(&env, &client, &recorder, garbage, workers);
}

#[cfg(test)]
mod tests;
