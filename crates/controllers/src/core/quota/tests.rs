//! What is counted, and when it is written.
use super::*;
use crate::core::fixtures::view;

fn quota(hard: Value, more: Value) -> Arc<Quota> {
    let mut object = json!({"metadata": {"name": "q", "namespace": "d", "uid": "u"}, "spec": {"hard": hard}});
    client::merge(&mut object, &more);
    view(object)
}

fn pod(requests: Value, more: Value) -> Value {
    let container = json!({"name": "c", "resources": {"requests": requests, "limits": {"memory": "1Gi"}}});
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [container.clone(), container]}});
    client::merge(&mut pod, &more);
    pod
}

fn used(quota: &Arc<Quota>, resource: &str, objects: Vec<Value>) -> Value {
    let parse = |o: Value| api::json::parse(o.to_string().as_bytes()).expect("JSON");
    let objects: Vec<Object> = objects.into_iter().map(parse).collect();
    let world = World { quota: Some(quota.clone()), objects: [(resource.to_string(), objects)].into() };
    match plan(&world, WallTime::from_unix(1000, 0)).ops.first() {
        Some(Op::Put { object, .. }) => object["status"]["used"].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pods_are_charged_for_what_they_ask() {
    let hard = json!({"pods": "10", "count/pods": "10", "cpu": "4", "requests.cpu": "4", "limits.memory": "9Gi", "requests.example.com/gpu": "2", "limits.cpu": "1"});
    let ask = json!({"cpu": "250m", "memory": "1Mi", "example.com/gpu": "1"});
    let init = json!({"spec": {"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]}});
    let pods = vec![
        pod(ask.clone(), json!({})),
        pod(ask.clone(), init),
        pod(ask.clone(), json!({"status": {"phase": "Succeeded"}})),
        pod(ask, json!({"metadata": {"deletionTimestamp": "1970-01-01T00:10:00Z", "deletionGracePeriodSeconds": 30}})),
    ];
    let wanted = json!({
        "pods": "2", "count/pods": "4", "cpu": "2500m", "requests.cpu": "2500m", "limits.memory": "4Gi",
        "requests.example.com/gpu": "4", "limits.cpu": "0",
    });
    assert_eq!(used(&quota(hard, json!({})), "pods", pods), wanted);
}

#[test]
fn services_and_claims_are_charged_in_their_own_ways() {
    let hard = json!({"services": "5", "services.nodeports": "9", "services.loadbalancers": "1"});
    let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
    let all = ["ClusterIP", "NodePort", "LoadBalancer"].map(service).to_vec();
    let wanted = json!({"services": "3", "services.nodeports": "4", "services.loadbalancers": "1"});
    assert_eq!(used(&quota(hard, json!({})), "services", all), wanted);
    let hard = json!({"requests.storage": "1Ti", "gold.storageclass.storage.k8s.io/requests.storage": "1Ti", "persistentvolumeclaims": "3"});
    let claim =
        |class: &str| json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}}});
    let wanted = json!({"requests.storage": "2Gi", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "persistentvolumeclaims": "2"});
    assert_eq!(used(&quota(hard, json!({})), "persistentvolumeclaims", vec![claim("gold"), claim("")]), wanted);
    let hard = json!({"count/deployments.apps": "3", "configmaps": "4"});
    assert_eq!(
        used(&quota(hard, json!({})), "deployments.apps", vec![json!({})]),
        json!({"count/deployments.apps": "1"})
    );
}

#[test]
fn scopes_select_pods() {
    let best = pod(json!({}), json!({"spec": {"containers": [{"name": "c"}], "priorityClassName": "high"}}));
    let other = pod(json!({"cpu": "1"}), json!({"spec": {"activeDeadlineSeconds": 5}}));
    let by = |spec: Value| {
        used(&quota(json!({"pods": "9"}), json!({"spec": spec})), "pods", vec![best.clone(), other.clone()])
    };
    let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    for (spec, wanted) in [
        (json!({}), "2"),
        (json!({"scopes": ["BestEffort"]}), "1"),
        (json!({"scopes": ["NotBestEffort", "Terminating"]}), "1"),
        (json!({"scopes": ["BestEffort", "Terminating"]}), "0"),
        (selector("In", json!(["high"])), "1"),
        (selector("NotIn", json!(["high"])), "1"),
        (selector("Exists", json!([])), "1"),
    ] {
        assert_eq!(by(spec.clone()), json!({"pods": wanted}), "{spec}");
    }
}

#[test]
fn what_is_so_already_is_not_written() {
    let status = json!({"status": {"hard": {"pods": "9"}, "used": {"pods": "0"}}});
    let world = World { quota: Some(quota(json!({"pods": "9"}), status)), objects: [("pods".into(), vec![])].into() };
    let plan = plan(&world, WallTime::from_unix(1000, 0));
    assert_eq!((plan.ops.len(), plan.again_at), (0, Some(WallTime::from_unix(1300, 0))));
}
