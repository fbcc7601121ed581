//! Pod Security Standards: what a pod must not ask for at a level.
//!
//! Source: `k8s.io/pod-security-admission/policy`; the checks in the order of their ids, the stricter ones after. Versions
//! before the newest are read as the newest: a namespace that names an older one is held to today's standard.

use api::{Value, f};
use kinds::rules::pod::containers;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// What is known to be harmless.
    Baseline,
    /// What good practice asks for.
    Restricted,
}

impl Level {
    /// By its name.
    pub fn of(name: &str) -> Option<Level> {
        Some(match name {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ["privileged", "baseline", "restricted"][self as usize]
    }
}

/// Whether a text is a version: `latest` or `v1.N`.
pub fn is_version(text: &str) -> bool {
    text == "latest"
        || text.strip_prefix("v1.").is_some_and(|n| n == "0" || !n.starts_with('0') && n.parse::<u32>().is_ok())
}

/// A pod to be checked: annotations and spec.
struct Pod<'a> {
    annotations: &'a Value,
    spec: &'a Value,
}

impl Pod<'_> {
    fn context(&self) -> &Value {
        self.spec.at(f::securityContext)
    }

    /// Names of the containers that something holds for.
    fn named(&self, holds: impl Fn(&Value) -> bool) -> Vec<&str> {
        containers(self.spec).filter(|(_, c)| holds(c)).map(|(_, c)| c.at(f::name).str()).collect()
    }

    fn is_windows(&self) -> bool {
        self.spec.at(f::os).at(f::name).str() == "windows"
    }
}

