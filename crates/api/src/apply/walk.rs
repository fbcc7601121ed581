//! Walks over objects with their schema: which fields there are, how two objects differ, merging, removing.
//!
//! Source of the rules: `sigs.k8s.io/structured-merge-diff/typed`.

use super::set::{Element, Place, Set};
use crate::names::Key;
use crate::schema::{Scalar as Leaf, Ty, Type};
use crate::value::{Map, Value};

/// How two objects differ.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Only in the new one.
    pub added: Set,
    /// In both, different.
    pub modified: Set,
    /// Only in the old one.
    pub removed: Set,
}

impl Comparison {
    /// The differences outside of some fields.
    pub fn without(&mut self, excluded: &Set) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            *set = set.difference_deep(excluded);
        }
    }
}

/// The place of a member, and its element.
fn member(at: Place, key: &Key) -> Place {
    match at.ty {
        Ty::Object(id) => at.member(Type::of(id), key),
        _ => at.item(),
    }
}

fn is_struct_field(at: Place, key: &Key) -> bool {
    matches!(at.ty, Ty::Object(id) if Type::of(id).field_of(key).is_some())
}

// === the fields of one object ===

/// Every field of an object.
pub fn to_set(value: &Value, at: Place) -> Set {
    let mut set = Set::new();
    fields(value, at, &mut Vec::new(), &mut set);
    set
}

