//! Lifecycle hooks: exec, httpGet, tcpSocket, sleep.

use platform::time::{Duration, sleep};
use serde_json::Value;
use wire::cri::ExecSyncRequest;

use crate::core::pod::{Container, Handler, HttpGet, Pod};
use crate::net::{self, Get};
use crate::shared::Shared;

/// A port by number or by the name that the container gives it.
pub fn port(container: &Container, wanted: &Value) -> Result<u16, String> {
    let number = match wanted {
        Value::Number(n) => n.as_i64(),
        Value::String(name) => match name.parse() {
            Ok(n) => Some(n),
            Err(_) => container.ports.iter().find(|p| p.name == *name).map(|p| i64::from(p.container_port)),
        },
        _ => None,
    };
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("invalid port number: {wanted}"))
}

/// The pod's address, as the node reaches it.
pub fn pod_host(shared: &Shared, pod: &Pod, ips: &[String]) -> String {
    match pod.spec.host_network {
        true => shared.config.node_ips.first().cloned().unwrap_or_else(|| "127.0.0.1".into()),
        false => ips.first().cloned().unwrap_or_default(),
    }
}

/// A GET as a probe or hook describes it.
pub fn request(container: &Container, g: &HttpGet, host: &str, agent: &str) -> Result<Get, String> {
    Ok(Get {
        https: g.scheme.eq_ignore_ascii_case("HTTPS"),
        host: if g.host.is_empty() { host.to_string() } else { g.host.clone() },
        port: port(container, &g.port)?,
        path: g.path.clone(),
        headers: g.http_headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect(),
        agent: agent.to_string(),
    })
}

/// Runs a hook to its end.
pub async fn run(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    id: &str,
    hook: &Handler,
    ips: &[String],
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let request = ExecSyncRequest { container_id: id.into(), cmd: exec.command.clone(), timeout: 0 };
        let answer = shared.cri.exec_sync(request).await.map_err(|e| e.message().to_string())?;
        let said = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).trim().to_string();
        return match answer.exit_code {
            0 => Ok(()),
            code => Err(format!("command '{}' exited with {code}: {said}", exec.command.join(" "))),
        };
    }
    if let Some(g) = &hook.http_get {
        let get = request(container, g, &pod_host(shared, pod, ips), "kube-lifecycle/1.36")?;
        return match net::get(&get).await? {
            (status, _) if (200..400).contains(&status) => Ok(()),
            (status, body) => Err(format!("HTTP hook failed with status {status}: {body}")),
        };
    }
    if let Some(nap) = &hook.sleep {
        sleep(Duration::from_secs(nap.seconds.unsigned_abs())).await;
        return Ok(());
    }
    match &hook.tcp_socket {
        Some(t) => {
            let host = if t.host.is_empty() { pod_host(shared, pod, ips) } else { t.host.clone() };
            net::connect(&host, port(container, &t.port)?).await.map(drop)
        }
        None => Err("invalid handler: cannot run handler".into()),
    }
}
