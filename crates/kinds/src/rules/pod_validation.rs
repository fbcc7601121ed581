//! Validation of pods and pod templates.
//!
//! Source: `pkg/apis/core/validation/validation.go`. The part that a user meets first: names, containers, ports, volumes
//! and their mounts, resources, probes; and what of a pod may change.

use super::validation as v;
use super::workloads::RootChild;
use api::errors::{FieldErrors, Path};
use api::quantity::Quantity;
use api::{Value, f, format};

/// A pod.
pub fn validate(pod: &Value, errs: &mut FieldErrors) {
    spec(pod.at(f::spec), &Path::Root.child_static("spec"), errs);
}

/// A PodTemplate object.
pub fn template_object(t: &Value, errs: &mut FieldErrors) {
    template(t.at(f::template), &Path::Root.child_static("template"), errs);
}

/// A pod template.
pub fn template(t: &Value, path: &Path, errs: &mut FieldErrors) {
    let metadata = path.child("metadata");
    v::labels(t.at(f::metadata).at(f::labels), &path.child("labels"), errs);
    v::annotations(t.at(f::metadata).at(f::annotations), &metadata.child("annotations"), errs);
    spec(t.at(f::spec), &path.child("spec"), errs);
    if !t.at(f::spec).at(f::ephemeralContainers).is_zero() {
        let spec = path.child("spec");
        errs.forbidden(&spec.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

fn spec(s: &Value, path: &Path, errs: &mut FieldErrors) {
    let volumes = volumes(s.at(f::volumes), &path.child("volumes"), errs);
    let mut names: Vec<String> = Vec::new();
    let containers = path.child("containers");
    if s.at(f::containers).is_zero() {
        errs.required(&containers, "");
    }
    for (i, c) in s.at(f::containers).items().iter().enumerate() {
        container(c, &containers.index(i), &volumes, &mut names, errs);
    }
    let inits = path.child("initContainers");
    for (i, c) in s.at(f::initContainers).items().iter().enumerate() {
        container(c, &inits.index(i), &volumes, &mut names, errs);
    }
    host_ports(s, &containers, errs);
    v::one_of(s.at(f::restartPolicy), &path.child("restartPolicy"), &["Always", "Never", "OnFailure"], errs);
    v::one_of(
        s.at(f::dnsPolicy),
        &path.child("dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        errs,
    );
    let selector = s.at(f::nodeSelector);
    v::labels(selector, &path.child("nodeSelector"), errs);
    for (key, name, check) in [
        (f::serviceAccountName, "serviceAccountName", format::is_dns1123_subdomain as format::Check),
        (f::nodeName, "nodeName", format::is_dns1123_subdomain),
        (f::hostname, "hostname", format::is_dns1123_label),
        (f::subdomain, "subdomain", format::is_dns1123_label),
        (f::priorityClassName, "priorityClassName", format::is_dns1123_subdomain),
        (f::runtimeClassName, "runtimeClassName", format::is_dns1123_subdomain),
    ] {
        let value = s.at(key);
        if !value.str().is_empty() {
            for m in check(value.str()) {
                errs.invalid(&path.child(name), value, m);
            }
        }
    }
    let deadline = s.at(f::activeDeadlineSeconds);
    if deadline.as_int().is_some_and(|n| !(1..=i64::from(i32::MAX)).contains(&n)) {
        errs.invalid(&path.child("activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive");
    }
    tolerations(s.at(f::tolerations), &path.child("tolerations"), errs);
    let context = path.child("securityContext");
    for (key, name) in [(f::runAsUser, "runAsUser"), (f::runAsGroup, "runAsGroup"), (f::fsGroup, "fsGroup")] {
        id(s.at(f::securityContext).at(key), &context.child(name), errs);
    }
}

fn id(value: &Value, path: &Path, errs: &mut FieldErrors) {
    if value.as_int().is_some_and(|n| !(0..=i64::from(i32::MAX)).contains(&n)) {
        errs.invalid(path, value, "must be between 0 and 2147483647, inclusive");
    }
}

fn volumes(list: &Value, path: &Path, errs: &mut FieldErrors) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (i, volume) in list.items().iter().enumerate() {
        let at = path.index(i);
        let sources: Vec<_> = volume.members().filter(|(k, s)| k.as_str() != "name" && !s.is_null()).collect();
        for (k, _) in sources.iter().skip(1) {
            errs.forbidden(&at.child(k.as_str()), "may not specify more than 1 volume type");
        }
        if let Some((k, s)) = sources.first() {
            volume_source(k.as_str(), s, &at, errs);
        } else {
            errs.required(&at, "must specify a volume type");
        }
        let name = volume.at(f::name);
        v::named(name, &at.child("name"), format::is_dns1123_label, errs);
        if !name.str().is_empty() && names.iter().any(|n| n == name.str()) {
            errs.duplicate(&at.child("name"), name);
        }
        names.push(name.str().into());
    }
    names
}

fn volume_source(kind: &str, s: &Value, at: &Path, errs: &mut FieldErrors) {
    let here = at.child(kind);
    match kind {
        "hostPath" => {
            if s.at(f::path).str().is_empty() {
                errs.required(&here.child("path"), "");
            } else if s.at(f::path).str().split('/').any(|p| p == "..") {
                errs.invalid(&here.child("path"), s.at(f::path), "must not contain '..'");
            }
        }
        "secret" if s.at(f::secretName).str().is_empty() => errs.required(&here.child("secretName"), ""),
        "configMap" if s.at(f::name).str().is_empty() => errs.required(&here.child("name"), ""),
        "persistentVolumeClaim" if s.at(f::claimName).str().is_empty() => errs.required(&here.child("claimName"), ""),
        _ => {}
    }
}

fn container(c: &Value, path: &Path, volumes: &[String], names: &mut Vec<String>, errs: &mut FieldErrors) {
    let name = c.at(f::name);
    v::named(name, &path.child("name"), format::is_dns1123_label, errs);
    if !name.str().is_empty() && names.iter().any(|n| n == name.str()) {
        errs.duplicate(&path.child("name"), name);
    }
    names.push(name.str().into());
    let image = c.at(f::image).str();
    if image.is_empty() {
        errs.required(&path.child("image"), "");
    } else if image.trim() != image {
        errs.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
    v::one_of(c.at(f::imagePullPolicy), &path.child("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errs);
    v::one_of(
        c.at(f::terminationMessagePolicy),
        &path.child("terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
        errs,
    );
    ports(c.at(f::ports), &path.child("ports"), errs);
    env(c.at(f::env), &path.child("env"), errs);
    mounts(c.at(f::volumeMounts), &path.child("volumeMounts"), volumes, errs);
    resources(c.at(f::resources), &path.child("resources"), errs);
    for (key, name) in
        [(f::livenessProbe, "livenessProbe"), (f::readinessProbe, "readinessProbe"), (f::startupProbe, "startupProbe")]
    {
        let p = c.at(key);
        if !p.is_null() {
            probe(p, &path.child(name), name != "readinessProbe", errs);
        }
    }
    let context = path.child("securityContext");
    for (key, name) in [(f::runAsUser, "runAsUser"), (f::runAsGroup, "runAsGroup")] {
        id(c.at(f::securityContext).at(key), &context.child(name), errs);
    }
}

fn ports(list: &Value, path: &Path, errs: &mut FieldErrors) {
    let mut names: Vec<&str> = Vec::new();
    for (i, p) in list.items().iter().enumerate() {
        let at = path.index(i);
        let name = p.at(f::name);
        if !name.str().is_empty() {
            let wrong = format::is_port_name(name.str());
            for m in &wrong {
                errs.invalid(&at.child("name"), name, m);
            }
            if wrong.is_empty() && names.contains(&name.str()) {
                errs.duplicate(&at.child("name"), name);
            }
            names.push(name.str());
        }
        let port = p.at(f::containerPort);
        if port.int() == 0 {
            errs.required(&at.child("containerPort"), "");
        } else {
            for m in format::is_port_number(port.int()) {
                errs.invalid(&at.child("containerPort"), port, m);
            }
        }
        let host = p.at(f::hostPort);
        if host.int() != 0 {
            for m in format::is_port_number(host.int()) {
                errs.invalid(&at.child("hostPort"), host, m);
            }
        }
        v::one_of(p.at(f::protocol), &at.child("protocol"), &["SCTP", "TCP", "UDP"], errs);
    }
}

fn host_ports(s: &Value, path: &Path, errs: &mut FieldErrors) {
    let mut seen: Vec<String> = Vec::new();
    for (i, c) in s.at(f::containers).items().iter().enumerate() {
        let container = path.index(i);
        let list = container.child("ports");
        for (j, p) in c.at(f::ports).items().iter().enumerate() {
            let port = p.at(f::hostPort).int();
            if port == 0 {
                continue;
            }
            let id = format!("{}/{}/{port}", p.at(f::protocol).str(), p.at(f::hostIP).str());
            if seen.contains(&id) {
                let at = list.index(j);
                errs.duplicate(&at.child("hostPort"), id.as_str());
            }
            seen.push(id);
        }
    }
}

fn env(list: &Value, path: &Path, errs: &mut FieldErrors) {
    for (i, e) in list.items().iter().enumerate() {
        let at = path.index(i);
        let name = e.at(f::name);
        if name.str().is_empty() {
            errs.required(&at.child("name"), "");
        } else {
            for m in format::is_env_var_name(name.str()) {
                errs.invalid(&at.child("name"), name, m);
            }
        }
        let from = e.at(f::valueFrom);
        if from.is_null() {
            continue;
        }
        let here = at.child("valueFrom");
        let sources = from.members().filter(|(_, v)| !v.is_null()).count();
        if sources == 0 {
            errs.invalid(&here, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`, or `fileKeyRef`");
        } else if !e.at(f::value).str().is_empty() {
            errs.invalid(&here, "", "may not be specified when `value` is not empty");
        } else if sources > 1 {
            errs.invalid(&here, "", "may not have more than one field specified at a time");
        }
    }
}

fn mounts(list: &Value, path: &Path, volumes: &[String], errs: &mut FieldErrors) {
    let mut points: Vec<&str> = Vec::new();
    for (i, m) in list.items().iter().enumerate() {
        let at = path.index(i);
        let (name, point) = (m.at(f::name), m.at(f::mountPath));
        if name.str().is_empty() {
            errs.required(&at.child("name"), "");
        }
        if point.str().is_empty() {
            errs.required(&at.child("mountPath"), "");
        }
        if !volumes.iter().any(|v| v == name.str()) {
            errs.not_found(&at.child("name"), name.str());
        }
        if points.contains(&point.str()) {
            errs.invalid(&at.child("mountPath"), point, "must be unique");
        }
        points.push(point.str());
        let sub = m.at(f::subPath).str();
        if sub.starts_with('/') {
            errs.invalid(&at.child("subPath"), sub, "must be a relative path");
        } else if sub.split('/').any(|p| p == "..") {
            errs.invalid(&at.child("subPath"), sub, "must not contain '..'");
        }
    }
}

/// Requests and limits.
pub fn resources(r: &Value, path: &Path, errs: &mut FieldErrors) {
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    for (list, at) in [(r.at(f::limits), &limits), (r.at(f::requests), &requests)] {
        for (name, amount) in list.members() {
            let here = at.key(name.as_str());
            if Quantity::parse(amount.str()).is_ok_and(Quantity::is_negative) {
                errs.invalid(&here, amount, "must be greater than or equal to 0");
            }
            let known = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                || name.as_str().starts_with("hugepages-")
                || name.as_str().contains('/');
            if !known {
                errs.invalid(&here, name.as_str(), "must be a standard resource for containers");
            }
        }
    }
    for (name, amount) in r.at(f::requests).members() {
        if let (Ok(request), Some(Ok(limit))) =
            (Quantity::parse(amount.str()), r.at(f::limits).get(name).map(|l| Quantity::parse(l.str())))
            && request > limit
        {
            let detail = format!("must be less than or equal to {} limit of {limit}", name.as_str());
            errs.invalid(&requests, amount, detail);
        }
    }
}

fn probe(p: &Value, path: &Path, single_success: bool, errs: &mut FieldErrors) {
    let handlers = [f::exec, f::httpGet, f::tcpSocket, f::grpc];
    let given = handlers.iter().filter(|h| p.has(**h)).count();
    match given {
        0 => errs.required(path, "must specify a handler type"),
        1 => {}
        _ => {
            for h in handlers.iter().filter(|h| p.has(**h)).skip(1) {
                errs.forbidden(&path.child(h.as_str()), "may not specify more than 1 handler type");
            }
        }
    }
    if p.has(f::exec) && p.at(f::exec).at(f::command).is_zero() {
        let at = path.child("exec");
        errs.required(&at.child("command"), "");
    }
    for (key, name) in [
        (f::initialDelaySeconds, "initialDelaySeconds"),
        (f::timeoutSeconds, "timeoutSeconds"),
        (f::periodSeconds, "periodSeconds"),
        (f::successThreshold, "successThreshold"),
        (f::failureThreshold, "failureThreshold"),
    ] {
        v::non_negative(p.at(key), &path.child(name), errs);
    }
    if single_success && p.at(f::successThreshold).int() > 1 {
        errs.invalid(&path.child("successThreshold"), p.at(f::successThreshold), "must be 1");
    }
}

fn tolerations(list: &Value, path: &Path, errs: &mut FieldErrors) {
    for (i, t) in list.items().iter().enumerate() {
        let at = path.index(i);
        let key = t.at(f::key).str();
        if !key.is_empty() {
            for m in format::is_qualified_name(key) {
                errs.invalid(&at.child("key"), key, m);
            }
        }
        let operator = t.at(f::operator).str();
        if key.is_empty() && operator != "Exists" {
            errs.invalid(
                &at.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if t.has(f::tolerationSeconds) && t.at(f::effect).str() != "NoExecute" {
            errs.invalid(
                &at.child("effect"),
                t.at(f::effect).str(),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
    }
}

/// What of a pod may change: images, the active deadline, more tolerations, scheduling gates.
pub fn validate_update(new: &Value, old: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let mut munged = new.at(f::spec).clone();
    let o = old.at(f::spec);
    for list in [f::containers, f::initContainers] {
        if let Some(items) = munged.get_mut(list).and_then(Value::as_list_mut) {
            let before = o.at(list).items();
            if items.len() != before.len() {
                errs.forbidden(&path.child(list.as_str()), "pod updates may not add or remove containers");
                return;
            }
            for (c, was) in items.iter_mut().zip(before) {
                c.set(f::image, was.at(f::image).clone());
            }
        }
    }
    for key in [f::activeDeadlineSeconds, f::tolerations, f::schedulingGates, f::terminationGracePeriodSeconds] {
        let free = key != f::terminationGracePeriodSeconds || (o.at(key).int() < 0 && munged.at(key).int() == 1);
        if free {
            match o.get(key) {
                Some(v) => munged.set(key, v.clone()),
                None => drop(munged.remove(key)),
            }
        }
    }
    if munged != *o {
        errs.forbidden(&path, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
    }
    let kept = |t: &Value| new.at(f::spec).at(f::tolerations).items().contains(t);
    if !o.at(f::tolerations).items().iter().all(kept) {
        errs.forbidden(
            &path.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}
