//! The controllers together, over the API in memory.
use super::*;
use client::At;
use client::fake::FakeApi;
use platform::WallTime;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_pods_and_endpoints() {
    let env = Env::simulated("test", 1, WallTime::from_unix(10_000, 0));
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    let made = client.clone();
    let clients: Clients = Arc::new(move |name| made.with_agent(name));
    let handle = run(&env, clients, Options { root_ca: "PEM".into(), ..Options::default() }).expect("run");
    client.create(&resources::NAMESPACES, "", json!({"metadata": {"name": "default"}})).await.expect("namespace");
    client.create(&resources::NODES, "", json!({"metadata": {"name": "n"}})).await.expect("node");
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template, "strategy": {"type": "RollingUpdate"}});
    client
        .create(&resources::DEPLOYMENTS, "default", json!({"metadata": {"name": "d"}, "spec": spec}))
        .await
        .expect("deployment");
    let service = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "a"}, "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
    client.create(&resources::SERVICES, "default", service).await.expect("service");

    let pods: Informer<Pod> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    pods.until(|p| p.len() == 3).await;
    for (i, pod) in pods.all().iter().enumerate() {
        let at = At { resource: &resources::PODS, namespace: "default", name: &pod.metadata.name };
        let status = json!({"status": {"phase": "Running", "podIP": format!("10.0.0.{i}"), "conditions": [{"type": "Ready", "status": "True"}]}});
        client.patch(at, Some("status"), &client::PatchKind::Merge, &status).await.expect("status");
    }
    let deployments: Informer<Deployment> = Informer::start(&env, &client, Selection::all(&resources::DEPLOYMENTS));
    deployments
        .until(|d| {
            d.get("default", "d").is_some_and(|d| d.status.available_replicas == 3 && d.status.updated_replicas == 3)
        })
        .await;
    let slices: Informer<EndpointSlice> = Informer::start(&env, &client, Selection::all(&resources::ENDPOINTSLICES));
    slices.until(|s| s.all().iter().map(|s| s.endpoints.len()).sum::<usize>() == 3).await;
    let nodes: Informer<Node> = Informer::start(&env, &client, Selection::all(&resources::NODES));
    nodes.until(|n| n.get("", "n").is_some_and(|n| n.spec.pod_cidr == "10.244.0.0/24")).await;
    let maps: Informer<ConfigMap> = Informer::start(&env, &client, Selection::all(&resources::CONFIGMAPS));
    maps.until(|m| m.get("default", "kube-root-ca.crt").is_some()).await;
    assert_eq!(pods.len(), 3);
    while !handle.is_idle() {
        time::sleep(time::Duration::from_millis(10)).await;
    }
    // Nothing is written any more when nothing changes.
    api.writes();
    time::sleep(time::Duration::from_secs(20)).await;
    assert_eq!(api.writes(), Vec::<String>::new());
}

/// Stands for scheduler and kubelets: places pods, runs them (those of jobs to their end), ends them.
async fn kubelets(client: Client, pods: Informer<Pod>) {
    let mut seen = 0;
    loop {
        for pod in pods.all() {
            let at = At { resource: &resources::PODS, namespace: &pod.metadata.namespace, name: &pod.metadata.name };
            let of_job = pod.metadata.controller().is_some_and(|o| o.kind == "Job");
            let phase = if of_job { "Succeeded" } else { "Running" };
            let now = if pod.metadata.is_deleting() {
                client.delete(at, &client::DeleteOptions { grace_seconds: Some(0), ..Default::default() }).await
            } else if pod.spec.node_name.is_empty() {
                let node = pod.spec.affinity.as_ref().and_then(|a| {
                    a.pointer("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0").cloned()
                });
                client.post(at, "binding", &json!({"target": {"name": node.unwrap_or("n0".into())}})).await
            } else if pod.status.phase != phase {
                let conditions = json!([{"type": "Ready", "status": if of_job { "False" } else { "True" }}]);
                client
                    .patch(
                        at,
                        Some("status"),
                        &client::PatchKind::Merge,
                        &json!({"status": {"phase": phase, "conditions": conditions}}),
                    )
                    .await
            } else {
                continue;
            };
            drop(now); // what failed is done again with what the cache shows then
        }
        pods.reached(seen + 1).await;
        seen = pods.revision();
    }
}

