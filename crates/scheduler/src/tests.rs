//! The scheduler over the API in memory.
use super::*;
use crate::core::fixtures::{node, pod};
use crate::views::PodView;
use client::fake::FakeApi;
use client::{Client, Informer, Selection, resources};
use platform::{Env, WallTime, time};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn pods_are_placed_when_there_is_room() {
    let env = Env::simulated("test", 1, WallTime::from_unix(10_000, 0));
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    let handle = run(&env, &client, Options::default());
    for i in 0..6 {
        client.create(&resources::PODS, "default", pod(&format!("p{i}")).cpu("1").json()).await.expect("pod");
    }
    let pods: Informer<PodView> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    let placed = |p: &Informer<PodView>| p.all().iter().filter(|p| !p.spec.node_name.is_empty()).count();
    client.create(&resources::NODES, "", node("a").json()).await.expect("node");
    pods.until(|p| placed(p) == 4).await;
    pods.until(|p| {
        p.all().iter().filter(|p| p.status.conditions.iter().any(|c| c["reason"] == "Unschedulable")).count() >= 2
    })
    .await;
    client.create(&resources::NODES, "", node("b").cpu("1").json()).await.expect("node");
    pods.until(|p| placed(p) == 5).await;
    let gone = pods.all().into_iter().find(|p| p.spec.node_name == "a").expect("a pod on a");
    let at = client::At { resource: &resources::PODS, namespace: "default", name: &gone.metadata.name };
    client.delete(at, &client::DeleteOptions { grace_seconds: Some(0), ..Default::default() }).await.expect("delete");
    pods.until(|p| p.len() == 5 && placed(p) == 5).await;
    assert_eq!(handle.depths(), (0, 0, 0));
    // Events say what happened; idle means silent.
    time::sleep(time::Duration::from_secs(1)).await;
    let events = api.objects(&resources::EVENTS);
    assert!(
        events.iter().any(|e| e["message"].as_str().is_some_and(|m| m.starts_with("Successfully assigned default/p"))),
        "{events:?}"
    );
    let refused = |e: &serde_json::Value| {
        e["message"].as_str().is_some_and(|m| m.starts_with("0/1 nodes are available: 1 Insufficient cpu."))
    };
    assert!(events.iter().any(refused), "{events:?}");
    api.writes();
    time::sleep(time::Duration::from_secs(600)).await;
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_more_important_pod_takes_the_room() {
    let env = Env::simulated("test", 1, WallTime::from_unix(10_000, 0));
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    client.create(&resources::NODES, "", node("a").json()).await.expect("node");
    run(&env, &client, Options::default());
    let pods: Informer<PodView> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    client.create(&resources::PODS, "default", pod("low").cpu("4").json()).await.expect("pod");
    pods.until(|p| p.get("default", "low").is_some_and(|p| p.spec.node_name == "a")).await;
    client.create(&resources::PODS, "default", pod("high").priority(100).cpu("4").json()).await.expect("pod");
    pods.until(|p| p.get("default", "low").is_some_and(|p| p.metadata.is_deleting())).await;
    pods.until(|p| p.get("default", "high").is_some_and(|p| p.status.nominated_node_name == "a")).await;
    let at = client::At { resource: &resources::PODS, namespace: "default", name: "low" };
    client
        .delete(at, &client::DeleteOptions { grace_seconds: Some(0), ..Default::default() })
        .await
        .expect("the kubelet's last word");
    pods.until(|p| p.get("default", "high").is_some_and(|p| p.spec.node_name == "a")).await;
}
