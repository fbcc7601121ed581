//! Whether everything is as it is asked for.

use crate::cluster::Cluster;
use client::{Client, ListRequest, resources};
use serde_json::Value;

/// Whether everything is as it is asked for.
pub async fn judge(client: &Client, cluster: &Cluster) -> Result<(), String> {
    let list = |resource: &client::Resource| {
        let request = ListRequest {
            namespace: resource.namespaced.then(|| "default".to_string()),
            ..ListRequest::all(resource.clone())
        };
        async move { client.list_all::<Value>(request).await.map_err(|e| e.to_string()) }
    };
    let pods = list(&resources::PODS).await?;
    let is_ready = |p: &Value| {
        p["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let over = |p: &Value| {
        p["metadata"]["labels"]["batch.kubernetes.io/job-name"].is_string() && p["status"]["phase"] != "Running"
    };
    let pods: Vec<Value> =
        pods.into_iter().filter(|p| !over(p) || !p["metadata"]["deletionTimestamp"].is_null()).collect();
    let of = |app: &str| pods.iter().filter(|p| p["metadata"]["labels"]["app"] == app).count() as i64;
    if let Some(pod) = pods.iter().find(|p| !p["metadata"]["deletionTimestamp"].is_null() || !is_ready(p)) {
        return Err(format!("pod {} is not ready: {}", pod["metadata"]["name"], pod["status"]));
    }
    list(&resources::JOBS).await?.iter().try_for_each(job)?;
    let deployments = list(&resources::DEPLOYMENTS).await?;
    if deployments.is_empty() {
        return Err("there is no deployment".into());
    }
    for deployment in deployments {
        let (wanted, status) = (deployment["spec"]["replicas"].as_i64().unwrap_or(1), &deployment["status"]);
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let current = status["observedGeneration"] == deployment["metadata"]["generation"];
        if !current
            || ["replicas", "updatedReplicas", "availableReplicas"].iter().any(|f| count(f) != wanted)
            || of("web") != wanted
        {
            return Err(format!("deployment web wants {wanted}, has {} pods, {status}", of("web")));
        }
    }
    for set in list(&resources::STATEFULSETS).await? {
        let (wanted, status) = (set["spec"]["replicas"].as_i64().unwrap_or(1), &set["status"]);
        let same = status["currentRevision"] == status["updateRevision"]
            && status["observedGeneration"] == set["metadata"]["generation"];
        if !same || status["readyReplicas"].as_i64().unwrap_or(0) != wanted || of("db") != wanted {
            return Err(format!("stateful set db wants {wanted}, has {} pods, {status}", of("db")));
        }
    }
    if of("log") != cluster.machines.len() as i64 {
        return Err(format!("daemon set log has {} pods on {} nodes", of("log"), cluster.machines.len()));
    }
    let running: usize = cluster.machines.iter().map(|m| m.uids().len()).sum();
    let lost =
        pods.iter().find(|p| p["metadata"]["labels"]["app"] == "lost" && !p["metadata"]["ownerReferences"].is_null());
    if let Some(pod) = lost {
        return Err(format!("pod {} was not released", pod["metadata"]["name"]));
    }
    if running != pods.len() {
        return Err(format!("{running} pods run, {} exist", pods.len()));
    }
    let slices = list(&resources::ENDPOINTSLICES).await?;
    let mine = slices.iter().filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web");
    let endpoints: usize = mine.flat_map(|s| s["endpoints"].as_array()).map(Vec::len).sum();
    if endpoints as i64 != of("web") {
        return Err(format!("service web has {endpoints} endpoints of {} pods", of("web")));
    }
    Ok(())
}

fn job(job: &Value) -> Result<(), String> {
    let status = &job["status"];
    let done = |c: &Value| c["type"] == "Complete" && c["status"] == "True";
    let complete = status["conditions"].as_array().into_iter().flatten().any(done);
    if complete && status["succeeded"] == 3 {
        return Ok(());
    }
    Err(format!("job {} is not complete: {status}", job["metadata"]["name"]))
}