struct Setup {
    env: Env,
    api: FakeApi,
    client: Client,
    pods: Informer<Pod>,
}

async fn setup() -> Setup {
    let env = Env::simulated("test", 1, WallTime::from_unix(10_000, 0));
    let api = FakeApi::default();
    let client = Client::new(Arc::new(api.clone()), "test");
    let made = client.clone();
    run(&env, Arc::new(move |name| made.with_agent(name)), Options::default()).expect("run");
    for i in 0..3 {
        let node = json!({"metadata": {"name": format!("n{i}")}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        client.create(&resources::NODES, "", node).await.expect("node");
    }
    let pods: Informer<Pod> = Informer::start(&env, &client, Selection::all(&resources::PODS));
    drop(env.spawn("kubelets", kubelets(client.clone(), pods.clone())));
    Setup { env, api, client, pods }
}

fn template(image: &str) -> serde_json::Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

#[tokio::test(start_paused = true)]
async fn daemons_run_everywhere_and_are_replaced() {
    let s = setup().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}});
    let spec =
        json!({"selector": {"matchLabels": {"app": "a"}}, "template": template("one"), "updateStrategy": strategy});
    s.client
        .create(&resources::DAEMONSETS, "default", json!({"metadata": {"name": "d"}, "spec": spec}))
        .await
        .expect("create");
    let sets: Informer<DaemonSet> = Informer::start(&s.env, &s.client, Selection::all(&resources::DAEMONSETS));
    let ready = |n: i64, generation: i64| {
        move |i: &Informer<DaemonSet>| {
            i.get("default", "d").is_some_and(|d| {
                let status = &d.status;
                status.number_available == n
                    && status.updated_number_scheduled == n
                    && status.observed_generation == generation
            })
        }
    };
    sets.until(ready(3, 1)).await;
    let at = At { resource: &resources::DAEMONSETS, namespace: "default", name: "d" };
    s.client
        .patch(at, None, &client::PatchKind::Merge, &json!({"spec": {"template": template("two")}}))
        .await
        .expect("patch");
    sets.until(ready(3, 2)).await;
    assert_eq!(s.pods.len(), 3);
    assert_eq!(s.api.objects(&resources::CONTROLLERREVISIONS).len(), 2);
    let at = At { resource: &resources::NODES, namespace: "", name: "n1" };
    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
    s.client.patch(at, None, &client::PatchKind::Merge, &taints).await.expect("taint");
    sets.until(ready(2, 2)).await;
    s.pods.until(|p| p.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn stateful_pods_come_and_go_in_order() {
    let s = setup().await;
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let spec = json!({
        "replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template("one"), "serviceName": "s", "volumeClaimTemplates": claims,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "podManagementPolicy": "OrderedReady",
    });
    s.client
        .create(&resources::STATEFULSETS, "default", json!({"metadata": {"name": "w"}, "spec": spec}))
        .await
        .expect("create");
    let sets: Informer<StatefulSet> = Informer::start(&s.env, &s.client, Selection::all(&resources::STATEFULSETS));
    let settled = |n: i64, generation: i64| {
        move |i: &Informer<StatefulSet>| {
            i.get("default", "w").is_some_and(|w| {
                let status = &w.status;
                status.available_replicas == n
                    && status.replicas == n
                    && status.observed_generation == generation
                    && status.current_revision == status.update_revision
                    && status.updated_replicas == n
            })
        }
    };
    sets.until(settled(3, 1)).await;
    let made: Vec<String> =
        s.api.writes().into_iter().filter(|w| w == "POST /api/v1/namespaces/default/pods").collect();
    assert_eq!(made.len(), 3);
    assert_eq!(s.pods.all().iter().map(|p| p.metadata.name.clone()).collect::<Vec<_>>(), ["w-0", "w-1", "w-2"]);
    assert_eq!(s.api.objects(&resources::PERSISTENTVOLUMECLAIMS).len(), 3);
    let at = At { resource: &resources::STATEFULSETS, namespace: "default", name: "w" };
    s.client
        .patch(at, None, &client::PatchKind::Merge, &json!({"spec": {"template": template("two")}}))
        .await
        .expect("patch");
    sets.until(settled(3, 2)).await;
    let deleted = s.api.writes().into_iter().filter(|w| w.starts_with("DELETE /api/v1/namespaces/default/pods/"));
    let mut order: Vec<String> = deleted.map(|w| w.rsplit('/').next().unwrap_or_default().to_string()).collect();
    order.dedup();
    assert_eq!(order, ["w-2", "w-1", "w-0"]);
    s.client.patch(at, None, &client::PatchKind::Merge, &json!({"spec": {"replicas": 1}})).await.expect("patch");
    sets.until(settled(1, 3)).await;
    assert_eq!(s.api.objects(&resources::PERSISTENTVOLUMECLAIMS).len(), 3, "claims stay");
}

#[tokio::test(start_paused = true)]
async fn jobs_count_every_pod_once() {
    let s = setup().await;
    for mode in ["NonIndexed", "Indexed"] {
        let name = mode.to_lowercase();
        let spec = json!({
            "completions": 5, "parallelism": 2, "backoffLimit": 3, "completionMode": mode, "template": template("one"),
            "selector": {"matchLabels": {"app": "a"}}, "ttlSecondsAfterFinished": 100,
        });
        s.client
            .create(&resources::JOBS, "default", json!({"metadata": {"name": name}, "spec": spec}))
            .await
            .expect("create");
    }
    let jobs: Informer<Job> = Informer::start(&s.env, &s.client, Selection::all(&resources::JOBS));
    let done = |i: &Informer<Job>, name: &str| {
        i.get("default", name).is_some_and(|j| {
            condition(&j.status.conditions, "Complete").is_some()
                && j.status.succeeded == 5
                && j.status.active == 0
                && j.status.failed == 0
        })
    };
    jobs.until(move |i| done(i, "nonindexed") && done(i, "indexed")).await;
    assert_eq!(jobs.get("default", "indexed").expect("job").status.completed_indexes, "0-4");
    let pods: Vec<_> = s.pods.all();
    assert!(pods.len() == 10 && pods.iter().all(|p| p.metadata.finalizers.is_empty()), "{}", pods.len());
    jobs.until(|i| i.is_empty()).await; // their time to live is over
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_makes_jobs_by_the_clock() {
    let s = setup().await;
    let job = json!({"spec": {"template": template("one"), "selector": {"matchLabels": {"app": "a"}}, "completions": 1, "parallelism": 1}});
    let spec = json!({"schedule": "*/2 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": job, "successfulJobsHistoryLimit": 1});
    let metadata = json!({"name": "c", "creationTimestamp": "1970-01-01T02:46:40Z"});
    s.client
        .create(&resources::CRONJOBS, "default", json!({"metadata": metadata, "spec": spec}))
        .await
        .expect("create");
    let jobs: Informer<Job> = Informer::start(&s.env, &s.client, Selection::all(&resources::JOBS));
    let crons: Informer<CronJob> = Informer::start(&s.env, &s.client, Selection::all(&resources::CRONJOBS));
    let done =
        |name: &'static str| move |i: &Informer<Job>| i.get("default", name).is_some_and(|j| j.status.succeeded == 1);
    // 10,000 seconds are 166 minutes and 40 seconds: the first job is for minute 168.
    jobs.until(done("c-168")).await;
    assert_eq!(s.env.wall().unix_seconds() / 60, 168);
    jobs.until(done("c-170")).await;
    jobs.until(|i| i.get("default", "c-168").is_none()).await;
    let last = |i: &Informer<CronJob>| {
        let status = i.get("default", "c").map(|c| c.status.clone()).unwrap_or_default();
        status.active.is_empty() && status.last_schedule_time.as_deref() == Some("1970-01-01T02:50:00Z")
    };
    crons.until(last).await;
    assert!(s.api.writes().iter().any(|w| w.contains("cronjobs/c/status")), "by the status subresource");
}
