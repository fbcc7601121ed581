//! Services and workloads.

use super::pod::write_template;
use super::{Around, Out, joined, or_none, selector, time};
use crate::core::jsonpath::text_of;
use api::Value;

fn head(out: &mut Out, object: &Value) {
    let metadata = object.at("metadata");
    out.field(0, "Name", metadata.at("name").str());
    out.field(0, "Namespace", metadata.at("namespace").str());
}

/// A service, with the endpoints of its slices.
pub fn service(out: &mut Out, service: &Value, around: &Around) {
    let spec = service.at("spec");
    head(out, service);
    out.labels(service);
    out.field(0, "Selector", &selector(spec.at("selector")));
    out.field(0, "Type", spec.at("type").str());
    for (name, value) in [
        ("IP Family Policy", spec.at("ipFamilyPolicy").str().to_string()),
        ("IP Families", joined(spec.at("ipFamilies"), ",")),
    ] {
        if !value.is_empty() {
            out.field(0, name, &value);
        }
    }
    out.field(0, "IP", or_none(spec.at("clusterIP").str()));
    let all = joined(spec.at("clusterIPs"), ",");
    out.field(0, "IPs", or_none(&all));
    for (name, value) in [
        ("External IPs", joined(spec.at("externalIPs"), ",")),
        ("External Name", spec.at("externalName").str().to_string()),
    ] {
        if !value.is_empty() {
            out.field(0, name, &value);
        }
    }
    let ingress: Vec<&str> =
        service.at("status").at("loadBalancer").at("ingress").items().iter().map(|i| i.at("ip").str()).collect();
    if !ingress.is_empty() {
        out.field(0, "LoadBalancer Ingress", &ingress.join(", "));
    }
    for port in spec.at("ports").items() {
        let name = if port.at("name").str().is_empty() { "<unset>" } else { port.at("name").str() };
        let protocol = port.at("protocol").str();
        out.line(0, &format!("Port:\t{name}\t{}/{protocol}", port.at("port").int()));
        out.field(0, "TargetPort", &format!("{}/{protocol}", text_of(port.at("targetPort"))));
        if port.at("nodePort").int() > 0 {
            out.line(0, &format!("NodePort:\t{name}\t{}/{protocol}", port.at("nodePort").int()));
        }
        out.field(0, "Endpoints", &endpoints(port.at("name").str(), around));
    }
    out.field(0, "Session Affinity", spec.at("sessionAffinity").str());
    for (name, field) in
        [("External Traffic Policy", "externalTrafficPolicy"), ("Internal Traffic Policy", "internalTrafficPolicy")]
    {
        if !spec.at(field).str().is_empty() {
            out.field(0, name, spec.at(field).str());
        }
    }
}

/// The ready endpoints of a port: at most three, then how many more.
fn endpoints(port: &str, around: &Around) -> String {
    if around.related.is_empty() {
        return "<none>".to_string();
    }
    let mut all = Vec::new();
    for slice in &around.related {
        let found = slice.at("ports").items().iter().find(|p| p.at("name").str() == port);
        let Some(number) = found.map(|p| p.at("port").int()) else { continue };
        for endpoint in slice.at("endpoints").items() {
            if endpoint.at("conditions").at("ready").as_bool().unwrap_or(true) {
                all.extend(endpoint.at("addresses").items().iter().map(|a| format!("{}:{number}", a.str())));
            }
        }
    }
    match all.len() {
        0 => String::new(),
        n if n > 3 => format!("{} + {} more...", all[..3].join(","), n - 3),
        _ => all.join(","),
    }
}

