//! ImageLocality: nodes that have a pod's images already.

use crate::core::framework::{SCORE_MOST, Score};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

const LEAST_BYTES: i64 = 23 << 20;
const MOST_BYTES_PER_CONTAINER: i64 = 1000 << 20;

/// See the file's head.
pub struct ImageLocality;

/// With a tag: `name` means `name:latest`.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_string() } else { format!("{image}:latest") }
}

impl Score for ImageLocality {
    const NAME: &'static str = "ImageLocality";
    const WEIGHT: i64 = 1;
    /// By image: on how many of how many nodes it is.
    type State = (BTreeMap<String, i64>, i64);

    fn pre_score(&self, cluster: &Snapshot, pod: &Pod, _: &[Arc<NodeInfo>]) -> Option<Self::State> {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for container in pod.view.spec.containers.iter().chain(&pod.view.spec.init_containers) {
            let image = normalized(&container.image);
            let on = cluster.nodes.values().filter(|n| size(n, &image).is_some()).count() as i64;
            counts.insert(image, on);
        }
        Some((counts, cluster.nodes.len() as i64))
    }

    fn score(&self, (counts, all): &Self::State, pod: &Pod, node: &NodeInfo) -> i64 {
        let spec = &pod.view.spec;
        let mut sum = 0;
        for container in spec.containers.iter().chain(&spec.init_containers) {
            let image = normalized(&container.image);
            let on = counts.get(&image).copied().unwrap_or(0);
            sum += size(node, &image).unwrap_or(0) * on / (*all).max(1);
        }
        let most = MOST_BYTES_PER_CONTAINER * (spec.containers.len() + spec.init_containers.len()).max(1) as i64;
        SCORE_MOST * (sum.clamp(LEAST_BYTES, most) - LEAST_BYTES) / (most - LEAST_BYTES)
    }
}

fn size(node: &NodeInfo, image: &str) -> Option<i64> {
    node.node.status.images.iter().find(|i| i.names.iter().any(|n| normalized(n) == image)).map(|i| i.size_bytes)
}
