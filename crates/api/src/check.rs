//! The cursor that rules are written with: a value, its place in the object, and where mistakes go.
//!
//! Invariants: a place costs one small entry until an error is printed; what is wrong is reported in the order of
//! finding. A bad value that is a struct is shown as upstream shows its internal twin (see [`crate::go`]).

use crate::errors::{FieldErrors, Path, Reason, Shown, supported_values};
use crate::names::Name;
use crate::schema::{Ty, Type};
use crate::value::Value;
use crate::{format, go};
use std::cell::RefCell;

/// A step from a parent to a child.
#[derive(Debug)]
enum Step {
    Child(&'static str),
    Index(usize),
    Key(Box<str>),
    Member(Box<str>),
}

/// One run of rules over an object.
struct Run {
    ty: Option<&'static Type>,
    steps: RefCell<Vec<(u32, Step)>>,
    errs: RefCell<FieldErrors>,
}

/// A value and its place. The root's number is 0, its children's numbers begin with 1.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The value; null if there is none.
    pub v: &'a Value,
    node: u32,
    run: &'a Run,
}

/// Checks an object of a type.
pub fn check(v: &Value, ty: Option<&'static Type>, rules: impl FnOnce(At)) -> FieldErrors {
    let run = Run { ty, steps: RefCell::new(Vec::with_capacity(128)), errs: RefCell::default() };
    rules(At { v, node: 0, run: &run });
    run.errs.into_inner()
}

impl Run {
    fn push(&self, parent: u32, step: Step) -> u32 {
        let mut steps = self.steps.borrow_mut();
        steps.push((parent, step));
        steps.len() as u32
    }

    /// The path of a node. Errors are rare: text is simple enough.
    fn path(&self, node: u32) -> String {
        let steps = self.steps.borrow();
        chain(&steps, node).iter().rev().fold(String::new(), |text, node| match &steps[*node as usize - 1].1 {
            Step::Child(name) if text.is_empty() => (*name).to_string(),
            Step::Child(name) => format!("{text}.{name}"),
            Step::Index(i) => format!("{text}[{i}]"),
            Step::Key(key) => format!("{text}[{key}]"),
            Step::Member(key) => format!("{text}.{key}"),
        })
    }

    /// The type of what stands at a node, if the type table knows; and whether it is a pointer.
    fn ty(&self, node: u32) -> Option<(Ty, bool)> {
        let steps = self.steps.borrow();
        let mut now: Option<(Ty, bool)> = None;
        let mut object = self.ty;
        for node in chain(&steps, node).iter().rev() {
            now = Some(match (&steps[*node as usize - 1].1, now) {
                (Step::Child(name), _) => {
                    let (_, field) = object?.field(Name::find(name)?)?;
                    (field.ty, field.optional)
                }
                (Step::Index(_), Some((Ty::List(item), _))) => (*item, false),
                (Step::Key(_) | Step::Member(_), Some((Ty::Map(item), _))) => (*item, false),
                _ => return None,
            });
            object = now.and_then(|(ty, _)| ty.object());
        }
        now
    }
}

/// The nodes from `node` up to the root.
fn chain(steps: &[(u32, Step)], mut node: u32) -> Vec<u32> {
    let mut out = Vec::new();
    while node != 0 {
        out.push(node);
        node = steps[node as usize - 1].0;
    }
    out
}

impl<'a> At<'a> {
    fn step(self, v: &'a Value, step: Step) -> At<'a> {
        At { v, node: self.run.push(self.node, step), run: self.run }
    }

    /// A member.
    pub fn at(self, name: Name) -> At<'a> {
        self.step(self.v.at(name), Step::Child(name.as_str()))
    }

    /// A place below this one that has no member of its own; its value is this one's.
    pub fn place(self, name: &'static str) -> At<'a> {
        self.step(self.v, Step::Child(name))
    }

    /// The same place with another value.
    pub fn with(self, v: &'a Value) -> At<'a> {
        At { v, ..self }
    }

    /// A list element.
    pub fn index(self, i: usize) -> At<'a> {
        self.step(self.v.items().get(i).unwrap_or(&Value::Null), Step::Index(i))
    }

    /// A member with a free key.
    pub fn key(self, key: &str) -> At<'a> {
        self.step(self.v.at(key), Step::Key(key.into()))
    }

