//! Canonical form: fields in the table's order, zero values of `omitempty` fields dropped, `always` fields present,
//! keys of free maps sorted. Stored, cached and served text is what this yields; `canon(canon(x)) = canon(x)`.

use crate::decode::schema_props;
use crate::names::Key;
use crate::schema::{Field, Scalar, Ty, Type};
use crate::value::{Map, Value};

/// Brings an object of `ty` into canonical form. `kind` and `apiVersion` at the top are put first if present.
pub fn canonicalize(value: &mut Value, ty: &'static Type) {
    if let Value::Map(map) = value {
        let head: Vec<(Key, Value)> =
            ["kind", "apiVersion"].iter().filter_map(|k| map.remove(*k).map(|v| (Key::from(*k), v))).collect();
        let owned = head.iter().any(|(k, _)| ty.field_of(k).is_some());
        if owned {
            // A type with fields of these names (ObjectReference and the like) is no top-level object.
            map.entries_mut().splice(0..0, head);
            fields(map, ty);
        } else {
            fields(map, ty);
            map.entries_mut().splice(0..0, head);
        }
    }
}

/// In place: an object that is in canonical form already, as most are, costs a look at each of its members.
fn fields(map: &mut Map, ty: &'static Type) {
    let entries = map.entries_mut();
    let (mut next, mut sorted) = (0, true);
    entries.retain_mut(|(key, value)| {
        let Key::Known(name) = key else { return false };
        let at = match ty.fields[next..].iter().position(|f| f.name == *name) {
            Some(further) => next + further,
            None => match ty.field(*name) {
                Some((at, _)) => {
                    sorted = false;
                    at
                }
                None => return false,
            },
        };
        next = at;
        member(value, &ty.fields[at])
    });
    if !sorted {
        entries.sort_by_cached_key(|(key, _)| key.name().and_then(|n| ty.field(n)).map(|(at, _)| at));
    }
    let mut at = 0;
    for field in ty.fields {
        if matches!(entries.get(at), Some((Key::Known(name), _)) if *name == field.name) {
            at += 1;
        } else if field.always {
            entries.insert(at, (Key::Known(field.name), unset(field)));
            at += 1;
        }
    }
}

/// What is written for a field that is not set.
fn unset(field: &Field) -> Value {
    if field.optional { Value::Null } else { zero(field.ty) }
}

/// Brings a member into canonical form; answers whether it is written at all.
fn member(value: &mut Value, field: &Field) -> bool {
    if value.is_null() {
        *value = if field.always { unset(field) } else { Value::Null };
        return field.always;
    }
    canon_value(value, field.ty);
    // Upstream keeps protobuf, in which an empty list is an absent one.
    if matches!((&*value, field.ty), (Value::List(l), Ty::List(_)) if l.is_empty())
        || matches!((&*value, field.ty), (Value::Map(m), Ty::Map(_)) if m.is_empty())
    {
        *value = Value::Null;
        return field.always;
    }
    field.always
        || (field.optional && !matches!(field.ty, Ty::List(_) | Ty::Map(_)))
        || matches!(field.ty, Ty::Object(_))
        || !value.is_zero()
}

/// What Go writes for an unset field without omitempty.
fn zero(ty: Ty) -> Value {
    match ty {
        Ty::Scalar(Scalar::String) => Value::from(""),
        Ty::Scalar(Scalar::Bool) => Value::Bool(false),
        Ty::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString) => Value::Int(0),
        Ty::Scalar(Scalar::Quantity) => Value::from("0"),
        Ty::Scalar(Scalar::Duration) => Value::from("0s"),
        Ty::Object(id) => {
            let mut map = Map::new();
            fields(&mut map, Type::of(id));
            Value::Map(map)
        }
        _ => Value::Null,
    }
}

/// An object within another keeps its kind, if it says one.
fn nested(map: &mut Map, ty: &'static Type) {
    let whole = map.has("kind") && ty.field_of(&Key::from("kind")).is_none();
    if !whole {
        return fields(map, ty);
    }
    let head: Vec<(Key, Value)> =
        ["kind", "apiVersion"].iter().filter_map(|k| map.remove(*k).map(|v| (Key::from(*k), v))).collect();
    fields(map, ty);
    map.entries_mut().splice(0..0, head);
}

fn canon_value(value: &mut Value, ty: Ty) {
    match (ty, value) {
        (Ty::Object(id), Value::Map(map)) => nested(map, Type::of(id)),
        (Ty::List(item), Value::List(items)) => items.iter_mut().for_each(|v| canon_value(v, *item)),
        (Ty::Map(item), Value::Map(map)) => {
            map.sort();
            map.iter_mut().for_each(|(_, v)| canon_value(v, *item));
        }
        (Ty::Scalar(Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStringArray), value) => {
            match value {
                Value::Map(map) => fields(map, schema_props()),
                Value::List(items) => {
                    items.iter_mut().filter_map(Value::as_map_mut).for_each(|m| fields(m, schema_props()))
                }
                _ => {}
            }
        }
        (Ty::Scalar(Scalar::Fields | Scalar::Json | Scalar::Raw), value) => sort_deep(value),
        _ => {}
    }
}

/// Free-form JSON is kept with sorted keys, as Go writes maps.
pub fn sort_deep(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.sort();
            map.iter_mut().for_each(|(_, v)| sort_deep(v));
        }
        Value::List(items) => items.iter_mut().for_each(sort_deep),
        _ => {}
    }
}
