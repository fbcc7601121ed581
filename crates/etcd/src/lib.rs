//! The store's contract over a real etcd (v3), for clusters with several API servers and for changing servers in place.
//!
//! [`open`]`(env, Options { access, root: "", prefix: "/registry/", seal })` gives an `Arc<dyn Store>`. Objects lie under
//! upstream's keys; values carry no resourceVersion, which is the key's modification revision. JSON that upstream's API
//! server wrote is read; protobuf values are passed as they are, with `Meta::media_type` saying so. Upstream can read values
//! that carry kind and apiVersion: whether they do is the API server's choice, this engine adds nothing to them.
//!
//! One watch over everything feeds a local copy ([`mirror`]); a linearizable read asks etcd for its revision (once for all
//! that wait) and waits for the copy; a write is one transaction, answered when the copy has it. An answer that was lost is
//! found by reading (every transaction carries a number), never by repeating.
//!
//! Limits: watches do not resume over a restart of this process (410, clients list again); a value's `Durability` makes
//! no difference; etcd's limits hold (1.5 MB and 128 operations a transaction).

pub mod core;
mod engine;
mod mirror;
pub mod proto;
mod remote;

pub use engine::{Etcd, Options, open};
pub use remote::Access;
