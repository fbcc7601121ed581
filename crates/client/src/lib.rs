//! One client for the Kubernetes API, whatever lies between: verbs, informers, controllers, leader election.
//!
//! # For callers
//! - [`Transport`] is the way to a server; [`Https`] (from a [`Config`], i.e. a kubeconfig) is the one over the network.
//! - [`Client`] wraps it with verbs: `client.get::<MyView>(At { resource: &resources::PODS, namespace, name })`, `create`,
//!   `update`, `patch` (merge, strategic, apply, JSON), `delete`, `post` for subresources. Errors are [`Error`]:
//!   `is_not_found()`, `is_conflict()`, `is_expired()`, `reason()`; never match on messages.
//! - A **view** is a serde struct of the fields you read, `#[serde(default, rename_all = "camelCase")]`, with a
//!   `metadata: Meta`, and `impl View`. Writes are `serde_json::json!` objects and patches; put `metadata.uid` and
//!   `metadata.resourceVersion` into a merge patch as preconditions.

//! - [`Informer::start`]`(env, client, Selection::all(&resources::PODS))` keeps a copy of objects as views: `get`, `all`,
//!   `by_index`, `on_change`, `synced`, `until(condition)`. Share one informer between everything that reads the same view.
//! - [`Controller`] + [`run`]: routes, gather, plan; the runner does the rest. [`Recorder`] tells events.
//! - [`Candidate`] elects a leader by a Lease: `acquire().await`, act, stop when `hold().await` returns.

mod client;
mod core;
mod discovery;
mod error;
mod events;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod https;
mod informer;
mod kubeconfig;
mod leader;
mod resource;
mod runner;
mod transport;
mod view;

pub use client::{At, Client, DeleteOptions, PatchKind, Propagation, decode, merge};
pub use core::queue::Queue;
pub use discovery::{Discovered, Served, discover};
pub use error::{Error, Reason, StatusError};
pub use events::{Event, Recorder, Regarding};
pub use https::{Dialed, Https, Io, parse_event, parse_list, watch_lines};
pub use informer::{Change, Informer, Selection};
pub use kubeconfig::Config;
pub use leader::{Candidate, Election};
pub use resource::{Resource, resources};
pub use runner::{Announce, Controller, Counters, Op, Plan, Routes, Running, Target, run};
pub use transport::{
    BoxFuture, EventKind, ListPage, ListRequest, Transport, WatchEvent, WatchRequest, WatchStream, percent_encode,
    with_query,
};
pub use view::{Expression, Meta, ObjectKey, OwnerReference, Partial, Selector, View};

#[cfg(test)]
mod tests;
