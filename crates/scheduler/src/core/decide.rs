//! The decision: on which node a pod shall run, or why on none.

use super::framework::{AnyFilter, AnyScore, NodeFilter, PreFilter, Verdict, Wake};
use super::plugins;
use super::snapshot::{NodeInfo, Pod, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The plugins of a profile.
pub struct Framework {
    filters: Vec<Box<dyn AnyFilter>>,
    scores: Vec<Box<dyn AnyScore>>,
}

impl Default for Framework {
    fn default() -> Framework {
        Framework { filters: plugins::filters(), scores: plugins::scores() }
    }
}

/// Why no node fits, per node and per plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// Number of nodes.
    pub nodes: usize,
    /// The reason that rules out all nodes at once.
    pub at_once: Option<String>,
    /// By node: which plugin refused it, and how.
    pub by_node: BTreeMap<String, (&'static str, Verdict)>,
    /// Plugins that refused something.
    pub plugins: BTreeSet<&'static str>,
    /// Changes that may help.
    pub wakes: BTreeSet<Wake>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// This node.
    Node(String),
    /// None.
    Nowhere(Diagnosis),
}

/// Pods that were promised room on a node, by node.
pub type Nominated = BTreeMap<String, Vec<Arc<Pod>>>;

impl Framework {
    /// Decides about a pod; `pick` chooses among equals.
    pub fn decide(&self, cluster: &Snapshot, pod: &Pod, nominated: &Nominated, pick: u64) -> Decision {
        let mut diagnosis = Diagnosis { nodes: cluster.nodes.len(), ..Diagnosis::default() };
        let Some(prepared) = self.prepare(cluster, pod, &mut diagnosis) else { return Decision::Nowhere(diagnosis) };
        let mut fit = Vec::new();
        for node in cluster.nodes.values() {
            let promised = nominated.get(node.name()).into_iter().flatten();
            let promised: Vec<_> =
                promised.filter(|p| p.priority() >= pod.priority() && p.meta().uid != pod.meta().uid).collect();
            let mut refusal = prepared.check(node);
            if refusal.is_none() && !promised.is_empty() {
                let mut fuller = (**node).clone();
                promised.into_iter().for_each(|p| fuller.add(p));
                refusal = prepared.check(&fuller);
            }
            match refusal {
                None => fit.push(node.clone()),
                Some((plugin, verdict)) => self.note(&mut diagnosis, node.name(), plugin, verdict),
            }
        }
        match fit.len() {
            0 => Decision::Nowhere(diagnosis),
            1 => Decision::Node(fit[0].name().to_string()),
            _ => Decision::Node(self.best(cluster, pod, &fit, pick)),
        }
    }

    fn note(&self, diagnosis: &mut Diagnosis, node: &str, plugin: &'static str, verdict: Verdict) {
        if diagnosis.plugins.insert(plugin) {
            let filter = self.filters.iter().find(|f| f.name() == plugin);
            diagnosis.wakes.extend(filter.map(|f| f.wakes_on()).unwrap_or_default());
        }
        diagnosis.by_node.insert(node.to_string(), (plugin, verdict));
    }

    /// Whether the pod fits on one node of a changed cluster.
    pub fn fits(&self, cluster: &Snapshot, pod: &Pod, node: &str) -> bool {
        let mut diagnosis = Diagnosis::default();
        let Some(prepared) = self.prepare(cluster, pod, &mut diagnosis) else { return false };
        cluster.nodes.get(node).is_some_and(|node| prepared.check(node).is_none())
    }

    fn prepare<'a>(&'a self, cluster: &Snapshot, pod: &'a Pod, diagnosis: &mut Diagnosis) -> Option<Prepared<'a>> {
        let mut prepared = Prepared { filters: Vec::new(), only: None };
        for filter in &self.filters {
            match filter.prepare(cluster, pod) {
                PreFilter::Skip => {}
                PreFilter::Run(run) => prepared.filters.push((filter.name(), run)),
                PreFilter::Only(run, names) => {
                    prepared.filters.push((filter.name(), run));
                    let (mut plugins, names) = match prepared.only.take() {
                        Some((plugins, before)) => (plugins, before.intersection(&names).cloned().collect()),
                        None => (Vec::new(), names),
                    };
                    plugins.push(filter.name());
                    prepared.only = Some((plugins, names));
                }
                PreFilter::Reject(why) => {
                    diagnosis.at_once = Some(why);
                    diagnosis.plugins.insert(filter.name());
                    diagnosis.wakes.extend(filter.wakes_on());
                    return None;
                }
            }
        }
        Some(prepared)
    }

    fn best(&self, cluster: &Snapshot, pod: &Pod, fit: &[Arc<NodeInfo>], pick: u64) -> String {
        let mut totals = vec![0; fit.len()];
        for scores in self.scores.iter().filter_map(|s| s.scores(cluster, pod, fit)) {
            for (total, score) in totals.iter_mut().zip(scores) {
                *total += score;
            }
        }
        let most = totals.iter().copied().max().unwrap_or(0);
        let best: Vec<_> = fit.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node).collect();
        best[(pick % best.len() as u64) as usize].name().to_string()
    }
}

struct Prepared<'a> {
    filters: Vec<(&'static str, NodeFilter<'a>)>,
    only: Option<(Vec<&'static str>, BTreeSet<String>)>,
}

impl Prepared<'_> {
    /// The first refusal of a node.
    fn check(&self, node: &NodeInfo) -> Option<(&'static str, Verdict)> {
        if let Some((plugins, _)) = self.only.as_ref().filter(|(_, names)| !names.contains(node.name())) {
            return Some((
                plugins[0],
                Verdict::never(&format!("node(s) didn't satisfy plugin(s) [{}]", plugins.join(" "))),
            ));
        }
        self.filters.iter().find_map(|(name, filter)| match filter(node) {
            Verdict::Fits => None,
            verdict => Some((*name, verdict)),
        })
    }
}

/// "`3 Insufficient cpu, 1 node(s) were unschedulable`".
pub fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}

impl Diagnosis {
    /// What people are told. Source: `pkg/scheduler/framework/types.go:FitError.Error`.
    pub fn message(&self, preemption: &str) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let mut out = format!("0/{} nodes are available:", self.nodes);
        match &self.at_once {
            Some(why) => out += &format!(" {why}."),
            None => {
                let reasons = self.by_node.values().flat_map(|(_, verdict)| match verdict {
                    Verdict::Fits => Default::default(),
                    Verdict::Unschedulable(reasons) | Verdict::Unresolvable(reasons) => reasons.iter(),
                });
                out += &format!(" {}.", histogram(reasons.map(String::as_str)));
            }
        }
        if !preemption.is_empty() {
            out += &format!(" no new claims to deallocate, preemption: {preemption}");
        }
        out
    }
}
