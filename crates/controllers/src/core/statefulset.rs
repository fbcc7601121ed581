//! StatefulSets: numbered pods with names and claims of their own, one after the other.
//! Source: `pkg/controller/statefulset/{stateful_set_control,stateful_set_utils,stateful_pod_control}.go`.
//! Leaves out (it is off by default upstream): more than one unavailable pod during an update.

use super::pods::{self, Claim};
use super::revisions::{self, Found, REVISION_HASH};
use crate::views::{Claim as VolumeClaim, Pod, Revision, StatefulSet, StatefulSetStatus};
use client::{Announce, Event, Op, Plan, Regarding, Target, resources};
use platform::WallTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The set.
    pub set: Option<Arc<StatefulSet>>,
    /// Its pods, and orphans in its namespace.
    pub pods: Vec<Arc<Pod>>,
    /// Its revisions.
    pub revisions: Vec<Arc<Revision>>,
    /// Claims in its namespace.
    pub claims: BTreeMap<String, Arc<VolumeClaim>>,
}

struct Work<'a> {
    set: &'a StatefulSet,
    claims: &'a BTreeMap<String, Arc<VolumeClaim>>,
    current: Found,
    update: Found,
    now: i64,
    plan: Plan,
}

/// What to do for a set.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(set) = world.set.as_ref().filter(|s| !s.metadata.is_deleting()) else { return plan };
    let update =
        revisions::current(&resources::STATEFULSETS, &set.metadata, &set.spec.template, &world.revisions, &mut plan);
    let current = revisions::named(&world.revisions, &set.status.current_revision).unwrap_or_else(|| update.clone());
    let mut mine = BTreeMap::new();
    for pod in &world.pods {
        let Some(ordinal) = ordinal(set, &pod.metadata.name) else { continue };
        match pods::claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Owned => drop(mine.insert(ordinal, pod.clone())),
            Claim::Adopt => {
                pods::adopt(&mut plan, &resources::STATEFULSETS, &set.metadata, &resources::PODS, &pod.metadata)
            }
            Claim::Release => plan.push(pods::release(&set.metadata, &resources::PODS, &pod.metadata)),
            Claim::Ignore => {}
        }
    }
    let mut used = vec![current.name.as_str(), update.name.as_str()];
    used.extend(mine.values().filter_map(|p| p.metadata.labels.get(REVISION_HASH).map(String::as_str)));
    revisions::truncate(&world.revisions, &used, set.spec.revision_history_limit, &mut plan);
    let mut work = Work { set, claims: &world.claims, current, update, now: now.unix_seconds(), plan };
    work.status(&mine);
    work.pods(&mine);
    work.plan
}

fn ordinal(set: &StatefulSet, pod: &str) -> Option<i64> {
    pod.strip_prefix(&set.metadata.name)?.strip_prefix('-')?.parse().ok()
}

