//! Tables of clusters, pods and decisions.
use super::decide::{Decision, Framework, Nominated};
use super::fixtures::{NodeBuilder, PodBuilder, cluster, node, pod};
use super::framework::Wake;
use super::preempt::{Preemption, preempt};
use super::queue::Queue;
use serde_json::json;
use std::collections::BTreeSet;

/// Where the pod goes, or what people are told.
fn check(nodes: Vec<NodeBuilder>, placed: Vec<PodBuilder>, new: PodBuilder, wanted: &str) {
    let (cluster, framework, pod) = (cluster(nodes, placed), Framework::default(), new.build());
    let got = match framework.decide(&cluster, &pod, &Nominated::new(), 0) {
        Decision::Node(name) => name,
        Decision::Nowhere(diagnosis) => match preempt(&framework, &cluster, &pod, &diagnosis) {
            Preemption::Victims(node, victims) => {
                let names: Vec<_> = victims.iter().map(|v| v.meta().name.clone()).collect();
                format!("{node} without {}", names.join(" "))
            }
            Preemption::No(why) => diagnosis.message(&why),
        },
    };
    assert_eq!(got, wanted);
}

#[test]
fn room_names_taints_and_ports() {
    check(vec![], vec![], pod("p"), "no nodes available to schedule pods");
    check(vec![node("a"), node("b")], vec![pod("x").cpu("3").on("a")], pod("p").cpu("2"), "b");
    check(
        vec![node("a"), node("b").cpu("8")],
        vec![pod("x").cpu("3").on("a"), pod("y").cpu("7").on("b")],
        pod("p").cpu("5"),
        "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: \
         1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
    );
    check(
        vec![node("a").taint("k", "NoSchedule"), node("b").spec("unschedulable", true.into()), node("c")],
        vec![pod("x").port(80).on("c")],
        pod("p").port(80),
        "0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: \
         1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
    );
    let tolerant = pod("p").spec("tolerations", json!([{"key": "k", "operator": "Exists"}]));
    check(vec![node("a").taint("k", "NoSchedule")], vec![], tolerant, "a");
    check(
        vec![node("a"), node("b").label("disk", "ssd")],
        vec![],
        pod("p").spec("nodeSelector", json!({"disk": "ssd"})),
        "b",
    );
    let claim = pod("p").spec("volumes", json!([{"persistentVolumeClaim": {"claimName": "data"}}]));
    check(
        vec![node("a")],
        vec![],
        claim,
        "0/1 nodes are available: persistentvolumeclaim \"data\" not found. no new claims to deallocate, preemption: \
         0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn pods_of_daemon_sets_name_their_node() {
    let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]);
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    check(vec![node("a"), node("b")], vec![], pod("p").spec("affinity", affinity.clone()), "b");
    check(
        vec![node("a")],
        vec![],
        pod("p").spec("affinity", affinity),
        "0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: \
         0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn affinity_between_pods() {
    let term =
        |app: &str| json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]);
    let near = |app: &str| json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term(app)}});
    let away = |app: &str| json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term(app)}});
    let two = || vec![node("a"), node("b")];
    let web = || pod("x").label("app", "web").on("b");
    check(two(), vec![web()], pod("p").spec("affinity", near("web")), "b");
    check(two(), vec![web()], pod("p").spec("affinity", away("web")), "a");
    check(two(), vec![web().spec("affinity", away("new"))], pod("p").label("app", "new"), "a");
    check(
        vec![node("b")],
        vec![web()],
        pod("p").spec("affinity", near("none")),
        "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: \
         0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
    // The first of a group that wants to be near itself may go anywhere.
    check(vec![node("b")], vec![], pod("p").label("app", "web").spec("affinity", near("web")), "b");
    let preferred = json!([{"weight": 10, "podAffinityTerm": term("web")[0]}]);
    let soft = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}});
    check(two(), vec![web()], pod("p").spec("affinity", soft), "a");
}

