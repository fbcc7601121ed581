//! What the API is told about a pod: phase, conditions, container states.
//!
//! Reasons and messages are upstream's: clients match on them.

use platform::WallTime;
use serde_json::{Map, Value, json};

use super::machine::{ContainerSeen, Life, Machine, Run, Why};
use super::pod::{Condition, Container, Kind, Pod};
use super::probe;

/// `name_namespace(uid)`, as messages name a pod.
pub fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid)
}

/// Where the pod runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    pub ips: Vec<String>,
    /// Scheme of container ids, `corten` in `corten://id`.
    pub runtime: String,
}

/// A time as the API writes it.
pub fn time(at: WallTime) -> Value {
    api::time::format_seconds(at.unix_seconds()).into()
}

/// The `status` of the pod. Fields that are gone are null, so that a patch removes them.
pub fn build(m: &Machine, host: &Host, now: WallTime) -> Value {
    let pod = &m.pod;
    let list = |kinds: &[Kind]| -> Vec<Value> {
        pod.all_containers().filter(|(k, _)| kinds.contains(k)).map(|(kind, c)| container(m, kind, c, host)).collect()
    };
    let (main, init, ephemeral) = (list(&[Kind::Main]), list(&[Kind::Init, Kind::Sidecar]), list(&[Kind::Ephemeral]));
    let phase = phase(m);
    let (reason, message) = match &m.life {
        Life::Terminating { why: Why::Failed { reason, message }, .. }
        | Life::Terminated { why: Why::Failed { reason, message } } => (json!(reason), json!(message)),
        _ if pod.is_finished() && !pod.status.reason.is_empty() => {
            (json!(pod.status.reason), json!(pod.status.message))
        }
        _ => (Value::Null, Value::Null),
    };
    let ips = pod_ips(m, host);
    let ip_list = |ips: &[String]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
    let mut status = json!({
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "reason": reason,
        "message": message,
        "conditions": conditions(m, phase, &main, &init, now),
        "hostIP": host.ips.first(),
        "hostIPs": ip_list(&host.ips),
        "startTime": time(m.start_time),
        "qosClass": pod.qos().name(),
        "containerStatuses": main,
    });
    if !ips.is_empty() {
        status["podIP"] = json!(ips[0]);
        status["podIPs"] = ip_list(&ips).into();
    }
    for (key, list) in [("initContainerStatuses", init), ("ephemeralContainerStatuses", ephemeral)] {
        if !list.is_empty() {
            status[key] = list.into();
        }
    }
    status
}

fn pod_ips(m: &Machine, host: &Host) -> Vec<String> {
    if m.pod.spec.host_network {
        return host.ips.clone();
    }
    // The addresses stay visible after the end.
    m.seen.sandboxes.iter().find(|s| !s.ips.is_empty()).map(|s| s.ips.clone()).unwrap_or_default()
}

/// The pod's phase.
pub fn phase(m: &Machine) -> &'static str {
    let pod = &m.pod;
    match (&m.life, pod.status.phase.as_str()) {
        (_, "Failed") => return "Failed",
        (_, "Succeeded") => return "Succeeded",
        (Life::Terminating { why: Why::Failed { .. }, .. } | Life::Terminated { why: Why::Failed { .. } }, _) => {
            return "Failed";
        }
        _ => {}
    }
    let ended = |c: &Container| m.newest(&c.name).filter(|i| i.state == Run::Exited);
    let over = matches!(m.life, Life::Terminated { .. } | Life::Finished);
    let init: Vec<&Container> = pod.spec.init_containers.iter().filter(|c| !c.is_sidecar()).collect();
    if init.iter().any(|c| ended(c).is_some_and(|i| i.exit_code != 0 && !m.restarts(c, i.exit_code))) {
        return "Failed";
    }
    let main = &pod.spec.containers;
    let any_main = main.iter().any(|c| m.newest(&c.name).is_some_and(|i| i.state != Run::Created));
    let final_phase = || {
        let succeeded = main.iter().all(|c| ended(c).is_some_and(|i| i.exit_code == 0));
        if succeeded { "Succeeded" } else { "Failed" }
    };
    if over {
        return final_phase();
    }
    if !any_main {
        return "Pending";
    }
    let all_ended = main.iter().all(|c| ended(c).is_some_and(|i| !m.restarts(c, i.exit_code)));
    let waiting =
        main.iter().any(|c| m.newest(&c.name).is_none_or(|i| i.state == Run::Created) && m.next_attempt(&c.name) == 0);
    match (all_ended, waiting) {
        (true, _) => final_phase(),
        (false, true) => "Pending",
        (false, false) => "Running",
    }
}

