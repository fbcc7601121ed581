//! Where a pod may run: affinity, tolerations, spread.

use super::super::validation as v;
use api::check::At;
use api::{f, format};

/// Affinity to nodes and pods.
pub fn affinity(a: At) {
    if a.v.is_null() {
        return;
    }
    let node = a.at(f::nodeAffinity);
    if let Some(required) = node.at(f::requiredDuringSchedulingIgnoredDuringExecution).some() {
        v::node_selector(required);
    }
    for p in node.at(f::preferredDuringSchedulingIgnoredDuringExecution).items() {
        weight(p);
        v::node_selector_term(p.at(f::preference));
    }
    for pods in [a.at(f::podAffinity), a.at(f::podAntiAffinity)] {
        pods.at(f::requiredDuringSchedulingIgnoredDuringExecution).items().for_each(pod_term);
        for p in pods.at(f::preferredDuringSchedulingIgnoredDuringExecution).items() {
            weight(p);
            pod_term(p.at(f::podAffinityTerm));
        }
    }
}

fn weight(p: At) {
    if !(1..=100).contains(&p.int(f::weight)) {
        p.at(f::weight).invalid_as(p.int(f::weight), "must be in the range 1-100");
    }
}

fn pod_term(t: At) {
    v::label_selector(t.at(f::labelSelector));
    v::label_selector(t.at(f::namespaceSelector));
    for namespace in t.get(f::namespaces).items() {
        for m in format::is_dns1123_label(namespace.str()) {
            t.place("namespace").invalid_as(namespace, m);
        }
    }
    for key in [f::matchLabelKeys, f::mismatchLabelKeys] {
        match_keys(t, key);
    }
    let key = t.at(f::topologyKey);
    if key.v.str().is_empty() {
        key.required("can not be empty");
    }
    key.format_as(format::is_qualified_name);
}

/// Keys of labels to be looked up in the pod itself.
fn match_keys(t: At, name: api::Name) {
    let keys = t.at(name);
    if keys.v.is_zero() {
        return;
    }
    if t.get(f::labelSelector).is_null() {
        keys.forbidden("must not be specified when labelSelector is not set");
    }
    for key in keys.items() {
        key.format(format::is_qualified_name);
    }
}

/// Tolerations of taints.
pub fn tolerations(list: At) {
    for t in list.items() {
        let (key, operator) = (t.at(f::key), t.at(f::operator));
        key.maybe(format::is_qualified_name);
        if key.v.str().is_empty() && operator.v.str() != "Exists" {
            operator.invalid_as(
                operator.v.str(),
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if t.has(f::tolerationSeconds) && t.str(f::effect) != "NoExecute" {
            t.at(f::effect).invalid_as(t.str(f::effect), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.v.str() {
            "Equal" | "" => t.at(f::value).maybe(format::is_label_value),
            "Exists" => {
                if !t.str(f::value).is_empty() {
                    operator.invalid_as(t.str(f::value), "value must be empty when `operator` is 'Exists'");
                }
            }
            _ => operator.unsupported(&["Equal", "Exists"]),
        }
        if !t.str(f::effect).is_empty() {
            t.at(f::effect).any_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}

/// How pods of a kind are spread.
pub fn spread(list: At) {
    for (i, c) in list.items().enumerate() {
        if c.int(f::maxSkew) <= 0 {
            c.at(f::maxSkew).invalid_as(c.int(f::maxSkew), "must be greater than zero");
        }
        let (key, policy) = (c.str(f::topologyKey), c.str(f::whenUnsatisfiable));
        if key.is_empty() {
            c.at(f::topologyKey).required("can not be empty");
        }
        if !matches!(policy, "DoNotSchedule" | "ScheduleAnyway") {
            c.at(f::whenUnsatisfiable).unsupported(&["DoNotSchedule", "ScheduleAnyway"]);
        }
        let same = |o: &api::Value| o.at(f::topologyKey).str() == key && o.at(f::whenUnsatisfiable).str() == policy;
        if list.v.items()[i + 1..].iter().any(same) {
            c.place("{topologyKey, whenUnsatisfiable}").duplicate_as(format!("{{{key}, {policy}}}"));
        }
        let least = c.at(f::minDomains);
        if least.v.as_int().is_some_and(|n| n <= 0) {
            least.invalid("must be greater than zero");
        }
        if !least.v.is_null() && policy != "DoNotSchedule" {
            least.invalid(format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {policy}"));
        }
        for key in [f::nodeAffinityPolicy, f::nodeTaintsPolicy] {
            c.at(key).maybe_one_of(&["Honor", "Ignore"]);
        }
        match_keys(c, f::matchLabelKeys);
        v::label_selector(c.at(f::labelSelector));
    }
}
