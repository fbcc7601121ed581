//! Preemption: which less important pods would have to go so that a pod fits.
//! Source: `pkg/scheduler/framework/preemption`. Budgets are kept where
//! that is possible: pods that a budget protects stay first, and a node where fewer budgets break is chosen. Leaves out extenders.

use super::decide::{Diagnosis, Framework, histogram};
use super::framework::Verdict;
use super::snapshot::{Pod, Snapshot};
use client::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const CANDIDATES_MOST: usize = 100;
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What preemption can do.
#[derive(Debug)]
pub enum Preemption {
    /// Remove these pods of this node.
    Victims(String, Vec<Arc<Pod>>),
    /// Nothing; why.
    No(String),
}

/// Looks for the node where the least has to go.
pub fn preempt(framework: &Framework, cluster: &Snapshot, pod: &Pod, diagnosis: &Diagnosis) -> Preemption {
    if pod.view.spec.preemption_policy.as_deref() == Some("Never") {
        return Preemption::No("not eligible due to preemptionPolicy=Never.".into());
    }
    // Victims of an earlier round that are still ending make room soon.
    let nominated = &pod.view.status.nominated_node_name;
    let ending = |p: &&Arc<Pod>| p.meta().is_deleting() && p.priority() < pod.priority();
    if cluster.nodes.get(nominated).is_some_and(|n| n.pods.values().any(|p| ending(&p))) {
        return Preemption::No("not eligible due to a terminating pod on the nominated node.".into());
    }
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for node in cluster.nodes.keys() {
        let helpful =
            diagnosis.at_once.is_none() && matches!(diagnosis.by_node.get(node), Some((_, Verdict::Unschedulable(_))));
        if !helpful {
            reasons.insert(node, NOT_HELPFUL);
        } else if found.len() < CANDIDATES_MOST {
            match victims(framework, cluster, pod, node) {
                Some(one) if !one.victims.is_empty() => found.push((node.clone(), one)),
                _ => drop(reasons.insert(node, NO_VICTIMS)),
            }
        }
    }
    let start = |p: &Arc<Pod>| p.view.status.start_time.clone().unwrap_or_default();
    let cost = |Found { victims, broken }: &Found| {
        let highest = victims.iter().map(|p| p.priority()).max().unwrap_or(i64::MIN);
        let sum: i128 = victims.iter().map(|p| i128::from(p.priority()) + (1 << 31)).sum();
        // Of the most important victims, those that started last are the smallest loss.
        let earliest = victims.iter().filter(|p| p.priority() == highest).map(start).min().unwrap_or_default();
        (*broken, highest, sum, victims.len(), std::cmp::Reverse(earliest))
    };
    match found.into_iter().min_by_key(|(node, found)| (cost(found), node.clone())) {
        Some((node, found)) => Preemption::Victims(node, found.victims),
        None => Preemption::No(format!(
            "0/{} nodes are available: {}.",
            cluster.nodes.len(),
            histogram(reasons.into_values())
        )),
    }
}

/// What would have to go from a node.
struct Found {
    victims: Vec<Arc<Pod>>,
    /// How many of them a budget protects.
    broken: usize,
}

/// Which of these pods a budget protects, if they go in this order.
fn protected(cluster: &Snapshot, pods: &[Arc<Pod>]) -> BTreeSet<String> {
    let mut left: BTreeMap<&ObjectKey, i64> =
        cluster.budgets.iter().map(|(key, b)| (key, b.status.disruptions_allowed)).collect();
    let mut out = BTreeSet::new();
    for pod in pods {
        let meta = pod.meta();
        for (key, budget) in cluster.budgets.iter().filter(|(key, _)| key.namespace == meta.namespace) {
            let selector = budget.spec.selector.as_ref().filter(|s| !s.is_empty());
            let counts = selector.is_some_and(|s| s.matches(&meta.labels)) && !meta.labels.is_empty();
            // Whose disruption was granted already costs nothing more.
            if !counts || budget.status.disrupted_pods.contains_key(&meta.name) {
                continue;
            }
            let allowed = left.entry(key).or_insert(0);
            *allowed -= 1;
            if *allowed < 0 {
                out.insert(meta.uid.clone());
            }
        }
    }
    out
}

/// The fewest pods that have to go from a node; `None`: the pod does not fit even without all less important ones.
fn victims(framework: &Framework, cluster: &Snapshot, pod: &Pod, node: &str) -> Option<Found> {
    let info = cluster.nodes.get(node)?;
    let mut lesser: Vec<Arc<Pod>> = info.pods.values().filter(|p| p.priority() < pod.priority()).cloned().collect();
    if lesser.is_empty() {
        return None;
    }
    let mut left = (**info).clone();
    for victim in &lesser {
        left.remove(&victim.meta().uid);
    }
    if !framework.fits(&cluster.with(left.clone()), pod, node) {
        return None;
    }
    // The most important (and then the longest running) come back first, those that a budget protects before all others.
    let start = |p: &Arc<Pod>| p.view.status.start_time.clone().unwrap_or_default();
    lesser.sort_by(|a, b| b.priority().cmp(&a.priority()).then_with(|| start(a).cmp(&start(b))));
    let protected = protected(cluster, &lesser);
    let is_protected = |p: &Arc<Pod>| protected.contains(&p.meta().uid);
    lesser.sort_by_key(|p| !is_protected(p));
    let mut victims = Vec::new();
    for candidate in lesser {
        left.add(&candidate);
        if !framework.fits(&cluster.with(left.clone()), pod, node) {
            left.remove(&candidate.meta().uid);
            victims.push(candidate);
        }
    }
    let broken = victims.iter().filter(|p| is_protected(p)).count();
    Some(Found { victims, broken })
}
