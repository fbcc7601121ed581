//! NodeUnschedulable, NodeName, NodePorts: what a node's name, cordon and ports allow.

use super::taints::tolerates;
use crate::core::framework::{Filter, PreFilter, Verdict, Wake};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use crate::views::{Port, Taint};

/// Cordoned nodes take only pods that tolerate that.
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    const NAME: &'static str = "NodeUnschedulable";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded, Wake::NodeTaints, Wake::PodItself];
    type State = bool;

    fn pre_filter(&self, _: &Snapshot, pod: &Pod) -> PreFilter<bool> {
        let taint =
            Taint { key: "node.kubernetes.io/unschedulable".into(), value: String::new(), effect: "NoSchedule".into() };
        PreFilter::Run(pod.view.spec.tolerations.iter().any(|t| tolerates(t, &taint)))
    }

    fn filter(&self, tolerated: &bool, _: &Pod, node: &NodeInfo) -> Verdict {
        if node.node.spec.unschedulable && !tolerated {
            Verdict::never("node(s) were unschedulable")
        } else {
            Verdict::Fits
        }
    }
}

/// A pod that names its node goes nowhere else.
pub struct NodeName;

impl Filter for NodeName {
    const NAME: &'static str = "NodeName";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded];
    type State = String;

    fn pre_filter(&self, _: &Snapshot, pod: &Pod) -> PreFilter<String> {
        match pod.view.spec.node_name.as_str() {
            "" => PreFilter::Skip,
            name => PreFilter::Run(name.to_string()),
        }
    }

    fn filter(&self, want: &String, _: &Pod, node: &NodeInfo) -> Verdict {
        if want == node.name() { Verdict::Fits } else { Verdict::never("node(s) didn't match the requested node name") }
    }
}

/// Two pods cannot have the same port of a node.
pub struct NodePorts;

fn clash(a: &Port, b: &Port) -> bool {
    let protocol = |p: &Port| if p.protocol.is_empty() { "TCP".to_string() } else { p.protocol.clone() };
    let any = |p: &Port| matches!(p.host_ip.as_str(), "" | "0.0.0.0");
    a.host_port == b.host_port && protocol(a) == protocol(b) && (any(a) || any(b) || a.host_ip == b.host_ip)
}

impl Filter for NodePorts {
    const NAME: &'static str = "NodePorts";
    const WAKES_ON: &'static [Wake] = &[Wake::NodeAdded, Wake::PodGone];
    type State = ();

    fn pre_filter(&self, _: &Snapshot, pod: &Pod) -> PreFilter<()> {
        if pod.ports.is_empty() { PreFilter::Skip } else { PreFilter::Run(()) }
    }

    fn filter(&self, (): &(), pod: &Pod, node: &NodeInfo) -> Verdict {
        let taken =
            node.pods.values().flat_map(|p| &p.ports).any(|used| pod.ports.iter().any(|want| clash(want, used)));
        if taken { Verdict::no("node(s) didn't have free ports for the requested pod ports") } else { Verdict::Fits }
    }
}
