//! What each built-in kind means: one table of resources ([`resources`]), and per kind its [`Rules`]: defaults,
//! preparation, validation, update rules, table cells.
//!
//! Routes, discovery, store keys, selectable fields and RBAC verbs are derived from the table, which is read from
//! `facts/`. Pure: knows objects, nothing of HTTP, storage or the time of day.

pub mod gates;
mod resource;
pub mod rules;

pub use resource::{Column, Policy, Resource, Subresource, by_path, resources};
pub use rules::Rules;

#[cfg(test)]
mod tests;
