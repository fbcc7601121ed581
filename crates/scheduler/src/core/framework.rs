//! What a plugin is. Filters say on which nodes a pod may run, scores which of these is best; both are pure functions of an
//! immutable snapshot, with a typed state of their own. Erasure happens once, here.

use super::snapshot::{NodeInfo, Pod, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Changes in the cluster that may let a rejected pod fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A node came.
    NodeAdded,
    /// A node has other allocatable amounts.
    NodeAllocatable,
    /// A node has other labels.
    NodeLabels,
    /// A node has other taints, or was (un)cordoned.
    NodeTaints,
    /// A pod was placed, or a placed pod's labels changed.
    PodPlaced,
    /// A placed pod ended or was removed.
    PodGone,
    /// A claim came or changed.
    Claim,
    /// The pod itself changed.
    PodItself,
}

/// Whether a node is fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Fits,
    /// It is not; it might be without some pods on it.
    Unschedulable(Vec<String>),
    /// It is not, whatever pods are on it.
    Unresolvable(Vec<String>),
}

impl Verdict {
    /// Not fit, for one reason.
    pub fn no(reason: &str) -> Verdict {
        Verdict::Unschedulable(vec![reason.to_string()])
    }

    /// Not fit, whatever pods are on it.
    pub fn never(reason: &str) -> Verdict {
        Verdict::Unresolvable(vec![reason.to_string()])
    }
}

/// What a filter says before it sees nodes.
pub enum PreFilter<S> {
    /// The filter has nothing to say about this pod.
    Skip,
    /// Ask it about every node.
    Run(S),
    /// Ask it about these nodes; all others are out.
    Only(S, BTreeSet<String>),
    /// No node fits.
    Reject(String),
}

/// A filter plugin: one file, one type.
pub trait Filter: Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// What may let a pod fit that it rejected.
    const WAKES_ON: &'static [Wake];
    /// What it computes once for a pod.
    type State: Send + Sync + 'static;
    /// Looks at the pod.
    fn pre_filter(&self, cluster: &Snapshot, pod: &Pod) -> PreFilter<Self::State>;
    /// Looks at a node.
    fn filter(&self, state: &Self::State, pod: &Pod, node: &NodeInfo) -> Verdict;
}

/// A score plugin.
pub trait Score: Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// How much it counts. Source: upstream's default profile.
    const WEIGHT: i64;
    /// What it computes once for a pod.
    type State: Send + Sync + 'static;
    /// Looks at the pod and the nodes that are fit; `None`: it has nothing to say.
    fn pre_score(&self, cluster: &Snapshot, pod: &Pod, nodes: &[Arc<NodeInfo>]) -> Option<Self::State>;
    /// A node's score.
    fn score(&self, state: &Self::State, pod: &Pod, node: &NodeInfo) -> i64;
    /// Brings the scores of all nodes to 0…100.
    fn normalize(&self, _state: &Self::State, _nodes: &[Arc<NodeInfo>], _scores: &mut [i64]) {}
}

/// Highest score.
pub const SCORE_MOST: i64 = 100;

/// Scores in proportion to the highest one.
pub fn in_proportion(scores: &mut [i64], reverse: bool) {
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let part = if most == 0 { 0 } else { *score * SCORE_MOST / most };
        *score = if reverse { SCORE_MOST - part } else { part };
    }
}

/// A filter's answer for one pod, with its state inside.
pub type NodeFilter<'a> = Box<dyn Fn(&NodeInfo) -> Verdict + 'a>;

/// A filter of any type.
pub trait AnyFilter: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What may let a pod fit that it rejected.
    fn wakes_on(&self) -> &'static [Wake];
    /// Looks at the pod.
    fn prepare<'a>(&'a self, cluster: &Snapshot, pod: &'a Pod) -> PreFilter<NodeFilter<'a>>;
}

impl<F: Filter> AnyFilter for F {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn wakes_on(&self) -> &'static [Wake] {
        F::WAKES_ON
    }

    fn prepare<'a>(&'a self, cluster: &Snapshot, pod: &'a Pod) -> PreFilter<NodeFilter<'a>> {
        let run = |state: F::State| -> NodeFilter<'a> { Box::new(move |node| self.filter(&state, pod, node)) };
        match self.pre_filter(cluster, pod) {
            PreFilter::Skip => PreFilter::Skip,
            PreFilter::Run(state) => PreFilter::Run(run(state)),
            PreFilter::Only(state, nodes) => PreFilter::Only(run(state), nodes),
            PreFilter::Reject(why) => PreFilter::Reject(why),
        }
    }
}

/// A score of any type.
pub trait AnyScore: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Weighted scores of all nodes; `None`: it has nothing to say.
    fn scores(&self, cluster: &Snapshot, pod: &Pod, nodes: &[Arc<NodeInfo>]) -> Option<Vec<i64>>;
}

impl<S: Score> AnyScore for S {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn scores(&self, cluster: &Snapshot, pod: &Pod, nodes: &[Arc<NodeInfo>]) -> Option<Vec<i64>> {
        let state = self.pre_score(cluster, pod, nodes)?;
        let mut scores: Vec<i64> = nodes.iter().map(|node| self.score(&state, pod, node)).collect();
        self.normalize(&state, nodes, &mut scores);
        Some(scores.into_iter().map(|s| s.clamp(0, SCORE_MOST) * S::WEIGHT).collect())
    }
}
