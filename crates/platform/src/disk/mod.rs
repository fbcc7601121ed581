//! Disk: one flat directory of files behind a narrow trait; the system's ([`SystemDisk`]) and the simulation's ([`SimDisk`]).
//!
//! Operations are asynchronous so that the simulation can put time, crashes and faults between them. What is guaranteed is
//! what POSIX and a sane file system guarantee: written data may be lost, torn or reordered until [`File::sync`], names until
//! [`Disk::sync_dir`]; after a failed sync the file's content is unknown. Names are plain file names without directories.

mod sim;
mod system;

pub use sim::{DiskFaults, SimDisk};
pub use system::SystemDisk;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The answer of an object-safe asynchronous method.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What went wrong, with the operation and the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What was tried.
    pub operation: &'static str,
    /// On what.
    pub path: String,
    /// How it failed.
    pub kind: DiskErrorKind,
    /// The system's words.
    pub detail: String,
}

/// Kinds of failures that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// There is no such file.
    NotFound,
    /// No space left (or quota).
    Full,
    /// Somebody else holds the lock.
    Locked,
    /// Anything else.
    Other,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path, self.detail)
    }
}

impl std::error::Error for DiskError {}

/// Results of this module.
pub type DiskResult<T> = Result<T, DiskError>;

/// A directory.
pub trait Disk: Send + Sync + 'static {
    /// Names of all files, sorted.
    fn list(&self) -> BoxFuture<'_, DiskResult<Vec<String>>>;
    /// Opens an existing file, or makes an empty one.
    fn open(&self, name: &str, create: bool) -> BoxFuture<'_, DiskResult<Arc<dyn File>>>;
    /// Replaces `to` by `from`.
    fn rename(&self, from: &str, to: &str) -> BoxFuture<'_, DiskResult<()>>;
    /// Removes a file; fine if it is gone. Open handles stay readable.
    fn remove(&self, name: &str) -> BoxFuture<'_, DiskResult<()>>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> BoxFuture<'_, DiskResult<()>>;
    /// Takes the directory for this process until the guard is dropped.
    fn lock(&self) -> BoxFuture<'_, DiskResult<Box<dyn Send + Sync>>>;
    /// Where this is, for messages.
    fn path(&self) -> String;
}

/// An open file.
pub trait File: Send + Sync + 'static {
    /// Its length in bytes.
    fn len(&self) -> BoxFuture<'_, DiskResult<u64>>;
    /// Up to `len` bytes at `offset`; fewer at the end.
    fn read(&self, offset: u64, len: usize) -> BoxFuture<'_, DiskResult<Vec<u8>>>;
    /// Writes all of `data` at `offset`, and syncs the data if asked to.
    fn write(&self, offset: u64, data: Vec<u8>, sync: bool) -> BoxFuture<'_, DiskResult<()>>;
    /// Cuts the file.
    fn truncate(&self, len: u64) -> BoxFuture<'_, DiskResult<()>>;
    /// Makes the content durable.
    fn sync(&self) -> BoxFuture<'_, DiskResult<()>>;
}

#[cfg(test)]
mod tests;
