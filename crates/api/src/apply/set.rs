//! Field sets: which paths of an object somebody owns, and their JSON form (`FieldsV1`).

use crate::json;
use crate::names::Key;
use crate::schema::{ListKind, Ty, Type};
use crate::value::{Map, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A member of an object.
    Field(Key),
    /// The element of an associative list with these key values, sorted by key.
    Item(Vec<(Key, Scalar)>),
    /// The element of a set with this value.
    Value(Scalar),
    /// The element of a list at this index.
    Index(i64),
}

/// A scalar that can be ordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(pub Value);

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Scalar) -> Ordering {
        fn rank(v: &Value) -> u8 {
            match v {
                Value::Float(_) => 0,
                Value::Int(_) => 1,
                Value::Str(_) => 2,
                Value::Bool(_) => 3,
                _ => 4,
            }
        }
        match (&self.0, &other.0) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Str(a), Value::Str(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

impl Element {
    /// Writes the key in `FieldsV1`, quotes and all.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        match self {
            Element::Field(k) => {
                out.extend_from_slice(b"f:");
                json::escape(out, k.as_str());
            }
            Element::Item(keys) => {
                out.extend_from_slice(b"k:");
                let map: Map = keys.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
                json::escape(out, &json::to_string(&Value::Map(map)));
            }
            Element::Value(v) => {
                out.extend_from_slice(b"v:");
                json::escape(out, &json::to_string(&v.0));
            }
            Element::Index(i) => out.extend_from_slice(format!("i:{i}").as_bytes()),
        }
        out.push(b'"');
    }

    fn decode(text: &str) -> Result<Option<Element>, String> {
        let Some((kind, rest)) = text.split_once(':') else { return Err(format!("missing colon: {text}")) };
        let value = || json::parse(rest.as_bytes()).map_err(|e| e.message);
        Ok(Some(match kind {
            "f" => Element::Field(Key::from(rest)),
            "v" => Element::Value(Scalar(value()?)),
            "i" => Element::Index(rest.parse().map_err(|_| format!("invalid index {rest}"))?),
            "k" => {
                let Value::Map(map) = value()? else { return Err(format!("invalid key {rest}")) };
                let mut keys: Vec<_> = map.into_entries().into_iter().map(|(k, v)| (k, Scalar(v))).collect();
                keys.sort_by(|a, b| a.0.cmp(&b.0));
                Element::Item(keys)
            }
            _ => return Ok(None), // a later version's: ignored
        }))
    }

    /// As in conflict messages.
    pub fn show(&self, out: &mut String) {
        let _ = match self {
            Element::Field(k) => write!(out, ".{}", k.as_str()),
            Element::Item(keys) => {
                let parts: Vec<String> =
                    keys.iter().map(|(k, v)| format!("{}={}", k.as_str(), json::to_string(&v.0))).collect();
                write!(out, "[{}]", parts.join(","))
            }
            Element::Value(v) => write!(out, "[={}]", json::to_string(&v.0)),
            Element::Index(i) => write!(out, "[{i}]"),
        };
    }
}

/// A set of paths: for each first step whether the path ends there, and how it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Sorted by element.
    nodes: Vec<(Element, Node)>,
}

/// What is known of a step: whether a path ends there, and the paths behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) children: Set,
}

impl Node {
    /// A path that ends here.
    pub(super) fn end() -> Node {
        Node { member: true, children: Set::new() }
    }

    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    /// The empty set.
    pub fn new() -> Set {
        Set::default()
    }

