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

mod client;
mod error;
mod https;
mod kubeconfig;
mod resource;
mod transport;
mod view;

pub use client::{At, Client, DeleteOptions, PatchKind, Propagation, decode};
pub use error::{Error, Reason, StatusError};
pub use https::{Https, Io, parse_event, parse_list};
pub use kubeconfig::Config;
pub use resource::{Resource, resources};
pub use transport::{
    BoxFuture, EventKind, ListPage, ListRequest, Transport, WatchEvent, WatchRequest, WatchStream, percent_encode, with_query,
};
pub use view::{Expression, Meta, ObjectKey, OwnerReference, Partial, Selector, View};
