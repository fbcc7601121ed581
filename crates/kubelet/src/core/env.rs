//! Environment variables: `$(VAR)` expansion, service variables, fields and resources of the pod.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pod::{Container, Pod, ResourceFieldRef, quantity_milli, quantity_value};

/// Replaces `$(NAME)` where `lookup` knows it; `$$` is a dollar sign; anything else stays.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// What the fields of a running pod are.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    pub node_name: String,
    /// cpu (thousandths), memory and ephemeral storage of the node: what a missing limit means.
    pub allocatable: BTreeMap<String, i64>,
}

/// `fieldRef`: a field of the pod as text. Maps are written as `key="value"` lines.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, String> {
    let meta = &pod.metadata;
    let lines =
        |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n");
    if let Some((name, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match name {
            "metadata.annotations" => &meta.annotations,
            "metadata.labels" => &meta.labels,
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `resourceFieldRef`: a request or limit in units of the divisor, rounded up.
pub fn resource(pod: &Pod, own: Option<&Container>, r: &ResourceFieldRef, facts: &Facts) -> Result<String, String> {
    let container = match r.container_name.as_str() {
        "" => own,
        name => pod.container(name),
    };
    let container = container.ok_or_else(|| format!("container {:?} not found", r.container_name))?;
    let (kind, name) =
        r.resource.split_once('.').ok_or_else(|| format!("unsupported container resource : {}", r.resource))?;
    let map = match kind {
        "limits" => &container.resources.limits,
        "requests" => &container.resources.requests,
        _ => return Err(format!("unsupported container resource : {}", r.resource)),
    };
    let is_cpu = name == "cpu";
    let read = |v: &Value| if is_cpu { quantity_milli(v) } else { quantity_value(v) };
    // A missing limit is everything that the node has.
    let missing = if kind == "limits" { facts.allocatable.get(name).copied().unwrap_or(0) } else { 0 };
    let value = map.get(name).map(read).filter(|v| *v > 0).unwrap_or(missing);
    let divisor = r.divisor.as_ref().map(read).filter(|d| *d > 0).unwrap_or(if is_cpu { 1000 } else { 1 });
    Ok(((value + divisor - 1) / divisor).to_string())
}

/// A service, as far as variables need it.
#[derive(Clone, Debug, Default)]
pub struct ServiceFacts {
    pub name: String,
    pub cluster_ip: String,
    /// Name, port, protocol.
    pub ports: Vec<(String, u16, String)>,
}

/// Variables of services, in the two old styles.
pub fn services(services: &[ServiceFacts]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for s in services.iter().filter(|s| !s.ports.is_empty() && !s.cluster_ip.is_empty() && s.cluster_ip != "None") {
        let prefix = s.name.to_ascii_uppercase().replace('-', "_");
        out.push((format!("{prefix}_SERVICE_HOST"), s.cluster_ip.clone()));
        out.push((format!("{prefix}_SERVICE_PORT"), s.ports[0].1.to_string()));
        for (name, port, _) in s.ports.iter().filter(|(n, ..)| !n.is_empty()) {
            let upper = name.to_ascii_uppercase().replace('-', "_");
            out.push((format!("{prefix}_SERVICE_PORT_{upper}"), port.to_string()));
        }
        for (i, (_, port, protocol)) in s.ports.iter().enumerate() {
            let upper = if protocol.is_empty() { "TCP".to_string() } else { protocol.to_ascii_uppercase() };
            let url = format!("{}://{}:{port}", upper.to_ascii_lowercase(), s.cluster_ip);
            if i == 0 {
                out.push((format!("{prefix}_PORT"), url.clone()));
            }
            let base = format!("{prefix}_PORT_{port}_{upper}");
            out.push((base.clone(), url));
            out.push((format!("{base}_PROTO"), upper.to_ascii_lowercase()));
            out.push((format!("{base}_PORT"), port.to_string()));
            out.push((format!("{base}_ADDR"), s.cluster_ip.clone()));
        }
    }
    out
}

/// Whether a name may be a variable: printable ASCII without `=`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands() {
        let lookup = |n: &str| (n == "A").then(|| "x".to_string());
        for (text, want) in [
            ("$(A)", "x"),
            ("$$(A)", "$(A)"),
            ("a$(B)b", "a$(B)b"),
            ("$(A", "$(A"),
            ("cost $5 $$", "cost $5 $"),
            ("$$$(A)", "$x"),
        ] {
            assert_eq!(expand(text, lookup), want, "{text}");
        }
    }

    #[test]
    fn names_services() {
        let s = ServiceFacts {
            name: "my-db".into(),
            cluster_ip: "10.0.0.5".into(),
            ports: vec![("pg".into(), 5432, "TCP".into())],
        };
        let vars: BTreeMap<_, _> = services(&[s]).into_iter().collect();
        assert_eq!(vars["MY_DB_SERVICE_HOST"], "10.0.0.5");
        assert_eq!(vars["MY_DB_SERVICE_PORT_PG"], "5432");
        assert_eq!(vars["MY_DB_PORT"], "tcp://10.0.0.5:5432");
        assert_eq!(vars["MY_DB_PORT_5432_TCP_ADDR"], "10.0.0.5");
    }
}
