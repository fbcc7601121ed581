//! Root tests of the service rules against the kernel, with pods that the built-in CNI plugin connected.

mod common;

use common::{Ns, dir, udp_ask};
use network::Cidr;
use network::cni::{Attach, Config, Plugin};
use network::core::nft::Transaction;
use network::core::proxy::{Changes, Proxy, Settings};
use network::netlink::{Protocol, Socket};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;

struct World {
    node: Ns,
    client: Ns,
    pods: Vec<Ns>,
    proxy: Proxy,
    netfilter: Socket,
    dir: std::path::PathBuf,
    _plugin: Plugin,
}

const TABLE: &str = "corten-0c0ffee2";

/// A node 192.168.9.1 with an outside client 192.168.9.2, and pods 10.244.0.2, .3, .4 that serve port 80.
fn world(name: &str) -> World {
    let (node, client, dir) = (Ns::new(), Ns::new(), dir(name));
    node.sh(&format!(
        "ip link add out type veth peer name eth0 netns /proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&client.file)
    ));
    node.sh("ip addr add 192.168.9.1/24 dev out; ip link set out up; ip link add svc type vxlan id 42 dstport 8472 dev out nolearning; ip link set svc up; ip route add 10.96.0.0/16 dev svc src 192.168.9.1");
    client.sh("ip addr add 192.168.9.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.168.9.1");
    let config = Config {
        cluster_id: "0c0ffee2".into(),
        node_block: Cidr::parse("10.244.0.0/24").unwrap(),
        cluster_block: Cidr::parse("10.244.0.0/16").unwrap(),
        dir: dir.clone(),
        mtu: 1500,
    };
    let plugin = node.run(move || Plugin::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pods: Vec<Ns> = (0..3)
        .map(|i| {
            let pod = Ns::new();
            let attach = Attach {
                sandbox: format!("p{i}"),
                pod_uid: String::new(),
                netns: pod.path(),
                ifname: "eth0".into(),
                ports: vec![],
            };
            runtime.block_on(plugin.add(attach)).unwrap();
            pod.serve(&format!("p{i}"), 80);
            pod
        })
        .collect();
    let settings = Settings {
        node: "n1".into(),
        cluster_block: Cidr::parse("10.244.0.0/16").unwrap(),
        service_block: Cidr::parse("10.96.0.0/16").unwrap(),
    };
    let netfilter = node.run(|| Socket::open(Protocol::Netfilter));
    let mut world = World { node, client, pods, proxy: Proxy::new(settings), netfilter, dir, _plugin: plugin };
    let mut tx = Transaction::new(TABLE, 0);
    world.proxy.rebuild(&mut tx);
    world.netfilter.transact("build the services' table", &tx.finish()).unwrap();
    world
}

impl World {
    fn service(&mut self, spec: Value, status: Value) -> Changes {
        let object = json!({"metadata": {"name": "s", "namespace": "default"}, "spec": spec, "status": status});
        self.proxy.set_service("default", "s", Some(serde_json::from_value(object).unwrap()));
        self.apply()
    }

    /// Endpoints as (pod index, node, ready).
    fn endpoints(&mut self, endpoints: &[(usize, &str, bool)]) -> Changes {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(i, node, ready)| json!({"addresses": [format!("10.244.0.{}", i + 2)], "nodeName": node, "conditions": {"ready": ready}}))
            .collect();
        let slice = json!({"metadata": {"name": "s-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "t", "protocol": "TCP", "port": 80}, {"name": "u", "protocol": "UDP", "port": 80}]});
        self.proxy.set_slice("default", "s-1", Some(serde_json::from_value(slice).unwrap()));
        self.apply()
    }

    fn apply(&mut self) -> Changes {
        let mut tx = Transaction::new(TABLE, self.netfilter.next_seq());
        let changes = self.proxy.changes(&mut tx);
        if !tx.is_empty() {
            self.netfilter.transact("change services", &tx.finish()).unwrap();
        }
        changes
    }

    /// The kernel's table equals the one that a rebuild makes.
    fn assert_converged(&mut self) {
        let strip = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::trim).map(String::from).collect();
            lines.sort();
            lines
        };
        let before = strip(self.node.sh(&format!("nft -s list table ip {TABLE} | sed 's/[{{}},]/\\n/g'")));
        let mut tx = Transaction::new(TABLE, self.netfilter.next_seq());
        self.proxy.rebuild(&mut tx);
        self.netfilter.transact("rebuild", &tx.finish()).unwrap();
        let after = strip(self.node.sh(&format!("nft -s list table ip {TABLE} | sed 's/[{{}},]/\\n/g'")));
        assert_eq!(before, after);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spread(count: usize, mut ask: impl FnMut() -> String) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        *seen.entry(ask()).or_insert(0) += 1;
    }
    seen
}

fn ports() -> Value {
    json!([{"name": "t", "protocol": "TCP", "port": 80, "nodePort": 30080}, {"name": "u", "protocol": "UDP", "port": 80, "nodePort": 30080}])
}

#[test]
fn cluster_addresses_node_ports_hairpin_and_refusal() {
    if !common::wanted() {
        return;
    }
    let mut w = world("svc");
    w.service(
        json!({"type": "NodePort", "clusterIP": "10.96.0.5", "ports": ports(), "externalIPs": ["203.0.113.77"]}),
        json!({}),
    );
    assert_eq!(w.pods[0].tcp("10.96.0.5:80"), Err(ErrorKind::ConnectionRefused), "no endpoint: refused");
    assert_eq!(w.pods[0].udp("10.96.0.5:80"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(w.node.tcp("10.96.0.5:80"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(w.client.tcp("192.168.9.1:30080"), Err(ErrorKind::ConnectionRefused));
    w.endpoints(&[(0, "n1", true), (1, "n1", true), (2, "n1", false)]);
    let seen = spread(60, || w.pods[2].tcp("10.96.0.5:80").unwrap());
    assert_eq!(seen.keys().cloned().collect::<Vec<_>>(), ["p0 10.244.0.4", "p1 10.244.0.4"], "a pod's address is kept");
    assert!(seen.values().all(|n| *n > 10), "even spread: {seen:?}");
    assert!(spread(20, || w.pods[2].udp("10.96.0.5:80").unwrap()).len() == 2, "UDP");
    let hairpin = spread(30, || w.pods[0].tcp("10.96.0.5:80").unwrap());
    assert!(hairpin.contains_key("p0 10.244.0.1"), "to itself through the service: {hairpin:?}");
    assert!(hairpin.contains_key("p1 10.244.0.2"));
    assert!(w.node.tcp("10.96.0.5:80").unwrap().starts_with('p'), "from the node itself");
    assert_eq!(w.node.tcp("10.96.0.5:81"), Err(ErrorKind::ConnectionRefused), "a port that the service has not");
    assert_eq!(w.node.tcp("10.96.9.9:80"), Err(ErrorKind::TimedOut), "an address that no service has");
    let outside = w.client.tcp("192.168.9.1:30080").unwrap();
    assert!(outside.ends_with("10.244.0.1"), "node port from outside is masqueraded: {outside}");
    assert!(w.client.udp("192.168.9.1:30080").unwrap().starts_with('p'));
    assert!(w.pods[2].tcp("192.168.9.1:30080").unwrap().starts_with('p'), "node port from a pod");
    assert!(w.client.tcp("203.0.113.77:80").unwrap().starts_with('p'), "external address");
    w.assert_converged();
    w.endpoints(&[(2, "n1", true)]);
    assert_eq!(w.pods[0].tcp("10.96.0.5:80").unwrap(), "p2 10.244.0.2", "endpoints follow");
    w.assert_converged();
    w.proxy.set_service("default", "s", None);
    w.apply();
    assert_eq!(w.client.tcp("192.168.9.1:30080"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(w.node.tcp("10.96.0.5:80"), Err(ErrorKind::TimedOut));
    w.assert_converged();
}

#[test]
fn traffic_policies() {
    if !common::wanted() {
        return;
    }
    let mut w = world("policy");
    let spec = |internal: &str, external: &str| json!({"type": "NodePort", "clusterIP": "10.96.0.6", "ports": ports(), "internalTrafficPolicy": internal, "externalTrafficPolicy": external});
    w.service(spec("Cluster", "Local"), json!({}));
    w.endpoints(&[(0, "n1", true), (1, "n2", true)]);
    let outside = spread(20, || w.client.tcp("192.168.9.1:30080").unwrap());
    assert_eq!(outside.keys().cloned().collect::<Vec<_>>(), ["p0 192.168.9.2"], "only local, client's address kept");
    assert_eq!(spread(30, || w.pods[2].tcp("192.168.9.1:30080").unwrap()).len(), 2, "pods reach all");
    assert_eq!(spread(30, || w.node.tcp("192.168.9.1:30080").unwrap()).len(), 2, "the node reaches all");
    w.assert_converged();
    w.endpoints(&[(1, "n2", true)]);
    assert_eq!(w.client.tcp("192.168.9.1:30080"), Err(ErrorKind::TimedOut), "no local endpoint: silence");
    w.service(spec("Local", "Cluster"), json!({}));
    assert_eq!(w.pods[0].tcp("10.96.0.6:80"), Err(ErrorKind::TimedOut), "internal policy, no local endpoint");
    assert_eq!(w.client.tcp("192.168.9.1:30080").unwrap(), "p1 10.244.0.1");
    w.endpoints(&[(0, "n1", true), (1, "n2", true)]);
    assert_eq!(
        spread(20, || w.pods[2].tcp("10.96.0.6:80").unwrap()).keys().cloned().collect::<Vec<_>>(),
        ["p0 10.244.0.4"]
    );
    w.assert_converged();
}

#[test]
fn affinity_and_source_ranges() {
    if !common::wanted() {
        return;
    }
    let mut w = world("affinity");
    let spec = |ranges: Value| json!({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": ports(), "sessionAffinity": "ClientIP", "loadBalancerSourceRanges": ranges});
    let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.88"}]}});
    w.service(spec(json!([])), status.clone());
    w.endpoints(&[(0, "n1", true), (1, "n1", true)]);
    w.assert_converged(); // with the rules of affinity in it: `nft` can read them
    let first = w.pods[2].tcp("10.96.0.7:80").unwrap();
    assert_eq!(spread(20, || w.pods[2].tcp("10.96.0.7:80").unwrap()).len(), 1, "one client, one endpoint");
    let now = w.pods[2].tcp("10.96.0.7:80").unwrap();
    assert_eq!(first, now);
    let again = spread(20, || w.pods[2].tcp("10.96.0.7:80").unwrap());
    assert_eq!(again.len(), 1, "one endpoint again: {again:?}");
    let other = usize::from(again.keys().next().unwrap().starts_with("p0"));
    w.endpoints(&[(other, "n1", true)]);
    assert_eq!(w.pods[2].tcp("10.96.0.7:80").unwrap(), format!("p{other} 10.244.0.4"), "moved on");
    assert!(w.client.tcp("203.0.113.88:80").unwrap().starts_with(&format!("p{other}")), "load balancer address");
    w.service(spec(json!(["192.168.9.0/31", "10.0.0.0/8"])), status.clone());
    assert_eq!(w.client.tcp("203.0.113.88:80"), Err(ErrorKind::TimedOut), "source not in the ranges");
    w.service(spec(json!(["192.168.9.0/30"])), status);
    assert!(w.client.tcp("203.0.113.88:80").is_ok(), "source in the ranges");
    w.service(json!({"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": ports()}), json!({}));
    w.assert_converged();
}

#[test]
fn connectionless_flows_follow_the_endpoints() {
    if !common::wanted() {
        return;
    }
    let mut w = world("flows");
    w.service(json!({"type": "NodePort", "clusterIP": "10.96.0.8", "ports": ports()}), json!({}));
    let socket = w.pods[2].udp_socket();
    assert!(udp_ask(&socket, "10.96.0.8:80").is_err());
    w.endpoints(&[(0, "n1", true)]);
    let netfilter = w.node.run(|| Socket::open(Protocol::Netfilter));
    assert_eq!(udp_ask(&socket, "10.96.0.8:80").unwrap(), "p0 10.244.0.4");
    let outside = w.client.udp_socket();
    assert_eq!(udp_ask(&outside, "192.168.9.1:30080").unwrap(), "p0 10.244.0.1");
    let changes = w.endpoints(&[(1, "n1", true)]);
    assert_eq!(changes.flows.len(), 2, "cluster address and node port");
    assert_eq!(
        udp_ask(&socket, "10.96.0.8:80").unwrap(),
        "p0 10.244.0.4",
        "the kernel still sends the flow to the old endpoint"
    );
    assert!(network::conntrack::redirect(&netfilter, &changes.flows).unwrap() >= 2);
    assert_eq!(udp_ask(&socket, "10.96.0.8:80").unwrap(), "p1 10.244.0.4", "the same socket reaches the new endpoint");
    assert_eq!(udp_ask(&outside, "192.168.9.1:30080").unwrap(), "p1 10.244.0.1");
}

/// Random changes of three services; the table must always equal the one that a rebuild makes.
#[test]
fn random_changes_converge() {
    if !common::wanted() {
        return;
    }
    let mut w = world("random");
    let mut rng = platform::Rng::from_seed(7);
    for step in 0..120 {
        let name = format!("s{}", rng.below(3));
        let policy = |on: bool| if on { "Local" } else { "Cluster" };
        match rng.below(5) {
            0 => w.proxy.set_service("default", &name, None),
            1 => {
                w.proxy.set_slice("default", &format!("{name}-{}", rng.below(2)), None);
            }
            2 | 3 => {
                let endpoints: Vec<_> = (0..rng.below(4))
                    .map(|i| json!({"addresses": [format!("10.244.0.{}", 2 + (i + rng.below(3)) % 3)], "nodeName": if rng.chance(50) { "n1" } else { "n2" },
                        "conditions": {"ready": rng.chance(70), "serving": true, "terminating": rng.chance(30)}}))
                    .collect();
                let slice = format!("{name}-{}", rng.below(2));
                let object = json!({"metadata": {"name": slice, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "t", "protocol": "TCP", "port": 80 + rng.below(2)}, {"name": "u", "protocol": "UDP", "port": 80}]});
                w.proxy.set_slice("default", &slice, Some(serde_json::from_value(object).unwrap()));
            }
            _ => {
                let number = name[1..].parse::<u32>().unwrap();
                let ports = json!([{"name": "t", "protocol": "TCP", "port": 80, "nodePort": 30080 + number}, {"name": "u", "protocol": "UDP", "port": 80, "nodePort": if rng.chance(50) { 30080 + number } else { 0 }}]);
                let spec = json!({"type": "LoadBalancer", "clusterIP": format!("10.96.0.{number}"), "ports": ports,
                    "externalIPs": if rng.chance(50) { json!(["203.0.113.1"]) } else { json!([]) }, // shared: the first name has it
                    "sessionAffinity": if rng.chance(30) { "ClientIP" } else { "None" },
                    "internalTrafficPolicy": policy(rng.chance(30)), "externalTrafficPolicy": policy(rng.chance(30)),
                    "loadBalancerSourceRanges": if rng.chance(30) { json!(["10.0.0.0/8"]) } else { json!([]) }});
                let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": {"loadBalancer": {"ingress": [{"ip": format!("203.0.113.{}", 10 + number)}]}}});
                w.proxy.set_service("default", &name, Some(serde_json::from_value(object).unwrap()));
            }
        }
        w.apply();
        if step % 6 == 5 {
            w.assert_converged();
        }
    }
}
