//! JSON merge patch.

use crate::value::Value;

/// Lays `patch` over `target`: null removes, objects merge, anything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Map(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let map = target.make_map();
    for (k, v) in patch.iter() {
        if v.is_null() {
            map.remove(k);
        } else {
            merge(map.entry(k), v);
        }
    }
}

/// The merge patch that makes `to` out of `from`; an empty object when they are equal.
pub fn create_merge(from: &Value, to: &Value) -> Value {
    let (Value::Map(a), Value::Map(b)) = (from, to) else { return to.clone() };
    let mut out = Value::object();
    for (k, v) in b.iter() {
        match a.get(k) {
            Some(old) if old == v => {}
            Some(old @ Value::Map(_)) if v.as_map().is_some() => out.set(k, create_merge(old, v)),
            _ => out.set(k, v.clone()),
        }
    }
    for k in a.keys().filter(|k| !b.has(*k)) {
        out.set(k, Value::Null);
    }
    out
}
