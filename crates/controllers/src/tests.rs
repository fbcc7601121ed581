//! The controllers together, over the API in memory.
use super::*;
use client::At;
use client::fake::FakeApi;
use platform::WallTime;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_pods_and_endpoints() {
    let env = Env::simulated("test", 1, WallTime::from_unix(10_000, 0));
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    let made = client.clone();
    let clients: Clients = Arc::new(move |name| made.with_agent(name));
    let handle = run(&env, clients, Options { root_ca: "PEM".into(), ..Options::default() }).expect("run");
    client.create(&resources::NAMESPACES, "", json!({"metadata": {"name": "default"}})).await.expect("namespace");
    client.create(&resources::NODES, "", json!({"metadata": {"name": "n"}})).await.expect("node");
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template, "strategy": {"type": "RollingUpdate"}});
    client.create(&resources::DEPLOYMENTS, "default", json!({"metadata": {"name": "d"}, "spec": spec})).await.expect("deployment");
    let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "a"}, "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
    client.create(&resources::SERVICES, "default", service).await.expect("service");

    let pods: Informer<Pod> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    pods.until(|p| p.len() == 3).await;
    for (i, pod) in pods.all().iter().enumerate() {
        let at = At { resource: &resources::PODS, namespace: "default", name: &pod.metadata.name };
        let status = json!({"status": {"phase": "Running", "podIP": format!("10.0.0.{i}"), "conditions": [{"type": "Ready", "status": "True"}]}});
        client.patch(at, Some("status"), &client::PatchKind::Merge, &status).await.expect("status");
    }
    let deployments: Informer<Deployment> = Informer::start(&env, &client, Selection::all(&resources::DEPLOYMENTS));
    deployments.until(|d| d.get("default", "d").is_some_and(|d| d.status.available_replicas == 3 && d.status.updated_replicas == 3)).await;
    let slices: Informer<EndpointSlice> = Informer::start(&env, &client, Selection::all(&resources::ENDPOINTSLICES));
    slices.until(|s| s.all().iter().map(|s| s.endpoints.len()).sum::<usize>() == 3).await;
    let nodes: Informer<Node> = Informer::start(&env, &client, Selection::all(&resources::NODES));
    nodes.until(|n| n.get("", "n").is_some_and(|n| n.spec.pod_cidr == "10.244.0.0/24")).await;
    let maps: Informer<ConfigMap> = Informer::start(&env, &client, Selection::all(&resources::CONFIGMAPS));
    maps.until(|m| m.get("default", "kube-root-ca.crt").is_some()).await;
    assert_eq!(pods.len(), 3);
    while !handle.is_idle() {
        time::sleep(time::Duration::from_millis(10)).await;
    }
    // Nothing is written any more when nothing changes.
    api.writes();
    time::sleep(time::Duration::from_secs(20)).await;
    assert_eq!(api.writes(), Vec::<String>::new());
}
