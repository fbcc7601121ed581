//! Strategic merge patch: lists merged by key, with directives.
//!
//! Source of rules and messages: `k8s.io/apimachinery/pkg/util/strategicpatch/patch.go`.

use crate::apply::set::Place;
use crate::errors::go_quote;
use crate::names::{Key, Name};
use crate::schema::{Field, Ty, Type};
use crate::value::{Map, Value};

const DIRECTIVE: &str = "$patch";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// Applies `patch` to an object of `ty`. The error is the message of upstream's (unclassified) 500.
pub fn strategic(target: &mut Value, patch: &Value, ty: &'static Type) -> Result<(), String> {
    let Value::Map(patch) = patch else { return Err("cannot unmarshal patch".into()) };
    let original = std::mem::take(target.make_map());
    let merged = merge_map(original, patch, Place::root(ty).ty, None)?;
    *target = Value::Map(merged);
    Ok(())
}

fn fields_of(ty: Ty) -> Option<&'static Type> {
    ty.object()
}

fn field_of(ty: Ty, key: &Key) -> Option<&'static Field> {
    fields_of(ty)?.field_of(key)
}

/// The type behind a key.
fn child(ty: Ty, key: &Key) -> Ty {
    match ty {
        Ty::Map(item) => *item,
        _ => field_of(ty, key).map_or(Ty::Scalar(crate::schema::Scalar::Json), |f| f.ty),
    }
}

fn merge_map(mut original: Map, patch: &Map, ty: Ty, field: Option<&Field>) -> Result<Map, String> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                let mut out = patch.clone();
                out.remove(DIRECTIVE);
                Ok(strip(out))
            }
            Some("delete") => Ok(Map::new()),
            Some("merge") => {
                let mut rest = patch.clone();
                rest.remove(DIRECTIVE);
                merge_map(original, &rest, ty, field)
            }
            _ => Err(format!("unknown patch type: {} in map: {}", go_plain(directive), go_map(patch))),
        };
    }
    retain_keys(&mut original, patch)?;
    for (key, v) in patch.iter() {
        let text = key.as_str();
        if text == RETAIN || text.starts_with(ORDER) {
            continue;
        }
        if let Some(list) = text.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut original, list, v);
            continue;
        }
        if v.is_null() {
            original.remove(key);
            continue;
        }
        let old = original.remove_in_place(key);
        let order = patch.get(format!("{ORDER}{text}").as_str());
        let merged = merge_value(old.clone(), v, ty, key, order)?;
        original.put_back(key, merged);
    }
    // Orders of lists that the patch itself does not touch.
    for (key, order) in patch.iter().filter_map(|(k, v)| k.as_str().strip_prefix(ORDER).map(|k| (Key::from(k), v))) {
        if patch.has(&key) {
            continue;
        }
        let merge_key = field_of(ty, &key).and_then(|f| f.merge_key);
        if let Some(Value::List(items)) = original.get_mut(&key) {
            let old = items.clone();
            *items = ordered(std::mem::take(items), &old, order.items(), merge_key);
        }
    }
    Ok(original)
}

trait InPlace {
    fn remove_in_place(&mut self, key: &Key) -> Option<Value>;
    fn put_back(&mut self, key: &Key, value: Option<Value>);
}

impl InPlace for Map {
    /// Takes the value but leaves its place.
    fn remove_in_place(&mut self, key: &Key) -> Option<Value> {
        self.get_mut(key).map(std::mem::take)
    }
    fn put_back(&mut self, key: &Key, value: Option<Value>) {
        match value {
            Some(v) => self.set(key, v),
            None => drop(self.remove(key)),
        }
    }
}

fn merge_value(
    old: Option<Value>,
    v: &Value,
    ty: Ty,
    key: &Key,
    order: Option<&Value>,
) -> Result<Option<Value>, String> {
    let field = field_of(ty, key);
    let inner = child(ty, key);
    match (old, v) {
        (Some(Value::Map(old)), Value::Map(p)) => {
            let deleted = p.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
            let merged = merge_map(old, p, inner, field)?;
            Ok(if deleted && merged.is_empty() { None } else { Some(Value::Map(merged)) })
        }
        (_, Value::Map(p)) => {
            // Nothing to merge into: directives are meaningless but for their removal.
            if p.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
                return Ok(None);
            }
            if let Some(d) = p.get(DIRECTIVE)
                && !matches!(d.as_str(), Some("replace" | "merge"))
            {
                return Err(format!("unknown patch type: {} in map: {}", go_plain(d), go_map(p)));
            }
            Ok(Some(Value::Map(strip(p.clone()))))
        }
        (old, Value::List(p)) if field.is_some_and(|f| f.patch_merge) => {
            let old = match old {
                Some(Value::List(l)) => l,
                _ => Vec::new(),
            };
            let item = match inner {
                Ty::List(item) => *item,
                other => other,
            };
            let merge_key = field.and_then(|f| f.merge_key);
            let before = old.clone();
            let merged = merge_list(old, p, item, merge_key, key)?;
            let order = order.map_or_else(Vec::new, |o| o.items().to_vec());
            Ok(Some(Value::List(if order.is_empty() { merged } else { ordered(merged, &before, &order, merge_key) })))
        }
        (_, v) => Ok(Some(clean(v.clone()))),
    }
}

fn clean(v: Value) -> Value {
    match v {
        Value::Map(m) => Value::Map(strip(m)),
        Value::List(l) => Value::List(l.into_iter().map(clean).collect()),
        v => v,
    }
}