    /// A member with a free key that is reported like a field.
    pub fn member(self, key: &str) -> At<'a> {
        self.step(self.v.at(key), Step::Member(key.into()))
    }

    /// The elements of a list.
    pub fn items(self) -> impl Iterator<Item = At<'a>> {
        self.v.items().iter().enumerate().map(move |(i, v)| self.step(v, Step::Index(i)))
    }

    /// The members of a map, sorted by key.
    pub fn entries(self) -> Vec<(&'a str, &'a Value)> {
        let mut out: Vec<(&str, &Value)> = self.v.members().map(|(k, v)| (k.as_str(), v)).collect();
        out.sort_unstable_by_key(|(k, _)| *k);
        out
    }

    /// This place, if something stands there.
    pub fn some(self) -> Option<At<'a>> {
        (!self.v.is_null()).then_some(self)
    }

    /// A member's value.
    pub fn get(self, name: Name) -> &'a Value {
        self.v.at(name)
    }

    /// A member's text.
    pub fn str(self, name: Name) -> &'a str {
        self.v.at(name).str()
    }

    /// A member's number.
    pub fn int(self, name: Name) -> i64 {
        self.v.at(name).int()
    }

    /// Whether a member is there.
    pub fn has(self, name: Name) -> bool {
        self.v.has(name)
    }

    fn report(self, then: impl FnOnce(&mut FieldErrors, &Path)) {
        let text = self.run.path(self.node);
        let path = if text.is_empty() { Path::Root } else { Path::Child(&Path::Root, &text) };
        then(&mut self.run.errs.borrow_mut(), &path);
    }

    /// How the value is printed when it is wrong.
    pub fn shown(self) -> String {
        match (self.v, self.run.ty(self.node)) {
            (Value::Str(_), _) | (_, None) => self.v.shown(),
            (v, Some((ty, pointer))) => crate::json::to_string(&go::internal(v, ty, pointer)),
        }
    }

    /// The struct here as upstream prints its internal twin, over several lines.
    pub fn pretty(self, v: &Value) -> String {
        self.run.ty(self.node).map_or_else(String::new, |(ty, pointer)| go::pretty(&go::internal(v, ty, pointer)))
    }

    /// How many mistakes were found until now.
    pub fn found(self) -> usize {
        self.run.errs.borrow().0.len()
    }

    /// A needed value is missing.
    pub fn required(self, detail: impl AsRef<str>) {
        self.report(|e, p| e.required(p, detail));
    }

    /// The value is malformed.
    pub fn invalid(self, detail: impl AsRef<str>) {
        let shown = self.shown();
        self.report(|e, p| e.push(Reason::Invalid, p, Some(shown), detail.as_ref()));
    }

    /// What stands here is wrong as a whole; it is not shown.
    pub fn wrong(self, detail: impl AsRef<str>) {
        self.report(|e, p| e.push(Reason::Invalid, p, None, detail.as_ref()));
    }

    /// Another value, which stands for the one here, is malformed.
    pub fn invalid_as(self, value: impl Shown, detail: impl AsRef<str>) {
        self.report(|e, p| e.invalid(p, value, detail));
    }

    /// A value that is printed already, which stands for the one here, is malformed.
    pub fn invalid_text(self, shown: String, detail: impl AsRef<str>) {
        self.report(|e, p| e.push(Reason::Invalid, p, Some(shown), detail.as_ref()));
    }

    /// The value is none of these.
    pub fn unsupported(self, supported: &[&str]) {
        let shown = self.shown();
        self.report(|e, p| e.push(Reason::NotSupported, p, Some(shown), &supported_values(supported)));
    }

    /// Another value, which stands for the one here, is none of these.
    pub fn unsupported_as(self, value: impl Shown, supported: &[&str]) {
        self.report(|e, p| e.not_supported(p, value, supported));
    }

    /// The value is there already.
    pub fn duplicate(self) {
        let shown = self.shown();
        self.report(|e, p| e.push(Reason::Duplicate, p, Some(shown), ""));
    }

    /// Another value, which stands for the one here, is there already.
    pub fn duplicate_as(self, value: impl Shown) {
        self.report(|e, p| e.duplicate(p, value));
    }

    /// A value that is printed already is there already.
    pub fn duplicate_text(self, shown: String, detail: &str) {
        self.report(|e, p| e.push(Reason::Duplicate, p, Some(shown), detail));
    }

    /// Not allowed here.
    pub fn forbidden(self, detail: impl AsRef<str>) {
        self.report(|e, p| e.forbidden(p, detail));
    }

    /// What the value names is missing.
    pub fn not_found(self) {
        self.report(|e, p| e.not_found(p, self.v));
    }

    /// What a value, which stands for the one here, names is missing; and among what it was looked for.
    pub fn not_found_as(self, value: impl Shown, detail: impl AsRef<str>) {
        self.report(|e, p| e.push(Reason::NotFound, p, Some(value.shown()), detail.as_ref()));
    }

    /// Text of more than `max` bytes.
    pub fn too_long(self, max: usize) {
        self.report(|e, p| e.too_long(p, max));
    }

    /// A list of more than `max`.
    pub fn too_many(self, max: usize) {
        let n = self.v.items().len().max(self.v.as_map().map_or(0, |m| m.len()));
        self.report(|e, p| e.too_many(p, n, max));
    }

    // === checks of one value ===

    /// Every element of a list once; `reported` where a repeated one is.
    pub fn unique<'k>(self, of: impl Fn(&'a Value) -> &'k Value, reported: impl Fn(At<'a>))
    where
        'a: 'k,
    {
        let items = self.v.items();
        for (i, v) in items.iter().enumerate() {
            if items[..i].iter().any(|o| of(o) == of(v)) {
                reported(self.index(i));
            }
        }
    }

    /// Not below zero.
    pub fn non_negative(self) {
        if self.v.int() < 0 {
            self.invalid("must be greater than or equal to 0");
        }
    }

    /// Above zero, if there.
    pub fn positive(self) {
        if self.v.as_int().is_some_and(|n| n <= 0) {
            self.invalid("must be greater than 0");
        }
    }

    /// Between two numbers, if there.
    pub fn within(self, low: i64, high: i64) {
        if self.v.as_int().is_some_and(|n| !(low..=high).contains(&n)) {
            self.invalid(format!("must be between {low} and {high}, inclusive"));
        }
    }

    /// There and not empty; answers whether it is.
    pub fn needed(self) -> bool {
        let there = !self.v.is_zero();
        if !there {
            self.required("");
        }
        there
    }

    /// One of some values; needed.
    pub fn one_of(self, allowed: &[&str]) {
        if self.needed() {
            self.any_of(allowed);
        }
    }

    /// One of some values, an empty one included in the refusal.
    pub fn any_of(self, allowed: &[&str]) {
        if !allowed.contains(&self.v.str()) {
            self.unsupported(allowed);
        }
    }

    /// One of some values, if there.
    pub fn maybe_one_of(self, allowed: &[&str]) {
        if !self.v.is_null() {
            self.any_of(allowed);
        }
    }

    /// A text of a form; answers whether it is.
    pub fn format(self, check: format::Check) -> bool {
        let wrong = check(self.v.str());
        for m in &wrong {
            self.invalid(m);
        }
        wrong.is_empty()
    }

    /// A text of a form.
    pub fn form(self, check: format::Check) {
        self.format(check);
    }

    /// A text of a form, where an absent one counts as empty and is shown so.
    pub fn format_as(self, check: format::Check) -> bool {
        let wrong = check(self.v.str());
        for m in &wrong {
            self.invalid_as(self.v.str(), m);
        }
        wrong.is_empty()
    }

    /// A text of a form, if not empty.
    pub fn maybe(self, check: format::Check) {
        if !self.v.str().is_empty() {
            self.format(check);
        }
    }

    /// A needed text of a form.
    pub fn named(self, check: format::Check) {
        if self.needed() {
            self.format(check);
        }
    }

    /// As it was.
    pub fn immutable(self, old: &Value) {
        if self.v != old {
            self.invalid("field is immutable");
        }
    }
}
