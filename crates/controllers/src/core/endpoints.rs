//! Endpoints and EndpointSlices of services with a selector.
//! Sources: `staging/src/k8s.io/endpointslice/reconciler.go`, `pkg/controller/endpoint/endpoints_controller.go`.

use super::pods::{self, is_finished, is_ready};
use crate::views::{EndpointSlice, Endpoints, Node, Pod, Service, ServicePort};
use client::{Op, Plan, Target, resources};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label: the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label: who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller's value of [`MANAGED_BY`].
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const SLICE_MOST: usize = 100;
const ZONE: &str = "topology.kubernetes.io/zone";

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The service.
    pub service: Option<Arc<Service>>,
    /// Pods that its selector matches.
    pub pods: Vec<Arc<Pod>>,
    /// Their nodes.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// Slices of the service that this controller keeps.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Its Endpoints.
    pub endpoints: Option<Arc<Endpoints>>,
}

fn in_endpoints(pod: &Pod) -> bool {
    !is_finished(pod) && !addresses(pod).is_empty()
}

fn addresses(pod: &Pod) -> Vec<&str> {
    let many: Vec<&str> = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str()).collect();
    if many.is_empty() && !pod.status.pod_ip.is_empty() { vec![&pod.status.pod_ip] } else { many }
}

fn of_family<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    addresses(pod).into_iter().find(|ip| ip.contains(':') == (family == "IPv6"))
}

/// The number of a service's port on a pod.
fn port_on(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        Value::String(name) => {
            let ports = pod.spec.containers.iter().flat_map(|c| &c.ports);
            let protocol = |p: &str| if p.is_empty() { "TCP".to_string() } else { p.to_string() };
            ports
                .filter(|p| p.name == *name && protocol(&p.protocol) == protocol(&port.protocol))
                .map(|p| p.container_port)
                .next()
        }
        Value::Number(number) if number.as_i64() != Some(0) => number.as_i64().and_then(|n| i32::try_from(n).ok()),
        _ => Some(port.port),
    }
}

fn is_headless(service: &Service) -> bool {
    service.spec.cluster_ip == "None"
}

fn target_ref(pod: &Pod) -> Value {
    json!({"kind": "Pod", "namespace": pod.metadata.namespace, "name": pod.metadata.name, "uid": pod.metadata.uid})
}

fn hostname<'a>(pod: &'a Pod, service: &Service) -> Option<&'a str> {
    let named = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    named.then_some(pod.spec.hostname.as_str())
}

fn slice_ports(service: &Service, pod: &Pod) -> Vec<Value> {
    let one = |port: &ServicePort| {
        let number = port_on(port, pod)?;
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let mut out = json!({"name": port.name, "protocol": protocol, "port": number});
        if let Some(protocol) = &port.app_protocol {
            out["appProtocol"] = protocol.as_str().into();
        }
        Some(out)
    };
    service.spec.ports.iter().filter_map(one).collect()
}

fn endpoint(service: &Service, pod: &Pod, address: &str, nodes: &BTreeMap<String, Arc<Node>>) -> Value {
    let (serving, terminating) = (is_ready(pod), pod.metadata.is_deleting());
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let mut out = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": target_ref(pod),
    });
    if let Some(hostname) = hostname(pod, service) {
        out["hostname"] = hostname.into();
    }
    if !pod.spec.node_name.is_empty() {
        out["nodeName"] = pod.spec.node_name.as_str().into();
        if let Some(zone) = nodes.get(&pod.spec.node_name).and_then(|n| n.metadata.labels.get(ZONE)) {
            out["zone"] = zone.as_str().into();
        }
    }
    out
}

fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

/// What to do for a service's slices.
pub fn slices(world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(service) = world.service.as_ref().filter(|s| !s.metadata.is_deleting()) else { return plan };
    if service.spec.selector.is_empty() || service.spec.kind == "ExternalName" {
        return plan;
    }
    let families =
        if service.spec.ip_families.is_empty() { vec!["IPv4".to_string()] } else { service.spec.ip_families.clone() };
    for family in &families {
        family_slices(world, service, family, &mut plan);
    }
    for slice in world.slices.iter().filter(|s| !families.contains(&s.address_type)) {
        plan.push(delete_slice(slice));
    }
    plan
}

