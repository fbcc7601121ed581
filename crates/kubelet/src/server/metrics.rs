//! Numbers: `/metrics`, `/metrics/resource` and `/stats/summary`.

use std::fmt::Write;

use http::{Response, StatusCode};
use serde_json::{Value, json as value};
use wire::cri::*;

use super::{Body, json, text};
use crate::convert::{LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID};
use crate::core::machine::Run;
use crate::core::status::time;
use crate::shared::Shared;

/// Metrics in Prometheus' text format.
pub async fn metrics(shared: &Shared, which: &str) -> Response<Body> {
    match which {
        "" => own(shared),
        "resource" => resource(shared).await,
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn own(shared: &Shared) -> Response<Body> {
    let (mut running, mut pods) = (0, 0);
    let seen: Vec<_> = shared.workers().values().map(|w| w.seen.clone()).collect();
    for seen in seen {
        let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running += seen.containers.iter().filter(|c| c.state == Run::Running).count();
        pods += usize::from(seen.sandboxes.iter().any(|s| s.ready));
    }
    let mut out = String::new();
    let _ = writeln!(out, "# TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}");
    let _ = writeln!(
        out,
        "# TYPE kubelet_running_containers gauge\nkubelet_running_containers{{container_state=\"running\"}} {running}"
    );
    let _ = writeln!(out, "# TYPE kubelet_node_name gauge\nkubelet_node_name{{node={:?}}} 1", shared.config.node_name);
    text(StatusCode::OK, out)
}

async fn stats(shared: &Shared) -> Vec<PodSandboxStats> {
    shared.cri.list_pod_sandbox_stats(ListPodSandboxStatsRequest::default()).await.map(|a| a.stats).unwrap_or_default()
}

fn number(v: &Option<UInt64Value>) -> u64 {
    v.as_ref().map_or(0, |v| v.value)
}

async fn resource(shared: &Shared) -> Response<Body> {
    let (mut cpu, mut memory) = (String::new(), String::new());
    for pod in stats(shared).await {
        let linux = pod.linux.unwrap_or_default();
        for c in linux.containers {
            let labels = c.attributes.unwrap_or_default().labels;
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let names = format!(
                "container={:?},namespace={:?},pod={:?}",
                label(LABEL_CONTAINER),
                label(LABEL_NAMESPACE),
                label(LABEL_NAME)
            );
            let used = c.cpu.map_or(0, |u| number(&u.usage_core_nano_seconds));
            let _ = writeln!(cpu, "container_cpu_usage_seconds_total{{{names}}} {}", used as f64 / 1e9);
            let _ = writeln!(
                memory,
                "container_memory_working_set_bytes{{{names}}} {}",
                c.memory.map_or(0, |m| number(&m.working_set_bytes))
            );
        }
    }
    let out = format!(
        "# TYPE container_cpu_usage_seconds_total counter\n{cpu}# TYPE container_memory_working_set_bytes gauge\n{memory}"
    );
    text(StatusCode::OK, out)
}

fn cpu_and_memory(now: &Value, cpu: &Option<CpuUsage>, memory: &Option<MemoryUsage>) -> Value {
    let mut out = value!({});
    if let Some(c) = cpu {
        out["cpu"] = value!({"time": now, "usageCoreNanoSeconds": number(&c.usage_core_nano_seconds)});
    }
    if let Some(m) = memory {
        out["memory"] = value!({"time": now, "usageBytes": number(&m.usage_bytes), "workingSetBytes": number(&m.working_set_bytes),
            "rssBytes": number(&m.rss_bytes), "pageFaults": number(&m.page_faults), "majorPageFaults": number(&m.major_page_faults)});
    }
    out
}

/// The summary API.
pub async fn summary(shared: &Shared) -> Response<Body> {
    let now = time(shared.env.wall());
    let mut pods = Vec::new();
    for pod in stats(shared).await {
        let (attributes, linux) = (pod.attributes.unwrap_or_default(), pod.linux.unwrap_or_default());
        let label = |name: &str| attributes.labels.get(name).cloned().unwrap_or_default();
        let containers: Vec<Value> = linux
            .containers
            .iter()
            .map(|c| {
                let mut out = cpu_and_memory(&now, &c.cpu, &c.memory);
                out["name"] = c.attributes.as_ref().and_then(|a| a.labels.get(LABEL_CONTAINER).cloned()).into();
                out["startTime"] = now.clone();
                if let Some(layer) = &c.writable_layer {
                    out["rootfs"] = value!({"time": now, "usedBytes": number(&layer.used_bytes), "inodesUsed": number(&layer.inodes_used)});
                }
                out
            })
            .collect();
        let mut out = cpu_and_memory(&now, &linux.cpu, &linux.memory);
        out["podRef"] =
            value!({"name": label(LABEL_NAME), "namespace": label(LABEL_NAMESPACE), "uid": label(LABEL_UID)});
        out["startTime"] = now.clone();
        out["containers"] = containers.into();
        if let Some(i) = linux.network.and_then(|n| n.default_interface) {
            out["network"] =
                value!({"time": now, "name": i.name, "rxBytes": number(&i.rx_bytes), "txBytes": number(&i.tx_bytes)});
        }
        pods.push(out);
    }
    let disk = crate::gc::disk(&shared.config.root_dir).map(|(total, free)| value!({"time": now, "capacityBytes": total, "availableBytes": free, "usedBytes": total - free}));
    json(&value!({"node": {"nodeName": shared.config.node_name, "startTime": now, "fs": disk}, "pods": pods}))
}
