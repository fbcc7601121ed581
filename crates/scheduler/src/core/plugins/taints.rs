//! TaintToleration: nodes that repel pods.

use crate::core::framework::{Filter, PreFilter, Score, Verdict, Wake, in_proportion};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::{Taint, Toleration};
use std::sync::Arc;

/// See the file's head.
pub struct TaintToleration;

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if (!toleration.effect.is_empty() && toleration.effect != taint.effect)
        || (!toleration.key.is_empty() && toleration.key != taint.key)
    {
        return false;
    }
    match toleration.operator.as_str() {
        "" | "Equal" => !toleration.key.is_empty() && toleration.value == taint.value,
        "Exists" => true,
        "Gt" | "Lt" => match (taint.value.parse::<i64>(), toleration.value.parse::<i64>()) {
            (Ok(have), Ok(want)) if toleration.operator == "Gt" => have > want,
            (Ok(have), Ok(want)) => have < want,
            _ => false,
        },
        _ => false,
    }
}

fn untolerated(pod: &Pod, node: &NodeInfo, effects: &[&str]) -> usize {
    let taints = node.node.spec.taints.iter().filter(|t| effects.contains(&t.effect.as_str()));
    taints.filter(|taint| !pod.view.spec.tolerations.iter().any(|t| tolerates(t, taint))).count()
}

/// Whether the pod may be put on the node as far as taints go.
pub fn allows(pod: &Pod, node: &NodeInfo) -> bool {
    untolerated(pod, node, &["NoSchedule", "NoExecute"]) == 0
}

impl Filter for TaintToleration {
    const NAME: &'static str = "TaintToleration";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded, Wake::NodeTaints, Wake::PodItself];
    type State = ();

    fn pre_filter(&self, _: &Snapshot, _: &Pod) -> PreFilter<()> {
        PreFilter::Run(())
    }

    fn filter(&self, (): &(), pod: &Pod, node: &NodeInfo) -> Verdict {
        if allows(pod, node) { Verdict::Fits } else { Verdict::never("node(s) had untolerated taint(s)") }
    }
}

impl Score for TaintToleration {
    const NAME: &'static str = "TaintToleration";
    const WEIGHT: i64 = 3;
    type State = ();

    fn pre_score(&self, _: &Snapshot, _: &Pod, _: &[Arc<NodeInfo>]) -> Option<()> {
        Some(())
    }

    fn score(&self, (): &(), pod: &Pod, node: &NodeInfo) -> i64 {
        untolerated(pod, node, &["PreferNoSchedule"]) as i64
    }

    fn normalize(&self, (): &(), _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        in_proportion(scores, true);
    }
}