#[test]
fn spreading() {
    let zone = |z: &'static str| move |n: NodeBuilder| n.label("zone", z);
    let three = || vec![zone("1")(node("a")), zone("1")(node("b")), zone("2")(node("c"))];
    let rule = |when: &str| json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when, "labelSelector": {"matchLabels": {"app": "w"}}}]);
    let web = |name: &str, on: &str| pod(name).label("app", "w").on(on);
    let new = |when: &str| pod("p").label("app", "w").spec("topologySpreadConstraints", rule(when));
    check(three(), vec![web("x", "a"), web("y", "b")], new("DoNotSchedule"), "c");
    check(three(), vec![web("x", "a"), web("y", "b")], new("ScheduleAnyway"), "c");
    check(
        vec![zone("1")(node("a")), node("d")],
        vec![web("x", "a"), web("y", "a")],
        new("DoNotSchedule").spec(
            "topologySpreadConstraints",
            json!([{
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2,
                "labelSelector": {"matchLabels": {"app": "w"}},
            }]),
        ),
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology \
         spread constraints (missing required label). no new claims to deallocate, preemption: 0/2 nodes are available: \
         1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn replicas_without_constraints_are_spread_over_nodes() {
    let owner = json!([{"uid": "rs", "controller": true}]);
    let replica = |name: &str| {
        let mut p = pod(name).json();
        p["metadata"]["ownerReferences"] = owner.clone();
        p
    };
    let framework = Framework::default();
    let mut cluster = cluster(vec![node("a"), node("b"), node("c")], vec![]);
    for i in 0..9 {
        let new = super::snapshot::Pod::new(&std::sync::Arc::new(
            serde_json::from_value(replica(&format!("p{i}"))).expect("a pod"),
        ));
        let Decision::Node(name) = framework.decide(&cluster, &new, &Nominated::new(), i) else { panic!("no node") };
        std::sync::Arc::make_mut(cluster.nodes.get_mut(&name).expect("node")).add(&new);
    }
    let counts: Vec<_> = cluster.nodes.values().map(|n| n.pods.len()).collect();
    assert_eq!(counts, [3, 3, 3]);
}

#[test]
fn the_least_goes_for_the_more_important() {
    let full = || {
        vec![
            pod("low").priority(1).cpu("2").on("a"),
            pod("mid").priority(5).cpu("2").on("a"),
            pod("big").priority(7).cpu("4").on("b"),
        ]
    };
    check(vec![node("a"), node("b")], full(), pod("p").priority(10).cpu("2"), "a without low");
    check(vec![node("a"), node("b")], full(), pod("p").priority(10).cpu("4"), "a without mid low");
    let never = pod("p").priority(10).cpu("2").spec("preemptionPolicy", "Never".into());
    check(
        vec![node("a")],
        vec![pod("low").cpu("4").on("a")],
        never,
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.",
    );
}

#[test]
fn what_a_budget_protects_stays_if_it_can() {
    let budget = |allowed: i64, disrupted: serde_json::Value| {
        let spec = json!({"selector": {"matchLabels": {"app": "a"}}});
        let status = json!({"disruptionsAllowed": allowed, "disruptedPods": disrupted});
        let view = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": spec, "status": status});
        std::sync::Arc::new(serde_json::from_value::<crate::views::BudgetView>(view).expect("a budget"))
    };
    let choose = |budget| {
        let low = pod("low").priority(1).label("app", "a").cpu("2").on("a");
        let mut cluster = cluster(
            vec![node("a"), node("b")],
            vec![
                low,
                pod("mid").priority(5).cpu("2").on("a"),
                pod("big").priority(7).label("app", "a").cpu("4").on("b"),
            ],
        );
        cluster.budgets.insert(client::ObjectKey::new("default", "b"), budget);
        let (framework, pod) = (Framework::default(), pod("p").priority(10).cpu("2").build());
        let Decision::Nowhere(diagnosis) = framework.decide(&cluster, &pod, &Nominated::new(), 0) else {
            panic!("room")
        };
        match preempt(&framework, &cluster, &pod, &diagnosis) {
            Preemption::Victims(node, victims) => format!("{node} {}", victims[0].meta().name),
            Preemption::No(why) => why,
        }
    };
    assert_eq!(choose(budget(1, json!({}))), "a low", "one may go");
    assert_eq!(choose(budget(0, json!({}))), "a mid", "none may go: the more important one that is not protected");
    assert_eq!(choose(budget(0, json!({"low": "t"}))), "a low", "its disruption was granted already");
}

#[test]
fn requests_count_sidecars_and_init_containers() {
    let container = |cpu: &str, sidecar: bool| {
        let policy = if sidecar { json!("Always") } else { json!(null) };
        json!({"resources": {"requests": {"cpu": cpu}}, "restartPolicy": policy})
    };
    let init = json!([container("1", true), container("5", false), container("1", true)]);
    let p = pod("p").cpu("2").spec("initContainers", init.clone()).build();
    assert_eq!(p.requests.milli_cpu, 6000);
    let p = pod("p").cpu("6").spec("initContainers", init).spec("overhead", json!({"cpu": "250m"})).build();
    assert_eq!((p.requests.milli_cpu, p.counted.memory), (8250, 4 * 200 * 1024 * 1024 - 200 * 1024 * 1024));
}

#[test]
fn the_queue_orders_backs_off_and_wakes() {
    const S: u64 = 1_000_000_000;
    let mut queue = Queue::new(&Default::default());
    queue.update(&pod("low").build(), 1);
    queue.update(&pod("late").priority(5).build(), 2);
    queue.update(&pod("early").priority(5).build(), 1);
    let order: Vec<_> = (0..3).filter_map(|_| queue.pop(5)).collect();
    assert_eq!(order.iter().map(|e| e.pod.meta().name.as_str()).collect::<Vec<_>>(), ["early", "late", "low"]);
    let wakes = BTreeSet::from([Wake::PodGone]);
    let [early, late, low] = <[_; 3]>::try_from(order).expect("three");
    let sequence = queue.sequence();
    queue.failed(early, wakes.clone(), sequence, 10 * S);
    assert!(!queue.wake(Wake::NodeTaints, 10 * S));
    assert!(queue.pop(12 * S).is_none());
    assert!(queue.wake(Wake::PodGone, 12 * S), "and its backoff of a second is over");
    assert!(queue.pop(12 * S).is_some_and(|e| e.pod.meta().name == "early"));
    // The change came while it was being decided on: it only waits out its backoff.
    queue.failed(late, wakes.clone(), sequence, 13 * S);
    assert_eq!((queue.next_time(), queue.pop(13 * S).is_none()), (Some(14 * S), true));
    assert!(queue.pop(14 * S).is_some_and(|e| e.pod.meta().name == "late"));
    // A pod that is gone does not come back.
    queue.remove("low");
    queue.failed(low, BTreeSet::new(), sequence, 20 * S);
    assert_eq!(queue.depths(), (0, 0, 0));
    // Nothing helps a pod that waits for five minutes: it is tried again all the same.
    queue.update(&pod("x").build(), 20 * S);
    let x = queue.pop(20 * S).expect("x");
    queue.failed(x, wakes, queue.sequence(), 20 * S);
    assert_eq!(queue.next_time(), Some(320 * S));
    assert!(queue.pop(320 * S).is_some());
}
