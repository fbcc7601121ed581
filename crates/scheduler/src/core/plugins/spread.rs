//! PodTopologySpread: like pods spread over zones, nodes or other domains.
//! Source: `pkg/scheduler/framework/plugins/podtopologyspread`.

use super::{node_affinity, taints};
use crate::core::framework::{Filter, PreFilter, SCORE_MOST, Score, Verdict, Wake};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::Spread;
use client::{Expression, Selector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// See the file's head.
pub struct PodTopologySpread;

/// A constraint with what it selects.
struct Rule {
    spread: Spread,
    selects: Selects,
}

enum Selects {
    Labels(Selector),
    /// Default constraints: pods of the same owner.
    Owner(String),
}

impl Rule {
    fn matches(&self, pod: &Pod, namespace: &str) -> bool {
        if pod.meta().namespace != namespace || pod.meta().is_deleting() {
            return false;
        }
        match &self.selects {
            Selects::Labels(selector) => selector.matches(&pod.meta().labels),
            Selects::Owner(uid) => pod.meta().controller().is_some_and(|o| o.uid == *uid),
        }
    }
}

fn rules(pod: &Pod, hard: bool) -> Vec<Rule> {
    let wanted = if hard { "DoNotSchedule" } else { "ScheduleAnyway" };
    let constraints = &pod.view.spec.topology_spread_constraints;
    let of = |spread: &Spread| {
        let mut selector = spread.label_selector.clone().unwrap_or_default();
        for key in &spread.match_label_keys {
            if let Some(value) = pod.meta().labels.get(key) {
                let operator = "In".to_string();
                selector.match_expressions.push(Expression { key: key.clone(), operator, values: vec![value.clone()] });
            }
        }
        Rule { spread: spread.clone(), selects: Selects::Labels(selector) }
    };
    let mut out: Vec<Rule> = constraints.iter().filter(|s| s.when_unsatisfiable == wanted).map(of).collect();
    if constraints.is_empty()
        && !hard
        && let Some(owner) = pod.meta().controller()
    {
        for (key, max_skew) in [(HOSTNAME, 3), (ZONE, 5)] {
            let spread = Spread { topology_key: key.into(), max_skew, ..Spread::default() };
            out.push(Rule { spread, selects: Selects::Owner(owner.uid.clone()) });
        }
    }
    out
}

/// Whether a node's pods are counted.
fn counts(spread: &Spread, pod: &Pod, node: &NodeInfo) -> bool {
    let affinity = spread.node_affinity_policy.as_deref() != Some("Ignore");
    let tainted = spread.node_taints_policy.as_deref() == Some("Honor");
    (!affinity || node_affinity::selects(&pod.view.spec, node)) && (!tainted || taints::allows(pod, node))
}

/// A hard constraint with the number of matching pods by domain.
pub struct Counted {
    rule: Rule,
    domains: BTreeMap<String, i64>,
    self_matches: bool,
}

impl Counted {
    fn least(&self) -> i64 {
        if (self.domains.len() as i64) < self.rule.spread.min_domains.unwrap_or(1) {
            return 0;
        }
        self.domains.values().copied().min().unwrap_or(0)
    }
}

impl Filter for PodTopologySpread {
    const NAME: &'static str = "PodTopologySpread";
    const WAKES_ON: &'static [Wake] =
        &[Wake::NodeAdded, Wake::NodeLabels, Wake::NodeTaints, Wake::PodPlaced, Wake::PodGone, Wake::PodItself];
    type State = Vec<Counted>;

    fn pre_filter(&self, cluster: &Snapshot, pod: &Pod) -> PreFilter<Vec<Counted>> {
        let rules = rules(pod, true);
        if rules.is_empty() {
            return PreFilter::Skip;
        }
        let keys: Vec<String> = rules.iter().map(|r| r.spread.topology_key.clone()).collect();
        let namespace = &pod.meta().namespace;
        let count = |rule: Rule| {
            let mut domains = BTreeMap::new();
            for node in cluster.nodes.values() {
                if keys.iter().any(|k| node.label(k).is_none()) || !counts(&rule.spread, pod, node) {
                    continue;
                }
                let found = node.pods.values().filter(|p| rule.matches(p, namespace)).count() as i64;
                *domains.entry(node.label(&rule.spread.topology_key).unwrap_or_default().to_string()).or_insert(0) +=
                    found;
            }
            let self_matches = rule.matches(pod, namespace);
            Counted { rule, domains, self_matches }
        };
        PreFilter::Run(rules.into_iter().map(count).collect())
    }

    fn filter(&self, state: &Vec<Counted>, _: &Pod, node: &NodeInfo) -> Verdict {
        for counted in state {
            let Some(domain) = node.label(&counted.rule.spread.topology_key) else {
                return Verdict::never("node(s) didn't match pod topology spread constraints (missing required label)");
            };
            let there = counted.domains.get(domain).copied().unwrap_or(0) + i64::from(counted.self_matches);
            if there - counted.least() > counted.rule.spread.max_skew {
                return Verdict::no("node(s) didn't match pod topology spread constraints");
            }
        }
        Verdict::Fits
    }
}

/// A soft constraint: matching pods by domain, and how much it weighs.
pub struct Soft {
    key: String,
    max_skew: i64,
    domains: BTreeMap<String, i64>,
    weight: f64,
}

impl Score for PodTopologySpread {
    const NAME: &'static str = "PodTopologySpread";
    const WEIGHT: i64 = 2;
    type State = Vec<Soft>;

    fn pre_score(&self, cluster: &Snapshot, pod: &Pod, nodes: &[Arc<NodeInfo>]) -> Option<Vec<Soft>> {
        let mut rules = rules(pod, false);
        // Constraints over a label that no node has say nothing.
        rules.retain(|r| nodes.iter().any(|n| n.label(&r.spread.topology_key).is_some()));
        if rules.is_empty() {
            return None;
        }
        let namespace = &pod.meta().namespace;
        let soft = |rule: Rule| {
            let key = rule.spread.topology_key.clone();
            let mut domains: BTreeMap<String, i64> = BTreeMap::new();
            for domain in nodes.iter().filter_map(|n| n.label(&key)) {
                domains.insert(domain.to_string(), 0);
            }
            for node in cluster.nodes.values().filter(|n| counts(&rule.spread, pod, n)) {
                if let Some(count) = node.label(&key).and_then(|d| domains.get_mut(d)) {
                    *count += node.pods.values().filter(|p| rule.matches(p, namespace)).count() as i64;
                }
            }
            let weight = (domains.len() as f64 + 2.0).ln();
            Soft { max_skew: rule.spread.max_skew, key, domains, weight }
        };
        Some(rules.into_iter().map(soft).collect())
    }

    fn score(&self, state: &Vec<Soft>, _: &Pod, node: &NodeInfo) -> i64 {
        let mut cost = 0.0;
        for soft in state {
            if let Some(count) = node.label(&soft.key).and_then(|d| soft.domains.get(d)) {
                cost += *count as f64 * soft.weight + (soft.max_skew - 1) as f64;
            }
        }
        cost.round() as i64
    }

    fn normalize(&self, state: &Vec<Soft>, nodes: &[Arc<NodeInfo>], scores: &mut [i64]) {
        let ignored: BTreeSet<usize> = nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| state.iter().any(|s| n.label(&s.key).is_none()))
            .map(|(i, _)| i)
            .collect();
        let counted = || scores.iter().enumerate().filter(|(i, _)| !ignored.contains(i)).map(|(_, s)| *s);
        let (least, most) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for (i, score) in scores.iter_mut().enumerate() {
            *score = match most {
                _ if ignored.contains(&i) => 0,
                0 => SCORE_MOST,
                _ => SCORE_MOST * (most + least - *score) / most,
            };
        }
    }
}
