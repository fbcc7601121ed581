//! Pods and pod templates.

use super::{Out, joined, or_none, time};
use crate::core::jsonpath::text_of;
use api::Value;

/// A pod.
pub fn pod(out: &mut Out, pod: &Value) {
    let (metadata, spec, status) = (pod.at("metadata"), pod.at("spec"), pod.at("status"));
    out.field(0, "Name", metadata.at("name").str());
    out.field(0, "Namespace", metadata.at("namespace").str());
    if let Some(priority) = spec.at("priority").as_int() {
        out.field(0, "Priority", &priority.to_string());
        if !spec.at("priorityClassName").str().is_empty() {
            out.field(0, "Priority Class Name", spec.at("priorityClassName").str());
        }
    }
    if !spec.at("runtimeClassName").str().is_empty() {
        out.field(0, "Runtime Class Name", spec.at("runtimeClassName").str());
    }
    if !spec.at("serviceAccountName").str().is_empty() {
        out.field(0, "Service Account", spec.at("serviceAccountName").str());
    }
    let node = spec.at("nodeName").str();
    let place = if node.is_empty() { "<none>".to_string() } else { format!("{node}/{}", status.at("hostIP").str()) };
    out.field(0, "Node", &place);
    if !status.at("startTime").str().is_empty() {
        out.field(0, "Start Time", &time(status.at("startTime").str()));
    }
    out.labels(pod);
    let deleted = metadata.at("deletionTimestamp").str();
    if deleted.is_empty() {
        out.field(0, "Status", status.at("phase").str());
    } else {
        out.field(0, "Status", &format!("Terminating (since {})", time(deleted)));
        out.field(0, "Termination Grace Period", &format!("{}s", metadata.at("deletionGracePeriodSeconds").int()));
    }
    for (name, field) in [("Reason", "reason"), ("Message", "message")] {
        if !status.at(field).str().is_empty() {
            out.field(0, name, status.at(field).str());
        }
    }
    let seccomp = spec.at("securityContext").at("seccompProfile").at("type").str();
    if !seccomp.is_empty() {
        out.field(0, "SeccompProfile", seccomp);
    }
    out.field(0, "IP", status.at("podIP").str());
    let addresses = status.at("podIPs").items();
    if addresses.is_empty() {
        out.field(0, "IPs", "<none>");
    } else {
        out.line(0, "IPs:");
        addresses.iter().for_each(|a| out.field(1, "IP", a.at("ip").str()));
    }
    for owner in metadata.at("ownerReferences").items().iter().filter(|o| o.at("controller").is_true()) {
        out.field(0, "Controlled By", &format!("{}/{}", owner.at("kind").str(), owner.at("name").str()));
    }
    if !status.at("nominatedNodeName").str().is_empty() {
        out.field(0, "NominatedNodeName", status.at("nominatedNodeName").str());
    }
    for (title, field, states) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        containers(out, 0, title, spec.at(field), status.at(states));
    }
    conditions(out, status);
    volumes(out, 0, spec.at("volumes"));
    if !status.at("qosClass").str().is_empty() {
        out.field(0, "QoS Class", status.at("qosClass").str());
    }
    out.map(0, "Node-Selectors", spec.at("nodeSelector"), "=", &[]);
    tolerations(out, spec);
    spread(out, 0, spec);
}

fn spread(out: &mut Out, depth: usize, spec: &Value) {
    for (i, c) in spec.at("topologySpreadConstraints").items().iter().enumerate() {
        let selector = if c.at("labelSelector").is_null() {
            String::new()
        } else {
            format!(" for selector {}", super::selector(c.at("labelSelector")))
        };
        let (key, action, skew) = (c.at("topologyKey").str(), c.at("whenUnsatisfiable").str(), c.at("maxSkew").int());
        let head = if i == 0 { "Topology Spread Constraints:" } else { "" };
        out.line(depth, &format!("{head}\t{key}:{action} when max skew {skew} is exceeded{selector}"));
    }
}

fn conditions(out: &mut Out, status: &Value) {
    let conditions = status.at("conditions").items();
    if !conditions.is_empty() {
        out.line(0, "Conditions:");
        out.line(0, "  Type\tStatus");
        conditions.iter().for_each(|c| out.line(0, &format!("  {} \t{} ", c.at("type").str(), c.at("status").str())));
    }
}

