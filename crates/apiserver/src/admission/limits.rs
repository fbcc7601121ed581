//! LimitRanger: what a namespace's limit ranges give to containers, and what they refuse.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/admission/limitranger`.

use super::{Attrs, Operation};
use crate::registry::Registry;
use api::quantity::Quantity;
use api::{Value, f};
use kinds::rules::quota::{Usage, pod_total};

/// The items of all limit ranges of a namespace.
fn items(registry: &Registry, namespace: &str) -> Vec<Value> {
    let all = registry.all("", "limitranges", namespace);
    all.iter().flat_map(|l| l.at(f::spec).at(f::limits).items().to_vec()).collect()
}

/// Containers without requests and limits get those of the namespace; an annotation says which.
pub fn complete(registry: &Registry, a: &Attrs, pod: &mut Value) {
    let ranges: Vec<Value> =
        items(registry, a.namespace).into_iter().filter(|l| l.at(f::type_).str() == "Container").collect();
    if ranges.is_empty() {
        return;
    }
    let mut said: Vec<String> = Vec::new();
    let spec = pod.entry(f::spec);
    for (list, what) in [(f::containers, "container"), (f::initContainers, "init container")] {
        for c in spec.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten() {
            let name = c.at(f::name).str().to_string();
            for (target, source, word) in
                [(f::requests, f::defaultRequest, "request"), (f::limits, f::default_, "limit")]
            {
                let mut set: Vec<String> = Vec::new();
                for (k, v) in ranges.iter().flat_map(|r| r.at(source).members()) {
                    let slot = c.entry(f::resources).entry(target);
                    if !slot.has(k) {
                        slot.set(k, v.clone());
                        set.push(k.as_str().into());
                    }
                }
                if !set.is_empty() {
                    set.sort();
                    said.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod.entry(f::metadata).entry(f::annotations).set("kubernetes.io/limit-ranger", text);
    }
}

/// Requests and limits of something that a range is about.
struct Amounts {
    kind: &'static str,
    requests: Usage,
    limits: Usage,
}

fn amounts(list: &Value) -> Usage {
    let read = |(k, v): (&api::Key, &Value)| Some((k.as_str().to_string(), Quantity::parse(v.str()).ok()?));
    list.members().filter_map(read).collect()
}

/// Nothing outside of the namespace's limit ranges.
pub fn check(registry: &Registry, a: &Attrs, object: &Value) -> Result<(), api::Status> {
    let pod = a.is("pods") && a.operation == Operation::Create;
    let claim = a.is("persistentvolumeclaims") && a.operation != Operation::Delete;
    if !pod && !claim {
        return Ok(());
    }
    let ranges = items(registry, a.namespace);
    if ranges.is_empty() {
        return Ok(());
    }
    let mut wrong: Vec<String> = Vec::new();
    for range in &ranges {
        let spec = object.at(f::spec);
        match range.at(f::type_).str() {
            "Container" if pod => {
                for c in [f::containers, f::initContainers].iter().flat_map(|l| spec.at(*l).items()) {
                    let r = c.at(f::resources);
                    let (requests, limits) = (amounts(r.at(f::requests)), amounts(r.at(f::limits)));
                    bounds(range, &Amounts { kind: "Container", requests, limits }, &mut wrong);
                }
            }
            "Pod" if pod => {
                let (requests, limits) = (pod_total(spec, f::requests), pod_total(spec, f::limits));
                bounds(range, &Amounts { kind: "Pod", requests, limits }, &mut wrong);
            }
            "PersistentVolumeClaim" if claim => claim_bounds(range, spec, &mut wrong),
            _ => {}
        }
    }
    wrong.dedup();
    match wrong.len() {
        0 => Ok(()),
        1 => Err(a.forbid(&wrong[0])),
        _ => Err(a.forbid(format!("[{}]", wrong.join(", ")))),
    }
}

fn bounds(range: &Value, of: &Amounts, wrong: &mut Vec<String>) {
    let kind = of.kind;
    for (k, min) in amounts(range.at(f::min)) {
        let (request, limit) = (of.requests.get(&k), of.limits.get(&k));
        match (request, limit) {
            (None, _) => wrong.push(format!("minimum {k} usage per {kind} is {min}.  No request is specified")),
            (Some(r), _) if *r < min => {
                wrong.push(format!("minimum {k} usage per {kind} is {min}, but request is {r}"))
            }
            (_, Some(l)) if *l < min => wrong.push(format!("minimum {k} usage per {kind} is {min}, but limit is {l}")),
            _ => {}
        }
    }
    for (k, max) in amounts(range.at(f::max)) {
        let (request, limit) = (of.requests.get(&k), of.limits.get(&k));
        match (request, limit) {
            (_, None) => wrong.push(format!("maximum {k} usage per {kind} is {max}.  No limit is specified")),
            (_, Some(l)) if *l > max => wrong.push(format!("maximum {k} usage per {kind} is {max}, but limit is {l}")),
            (Some(r), _) if *r > max => {
                wrong.push(format!("maximum {k} usage per {kind} is {max}, but request is {r}"))
            }
            _ => {}
        }
    }
    for (k, most) in amounts(range.at(f::maxLimitRequestRatio)) {
        let zero = |q: Option<&Quantity>| q.is_none_or(|q| q.is_zero());
        let (request, limit) = (of.requests.get(&k), of.limits.get(&k));
        let said = format!("{k} max limit to request ratio per {kind} is {most}");
        if zero(request) {
            wrong.push(format!("{said}, but no request is specified or request is 0"));
        } else if zero(limit) {
            wrong.push(format!("{said}, but no limit is specified or limit is 0"));
        } else if let (Some(r), Some(l)) = (request, limit) {
            let ratio = l.milli() as f64 / r.milli() as f64;
            if ratio > most.milli() as f64 / 1000.0 {
                wrong.push(format!("{said}, but provided ratio is {ratio:.6}"));
            }
        }
    }
}

fn claim_bounds(range: &Value, spec: &Value, wrong: &mut Vec<String>) {
    let requests = amounts(spec.at(f::resources).at(f::requests));
    for (key, word) in [(f::min, "minimum"), (f::max, "maximum")] {
        for (k, edge) in amounts(range.at(key)) {
            let said = format!("{word} {k} usage per PersistentVolumeClaim is {edge}");
            match requests.get(&k) {
                None => wrong.push(format!("{said}.  No request is specified")),
                Some(r) if (key == f::min && *r < edge) || (key == f::max && *r > edge) => {
                    wrong.push(format!("{said}, but request is {r}"))
                }
                Some(_) => {}
            }
        }
    }
}
