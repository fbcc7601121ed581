//! The patch that `apply` sends: what changed between what was applied last, what is to be applied, and what is there.
//!
//! Strategic for built-in types (`k8s.io/apimachinery/pkg/util/strategicpatch:CreateThreeWayMergePatch`), JSON merge for
//! all others (`jsonmergepatch:CreateThreeWayJSONMergePatch`): additions and changes are the difference from what is there
//! to what is to be, deletions the difference from what was applied to what is to be. So what others set stays.

use api::schema::{Field, Ty, Type};
use api::{Key, Map, Value};

/// Where an object says what was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a difference is made of.
#[derive(Clone, Copy)]
struct Want {
    deletions: bool,
    changes: bool,
}

/// The three-way patch for an object of type `ty`, or of an unknown type.
pub fn three_way(original: &Value, modified: &Value, current: &Value, ty: Option<&'static Type>) -> Value {
    let ty = ty.map_or(Ty::Scalar(api::schema::Scalar::Json), ty_of);
    let delta = diff_maps(current, modified, ty, Want { deletions: false, changes: true }, false);
    let deletions = diff_maps(original, modified, ty, Want { deletions: true, changes: false }, false);
    Value::Map(combine(deletions, delta, ty))
}

/// The patch that makes `modified` of `original`.
pub fn two_way(original: &Value, modified: &Value, ty: Option<&'static Type>) -> Value {
    let ty = ty.map_or(Ty::Scalar(api::schema::Scalar::Json), ty_of);
    Value::Map(diff_maps(original, modified, ty, Want { deletions: true, changes: true }, false))
}

fn ty_of(ty: &'static Type) -> Ty {
    Ty::Object(ty.id().unwrap_or_default())
}

fn field_of(ty: Ty, key: &Key) -> Option<&'static Field> {
    ty.object()?.field_of(key)
}

fn child(ty: Ty, key: &Key) -> Ty {
    match ty {
        Ty::Map(item) => *item,
        _ => field_of(ty, key).map_or(Ty::Scalar(api::schema::Scalar::Json), |f| f.ty),
    }
}

fn element(ty: Ty) -> Ty {
    match ty {
        Ty::List(item) => *item,
        other => other,
    }
}

fn diff_maps(old: &Value, new: &Value, ty: Ty, want: Want, retain: bool) -> Map {
    let mut patch = Map::new();
    for (key, before) in old.members() {
        match new.get(key) {
            None if want.deletions => patch.set(key, Value::Null),
            None => {}
            Some(after) => diff_member(&mut patch, key, before, after, ty, want),
        }
    }
    for (key, after) in new.members() {
        if !old.has(key) && want.changes {
            patch.set(key, after.clone());
        }
    }
    if retain && !patch.is_empty() {
        let mut keys: Vec<&str> = new.members().map(|(k, _)| k.as_str()).collect();
        keys.sort_unstable();
        patch.set("$retainKeys", Value::List(keys.into_iter().map(Value::from).collect()));
    }
    patch
}

fn diff_member(patch: &mut Map, key: &Key, before: &Value, after: &Value, ty: Ty, want: Want) {
    let field = field_of(ty, key);
    let inner = child(ty, key);
    match (before, after) {
        (Value::Map(_), Value::Map(_)) => {
            let below = diff_maps(before, after, inner, want, field.is_some_and(|f| f.retain_keys));
            if !below.is_empty() {
                patch.set(key, Value::Map(below));
            }
        }
        (Value::List(old), Value::List(new)) if field.is_some_and(|f| f.patch_merge) => {
            match field.and_then(|f| f.merge_key) {
                Some(merge_key) => diff_keyed(patch, key, old, new, merge_key.as_str(), element(inner), want, field),
                None => diff_scalars(patch, key, old, new, want),
            }
        }
        _ if before != after && want.changes => patch.set(key, after.clone()),
        _ => {}
    }
}