fn conditions(m: &Machine, phase: &str, main: &[Value], init: &[Value], now: WallTime) -> Vec<Value> {
    let pod = &m.pod;
    let done = matches!(phase, "Succeeded" | "Failed");
    let names = |list: &[Value], bad: &dyn Fn(&Value) -> bool| -> Vec<String> {
        list.iter().filter(|s| bad(s)).filter_map(|s| s["name"].as_str().map(String::from)).collect()
    };
    let show = |names: &[String]| format!("[{}]", names.join(" "));
    let sidecar = |s: &Value| pod.spec.init_containers.iter().any(|c| c.is_sidecar() && s["name"] == c.name.as_str());
    // Sidecars must have started, other init containers must have succeeded.
    let main_ran = pod.spec.containers.iter().any(|c| m.newest(&c.name).is_some());
    let incomplete = names(init, &|s| if sidecar(s) { s["started"] != true } else { s["ready"] != true });
    let initialized = match (incomplete.is_empty() || main_ran, phase) {
        (true, "Succeeded") if !init.is_empty() => ("True", "PodCompleted", String::new()),
        (true, _) => ("True", "", String::new()),
        (false, _) => {
            ("False", "ContainersNotInitialized", format!("containers with incomplete status: {}", show(&incomplete)))
        }
    };
    let mut unready = names(main, &|s| s["ready"] != true);
    unready.extend(names(init, &|s| sidecar(s) && s["ready"] != true));
    let ready_reason = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let containers_ready = match (ready_reason, unready.is_empty()) {
        (Some(reason), _) => ("False", reason, String::new()),
        (None, true) if m.observed && !pod.spec.containers.is_empty() => ("True", "", String::new()),
        (None, _) => ("False", "ContainersNotReady", format!("containers with unready status: {}", show(&unready))),
    };
    let gates: Vec<String> = pod
        .spec
        .readiness_gates
        .iter()
        .filter(|g| !has_true(pod, &g.condition_type))
        .map(|g| g.condition_type.clone())
        .collect();
    let ready = if containers_ready.0 == "True" && !gates.is_empty() {
        let text: Vec<String> = gates.iter().map(|g| gate_message(pod, g)).collect();
        ("False", "ReadinessGatesNotReady", text.join(", "))
    } else {
        containers_ready.clone()
    };
    let sandbox = m.seen.sandboxes.first().is_some_and(|s| s.ready && (pod.spec.host_network || !s.ips.is_empty()));
    let mut all = vec![
        ("PodReadyToStartContainers", (if sandbox && !done { "True" } else { "False" }, "", String::new())),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    if !has_true(pod, "PodScheduled") {
        all.push(("PodScheduled", ("True", "", String::new())));
    }
    all.into_iter()
        .map(|(kind, (status, reason, message))| condition(pod, kind, status, reason, &message, now))
        .collect()
}

fn has_true(pod: &Pod, kind: &str) -> bool {
    pod.status.conditions.iter().any(|c| c.r#type == kind && c.status == "True")
}

fn gate_message(pod: &Pod, gate: &str) -> String {
    match pod.status.conditions.iter().any(|c| c.r#type == gate) {
        true => format!("the status of pod readiness gate \"{gate}\" is not \"True\", but False"),
        false => format!("corresponding condition of pod readiness gate \"{gate}\" does not exist."),
    }
}

fn condition(pod: &Pod, kind: &str, status: &str, reason: &str, message: &str, now: WallTime) -> Value {
    let old: Option<&Condition> = pod.status.conditions.iter().find(|c| c.r#type == kind);
    let since = old.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
    let text = |t: &str| if t.is_empty() { Value::Null } else { json!(t) };
    json!({
        "type": kind, "status": status, "reason": text(reason), "message": text(message), "lastProbeTime": null,
        "lastTransitionTime": since.map_or_else(|| time(now), Value::from),
        "observedGeneration": pod.metadata.generation,
    })
}

fn container(m: &Machine, kind: Kind, c: &Container, host: &Host) -> Value {
    let newest = m.newest(&c.name);
    let memory = m.containers.get(&c.name);
    let told = m.pod.status.container_statuses.iter().chain(&m.pod.status.init_container_statuses);
    let told = told.chain(&m.pod.status.ephemeral_container_statuses).find(|s| s.name == c.name);
    let mut status = Map::new();
    status.insert("name".into(), json!(c.name));
    let running = newest.is_some_and(|i| i.state == Run::Running);
    let restarting =
        newest.is_some_and(|i| i.state == Run::Exited && m.restarts(c, i.exit_code)) && m.life == Life::Syncing;
    let waits = memory.and_then(|mem| mem.waiting.clone());
    let (state, last) = match newest {
        Some(i) if i.state == Run::Running => {
            (json!({"running": {"startedAt": time(i.started_at)}}), previous(m, c, 1, host))
        }
        Some(i) if i.state == Run::Exited && restarting && waits.is_some() => {
            (waiting(m, kind, waits), terminated(i, host))
        }
        Some(i) if i.state == Run::Exited => (terminated(i, host), previous(m, c, 1, host)),
        // The runtime has forgotten it, the API has not.
        None if told.is_some_and(|t| t.state.get("terminated").is_some()) && m.life != Life::Syncing => {
            (told.map(|t| t.state.clone()).unwrap_or_default(), json!({}))
        }
        _ => (waiting(m, kind, waits), previous(m, c, usize::from(newest.is_some()), host)),
    };
    let started = running && memory.is_some_and(|mem| mem.started);
    let init_done = kind == Kind::Init && newest.is_some_and(|i| i.state == Run::Exited && i.exit_code == 0);
    let ready = match kind {
        Kind::Init => init_done,
        _ => running && started && memory.is_some_and(|mem| mem.ready) && !matches!(m.life, Life::Terminated { .. }),
    };
    let count = newest.map_or_else(|| told.map_or(0, |t| t.restart_count), |i| i.attempt as i32);
    status.insert("state".into(), state);
    status.insert("lastState".into(), last);
    status.insert("ready".into(), ready.into());
    status.insert("started".into(), if kind == Kind::Init { running.into() } else { started.into() });
    status.insert("restartCount".into(), count.into());
    status.insert(
        "image".into(),
        json!(newest.map_or(c.image.as_str(), |i| if i.image.is_empty() {
            c.image.as_str()
        } else {
            i.image.as_str()
        })),
    );
    status.insert("imageID".into(), json!(newest.map_or("", |i| i.image_id.as_str())));
    if let Some(i) = newest {
        status.insert("containerID".into(), json!(format!("{}://{}", host.runtime, i.id)));
        if let Some((uid, gid, groups)) = &i.user {
            status.insert("user".into(), json!({"linux": {"uid": uid, "gid": gid, "supplementalGroups": groups}}));
        }
    }
    if !c.resources.requests.is_empty() {
        status.insert("allocatedResources".into(), json!(c.resources.requests));
    }
    let mut resources = Map::new();
    for (key, map) in [("limits", &c.resources.limits), ("requests", &c.resources.requests)] {
        if !map.is_empty() {
            resources.insert(key.into(), json!(map));
        }
    }
    status.insert("resources".into(), resources.into());
    let mounts: Vec<Value> = c.volume_mounts.iter().map(|v| volume_mount(v)).collect();
    if !mounts.is_empty() {
        status.insert("volumeMounts".into(), mounts.into());
    }
    Value::Object(status)
}

fn volume_mount(v: &super::pod::VolumeMount) -> Value {
    let mut out = json!({"name": v.name, "mountPath": v.mount_path});
    if v.read_only {
        out["readOnly"] = true.into();
        out["recursiveReadOnly"] = json!(v.recursive_read_only.as_deref().map_or("Disabled", |r| if r == "Disabled" {
            "Disabled"
        } else {
            "Enabled"
        }));
    }
    out
}

fn waiting(m: &Machine, kind: Kind, why: Option<(String, String)>) -> Value {
    match why {
        Some((reason, message)) if message.is_empty() => json!({"waiting": {"reason": reason}}),
        Some((reason, message)) => json!({"waiting": {"reason": reason, "message": message}}),
        None => {
            let initializing =
                !m.pod.spec.init_containers.is_empty() && matches!(kind, Kind::Main | Kind::Init | Kind::Sidecar);
            json!({"waiting": {"reason": if initializing { "PodInitializing" } else { "ContainerCreating" }}})
        }
    }
}

/// The state before the newest: the instance that many places back, or what the API remembers.
fn previous(m: &Machine, c: &Container, back: usize, host: &Host) -> Value {
    let old = m.instances(&c.name).nth(back).filter(|i| i.state == Run::Exited);
    let told =
        m.pod.status.container_statuses.iter().chain(&m.pod.status.init_container_statuses).find(|s| s.name == c.name);
    match (old, told) {
        (Some(i), _) => terminated(i, host),
        (None, Some(t)) if t.last_state.is_object() && m.instances(&c.name).next().is_none_or(|i| i.attempt > 0) => {
            t.last_state.clone()
        }
        _ => json!({}),
    }
}

fn terminated(i: &ContainerSeen, host: &Host) -> Value {
    let mut state = json!({
        "exitCode": i.exit_code, "reason": i.reason, "startedAt": time(i.started_at), "finishedAt": time(i.finished_at),
        "containerID": format!("{}://{}", host.runtime, i.id),
    });
    if !i.message.is_empty() {
        state["message"] = json!(i.message);
    }
    if i.signal != 0 {
        state["signal"] = i.signal.into();
    }
    json!({"terminated": state})
}

/// Which probes should run, for which instance: container name, id, probe kind.
pub fn wanted_probes(m: &Machine) -> Vec<probe::Wanted> {
    let mut out = Vec::new();
    if m.life != Life::Syncing && !matches!(m.life, Life::Terminating { .. }) {
        return out;
    }
    for (kind, c) in m.pod.all_containers() {
        if !matches!(kind, Kind::Main | Kind::Sidecar) {
            continue;
        }
        let Some(i) = m.newest(&c.name).filter(|i| i.state == Run::Running) else { continue };
        let Some(memory) = m.containers.get(&c.name).filter(|mem| mem.probed_id == i.id) else { continue };
        out.extend(probe::wanted(c, &i.id, memory.started, m.life == Life::Syncing));
    }
    out
}