/// A deployment, with its ReplicaSets.
pub fn deployment(out: &mut Out, object: &Value, around: &Around) {
    let (spec, status) = (object.at("spec"), object.at("status"));
    head(out, object);
    out.field(0, "CreationTimestamp", &time(object.at("metadata").at("creationTimestamp").str()));
    out.labels(object);
    out.field(0, "Selector", &selector(spec.at("selector")));
    let count = |field: &str| status.at(field).int();
    let replicas = format!(
        "{} desired | {} updated | {} total | {} available | {} unavailable",
        spec.at("replicas").int(),
        count("updatedReplicas"),
        count("replicas"),
        count("availableReplicas"),
        count("unavailableReplicas")
    );
    out.field(0, "Replicas", &replicas);
    out.field(0, "StrategyType", spec.at("strategy").at("type").str());
    out.field(0, "MinReadySeconds", &spec.at("minReadySeconds").int().to_string());
    let rolling = spec.at("strategy").at("rollingUpdate");
    if !rolling.is_null() {
        let text = format!(
            "{} max unavailable, {} max surge",
            text_of(rolling.at("maxUnavailable")),
            text_of(rolling.at("maxSurge"))
        );
        out.field(0, "RollingUpdateStrategy", &text);
    }
    write_template(out, spec.at("template"));
    let conditions = status.at("conditions").items();
    if !conditions.is_empty() {
        out.line(0, "Conditions:");
        out.line(0, "  Type\tStatus\tReason");
        out.line(0, "  ----\t------\t------");
        conditions.iter().for_each(|c| {
            out.line(0, &format!("  {} \t{}\t{}", c.at("type").str(), c.at("status").str(), c.at("reason").str()))
        });
    }
    if around.related.is_empty() {
        return;
    }
    let revision = |o: &Value| o.at("metadata").at("annotations").at(crate::core::rollout::REVISION).str().to_string();
    let of = |new: bool| {
        let sets = around.related.iter().filter(|s| (revision(s) == revision(object)) == new);
        let shown = |s: &Value| {
            format!(
                "{} ({}/{} replicas created)",
                s.at("metadata").at("name").str(),
                s.at("status").at("replicas").int(),
                s.at("spec").at("replicas").int()
            )
        };
        let text: Vec<String> = sets.map(shown).collect();
        or_none(&text.join(", ")).to_string()
    };
    out.field(0, "OldReplicaSets", &of(false));
    out.field(0, "NewReplicaSet", &of(true));
}

/// How many pods are in which phase.
fn pods_status(pods: &[Value]) -> String {
    let count = |phase: &str| pods.iter().filter(|p| p.at("status").at("phase").str() == phase).count();
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}

/// Any other workload: head, counts, template.
pub fn workload(out: &mut Out, object: &Value, around: &Around) {
    let (spec, status, kind) = (object.at("spec"), object.at("status"), object.at("kind").str());
    head(out, object);
    if kind == "StatefulSet" {
        out.field(0, "CreationTimestamp", &time(object.at("metadata").at("creationTimestamp").str()));
    }
    out.field(0, "Selector", &selector(spec.at("selector")));
    out.labels(object);
    for owner in object.at("metadata").at("ownerReferences").items().iter().filter(|o| o.at("controller").is_true()) {
        out.field(0, "Controlled By", &format!("{}/{}", owner.at("kind").str(), owner.at("name").str()));
    }
    let count = |field: &str| status.at(field).int();
    match kind {
        "DaemonSet" => {
            for (name, field) in [
                ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
                ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
                ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
                ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
                ("Number of Nodes Misscheduled", "numberMisscheduled"),
            ] {
                out.field(0, name, &count(field).to_string());
            }
        }
        "Job" => {
            out.field(0, "Parallelism", &spec.at("parallelism").int().to_string());
            out.field(0, "Completions", &spec.at("completions").as_int().map_or("<unset>".into(), |n| n.to_string()));
            out.field(0, "Completion Mode", spec.at("completionMode").str());
            for (name, field) in [("Start Time", "startTime"), ("Completed At", "completionTime")] {
                if !status.at(field).str().is_empty() {
                    out.field(0, name, &time(status.at(field).str()));
                }
            }
            let text = format!(
                "{} Active ({} Ready) / {} Succeeded / {} Failed",
                count("active"),
                count("ready"),
                count("succeeded"),
                count("failed")
            );
            out.field(0, "Pods Statuses", &text);
        }
        "StatefulSet" => {
            out.field(0, "Replicas", &format!("{} desired | {} total", spec.at("replicas").int(), count("replicas")));
            out.field(0, "Update Strategy", spec.at("updateStrategy").at("type").str());
        }
        _ => {
            out.field(0, "Replicas", &format!("{} current / {} desired", count("replicas"), spec.at("replicas").int()))
        }
    }
    if kind != "Job" {
        out.field(0, "Pods Status", &pods_status(&around.related));
    }
    write_template(out, spec.at("template"));
}
