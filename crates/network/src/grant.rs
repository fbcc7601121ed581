//! The right that nodes need for services and DNS, and that upstream's node role lacks: to read EndpointSlices.
//!
//! Upstream gives it to kube-proxy's own identity. Here a node's process does both jobs with the node's identity, so the
//! group of all nodes is bound to upstream's role for proxies, which allows reading nodes, services and EndpointSlices.

use client::Client;
use platform::Env;
use platform::time::{Duration, sleep};
use serde_json::json;

const NAME: &str = "corten:node-proxier";
const RETRY: Duration = Duration::from_secs(1);

/// Makes the binding if it is not there; tries until it is.
pub async fn grant(env: Env, client: Client) {
    let group = "rbac.authorization.k8s.io";
    let resource = client::Resource::new(group, "v1", "clusterrolebindings", "ClusterRoleBinding", false);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:node-proxier"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}],
    });
    loop {
        match client.create(&resource, "", binding.clone()).await {
            Ok(_) => return,
            Err(error) if error.is_already_exists() => return,
            Err(error) => tracing::warn!(process = env.name(), "nodes cannot be allowed to read services yet: {error}"),
        }
        sleep(RETRY).await;
    }
}
