//! `corten status`: what the cluster is, whether it runs, and what keeps nodes and pods from being ready.

use crate::cluster::Cluster;
use crate::kubeconfig;
use crate::lifecycle::{Place, command_name};
use crate::paths::Paths;
use crate::process::running;
use platform::Env;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Pods that are told one by one; of more, only the number.
const TOLD: usize = 10;

/// Prints it. Fails if there is no cluster, or if it does not answer.
pub fn run(place: &Place) -> Result<(), String> {
    let data = place.data_dir.canonicalize().unwrap_or_else(|_| place.data_dir.clone());
    let paths = Paths::new(&data);
    let Some(cluster) = Cluster::load(&paths)? else {
        return Err(format!("there is no cluster in {}: `corten up` makes one", data.display()));
    };
    let pid = running(&paths);
    let row = |what: &str, text: String| crate::cli::say!("{what:<11} {text}");
    row("cluster", format!("{} in {}", cluster.id, data.display()));
    let stopped = || format!("not running: start it with `{} up`", command_name());
    row("process", pid.map_or_else(stopped, |p| format!("running, pid {p}, log {}/corten.log", data.display())));
    row("ranges", format!("pods {}, services {}", cluster.pod_range, cluster.service_range));
    row("server", format!("https://127.0.0.1:{}", cluster.port));
    let kubeconfig = kubeconfig::find(&paths, place.kubeconfig.as_deref())?;
    row("kubeconfig", kubeconfig.display().to_string());
    if pid.is_none() {
        return Ok(());
    }
    let (nodes, pods) = crate::cli::block_on(objects(&kubeconfig))
        .map_err(|e| format!("the API server does not answer: {e}; see {}/corten.log", data.display()))?;
    for (what, items) in [("nodes", &nodes), ("pods", &pods)] {
        let waiting: Vec<String> = items.iter().filter_map(waits).collect();
        row(what, format!("{} of {} ready", items.len() - waiting.len(), items.len()));
        waiting.iter().take(TOLD).for_each(|line| crate::cli::say!("            {line}"));
        if waiting.len() > TOLD {
            crate::cli::say!("            and {} more", waiting.len() - TOLD);
        }
    }
    Ok(())
}

/// All nodes, and all pods that have not ended well.
async fn objects(kubeconfig: &Path) -> Result<(Vec<Value>, Vec<Value>), String> {
    let env = Env::system("status");
    let config = client::Config::load(kubeconfig, None).map_err(|e| e.to_string())?;
    let https = client::Https::new(&env, config).map_err(|e| e.to_string())?;
    let client = client::Client::new(Arc::new(https), "corten-status");
    let mut found = Vec::new();
    for resource in [&client::resources::NODES, &client::resources::PODS] {
        let request = client::ListRequest::all(resource.clone());
        let page = client.transport().list(request).await.map_err(|e| e.to_string())?;
        found.push(page.items.iter().filter_map(|i| serde_json::from_slice(i).ok()).collect::<Vec<Value>>());
    }
    let pods = found.pop().unwrap_or_default();
    let nodes = found.pop().unwrap_or_default();
    Ok((nodes, pods.into_iter().filter(|p| p["status"]["phase"] != "Succeeded").collect()))
}

/// Why a node or pod is not ready; nothing if it is.
fn waits(object: &Value) -> Option<String> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
        return None;
    }
    let containers = ["initContainerStatuses", "containerStatuses"].into_iter().filter_map(|l| status[l].as_array());
    let state = containers.flatten().map(|c| &c["state"]["waiting"]).find(|w| w.is_object());
    // The deepest cause first: a container that waits, a pod that finds no node, then whatever is not true.
    let unscheduled = || conditions.iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    let cause = state.or_else(unscheduled).or_else(|| conditions.iter().find(|c| c["type"] == "Ready"));
    let text = |key: &str| cause.and_then(|c| c[key].as_str()).unwrap_or_default();
    let meta = &object["metadata"];
    let namespace = meta["namespace"].as_str().map(|n| format!("{n}/")).unwrap_or_default();
    let name = meta["name"].as_str().unwrap_or_default();
    let reason = match text("reason") {
        "" => status["phase"].as_str().unwrap_or("no status yet"),
        reason => reason,
    };
    let message = text("message");
    Some(format!("{namespace}{name}: {reason}{}{message}", if message.is_empty() { "" } else { ": " }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_deepest_cause_is_told() {
        let pod = |status: Value| json!({"metadata": {"namespace": "a", "name": "p"}, "status": status});
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let pulling = json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
        });
        let unscheduled = json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
        });
        for (status, want) in [
            (ready, None),
            (pulling, Some("a/p: ImagePullBackOff: no such image")),
            (unscheduled, Some("a/p: Unschedulable: 0/1 nodes")),
            (json!({"phase": "Pending"}), Some("a/p: Pending")),
            (json!({}), Some("a/p: no status yet")),
        ] {
            assert_eq!(waits(&pod(status)).as_deref(), want);
        }
        let node = json!({"metadata": {"name": "n"}, "status": {"conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "silent"}]}});
        assert_eq!(waits(&node).as_deref(), Some("n: NodeStatusUnknown: silent"));
    }
}
