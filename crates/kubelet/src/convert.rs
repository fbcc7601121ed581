//! Pods as CRI wants them, and CRI's answers as observations.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use platform::WallTime;
use wire::cri::*;

use crate::config::KubeletConfig;
use crate::core::files::{self, NodeDns};
use crate::core::machine::{ContainerSeen, Run, SandboxSeen};
use crate::core::pod::{Container, Pod, Profile, SecurityContext};
use crate::core::resources;

pub const LABEL_NAME: &str = "io.kubernetes.pod.name";
pub const LABEL_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const LABEL_UID: &str = "io.kubernetes.pod.uid";
pub const LABEL_CONTAINER: &str = "io.kubernetes.container.name";
const NOTE_HASH: &str = "io.kubernetes.container.hash";
const NOTE_RESTARTS: &str = "io.kubernetes.container.restartCount";
const NOTE_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const NOTE_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Host file behind the termination message; ours.
const NOTE_MESSAGE_FILE: &str = "io.kubernetes.container.corten.terminationMessageFile";

/// `<namespace>_<name>_<uid>` below the logs' directory.
pub fn log_dir(config: &KubeletConfig, pod: &Pod) -> PathBuf {
    let m = &pod.metadata;
    config.pod_logs_dir.join(format!("{}_{}_{}", m.namespace, m.name, m.uid))
}

fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    let m = &pod.metadata;
    let own = [(LABEL_NAME, &m.name), (LABEL_NAMESPACE, &m.namespace), (LABEL_UID, &m.uid)];
    let all = m.labels.iter().map(|(k, v)| (k.clone(), v.clone()));
    all.chain(own.map(|(k, v)| (k.to_string(), v.clone()))).collect()
}

fn profile(profile: Option<&Profile>) -> Option<wire::cri::SecurityProfile> {
    use security_profile::ProfileType;
    let profile = profile?;
    let (kind, localhost) = match profile.r#type.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Localhost" => (ProfileType::Localhost, profile.localhost_profile.clone()),
        _ => (ProfileType::Unconfined, String::new()),
    };
    Some(wire::cri::SecurityProfile { profile_type: kind as i32, localhost_ref: localhost })
}

/// A local seccomp profile lies below the kubelet's directory.
fn seccomp(wanted: Option<&Profile>, config: &KubeletConfig) -> Option<wire::cri::SecurityProfile> {
    let mut out = profile(wanted)?;
    if !out.localhost_ref.is_empty() {
        out.localhost_ref = config.root_dir.join("seccomp").join(&out.localhost_ref).display().to_string();
    }
    Some(out)
}

fn namespaces(pod: &Pod, target: Option<String>) -> NamespaceOption {
    let host = |on: bool| if on { NamespaceMode::Node } else { NamespaceMode::Pod } as i32;
    let s = &pod.spec;
    let pid = match (s.host_pid, s.share_process_namespace, &target) {
        (_, _, Some(_)) => NamespaceMode::Target,
        (true, ..) => NamespaceMode::Node,
        (_, true, _) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    let users =
        (s.host_users == Some(false)).then(|| UserNamespace { mode: NamespaceMode::Pod as i32, ..Default::default() });
    NamespaceOption {
        network: host(s.host_network),
        ipc: host(s.host_ipc),
        pid: pid as i32,
        target_id: target.unwrap_or_default(),
        userns_options: users,
    }
}

fn int(value: Option<i64>) -> Option<Int64Value> {
    value.map(|value| Int64Value { value })
}

fn groups_policy(pod: &Pod) -> i32 {
    let strict = pod.spec.security_context.supplemental_groups_policy.as_deref() == Some("Strict");
    if strict { SupplementalGroupsPolicy::Strict as i32 } else { SupplementalGroupsPolicy::Merge as i32 }
}

fn groups(pod: &Pod) -> Vec<i64> {
    let s = &pod.spec.security_context;
    s.fs_group.iter().chain(&s.supplemental_groups).copied().collect()
}

/// The sandbox of a pod.
pub fn sandbox(config: &KubeletConfig, dns: &NodeDns, pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let (m, s) = (&pod.metadata, &pod.spec);
    let (name, domain) = files::hostname(pod, &config.cluster_domain);
    let hostname = match (s.host_network, s.set_hostname_as_fqdn && !domain.is_empty()) {
        (true, _) => String::new(),
        (_, true) => format!("{name}.{domain}"),
        _ => name,
    };
    let ports = s
        .containers
        .iter()
        .chain(&s.init_containers)
        .flat_map(|c| &c.ports)
        .filter(|p| p.host_port > 0 && !s.host_network);
    let protocol = |p: &str| match p {
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let context = LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, None)),
        run_as_user: int(s.security_context.run_as_user),
        run_as_group: int(s.security_context.run_as_group),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        privileged: pod.all_containers().any(|(_, c)| c.security_context.privileged == Some(true)),
        seccomp: Some(wire::cri::SecurityProfile::default()),
        ..Default::default()
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: m.name.clone(),
            uid: m.uid.clone(),
            namespace: m.namespace.clone(),
            attempt,
        }),
        hostname,
        log_directory: log_dir(config, pod).display().to_string(),
        dns_config: Some(files::dns(pod, dns, &config.cluster_dns, &config.cluster_domain)),
        port_mappings: ports
            .map(|p| PortMapping {
                protocol: protocol(&p.protocol) as i32,
                container_port: p.container_port,
                host_port: p.host_port,
                host_ip: p.host_ip.clone(),
            })
            .collect(),
        labels: pod_labels(pod),
        annotations: m.annotations.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(pod),
            security_context: Some(context),
            sysctls: s.security_context.sysctls.iter().map(|c| (c.name.clone(), c.value.clone())).collect(),
            overhead: None,
            resources: Some(resources::pod(pod)),
        }),
        windows: None,
    }
}