fn tolerations(out: &mut Out, spec: &Value) {
    let tolerations = spec.at("tolerations").items();
    if tolerations.is_empty() {
        return out.field(0, "Tolerations", "<none>");
    }
    let mut texts: Vec<String> = tolerations
        .iter()
        .map(|t| {
            let (key, value, effect) = (t.at("key").str(), t.at("value").str(), t.at("effect").str());
            let mut text = key.to_string();
            if !value.is_empty() {
                text = format!("{text}={value}");
            }
            if !effect.is_empty() {
                text = format!("{text}:{effect}");
            }
            if t.at("operator").str() == "Exists" && value.is_empty() {
                text = if key.is_empty() && effect.is_empty() {
                    "op=Exists".to_string()
                } else {
                    format!("{text} op=Exists")
                };
            }
            match t.at("tolerationSeconds").as_int() {
                Some(seconds) => format!("{text} for {seconds}s"),
                None => text,
            }
        })
        .collect();
    texts.sort();
    for (i, text) in texts.iter().enumerate() {
        out.line(0, &format!("{}\t{text}", if i == 0 { "Tolerations:" } else { "" }));
    }
}

/// Containers with their states.
fn containers(out: &mut Out, depth: usize, title: &str, containers: &Value, states: &Value) {
    if containers.items().is_empty() {
        return;
    }
    out.line(depth, &format!("{title}:"));
    for container in containers.items() {
        let name = container.at("name").str();
        let state = states.items().iter().find(|s| s.at("name").str() == name);
        named(out, depth, name);
        let depth = 2;
        container_basics(out, depth, container, state);
        if let Some(state) = state {
            container_state(out, depth, "State", state.at("state"));
            if state.at("lastState").as_map().is_some_and(|m| !m.is_empty()) {
                container_state(out, depth, "Last State", state.at("lastState"));
            }
            out.field(depth, "Ready", if state.at("ready").is_true() { "True" } else { "False" });
            out.field(depth, "Restart Count", &state.at("restartCount").int().to_string());
        }
        container_rest(out, depth, container);
    }
}

/// The name of a container or volume. Below a template upstream moves it by one space, and its fields not at all.
fn named(out: &mut Out, depth: usize, name: &str) {
    let more = if depth == 0 { "" } else { " " };
    out.line(1, &format!("{more}{name}:"));
}