#[expect(clippy::too_many_arguments, reason = "one list and all that is known of it")]
fn diff_keyed(
    patch: &mut Map,
    key: &Key,
    old: &[Value],
    new: &[Value],
    merge_key: &str,
    ty: Ty,
    want: Want,
    field: Option<&Field>,
) {
    let retain = field.is_some_and(|f| f.retain_keys);
    let find = |items: &[Value], wanted: &Value| items.iter().find(|i| i.at(merge_key) == wanted).cloned();
    let mut items = Vec::new();
    for after in new {
        match find(old, after.at(merge_key)) {
            Some(before) => {
                let mut below = diff_maps(&before, after, ty, want, retain);
                if !below.is_empty() {
                    below.set(merge_key, after.at(merge_key).clone());
                    items.push(Value::Map(below));
                }
            }
            None if want.changes => items.push(after.clone()),
            None => {}
        }
    }
    if want.deletions {
        for before in old.iter().filter(|b| find(new, b.at(merge_key)).is_none()) {
            let entries = [("$patch", Value::from("delete")), (merge_key, before.at(merge_key).clone())];
            items.push(api::value::object(entries));
        }
    }
    let common = |from: &[Value], other: &[Value]| -> Vec<Value> {
        from.iter().map(|i| i.at(merge_key).clone()).filter(|k| find(other, k).is_some()).collect()
    };
    let reordered = want.changes && common(old, new) != common(new, old);
    if !items.is_empty() || reordered {
        let order: Vec<Value> =
            new.iter().map(|i| api::value::object([(merge_key, i.at(merge_key).clone())])).collect();
        patch.set(format!("$setElementOrder/{}", key.as_str()).as_str(), Value::List(order));
    }
    if !items.is_empty() {
        patch.set(key, Value::List(items));
    }
}

fn diff_scalars(patch: &mut Map, key: &Key, old: &[Value], new: &[Value], want: Want) {
    let added: Vec<Value> = new.iter().filter(|v| want.changes && !old.contains(v)).cloned().collect();
    let removed: Vec<Value> = old.iter().filter(|v| want.deletions && !new.contains(v)).cloned().collect();
    if added.is_empty() && removed.is_empty() {
        return;
    }
    patch.set(format!("$setElementOrder/{}", key.as_str()).as_str(), Value::List(new.to_vec()));
    if !added.is_empty() {
        patch.set(key, Value::List(added));
    }
    if !removed.is_empty() {
        patch.set(format!("$deleteFromPrimitiveList/{}", key.as_str()).as_str(), Value::List(removed));
    }
}

/// One patch of two: deletions first, additions and changes over them.
fn combine(deletions: Map, delta: Map, ty: Ty) -> Map {
    let mut out = deletions;
    for (key, change) in delta.into_entries() {
        let field = field_of(ty, &key);
        let inner = child(ty, &key);
        let merged = match (out.get(&key), &change) {
            (Some(Value::Map(old)), Value::Map(new)) => Value::Map(combine(old.clone(), new.clone(), inner)),
            (Some(Value::List(old)), Value::List(new)) if field.is_some_and(|f| f.patch_merge) => {
                let merge_key = field.and_then(|f| f.merge_key);
                Value::List(combine_lists(old, new, merge_key.map(|k| k.as_str()), element(inner)))
            }
            _ => change,
        };
        out.set(&key, merged);
    }
    out
}

fn combine_lists(old: &[Value], new: &[Value], merge_key: Option<&str>, ty: Ty) -> Vec<Value> {
    let mut out = old.to_vec();
    for item in new {
        let same = merge_key.and_then(|k| out.iter_mut().find(|o| o.at(k) == item.at(k)));
        match (same, item) {
            (Some(Value::Map(place)), Value::Map(item)) => *place = combine(std::mem::take(place), item.clone(), ty),
            _ => out.push(item.clone()),
        }
    }
    out
}

/// The object as it is remembered in [`LAST_APPLIED`]: without that annotation, keys sorted, a final newline.
pub fn remembered(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(annotations) = object.get_mut("metadata").and_then(|m| m.get_mut("annotations")) {
        annotations.remove(LAST_APPLIED);
    } else if object.has("metadata") {
        object.entry("metadata").set("annotations", Value::object());
    }
    api::canon::sort_deep(&mut object);
    format!("{}\n", api::json::to_string(&object))
}

/// The object with [`LAST_APPLIED`] set.
pub fn with_memory(object: &Value) -> Value {
    let memory = remembered(object);
    let mut object = object.clone();
    object.entry("metadata").entry("annotations").set(LAST_APPLIED, memory.as_str());
    object
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
