//! Fields that a feature gate guards: while it is off they are dropped, unless the old object has them.
//!
//! Source: `dropDisabledFields` of upstream's strategies, as data: `gate` in `facts/types.json`, defaults in
//! `facts/feature-gates.tsv`.

use api::schema::{Field, Ty, Type};
use api::{Map, Value};
use std::sync::LazyLock;

/// Gates that are off.
static OFF: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../../facts/feature-gates.tsv").lines();
    let mut off: Vec<&str> = lines
        .filter_map(|l| {
            let mut cells = l.split('\t');
            let (name, _, default) = (cells.next()?, cells.next()?, cells.next()?);
            (default == "false").then_some(name)
        })
        .collect();
    // The types name this one by what it guards.
    if off.contains(&"PodCertificateRequest") {
        off.push("PodCertificateProjection");
    }
    off
});

fn is_off(field: &Field) -> bool {
    field.gate.is_some_and(|g| OFF.contains(&g))
}

/// For every type, whether a field that is off lies in it.
static CONCERNED: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let all = Type::all();
    let mut out: Vec<bool> = all.iter().map(|t| t.fields.iter().any(is_off)).collect();
    loop {
        let mut changed = false;
        for (i, t) in all.iter().enumerate() {
            if !out[i] && t.fields.iter().any(|f| leaf(f.ty).is_some_and(|id| out[id as usize])) {
                out[i] = true;
                changed = true;
            }
        }
        if !changed {
            return out;
        }
    }
});

/// The struct that lists and maps of a type hold in the end.
fn leaf(ty: Ty) -> Option<u16> {
    match ty {
        Ty::Object(id) => Some(id),
        Ty::List(item) | Ty::Map(item) => leaf(*item),
        Ty::Scalar(_) => None,
    }
}

/// For every type, the fields that are off or hold something that is, and which of the two.
static FIELDS: LazyLock<Vec<Vec<(&'static Field, bool)>>> = LazyLock::new(|| {
    let behind = |f: &Field| leaf(f.ty).is_some_and(|id| CONCERNED[id as usize]);
    let of = |t: &'static Type| t.fields.iter().map(|f| (f, is_off(f))).filter(|(f, off)| *off || behind(f)).collect();
    Type::all().iter().map(of).collect()
});

/// Drops what is switched off from a new object; `old` is what it replaces.
pub fn drop_disabled(new: &mut Value, old: &Value, ty: &'static Type) {
    if let (Value::Map(map), Some(id)) = (new, ty.id()) {
        members(map, old, id);
    }
}

fn members(map: &mut Map, old: &Value, id: u16) {
    for (field, off) in &FIELDS[id as usize] {
        if *off {
            if !old.has(field.name) {
                map.remove(field.name);
            }
        } else if let Some(v) = map.get_mut(field.name) {
            value(v, old.at(field.name), field.ty);
        }
    }
}

fn value(new: &mut Value, old: &Value, ty: Ty) {
    match (ty, new) {
        (Ty::Object(id), Value::Map(map)) => members(map, old, id),
        (Ty::List(item), Value::List(list)) => {
            // An element that uses a field lets all of them use it.
            let user = |o: &&Value| uses(o, *item);
            let used = old.items().iter().find(user).unwrap_or(&Value::Null);
            list.iter_mut().for_each(|v| value(v, used, *item));
        }
        (Ty::Map(item), Value::Map(map)) => {
            map.iter_mut().for_each(|(k, v)| value(v, old.at(k), *item));
        }
        _ => {}
    }
}

/// Whether something that is off is in use.
fn uses(v: &Value, ty: Ty) -> bool {
    match (ty, v) {
        (Ty::Object(id), Value::Map(map)) => FIELDS[id as usize].iter().any(|(f, off)| {
            let member = map.get(f.name);
            member.is_some_and(|m| *off && !m.is_null() || uses(m, f.ty))
        }),
        (Ty::List(item), Value::List(list)) => list.iter().any(|v| uses(v, *item)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_dropped_unless_it_was_there() {
        let ty = Type::of_kind("coordination.k8s.io", "v1", "Lease").unwrap();
        let lease = || api::json::parse(br#"{"spec":{"holderIdentity":"a","strategy":"x"}}"#).unwrap();
        let mut new = lease();
        drop_disabled(&mut new, &Value::Null, ty);
        assert_eq!(new.to_string(), r#"{"spec":{"holderIdentity":"a"}}"#);
        let mut kept = lease();
        drop_disabled(&mut kept, &lease(), ty);
        assert_eq!(kept, lease());
    }
}
