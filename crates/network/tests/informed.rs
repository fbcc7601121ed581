//! Root tests of the proxy and the overlay fed by informers from an API in memory, in a node's namespace.

mod common;

use client::fake::FakeApi;
use client::{At, Client, PatchKind, resources};
use common::{Ns, dir, until};
use network::Cidr;
use network::cni::{Attach, Config, Plugin};
use platform::Env;
use serde_json::json;
use std::sync::Arc;

const ID: &str = "0c0ffee4";

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

/// Runs proxy and overlay of node n1 on a runtime of their own, whose one thread lives in the node's namespace.
fn start(node: &Ns, env: &Env, client: &Client) -> tokio::runtime::Runtime {
    let (env, client) = (env.clone(), client.clone());
    let file = node.file.try_clone().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(move || {
            // SAFETY: changes this thread only, which belongs to this test's runtime.
            assert_eq!(unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&file), libc::CLONE_NEWNET) }, 0);
        })
        .build()
        .unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let (node_block, address) = network::overlay::identity(&env, &client, "n1").await;
        let overlay = network::overlay::Options {
            cluster_id: ID.into(),
            node: "n1".into(),
            node_block,
            service_block: cidr("10.96.0.0/16"),
            address,
            port: 8472,
        };
        let ready = send.clone();
        env.spawn(
            "overlay",
            network::overlay::run(env.clone(), client.clone(), overlay, move || ready.send("overlay").unwrap()),
        );
        let proxy = network::proxy::Options {
            cluster_id: ID.into(),
            node: "n1".into(),
            cluster_block: cidr("10.244.0.0/16"),
            service_block: cidr("10.96.0.0/16"),
        };
        env.spawn("proxy", network::proxy::run(env.clone(), client, proxy, move || send.send("proxy").unwrap()));
    });
    for _ in 0..2 {
        receive.recv_timeout(std::time::Duration::from_secs(10)).expect("ready");
    }
    runtime
}

#[test]
fn services_follow_the_objects_and_foreign_changes_are_undone() {
    if !common::wanted() {
        return;
    }
    let (node, outside, pod, dir) = (Ns::new(), Ns::new(), Ns::new(), dir("informed"));
    node.sh(&format!(
        "ip link add eth0 type veth peer name eth0 netns /proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&outside.file)
    ));
    node.sh("ip addr add 192.168.6.1/24 dev eth0; ip link set eth0 up");
    let (env, api) = (Env::system("test"), FakeApi::default());
    let client = Client::new(Arc::new(api), "test");
    let test = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let object = |name: &str, block: &str, address: &str| json!({"metadata": {"name": name}, "spec": {"podCIDR": block}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}});
    test.block_on(client.create(&resources::NODES, "", object("n1", "10.244.0.0/24", "192.168.6.1"))).unwrap();
    let running = start(&node, &env, &client);
    let config = Config {
        cluster_id: ID.into(),
        node_block: cidr("10.244.0.0/24"),
        cluster_block: cidr("10.244.0.0/16"),
        dir: dir.clone(),
        mtu: 1450,
    };
    let plugin = node.run(move || Plugin::new(config));
    let attach =
        Attach { sandbox: "p".into(), pod_uid: String::new(), netns: pod.path(), ifname: "eth0".into(), ports: vec![] };
    test.block_on(plugin.add(attach)).unwrap();
    running.spawn(plugin.clone().keep());
    pod.serve("pod", 80);

    let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "TCP"}]}});
    test.block_on(client.create(&resources::SERVICES, "default", service)).unwrap();
    let slice = json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.2"], "nodeName": "n1"}], "ports": [{"port": 80, "protocol": "TCP"}]});
    test.block_on(client.create(&resources::ENDPOINTSLICES, "default", slice)).unwrap();
    until("the service leads to the pod", || node.tcp("10.96.0.9:80").is_ok());
    assert_eq!(node.tcp("10.96.0.9:80").unwrap(), "pod 10.244.0.1", "the node reaches services from its pod address");

    node.sh("nft delete element ip corten-0c0ffee4 service-ips '{ 10.96.0.9 . tcp . 80 }'");
    until("the element is back", || node.tcp("10.96.0.9:80").is_ok());
    node.sh("nft flush ruleset");
    until("the table is back", || node.tcp("10.96.0.9:80").is_ok());
    until("and that of pods", || node.sh("nft list tables").contains("corten-0c0ffee4-pods"));

    let at = At { resource: &resources::ENDPOINTSLICES, namespace: "default", name: "web-1" };
    test.block_on(client.patch(at, None, &PatchKind::Merge, &json!({"endpoints": null}))).unwrap();
    until("no endpoint: refused", || node.tcp("10.96.0.9:80") == Err(std::io::ErrorKind::ConnectionRefused));

    test.block_on(client.create(&resources::NODES, "", object("n2", "10.244.1.0/24", "192.168.6.2"))).unwrap();
    until("a route to the new node", || node.sh("ip route").contains("10.244.1.0/24 via 10.244.1.1 dev cx0c0ffee4"));
    env.kill();
    running.shutdown_background();
    std::fs::remove_dir_all(dir).unwrap();
}