fn fields(value: &Value, at: Place, path: &mut Vec<Element>, set: &mut Set) {
    if at.is_leaf() {
        set.insert(path);
        return;
    }
    match value {
        Value::Map(map) => {
            for (k, v) in map.iter() {
                path.push(Element::Field(k.clone()));
                fields(v, member(at, k), path, set);
                let empty = v.is_null() || matches!(v, Value::Map(m) if m.is_empty());
                if empty || !is_struct_field(at, k) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Value::List(items) => {
            let elements: Vec<Option<Element>> = items.iter().map(|v| at.element(v).ok()).collect();
            for (i, e) in elements.iter().enumerate() {
                let Some(e) = e else { continue };
                path.push(e.clone());
                let twice = elements.iter().enumerate().any(|(j, o)| j != i && o.as_ref() == Some(e));
                if !twice {
                    fields(&items[i], at.item(), path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => {}
    }
}

// === two objects ===

/// How `new` differs from `old`.
pub fn compare(old: &Value, new: &Value, at: Place) -> Comparison {
    let mut out = Comparison::default();
    differ(Some(old), Some(new), at, &mut Vec::new(), &mut out);
    out
}

fn differ(old: Option<&Value>, new: Option<&Value>, at: Place, path: &mut Vec<Element>, out: &mut Comparison) {
    let members = |v: Option<&Value>| v.map_or(0, |v| v.as_map().map_or_else(|| v.items().len(), Map::len));
    if at.is_leaf() || (members(old) == 0 && members(new) == 0) {
        match (old, new) {
            (None, _) => out.added.insert(path),
            (_, None) => out.removed.insert(path),
            (Some(a), Some(b)) if a != b => out.modified.insert(path),
            _ => {}
        }
        return;
    }
    if matches!(at.ty, Ty::List(_)) {
        differ_items(old, new, at, path, out);
    } else {
        differ_members(old, new, at, path, out);
    }
    if old.is_none() {
        out.added.insert(path);
    } else if new.is_none() {
        out.removed.insert(path);
    }
}

fn differ_members(old: Option<&Value>, new: Option<&Value>, at: Place, path: &mut Vec<Element>, out: &mut Comparison) {
    let old = old.and_then(Value::as_map);
    let new = new.and_then(Value::as_map);
    for (k, a) in old.into_iter().flat_map(Map::iter) {
        let b = new.and_then(|m| m.get(k));
        if b == Some(a) {
            continue;
        }
        path.push(Element::Field(k.clone()));
        differ(Some(a), b, member(at, k), path, out);
        path.pop();
    }
    for (k, b) in new.into_iter().flat_map(Map::iter) {
        if old.is_none_or(|m| !m.has(k)) {
            path.push(Element::Field(k.clone()));
            differ(None, Some(b), member(at, k), path, out);
            path.pop();
        }
    }
}

fn differ_items(old: Option<&Value>, new: Option<&Value>, at: Place, path: &mut Vec<Element>, out: &mut Comparison) {
    let a = index(old, at);
    let b = index(new, at);
    let all = a.iter().map(|(e, _)| e).chain(b.iter().map(|(e, _)| e).filter(|e| !a.iter().any(|(o, _)| o == *e)));
    for e in all {
        let (l, r) = (having(&a, e), having(&b, e));
        path.push(e.clone());
        match (l.len(), r.len()) {
            (0..=1, 0..=1) => {
                if l != r {
                    differ(l.first().copied(), r.first().copied(), at.item(), path, out);
                }
            }
            (2.., 2..) if l != r => out.modified.insert(path),
            (2.., 2..) => {}
            (2.., _) => {
                if let Some(v) = r.first() {
                    differ(None, Some(v), at.item(), path, out);
                }
                out.removed.insert(path);
            }
            (_, _) => {
                if let Some(v) = l.first() {
                    differ(Some(v), None, at.item(), path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

fn having<'a, 'v>(list: &'a [(Element, Vec<&'v Value>)], e: &Element) -> &'a [&'v Value] {
    list.iter().find(|(o, _)| o == e).map_or(&[], |(_, v)| v)
}

/// A list's elements, equal ones together, in order of first appearance.
fn index(list: Option<&Value>, at: Place) -> Vec<(Element, Vec<&Value>)> {
    let mut out: Vec<(Element, Vec<&Value>)> = Vec::new();
    for v in list.map_or(&[][..], Value::items) {
        let Ok(e) = at.element(v) else { continue };
        match out.iter_mut().find(|(o, _)| *o == e) {
            Some((_, same)) => same.push(v),
            None => out.push((e, vec![v])),
        }
    }
    out
}

// === merging ===

/// `new` laid over `old`: what only `old` has stays.
pub fn merge(old: Option<&Value>, new: Option<&Value>, at: Place) -> Result<Option<Value>, String> {
    let size = |v: Option<&Value>| v.map_or(0, |v| v.as_map().map_or_else(|| v.items().len(), Map::len));
    if at.is_leaf() || (size(old) == 0 && size(new) == 0) {
        return Ok(new.or(old).cloned());
    }
    if matches!(at.ty, Ty::List(_)) {
        let items = merge_items(old, new, at)?;
        return Ok((!items.is_empty()).then_some(Value::List(items)));
    }
    let empty = Map::new();
    let (a, b) = (old.and_then(Value::as_map).unwrap_or(&empty), new.and_then(Value::as_map).unwrap_or(&empty));
    let mut out = Map::new();
    for (k, v) in a.iter() {
        if let Some(v) = merge(Some(v), b.get(k), member(at, k)).map_err(|e| format!(".{}{e}", k.as_str()))? {
            out.push(k.clone(), v);
        }
    }
    for (k, v) in b.iter().filter(|(k, _)| !a.has(*k)) {
        if let Some(v) = merge(None, Some(v), member(at, k)).map_err(|e| format!(".{}{e}", k.as_str()))? {
            out.push(k.clone(), v);
        }
    }
    Ok((!out.is_empty()).then_some(Value::Map(out)))
}

/// Merges associative lists: the order is that of `new` where it speaks, elements only in `old` keep their place before
/// the next shared one.
fn merge_items(old: Option<&Value>, new: Option<&Value>, at: Place) -> Result<Vec<Value>, String> {
    let (l, r) = (old.map_or(&[][..], Value::items), new.map_or(&[][..], Value::items));
    let mut le = Vec::with_capacity(l.len());
    for (i, v) in l.iter().enumerate() {
        le.push(at.element(v).map_err(|e| format!(": element {i}: {e}"))?);
    }
    let mut re: Vec<Element> = Vec::with_capacity(r.len());
    for (i, v) in r.iter().enumerate() {
        let e = at.element(v).map_err(|e| format!(": element {i}: {e}"))?;
        if re.contains(&e) {
            let mut text = String::new();
            e.show(&mut text);
            return Err(format!(": duplicate entries for key {text}"));
        }
        re.push(e);
    }
    // An element that occurs twice in `old` is not merged with the new one.
    let single = |e: &Element| {
        let mut found = le.iter().enumerate().filter(|(_, o)| *o == e).map(|(i, _)| i);
        let first = found.next();
        if found.next().is_some() { None } else { first.map(|i| &l[i]) }
    };
    let mut shared = re.iter().filter(|e| le.contains(e));
    let mut next_shared = shared.next();
    let mut merged: Vec<&Element> = Vec::new();
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < le.len() || j < re.len() {
        if i < le.len() && j < re.len() {
            if le[i] == re[j] {
                merged.push(&re[j]);
                out.extend(merge(single(&le[i]), Some(&r[j]), at.item())?);
                (i, j) = (i + 1, j + 1);
                next_shared = shared.next();
                continue;
            }
            if re.contains(&le[i]) && next_shared.is_some_and(|n| *n != le[i]) {
                i += 1;
                continue;
            }
        }
        if i < le.len() {
            if !re.contains(&le[i]) {
                out.extend(merge(Some(&l[i]), None, at.item())?);
                i += 1;
                continue;
            } else if merged.contains(&&le[i]) {
                i += 1;
            }
        }
        if j < re.len() {
            merged.push(&re[j]);
            out.extend(merge(single(&re[j]), Some(&r[j]), at.item())?);
            if next_shared == Some(&re[j]) {
                next_shared = shared.next();
            }
            j += 1;
        }
    }
    Ok(out)
}

// === removing ===

/// `value` without the members and elements of `set`; what becomes empty on the way is null.
pub fn remove(value: &Value, set: &Set, at: Place) -> Value {
    if at.is_leaf() && !matches!(at.ty, Ty::Scalar(_)) {
        return Value::Null;
    }
    match value {
        Value::Map(map) if !matches!(at.ty, Ty::Scalar(_)) => {
            let mut out = Map::new();
            for (k, v) in map.iter() {
                let e = Element::Field(k.clone());
                if set.has_member(&e) {
                    continue;
                }
                match set.under(&e) {
                    Some(inner) => out.push(k.clone(), remove(v, inner, member(at, k))),
                    None => out.push(k.clone(), v.clone()),
                }
            }
            if out.is_empty() { Value::Null } else { Value::Map(out) }
        }
        Value::List(items) if !matches!(at.ty, Ty::Scalar(_)) => {
            let kept = items.iter().filter_map(|v| {
                let Ok(e) = at.element(v) else { return Some(v.clone()) };
                if set.has_member(&e) {
                    return None;
                }
                Some(set.under(&e).map_or_else(|| v.clone(), |inner| remove(v, inner, at.item())))
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::List(kept) }
        }
        other => other.clone(),
    }
}

// === checking ===

/// What makes a configuration unfit for its type, in upstream's words.
pub fn validate(value: &Value, at: Place) -> Vec<String> {
    let mut out = Vec::new();
    check(value, at, &mut String::new(), &mut out);
    out
}

fn check(value: &Value, at: Place, path: &mut String, out: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let here = path.len();
    match (at.ty, value) {
        (Ty::Object(id), Value::Map(map)) => {
            for (k, v) in map.iter() {
                path.push('.');
                path.push_str(k.as_str());
                let top = here == 0 && matches!(k.as_str(), "kind" | "apiVersion");
                if Type::of(id).field_of(k).is_none() && !top {
                    out.push(format!("{path}: field not declared in schema"));
                } else {
                    check(v, member(at, k), path, out);
                }
                path.truncate(here);
            }
        }
        (Ty::Map(_), Value::Map(map)) => {
            for (k, v) in map.iter() {
                path.push('.');
                path.push_str(k.as_str());
                check(v, at.item(), path, out);
                path.truncate(here);
            }
        }
        (Ty::List(_), Value::List(items)) => check_items(items, at, path, out),
        (Ty::Object(_) | Ty::Map(_), other) => {
            out.push(format!("{path}: expected map, got &{{{}}}", crate::patch::go_plain(other)))
        }
        (Ty::List(_), other) => out.push(format!("{path}: expected list, got &{{{}}}", crate::patch::go_plain(other))),
        (Ty::Scalar(s), v) => {
            let want = match s {
                Leaf::String | Leaf::Bytes | Leaf::Time | Leaf::MicroTime | Leaf::Duration
                    if !matches!(v, Value::Str(_)) =>
                {
                    "string"
                }
                Leaf::Bool if !matches!(v, Value::Bool(_)) => "boolean",
                Leaf::Int32 | Leaf::Int64 | Leaf::Double if !matches!(v, Value::Int(_) | Value::Float(_)) => {
                    "numeric (int or float)"
                }
                _ => return,
            };
            out.push(format!("{path}: expected {want}, got {}", go_value(v)));
        }
    }
}

fn check_items(items: &[Value], at: Place, path: &mut String, out: &mut Vec<String>) {
    let here = path.len();
    let mut seen: Vec<Element> = Vec::new();
    for (i, v) in items.iter().enumerate() {
        if at.is_leaf() {
            path.push_str(&format!("[{i}]"));
        } else {
            match at.element(v) {
                Err(e) => {
                    out.push(format!("{path}: element {i}: {e}"));
                    continue;
                }
                Ok(e) => {
                    let mut text = String::new();
                    e.show(&mut text);
                    if seen.contains(&e) {
                        out.push(format!("{path}: duplicate entries for key {text}"));
                        continue;
                    }
                    seen.push(e);
                    path.push_str(&text);
                }
            }
        }
        check(v, at.item(), path, out);
        path.truncate(here);
    }
}

/// Go's `%#v` of an untyped value, as upstream's messages show it.
fn go_value(v: &Value) -> String {
    let inner = match v {
        Value::Str(s) => crate::errors::go_quote(s),
        Value::Map(m) => {
            let parts: Vec<String> =
                m.iter().map(|(k, v)| format!("{}:{}", crate::errors::go_quote(k.as_str()), go_inner(v))).collect();
            format!("map[string]interface {{}}{{{}}}", parts.join(", "))
        }
        Value::List(l) => format!("[]interface {{}}{{{}}}", l.iter().map(go_inner).collect::<Vec<_>>().join(", ")),
        other => crate::json::to_string(other),
    };
    format!("&value.valueUnstructured{{Value:{inner}}}")
}

fn go_inner(v: &Value) -> String {
    let text = go_value(v);
    text.strip_prefix("&value.valueUnstructured{Value:").and_then(|t| t.strip_suffix('}')).unwrap_or(&text).to_string()
}
