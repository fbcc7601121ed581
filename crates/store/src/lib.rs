//! A revisioned key-value store: one small contract ([`Store`]), a model as its oracle, engines in memory and on a log.
//!
//! # For callers
//! - [`Memory::new`] makes the engine of tests and simulations; `log::open` the durable one. Both are `Arc<dyn Store>`.
//! - Write with [`Store::commit`]: expectations and changes, all or nothing, one revision for the whole commit. The caller
//!   must not put two objects of one resource into one commit (a watch resumes by revision and would lose the second).
//! - **The committer alone writes the resourceVersion.** [`Change::put`] with `rv_at: Some(offset)` says where, between two
//!   quotes that are already there, the decimal revision goes; the value that is stored, returned, watched is that one final
//!   allocation (`Bytes` clones share it).
//! - A deletion's [`Record`] carries the last object with the *deletion's* revision spliced in, as Kubernetes watches show it.
//! - A stale expectation is [`CommitError::Conflict`] with the current entry: re-decide with it, without another read.
//! - [`Store::watch`]`(prefix, after)` delivers every change with a revision above `after`: ordered, unique, complete, one
//!   [`Batch`] per revision; [`WatchItem::Progress`] says that everything up to a revision was delivered. It reads shared
//!   history at its own pace: it never holds up the committer, and nothing is buffered for it.
//! - Reads say at which revision they were answered. Revisions that are compacted or were lost in a power cut answer
//!   [`ReadError::Compacted`] (HTTP 410), revisions not reached yet [`ReadError::Future`].
//! - Secrets: `Change::put(..).sealed()` keeps the value encrypted on disk, by the [`Seal`] given to the engine.
//! - Expiry: `expires` on a put; [`Store::expire`] commits logged deletes of what is due and says when to ask again.
//! - [`Store::close`] before the process ends keeps revisions without a gap; a killed store restarts above its reservation.
//!
//! # Invariants
//! Revisions are global, ordered and never used twice; at most one change per key in a revision; acknowledged means durable
//! unless the commit was [`Durability::Cheap`]; changes become visible strictly in the order of their revisions.

mod contract;
pub mod core;
pub mod log;
mod memory;
pub mod model;
mod seal;
#[cfg(any(test, feature = "testing"))]
pub mod suite;

pub use contract::{
    At, Batch, BoxFuture, Change, Changed, Commit, CommitError, Committed, Durability, Entry, Expectation, Expected,
    Key, Meta, Range, RangeRequest, ReadError, Record, Revision, Snapshot, Status, Store, Watch, WatchItem,
    WatchSource,
};
pub use log::{Formats, Limits, Log};
pub use memory::Memory;
pub use seal::{AesGcm, Seal, SealError, Sealed};

#[cfg(test)]
mod tests;
