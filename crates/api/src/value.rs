//! The one tree in which objects are read, defaulted, validated, patched and compared.
//!
//! Small on purpose (24 bytes a value, 40 an entry), keys interned, order of entries kept. Numbers are `i64` where they
//! fit, else `f64`. Two values are equal when their content is, whatever the order of keys.

use crate::names::{Key, Lookup};
use std::fmt;

/// A JSON value.
#[derive(Clone, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or beyond 64 bits.
    Float(f64),
    /// A string.
    Str(Box<str>),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Map(Map),
    /// An object that nobody looks into, as its compact JSON text: the fields somebody owns (`fieldsV1`), half of many a
    /// stored object. Only [`crate::json`] (`parse_object`, `parse_raw`) and [`crate::apply`] make them.
    Raw(Box<str>),
}

/// An object: entries in their order, keys unique.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(Key, Value)>,
}

impl Map {
    /// An empty object.
    pub const fn new() -> Map {
        Map { entries: Vec::new() }
    }

    /// An object of entries whose keys the caller knows to be unique.
    pub fn from_unique(entries: Vec<(Key, Value)>) -> Map {
        Map { entries }
    }

    /// The value of a key.
    pub fn get(&self, key: impl Lookup) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| key.is(k)).map(|(_, v)| v)
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, key: impl Lookup) -> Option<&mut Value> {
        self.entries.iter_mut().find(|(k, _)| key.is(k)).map(|(_, v)| v)
    }

    /// Whether the key is there.
    pub fn has(&self, key: impl Lookup) -> bool {
        self.get(key).is_some()
    }

    /// Sets a key; a new key goes to the end.
    pub fn set(&mut self, key: impl Lookup, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(k, _)| key.is(k)) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.key(), value)),
        }
    }

    /// Appends an entry whose key the caller knows to be new.
    pub fn push(&mut self, key: Key, value: Value) {
        self.entries.push((key, value));
    }

    /// The value of a key, made null if absent.
    pub fn entry(&mut self, key: impl Lookup) -> &mut Value {
        let at = match self.entries.iter().position(|(k, _)| key.is(k)) {
            Some(at) => at,
            None => {
                self.entries.push((key.key(), Value::Null));
                self.entries.len() - 1
            }
        };
        &mut self.entries[at].1
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: impl Lookup) -> Option<Value> {
        let at = self.entries.iter().position(|(k, _)| key.is(k))?;
        Some(self.entries.remove(at).1)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Value)> + ExactSizeIterator {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    /// The entries in order, values changeable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Value)> {
        self.entries.iter_mut().map(|(k, v)| (&*k, v))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|(k, _)| k)
    }

    /// Keeps the entries for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut Value) -> bool) {
        self.entries.retain_mut(|(k, v)| keep(k, v));
    }

    /// The entries themselves, for reordering.
    pub fn entries_mut(&mut self) -> &mut Vec<(Key, Value)> {
        &mut self.entries
    }

    /// Takes the object apart.
    pub fn into_entries(self) -> Vec<(Key, Value)> {
        self.entries
    }

    /// Sorts the entries by key text.
    pub fn sort(&mut self) {
        if !self.entries.is_sorted_by(|a, b| a.0 <= b.0) {
            self.entries.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        if self.len() != other.len() {
            return false;
        }
        // Canonical objects have the same order: compare pairwise first.
        if self.entries.iter().zip(&other.entries).all(|(a, b)| a.0 == b.0) {
            return self.entries.iter().zip(&other.entries).all(|(a, b)| a.1 == b.1);
        }
        self.entries.iter().all(|(k, v)| other.get(k) == Some(v))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => (*a as f64) == *b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            (Value::Raw(a), Value::Raw(b)) => a == b,
            (Value::Raw(raw), Value::Map(map)) | (Value::Map(map), Value::Raw(raw)) => {
                matches!(crate::json::parse(raw.as_bytes()), Ok(Value::Map(m)) if m == *map)
            }
            _ => false,
        }
    }
}

impl FromIterator<(Key, Value)> for Map {
    fn from_iter<T: IntoIterator<Item = (Key, Value)>>(iter: T) -> Map {
        let mut map = Map::new();
        for (k, v) in iter {
            map.set(&k, v);
        }
        map
    }
}

static NULL: Value = Value::Null;

impl Value {
    /// An empty object.
    pub fn object() -> Value {
        Value::Map(Map::new())
    }

    /// The member of an object; null where there is none.
    pub fn at(&self, key: impl Lookup) -> &Value {
        self.get(key).unwrap_or(&NULL)
    }

    /// The member of an object.
    pub fn get(&self, key: impl Lookup) -> Option<&Value> {
        self.as_map().and_then(|m| m.get(key))
    }

    /// The member of an object, to change it.
    pub fn get_mut(&mut self, key: impl Lookup) -> Option<&mut Value> {
        self.as_map_mut().and_then(|m| m.get_mut(key))
    }

