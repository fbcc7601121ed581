//! Deployments: single decisions, and rollouts driven to their end over a small model of ReplicaSets and pods.
use super::*;
use crate::core::fixtures::{lines, view};
use client::Op;
use serde_json::{Value, json};

fn deployment(replicas: i64, image: &str, strategy: Value) -> Value {
    json!({
        "metadata": {"name": "d", "namespace": "default", "uid": "du", "generation": 1},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "strategy": strategy, "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 1,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"image": image}]}},
        },
        "status": {},
    })
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

/// A cluster of one deployment: applies plans, and lets ReplicaSets have what they want one pod at a time.
struct Cluster {
    deployment: Value,
    sets: Vec<Value>,
    now: i64,
    told: Vec<String>,
    least_available: i64,
    most: i64,
}

fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            for (key, value) in patch {
                merge(&mut target[key.as_str()], value);
            }
        }
        other => *target = other.clone(),
    }
}

impl Cluster {
    fn new(deployment: Value) -> Cluster {
        Cluster { deployment, sets: Vec::new(), now: 1000, told: Vec::new(), least_available: i64::MAX, most: 0 }
    }

    fn plan(&self) -> Plan {
        let mut pods = BTreeMap::new();
        for set in &self.sets {
            let count = set["status"]["replicas"].as_i64().unwrap_or(0);
            let of = (0..count).map(|_| crate::core::fixtures::pod("p").phase("Running").build()).collect::<Vec<_>>();
            pods.insert(set["metadata"]["uid"].as_str().unwrap_or_default().to_string(), of);
        }
        let sets = self.sets.iter().map(|s| view(s.clone())).collect();
        let world = World { deployment: Some(view(self.deployment.clone())), sets, pods };
        plan(&world, WallTime::from_unix(self.now, 0))
    }

    fn apply(&mut self, plan: Plan) -> bool {
        let any = !plan.ops.is_empty();
        for op in plan.ops {
            match op {
                Op::Create { mut object, .. } => {
                    let n = self.sets.len() + 1;
                    object["metadata"]["uid"] = format!("s{n}").into();
                    object["metadata"]["generation"] = 1.into();
                    object["metadata"]["creationTimestamp"] = api::time::format_seconds(self.now).into();
                    object["status"] = json!({"observedGeneration": 1});
                    self.sets.push(object);
                }
                Op::Patch { target, patch, .. } | Op::Update { target, patch, .. }
                    if target.resource.plural == "deployments" =>
                {
                    merge(&mut self.deployment, &patch)
                }
                Op::Patch { target, patch, .. } => {
                    let set =
                        self.sets.iter_mut().find(|s| s["metadata"]["name"] == target.name.as_str()).expect("a set");
                    merge(set, &patch);
                }
                Op::Delete { target, .. } => self.sets.retain(|s| s["metadata"]["name"] != target.name.as_str()),
                Op::Tell(event) => self.told.push(event.message),
                other => panic!("{other:?}"),
            }
        }
        any
    }