fn container_basics(out: &mut Out, depth: usize, container: &Value, state: Option<&Value>) {
    let of_state = |field: &str| state.map(|s| s.at(field).str().to_string()).unwrap_or_default();
    if state.is_some() {
        out.field(depth, "Container ID", &of_state("containerID"));
    }
    out.field(depth, "Image", container.at("image").str());
    if state.is_some() {
        out.field(depth, "Image ID", &of_state("imageID"));
    }
    let ports = container.at("ports").items();
    let text = |field: &str| {
        let one = |p: &Value| format!("{}/{}", p.at(field).int(), or(p.at("protocol").str(), "TCP"));
        let all = ports.iter().map(one).collect::<Vec<_>>().join(", ");
        or_none(&all).to_string()
    };
    let (port, host_port) = if ports.len() > 1 { ("Ports", "Host Ports") } else { ("Port", "Host Port") };
    out.field(depth, port, &text("containerPort"));
    out.field(depth, host_port, &text("hostPort"));
    for (title, field) in [("Command", "command"), ("Args", "args")] {
        let words = container.at(field).items();
        if !words.is_empty() {
            out.line(depth, &format!("{title}:"));
            words.iter().flat_map(|w| w.str().lines()).for_each(|l| out.line(depth + 1, l));
        }
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn container_state(out: &mut Out, depth: usize, title: &str, state: &Value) {
    let detail = |out: &mut Out, state: &Value, fields: &[(&str, &str)]| {
        for (name, field) in fields {
            let value = state.at(*field);
            if !value.is_null() && !text_of(value).is_empty() {
                let shown = if field.ends_with("At") { time(value.str()) } else { text_of(value) };
                out.field(depth + 1, name, &shown);
            }
        }
    };
    if state.has("running") {
        out.field(depth, title, "Running");
        detail(out, state.at("running"), &[("Started", "startedAt")]);
    } else if state.has("terminated") {
        out.field(depth, title, "Terminated");
        let ended = state.at("terminated");
        detail(out, ended, &[("Reason", "reason"), ("Message", "message")]);
        out.field(depth + 1, "Exit Code", &ended.at("exitCode").int().to_string());
        if ended.at("signal").int() != 0 {
            out.field(depth + 1, "Signal", &ended.at("signal").int().to_string());
        }
        detail(out, ended, &[("Started", "startedAt"), ("Finished", "finishedAt")]);
    } else {
        out.field(depth, title, "Waiting");
        detail(out, state.at("waiting"), &[("Reason", "reason")]);
    }
}

fn container_rest(out: &mut Out, depth: usize, container: &Value) {
    let resources = container.at("resources");
    for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let all = resources.at(field);
        if all.as_map().is_some_and(|m| !m.is_empty()) {
            out.line(depth, &format!("{title}:"));
            let mut entries: Vec<_> = all.members().collect();
            entries.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            entries.into_iter().for_each(|(k, v)| out.field(depth + 1, k.as_str(), &text_of(v)));
        }
    }
    for (title, field) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if container.has(field) {
            out.field(depth, title, &probe(container.at(field)));
        }
    }
    let from = container.at("envFrom").items();
    if !from.is_empty() {
        out.line(depth, "Environment Variables from:");
        for source in from {
            let (kind, reference) = if source.has("configMapRef") {
                ("ConfigMap", source.at("configMapRef"))
            } else {
                ("Secret", source.at("secretRef"))
            };
            out.line(
                depth + 1,
                &format!("{}\t{kind}\tOptional: {}", reference.at("name").str(), reference.at("optional").is_true()),
            );
        }
    }
    let environment = container.at("env").items();
    if environment.is_empty() {
        out.field(depth, "Environment", "<none>");
    } else {
        out.line(depth, "Environment:");
        environment.iter().for_each(|e| variable(out, depth + 1, e));
    }
    let mounts = container.at("volumeMounts").items();
    if mounts.is_empty() {
        return out.field(depth, "Mounts", "<none>");
    }
    out.line(depth, "Mounts:");
    let mut lines: Vec<String> = mounts
        .iter()
        .map(|m| {
            let mode = if m.at("readOnly").is_true() { "ro" } else { "rw" };
            let path = m.at("subPath").str();
            let path = if path.is_empty() { String::new() } else { format!(",path={path:?}") };
            format!("{} from {} ({mode}{path})", m.at("mountPath").str(), m.at("name").str())
        })
        .collect();
    lines.sort();
    lines.iter().for_each(|l| out.line(depth + 1, l));
}

fn variable(out: &mut Out, depth: usize, variable: &Value) {
    let (name, from) = (variable.at("name").str(), variable.at("valueFrom"));
    let key = |reference: &Value, what: &str| {
        let place = format!("key '{}' in {what} '{}'", reference.at("key").str(), reference.at("name").str());
        format!("<set to the {place}>\tOptional: {}", reference.at("optional").is_true())
    };
    let text = if from.has("fieldRef") {
        format!(
            "({}:{})",
            or(from.at("fieldRef").at("apiVersion").str(), "v1"),
            from.at("fieldRef").at("fieldPath").str()
        )
    } else if from.has("resourceFieldRef") {
        format!("({})", from.at("resourceFieldRef").at("resource").str())
    } else if from.has("secretKeyRef") {
        key(from.at("secretKeyRef"), "secret")
    } else if from.has("configMapKeyRef") {
        key(from.at("configMapKeyRef"), "of config map").replace("in of", "of")
    } else {
        variable.at("value").str().to_string()
    };
    out.field(depth, name, &text);
}

/// A probe in one line.
fn probe(probe: &Value) -> String {
    let number = |field: &str, default: i64| probe.at(field).as_int().unwrap_or(default);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    let (exec, http, tcp, grpc) = (probe.at("exec"), probe.at("httpGet"), probe.at("tcpSocket"), probe.at("grpc"));
    let head = if probe.has("exec") {
        format!("exec [{}]", joined(exec.at("command"), " "))
    } else if probe.has("httpGet") {
        let scheme = or(http.at("scheme").str(), "HTTP").to_lowercase();
        format!("http-get {scheme}://{}:{}{}", http.at("host").str(), text_of(http.at("port")), http.at("path").str())
    } else if probe.has("tcpSocket") {
        format!("tcp-socket {}:{}", tcp.at("host").str(), text_of(tcp.at("port")))
    } else {
        format!("grpc <pod>:{} {}", grpc.at("port").int(), grpc.at("service").str())
    };
    format!("{head} {attributes}")
}

