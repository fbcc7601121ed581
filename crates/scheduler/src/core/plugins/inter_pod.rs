//! InterPodAffinity: pods that want to be near, or away from, others.
//! Source: `pkg/scheduler/framework/plugins/interpodaffinity`.

use crate::core::framework::{Filter, PreFilter, SCORE_MOST, Score, Verdict, Wake};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::{PodAffinity, PodTerm};
use client::Expression;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much a required affinity of a placed pod counts as a preference of its own.
const HARD_WEIGHT: i64 = 1;

/// See the file's head.
pub struct InterPodAffinity;

/// A domain: a topology key and its value.
type Domain = (String, String);

fn affinity(pod: &Pod) -> Option<&PodAffinity> {
    pod.view.spec.affinity.as_ref().map(|a| &a.pod_affinity)
}

fn anti(pod: &Pod) -> Option<&PodAffinity> {
    pod.view.spec.affinity.as_ref().map(|a| &a.pod_anti_affinity)
}

/// Whether `owner`'s term is about `other`.
fn about(term: &PodTerm, owner: &Pod, other: &Pod, cluster: &Snapshot) -> bool {
    let namespace = &other.meta().namespace;
    let by_selector = term
        .namespace_selector
        .as_ref()
        .is_some_and(|s| cluster.namespaces.get(namespace).is_some_and(|l| s.matches(l)));
    let named = if term.namespaces.is_empty() && term.namespace_selector.is_none() {
        *namespace == owner.meta().namespace
    } else {
        term.namespaces.contains(namespace)
    };
    let Some(selector) = &term.label_selector else { return false };
    let labels = &other.meta().labels;
    let same = |key: &String, operator: &str| {
        owner.meta().labels.get(key).is_none_or(|value| {
            Expression { key: key.clone(), operator: operator.into(), values: vec![value.clone()] }.matches(labels)
        })
    };
    (named || by_selector)
        && selector.matches(labels)
        && term.match_label_keys.iter().all(|k| same(k, "In"))
        && term.mismatch_label_keys.iter().all(|k| same(k, "NotIn"))
}

/// What is counted for a pod.
#[derive(Default)]
pub struct State {
    /// Domains where placed pods do not want it.
    refused: BTreeMap<Domain, i64>,
    /// By term, domains with pods that it wants to be near; a pod counts if all terms are about it.
    wanted: BTreeMap<Domain, i64>,
    /// Domains with pods that it wants to be away from.
    avoided: BTreeMap<Domain, i64>,
    /// All its own terms are about itself: it may be the first.
    may_be_first: bool,
}

fn domain(node: &NodeInfo, key: &str) -> Option<Domain> {
    node.label(key).map(|value| (key.to_string(), value.to_string()))
}

impl Filter for InterPodAffinity {
    const NAME: &'static str = "InterPodAffinity";
    const WAKES_ON: &'static [Wake] =
        &[Wake::NodeAdded, Wake::NodeLabels, Wake::PodPlaced, Wake::PodGone, Wake::PodItself];
    type State = State;

    fn pre_filter(&self, cluster: &Snapshot, pod: &Pod) -> PreFilter<State> {
        let mut state = State::default();
        let none = PodAffinity::default();
        let (near, away) = (&affinity(pod).unwrap_or(&none).required, &anti(pod).unwrap_or(&none).required);
        for (node, other) in cluster.pods() {
            for term in anti(other).map(|a| &a.required).into_iter().flatten() {
                if about(term, other, pod, cluster)
                    && let Some(domain) = domain(node, &term.topology_key)
                {
                    *state.refused.entry(domain).or_insert(0) += 1;
                }
            }
            if !near.is_empty() && near.iter().all(|t| about(t, pod, other, cluster)) {
                for domain in near.iter().filter_map(|t| domain(node, &t.topology_key)) {
                    *state.wanted.entry(domain).or_insert(0) += 1;
                }
            }
            for term in away.iter().filter(|t| about(t, pod, other, cluster)) {
                if let Some(domain) = domain(node, &term.topology_key) {
                    *state.avoided.entry(domain).or_insert(0) += 1;
                }
            }
        }
        state.may_be_first = state.wanted.is_empty() && near.iter().all(|t| about(t, pod, pod, cluster));
        if state.refused.is_empty() && near.is_empty() && away.is_empty() {
            PreFilter::Skip
        } else {
            PreFilter::Run(state)
        }
    }

    fn filter(&self, state: &State, pod: &Pod, node: &NodeInfo) -> Verdict {
        let near = affinity(pod).map(|a| &a.required).into_iter().flatten();
        for term in near {
            let Some(domain) = domain(node, &term.topology_key) else {
                return Verdict::never("node(s) didn't match pod affinity rules");
            };
            if !state.wanted.contains_key(&domain) && !state.may_be_first {
                return Verdict::never("node(s) didn't match pod affinity rules");
            }
        }
        let away = anti(pod).map(|a| &a.required).into_iter().flatten();
        if away.filter_map(|t| domain(node, &t.topology_key)).any(|d| state.avoided.contains_key(&d)) {
            return Verdict::no("node(s) didn't match pod anti-affinity rules");
        }
        if state.refused.keys().any(|(key, value)| node.label(key) == Some(value)) {
            return Verdict::no("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Verdict::Fits
    }
}

impl Score for InterPodAffinity {
    const NAME: &'static str = "InterPodAffinity";
    const WEIGHT: i64 = 2;
    /// Points by domain.
    type State = BTreeMap<Domain, i64>;

    fn pre_score(&self, cluster: &Snapshot, pod: &Pod, _: &[Arc<NodeInfo>]) -> Option<Self::State> {
        let mut points: BTreeMap<Domain, i64> = BTreeMap::new();
        for (node, other) in cluster.pods() {
            let mut add = |term: &PodTerm, owner: &Pod, of: &Pod, weight: i64| {
                if about(term, owner, of, cluster)
                    && let Some(domain) = domain(node, &term.topology_key)
                {
                    *points.entry(domain).or_insert(0) += weight;
                }
            };
            for (side, sign) in [(affinity(pod), 1), (anti(pod), -1)] {
                for preferred in side.map(|a| &a.preferred).into_iter().flatten() {
                    add(&preferred.pod_affinity_term, pod, other, sign * preferred.weight);
                }
            }
            for (side, sign) in [(affinity(other), 1), (anti(other), -1)] {
                for preferred in side.map(|a| &a.preferred).into_iter().flatten() {
                    add(&preferred.pod_affinity_term, other, pod, sign * preferred.weight);
                }
            }
            for term in affinity(other).map(|a| &a.required).into_iter().flatten() {
                add(term, other, pod, HARD_WEIGHT);
            }
        }
        (!points.is_empty()).then_some(points)
    }

    fn score(&self, points: &Self::State, _: &Pod, node: &NodeInfo) -> i64 {
        points.iter().filter(|((key, value), _)| node.label(key) == Some(value)).map(|(_, p)| p).sum()
    }

    fn normalize(&self, _: &Self::State, _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most > least { SCORE_MOST * (*score - least) / (most - least) } else { 0 };
        }
    }
}
