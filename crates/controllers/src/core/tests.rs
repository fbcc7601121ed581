//! Tables of worlds and plans.
use super::fixtures::{lines, node, pod, view};
use super::nodes::{Ranges, World as NodeWorld};
use super::*;
use crate::views::*;
use platform::WallTime;
use serde_json::{Value, json};
use std::sync::Arc;

fn at(seconds: i64) -> WallTime {
    WallTime::from_unix(seconds, 0)
}

fn set(replicas: i64, status: Value) -> Arc<ReplicaSet> {
    view(json!({
        "metadata": {"name": "rs", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": {}}},
        "status": status,
    }))
}

fn counted(replicas: i64, ready: i64) -> Value {
    json!({
        "replicas": replicas, "fullyLabeledReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
        "terminatingReplicas": 0, "observedGeneration": 1,
    })
}

#[test]
fn replicasets_fill_and_empty() {
    use replicaset::{Kind, World, plan};
    let mine = |name: &str, rs: &ReplicaSet| pod(name).of("ReplicaSet", rs).label("app", "a");
    let check = |rs: Arc<ReplicaSet>, pods: Vec<Arc<Pod>>, wanted: &[&str]| {
        let world = World { rank: pods::per_node(pods.iter()), set: Some(rs), pods };
        assert_eq!(lines(&plan(Kind::ReplicaSet, &world, at(1000))), wanted);
    };
    let rs = set(2, counted(0, 0));
    check(rs.clone(), vec![], &["create pods rs-", "create pods rs-"]);
    let rs = set(1, counted(2, 1));
    check(
        rs.clone(),
        vec![mine("b", &rs).on("n").ready(10).build(), mine("a", &rs).on("n").phase("Pending").build()],
        &["delete pods a"],
    );
    // A finished pod does not count, one that is going away is only counted as terminating.
    let rs = set(1, counted(1, 1));
    let pods = vec![mine("a", &rs).ready(10).build(), mine("b", &rs).phase("Failed").build()];
    check(rs.clone(), pods, &[]);
    // Orphans that match are adopted, children that do not match any more are let go.
    let rs = set(1, counted(1, 0));
    let pods = vec![pod("o").label("app", "a").build(), pod("x").of("ReplicaSet", &*rs).label("app", "b").build()];
    let reference = r#"{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"rs","uid":"u","controller":true,"blockOwnerDeletion":true}]}}"#;
    check(
        rs,
        pods,
        &[
            "require replicasets rs",
            &format!("patch pods o {reference}"),
            r#"patch pods x {"metadata":{"ownerReferences":[]}}"#,
        ],
    );
}

#[test]
fn pods_that_serve_least_go_first() {
    let mut pods = vec![
        pod("ready-old").on("n").ready(100).build(),
        pod("ready-new").on("n").ready(900).build(),
        pod("crowded").on("m").ready(100).build(),
        pod("crowded2").on("m").ready(100).build(),
        pod("unassigned").build(),
        pod("pending").on("n").phase("Pending").build(),
        pod("running").on("n").phase("Running").build(),
    ];
    let rank = [("n".to_string(), 1), ("m".to_string(), 2)].into();
    pods::sort_for_deletion(&mut pods, &rank, 1000);
    let names: Vec<_> = pods.iter().map(|p| p.metadata.name.as_str()).collect();
    assert_eq!(names, ["unassigned", "pending", "running", "crowded", "crowded2", "ready-new", "ready-old"]);
}

#[test]
fn silent_nodes_become_unknown_and_tainted() {
    let world = |ready: &str, heard: i64| NodeWorld {
        node: Some(Arc::new(node("n", ready))),
        heard: at(heard),
        pods: vec![pod("p").on("n").ready(5).build()],
    };
    let quiet = nodes::lifecycle(&world("True", 100), at(120));
    assert_eq!((lines(&quiet), quiet.again_at), (vec![], Some(at(150))));
    let silent = lines(&nodes::lifecycle(&world("True", 100), at(150)));
    assert!(silent[0].starts_with("patch nodes/status n") && silent[0].contains("NodeStatusUnknown"), "{silent:?}");
    assert_eq!(silent[1], "tell NodeNotReady: Node n status is now: NodeNotReady");
    let mut unknown = world("Unknown", 100);
    let plan = nodes::lifecycle(&unknown, at(100));
    let lines_ = lines(&plan);
    assert!(lines_[0].contains(r#""key":"node.kubernetes.io/unreachable","effect":"NoSchedule""#), "{lines_:?}");
    assert!(lines_[1].starts_with("patch pods/status p"), "{lines_:?}");
    let mut back = node("n", "True");
    back.spec.taints =
        vec![Taint { key: "node.kubernetes.io/unreachable".into(), effect: "NoExecute".into(), ..Taint::default() }];
    unknown.node = Some(Arc::new(back));
    assert_eq!(lines(&nodes::lifecycle(&unknown, at(100))), [r#"patch nodes n {"spec":{"taints":[]}}"#]);
}

#[test]
fn pods_leave_tainted_nodes_when_their_toleration_ends() {
    let mut n = node("n", "Unknown");
    let time_added = Some(api::time::format_seconds(1000));
    n.spec.taints = vec![Taint { key: "k".into(), effect: "NoExecute".into(), time_added, ..Taint::default() }];
    let tolerating = |seconds: Option<i64>| {
        let mut p = pod("p").on("n");
        p.0.spec.tolerations = vec![Toleration {
            key: "k".into(),
            operator: "Exists".into(),
            toleration_seconds: seconds,
            ..Toleration::default()
        }];
        p.build()
    };
    assert_eq!(nodes::leaves_at(&pod("p").on("n").0, &n, at(1001)), Some(at(1001)));
    assert_eq!(nodes::leaves_at(&tolerating(None), &n, at(1001)), None);
    assert_eq!(nodes::leaves_at(&tolerating(Some(300)), &n, at(1001)), Some(at(1300)));
    let later = nodes::evict(Some(&tolerating(Some(300))), Some(&n), at(1001));
    assert_eq!((later.ops.len(), later.again_at), (0, Some(at(1300))));
    let now = lines(&nodes::evict(Some(&tolerating(Some(300))), Some(&n), at(1300)));
    assert_eq!(
        (now[0].as_str(), now[2].as_str()),
        ("tell TaintManagerEviction: Marking for deletion Pod default/p", "delete pods p")
    );
}

#[test]
fn ranges_are_given_once() {
    let with = |name: &str, range: &str| {
        let mut n = node(name, "True");
        n.spec.pod_cidr = range.into();
        Arc::new(n)
    };
    let ranges = Ranges::parse("10.244.0.0/23").expect("ranges");
    let plan = nodes::ranges(&[with("a", "10.244.0.0/24"), with("b", ""), with("c", "")], ranges);
    let range = r#"{"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}"#;
    assert_eq!(lines(&plan)[0], format!("patch nodes b {range}"));
    assert_eq!(lines(&plan)[1], "tell CIDRNotAvailable: Node c status is now: CIDRNotAvailable");
}

#[test]
fn pods_of_missing_nodes_are_removed_after_a_while() {
    let p = pod("p").on("gone").phase("Running").build();
    assert_eq!(nodes::collect(Some(&p), Some(at(100)), at(120)).again_at, Some(at(140)));
    assert_eq!(lines(&nodes::collect(Some(&p), Some(at(100)), at(140)))[1], "delete pods p");
    assert_eq!(lines(&nodes::collect(Some(&p), None, at(140))).len(), 0);
    assert_eq!(lines(&nodes::collect(Some(&pod("q").deleting().build()), None, at(140))), ["delete pods q"]);
}

#[test]
fn garbage_follows_its_owners() {
    use client::{Meta, OwnerReference, resources};
    use garbage::{FOREGROUND, ORPHAN, Owner, World, plan};
    let owner = |uid: &str, block: bool| OwnerReference {
        uid: uid.into(),
        block_owner_deletion: Some(block),
        ..OwnerReference::default()
    };
    let meta = |owners: Vec<OwnerReference>, deleting: bool, finalizer: &str| Meta {
        name: "x".into(),
        uid: "x".into(),
        owner_references: owners,
        deletion_timestamp: deleting.then(|| "t".into()),
        finalizers: if finalizer.is_empty() { vec![] } else { vec![finalizer.into()] },
        ..Meta::default()
    };
    let check = |meta: Meta, states: &[Owner], dependents: Vec<Meta>, wanted: &[&str]| {
        let owners = meta.owner_references.clone().into_iter().zip(states.iter().copied()).collect();
        let dependents = dependents.into_iter().map(|d| (resources::PODS, d)).collect();
        assert_eq!(lines(&plan(&World { object: Some((resources::PODS, meta)), owners, dependents })), wanted);
    };
    let (a, b) = (owner("a", true), owner("b", true));
    check(meta(vec![], false, ""), &[], vec![], &[]);
    check(meta(vec![a.clone()], false, ""), &[Owner::Solid], vec![], &[]);
    check(meta(vec![a.clone()], false, ""), &[Owner::Absent], vec![], &["delete pods x"]);
    check(meta(vec![a.clone()], false, ""), &[Owner::Unknown], vec![], &[]);
    let kept = r#"patch pods x {"metadata":{"ownerReferences":[{"apiVersion":"","kind":"","name":"","uid":"a","blockOwnerDeletion":true}]}}"#;
    check(meta(vec![a.clone(), b], false, ""), &[Owner::Solid, Owner::Absent], vec![], &[kept]);
    check(meta(vec![a.clone()], true, ""), &[Owner::Absent], vec![], &[]);
    let child = |block: bool| meta(vec![owner("x", block)], false, "");
    check(meta(vec![], true, FOREGROUND), &[], vec![child(true)], &[]);
    check(meta(vec![], true, FOREGROUND), &[], vec![child(false)], &[r#"patch pods x {"metadata":{"finalizers":[]}}"#]);
    let orphaned =
        [r#"patch pods x {"metadata":{"ownerReferences":[]}}"#, r#"patch pods x {"metadata":{"finalizers":[]}}"#];
    check(meta(vec![], true, ORPHAN), &[], vec![child(true)], &orphaned);
}

#[test]
fn endpoints_follow_pods() {
    let service: Arc<Service> = view(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "s"},
        "spec": {"selector": {"app": "a"}, "clusterIP": "10.96.0.5", "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
    }));
    let pods = vec![
        pod("a").ip("10.0.0.1").on("n").ready(1).build(),
        pod("b").ip("10.0.0.2").on("n").phase("Running").build(),
        pod("c").build(),
    ];
    let mut world = endpoints::World { service: Some(service), pods, ..endpoints::World::default() };
    let plan = endpoints::slices(&world);
    let [client::Op::Create { object, .. }] = &plan.ops[..] else { panic!("{plan:?}") };
    let ready: Vec<_> =
        object["endpoints"].as_array().expect("list").iter().map(|e| e["conditions"]["ready"].as_bool()).collect();
    assert_eq!(ready, [Some(true), Some(false)]);
    // What was made needs nothing more; a pod that goes is taken out; the last one leaves an empty slice.
    let mut object = object.clone();
    object["metadata"]["name"] = "web-1".into();
    object["metadata"]["uid"] = "e".into();
    world.slices = vec![view(object.clone())];
    assert_eq!(lines(&endpoints::slices(&world)), Vec::<String>::new());
    world.pods.remove(1);
    assert_eq!(lines(&endpoints::slices(&world)).len(), 1);
    world.pods.clear();
    assert_eq!(lines(&endpoints::slices(&world)), [r#"patch endpointslices web-1 {"endpoints":[],"ports":[]}"#]);
    let empty = endpoints::endpoints(&world);
    assert_eq!(lines(&empty), ["create endpoints web"]);
}

#[test]
fn namespaces_empty_pods_first() {
    let mut world = namespace::World {
        namespace: Some(view(
            json!({"metadata": {"name": "x", "deletionTimestamp": "t"}, "spec": {"finalizers": ["kubernetes"]}}),
        )),
        object: json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes"]}}),
        left: vec![(client::resources::CONFIGMAPS, 2, vec![]), (client::resources::PODS, 1, vec!["f".into()])],
        failed: vec![],
    };
    let plan = namespace::plan(&world, at(10));
    assert_eq!(lines(&plan)[1..], ["delete all pods"]);
    assert!(
        lines(&plan)[0].contains("pods has 1 resource instances")
            && lines(&plan)[0].contains("f in 1 resource instances")
    );
    world.left.pop();
    assert_eq!(lines(&namespace::plan(&world, at(10)))[1..], ["delete all configmaps"]);
    world.left.clear();
    assert_eq!(lines(&namespace::plan(&world, at(10)))[1..], ["put namespaces/finalize x"]);
}
