//! Root tests of the built-in CNI plugin in namespaces: connect, talk, ports, restart, disconnect.

mod common;

use common::{Ns, dir};
use network::cni::{Attach, Config, Plugin};
use network::{Cidr, PortMapping, Protocol};
use std::path::Path;

fn config(dir: &Path) -> Config {
    Config {
        cluster_id: "0c0ffee1".into(),
        node_block: Cidr::parse("10.244.0.0/24").unwrap(),
        cluster_block: Cidr::parse("10.244.0.0/16").unwrap(),
        dir: dir.to_path_buf(),
        mtu: 1450,
    }
}

fn plugin(node: &Ns, dir: &Path) -> Plugin {
    let config = config(dir);
    node.run(move || Plugin::new(config))
}

fn attach(name: &str, ns: &Ns, ports: Vec<PortMapping>) -> Attach {
    Attach { sandbox: name.into(), pod_uid: format!("uid-{name}"), netns: ns.path(), ifname: "eth0".into(), ports }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn pods_talk_restart_and_leave() {
    if !common::wanted() {
        return;
    }
    let (node, a, b, dir) = (Ns::new(), Ns::new(), Ns::new(), dir("cni"));
    let runtime = runtime();
    let first = plugin(&node, &dir);
    let port = PortMapping { host_port: 8080, container_port: 80, protocol: Protocol::Tcp, host_ip: None };
    let one = runtime.block_on(first.add(attach("a", &a, vec![port.clone()]))).unwrap();
    let two = runtime.block_on(first.add(attach("b", &b, vec![]))).unwrap();
    assert_eq!(one.address.to_string(), "10.244.0.2");
    a.serve("a", 80);
    b.serve("b", 80);
    assert_eq!(a.tcp("10.244.0.3:80").unwrap(), "b 10.244.0.2", "pod to pod keeps its address");
    assert_eq!(b.udp("10.244.0.2:80").unwrap(), "a 10.244.0.3");
    assert_eq!(node.tcp("10.244.0.2:80").unwrap(), "a 10.244.0.1", "node to pod comes from the gateway");
    assert_eq!(b.tcp("10.244.0.1:8080").unwrap(), "a 10.244.0.3", "host port from another pod");
    assert_eq!(node.tcp("10.244.0.1:8080").unwrap(), "a 10.244.0.1", "host port from the node");
    assert_eq!(a.tcp("10.244.0.1:8080").unwrap(), "a 10.244.0.1", "host port to itself is masqueraded");
    let taken = runtime.block_on(first.add(attach("c", &b, vec![port])));
    assert!(taken.unwrap_err().to_string().contains("host port 8080/tcp is already used by the pod sandbox a"));

    drop(first);
    let second = plugin(&node, &dir);
    assert_eq!(second.sandboxes().len(), 2, "allocations survive a restart");
    assert_eq!(runtime.block_on(second.add(attach("a", &a, vec![]))).unwrap(), one, "adding again gives the same");
    assert_eq!(runtime.block_on(second.check("b")).unwrap(), two);
    assert_eq!(b.tcp("10.244.0.1:8080").unwrap(), "a 10.244.0.3", "host ports survive a restart");

    runtime.block_on(second.del("a")).unwrap();
    runtime.block_on(second.del("a")).unwrap();
    assert!(runtime.block_on(second.check("a")).is_err());
    assert!(!node.sh("ip link").contains(&one.host_link));
    assert!(b.tcp("10.244.0.1:8080").is_err(), "the host port is closed");
    let third = runtime.block_on(second.add(attach("c", &a, vec![]))).unwrap();
    assert_eq!(third.address.to_string(), "10.244.0.4", "a freed address is not used again at once");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_broken_set_up_leaves_nothing() {
    if !common::wanted() {
        return;
    }
    let (node, dir) = (Ns::new(), dir("cni-broken"));
    let plugin = plugin(&node, &dir);
    let mut attach = attach("a", &node, vec![]);
    attach.netns = "/nonexistent".into();
    assert!(runtime().block_on(plugin.add(attach)).is_err());
    assert!(plugin.sandboxes().is_empty());
    assert!(!std::fs::read_dir(&dir).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().ends_with(".pod")));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_udp_flow_follows_its_host_port_to_the_next_pod() {
    if !common::wanted() {
        return;
    }
    let (node, outside, a, b, dir) = (Ns::new(), Ns::new(), Ns::new(), Ns::new(), dir("cni-udp"));
    node.sh(&format!(
        "ip link add out type veth peer name eth0 netns /proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&outside.file)
    ));
    node.sh("ip addr add 192.168.4.1/24 dev out; ip link set out up");
    outside.sh("ip addr add 192.168.4.2/24 dev eth0; ip link set eth0 up");
    let (runtime, plugin) = (runtime(), plugin(&node, &dir));
    let port = PortMapping { host_port: 5353, container_port: 53, protocol: Protocol::Udp, host_ip: None };
    runtime.block_on(plugin.add(attach("a", &a, vec![port.clone()]))).unwrap();
    a.serve("a", 53);
    let socket = outside.udp_socket();
    assert_eq!(common::udp_ask(&socket, "192.168.4.1:5353").unwrap(), "a 192.168.4.2");
    runtime.block_on(plugin.del("a")).unwrap();
    runtime.block_on(plugin.add(attach("b", &b, vec![port]))).unwrap();
    b.serve("b", 53);
    assert_eq!(common::udp_ask(&socket, "192.168.4.1:5353").unwrap(), "b 192.168.4.2", "the same socket");
    std::fs::remove_dir_all(dir).unwrap();
}
