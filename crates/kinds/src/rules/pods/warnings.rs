//! What a client is told of a pod or template although it is accepted.
//!
//! Source: `pkg/api/pod/warnings.go`.

use api::{Value, f, format};

/// Of a pod.
pub fn of_pod(pod: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let name = pod.at(f::metadata).at(f::name).str();
    let wrong = format::is_dns1123_label(name);
    if !wrong.is_empty() {
        out.push(format!("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]", wrong.join(" ")));
    }
    spec(pod.at(f::spec), "spec", &mut out);
    out
}

/// Of a kind with `spec.template`.
pub fn of_template(v: &Value) -> Vec<String> {
    let mut out = Vec::new();
    spec(v.at(f::spec).at(f::template).at(f::spec), "spec.template.spec", &mut out);
    out
}

/// Labels of nodes that have newer names.
const RETIRED: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

fn retired(key: &str, place: &str, out: &mut Vec<String>) {
    if let Some((_, since, instead)) = RETIRED.iter().find(|(k, ..)| *k == key) {
        out.push(format!("{place}: {key} is deprecated since {since}; use {instead:?} instead"));
    }
}

fn spec(s: &Value, path: &str, out: &mut Vec<String>) {
    for (k, _) in s.at(f::nodeSelector).members() {
        retired(k.as_str(), &format!("{path}.nodeSelector[{}]", k.as_str()), out);
    }
    affinity(s.at(f::affinity).at(f::nodeAffinity), path, out);
    for (i, c) in s.at(f::topologySpreadConstraints).items().iter().enumerate() {
        let at = format!("{path}.topologySpreadConstraints[{i}]");
        retired(c.at(f::topologyKey).str(), &format!("{at}.topologyKey"), out);
        if c.at(f::labelSelector).is_null() {
            out.push(format!("{at}.labelSelector: a null labelSelector results in matching no pod"));
        }
    }
    let aliases = s.at(f::hostAliases).items();
    for (i, a) in aliases.iter().enumerate() {
        if aliases[..i].iter().any(|o| o.at(f::ip) == a.at(f::ip)) {
            out.push(format!("{path}.hostAliases[{i}].ip: duplicate ip {:?}", a.at(f::ip).str()));
        }
    }
    let secrets = s.at(f::imagePullSecrets).items();
    for (i, p) in secrets.iter().enumerate() {
        let name = p.at(f::name).str();
        if name.is_empty() {
            out.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name {name:?}"));
        } else if secrets[..i].iter().any(|o| o.at(f::name).str() == name) {
            out.push(format!("{path}.imagePullSecrets[{i}].name: duplicate name {name:?}"));
        }
    }
    for (i, v) in s.at(f::volumes).items().iter().enumerate() {
        volume(v, &format!("{path}.volumes[{i}]"), out);
    }
    ports(s, path, out);
    for list in [f::initContainers, f::containers] {
        for (i, c) in s.at(list).items().iter().enumerate() {
            container(c, &format!("{path}.{}[{i}]", list.as_str()), out);
        }
    }
    for (k, v) in s.at(f::overhead).members() {
        fraction(k.as_str(), v, &format!("{path}.overhead[{}]", k.as_str()), out);
    }
    let grace = s.at(f::terminationGracePeriodSeconds).int();
    if grace < 0 {
        out.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
}

fn affinity(node: &Value, path: &str, out: &mut Vec<String>) {
    let at = format!("{path}.affinity.nodeAffinity");
    let mut term = |t: &Value, place: String| {
        for (i, e) in t.at(f::matchExpressions).items().iter().enumerate() {
            retired(e.at(f::key).str(), &format!("{place}.matchExpressions[{i}].key"), out);
        }
    };
    let required = node.at(f::requiredDuringSchedulingIgnoredDuringExecution).at(f::nodeSelectorTerms);
    for (i, t) in required.items().iter().enumerate() {
        term(t, format!("{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{i}]"));
    }
    for (i, p) in node.at(f::preferredDuringSchedulingIgnoredDuringExecution).items().iter().enumerate() {
        term(p.at(f::preference), format!("{at}.preferredDuringSchedulingIgnoredDuringExecution[{i}].preference"));
    }
}

fn volume(v: &Value, path: &str, out: &mut Vec<String>) {
    let name = v.at(f::name).str();
    if v.has(f::gitRepo) {
        out.push(format!("{path}.gitRepo: deprecated in v1.11, and disabled by default in v1.33+"));
    }
    for (key, text) in [
        (f::scaleIO, "deprecated in v1.16, non-functional in v1.22+"),
        (f::flexVolume, "deprecated in v1.23, this feature will be removed in a future release"),
        (f::storageos, "deprecated in v1.22, non-functional in v1.25+"),
        (f::glusterfs, "deprecated in v1.25, non-functional in v1.26+"),
        (f::quobyte, "deprecated in v1.22, non-functional in v1.25+"),
        (f::flocker, "deprecated in v1.22, non-functional in v1.25+"),
        (f::cephfs, "deprecated in v1.28, non-functional in v1.31+"),
        (f::rbd, "deprecated in v1.28, non-functional in v1.31+"),
        (f::photonPersistentDisk, "deprecated in v1.11, non-functional in v1.16+"),
    ] {
        if v.has(key) && key != f::flexVolume {
            out.push(format!("{path}.{}: {text}", key.as_str()));
        }
    }
    let sources = v.at(f::projected).at(f::sources).items();
    let empty = |s: &Value| s.members().all(|(_, v)| v.is_null());
    if v.has(f::projected) && !sources.is_empty() && sources.iter().any(empty) {
        out.push(format!("volume {name:?} (Projected) has no sources provided"));
    }
}

/// Ports that stand twice, in one container or, on the host, in several.
fn ports(s: &Value, path: &str, out: &mut Vec<String>) {
    let mut host: Vec<(String, &Value)> = Vec::new();
    for list in [f::initContainers, f::containers] {
        for (i, c) in s.at(list).items().iter().enumerate() {
            let mut own: Vec<(String, &Value)> = Vec::new();
            for (j, p) in c.at(f::ports).items().iter().enumerate() {
                let place = format!("{path}.{}[{i}].ports[{j}]", list.as_str());
                let same = |keys: &[api::Name], o: &Value| keys.iter().all(|k| o.at(*k) == p.at(*k));
                let container_keys = [f::containerPort, f::protocol, f::hostPort, f::hostIP];
                let first = own.iter().find(|(_, o)| same(&container_keys, o));
                let host_keys = [f::hostPort, f::protocol, f::hostIP];
                let other = host.iter().find(|(_, o)| p.at(f::hostPort).int() != 0 && same(&host_keys, o));
                if let Some((at, _)) = first.or(other) {
                    out.push(format!("{place}: duplicate port definition with {at}"));
                }
                own.push((place.clone(), p));
            }
            host.extend(own);
        }
    }
}

fn container(c: &Value, path: &str, out: &mut Vec<String>) {
    let envs = c.at(f::env).items();
    for (i, e) in envs.iter().enumerate() {
        if let Some(first) = envs[..i].iter().find(|o| o.at(f::name) == e.at(f::name)) {
            let hides = e.has(f::valueFrom) || first.has(f::valueFrom) || !e.at(f::value).str().contains("$(");
            if hides {
                out.push(format!(
                    "{path}.env[{i}]: hides previous definition of {:?}, which may be dropped when using apply",
                    e.at(f::name).str()
                ));
            }
        }
    }
    for list in [f::limits, f::requests] {
        for (k, v) in c.at(f::resources).at(list).members() {
            let place = format!("{path}.resources.{}[{}]", list.as_str(), k.as_str());
            fraction(k.as_str(), v, &place, out);
        }
    }
}

/// Parts of a byte are a mistake.
fn fraction(name: &str, amount: &Value, place: &str, out: &mut Vec<String>) {
    let bytes = matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if bytes && super::super::validation::quantity(amount).is_some_and(|q| q.milli() % 1000 != 0) {
        out.push(format!("{place}: fractional byte value {:?} is invalid, must be an integer", amount.str()));
    }
}