/// What is wrong: its short name and its details.
type Finding = Option<(&'static str, String)>;

/// A check, and whether it is left out at the restricted level because a stricter one takes its place.
type Check = (fn(&Pod) -> Finding, bool);

const BASELINE: &[Check] = &[
    (app_armor, false),
    (capabilities, true),
    (host_namespaces, false),
    (host_paths, false),
    (host_ports, false),
    (probe_hosts, false),
    (privileged, false),
    (proc_mount, false),
    (selinux, false),
    (seccomp, true),
    (sysctls, false),
    (host_process, false),
];

const RESTRICTED: &[fn(&Pod) -> Finding] = &[escalation, all_dropped, volume_types, non_root, root_user, seccomp_set];

/// What a pod violates at a level, as one text; nothing if nothing.
pub fn violations(level: Level, metadata: &Value, spec: &Value) -> Option<String> {
    let pod = Pod { annotations: metadata.at(f::annotations), spec };
    let mut found: Vec<(&str, String)> = Vec::new();
    if level >= Level::Baseline {
        let applies = BASELINE.iter().filter(|(_, replaced)| level == Level::Baseline || !replaced);
        found.extend(applies.filter_map(|(check, _)| check(&pod)));
    }
    if level == Level::Restricted {
        found.extend(RESTRICTED.iter().filter_map(|check| check(&pod)));
    }
    let texts: Vec<String> = found.iter().map(|(what, detail)| format!("{what} ({detail})")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn quoted<T: AsRef<str>>(list: &[T]) -> String {
    list.iter().map(|s| format!("{:?}", s.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`.
fn these<T: AsRef<str>>(what: &str, names: &[T]) -> String {
    format!("{what}{} {}", if names.len() == 1 { "" } else { "s" }, quoted(names))
}

/// The pod and its containers that set something, joined by a word.
fn setters(pod: bool, names: &[&str], and: &str) -> Option<String> {
    match (pod, names.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".into()),
        (false, false) => Some(these("container", names)),
        (true, false) => Some(format!("pod {and} {}", these("container", names))),
    }
}

/// Different values, in order.
fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out: Vec<&str> = values.collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn app_armor(pod: &Pod) -> Finding {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let wrong = |v: &Value| v.at(f::appArmorProfile).at(f::type_).str() == "Unconfined";
    let by_field = setters(wrong(pod.context()), &pod.named(|c| wrong(c.at(f::securityContext))), "and");
    let annotated: Vec<String> = pod
        .annotations
        .members()
        .filter(|(k, v)| {
            k.as_str().starts_with(PREFIX)
                && !matches!(v.str(), "" | "runtime/default")
                && !v.str().starts_with("localhost/")
        })
        .map(|(k, v)| format!("{}={:?}", k.as_str(), v.str()))
        .collect();
    let mut details: Vec<String> = Vec::new();
    if let Some(who) = by_field {
        details.push(format!("{who} must not set AppArmor profile type to \"Unconfined\""));
    }
    if !annotated.is_empty() {
        let s = if annotated.len() == 1 { "" } else { "s" };
        details.push(format!("annotation{s} {}", annotated.join(", ")));
    }
    (!details.is_empty()).then(|| ("forbidden AppArmor profile", details.join("; ")))
}

fn added(c: &Value) -> impl Iterator<Item = &str> {
    c.at(f::securityContext).at(f::capabilities).at(f::add).items().iter().map(Value::str)
}

/// Containers that add capabilities outside of a list.
fn adding(pod: &Pod, allowed: &[&str]) -> Option<String> {
    let names = pod.named(|c| added(c).any(|x| !allowed.contains(&x)));
    let list = distinct(containers(pod.spec).flat_map(|(_, c)| added(c)).filter(|x| !allowed.contains(x)));
    (!names.is_empty()).then(|| {
        format!("{} must not include {} in securityContext.capabilities.add", these("container", &names), quoted(&list))
    })
}

fn capabilities(pod: &Pod) -> Finding {
    const ALLOWED: &[&str] = &[
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    adding(pod, ALLOWED).map(|d| ("non-default capabilities", d))
}

fn host_namespaces(pod: &Pod) -> Finding {
    let on: Vec<String> = [f::hostNetwork, f::hostPID, f::hostIPC]
        .iter()
        .filter(|k| pod.spec.at(**k).is_true())
        .map(|k| format!("{}=true", k.as_str()))
        .collect();
    (!on.is_empty()).then(|| ("host namespaces", on.join(", ")))
}

fn host_paths(pod: &Pod) -> Finding {
    let volumes = pod.spec.at(f::volumes).items().iter().filter(|v| v.has(f::hostPath));
    let names: Vec<&str> = volumes.map(|v| v.at(f::name).str()).collect();
    (!names.is_empty()).then(|| ("hostPath volumes", these("volume", &names)))
}

/// Verb and noun for one or several.
fn use_of(names: &[&str], n: usize, noun: &str) -> String {
    let verb = if names.len() == 1 { "uses" } else { "use" };
    format!("{} {verb} {noun}{}", these("container", names), if n == 1 { "" } else { "s" })
}

fn host_ports(pod: &Pod) -> Finding {
    let ports = |c: &Value| -> Vec<i64> {
        c.at(f::ports).items().iter().map(|p| p.at(f::hostPort).int()).filter(|p| *p != 0).collect()
    };
    let names = pod.named(|c| !ports(c).is_empty());
    let mut all: Vec<i64> = containers(pod.spec).flat_map(|(_, c)| ports(c)).collect();
    all.sort_unstable();
    all.dedup();
    let list: Vec<String> = all.iter().map(i64::to_string).collect();
    (!names.is_empty()).then(|| ("hostPort", format!("{} {}", use_of(&names, all.len(), "hostPort"), list.join(", "))))
}

fn probe_hosts(pod: &Pod) -> Finding {
    fn hosts(c: &Value) -> Vec<&str> {
        let lifecycle = c.at(f::lifecycle);
        [
            c.at(f::livenessProbe),
            c.at(f::readinessProbe),
            c.at(f::startupProbe),
            lifecycle.at(f::postStart),
            lifecycle.at(f::preStop),
        ]
        .into_iter()
        .flat_map(|h| [h.at(f::httpGet).at(f::host).str(), h.at(f::tcpSocket).at(f::host).str()])
        .filter(|h| !h.is_empty())
        .collect()
    }
    let names = pod.named(|c| !hosts(c).is_empty());
    let list = distinct(containers(pod.spec).flat_map(|(_, c)| hosts(c)));
    (!names.is_empty()).then(|| {
        let detail = format!("{} {}", use_of(&names, list.len(), "probe or lifecycle host"), quoted(&list));
        ("probe or lifecycle host", detail)
    })
}

fn privileged(pod: &Pod) -> Finding {
    let names = pod.named(|c| c.at(f::securityContext).at(f::privileged).is_true());
    (!names.is_empty())
        .then(|| ("privileged", format!("{} must not set securityContext.privileged=true", these("container", &names))))
}

fn proc_mount(pod: &Pod) -> Finding {
    if pod.spec.at(f::hostUsers).as_bool() == Some(false) {
        return None; // its users are not the host's
    }
    let names = pod.named(|c| !matches!(c.at(f::securityContext).at(f::procMount).str(), "" | "Default"));
    (!names.is_empty()).then(|| {
        ("procMount", format!("{} must not set securityContext.procMount to \"Unmasked\"", these("container", &names)))
    })
}

fn selinux(pod: &Pod) -> Finding {
    const TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    let options = |c: &Value| c.at(f::seLinuxOptions).clone();
    let wrong =
        |o: &Value| !TYPES.contains(&o.at(f::type_).str()) || !o.at(f::user).is_zero() || !o.at(f::role).is_zero();
    let own = options(pod.context());
    let names = pod.named(|c| wrong(&options(c.at(f::securityContext))));
    let who = setters(wrong(&own), &names, "and")?;
    let all: Vec<Value> = std::iter::once(own)
        .chain(containers(pod.spec).map(|(_, c)| options(c.at(f::securityContext))))
        .filter(wrong)
        .collect();
    let types = distinct(all.iter().map(|o| o.at(f::type_).str()).filter(|t| !TYPES.contains(t)));
    let mut parts: Vec<String> = Vec::new();
    if !types.is_empty() {
        parts.push(these("type", &types));
    }
    for (key, text) in [(f::user, "user may not be set"), (f::role, "role may not be set")] {
        if all.iter().any(|o| !o.at(key).is_zero()) {
            parts.push(text.into());
        }
    }
    Some(("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", parts.join("; "))))
}

fn profile(v: &Value) -> &str {
    v.at(f::seccompProfile).at(f::type_).str()
}

/// Who switches the filter of system calls off.
fn unconfined(pod: &Pod) -> Option<String> {
    let names = pod.named(|c| profile(c.at(f::securityContext)) == "Unconfined");
    let who = setters(profile(pod.context()) == "Unconfined", &names, "and")?;
    Some(format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\""))
}

fn seccomp(pod: &Pod) -> Finding {
    unconfined(pod).map(|d| ("seccompProfile", d))
}

fn sysctls(pod: &Pod) -> Finding {
    const ALLOWED: &[&str] = &[
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    ];
    let list: Vec<&str> = pod
        .context()
        .at(f::sysctls)
        .items()
        .iter()
        .map(|s| s.at(f::name).str())
        .filter(|n| !ALLOWED.contains(n))
        .collect();
    (!list.is_empty()).then(|| ("forbidden sysctls", list.join(", ")))
}

fn host_process(pod: &Pod) -> Finding {
    let on = |c: &Value| c.at(f::windowsOptions).at(f::hostProcess).is_true();
    let who = setters(on(pod.context()), &pod.named(|c| on(c.at(f::securityContext))), "and")?;
    Some(("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true")))
}

fn escalation(pod: &Pod) -> Finding {
    if pod.is_windows() {
        return None;
    }
    let names = pod.named(|c| c.at(f::securityContext).at(f::allowPrivilegeEscalation).as_bool() != Some(false));
    (!names.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", these("container", &names));
        ("allowPrivilegeEscalation != false", detail)
    })
}

fn all_dropped(pod: &Pod) -> Finding {
    if pod.is_windows() {
        return None;
    }
    let dropped =
        |c: &Value| c.at(f::securityContext).at(f::capabilities).at(f::drop).items().iter().any(|x| x.str() == "ALL");
    let keeping = pod.named(|c| !dropped(c));
    let mut parts: Vec<String> = Vec::new();
    if !keeping.is_empty() {
        parts.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", these("container", &keeping)));
    }
    parts.extend(adding(pod, &["NET_BIND_SERVICE"]));
    (!parts.is_empty()).then(|| ("unrestricted capabilities", parts.join("; ")))
}

fn volume_types(pod: &Pod) -> Finding {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    fn source(v: &Value) -> &str {
        v.members().find(|(k, s)| k.as_str() != "name" && !s.is_null()).map_or("unknown", |(k, _)| k.as_str())
    }
    let bad: Vec<&Value> = pod.spec.at(f::volumes).items().iter().filter(|v| !ALLOWED.contains(&source(v))).collect();
    let names: Vec<&str> = bad.iter().map(|v| v.at(f::name).str()).collect();
    let types = distinct(bad.iter().map(|v| source(v)));
    (!names.is_empty()).then(|| {
        let verb = if names.len() == 1 { "uses" } else { "use" };
        let detail = format!("{} {verb} {}", these("volume", &names), these("restricted volume type", &types));
        ("restricted volume types", detail)
    })
}

fn non_root(pod: &Pod) -> Finding {
    let set = |c: &Value| c.at(f::securityContext).at(f::runAsNonRoot).as_bool();
    let own = pod.context().at(f::runAsNonRoot).as_bool();
    let explicit = pod.named(|c| set(c) == Some(false));
    let silent = pod.named(|c| set(c).is_none());
    let wrong_pod = own == Some(false) && !silent.is_empty();
    if let Some(who) = setters(wrong_pod, &explicit, "and") {
        return Some(("runAsNonRoot != true", format!("{who} must not set securityContext.runAsNonRoot=false")));
    }
    (own.is_none() && !silent.is_empty()).then(|| {
        let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", these("container", &silent));
        ("runAsNonRoot != true", detail)
    })
}

fn root_user(pod: &Pod) -> Finding {
    let root = |v: &Value| v.at(f::runAsUser).as_int() == Some(0);
    let who = setters(root(pod.context()), &pod.named(|c| root(c.at(f::securityContext))), "and")?;
    Some(("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp_set(pod: &Pod) -> Finding {
    if pod.is_windows() {
        return None;
    }
    if let Some(detail) = unconfined(pod) {
        return Some(("seccompProfile", detail));
    }
    let silent = pod.named(|c| profile(c.at(f::securityContext)).is_empty());
    (profile(pod.context()).is_empty() && !silent.is_empty()).then(|| {
        let who = these("container", &silent);
        let detail =
            format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
        ("seccompProfile", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, spec: &str) -> String {
        let spec = api::json::parse(spec.as_bytes()).unwrap();
        violations(level, &Value::Null, &spec).unwrap_or_default()
    }

    #[test]
    fn levels() {
        let plain = r#"{"containers":[{"name":"a"}]}"#;
        assert_eq!(check(Level::Privileged, r#"{"hostPID":true}"#), "");
        assert_eq!(check(Level::Baseline, plain), "");
        assert_eq!(check(Level::Baseline, r#"{"hostPID":true}"#), "host namespaces (hostPID=true)");
        assert_eq!(
            check(Level::Restricted, plain),
            r#"allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        );
        let two = r#"{"containers":[{"name":"a","ports":[{"hostPort":80}]},{"name":"b","ports":[{"hostPort":81}]}]}"#;
        assert_eq!(check(Level::Baseline, two), r#"hostPort (containers "a", "b" use hostPorts 80, 81)"#);
    }

    #[test]
    fn versions() {
        assert!(is_version("latest") && is_version("v1.36") && is_version("v1.0"));
        assert!(!is_version("v0.x") && !is_version("v1.01") && !is_version("1.2"));
    }
}
