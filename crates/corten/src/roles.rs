//! Roles of our own components, beyond upstream's: the DNS publisher, what a node reads besides upstream's rules, and the
//! API server as a client of kubelets.

use api::{Value, value::object};
use client::{At, Client, Resource};
use serde_json::Value as Json;

const GROUP: &str = "rbac.authorization.k8s.io";
const DNS: &str = "corten:dns";
const NODE: &str = "corten:node";

/// The user that the API server is to kubelets: it may use their API, and nothing else.
pub const KUBELET_CLIENT: &str = "system:corten:kubelet-client";

/// Roles and bindings, as (role, binding).
fn wanted() -> Vec<(Value, Value)> {
    let rule = |groups: &str, resources: &[&str], verbs: &[&str]| {
        let list = |items: &[&str]| Value::List(items.iter().map(|i| Value::from(*i)).collect());
        object([("apiGroups", list(&[groups])), ("resources", list(resources)), ("verbs", list(verbs))])
    };
    let dns = vec![
        rule("", &["nodes"], &["get", "list", "watch"]),
        rule("", &["services"], &["get", "create", "update", "patch"]),
        rule("discovery.k8s.io", &["endpointslices"], &["get", "create", "update", "patch", "delete"]),
    ];
    let user = |name: &str| object([("kind", "User".into()), ("apiGroup", GROUP.into()), ("name", name.into())]);
    // A node's process is also its service proxy and its DNS: it reads what upstream's node role does not show.
    // Its overlay leads to all other nodes, so it must see where they are.
    let node = vec![
        rule("", &["nodes", "services"], &["get", "list", "watch"]),
        rule("discovery.k8s.io", &["endpointslices"], &["get", "list", "watch"]),
    ];
    let nodes = object([("kind", "Group".into()), ("apiGroup", GROUP.into()), ("name", "system:nodes".into())]);
    let kubelet_api = ["nodes/proxy", "nodes/log", "nodes/stats", "nodes/metrics", "nodes/pods", "nodes/healthz"];
    vec![
        pair(DNS, dns, vec![user("system:corten:dns")].into()),
        pair(NODE, node, vec![nodes].into()),
        pair("corten:kubelet-client", vec![rule("", &kubelet_api, &["*"])], vec![user(KUBELET_CLIENT)].into()),
    ]
}

fn pair(name: &str, rules: Vec<Value>, subjects: Value) -> (Value, Value) {
    let meta = || object([("name", name.into())]);
    let role = object([("metadata", meta()), ("rules", rules.into())]);
    let reference = object([("apiGroup", GROUP.into()), ("kind", "ClusterRole".into()), ("name", name.into())]);
    (role, object([("metadata", meta()), ("roleRef", reference), ("subjects", subjects)]))
}

/// Makes the roles that are missing, and brings those that are there up to date.
pub async fn ensure(client: &Client) -> Result<(), String> {
    for (role, binding) in wanted() {
        for (plural, kind, v) in
            [("clusterroles", "ClusterRole", &role), ("clusterrolebindings", "ClusterRoleBinding", &binding)]
        {
            let resource = Resource::new(GROUP, "v1", plural, kind, false);
            let v: Json = serde_json::from_str(&v.to_string()).map_err(|e| e.to_string())?;
            match client.create(&resource, "", v.clone()).await {
                Ok(_) => {}
                // A cluster that an older version made: its role gets what components of this version need.
                Err(e) if e.is_already_exists() && plural == "clusterroles" => {
                    let at =
                        At { resource: &resource, namespace: "", name: v["metadata"]["name"].as_str().unwrap_or("") };
                    let rules = serde_json::json!({"rules": v["rules"]});
                    client
                        .modify(at, None, &rules)
                        .await
                        .map_err(|e| format!("update the role of a component: {e}"))?;
                }
                Err(e) if e.is_already_exists() => {}
                Err(e) => return Err(format!("make the role of a component: {e}")),
            }
        }
    }
    Ok(())
}
