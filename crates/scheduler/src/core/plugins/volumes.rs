//! VolumeBinding, as far as it goes today: a pod's claims must be there. Which volume a claim gets, and where, is not looked at.

use crate::core::framework::{Filter, PreFilter, Verdict, Wake};
use crate::core::snapshot::{NodeInfo, Pod, Snapshot};
use client::ObjectKey;

/// See the file's head.
pub struct VolumeBinding;

impl Filter for VolumeBinding {
    const NAME: &'static str = "VolumeBinding";
    const WAKES_ON: &'static [Wake] = &[Wake::Claim];
    type State = ();

    fn pre_filter(&self, cluster: &Snapshot, pod: &Pod) -> PreFilter<()> {
        for claim in pod.view.spec.volumes.iter().filter_map(|v| v.persistent_volume_claim.as_ref()) {
            let key = ObjectKey::new(&pod.meta().namespace, &claim.claim_name);
            match cluster.claims.get(&key) {
                None => return PreFilter::Reject(format!("persistentvolumeclaim \"{}\" not found", claim.claim_name)),
                Some(found) if found.metadata.is_deleting() => {
                    return PreFilter::Reject(format!(
                        "persistentvolumeclaim \"{}\" is being deleted",
                        claim.claim_name
                    ));
                }
                Some(_) => {}
            }
        }
        PreFilter::Skip
    }

    fn filter(&self, (): &(), _: &Pod, _: &NodeInfo) -> Verdict {
        Verdict::Fits
    }
}
