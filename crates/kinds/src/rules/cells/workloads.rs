//! Rows of pods and of what runs them.

use super::{NONE, age, human, images, int, labels, name, or_none, selector, since};
use api::{Value, f, time};

/// Pod.
pub fn pod(p: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (p.at(f::spec), p.at(f::status));
    let (reason, ready, total, restarts, last) = pod_summary(p);
    let restarts = match last {
        Some(t) if restarts > 0 => format!("{restarts} ({} ago)", human(now - t)),
        _ => restarts.to_string(),
    };
    let gates = spec.at(f::readinessGates).items();
    let gates: Value = if gates.is_empty() {
        NONE.into()
    } else {
        let yes = gates
            .iter()
            .filter(|g| {
                status
                    .at(f::conditions)
                    .items()
                    .iter()
                    .any(|c| c.at(f::type_) == g.at(f::conditionType) && c.at(f::status).str() == "True")
            })
            .count();
        format!("{yes}/{}", gates.len()).into()
    };
    let ip = match status.at(f::podIPs).items().first() {
        Some(ip) => ip.at(f::ip).clone(),
        None => or_none(status.at(f::podIP)),
    };
    vec![
        name(p),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        age(p, now),
        ip,
        or_none(spec.at(f::nodeName)),
        or_none(status.at(f::nominatedNodeName)),
        gates,
    ]
}

fn is_sidecar(spec: &Value, name: &str) -> bool {
    spec.at(f::initContainers)
        .items()
        .iter()
        .any(|c| c.at(f::name).str() == name && c.at(f::restartPolicy).str() == "Always")
}

