//! The plugins, and the default profile.

pub mod image;
pub mod inter_pod;
pub mod node;
pub mod node_affinity;
pub mod resources;
pub mod spread;
pub mod taints;
pub mod volumes;

use super::framework::{AnyFilter, AnyScore};

/// Filters in the order in which they are asked; the first that refuses a node names the reason.
pub fn filters() -> Vec<Box<dyn AnyFilter>> {
    vec![
        Box::new(node::NodeUnschedulable),
        Box::new(node::NodeName),
        Box::new(taints::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(node::NodePorts),
        Box::new(resources::NodeResourcesFit),
        Box::new(volumes::VolumeBinding),
        Box::new(spread::PodTopologySpread),
        Box::new(inter_pod::InterPodAffinity),
    ]
}

/// Scores.
pub fn scores() -> Vec<Box<dyn AnyScore>> {
    vec![
        Box::new(taints::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(resources::NodeResourcesFit),
        Box::new(spread::PodTopologySpread),
        Box::new(inter_pod::InterPodAffinity),
        Box::new(resources::BalancedAllocation),
        Box::new(image::ImageLocality),
    ]
}