    /// From steps in any order, each given once.
    pub(super) fn of(mut nodes: Vec<(Element, Node)>) -> Set {
        nodes.retain(|(_, n)| !n.is_empty());
        if !nodes.is_sorted_by(|a, b| a.0 < b.0) {
            nodes.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Set { nodes }
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn find(&self, e: &Element) -> Option<&Node> {
        self.nodes.binary_search_by(|(x, _)| x.cmp(e)).ok().map(|i| &self.nodes[i].1)
    }

    fn slot(&mut self, e: Element) -> &mut Node {
        // Most come in order.
        let at = match self.nodes.last() {
            Some((last, _)) if *last >= e => self.nodes.binary_search_by(|(x, _)| x.cmp(&e)),
            _ => Err(self.nodes.len()),
        };
        let at = match at {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, (e, Node::default()));
                at
            }
        };
        &mut self.nodes[at].1
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.slot(last.clone()).member = true,
            [first, rest @ ..] => self.slot(first.clone()).children.insert(rest),
        }
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has_member(last),
            [first, rest @ ..] => self.find(first).is_some_and(|n| n.children.has(rest)),
        }
    }

    /// Whether it has the one-step path.
    pub fn has_member(&self, e: &Element) -> bool {
        self.find(e).is_some_and(|n| n.member)
    }

    /// The paths behind a step.
    pub fn under(&self, e: &Element) -> Option<&Set> {
        self.find(e).map(|n| &n.children).filter(|s| !s.is_empty())
    }

    /// Whether all its paths are in the other.
    pub fn within(&self, other: &Set) -> bool {
        self.nodes
            .iter()
            .all(|(e, n)| other.find(e).is_some_and(|o| (o.member || !n.member) && n.children.within(&o.children)))
    }

    /// Adds the paths of the other.
    pub fn add(&mut self, other: Set) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (e, n) in other.nodes {
            let slot = self.slot(e);
            slot.member |= n.member;
            slot.children.add(n.children);
        }
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        let nodes = self.nodes.iter().filter_map(|(e, n)| {
            let o = other.find(e)?;
            let both = Node { member: n.member && o.member, children: n.children.intersection(&o.children) };
            (!both.is_empty()).then(|| (e.clone(), both))
        });
        Set { nodes: nodes.collect() }
    }

    /// Takes out the paths that are in the other.
    pub fn subtract(&mut self, other: &Set) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|(e, n)| {
            if let Some(o) = other.find(e) {
                n.member &= !o.member;
                n.children.subtract(&o.children);
            }
            !n.is_empty()
        });
    }

    /// Takes out the paths that are in the other or lie behind one that is.
    pub fn subtract_deep(&mut self, other: &Set) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|(e, n)| match other.find(e) {
            None => true,
            Some(o) if o.member => false,
            Some(o) => {
                n.children.subtract_deep(&o.children);
                !n.is_empty()
            }
        });
    }

    /// Makes every struct field that has paths behind it a path itself.
    #[must_use]
    pub fn with_named_fields(mut self, at: Place) -> Set {
        for (e, n) in &mut self.nodes {
            let children = std::mem::take(&mut n.children);
            n.member |= !children.is_empty()
                && matches!((at.ty, &*e), (Ty::Object(id), Element::Field(k)) if Type::of(id).field_of(k).is_some());
            n.children = children.with_named_fields(at.step(e));
        }
        self
    }

    /// All paths in order.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<Element>, out: &mut Vec<Vec<Element>>) {
        for (e, _) in self.nodes.iter().filter(|(_, n)| n.member) {
            prefix.push(e.clone());
            out.push(prefix.clone());
            prefix.pop();
        }
        for (e, n) in &self.nodes {
            prefix.push(e.clone());
            n.children.collect(prefix, out);
            prefix.pop();
        }
    }

    /// The JSON form, as an object's tree has it.
    pub fn to_value(&self) -> Value {
        let mut out = Vec::with_capacity(1024);
        self.write(false, &mut out);
        Value::Raw(String::from_utf8(out).unwrap_or_default().into()) // what is written into it is UTF-8
    }

    fn write(&self, member: bool, out: &mut Vec<u8>) {
        out.push(b'{');
        if member && !self.is_empty() {
            out.extend_from_slice(b"\".\":{}");
        }
        for (e, n) in &self.nodes {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            e.encode(out);
            out.push(b':');
            n.children.write(n.member, out);
        }
        out.push(b'}');
    }

    /// From the JSON form, whether it is text or a tree.
    pub fn from_value(v: &Value) -> Result<Set, String> {
        match v {
            Value::Raw(text) => Set::read(&mut json::Parser::new(text.as_bytes(), None)),
            Value::Map(_) => Set::read(&mut json::Parser::new(json::to_string(v).as_bytes(), None)),
            _ => return Err("fields must be an object".into()),
        }
        .map(|n| n.children)
        .map_err(|e| e.message)
    }

    /// An object of the JSON form: the paths in it, and whether one ends here.
    fn read(p: &mut json::Parser) -> Result<Node, json::SyntaxError> {
        let (mut set, mut here) = (Set::new(), false);
        p.members(&mut |p, key| {
            let inner = Set::read(p)?;
            if key == "." {
                here = true;
            } else if let Some(element) =
                Element::decode(&key).map_err(|message| json::SyntaxError { message, offset: 0 })?
            {
                *set.slot(element) = inner;
            }
            Ok(())
        })?;
        Ok(Node { member: here || set.is_empty(), children: set })
    }
}

