//! Events, in both of their forms.
//!
//! Source: `pkg/apis/core/validation/events.go`. Errors name the members of the core form, whichever was sent.

use api::check::At;
use api::{Value, f, format};

/// A member of the core form and its name in the newer one.
fn either(e: At, core: api::Name, newer: api::Name) -> At {
    if e.has(newer) { e.at(core).with(e.get(newer)) } else { e.at(core) }
}

/// An event.
pub fn event(e: At) {
    let namespace = e.get(f::metadata).at(f::namespace).str();
    let about = either(e, f::involvedObject, f::regarding);
    let own = about.str(f::namespace);
    let fits = if own.is_empty() { matches!(namespace, "" | "default") } else { own == namespace };
    if !fits {
        about.at(f::namespace).invalid_as(own, "does not match event.namespace");
    }
    if !e.get(f::eventTime).is_null() {
        modern(e);
    }
}

/// What an event with a precise time must say.
fn modern(e: At) {
    let reporter =
        if e.has(f::reportingController) { e.at(f::reportingController) } else { e.at(f::reportingComponent) };
    if reporter.v.str().is_empty() {
        reporter.required("");
    }
    reporter.format_as(format::is_qualified_name);
    for (key, max) in [(f::reportingInstance, 128), (f::action, 128), (f::reason, 128)] {
        let at = e.at(key);
        if at.v.str().is_empty() {
            at.required("");
        } else if at.v.str().len() > max {
            at.invalid_as("", format!("can have at most {max} characters"));
        }
    }
    let note = either(e, f::message, f::note);
    if note.v.str().len() > 1024 {
        note.invalid_as("", "can have at most 1024 characters");
    }
}

/// A new event of the newer form.
pub fn strict(e: At) {
    if e.get(f::eventTime).is_null() {
        e.at(f::eventTime).required("");
    }
    let kind = e.str(f::type_);
    if !matches!(kind, "Normal" | "Warning") {
        e.at(f::type_).invalid_as("", format!("has invalid value: {kind}"));
    }
}

/// Of an event only its series goes on.
pub fn update(new: At, old: &Value) {
    if new.get(f::eventTime).is_null() {
        return; // events of the old form are counted by their writers
    }
    for (core, newer) in [(f::involvedObject, f::regarding), (f::reason, f::reason), (f::message, f::note)] {
        same(new, old, core, newer);
    }
    for key in [f::type_, f::eventTime, f::action, f::related] {
        same(new, old, key, key);
    }
    same(new, old, f::reportingComponent, f::reportingController);
    same(new, old, f::reportingInstance, f::reportingInstance);
}

fn same(new: At, old: &Value, core: api::Name, newer: api::Name) {
    let now = if new.has(newer) { newer } else { core };
    let was = if old.has(newer) { newer } else { core };
    if new.get(now) != old.at(was) {
        let shown = new.at(now).shown();
        new.at(core).invalid_text(shown, "field is immutable");
    }
}
