//! NodeAffinity: nodes that a pod selects or prefers by their labels.

use crate::core::framework::{Filter, PreFilter, Score, Verdict, Wake, in_proportion};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::{NodeTerm, PodSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the file's head.
pub struct NodeAffinity;

fn term_matches(term: &NodeTerm, node: &NodeInfo) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let fields = BTreeMap::from([("metadata.name".to_string(), node.name().to_string())]);
    term.match_expressions.iter().all(|e| e.matches(&node.node.metadata.labels))
        && term.match_fields.iter().all(|e| e.matches(&fields))
}

/// Whether a node is one that the pod selects.
pub fn selects(spec: &PodSpec, node: &NodeInfo) -> bool {
    let labels = &node.node.metadata.labels;
    let by_labels = spec.node_selector.iter().all(|(k, v)| labels.get(k) == Some(v));
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.required.as_ref());
    by_labels && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// The nodes that every term names, if every term names some.
fn named(spec: &PodSpec) -> Option<BTreeSet<String>> {
    let terms = &spec.affinity.as_ref()?.node_affinity.required.as_ref()?.node_selector_terms;
    let mut names = BTreeSet::new();
    for term in terms {
        let field = term.match_fields.iter().find(|f| f.key == "metadata.name" && f.operator == "In")?;
        names.extend(field.values.iter().cloned());
    }
    (!names.is_empty()).then_some(names)
}

impl Filter for NodeAffinity {
    const NAME: &'static str = "NodeAffinity";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded, Wake::NodeLabels, Wake::PodItself];
    type State = ();

    fn pre_filter(&self, _: &Snapshot, pod: &Pod) -> PreFilter<()> {
        let spec = &pod.view.spec;
        let required = spec.affinity.as_ref().is_some_and(|a| a.node_affinity.required.is_some());
        match named(spec) {
            Some(names) => PreFilter::Only((), names),
            None if required || !spec.node_selector.is_empty() => PreFilter::Run(()),
            None => PreFilter::Skip,
        }
    }

    fn filter(&self, (): &(), pod: &Pod, node: &NodeInfo) -> Verdict {
        if selects(&pod.view.spec, node) {
            Verdict::Fits
        } else {
            Verdict::never("node(s) didn't match Pod's node affinity/selector")
        }
    }
}

impl Score for NodeAffinity {
    const NAME: &'static str = "NodeAffinity";
    const WEIGHT: i64 = 2;
    type State = ();

    fn pre_score(&self, _: &Snapshot, pod: &Pod, _: &[Arc<NodeInfo>]) -> Option<()> {
        pod.view.spec.affinity.as_ref().filter(|a| !a.node_affinity.preferred.is_empty()).map(|_| ())
    }

    fn score(&self, (): &(), pod: &Pod, node: &NodeInfo) -> i64 {
        let preferred = pod.view.spec.affinity.iter().flat_map(|a| &a.node_affinity.preferred);
        preferred.filter(|p| term_matches(&p.preference, node)).map(|p| p.weight).sum()
    }

    fn normalize(&self, (): &(), _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        in_proportion(scores, false);
    }
}