/// Volumes, by what they are made of.
fn volumes(out: &mut Out, depth: usize, volumes: &Value) {
    if volumes.items().is_empty() {
        return out.field(depth, "Volumes", "<none>");
    }
    out.line(depth, "Volumes:");
    for volume in volumes.items() {
        named(out, depth, volume.at("name").str());
        let depth = 2;
        let at = |kind: &str| volume.at(kind).clone();
        if volume.has("configMap") {
            out.field(depth, "Type", "ConfigMap (a volume populated by a ConfigMap)");
            out.field(depth, "Name", at("configMap").at("name").str());
            out.field(depth, "Optional", &at("configMap").at("optional").is_true().to_string());
        } else if volume.has("secret") {
            out.field(depth, "Type", "Secret (a volume populated by a Secret)");
            out.field(depth, "SecretName", at("secret").at("secretName").str());
            out.field(depth, "Optional", &at("secret").at("optional").is_true().to_string());
        } else if volume.has("emptyDir") {
            out.field(depth, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
            out.field(depth, "Medium", at("emptyDir").at("medium").str());
            out.field(depth, "SizeLimit", or(&text_of(at("emptyDir").at("sizeLimit")), "<unset>"));
        } else if volume.has("hostPath") {
            out.field(depth, "Type", "HostPath (bare host directory volume)");
            out.field(depth, "Path", at("hostPath").at("path").str());
            out.field(depth, "HostPathType", at("hostPath").at("type").str());
        } else if volume.has("persistentVolumeClaim") {
            out.field(
                depth,
                "Type",
                "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            );
            out.field(depth, "ClaimName", at("persistentVolumeClaim").at("claimName").str());
            out.field(depth, "ReadOnly", &at("persistentVolumeClaim").at("readOnly").is_true().to_string());
        } else if volume.has("projected") {
            out.field(depth, "Type", "Projected (a volume that contains injected data from multiple sources)");
            at("projected").at("sources").items().iter().for_each(|s| projected(out, depth, s));
        } else {
            let kind = volume.members().map(|(k, _)| k.as_str().to_string()).find(|k| k != "name");
            out.field(depth, "Type", &kind.unwrap_or_else(|| "<unknown>".into()));
        }
    }
}

fn projected(out: &mut Out, depth: usize, source: &Value) {
    if source.has("serviceAccountToken") {
        out.field(
            depth,
            "TokenExpirationSeconds",
            &source.at("serviceAccountToken").at("expirationSeconds").int().to_string(),
        );
    } else if source.has("configMap") {
        out.field(depth, "ConfigMapName", source.at("configMap").at("name").str());
        out.field(depth, "Optional", &source.at("configMap").at("optional").is_true().to_string());
    } else if source.has("secret") {
        out.field(depth, "SecretName", source.at("secret").at("name").str());
        out.field(depth, "Optional", &source.at("secret").at("optional").is_true().to_string());
    } else if source.has("downwardAPI") {
        out.field(depth, "DownwardAPI", "true");
    }
}

/// The template of a workload.
pub fn pod_template(template: &Value) -> String {
    let mut out = Out::default();
    write_template(&mut out, template);
    out.text
}

/// The template of a workload, after its own fields.
pub fn write_template(out: &mut Out, template: &Value) {
    out.line(0, "Pod Template:");
    let (metadata, spec) = (template.at("metadata"), template.at("spec"));
    out.map(1, "Labels", metadata.at("labels"), "=", &[]);
    if metadata.at("annotations").as_map().is_some_and(|m| !m.is_empty()) {
        out.map(1, "Annotations", metadata.at("annotations"), ": ", &[]);
    }
    if !spec.at("serviceAccountName").str().is_empty() {
        out.field(1, "Service Account", spec.at("serviceAccountName").str());
    }
    containers(out, 1, "Init Containers", spec.at("initContainers"), &Value::Null);
    containers(out, 1, "Containers", spec.at("containers"), &Value::Null);
    volumes(out, 1, spec.at("volumes"));
    spread(out, 1, spec);
    out.map(1, "Node-Selectors", spec.at("nodeSelector"), "=", &[]);
    let mut inner = Out::default();
    tolerations(&mut inner, spec);
    inner.text.lines().for_each(|l| out.line(1, l));
}
