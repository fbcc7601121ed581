//! The pod as the kubelet reads it: serde views of just the fields it uses.

use std::collections::BTreeMap;

use client::{Meta, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Null is as good as nothing.
fn nullable<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

macro_rules! view {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($(#[$attr])* pub $field: $type,)* }
    };
}

view!(
    /// A Pod.
    Pod { metadata: Meta, spec: PodSpec, status: PodStatus, }
);

impl View for Pod {
    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

view!(PodSpec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
    volumes: Vec<Volume>,
    restart_policy: String,
    termination_grace_period_seconds: Option<i64>,
    active_deadline_seconds: Option<i64>,
    dns_policy: String,
    dns_config: Option<DnsConfig>,
    service_account_name: String,
    node_name: String,
    #[serde(rename = "hostNetwork")]
    host_network: bool,
    #[serde(rename = "hostPID")]
    host_pid: bool,
    #[serde(rename = "hostIPC")]
    host_ipc: bool,
    host_users: Option<bool>,
    share_process_namespace: bool,
    security_context: PodSecurityContext,
    image_pull_secrets: Vec<LocalReference>,
    hostname: String,
    subdomain: String,
    #[serde(rename = "setHostnameAsFQDN")]
    set_hostname_as_fqdn: bool,
    host_aliases: Vec<HostAlias>,
    enable_service_links: Option<bool>,
    priority: Option<i32>,
    overhead: BTreeMap<String, Value>,
    resources: Resources,
    readiness_gates: Vec<ReadinessGate>,
    runtime_class_name: Option<String>,
    resource_claims: Vec<Value>,
});

view!(PodStatus {
    phase: String,
    conditions: Vec<Condition>,
    start_time: Option<String>,
    #[serde(deserialize_with = "nullable")]
    reason: String,
    #[serde(deserialize_with = "nullable")]
    message: String,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
    #[serde(rename = "podIP")]
    pod_ip: String,
});

view!(Condition {
    r#type: String,
    status: String,
    #[serde(deserialize_with = "nullable")]
    reason: String,
    #[serde(deserialize_with = "nullable")]
    message: String,
    last_transition_time: Option<String>,
});

view!(ContainerStatus {
    name: String,
    started: Option<bool>,
    ready: bool,
    restart_count: i32,
    state: Value,
    last_state: Value,
    #[serde(rename = "containerID")]
    container_id: String,
});

view!(ReadinessGate { condition_type: String });
view!(LocalReference { name: String });
view!(HostAlias { ip: String, hostnames: Vec<String>, });
view!(DnsConfig { nameservers: Vec<String>, searches: Vec<String>, options: Vec<DnsOption>, });
view!(DnsOption { name: String, value: Option<String>, });

view!(Container {
    name: String,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    working_dir: String,
    ports: Vec<Port>,
    env: Vec<EnvVar>,
    env_from: Vec<EnvFrom>,
    resources: Resources,
    volume_mounts: Vec<VolumeMount>,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
    startup_probe: Option<Probe>,
    lifecycle: Option<Lifecycle>,
    termination_message_path: String,
    termination_message_policy: String,
    image_pull_policy: String,
    security_context: SecurityContext,
    stdin: bool,
    stdin_once: bool,
    tty: bool,
    restart_policy: Option<String>,
    restart_policy_rules: Vec<RestartRule>,
    target_container_name: String,
    volume_devices: Vec<Value>,
});

view!(RestartRule { action: String, exit_codes: Option<ExitCodes>, });
view!(ExitCodes { operator: String, values: Vec<i32>, });

view!(Port {
    name: String,
    host_port: i32,
    container_port: i32,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
});

view!(EnvVar { name: String, value: String, value_from: Option<EnvSource>, });
view!(EnvSource {
    field_ref: Option<FieldRef>,
    resource_field_ref: Option<ResourceFieldRef>,
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
});
view!(FieldRef { api_version: String, field_path: String });
view!(ResourceFieldRef { container_name: String, resource: String, divisor: Option<Value>, });
view!(KeyRef { name: String, key: String, optional: Option<bool>, });
view!(EnvFrom { prefix: String, config_map_ref: Option<OptionalRef>, secret_ref: Option<OptionalRef>, });
view!(OptionalRef { name: String, optional: Option<bool>, });

view!(Resources { limits: BTreeMap<String, Value>, requests: BTreeMap<String, Value>, });

view!(VolumeMount {
    name: String,
    mount_path: String,
    read_only: bool,
    recursive_read_only: Option<String>,
    sub_path: String,
    sub_path_expr: String,
    mount_propagation: Option<String>,
});

view!(Probe {
    exec: Option<ExecAction>,
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    initial_delay_seconds: i64,
    timeout_seconds: i64,
    period_seconds: i64,
    success_threshold: i64,
    failure_threshold: i64,
    termination_grace_period_seconds: Option<i64>,
});
view!(ExecAction { command: Vec<String>, });
view!(HttpGet { path: String, port: Value, host: String, scheme: String, http_headers: Vec<HttpHeader>, });
view!(HttpHeader { name: String, value: String });
view!(TcpSocket { port: Value, host: String });
view!(Grpc { port: i64, service: Option<String>, });
view!(Lifecycle { post_start: Option<Handler>, pre_stop: Option<Handler>, stop_signal: Option<String>, });
view!(Handler { exec: Option<ExecAction>, http_get: Option<HttpGet>, tcp_socket: Option<TcpSocket>, sleep: Option<Sleep>, });
view!(Sleep { seconds: i64 });

view!(PodSecurityContext {
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: Option<bool>,
    supplemental_groups: Vec<i64>,
    supplemental_groups_policy: Option<String>,
    fs_group: Option<i64>,
    fs_group_change_policy: Option<String>,
    sysctls: Vec<Sysctl>,
    seccomp_profile: Option<Profile>,
    app_armor_profile: Option<Profile>,
});
view!(Sysctl { name: String, value: String });
view!(Profile { r#type: String, localhost_profile: String });
view!(SecurityContext {
    capabilities: Option<Capabilities>,
    privileged: Option<bool>,
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: Option<bool>,
    read_only_root_filesystem: Option<bool>,
    allow_privilege_escalation: Option<bool>,
    proc_mount: Option<String>,
    seccomp_profile: Option<Profile>,
    app_armor_profile: Option<Profile>,
});
view!(Capabilities { add: Vec<String>, drop: Vec<String>, });

view!(Volume {
    name: String,
    empty_dir: Option<EmptyDir>,
    host_path: Option<HostPath>,
    config_map: Option<ConfigMapVolume>,
    secret: Option<SecretVolume>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<DownwardVolume>,
    projected: Option<Projected>,
    image: Option<ImageVolume>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
});
view!(EmptyDir { medium: String, size_limit: Option<Value>, });
view!(HostPath { path: String, r#type: String });
view!(Item { key: String, path: String, mode: Option<u32>, });
view!(ConfigMapVolume { name: String, items: Vec<Item>, default_mode: Option<u32>, optional: Option<bool>, });
view!(SecretVolume { secret_name: String, items: Vec<Item>, default_mode: Option<u32>, optional: Option<bool>, });
view!(DownwardVolume { items: Vec<DownwardItem>, default_mode: Option<u32>, });
view!(DownwardItem { path: String, field_ref: Option<FieldRef>, resource_field_ref: Option<ResourceFieldRef>, mode: Option<u32>, });
view!(ImageVolume { reference: String, pull_policy: String });
view!(Projected { sources: Vec<ProjectedSource>, default_mode: Option<u32>, });
view!(ProjectedSource {
    config_map: Option<ProjectedObject>,
    secret: Option<ProjectedObject>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<DownwardVolume>,
    service_account_token: Option<TokenSource>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
});
view!(ProjectedObject { name: String, items: Vec<Item>, optional: Option<bool>, });
view!(TokenSource { audience: String, expiration_seconds: Option<i64>, path: String, });

impl Pod {
    /// Every container with its kind.
    pub fn all_containers(&self) -> impl Iterator<Item = (Kind, &Container)> {
        let s = &self.spec;
        let init = s.init_containers.iter().map(|c| (if c.is_sidecar() { Kind::Sidecar } else { Kind::Init }, c));
        let main = s.containers.iter().map(|c| (Kind::Main, c));
        init.chain(main).chain(s.ephemeral_containers.iter().map(|c| (Kind::Ephemeral, c)))
    }

    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.all_containers().map(|(_, c)| c).find(|c| c.name == name)
    }

    /// Seconds that its containers get to end, as the pod says.
    pub fn grace_seconds(&self) -> i64 {
        let deletion = self.metadata.deletion_grace_period_seconds.filter(|_| self.metadata.is_deleting());
        deletion.or(self.spec.termination_grace_period_seconds).unwrap_or(30).max(0)
    }

    /// Whether the pod's last reported phase is final.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// The quality-of-service class, by requests and limits of cpu and memory.
    pub fn qos(&self) -> Qos {
        let (mut any, mut all_limits) = (false, true);
        let positive = |v: Option<&Value>| v.map(quantity_milli).filter(|m| *m > 0);
        let own = [(Kind::Main, &self.spec.resources)];
        let pod_level = !self.spec.resources.limits.is_empty() || !self.spec.resources.requests.is_empty();
        let containers = self.all_containers().filter(|(k, _)| *k != Kind::Ephemeral).map(|(k, c)| (k, &c.resources));
        let considered: Vec<_> = if pod_level { own.to_vec() } else { containers.collect() };
        for (_, r) in considered {
            for name in ["cpu", "memory"] {
                let (limit, request) = (positive(r.limits.get(name)), positive(r.requests.get(name)));
                any |= limit.is_some() || request.is_some();
                all_limits &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
        match (any, all_limits) {
            (false, _) => Qos::BestEffort,
            (true, true) => Qos::Guaranteed,
            (true, false) => Qos::Burstable,
        }
    }
}

impl Container {
    /// An init container that goes on running.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Init,
    Sidecar,
    Main,
    Ephemeral,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub fn name(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }
}

fn parse(value: &Value) -> Option<api::quantity::Quantity> {
    match value {
        Value::String(text) => api::quantity::Quantity::parse(text).ok(),
        Value::Number(n) => api::quantity::Quantity::parse(&n.to_string()).ok(),
        _ => None,
    }
}

/// A quantity's value, rounded up; 0 if it is none (the server has validated it).
pub fn quantity_value(value: &Value) -> i64 {
    parse(value).map_or(0, |q| q.value())
}

/// A quantity in thousandths, rounded up.
pub fn quantity_milli(value: &Value) -> i64 {
    parse(value).map_or(0, |q| q.milli())
}