    /// One ReplicaSet makes or ends one pod. False if all have what they want.
    fn step(&mut self) -> bool {
        for set in &mut self.sets {
            let want = set["spec"]["replicas"].as_i64().unwrap_or(0);
            let have = set["status"]["replicas"].as_i64().unwrap_or(0);
            if want != have {
                let next = have + (want - have).signum();
                for field in ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"] {
                    set["status"][field] = next.into();
                }
                return true;
            }
        }
        false
    }

    fn count(&self, field: &str) -> i64 {
        self.sets.iter().map(|s| s["status"][field].as_i64().unwrap_or(0)).sum()
    }

    /// Runs until nothing changes, and checks that then the plan is empty.
    fn settle(&mut self) {
        for _ in 0..500 {
            self.now += 1;
            let plan = self.plan();
            let changed = self.apply(plan) | self.step();
            self.most = self.most.max(self.count("replicas"));
            self.least_available = self.least_available.min(self.count("availableReplicas"));
            if !changed {
                assert_eq!(lines(&self.plan()), Vec::<String>::new());
                return;
            }
        }
        panic!("it does not settle: {:?}", lines(&self.plan()));
    }

    fn sizes(&self) -> Vec<i64> {
        self.sets.iter().map(|s| s["spec"]["replicas"].as_i64().unwrap_or(0)).collect()
    }

    fn progress(&self) -> String {
        let status: crate::views::DeploymentStatus =
            serde_json::from_value(self.deployment["status"].clone()).expect("status");
        crate::views::condition(&status.conditions, "Progressing").map(|c| c.reason.clone()).unwrap_or_default()
    }

    fn image(&mut self, image: &str) {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        self.deployment["metadata"]["generation"] =
            (self.deployment["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
    }
}

#[test]
fn a_rollout_keeps_its_promises() {
    for replicas in [0, 1, 2, 4, 10] {
        let mut cluster = Cluster::new(deployment(replicas, "one", rolling()));
        cluster.settle();
        assert_eq!((cluster.sizes(), cluster.progress().as_str()), (vec![replicas], "NewReplicaSetAvailable"));
        assert_eq!(cluster.deployment["metadata"]["annotations"][REVISION], "1");
        cluster.image("two");
        (cluster.most, cluster.least_available) = (0, i64::MAX);
        cluster.settle();
        assert_eq!(cluster.sizes(), vec![0, replicas]);
        assert_eq!(cluster.deployment["metadata"]["annotations"][REVISION], "2");
        assert!(cluster.most <= replicas + (replicas * 25 + 99) / 100, "{} pods of {replicas}", cluster.most);
        assert!(
            cluster.least_available >= replicas - replicas * 25 / 100,
            "{} available of {replicas}",
            cluster.least_available
        );
        // Back to the first template: its ReplicaSet is used again under a new revision.
        cluster.image("one");
        cluster.settle();
        assert_eq!(cluster.sizes(), vec![replicas, 0]);
        assert_eq!(cluster.sets[0]["metadata"]["annotations"][REVISION], "3");
        assert_eq!(cluster.sets[0]["metadata"]["annotations"][REVISION_HISTORY], "1");
        // The history limit is one old set.
        cluster.image("three");
        cluster.settle();
        assert_eq!(cluster.sizes().len(), 2);
    }
}

#[test]
fn recreate_never_mixes() {
    let mut cluster = Cluster::new(deployment(3, "one", json!({"type": "Recreate"})));
    cluster.settle();
    cluster.image("two");
    for _ in 0..100 {
        cluster.now += 1;
        let plan = cluster.plan();
        let changed = cluster.apply(plan) | cluster.step();
        let running: Vec<i64> = cluster.sets.iter().map(|s| s["status"]["replicas"].as_i64().unwrap_or(0)).collect();
        assert!(running.iter().filter(|n| **n > 0).count() <= 1, "{running:?}");
        if !changed {
            break;
        }
    }
    assert_eq!(cluster.sizes(), vec![0, 3]);
}

#[test]
fn scaling_in_the_middle_is_in_proportion_and_pausing_holds() {
    let mut cluster = Cluster::new(deployment(10, "one", rolling()));
    cluster.settle();
    cluster.image("two");
    for _ in 0..4 {
        let plan = cluster.plan();
        cluster.apply(plan);
    }
    let before = cluster.sizes();
    assert!(before[0] > 0 && before[1] > 0, "{before:?}");
    cluster.deployment["spec"]["paused"] = true.into();
    cluster.deployment["spec"]["replicas"] = 20.into();
    for _ in 0..60 {
        let plan = cluster.plan();
        cluster.apply(plan);
        cluster.step();
    }
    let paused = cluster.sizes();
    assert!(paused[0] > before[0] && paused[1] > before[1] && paused.iter().sum::<i64>() == 25, "{paused:?}");
    assert_eq!(cluster.progress(), "DeploymentPaused");
    cluster.deployment["spec"]["paused"] = false.into();
    cluster.settle();
    assert_eq!(cluster.sizes(), vec![0, 20]);
}

#[test]
fn a_stuck_rollout_times_out() {
    let mut cluster = Cluster::new(deployment(2, "one", rolling()));
    let plan = cluster.plan();
    cluster.apply(plan);
    let waiting = cluster.plan();
    cluster.apply(waiting);
    let again = cluster.plan().again_at.expect("a time to look again");
    cluster.now = again.unix_seconds() + 1;
    let late = cluster.plan();
    cluster.apply(late);
    assert_eq!(cluster.progress(), "ProgressDeadlineExceeded");
    assert_eq!(cluster.told, ["Scaled up replica set d-".to_string() + &hash(&cluster) + " from 0 to 2"]);
}

fn hash(cluster: &Cluster) -> String {
    cluster.sets[0]["metadata"]["labels"][HASH].as_str().unwrap_or_default().to_string()
}

#[test]
fn a_name_that_is_taken_is_avoided() {
    let mut cluster = Cluster::new(deployment(1, "one", rolling()));
    let name = format!("d-{}", crate::core::hash::template_hash(&cluster.deployment["spec"]["template"], None));
    cluster.sets.push(json!({"metadata": {"name": name, "namespace": "default", "uid": "other", "ownerReferences": [{"uid": "z", "controller": true}]}}));
    cluster.settle();
    assert_eq!(cluster.deployment["status"]["collisionCount"], 1);
    assert_eq!(cluster.sets.len(), 2);
}
