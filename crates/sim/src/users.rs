//! The people of a simulated cluster: who sets it up, who changes and breaks things, who writes numbers and remembers them,
//! and a guest whose permission comes and goes.

use crate::checks::{COPY, Checks};
use crate::net::GUEST;
use client::{
    At, Client, DeleteOptions, Informer, ListRequest, PatchKind, Propagation, Resource, WatchRequest, resources,
};
use futures_util::StreamExt;
use platform::Rng;
use platform::time::{Duration, sleep, timeout};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const SPACE: &str = "default";

fn template(app: &str) -> Value {
    let container = json!({"name": "c", "image": "one", "resources": {"requests": {"cpu": "100m"}}});
    // Evicted soon, so that a node that is cut off for a while loses its pods to others.
    let tolerate = |taint: &str| json!({"key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3});
    let tolerations = [tolerate("not-ready"), tolerate("unreachable")];
    json!({"metadata": {"labels": {"app": app}}, "spec": {
        "containers": [container], "terminationGracePeriodSeconds": 5, "tolerations": tolerations,
    }})
}

/// The deployment, as it is made at first and after it was deleted.
fn web(replicas: u64) -> Value {
    let selector = json!({"matchLabels": {"app": "web"}});
    json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": selector, "template": template("web")}})
}

/// A job of three pods.
fn job(name: &str) -> Value {
    let spec = json!({"containers": [{"name": "c", "image": "job"}], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1});
    json!({"metadata": {"name": name}, "spec": {
        "completions": 3, "parallelism": 2, "backoffLimit": 100, "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
    }})
}

async fn create(admin: &Client, resource: &Resource, object: Value) -> Result<(), String> {
    let mut tries = 0;
    while let Err(error) = admin.create(resource, if resource.namespaced { SPACE } else { "" }, object.clone()).await {
        tries += 1;
        if error.is_already_exists() {
            break;
        }
        if tries > 20 || !error.is_temporary() {
            return Err(format!("{} was not created: {error}", resource.plural));
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Sets everything up.
pub async fn setup(admin: &Client) -> Result<(), String> {
    let selector = |app: &str| json!({"matchLabels": {"app": app}});
    let mut daemon = template("log");
    daemon["spec"]["priorityClassName"] = "system-node-critical".into();
    let set = json!({"metadata": {"name": "db"}, "spec": {
        "replicas": 2, "selector": selector("db"), "template": template("db"), "serviceName": "db",
    }});
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]);
    let made = [
        (resources::DEPLOYMENTS, web(4)),
        (resources::STATEFULSETS, set),
        (
            resources::DAEMONSETS,
            json!({"metadata": {"name": "log"}, "spec": {"selector": selector("log"), "template": daemon}}),
        ),
        (
            resources::SERVICES,
            json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        ),
        (resources::JOBS, job("sum")),
        (resources::ROLES, json!({"metadata": {"name": "reader"}, "rules": rules})),
    ];
    for (resource, object) in made {
        create(admin, &resource, object).await?;
    }
    Ok(())
}

/// What is asked for when nothing is broken any more: more of everything. Answers how many pods each kind of owner needs for it.
pub async fn grow(admin: &Client, rng: &mut Rng) -> Result<Vec<(&'static str, usize)>, String> {
    let more = 1 + rng.below(2);
    for (resource, name) in [(resources::DEPLOYMENTS, "web"), (resources::STATEFULSETS, "db")] {
        let at = At { resource: &resource, namespace: SPACE, name };
        let found: Value = admin.get(at).await.map_err(|e| e.to_string())?;
        let replicas = found["spec"]["replicas"].as_u64().unwrap_or(1) + more;
        let patch = json!({"spec": {"replicas": replicas}});
        admin.patch(at, None, &PatchKind::Merge, &patch).await.map_err(|e| e.to_string())?;
    }
    create(admin, &resources::JOBS, job("calm")).await?;
    Ok(vec![("ReplicaSet", more as usize), ("StatefulSet", more as usize), ("DaemonSet", 0), ("Job", 3)])
}

/// A client that writes numbers and remembers which were acknowledged.
pub async fn bank(client: Client, checks: Arc<Checks>, mut rng: Rng) {
    let mut value = 0;
    loop {
        sleep(Duration::from_millis(50 + rng.below(1500))).await;
        value += 1;
        let name = format!("account-{}", rng.below(4));
        let at = At { resource: &resources::CONFIGMAPS, namespace: "default", name: &name };
        if rng.chance(30) {
            look(&client, &checks, &name).await;
            continue;
        }
        checks.asks(&name, value);
        let patch = json!({"data": {"value": value.to_string()}});
        let mut result = client.patch(at, None, &PatchKind::Merge, &patch).await;
        if result.as_ref().is_err_and(|e| e.is_not_found()) {
            let object = json!({"metadata": {"name": name}, "data": {"value": value.to_string()}});
            result = client.create(&resources::CONFIGMAPS, "default", object).await;
        }
        match result {
            Ok(_) => checks.acknowledged(&name, value),
            Err(error) if error.is_temporary() => {}
            Err(_) => checks.refused(&name, value),
        }
    }
}

/// Reads an account. An answer that did not come says nothing.
async fn look(client: &Client, checks: &Checks, name: &str) {
    let at = At { resource: &resources::CONFIGMAPS, namespace: SPACE, name };
    match client.get::<Value>(at).await {
        Ok(map) => checks.read(name, map["data"]["value"].as_str().and_then(|v| v.parse().ok())),
        Err(error) if error.is_not_found() => checks.read(name, None),
        Err(_) => {}
    }
}

/// Reads all accounts.
pub async fn check_bank(client: &Client, checks: &Checks) {
    for account in 0..4 {
        look(client, checks, &format!("account-{account}")).await;
    }
}

/// One thing that a user does.
pub async fn disturb(admin: &Client, rng: &mut Rng) {
    let deployment = At { resource: &resources::DEPLOYMENTS, namespace: SPACE, name: "web" };
    let set = At { resource: &resources::STATEFULSETS, namespace: SPACE, name: "db" };
    let image = |n: u64| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": format!("v{n}"), "resources": {"requests": {"cpu": "100m"}}}]}}}});
    let merge = async |at: At<'_>, patch: Value| admin.patch(at, None, &PatchKind::Merge, &patch).await;
    let done = match rng.below(9) {
        0 => merge(deployment, json!({"spec": {"replicas": rng.below(7)}})).await,
        1 | 2 => merge(deployment, image(rng.below(4))).await,
        3 => merge(set, json!({"spec": {"replicas": rng.below(4)}})).await,
        4 => merge(set, image(rng.below(3))).await,
        5 => {
            // It goes and leaves its pods; another one takes them over.
            let orphan = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
            admin.delete(deployment, &orphan).await
        }
        6 | 7 => {
            // A pod is taken out of its set by its label, and put back.
            let Some(pod) = some_pod(admin, rng).await else { return };
            let app = match pod.metadata.labels.get("app").map(String::as_str) {
                Some("web") => "lost",
                Some("lost") => "web",
                _ => return,
            };
            let at = At { resource: &resources::PODS, namespace: SPACE, name: &pod.metadata.name };
            merge(at, json!({"metadata": {"labels": {"app": app}}})).await
        }
        _ => {
            let Some(pod) = some_pod(admin, rng).await else { return };
            let at = At { resource: &resources::PODS, namespace: SPACE, name: &pod.metadata.name };
            admin.delete(at, &DeleteOptions::default()).await
        }
    };
    drop(done); // a user whose request failed does something else
}

async fn some_pod(admin: &Client, rng: &mut Rng) -> Option<client::Partial> {
    let request = ListRequest { namespace: Some(SPACE.into()), ..ListRequest::all(resources::PODS) };
    let pods: Vec<client::Partial> = admin.list_all(request).await.ok()?;
    let which = rng.below(pods.len().max(1) as u64) as usize;
    pods.into_iter().nth(which)
}

/// Makes the deployment again if it was deleted.
pub async fn restore(admin: &Client) {
    let at = At { resource: &resources::DEPLOYMENTS, namespace: SPACE, name: "web" };
    if admin.get::<Value>(at).await.is_err_and(|e| e.is_not_found()) {
        drop(admin.create(&resources::DEPLOYMENTS, SPACE, web(3)).await); // it is tried again
    }
}

/// Gives the guest its permission and takes it away, again and again.
pub async fn warden(admin: Client, checks: Arc<Checks>, mut rng: Rng) {
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": GUEST});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"});
    let binding = json!({"metadata": {"name": "guest"}, "subjects": [subject], "roleRef": role});
    let at = At { resource: &resources::ROLEBINDINGS, namespace: SPACE, name: "guest" };
    loop {
        sleep(Duration::from_millis(500 + rng.below(6000))).await;
        checks.forbid(None);
        drop(admin.create(&resources::ROLEBINDINGS, SPACE, binding.clone()).await); // or it is there
        sleep(Duration::from_millis(500 + rng.below(6000))).await;
        let gone = match admin.delete(at, &DeleteOptions::default()).await {
            Ok(_) => true,
            Err(error) => error.is_not_found(),
        };
        let request =
            ListRequest { limit: 1, namespace: Some(SPACE.into()), ..ListRequest::all(resources::ROLEBINDINGS) };
        if let (true, Ok(page)) = (gone, admin.list(request).await) {
            checks.forbid(Some(page.revision));
        }
    }
}

/// Counts up with others: reads, adds one, puts back at the revision that was read.
pub async fn teller(client: Client, checks: Arc<Checks>, mut rng: Rng) {
    let at = At { resource: &resources::CONFIGMAPS, namespace: SPACE, name: "till" };
    loop {
        sleep(Duration::from_millis(rng.below(300))).await;
        let mut till = match client.get::<Value>(at).await {
            Ok(till) => till,
            Err(error) if error.is_not_found() => {
                let empty = json!({"metadata": {"name": "till"}, "data": {"count": "0"}});
                drop(client.create(&resources::CONFIGMAPS, SPACE, empty).await); // another one may have been first
                continue;
            }
            Err(_) => continue,
        };
        let count = till["data"]["count"].as_str().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        till["data"]["count"] = (count + 1).to_string().into();
        match client.update(at, None, &till).await {
            Ok(_) => checks.counted(true),
            // Somebody else was faster, or it came twice and the first time succeeded, or nobody knows.
            Err(_) => checks.counted(false),
        }
    }
}

/// Compares the till with what was put into it.
pub async fn check_till(client: &Client, checks: &Checks) -> Result<(), String> {
    let at = At { resource: &resources::CONFIGMAPS, namespace: SPACE, name: "till" };
    match client.get::<Value>(at).await {
        Ok(till) => checks.till(till["data"]["count"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0)),
        Err(error) if error.is_not_found() => checks.till(0),
        Err(error) => return Err(format!("the till cannot be read: {error}")),
    }
    Ok(())
}

/// Compares a copy that was kept up by list and watch all the time with what there is.
pub async fn check_copy(client: &Client, copy: &Informer<client::Partial>, checks: &Checks) -> Result<(), String> {
    let request = ListRequest { limit: 500, ..ListRequest::all(copy.resource().clone()) };
    let (mut found, mut request) = (BTreeMap::new(), request);
    let revision = loop {
        let page = client.list(request.clone()).await.map_err(|e| format!("the original cannot be read: {e}"))?;
        for item in &page.items {
            let object: client::Partial = client::decode(item).map_err(|e| e.to_string())?;
            found.insert(object.metadata.key(), object.metadata.resource_version);
        }
        match page.continue_token {
            Some(token) => request.continue_token = Some(token),
            None => break page.revision,
        }
    };
    if timeout(Duration::from_secs(120), copy.reached(revision)).await.is_err() {
        return Err(format!("a copy did not reach revision {revision}"));
    }
    let mine: BTreeMap<_, _> =
        copy.all().iter().map(|o| (o.metadata.key(), o.metadata.resource_version.clone())).collect();
    let newer = |version: &str| version.parse::<u64>().is_ok_and(|v| v > revision);
    let differs = mine.iter().find(|(key, version)| !newer(version) && found.get(*key) != Some(*version));
    let lacks = found.keys().find(|key| !mine.contains_key(*key));
    if let Some(what) = differs.map(|(key, version)| format!("{key} at {version}, the original: {:?}", found.get(key)))
    {
        checks.violated(COPY, what);
    } else if let Some(key) = lacks {
        checks.violated(COPY, format!("{key} is not in the copy"));
    }
    Ok(())
}

/// Tells events, which are answered before they are on disk: what a power cut may take away.
pub async fn gossip(client: Client, mut rng: Rng) {
    for n in 0.. {
        sleep(Duration::from_millis(20 + rng.below(400))).await;
        let involved = json!({"kind": "Service", "name": "web", "namespace": SPACE});
        let event = json!({"metadata": {"name": format!("gossip-{n}")}, "involvedObject": involved, "reason": "Heard"});
        drop(client.create(&resources::EVENTS, SPACE, event).await); // nobody relies on it
    }
}

/// Watches what it may.
pub async fn guest(client: Client) {
    let resource = resources::CONFIGMAPS;
    let namespace = Some(SPACE.to_string());
    loop {
        sleep(Duration::from_millis(300)).await;
        let request = ListRequest { namespace: namespace.clone(), ..ListRequest::all(resource.clone()) };
        let Ok(page) = client.list(request).await else { continue };
        let request = WatchRequest {
            resource: resource.clone(),
            namespace: namespace.clone(),
            after: page.revision,
            ..WatchRequest::default()
        };
        if let Ok(mut watch) = client.watch(request).await {
            while let Some(Ok(_)) = watch.next().await {}
        }
    }
}