const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const MASKED_MORE: [&str; 2] = ["/sys/devices/virtual/powercap", "/proc/timer_stats"];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn security(
    config: &KubeletConfig,
    pod: &Pod,
    own: &SecurityContext,
    target: Option<String>,
) -> LinuxContainerSecurityContext {
    let all = &pod.spec.security_context;
    let privileged = own.privileged == Some(true);
    let list = |paths: &[&str]| paths.iter().map(|p| p.to_string()).collect::<Vec<_>>();
    let open_proc = own.proc_mount.as_deref() == Some("Unmasked") || privileged;
    let capabilities = own.capabilities.as_ref().map(|c| Capability {
        add_capabilities: c.add.clone(),
        drop_capabilities: c.drop.clone(),
        ..Default::default()
    });
    LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespaces(pod, target)),
        run_as_user: int(own.run_as_user.or(all.run_as_user)),
        run_as_group: int(own.run_as_group.or(all.run_as_group)),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: if open_proc { Vec::new() } else { [list(&MASKED), list(&MASKED_MORE)].concat() },
        readonly_paths: if open_proc { Vec::new() } else { list(&READONLY) },
        seccomp: seccomp(own.seccomp_profile.as_ref().or(all.seccomp_profile.as_ref()), config),
        apparmor: profile(own.app_armor_profile.as_ref().or(all.app_armor_profile.as_ref())),
        ..Default::default()
    }
}

/// What `container` needs from outside its specification.
pub struct Inputs {
    pub attempt: u32,
    pub image: String,
    pub env: Vec<(String, String)>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub mounts: Vec<Mount>,
    pub message_file: PathBuf,
    /// Container whose processes it sees.
    pub target: Option<String>,
    pub node_memory: i64,
}

/// A container of a pod.
pub fn container(config: &KubeletConfig, pod: &Pod, c: &Container, inputs: Inputs) -> ContainerConfig {
    let notes = [
        (NOTE_HASH, resources::spec_hash(c)),
        (NOTE_RESTARTS, inputs.attempt.to_string()),
        (NOTE_MESSAGE_PATH, c.termination_message_path.clone()),
        (NOTE_MESSAGE_POLICY, c.termination_message_policy.clone()),
        (NOTE_MESSAGE_FILE, inputs.message_file.display().to_string()),
    ];
    let m = &pod.metadata;
    let labels =
        [(LABEL_NAME, &m.name), (LABEL_NAMESPACE, &m.namespace), (LABEL_UID, &m.uid), (LABEL_CONTAINER, &c.name)];
    let stop = c.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()).unwrap_or_default();
    let stop =
        Signal::from_str_name(&stop.replace('+', "PLUS").replace('-', "MINUS")).unwrap_or(Signal::RuntimeDefault);
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: c.name.clone(), attempt: inputs.attempt }),
        image: Some(ImageSpec { image: inputs.image, user_specified_image: c.image.clone(), ..Default::default() }),
        command: inputs.command,
        args: inputs.args,
        working_dir: c.working_dir.clone(),
        envs: inputs.env.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
        mounts: inputs.mounts,
        labels: labels.into_iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
        annotations: notes.into_iter().map(|(k, v)| (k.to_string(), v)).collect(),
        log_path: format!("{}/{}.log", c.name, inputs.attempt),
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        tty: c.tty,
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::container(pod, c, inputs.node_memory)),
            security_context: Some(security(config, pod, &c.security_context, inputs.target)),
        }),
        stop_signal: stop as i32,
        ..Default::default()
    }
}

