//! The scheduler: gives every pod a node.
//!
//! # For callers
//! [`run`]`(env, client, options)` starts it as tasks of `env` and answers a [`Handle`] with counters. It watches pods, nodes,
//! claims and namespaces, decides one pod at a time on an immutable snapshot (`core`), assumes the result and binds in the
//! background through the `binding` subresource. Run it only while this process leads, in an `Env` that is killed when
//! leadership is lost.
//!
//! Leaves out: extenders, several profiles, volume topology, dynamic resources, disruption budgets in preemption.

pub mod core;
mod shell;
pub mod views;

pub use shell::{Counters, Handle, Options, run};

#[cfg(test)]
mod tests;
