//! The server fed by informers from an API in memory; and what the control plane publishes.

use client::fake::FakeApi;
use client::{At, Client, resources};
use dns::core::answer::question;
use dns::core::views::{EndpointSlice, Service};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use platform::Env;
use platform::time::{Duration, timeout};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

fn client(api: &FakeApi) -> Client {
    Client::new(Arc::new(api.clone()), "test")
}

async fn answers(server: SocketAddr, name: &str) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bytes = question(5, Name::from_ascii(name).unwrap(), RecordType::A).to_vec().unwrap();
    socket.send_to(&bytes, server).await.unwrap();
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..n]).unwrap().answers.len()
}

#[tokio::test]
async fn names_follow_the_objects() {
    let (env, api) = (Env::system("test"), FakeApi::default());
    let client = client(&api);
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let options = dns::Options {
        domain: "cluster.local".into(),
        listen: free,
        service_address: "10.96.0.10".parse().unwrap(),
        resolv_conf: "/nonexistent".into(),
    };
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    env.spawn("dns", dns::run(env.clone(), client.clone(), options, move || ready.send(()).unwrap()));
    timeout(Duration::from_secs(10), is_ready).await.unwrap().unwrap();
    assert_eq!(answers(free, "web.default.svc.cluster.local.").await, 0);
    let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7"}});
    client.create(&resources::SERVICES, "default", service).await.unwrap();
    let appears = async {
        while answers(free, "web.default.svc.cluster.local.").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), appears).await.unwrap();
    env.kill();
}

#[tokio::test]
async fn the_service_is_published_and_follows_the_nodes() {
    let (env, api) = (Env::system("test"), FakeApi::default());
    let client = client(&api);
    client
        .create(&resources::NODES, "", json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.0.0/24"}}))
        .await
        .unwrap();
    env.spawn("publish", dns::publish(env.clone(), client.clone(), "10.96.0.10".parse().unwrap()));
    let endpoints = || async {
        let at = At { resource: &resources::ENDPOINTSLICES, namespace: "kube-system", name: "kube-dns-nodes" };
        client.get::<EndpointSlice>(at).await.map_or(0, |s| s.endpoints.len())
    };
    let reaches = |wanted: usize| async move {
        while endpoints().await != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), reaches(1)).await.unwrap();
    client
        .create(&resources::NODES, "", json!({"metadata": {"name": "n2"}, "spec": {"podCIDR": "10.244.1.0/24"}}))
        .await
        .unwrap();
    timeout(Duration::from_secs(10), reaches(2)).await.unwrap();
    let at = At { resource: &resources::SERVICES, namespace: "kube-system", name: "kube-dns" };
    assert_eq!(client.get::<Service>(at).await.unwrap().spec.cluster_ip, "10.96.0.10");
    env.kill();
}
