//! Nodes: what they are, what they have, what runs there and what it asked for.

use super::{Around, Out, age, or_none, time};
use api::Value;
use api::quantity::Quantity;

/// A node.
pub fn node(out: &mut Out, node: &Value, around: &Around) {
    let (metadata, spec, status) = (node.at("metadata"), node.at("spec"), node.at("status"));
    out.field(0, "Name", metadata.at("name").str());
    let role = |key: &str| key.strip_prefix("node-role.kubernetes.io/").map(str::to_string);
    let mut roles: Vec<String> = metadata.at("labels").members().filter_map(|(k, _)| role(k.as_str())).collect();
    roles.sort();
    out.field(0, "Roles", or_none(&roles.join(",")));
    out.labels(node);
    out.field(0, "CreationTimestamp", &time(metadata.at("creationTimestamp").str()));
    taints(out, spec);
    out.field(0, "Unschedulable", &spec.at("unschedulable").is_true().to_string());
    let conditions = status.at("conditions").items();
    if !conditions.is_empty() {
        out.line(0, "Conditions:");
        out.line(0, "  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
        out.line(0, "  ----\t------\t-----------------\t------------------\t------\t-------");
        for c in conditions {
            let at = |field: &str| c.at(field).str();
            let (beat, change) = (time(at("lastHeartbeatTime")), time(at("lastTransitionTime")));
            out.line(
                0,
                &format!(
                    "  {} \t{} \t{beat} \t{change} \t{} \t{}",
                    at("type"),
                    at("status"),
                    at("reason"),
                    at("message")
                ),
            );
        }
    }
    out.line(0, "Addresses:");
    status.at("addresses").items().iter().for_each(|a| out.field(1, a.at("type").str(), a.at("address").str()));
    for (title, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        let all = status.at(field);
        if all.as_map().is_some_and(|m| !m.is_empty()) {
            out.line(0, &format!("{title}:"));
            let mut entries: Vec<_> = all.members().collect();
            entries.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            entries.into_iter().for_each(|(k, v)| out.field(1, k.as_str(), v.str()));
        }
    }
    system_info(out, status.at("nodeInfo"));
    if !spec.at("podCIDR").str().is_empty() {
        out.field(0, "PodCIDR", spec.at("podCIDR").str());
        let all: Vec<&str> = spec.at("podCIDRs").items().iter().map(Value::str).collect();
        out.field(0, "PodCIDRs", &all.join(","));
    }
    if !spec.at("providerID").str().is_empty() {
        out.field(0, "ProviderID", spec.at("providerID").str());
    }
    let running: Vec<&Value> =
        around.related.iter().filter(|p| !matches!(p.at("status").at("phase").str(), "Succeeded" | "Failed")).collect();
    pods(out, &running, status.at("allocatable"), around.now);
}

fn taints(out: &mut Out, spec: &Value) {
    let taints = spec.at("taints").items();
    if taints.is_empty() {
        return out.field(0, "Taints", "<none>");
    }
    for (i, t) in taints.iter().enumerate() {
        let (key, value, effect) = (t.at("key").str(), t.at("value").str(), t.at("effect").str());
        let value = if value.is_empty() { String::new() } else { format!("={value}") };
        out.line(0, &format!("{}\t{key}{value}:{effect}", if i == 0 { "Taints:" } else { "" }));
    }
}

fn system_info(out: &mut Out, info: &Value) {
    out.line(0, "System Info:");
    for (name, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        out.field(1, name, info.at(field).str());
    }
}

/// What a pod asks for: the containers' sum, or the largest init container if that is more.
fn asks(pod: &Value, field: &str, resource: &str) -> Quantity {
    let zero = Quantity::from_int(0);
    let of = |c: &Value| Quantity::parse(c.at("resources").at(field).at(resource).str()).unwrap_or(zero);
    let sum = pod.at("spec").at("containers").items().iter().fold(zero, |sum, c| sum.plus(of(c)));
    let init = pod.at("spec").at("initContainers").items().iter().map(of);
    init.fold(sum, |most, q| if q.cmp_value(most).is_gt() { q } else { most })
}

fn share(of: Quantity, whole: &str) -> i64 {
    let whole = Quantity::parse(whole).map_or(0, |q| q.nanos());
    if whole == 0 { 0 } else { i64::try_from(of.nanos() * 100 / whole).unwrap_or(0) }
}

fn pods(out: &mut Out, pods: &[&Value], allocatable: &Value, now: i64) {
    out.line(0, &format!("Non-terminated Pods:\t({} in total)", pods.len()));
    out.line(0, "  Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    out.line(0, "  ---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let columns = [("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory")];
    for pod in pods {
        let metadata = pod.at("metadata");
        let cells: Vec<String> = columns
            .iter()
            .map(|(field, resource)| {
                let asked = asks(pod, field, resource);
                format!("{asked} ({}%)", share(asked, allocatable.at(*resource).str()))
            })
            .collect();
        let since = api::time::parse_seconds(metadata.at("creationTimestamp").str())
            .map_or_else(|| "<unknown>".into(), |t| age(now - t));
        out.line(
            0,
            &format!(
                "  {}\t{}\t\t{}\t{since}",
                metadata.at("namespace").str(),
                metadata.at("name").str(),
                cells.join("\t")
            ),
        );
    }
    out.line(0, "Allocated resources:");
    out.line(0, "  (Total limits may be over 100 percent, i.e., overcommitted.)");
    out.line(0, "  Resource\tRequests\tLimits");
    out.line(0, "  --------\t--------\t------");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let cell = |field: &str| {
            let sum = pods.iter().fold(Quantity::from_int(0), |sum, p| sum.plus(asks(p, field, resource)));
            format!("{sum} ({}%)", share(sum, allocatable.at(resource).str()))
        };
        out.line(0, &format!("  {resource}\t{}\t{}", cell("requests"), cell("limits")));
    }
}