fn delete_slice(slice: &EndpointSlice) -> Op {
    Op::delete(
        Target::new(&resources::ENDPOINTSLICES, &slice.metadata.namespace, &slice.metadata.name),
        &slice.metadata.uid,
    )
}

/// Which pod an endpoint is of.
fn uid_of(endpoint: &Value) -> &str {
    endpoint["targetRef"]["uid"].as_str().unwrap_or_default()
}

fn family_slices(world: &World, service: &Service, family: &str, plan: &mut Plan) {
    // Wanted endpoints, by the ports they have in common.
    let mut groups: BTreeMap<String, (Vec<Value>, BTreeMap<String, Value>)> = BTreeMap::new();
    for pod in world.pods.iter().filter(|p| in_endpoints(p)) {
        let Some(address) = of_family(pod, family) else { continue };
        let ports = slice_ports(service, pod);
        let group = groups.entry(Value::from(ports.clone()).to_string()).or_insert_with(|| (ports, BTreeMap::new()));
        group.1.insert(pod.metadata.uid.clone(), endpoint(service, pod, address, &world.nodes));
    }
    let labels = slice_labels(service);
    let existing: Vec<_> =
        world.slices.iter().filter(|s| s.address_type == family && !s.metadata.is_deleting()).collect();
    let mut empty: Vec<&Arc<EndpointSlice>> = Vec::new();
    for slice in existing {
        let wanted = groups.get_mut(&Value::from(slice.ports.clone()).to_string());
        let mut kept = Vec::new();
        if let Some((_, wanted)) = wanted {
            kept.extend(slice.endpoints.iter().filter_map(|e| wanted.remove(uid_of(e))));
            while kept.len() < SLICE_MOST
                && let Some((_, endpoint)) = wanted.pop_first()
            {
                kept.push(endpoint);
            }
        }
        if kept.is_empty() {
            empty.push(slice);
        } else {
            update_slice(slice, &labels, kept, None, plan);
        }
    }
    let mut any = plan_has_slices(world, family, &empty);
    for (ports, wanted) in groups.into_values() {
        let mut wanted: Vec<Value> = wanted.into_values().collect();
        while !wanted.is_empty() {
            let chunk: Vec<Value> = wanted.drain(..wanted.len().min(SLICE_MOST)).collect();
            any = true;
            match empty.pop() {
                Some(slice) => update_slice(slice, &labels, chunk, Some(ports.clone()), plan),
                None => plan.push(create_slice(service, family, &labels, chunk, &ports)),
            }
        }
    }
    // A service without endpoints keeps one empty slice.
    if !any {
        match empty.pop() {
            Some(slice) => update_slice(slice, &labels, Vec::new(), Some(Vec::new()), plan),
            None => plan.push(create_slice(service, family, &labels, Vec::new(), &[])),
        }
    }
    plan.ops.extend(empty.into_iter().map(|slice| delete_slice(slice)));
}

/// Whether a slice that is there stays filled.
fn plan_has_slices(world: &World, family: &str, empty: &[&Arc<EndpointSlice>]) -> bool {
    world.slices.iter().filter(|s| s.address_type == family && !s.metadata.is_deleting()).count() > empty.len()
}

fn update_slice(
    slice: &EndpointSlice,
    labels: &BTreeMap<String, String>,
    endpoints: Vec<Value>,
    ports: Option<Vec<Value>>,
    plan: &mut Plan,
) {
    let mut patch = json!({});
    if endpoints != slice.endpoints {
        patch["endpoints"] = endpoints.into();
    }
    if let Some(ports) = ports.filter(|p| *p != slice.ports) {
        patch["ports"] = ports.into();
    }
    if *labels != slice.metadata.labels {
        let mut changed: BTreeMap<&str, Value> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str().into())).collect();
        for gone in slice.metadata.labels.keys().filter(|k| !labels.contains_key(*k)) {
            changed.insert(gone, Value::Null);
        }
        patch["metadata"]["labels"] = json!(changed);
    }
    if patch.as_object().is_some_and(|p| !p.is_empty()) {
        patch["metadata"]["uid"] = slice.metadata.uid.as_str().into();
        patch["metadata"]["resourceVersion"] = slice.metadata.resource_version.as_str().into();
        let target = Target::new(&resources::ENDPOINTSLICES, &slice.metadata.namespace, &slice.metadata.name);
        plan.push(Op::update(target, patch));
    }
}

