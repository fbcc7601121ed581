//! Root tests of two nodes: pods talk over the overlay, pods leave the cluster masqueraded, a dropping firewall is passed,
//! reset leaves nothing.

mod common;

use common::{Ns, dir};
use network::Cidr;
use network::cni::{Attach, Config, Plugin};
use network::core::overlay::peers;
use network::core::views::Node;
use network::overlay::{Options, Overlay, pod_mtu};
use serde_json::json;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

const ID: &str = "0c0ffee3";

struct NodeUnderTest {
    ns: Ns,
    pod: Ns,
    dir: PathBuf,
    overlay: Overlay,
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

/// Node `n` has 192.168.7.n, the block 10.244.n.0/24 and one pod that serves port 80.
fn node(n: u8, ns: Ns) -> NodeUnderTest {
    let dir = dir(&format!("nodes-{n}"));
    let plugin_dir = dir.clone();
    let (plugin, overlay) = ns.run(move || {
        let address = format!("192.168.7.{n}").parse().unwrap();
        let node_block = cidr(&format!("10.244.{n}.0/24"));
        let mtu = pod_mtu(address)?;
        assert_eq!(mtu, 1450);
        let config =
            Config { cluster_id: ID.into(), node_block, cluster_block: cidr("10.244.0.0/16"), dir: plugin_dir, mtu };
        let options = Options {
            cluster_id: ID.into(),
            node: format!("n{n}"),
            node_block,
            service_block: cidr("10.96.0.0/16"),
            address,
            port: 8472,
        };
        Ok((Plugin::new(config)?, Overlay::new(options)?))
    });
    let pod = Ns::new();
    let attach =
        Attach { sandbox: "p".into(), pod_uid: String::new(), netns: pod.path(), ifname: "eth0".into(), ports: vec![] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(plugin.add(attach)).unwrap();
    pod.serve(&format!("pod{n}"), 80);
    NodeUnderTest { ns, pod, dir, overlay }
}

#[test]
fn two_nodes() {
    if !common::wanted() {
        return;
    }
    let (a, b) = (Ns::new(), Ns::new());
    a.sh(&format!(
        "ip link add eth0 mtu 1500 type veth peer name eth0 netns /proc/{}/fd/{}",
        std::process::id(),
        b.file.as_raw_fd()
    ));
    a.sh("ip addr add 192.168.7.1/24 dev eth0; ip link set eth0 up");
    b.sh("ip addr add 192.168.7.2/24 dev eth0; ip link set eth0 up");
    a.sh("echo 0 > /proc/sys/net/ipv4/ip_forward"); // a new namespace has what the machine has
    a.sh(
        "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    let (a, b) = (node(1, a), node(2, b));
    let objects: Vec<Node> = [1, 2]
        .map(|n| {
            let object = json!({"metadata": {"name": format!("n{n}")}, "spec": {"podCIDR": format!("10.244.{n}.0/24")},
                "status": {"addresses": [{"type": "InternalIP", "address": format!("192.168.7.{n}")}]}});
            serde_json::from_value(object).unwrap()
        })
        .into();
    for (me, node) in [("n1", &a), ("n2", &b)] {
        assert!(node.overlay.apply(&peers(me, objects.iter())).unwrap());
        assert!(!node.overlay.apply(&peers(me, objects.iter())).unwrap(), "nothing left to do");
    }
    assert_eq!(a.pod.tcp("10.244.2.2:80").unwrap(), "pod2 10.244.1.2", "pod to pod across nodes keeps its address");
    assert_eq!(b.pod.udp("10.244.1.2:80").unwrap(), "pod1 10.244.2.2");
    assert_eq!(a.ns.tcp("10.244.2.2:80").unwrap(), "pod2 10.244.1.1", "node to a pod of another node");
    b.ns.serve("node2", 99);
    assert_eq!(a.pod.tcp("192.168.7.2:99").unwrap(), "node2 192.168.7.1", "leaving the cluster is masqueraded");
    let rules = a.ns.sh("nft list chain ip filter FORWARD");
    assert_eq!(rules.matches("comment \"corten-0c0ffee3 10.244.0.0/16\"").count(), 2, "{rules}");

    assert!(a.overlay.apply(&peers("n1", objects[..1].iter())).unwrap());
    assert!(!a.ns.sh("ip route; ip neigh; bridge fdb show").contains("10.244.2."), "the node that left is forgotten");

    let dir = a.dir.clone();
    a.ns.run(move || {
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
        network::reset(ID, &dir)?;
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "0");
        network::reset(ID, &dir)
    });
    let left = a.ns.sh("nft list ruleset; ip link; ip route; ip neigh");
    assert!(!left.contains("0c0ffee3") && !left.contains("10.244"), "{left}");
    for node in [a, b] {
        std::fs::remove_dir_all(node.dir).unwrap();
    }
}

#[test]
fn a_node_in_a_namespace_reaches_what_lies_beyond_its_machine() {
    if !common::wanted() {
        return;
    }
    let id = "0c0ffee5";
    let (machine, outside, dir) = (Ns::new(), Ns::new(), dir("hosts"));
    machine.sh(&format!(
        "ip link add up0 type veth peer name eth0 netns /proc/{}/fd/{}",
        std::process::id(),
        outside.file.as_raw_fd()
    ));
    machine.sh("ip addr add 192.168.5.1/24 dev up0; ip link set up0 up; echo 1 > /proc/sys/net/ipv4/ip_forward");
    machine.sh(
        "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    outside.sh("ip addr add 192.168.5.2/24 dev eth0; ip link set eth0 up");
    outside.serve("outside", 80);
    let path = dir.join("n2");
    let bound = path.clone();
    machine.run(move || {
        for _ in 0..2 {
            network::hosts::bridge(id, common::ip("10.9.0.1"), 24)?;
            network::hosts::host(id, 2, &bound, common::ip("10.9.0.2"), 24, common::ip("10.9.0.1"))?;
        }
        Ok(())
    });
    let node = Ns { file: network::netns::open(&path).unwrap() };
    assert_eq!(node.tcp("192.168.5.2:80").unwrap(), "outside 192.168.5.1");
    drop(node);
    machine.serve("machine", 81);
    let node = Ns { file: network::netns::open(&path).unwrap() };
    assert_eq!(node.tcp("10.9.0.1:81").unwrap(), "machine 10.9.0.2", "the machine sees the node itself");
    let binds = dir.clone();
    machine.run(move || {
        network::hosts::reset(id, &binds)?;
        network::reset(id, &binds)
    });
    let left = machine.sh("nft list ruleset; ip link");
    assert!(!left.contains(id), "{left}");
    std::fs::remove_dir_all(dir).unwrap();
}
