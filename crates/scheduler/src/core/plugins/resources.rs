//! NodeResourcesFit (filter, and LeastAllocated score) and NodeResourcesBalancedAllocation.

use crate::core::framework::{Filter, PreFilter, SCORE_MOST, Score, Verdict, Wake};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use std::sync::Arc;

/// Whether a node has room; the emptier, the better.
pub struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    const NAME: &'static str = "NodeResourcesFit";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded, Wake::NodeAllocatable, Wake::PodGone, Wake::PodItself];
    type State = ();

    fn pre_filter(&self, _: &Snapshot, _: &Pod) -> PreFilter<()> {
        PreFilter::Run(())
    }

    fn filter(&self, (): &(), pod: &Pod, node: &NodeInfo) -> Verdict {
        let (want, used, all) = (&pod.requests, &node.requested, &node.allocatable);
        let mut reasons = Vec::new();
        let mut never = false;
        if node.pods.len() as i64 + 1 > all.pods {
            reasons.push("Too many pods".to_string());
            never |= all.pods == 0;
        }
        let mut check = |name: &str, want: i64, used: i64, all: i64| {
            if want > 0 && want > all - used {
                reasons.push(format!("Insufficient {name}"));
                never |= want > all;
            }
        };
        check("cpu", want.milli_cpu, used.milli_cpu, all.milli_cpu);
        check("memory", want.memory, used.memory, all.memory);
        check("ephemeral-storage", want.storage, used.storage, all.storage);
        for (name, amount) in &want.scalar {
            let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
            check(name, *amount, of(&used.scalar), of(&all.scalar));
        }
        match (reasons.is_empty(), never) {
            (true, _) => Verdict::Fits,
            (false, true) => Verdict::Unresolvable(reasons),
            (false, false) => Verdict::Unschedulable(reasons),
        }
    }
}

impl Score for NodeResourcesFit {
    const NAME: &'static str = "NodeResourcesFit";
    const WEIGHT: i64 = 1;
    type State = ();

    fn pre_score(&self, _: &Snapshot, _: &Pod, _: &[Arc<NodeInfo>]) -> Option<()> {
        Some(())
    }

    fn score(&self, (): &(), pod: &Pod, node: &NodeInfo) -> i64 {
        let left = |want: i64, used: i64, all: i64| match all {
            0 => None,
            _ if used + want > all => Some(0),
            _ => Some((all - used - want) * SCORE_MOST / all),
        };
        let parts = [
            left(pod.counted.milli_cpu, node.counted.milli_cpu, node.allocatable.milli_cpu),
            left(pod.counted.memory, node.counted.memory, node.allocatable.memory),
        ];
        let known: Vec<i64> = parts.into_iter().flatten().collect();
        if known.is_empty() { 0 } else { known.iter().sum::<i64>() / known.len() as i64 }
    }
}

/// The more evenly a node's resources are used, the better.
pub struct BalancedAllocation;

impl Score for BalancedAllocation {
    const NAME: &'static str = "NodeResourcesBalancedAllocation";
    const WEIGHT: i64 = 1;
    type State = ();

    fn pre_score(&self, _: &Snapshot, pod: &Pod, _: &[Arc<NodeInfo>]) -> Option<()> {
        // Pods that ask for nothing would all crowd on one node.
        (pod.requests.milli_cpu > 0 || pod.requests.memory > 0 || !pod.requests.scalar.is_empty()).then_some(())
    }

    fn score(&self, (): &(), pod: &Pod, node: &NodeInfo) -> i64 {
        let part = |want: i64, used: i64, all: i64| (all > 0).then(|| ((used + want) as f64 / all as f64).min(1.0));
        let parts = [
            part(pod.requests.milli_cpu, node.requested.milli_cpu, node.allocatable.milli_cpu),
            part(pod.requests.memory, node.requested.memory, node.allocatable.memory),
        ];
        let [Some(cpu), Some(memory)] = parts else { return SCORE_MOST };
        ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MOST as f64) as i64
    }
}