fn exit_reason(t: &Value) -> String {
    match (t.at(f::reason).str(), t.at(f::signal).int()) {
        ("", 0) => format!("ExitCode:{}", t.at(f::exitCode).int()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

/// What a pod's row says.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: i64,
    restarts: i64,
    last: Option<i64>,
}

impl Summary {
    fn count(&mut self, status: &Value) {
        self.restarts += status.at(f::restartCount).int();
        let finished = status.at(f::lastState).at(f::terminated).at(f::finishedAt);
        self.last = self.last.max(finished.as_str().and_then(time::parse_seconds));
    }
}

/// Init containers first: the one that is under way names the pod's state. Answers whether one is.
fn initializing(s: &mut Summary, spec: &Value, status: &Value) -> bool {
    for (i, c) in status.at(f::initContainerStatuses).items().iter().enumerate() {
        s.count(c);
        let state = c.at(f::state);
        if state.has(f::terminated) && state.at(f::terminated).at(f::exitCode).int() == 0 {
            continue;
        }
        if is_sidecar(spec, c.at(f::name).str()) && c.at(f::started).is_true() {
            s.ready += i64::from(c.at(f::ready).is_true());
            continue;
        }
        let waiting = state.at(f::waiting).at(f::reason).str();
        s.reason = if state.has(f::terminated) {
            format!("Init:{}", exit_reason(state.at(f::terminated)))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", spec.at(f::initContainers).items().len())
        };
        return true;
    }
    false
}

/// Then the containers: the first one that is in trouble names the pod's state.
fn running(s: &mut Summary, spec: &Value, status: &Value) {
    (s.restarts, s.last) = (0, None);
    status
        .at(f::initContainerStatuses)
        .items()
        .iter()
        .filter(|c| is_sidecar(spec, c.at(f::name).str()))
        .for_each(|c| s.count(c));
    let mut any = false;
    for c in status.at(f::containerStatuses).items().iter().rev() {
        s.count(c);
        let state = c.at(f::state);
        let waiting = state.at(f::waiting).at(f::reason).str();
        if !waiting.is_empty() {
            s.reason = waiting.to_string();
        } else if state.has(f::terminated) {
            s.reason = exit_reason(state.at(f::terminated));
        } else if c.at(f::ready).is_true() && state.has(f::running) {
            any = true;
            s.ready += 1;
        }
    }
    if s.reason == "Completed" && any {
        let ready = status
            .at(f::conditions)
            .items()
            .iter()
            .any(|c| c.at(f::type_).str() == "Ready" && c.at(f::status).str() == "True");
        s.reason = if ready { "Running" } else { "NotReady" }.into();
    }
}

/// Reason, ready and all containers, restarts, time of the last one.
fn pod_summary(p: &Value) -> (String, i64, i64, i64, Option<i64>) {
    let (spec, status) = (p.at(f::spec), p.at(f::status));
    let sidecars =
        spec.at(f::initContainers).items().iter().filter(|c| c.at(f::restartPolicy).str() == "Always").count();
    let total = (spec.at(f::containers).items().len() + sidecars) as i64;
    let given = status.at(f::reason).str();
    let mut s = Summary {
        reason: if given.is_empty() { status.at(f::phase).str() } else { given }.to_string(),
        ..Summary::default()
    };
    if status
        .at(f::conditions)
        .items()
        .iter()
        .any(|c| c.at(f::type_).str() == "PodScheduled" && c.at(f::reason).str() == "SchedulingGated")
    {
        s.reason = "SchedulingGated".into();
    }
    if !initializing(&mut s, spec, status) {
        running(&mut s, spec, status);
    }
    if p.at(f::metadata).has(f::deletionTimestamp) {
        if given == "NodeLost" {
            s.reason = "Unknown".into();
        } else if !matches!(status.at(f::phase).str(), "Failed" | "Succeeded") {
            s.reason = "Terminating".into();
        }
    }
    (s.reason, s.ready, total, s.restarts, s.last)
}

/// PodTemplate.
pub fn pod_template(t: &Value, _: i64) -> Vec<Value> {
    let [names, pictures] = images(t.at(f::template).at(f::spec));
    vec![name(t), names, pictures, labels(t.at(f::template).at(f::metadata).at(f::labels))]
}

/// Deployment.
pub fn deployment(d: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (d.at(f::spec), d.at(f::status));
    let [names, pictures] = images(spec.at(f::template).at(f::spec));
    vec![
        name(d),
        format!("{}/{}", status.at(f::readyReplicas).int(), spec.at(f::replicas).int()).into(),
        int(status.at(f::updatedReplicas)),
        int(status.at(f::availableReplicas)),
        age(d, now),
        names,
        pictures,
        selector(spec.at(f::selector)),
    ]
}

/// What ReplicaSets and ReplicationControllers show alike; they select in their own ways.
fn replicas(r: &Value, now: i64, selector: Value) -> Vec<Value> {
    let (spec, status) = (r.at(f::spec), r.at(f::status));
    let [names, pictures] = images(spec.at(f::template).at(f::spec));
    vec![
        name(r),
        int(spec.at(f::replicas)),
        int(status.at(f::replicas)),
        int(status.at(f::readyReplicas)),
        age(r, now),
        names,
        pictures,
        selector,
    ]
}

/// ReplicaSet.
pub fn replica_set(r: &Value, now: i64) -> Vec<Value> {
    replicas(r, now, selector(r.at(f::spec).at(f::selector)))
}

/// ReplicationController.
pub fn replication_controller(r: &Value, now: i64) -> Vec<Value> {
    replicas(r, now, labels(r.at(f::spec).at(f::selector)))
}

/// StatefulSet.
pub fn stateful_set(s: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (s.at(f::spec), s.at(f::status));
    let [names, pictures] = images(spec.at(f::template).at(f::spec));
    vec![
        name(s),
        format!("{}/{}", status.at(f::readyReplicas).int(), spec.at(f::replicas).int()).into(),
        age(s, now),
        names,
        pictures,
    ]
}

/// DaemonSet.
pub fn daemon_set(d: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (d.at(f::spec), d.at(f::status));
    let [names, pictures] = images(spec.at(f::template).at(f::spec));
    let counts = [
        f::desiredNumberScheduled,
        f::currentNumberScheduled,
        f::numberReady,
        f::updatedNumberScheduled,
        f::numberAvailable,
    ];
    let mut row = vec![name(d)];
    row.extend(counts.iter().map(|k| int(status.at(*k))));
    row.extend([
        labels(spec.at(f::template).at(f::spec).at(f::nodeSelector)),
        age(d, now),
        names,
        pictures,
        selector(spec.at(f::selector)),
    ]);
    row
}

/// ComponentStatus.
pub fn component_status(c: &Value, _: i64) -> Vec<Value> {
    let healthy = c.at(f::conditions).items().iter().find(|c| c.at(f::type_).str() == "Healthy");
    let (state, message, error) = match healthy {
        Some(c) => (
            if c.at(f::status).str() == "True" { "Healthy" } else { "Unhealthy" },
            c.at(f::message).str(),
            c.at(f::error).str(),
        ),
        None => ("Unknown", "", ""),
    };
    vec![name(c), state.into(), message.into(), error.into()]
}

/// ControllerRevision.
pub fn controller_revision(c: &Value, now: i64) -> Vec<Value> {
    let owner = c.at(f::metadata).at(f::ownerReferences).items().iter().find(|o| o.at(f::controller).is_true());
    let owner = owner.map_or(NONE.to_string(), |o| {
        let group = o.at(f::apiVersion).str().split_once('/').map_or("", |(g, _)| g);
        format!("{}/{}", api::status::qualified(&o.at(f::kind).str().to_lowercase(), group), o.at(f::name).str())
    });
    vec![name(c), owner.into(), int(c.at(f::revision)), age(c, now)]
}

/// Job.
pub fn job(j: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (j.at(f::spec), j.at(f::status));
    let done = status.at(f::succeeded).int();
    let completions = match (spec.at(f::completions), spec.at(f::parallelism)) {
        (Value::Int(n), _) => format!("{done}/{n}"),
        (_, Value::Int(n)) if *n > 1 => format!("{done}/1 of {n}"),
        _ => format!("{done}/1"),
    };
    let stamp = |v: &Value| v.as_str().and_then(time::parse_seconds);
    let duration = match (stamp(status.at(f::startTime)), stamp(status.at(f::completionTime))) {
        (None, _) => String::new(),
        (Some(a), Some(b)) => human(b - a),
        (Some(a), None) => human(now - a),
    };
    let is = |kind: &str| {
        status.at(f::conditions).items().iter().any(|c| c.at(f::type_).str() == kind && c.at(f::status).str() == "True")
    };
    let state = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if j.at(f::metadata).has(f::deletionTimestamp) {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let [names, pictures] = images(spec.at(f::template).at(f::spec));
    vec![
        name(j),
        state.into(),
        completions.into(),
        duration.into(),
        age(j, now),
        names,
        pictures,
        selector(spec.at(f::selector)),
    ]
}

/// CronJob.
pub fn cron_job(c: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (c.at(f::spec), c.at(f::status));
    let last = if status.has(f::lastScheduleTime) { since(status.at(f::lastScheduleTime), now) } else { NONE.into() };
    let template = spec.at(f::jobTemplate).at(f::spec);
    let [names, pictures] = images(template.at(f::template).at(f::spec));
    let suspend = if spec.at(f::suspend).is_true() { "True" } else { "False" };
    vec![
        name(c),
        spec.at(f::schedule).clone(),
        or_none(spec.at(f::timeZone)),
        suspend.into(),
        Value::Int(status.at(f::active).items().len() as i64),
        last,
        age(c, now),
        names,
        pictures,
        selector(template.at(f::selector)),
    ]
}