    /// The object in a value; a value of another kind becomes an empty object first.
    pub fn make_map(&mut self) -> &mut Map {
        if !matches!(self, Value::Map(_)) {
            *self = Value::object();
        }
        match self {
            Value::Map(m) => m,
            _ => unreachable!("made an object above"),
        }
    }

    /// The list in a value; a value of another kind becomes an empty list first.
    pub fn make_list(&mut self) -> &mut Vec<Value> {
        if !matches!(self, Value::List(_)) {
            *self = Value::List(Vec::new());
        }
        match self {
            Value::List(l) => l,
            _ => unreachable!("made a list above"),
        }
    }

    /// The member of an object, which is made (as null) if absent.
    pub fn entry(&mut self, key: impl Lookup) -> &mut Value {
        self.make_map().entry(key)
    }

    /// Sets a member of an object.
    pub fn set(&mut self, key: impl Lookup, value: impl Into<Value>) {
        self.make_map().set(key, value);
    }

    /// Sets a member unless it is there (a null counts as absent).
    pub fn set_default(&mut self, key: impl Lookup, value: impl Into<Value>) {
        let slot = self.make_map().entry(key);
        if slot.is_null() {
            *slot = value.into();
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: impl Lookup) -> Option<Value> {
        self.as_map_mut().and_then(|m| m.remove(key))
    }

    /// Whether an object has a member that is not null.
    pub fn has(&self, key: impl Lookup) -> bool {
        self.get(key).is_some_and(|v| !v.is_null())
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The text of a string; empty for anything else.
    pub fn str(&self) -> &str {
        self.as_str().unwrap_or_default()
    }

    /// A whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// A whole number; 0 for anything else.
    pub fn int(&self) -> i64 {
        self.as_int().unwrap_or_default()
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    /// The entries of an object.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The entries of an object, to change them.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<&Vec<Value>> {
        match self {
            Value::List(l) => Some(l),
            _ => None,
        }
    }

    /// The elements of a list, to change them.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::List(l) => Some(l),
            _ => None,
        }
    }

    /// The elements of a list; none for anything else.
    pub fn items(&self) -> &[Value] {
        self.as_list().map_or(&[], Vec::as_slice)
    }

    /// The entries of an object; none for anything else.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (&Key, &Value)> {
        self.as_map().into_iter().flat_map(Map::iter)
    }

    /// Whether nothing is in it: null, `""`, 0, false, an empty list or object (Go's `omitempty`).
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Int(n) => *n == 0,
            Value::Float(n) => *n == 0.0,
            Value::Str(s) => s.is_empty(),
            Value::List(l) => l.is_empty(),
            Value::Map(m) => m.is_empty(),
            Value::Raw(text) => &**text == "{}",
        }
    }

    /// Makes trees of all that is kept as text, for whoever must look into it.
    pub fn expand(&mut self) {
        match self {
            Value::Raw(text) => *self = crate::json::parse(text.as_bytes()).unwrap_or_default(),
            Value::List(items) => items.iter_mut().for_each(Value::expand),
            Value::Map(map) => map.iter_mut().for_each(|(_, v)| v.expand()),
            _ => {}
        }
    }

    /// The JSON type's name as Go's decoder says it.
    pub fn go_kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Float(_) => "number",
            Value::Str(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) | Value::Raw(_) => "object",
        }
    }

    /// From `serde_json`'s tree.
    pub fn from_serde(v: &serde_json::Value) -> Value {
        match v {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => {
                n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or_default()), Value::Int)
            }
            serde_json::Value::String(s) => Value::from(s.as_str()),
            serde_json::Value::Array(l) => Value::List(l.iter().map(Value::from_serde).collect()),
            serde_json::Value::Object(m) => {
                Value::Map(Map { entries: m.iter().map(|(k, v)| (Key::from(k), Value::from_serde(v))).collect() })
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_string())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&crate::json::to_string(self))
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::Str(s.into())
    }
}
impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::Str(s.into())
    }
}
impl From<&String> for Value {
    fn from(s: &String) -> Value {
        Value::Str(s.as_str().into())
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}
impl From<i32> for Value {
    fn from(n: i32) -> Value {
        Value::Int(n.into())
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}
impl From<Map> for Value {
    fn from(m: Map) -> Value {
        Value::Map(m)
    }
}
impl From<Vec<Value>> for Value {
    fn from(l: Vec<Value>) -> Value {
        Value::List(l)
    }
}
impl From<serde_json::Value> for Value {
    fn from(v: serde_json::Value) -> Value {
        Value::from_serde(&v)
    }
}

/// `object! { "a": 1, f::spec: {...} }` would be sugar; this builds an object from pairs.
pub fn object<K: Into<Key>, const N: usize>(entries: [(K, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
}