/// Removes directives and nulls from what is taken over whole.
fn strip(map: Map) -> Map {
    let mut out = Map::new();
    for (k, v) in map.into_entries() {
        let text = k.as_str();
        if text == DIRECTIVE
            || text == RETAIN
            || text.starts_with(ORDER)
            || text.starts_with(DELETE_PRIMITIVES)
            || v.is_null()
        {
            continue;
        }
        out.push(k, clean(v));
    }
    out
}

fn retain_keys(original: &mut Map, patch: &Map) -> Result<(), String> {
    let Some(keep) = patch.get(RETAIN) else { return Ok(()) };
    let Value::List(keep) = keep else { return Err(format!("invalid retainKeys: {}", go_plain(keep))) };
    let kept = |k: &str| keep.iter().any(|v| v.str() == k);
    for (k, _) in patch.iter().filter(|(k, v)| !k.as_str().starts_with('$') && !v.is_null()) {
        if !kept(k.as_str()) {
            return Err(format!("{} directive must not have {} as its key", RETAIN, go_quote(k.as_str())));
        }
    }
    original.retain(|k, _| kept(k.as_str()));
    Ok(())
}

fn delete_primitives(original: &mut Map, list: &str, gone: &Value) {
    if let Some(Value::List(items)) = original.get_mut(list) {
        items.retain(|v| !gone.items().contains(v));
    }
}

fn merge_list(
    mut old: Vec<Value>,
    patch: &[Value],
    item: Ty,
    merge_key: Option<Name>,
    key: &Key,
) -> Result<Vec<Value>, String> {
    if patch.is_empty() && old.is_empty() {
        return Ok(old);
    }
    let objects = patch.iter().chain(&old).any(|v| v.as_map().is_some());
    if !objects {
        for v in patch {
            if !old.contains(v) {
                old.push(v.clone());
            }
        }
        return Ok(old);
    }
    let Some(merge_key) = merge_key else {
        return Err(format!("cannot merge list {} without a merge key", key.as_str()));
    };
    let missing = |v: &Value| {
        format!(
            "map: {} does not contain declared merge key: {}",
            v.as_map().map_or_else(|| go_plain(v), go_map),
            merge_key.as_str()
        )
    };
    if let Some(replacement) = replacement(patch) {
        return Ok(replacement);
    }
    for v in &old {
        if v.as_map().is_some() && !v.has(merge_key) {
            return Err(missing(v));
        }
    }
    for p in patch {
        let Value::Map(map) = p else { return Err("delete patch type with no merge key defined".into()) };
        let directive = map.get(DIRECTIVE).and_then(Value::as_str);
        let Some(id) = p.get(merge_key).filter(|v| !v.is_null()) else { return Err(missing(p)) };
        match directive {
            Some("delete") => old.retain(|v| v.at(merge_key) != id),
            Some(other) if !matches!(other, "replace" | "merge") => {
                return Err(format!("unknown patch type: {other} in map: {}", go_map(map)));
            }
            _ => match old.iter_mut().find(|v| v.at(merge_key) == id) {
                Some(slot) => {
                    let original = std::mem::take(slot.make_map());
                    *slot = Value::Map(merge_map(original, map, item, None)?);
                }
                None => old.push(Value::Map(strip(map.clone()))),
            },
        }
    }
    Ok(old)
}

/// A list with an element that is only `$patch: replace` replaces the whole list by the other elements.
fn replacement(patch: &[Value]) -> Option<Vec<Value>> {
    let lone = |v: &Value| {
        v.as_map().is_some_and(|m| m.len() == 1 && m.get(DIRECTIVE).and_then(Value::as_str) == Some("replace"))
    };
    patch.iter().any(lone).then(|| patch.iter().filter(|v| !lone(v)).map(|v| clean(v.clone())).collect())
}

/// Elements in the order that the patch asks for; those it does not name stay behind the element they followed on the server.
fn ordered(items: Vec<Value>, before: &[Value], order: &[Value], merge_key: Option<Name>) -> Vec<Value> {
    let id = |v: &Value| -> Value {
        match (merge_key, v) {
            (Some(k), Value::Map(_)) => v.at(k).clone(),
            _ => v.clone(),
        }
    };
    let wanted: Vec<Value> = order.iter().map(id).collect();
    let (mut named, unnamed): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|v| wanted.contains(&id(v)));
    named.sort_by_key(|v| wanted.iter().position(|w| *w == id(v)));
    let server = |v: &Value| before.iter().position(|b| id(b) == id(v));
    let mut out = Vec::with_capacity(named.len() + unnamed.len());
    let mut unnamed = unnamed.into_iter().peekable();
    for n in named {
        // Server-only elements that came before this one on the server go first.
        while let Some(u) = unnamed.peek() {
            match (server(u), server(&n)) {
                (Some(a), Some(b)) if a < b => out.extend(unnamed.next()),
                _ => break,
            }
        }
        out.push(n);
    }
    out.extend(unnamed);
    out
}

/// Go's `%v` of a decoded map.
fn go_map(map: &Map) -> String {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    let parts: Vec<String> = entries.into_iter().map(|(k, v)| format!("{}:{}", k.as_str(), go_plain(v))).collect();
    format!("map[{}]", parts.join(" "))
}

/// Go's `%v` of a decoded value.
pub fn go_plain(v: &Value) -> String {
    match v {
        Value::Null => "<nil>".into(),
        Value::Str(s) => s.to_string(),
        Value::Map(m) => go_map(m),
        Value::List(l) => format!("[{}]", l.iter().map(go_plain).collect::<Vec<_>>().join(" ")),
        other => crate::json::to_string(other),
    }
}