fn create_slice(
    service: &Service,
    family: &str,
    labels: &BTreeMap<String, String>,
    endpoints: Vec<Value>,
    ports: &[Value],
) -> Op {
    let owner = pods::controller_ref(&resources::SERVICES, &service.metadata);
    let metadata = json!({
        "generateName": format!("{}-", service.metadata.name), "namespace": service.metadata.namespace, "labels": labels,
        "ownerReferences": [owner],
    });
    let object = json!({"metadata": metadata, "addressType": family, "endpoints": endpoints, "ports": ports});
    Op::create(&resources::ENDPOINTSLICES, &service.metadata.namespace, object)
}

/// What to do for a service's Endpoints.
pub fn endpoints(world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(service) = world.service.as_ref().filter(|s| !s.metadata.is_deleting()) else { return plan };
    if service.spec.selector.is_empty() || service.spec.kind == "ExternalName" {
        return plan;
    }
    let subsets = subsets(world, service);
    let mut labels = service.metadata.labels.clone();
    labels.insert("endpoints.kubernetes.io/managed-by".into(), "endpoint-controller".into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    let (namespace, name) = (&service.metadata.namespace, &service.metadata.name);
    match &world.endpoints {
        None => {
            let object =
                json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}, "subsets": subsets});
            plan.push(Op::create(&resources::ENDPOINTS, namespace, object));
        }
        Some(old) if old.subsets != subsets || old.metadata.labels != labels => {
            let mut changed = json!(labels);
            for gone in old.metadata.labels.keys().filter(|k| !labels.contains_key(*k)) {
                changed[gone.as_str()] = Value::Null;
            }
            let metadata =
                json!({"uid": old.metadata.uid, "resourceVersion": old.metadata.resource_version, "labels": changed});
            plan.push(Op::update(
                Target::new(&resources::ENDPOINTS, namespace, name),
                json!({"metadata": metadata, "subsets": subsets}),
            ));
        }
        Some(_) => {}
    }
    plan
}

/// Addresses grouped by the ports they have in common, ready and not ready apart.
fn subsets(world: &World, service: &Service) -> Vec<Value> {
    let family = service.spec.ip_families.first().map_or("IPv4", String::as_str);
    type Group = (Vec<Value>, BTreeMap<String, Value>, BTreeMap<String, Value>);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for pod in world.pods.iter().filter(|p| in_endpoints(p)) {
        let Some(address) = of_family(pod, family) else { continue };
        if pod.metadata.is_deleting() && !service.spec.publish_not_ready_addresses {
            continue;
        }
        let ports: Vec<Value> = slice_ports(service, pod)
            .into_iter()
            .map(|p| {
                let mut out = json!({});
                if p["name"].as_str().is_some_and(|n| !n.is_empty()) {
                    out["name"] = p["name"].clone();
                }
                out["port"] = p["port"].clone();
                out["protocol"] = p["protocol"].clone();
                if !p["appProtocol"].is_null() {
                    out["appProtocol"] = p["appProtocol"].clone();
                }
                out
            })
            .collect();
        if ports.is_empty() && !(is_headless(service) && service.spec.ports.is_empty()) {
            continue;
        }
        let mut entry = json!({"ip": address});
        if let Some(hostname) = hostname(pod, service) {
            entry["hostname"] = hostname.into();
        }
        if !pod.spec.node_name.is_empty() {
            entry["nodeName"] = pod.spec.node_name.as_str().into();
        }
        entry["targetRef"] = target_ref(pod);
        let group = groups
            .entry(Value::from(ports.clone()).to_string())
            .or_insert_with(|| (ports, BTreeMap::new(), BTreeMap::new()));
        let ready = service.spec.publish_not_ready_addresses || is_ready(pod);
        let side = if ready { &mut group.1 } else { &mut group.2 };
        side.insert(address.to_string(), entry);
    }
    let subset = |(ports, ready, other): Group| {
        let mut out = json!({});
        for (name, side) in [("addresses", ready), ("notReadyAddresses", other)] {
            if !side.is_empty() {
                out[name] = side.into_values().collect();
            }
        }
        if !ports.is_empty() {
            out["ports"] = ports.into();
        }
        out
    };
    groups.into_values().map(subset).collect()
}