/// A sandbox as it is seen.
pub fn sandbox_seen(s: &PodSandboxStatus) -> SandboxSeen {
    let network = s.network.clone().unwrap_or_default();
    let ips = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|i| i.ip));
    SandboxSeen {
        id: s.id.clone(),
        ready: s.state == PodSandboxState::SandboxReady as i32,
        attempt: s.metadata.as_ref().map_or(0, |m| m.attempt),
        ips: ips.filter(|ip| !ip.is_empty()).collect(),
    }
}

/// A container as it is seen. The termination message is read from its file.
pub fn container_seen(c: &ContainerStatus, sandbox: &str) -> ContainerSeen {
    let at = |nanos: i64| WallTime::from_unix_nanos(nanos);
    let state = match ContainerState::try_from(c.state) {
        Ok(ContainerState::ContainerRunning) => Run::Running,
        Ok(ContainerState::ContainerCreated) => Run::Created,
        _ => Run::Exited,
    };
    let mut message = c.message.clone();
    if state == Run::Exited && message.is_empty() {
        message = termination_message(c);
    }
    let user = c.user.as_ref().and_then(|u| u.linux.as_ref()).map(|u| (u.uid, u.gid, u.supplemental_groups.clone()));
    // A start that failed never ran: it began and ended when it failed.
    let started = if c.started_at == 0 && state == Run::Exited { c.finished_at } else { c.started_at };
    ContainerSeen {
        id: c.id.clone(),
        name: c.labels.get(LABEL_CONTAINER).cloned().unwrap_or_default(),
        sandbox: sandbox.to_string(),
        attempt: c.metadata.as_ref().map_or(0, |m| m.attempt),
        state,
        image: c
            .image
            .as_ref()
            .map(|i| if i.user_specified_image.is_empty() { &i.image } else { &i.user_specified_image }.clone())
            .unwrap_or_default(),
        image_id: c.image_ref.clone(),
        hash: c.annotations.get(NOTE_HASH).cloned().unwrap_or_default(),
        created_at: at(c.created_at),
        started_at: at(started),
        finished_at: at(c.finished_at),
        exit_code: c.exit_code,
        signal: 0,
        reason: if c.reason.is_empty() && state == Run::Exited {
            if c.exit_code == 0 { "Completed" } else { "Error" }.into()
        } else {
            c.reason.clone()
        },
        message,
        user,
    }
}

const MAX_MESSAGE: usize = 4096;
const MAX_LOG_MESSAGE: usize = 2048;

fn termination_message(c: &ContainerStatus) -> String {
    let file = c.annotations.get(NOTE_MESSAGE_FILE).cloned().unwrap_or_default();
    let text = std::fs::read(&file).unwrap_or_default();
    let tail =
        |bytes: &[u8], max: usize| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(max)..]).into_owned();
    if !text.is_empty() {
        return tail(&text, MAX_MESSAGE);
    }
    let from_log =
        c.annotations.get(NOTE_MESSAGE_POLICY).is_some_and(|p| p == "FallbackToLogsOnError") && c.exit_code != 0;
    if !from_log {
        return String::new();
    }
    let log = std::fs::read_to_string(Path::new(&c.log_path)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(80).filter_map(|l| l.splitn(4, ' ').nth(3)).collect();
    let text: String = lines.into_iter().rev().map(|l| format!("{l}\n")).collect();
    tail(text.as_bytes(), MAX_LOG_MESSAGE)
}
