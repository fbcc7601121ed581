//! What of a pod may change: as a whole, its resources, its ephemeral containers.
//!
//! Source: `pkg/apis/core/validation:{ValidatePodUpdate,ValidatePodResize,ValidatePodEphemeralContainersUpdate}`.

use super::super::pod::qos_class;
use api::check::At;
use api::{Value, f, go};

const FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What of a pod may change: images, the active deadline, more tolerations, scheduling gates.
pub fn pod(new: At, old: &Value) {
    let (spec, o) = (new.at(f::spec), old.at(f::spec));
    if spec.v == o {
        return;
    }
    for list in [f::containers, f::initContainers] {
        if spec.get(list).items().len() != o.at(list).items().len() {
            spec.at(list).forbidden("pod updates may not add or remove containers");
            return;
        }
    }
    deadline(spec.at(f::activeDeadlineSeconds), o.at(f::activeDeadlineSeconds));
    tolerations(spec.at(f::tolerations), o.at(f::tolerations));
    gates(spec.at(f::schedulingGates), o.at(f::schedulingGates));
    let free = |key: api::Name| match key {
        f::terminationGracePeriodSeconds => o.at(key).int() < 0 && spec.int(key) == 1,
        f::activeDeadlineSeconds | f::tolerations | f::schedulingGates => true,
        f::nodeSelector | f::affinity => !o.at(f::schedulingGates).is_zero(),
        _ => false,
    };
    let kept = as_before(spec.v, o, free, f::image);
    if kept != *o {
        spec.forbidden(format!("{FIELDS}\n{}", go::diff(&spec.pretty(o), &spec.pretty(&kept))));
    }
}

/// The new spec with everything that may change as it was.
fn as_before(new: &Value, old: &Value, free: impl Fn(api::Name) -> bool, of_container: api::Name) -> Value {
    let mut kept = Value::object();
    for (k, v) in new.members() {
        let name = k.name().filter(|n| free(*n));
        match (name, old.get(k)) {
            (Some(_), Some(was)) => kept.set(k, was.clone()),
            (Some(_), None) => {}
            (None, _) => kept.set(k, v.clone()),
        }
    }
    for (k, was) in old.members() {
        if k.name().is_some_and(&free) && !kept.has(k) {
            kept.set(k, was.clone());
        }
    }
    for list in [f::containers, f::initContainers] {
        let Some(items) = kept.get_mut(list).and_then(Value::as_list_mut) else { continue };
        for (c, was) in items.iter_mut().zip(old.at(list).items()) {
            match was.get(of_container) {
                Some(v) => c.set(of_container, v.clone()),
                None => drop(c.remove(of_container)),
            }
        }
    }
    kept
}

fn deadline(new: At, old: &Value) {
    match (new.v.as_int(), old.as_int()) {
        (Some(n), Some(o)) if n > o => new.invalid("must be less than or equal to previous value"),
        (None, Some(_)) => new.invalid("must not update from a positive integer to nil value"),
        _ => {}
    }
}

/// Tolerations stay, but for their time; more may come.
fn tolerations(new: At, old: &Value) {
    let timeless = |t: &Value| {
        let mut t = t.clone();
        t.remove(f::tolerationSeconds);
        t
    };
    let kept = |o: &Value| new.v.items().iter().any(|n| n == o || timeless(n) == timeless(o));
    if !old.items().iter().all(kept) {
        new.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
}

/// Gates are only opened.
fn gates(new: At, old: &Value) {
    let added: Vec<&Value> = new.v.items().iter().filter(|g| !old.items().contains(g)).collect();
    if !added.is_empty() {
        let names: Vec<String> = added.iter().map(|g| g.at(f::name).str().to_string()).collect();
        new.forbidden(format!("only deletion is allowed, but found new scheduling gates [{}]", names.join(" ")));
    }
}

/// The old pod with ownership from the new one.
fn old_with(new: &Value, old: &Value) -> Value {
    let mut pod = old.clone();
    for key in [f::managedFields, f::resourceVersion] {
        match new.at(f::metadata).get(key) {
            Some(v) => pod.entry(f::metadata).set(key, v.clone()),
            None => drop(pod.entry(f::metadata).remove(key)),
        }
    }
    pod
}

/// A resize writes resources and how they are resized, container by container.
pub fn keep_resources(new: &mut Value, old: &Value) {
    let mut pod = old_with(new, old);
    let names = |v: &Value, list| -> Vec<String> {
        v.at(f::spec).at(list).items().iter().map(|c| c.at(f::name).str().to_string()).collect()
    };
    for list in [f::containers, f::initContainers] {
        if names(new, list) != names(old, list) {
            break;
        }
        let sent = new.at(f::spec).at(list).items();
        for (c, s) in super::super::each(pod.entry(f::spec), list).zip(sent) {
            for key in [f::resources, f::resizePolicy] {
                match s.get(key) {
                    Some(v) => c.set(key, v.clone()),
                    None => drop(c.remove(key)),
                }
            }
        }
    }
    *new = pod;
}

/// Ephemeral containers are written alone.
pub fn keep_ephemeral(new: &mut Value, old: &Value) {
    let mut pod = old_with(new, old);
    match new.at(f::spec).get(f::ephemeralContainers) {
        Some(list) => pod.entry(f::spec).set(f::ephemeralContainers, list.clone()),
        None => drop(pod.entry(f::spec).remove(f::ephemeralContainers)),
    }
    *new = pod;
}

/// A resize changes requests and limits of CPU and memory, and nothing else.
pub fn resize(new: At, old: &Value) {
    super::validate(new);
    let (spec, o) = (new.at(f::spec), old.at(f::spec));
    if old.at(f::metadata).at(f::annotations).has("kubernetes.io/config.mirror") {
        spec.forbidden("static pods cannot be resized");
        return;
    }
    let class = qos_class(o);
    if qos_class(spec.v) != class {
        spec.invalid_as(class, "Pod QOS Class may not change as a result of resizing");
    }
    let mut trial = spec.v.clone();
    let changed = [f::containers, f::initContainers].iter().any(|list| {
        let Some(items) = trial.get_mut(*list).and_then(Value::as_list_mut) else { return false };
        let before = o.at(*list).items();
        items.iter_mut().zip(before).any(|(c, was)| {
            let fixed = |v: &Value| -> Vec<(String, String)> {
                [f::limits, f::requests]
                    .iter()
                    .flat_map(|k| v.at(f::resources).at(*k).members())
                    .filter(|(k, _)| !matches!(k.as_str(), "cpu" | "memory"))
                    .map(|(k, v)| (k.as_str().into(), v.str().into()))
                    .collect()
            };
            let other = fixed(c) != fixed(was);
            c.set(f::resources, was.at(f::resources).clone());
            other || *c != *was
        })
    });
    if changed {
        spec.forbidden("only cpu and memory resources are mutable");
    }
}

/// Ephemeral containers are only added.
pub fn ephemeral(new: At, old: &Value) {
    super::validate(new);
    let list = new.at(f::spec).at(f::ephemeralContainers);
    let before = old.at(f::spec).at(f::ephemeralContainers).items();
    for was in before {
        let name = was.at(f::name).str();
        match list.v.items().iter().position(|c| c.at(f::name).str() == name) {
            None => list.forbidden(format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(i) if list.v.items()[i] != *was => {
                list.forbidden(format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
}
