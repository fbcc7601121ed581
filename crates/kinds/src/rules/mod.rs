//! The rules of kinds: a row of functions each, most of them shared.

pub mod access;
pub mod autoscaling;
pub mod batch;
pub mod cells;
pub mod core;
pub mod dynamic;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod pod;
pub mod pods;
pub mod policy;
pub mod quota;
pub mod registration;
pub mod schedule;
pub mod service;
pub mod storage;
mod table;
pub mod validation;
pub mod workloads;

pub use table::of;

use api::check::At;
use api::{Value, format};

/// What a kind means.
#[derive(Debug)]
pub struct Rules {
    /// Fills in what the client left out.
    pub defaults: fn(&mut Value),
    /// Last changes before an object is created (status is dropped by the registry already).
    pub prepare_create: fn(&mut Value),
    /// Last changes before an object is replaced: what a client cannot change goes back to the old value.
    pub prepare_update: fn(new: &mut Value, old: &Value),
    /// What is wrong with an object.
    pub validate: fn(At),
    /// What is wrong with a new object, besides [`Rules::validate`].
    pub validate_create: fn(At),
    /// What is wrong with a change, besides [`Rules::validate`].
    pub validate_update: fn(new: At, old: &Value),
    /// What is wrong with a change of the status.
    pub validate_status: fn(new: At, old: &Value),
    /// Last changes before a status is replaced; `now` as RFC 3339.
    pub prepare_status: fn(new: &mut Value, old: &Value, now: &str),
    /// Subresources that write a part of the object.
    pub parts: &'static [PartRules],
    /// Whether a new object keeps the status that it comes with.
    pub keeps_status: bool,
    /// Whether metadata sent to the status is ignored.
    pub status_only: bool,
    /// What is wrong with a name.
    pub name: format::Check,
    /// The cells of a table's row; `now` in seconds since 1970.
    pub cells: fn(&Value, now: i64) -> Vec<Value>,
    /// Members whose change counts as a new generation; empty: the kind has no generation.
    pub generation: &'static [&'static str],
    /// The generation that a new object has, if the kind counts them.
    pub first_generation: i64,
    /// What a client is told although it is accepted.
    pub warnings: fn(&Value) -> Vec<String>,
    /// What every user of the kind is told; empty if nothing.
    pub deprecated: &'static str,
    /// The finalizers that a new object gets.
    pub finalizers: &'static [&'static str],
}

impl Rules {
    /// The rules of a subresource that writes a part of the object.
    pub fn part(&self, name: &str) -> Option<&'static PartRules> {
        self.parts.iter().find(|p| p.name == name)
    }
}

/// A subresource that writes a part of its object.
#[derive(Debug)]
pub struct PartRules {
    /// The subresource.
    pub name: &'static str,
    /// Puts back everything but its part.
    pub prepare: fn(new: &mut Value, old: &Value),
    /// What is wrong with a change.
    pub validate: fn(new: At, old: &Value),
}

fn no_change(_: &mut Value) {}
fn no_update(_: &mut Value, _: &Value) {}
fn no_check(_: At) {}
fn no_update_check(_: At, _: &Value) {}
fn no_stamp(_: &mut Value, _: &Value, _: &str) {}
fn no_warnings(_: &Value) -> Vec<String> {
    Vec::new()
}

/// A kind without rules of its own.
pub const PLAIN: Rules = Rules {
    defaults: no_change,
    prepare_create: no_change,
    prepare_update: no_update,
    validate: no_check,
    validate_create: no_check,
    validate_update: no_update_check,
    validate_status: no_update_check,
    prepare_status: no_stamp,
    parts: &[],
    keeps_status: false,
    status_only: false,
    name: format::is_dns1123_subdomain,
    cells: cells::name_and_age,
    generation: &[],
    first_generation: 1,
    warnings: no_warnings,
    deprecated: "",
    finalizers: &[],
};

/// The elements of a member that is a list.
fn each(v: &mut Value, key: api::Name) -> impl Iterator<Item = &mut Value> {
    v.get_mut(key).and_then(Value::as_list_mut).into_iter().flatten()
}

/// A text that an empty one counts as absent for.
fn text_default(v: &mut Value, key: api::Name, text: &str) {
    if v.at(key).str().is_empty() {
        v.set(key, text);
    }
}