impl Work<'_> {
    fn start(&self) -> i64 {
        self.set.spec.ordinals.as_ref().map_or(0, |o| o.start)
    }

    fn replicas(&self) -> i64 {
        self.set.spec.replicas.unwrap_or(1)
    }

    fn announce(&self) -> Announce {
        Announce { regarding: Regarding::of(&resources::STATEFULSETS, &self.set.metadata), child: "pod" }
    }

    fn in_order(&self) -> bool {
        self.set.spec.pod_management_policy != "Parallel"
    }

    /// A pod carries its revision's name, not its hash alone.
    fn is_of(&self, pod: &Pod, revision: &Found) -> bool {
        pod.metadata.labels.get(REVISION_HASH) == Some(&revision.name)
    }

    fn is_available(&mut self, pod: &Pod) -> bool {
        match pods::available(pod, self.set.spec.min_ready_seconds, self.now) {
            Ok(()) => pod.status.phase == "Running",
            Err(Some(at)) => {
                self.plan.look_again(WallTime::from_unix(at, 0));
                false
            }
            Err(None) => false,
        }
    }

    fn partition(&self) -> i64 {
        self.set.spec.update_strategy.rolling_update.as_ref().and_then(|r| r.partition).unwrap_or(0)
    }

    fn status(&mut self, mine: &BTreeMap<i64, Arc<Pod>>) {
        let set = self.set;
        let mut status = StatefulSetStatus {
            observed_generation: set.metadata.generation,
            current_revision: self.current.name.clone(),
            update_revision: self.update.name.clone(),
            collision_count: set.status.collision_count,
            ..StatefulSetStatus::default()
        };
        for pod in mine.values() {
            let running = pod.status.phase == "Running";
            status.replicas += 1;
            status.ready_replicas += i64::from(running && pods::is_ready(pod));
            status.available_replicas += i64::from(running && self.is_available(pod));
            if !pod.metadata.is_deleting() {
                status.current_replicas += i64::from(self.is_of(pod, &self.current));
                status.updated_replicas += i64::from(self.is_of(pod, &self.update));
            }
        }
        // The update is over: the new revision is the current one.
        if set.spec.update_strategy.kind != "OnDelete"
            && status.updated_replicas == status.replicas
            && status.ready_replicas == status.replicas
        {
            status.current_revision = status.update_revision.clone();
            status.current_replicas = status.updated_replicas;
        }
        if status != set.status {
            let target = Target::new(&resources::STATEFULSETS, &set.metadata.namespace, &set.metadata.name);
            self.plan.push(Op::status(target, json!({"metadata": {"uid": set.metadata.uid}, "status": status})));
        }
    }

    fn pods(&mut self, mine: &BTreeMap<i64, Arc<Pod>>) {
        let wanted = self.start()..self.start() + self.replicas();
        for ordinal in wanted.clone() {
            if self.replica(ordinal, mine.get(&ordinal)) && self.in_order() {
                return; // one after the other
            }
        }
        let condemned: Vec<_> =
            mine.iter().rev().filter(|(o, _)| !wanted.contains(o)).map(|(o, p)| (*o, p.clone())).collect();
        if self.condemn(&condemned, mine, &wanted) {
            return;
        }
        if self.set.spec.update_strategy.kind == "OnDelete" {
            return;
        }
        let least = self.start() + self.partition();
        for ordinal in wanted.rev().take_while(|o| *o >= least) {
            let Some(pod) = mine.get(&ordinal) else { continue };
            if !self.is_of(pod, &self.update.clone()) && !pod.metadata.is_deleting() {
                self.plan.push(pods::delete(pod).announced(self.announce()));
                return;
            }
            if pod.metadata.is_deleting() || !self.is_available(pod) {
                return; // the one before is not back yet
            }
        }
    }

    /// Brings one replica about. True if those after it have to wait.
    fn replica(&mut self, ordinal: i64, pod: Option<&Arc<Pod>>) -> bool {
        let Some(pod) = pod else {
            self.create(ordinal);
            return true;
        };
        if pod.metadata.is_deleting() {
            return true;
        }
        if pods::is_finished(pod) {
            let (what, reason) = if pod.status.phase == "Failed" {
                ("failed", "RecreatingFailedPod")
            } else {
                ("terminated", "RecreatingTerminatedPod")
            };
            let regarding = self.announce().regarding;
            let message = format!(
                "StatefulSet {}/{} is recreating {what} Pod {}",
                self.set.metadata.namespace, self.set.metadata.name, pod.metadata.name
            );
            self.plan.push(Op::Tell(Event { regarding, warning: true, reason: reason.into(), message }));
            self.plan.push(pods::delete(pod).announced(self.announce()));
            return true;
        }
        !self.is_available(pod)
    }

    /// Removes pods beyond the wanted number, highest first. True if the update has to wait.
    fn condemn(
        &mut self,
        condemned: &[(i64, Arc<Pod>)],
        mine: &BTreeMap<i64, Arc<Pod>>,
        wanted: &std::ops::Range<i64>,
    ) -> bool {
        let unhealthy = mine.iter().filter(|(o, p)| wanted.contains(o) && !self.healthy(p)).count();
        for (_, pod) in condemned {
            if pod.metadata.is_deleting() {
                if self.in_order() {
                    return true;
                }
                continue;
            }
            if self.in_order() && unhealthy > 0 && self.healthy(pod) {
                return true; // nothing that serves goes while others do not
            }
            self.plan.push(pods::delete(pod).announced(self.announce()));
            if self.in_order() {
                return true;
            }
        }
        if condemned.is_empty() {
            self.drop_claims(mine, wanted);
        }
        !condemned.is_empty()
    }

    fn healthy(&self, pod: &Pod) -> bool {
        pod.status.phase == "Running" && pods::is_ready(pod) && !pod.metadata.is_deleting()
    }

    fn claim_name(&self, template: &Value, ordinal: i64) -> String {
        format!("{}-{}-{ordinal}", template["metadata"]["name"].as_str().unwrap_or_default(), self.set.metadata.name)
    }

    /// Claims of removed replicas, if they shall not outlive them.
    fn drop_claims(&mut self, mine: &BTreeMap<i64, Arc<Pod>>, wanted: &std::ops::Range<i64>) {
        let policy = self.set.spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
        if policy.when_scaled != "Delete" {
            return;
        }
        for template in &self.set.spec.volume_claim_templates {
            let prefix =
                format!("{}-{}-", template["metadata"]["name"].as_str().unwrap_or_default(), self.set.metadata.name);
            for (name, claim) in self.claims {
                let ordinal = name.strip_prefix(&prefix).and_then(|o| o.parse::<i64>().ok());
                if ordinal.is_some_and(|o| !wanted.contains(&o) && !mine.contains_key(&o))
                    && !claim.metadata.is_deleting()
                {
                    let target = Target::new(&resources::PERSISTENTVOLUMECLAIMS, &self.set.metadata.namespace, name);
                    self.plan.push(Op::delete(target, &claim.metadata.uid));
                }
            }
        }
    }

    fn create(&mut self, ordinal: i64) {
        // Replicas below the partition, or not reached yet by the update, come back in the current revision.
        let rolling = self.set.spec.update_strategy.rolling_update.as_ref().and_then(|r| r.partition);
        let old = match rolling {
            Some(partition) => ordinal < self.start() + partition,
            None => ordinal < self.start() + self.set.status.current_replicas,
        };
        let revision = if old && self.set.spec.update_strategy.kind != "OnDelete" {
            self.current.clone()
        } else {
            self.update.clone()
        };
        let meta = &self.set.metadata;
        let name = format!("{}-{ordinal}", meta.name);
        let owner = pods::controller_ref(&resources::STATEFULSETS, meta);
        let mut pod = pods::from_template(&revisions::template(&revision.data), &owner, &meta.namespace);
        if let Some(map) = pod["metadata"].as_object_mut() {
            map.shift_remove("generateName");
        }
        pod["metadata"]["name"] = name.as_str().into();
        pod["metadata"]["labels"][POD_NAME] = name.as_str().into();
        pod["metadata"]["labels"][POD_INDEX] = ordinal.to_string().into();
        pod["metadata"]["labels"][REVISION_HASH] = revision.name.as_str().into();
        pod["spec"]["hostname"] = name.as_str().into();
        pod["spec"]["subdomain"] = self.set.spec.service_name.as_str().into();
        self.volumes(&mut pod, ordinal);
        self.plan.push(Op::create(&resources::PODS, &meta.namespace, pod).announced(self.announce()));
    }

    /// The replica's claims, made if they are not there, in place of volumes of the same names.
    fn volumes(&mut self, pod: &mut Value, ordinal: i64) {
        let meta = &self.set.metadata;
        let policy = self.set.spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
        let mut volumes: Vec<Value> = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        for template in &self.set.spec.volume_claim_templates {
            let name = self.claim_name(template, ordinal);
            let volume = template["metadata"]["name"].clone();
            volumes.retain(|v| v["name"] != volume);
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": name}}));
            if self.claims.contains_key(&name) {
                continue;
            }
            let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            labels.extend(self.set.spec.selector.match_labels.iter().map(|(k, v)| (k.clone(), v.as_str().into())));
            let mut metadata = json!({"name": name, "namespace": meta.namespace, "labels": labels});
            if !template["metadata"]["annotations"].is_null() {
                metadata["annotations"] = template["metadata"]["annotations"].clone();
            }
            if policy.when_deleted == "Delete" {
                metadata["ownerReferences"] = json!([pods::controller_ref(&resources::STATEFULSETS, meta)]);
            }
            let object = json!({"metadata": metadata, "spec": template["spec"]});
            self.plan.push(Op::Create {
                resource: resources::PERSISTENTVOLUMECLAIMS,
                namespace: meta.namespace.clone(),
                object,
                may_exist: true,
                announce: Some(Announce { child: "claim", ..self.announce() }),
            });
        }
        if !volumes.is_empty() {
            pod["spec"]["volumes"] = volumes.into();
        }
    }
}
