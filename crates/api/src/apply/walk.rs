//! Walks over objects with their schema: which fields there are, how two objects differ, merging, removing.
//!
//! Source of the rules: `sigs.k8s.io/structured-merge-diff/typed`.

use super::set::{Element, Node, Place, Set};
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
            set.subtract_deep(excluded);
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
    fields(value, at).children
}

fn fields(value: &Value, at: Place) -> Node {
    if at.is_leaf() {
        return Node::end();
    }
    let mut nodes = Vec::new();
    match value {
        Value::Map(map) => {
            nodes.reserve_exact(map.len());
            for (k, v) in map.iter() {
                let mut node = fields(v, member(at, k));
                let empty = v.is_null() || matches!(v, Value::Map(m) if m.is_empty());
                node.member |= empty || !is_struct_field(at, k);
                nodes.push((Element::Field(k.clone()), node));
            }
        }
        Value::List(_) => {
            for (e, same) in index(Some(value), at) {
                let mut node = if let [one] = same[..] { fields(one, at.item()) } else { Node::default() };
                node.member = true;
                nodes.push((e, node));
            }
        }
        _ => {}
    }
    Node { member: false, children: Set::of(nodes) }
}

/// Every step of a value that is only on one side: each a path itself.
fn whole(value: &Value, at: Place) -> Node {
    if at.is_leaf() {
        return Node::end();
    }
    let nodes = if matches!(at.ty, Ty::List(_)) {
        let items = index(Some(value), at).into_iter();
        items.map(|(e, same)| (e, if let [one] = same[..] { whole(one, at.item()) } else { Node::end() })).collect()
    } else {
        value.members().map(|(k, v)| (Element::Field(k.clone()), whole(v, member(at, k)))).collect()
    };
    Node { member: true, children: Set::of(nodes) }
}

// === two objects ===

/// How `new` differs from `old`.
pub fn compare(old: &Value, new: &Value, at: Place) -> Comparison {
    differ(old, new, at).0
}

/// How two values differ behind the step to them, and whether they are one changed value.
fn differ(old: &Value, new: &Value, at: Place) -> (Comparison, bool) {
    let members = |v: &Value| v.as_map().map_or_else(|| v.items().len(), Map::len);
    if at.is_leaf() || (members(old) == 0 && members(new) == 0) {
        return (Comparison::default(), old != new);
    }
    let mut out = Differences::default();
    if matches!(at.ty, Ty::List(_)) {
        differ_items(old, new, at, &mut out)
    } else {
        differ_members(old, new, at, &mut out)
    }
    (out.done(), false)
}

/// What differs behind each step, before it is put in order.
#[derive(Default)]
struct Differences {
    added: Vec<(Element, Node)>,
    modified: Vec<(Element, Node)>,
    removed: Vec<(Element, Node)>,
}

impl Differences {
    fn of_both(&mut self, e: &Element, old: &Value, new: &Value, at: Place) {
        let (behind, changed) = differ(old, new, at);
        for (list, children, member) in [
            (&mut self.added, behind.added, false),
            (&mut self.modified, behind.modified, changed),
            (&mut self.removed, behind.removed, false),
        ] {
            if member || !children.is_empty() {
                list.push((e.clone(), Node { member, children }));
            }
        }
    }

    fn done(self) -> Comparison {
        Comparison { added: Set::of(self.added), modified: Set::of(self.modified), removed: Set::of(self.removed) }
    }
}

fn differ_members(old: &Value, new: &Value, at: Place, out: &mut Differences) {
    let (a, b) = (old.as_map(), new.as_map());
    for (k, x) in old.members() {
        match b.and_then(|m| m.get(k)) {
            Some(y) if x == y => {}
            Some(y) => out.of_both(&Element::Field(k.clone()), x, y, member(at, k)),
            None => out.removed.push((Element::Field(k.clone()), whole(x, member(at, k)))),
        }
    }
    for (k, y) in new.members() {
        if a.is_none_or(|m| !m.has(k)) {
            out.added.push((Element::Field(k.clone()), whole(y, member(at, k))));
        }
    }
}

fn differ_items(old: &Value, new: &Value, at: Place, out: &mut Differences) {
    let (a, b) = (index(Some(old), at), index(Some(new), at));
    for (e, l) in &a {
        match (&l[..], having(&b, e)) {
            ([x], [y]) if x == y => {}
            ([x], [y]) => out.of_both(e, x, y, at.item()),
            ([x], []) => out.removed.push((e.clone(), whole(x, at.item()))),
            // Which of several equal ones is meant cannot be told: they are one value.
            (l, r) if l.len() > 1 && r.len() > 1 => {
                if l != r {
                    out.modified.push((e.clone(), Node::end()));
                }
            }
            (_, []) => out.removed.push((e.clone(), Node::end())),
            (_, [y]) => {
                out.added.push((e.clone(), whole(y, at.item())));
                out.removed.push((e.clone(), Node::end()));
            }
            ([x, ..], _) => {
                out.removed.push((e.clone(), whole(x, at.item())));
                out.added.push((e.clone(), Node::end()));
            }
            ([], _) => {}
        }
    }
    for (e, r) in b.iter().filter(|(e, _)| !a.iter().any(|(o, _)| o == e)) {
        let node = if let [one] = r[..] { whole(one, at.item()) } else { Node::end() };
        out.added.push((e.clone(), node));
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
    if at.is_leaf() || new.is_none() || (size(old) == 0 && size(new) == 0) {
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
