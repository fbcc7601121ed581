//! Texts that the kubelet puts into pods: hosts file, DNS settings, host name; and which keys of an object become files.

use std::collections::BTreeMap;

use wire::cri::DnsConfig;

use super::pod::{Item, Pod};

/// One file of a volume: path below its root, content, mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub data: Vec<u8>,
    pub mode: u32,
}

/// The files that `items` pick from an object's data (everything, if there are none).
pub fn project(
    data: &BTreeMap<String, Vec<u8>>,
    items: &[Item],
    mode: u32,
    optional: bool,
    what: &str,
) -> Result<Vec<File>, String> {
    if items.is_empty() {
        return Ok(data.iter().map(|(k, v)| File { path: k.clone(), data: v.clone(), mode }).collect());
    }
    let mut out = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                out.push(File { path: item.path.clone(), data: data.clone(), mode: item.mode.unwrap_or(mode) })
            }
            None if optional => {}
            None => return Err(format!("{what} references non-existent key: {}", item.key)),
        }
    }
    Ok(out)
}

/// A path below a volume: relative, without "..".
pub fn safe(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with('/')
        && path.split('/').all(|p| p != ".." && !p.is_empty() && p != ".")
        && !path.starts_with("..")
}

/// The pod's own name, and the domain that follows it (empty for none).
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = &pod.spec;
    let mut name = if spec.hostname.is_empty() { pod.metadata.name.clone() } else { spec.hostname.clone() };
    name.truncate(63);
    let name = name.trim_end_matches(['-', '.']).to_string();
    let domain = match spec.subdomain.as_str() {
        "" => String::new(),
        sub => format!("{sub}.{}.svc.{cluster_domain}", pod.metadata.namespace),
    };
    (name, domain)
}

/// The hosts file of a pod with its own network.
pub fn hosts(pod: &Pod, ips: &[String], cluster_domain: &str) -> String {
    let mut out = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                   fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
        .to_string();
    let (name, domain) = hostname(pod, cluster_domain);
    for ip in ips {
        match domain.as_str() {
            "" => out += &format!("{ip}\t{name}\n"),
            domain => out += &format!("{ip}\t{name}.{domain}\t{name}\n"),
        }
    }
    out + &aliases(pod)
}

/// The entries that the pod asks for.
pub fn aliases(pod: &Pod) -> String {
    if pod.spec.host_aliases.is_empty() {
        return String::new();
    }
    let lines = pod.spec.host_aliases.iter().map(|a| format!("{}\t{}\n", a.ip, a.hostnames.join("\t")));
    "\n# Entries added by HostAliases.\n".to_string() + &lines.collect::<String>()
}

/// The node's own resolver settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeDns {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// Reads a resolv.conf.
pub fn parse_resolv(text: &str) -> NodeDns {
    let mut out = NodeDns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let rest: Vec<String> = words.clone().skip(1).map(String::from).collect();
        match words.next() {
            Some("nameserver") => out.servers.extend(rest.into_iter().take(1)),
            Some("search") => out.searches = rest,
            Some("options") => out.options = rest,
            _ => {}
        }
    }
    out
}

/// What a pod's resolver is told.
pub fn dns(pod: &Pod, node: &NodeDns, cluster_dns: &[String], domain: &str) -> DnsConfig {
    let spec = &pod.spec;
    let cluster = match spec.dns_policy.as_str() {
        "ClusterFirstWithHostNet" => true,
        "Default" | "None" => false,
        _ => !spec.host_network,
    };
    let mut out = match (cluster && !cluster_dns.is_empty(), spec.dns_policy.as_str()) {
        (_, "None") => DnsConfig::default(),
        (true, _) => {
            let ns = &pod.metadata.namespace;
            let mut searches = vec![format!("{ns}.svc.{domain}"), format!("svc.{domain}"), domain.to_string()];
            searches.extend(node.searches.iter().filter(|s| *s != ".").cloned());
            DnsConfig { servers: cluster_dns.to_vec(), searches, options: vec!["ndots:5".into()] }
        }
        (false, _) => {
            DnsConfig { servers: node.servers.clone(), searches: node.searches.clone(), options: node.options.clone() }
        }
    };
    if let Some(own) = &spec.dns_config {
        let add = |list: &mut Vec<String>, more: &[String]| {
            for item in more {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
        };
        add(&mut out.servers, &own.nameservers);
        add(&mut out.searches, &own.searches);
        for option in &own.options {
            let prefix = format!("{}:", option.name);
            out.options.retain(|o| *o != option.name && !o.starts_with(&prefix));
            out.options.push(option.value.as_ref().map_or_else(|| option.name.clone(), |v| format!("{prefix}{v}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_policies() {
        let node = parse_resolv("nameserver 9.9.9.9\nsearch lan\noptions timeout:1\n");
        let mut pod = Pod::default();
        pod.metadata.namespace = "ns".into();
        let cluster = ["10.96.0.10".to_string()];
        for (policy, host, servers, first_search) in [
            ("ClusterFirst", false, "10.96.0.10", "ns.svc.cluster.local"),
            ("ClusterFirst", true, "9.9.9.9", "lan"),
            ("ClusterFirstWithHostNet", true, "10.96.0.10", "ns.svc.cluster.local"),
            ("Default", false, "9.9.9.9", "lan"),
        ] {
            (pod.spec.dns_policy, pod.spec.host_network) = (policy.into(), host);
            let got = dns(&pod, &node, &cluster, "cluster.local");
            assert_eq!((got.servers[0].as_str(), got.searches[0].as_str()), (servers, first_search), "{policy} {host}");
        }
    }

    #[test]
    fn refuses_paths_that_lead_out() {
        for (path, ok) in [
            ("a", true),
            ("a/b", true),
            ("../a", false),
            ("a/../b", false),
            ("/a", false),
            ("..data", false),
            ("", false),
        ] {
            assert_eq!(safe(path), ok, "{path}");
        }
    }
}