/// Where a walk stands in the schema.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The value's type.
    pub ty: Ty,
    /// The topology, if it is a list.
    pub list: ListKind,
    /// Owned as one value.
    pub atomic: bool,
}

impl Place {
    /// The root of an object.
    pub fn root(ty: &'static Type) -> Place {
        Place { ty: Ty::Object(ty.id().unwrap_or_default()), list: ListKind::Atomic, atomic: ty.atomic }
    }

    /// The place of an item of a free map or a list.
    pub fn item(self) -> Place {
        match self.ty {
            Ty::List(item) | Ty::Map(item) => Place::plain(*item),
            _ => self,
        }
    }

    fn plain(ty: Ty) -> Place {
        Place { ty, list: ListKind::Atomic, atomic: ty.object().is_some_and(|t| t.atomic) }
    }

    /// The place behind a step.
    pub fn step(self, e: &Element) -> Place {
        match (self.ty, e) {
            (Ty::Object(id), Element::Field(k)) => self.member(Type::of(id), k),
            _ => self.item(),
        }
    }

    /// The place of a struct's member.
    pub fn member(self, ty: &'static Type, key: &Key) -> Place {
        match ty.field_of(key) {
            Some(f) => Place { ty: f.ty, list: f.list, atomic: f.atomic || f.ty.object().is_some_and(|t| t.atomic) },
            None => Place::plain(Ty::Scalar(crate::schema::Scalar::Json)),
        }
    }

    /// Whether a value here is owned as a whole.
    pub fn is_leaf(self) -> bool {
        match self.ty {
            Ty::Scalar(_) => true,
            Ty::Object(_) | Ty::Map(_) => self.atomic,
            Ty::List(_) => self.list == ListKind::Atomic,
        }
    }

    /// The path element of a list's item.
    pub fn element(self, item: &Value) -> Result<Element, String> {
        match self.list {
            ListKind::Map(keys) => {
                if !matches!(item, Value::Map(_)) {
                    return Err("associative list with keys may not have non-map elements".into());
                }
                let mut out = Vec::with_capacity(keys.len());
                for name in keys {
                    let value = match item.at(*name) {
                        Value::Null => self.key_default(*name).ok_or_else(|| {
                            format!("associative list with keys has an element that omits key field {:?} (and doesn't have default value)", name.as_str())
                        })?,
                        v @ (Value::Map(_) | Value::List(_)) => return Err(format!("associative list with keys has an element that has a non-scalar key field {v}")),
                        v => v.clone(),
                    };
                    out.push((Key::Known(*name), Scalar(value)));
                }
                out.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Element::Item(out))
            }
            _ => match item {
                Value::Map(_) | Value::List(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                v => Ok(Element::Value(Scalar(v.clone()))),
            },
        }
    }

    fn key_default(self, name: crate::names::Name) -> Option<Value> {
        let item = self.item().ty.object()?;
        let (_, field) = item.field(name)?;
        match field.default {
            Some(text) => json::parse(text.as_bytes()).ok(),
            // A key without omitempty has the schema's default of its zero value.
            None if field.always
                && !field.optional
                && matches!(field.ty, Ty::Scalar(crate::schema::Scalar::String)) =>
            {
                Some(Value::from(""))
            }
            None => None,
        }
    }
}
