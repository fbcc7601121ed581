//! Tests of the proxy's state: what a change costs, and which endpoints count. What the rules do is tested against the
//! kernel in `tests/services.rs`.

use super::*;
use crate::core::nl;
use serde_json::{Value, json};

fn settings() -> Settings {
    let block = |text| Cidr::parse(text).unwrap();
    Settings { node: "n1".into(), cluster_block: block("10.244.0.0/16"), service_block: block("10.96.0.0/16") }
}

fn service(number: usize, more: &Value) -> Service {
    let mut spec =
        json!({"clusterIP": format!("10.96.{}.{}", number / 250, number % 250 + 1), "ports": [{"port": 80}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": format!("s{number}"), "namespace": "d"}, "spec": spec})).unwrap()
}

fn slice(number: usize, endpoints: &[Value]) -> EndpointSlice {
    let labels = json!({"kubernetes.io/service-name": format!("s{number}")});
    serde_json::from_value(json!({"metadata": {"name": format!("s{number}-1"), "namespace": "d", "labels": labels},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}))
    .unwrap()
}

fn ready(last: usize) -> Value {
    json!({"addresses": [format!("10.244.0.{last}")], "nodeName": "n2"})
}

/// Messages of the transaction that follows, and how many services it is about.
fn changes(proxy: &mut Proxy) -> (usize, usize) {
    let mut tx = Transaction::new("t", 0);
    let done = proxy.changes(&mut tx);
    let empty = tx.is_empty();
    let count = nl::messages(tx.finish().bytes()).count() - 2;
    assert_eq!(empty, count == 0);
    (count, done.services)
}

#[test]
fn a_change_costs_what_changed() {
    let mut proxy = Proxy::new(settings());
    for number in 0..1000 {
        proxy.set_service("d", &format!("s{number}"), Some(service(number, &json!({}))));
        proxy.set_slice("d", &format!("s{number}-1"), Some(slice(number, &[ready(1), ready(2), ready(3)])));
    }
    let (all, services) = changes(&mut proxy);
    assert_eq!(services, 1000);
    assert!(all < 30, "{all} messages for 1,000 services: elements travel together");
    assert_eq!(changes(&mut proxy), (0, 0), "nothing changed");

    proxy.set_service("d", "s5", Some(service(5, &json!({}))));
    proxy.set_slice("d", "s5-1", Some(slice(5, &[ready(1), ready(2), ready(3)])));
    assert_eq!(changes(&mut proxy), (0, 0), "the same again is no change");

    proxy.set_slice("d", "s5-1", Some(slice(5, &[ready(1), ready(2), ready(4)])));
    assert_eq!(changes(&mut proxy), (2, 1), "one element deleted, one added");
    proxy.set_slice("d", "s5-1", Some(slice(5, &[ready(1), ready(2)])));
    let (messages, _) = changes(&mut proxy);
    assert!(messages <= 6, "{messages}: a new chain for two endpoints, the last index, the verdict");
    proxy.set_service("d", "s5", None);
    let (messages, _) = changes(&mut proxy);
    assert!(messages <= 6, "{messages}: what was there is deleted");
}

#[test]
fn which_endpoints_count() {
    let terminating = |serving: bool| json!({"addresses": ["10.244.0.9"], "nodeName": "n1", "conditions": {"ready": false, "serving": serving, "terminating": true}});
    let unready = json!({"addresses": ["10.244.0.8"], "conditions": {"ready": false}});
    let local = json!({"addresses": ["10.244.0.7"], "nodeName": "n1"});
    let count = |spec: Value, endpoints: &[Value]| {
        let slices = [slice(1, endpoints)];
        let key: Key = Arc::new(("d".to_string(), "s1".to_string()));
        let made = rules::contribution(&settings(), &key, &service(1, &spec), slices.iter()).unwrap();
        made.elements.iter().filter(|(set, ..)| *set == rules::Shared::Endpoints).count()
    };
    let cluster = json!({});
    assert_eq!(count(cluster.clone(), &[ready(1), unready.clone()]), 1, "only ready ones");
    assert_eq!(count(cluster.clone(), &[ready(1), terminating(true)]), 1, "terminating ones only when none is ready");
    assert_eq!(count(cluster.clone(), &[unready, terminating(true)]), 1, "then those that still serve");
    assert_eq!(count(cluster, &[terminating(false)]), 0);
    let internal = json!({"internalTrafficPolicy": "Local"});
    assert_eq!(count(internal.clone(), &[ready(1), local.clone()]), 1, "only this node's");
    assert_eq!(count(internal, &[ready(1), terminating(true)]), 1, "terminating ones of this node");
}

#[test]
fn services_that_are_not_ours() {
    let key: Key = Arc::new(("d".to_string(), "s1".to_string()));
    let ours = |service: &Service| rules::contribution(&settings(), &key, service, [].iter()).is_some();
    assert!(ours(&service(1, &json!({}))));
    assert!(!ours(&service(1, &json!({"clusterIP": "None"}))), "headless");
    assert!(!ours(&service(1, &json!({"type": "ExternalName", "clusterIP": ""}))));
    let mut other = service(1, &json!({}));
    other.metadata.labels.insert("service.kubernetes.io/service-proxy-name".into(), "x".into());
    assert!(!ours(&other), "another proxy's");
}

#[test]
fn the_first_name_has_a_shared_entrance() {
    let mut proxy = Proxy::new(settings());
    for number in [2, 1] {
        proxy.set_service("d", &format!("s{number}"), Some(service(number, &json!({"externalIPs": ["203.0.113.1"]}))));
        proxy.set_slice("d", &format!("s{number}-1"), Some(slice(number, &[ready(number)])));
    }
    changes(&mut proxy);
    proxy.set_service("d", "s1", None);
    let (messages, _) = changes(&mut proxy);
    assert!(messages > 0, "the second one takes over");
}
