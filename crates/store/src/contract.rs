//! The contract every engine keeps, and the values that cross it.
//!
//! Leaves out how anything is stored. The rules that the types cannot say are listed at the top of the crate.

use bytes::Bytes;
use platform::WallTime;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The answer of an object-safe asynchronous method.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key; Kubernetes' keys are text (`/registry/pods/default/a`).
pub type Key = Arc<str>;

/// A point in the store's one history. 0 is "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which state to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest visible one.
    Latest,
    /// Exactly this one.
    Revision(Revision),
}

/// Who wrote, why and when: kept with every change. `history`, `why` and rollback read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Wall time of the request; the store itself never reads a clock.
    pub wall: WallTime,
    /// Authenticated user.
    pub user: String,
    /// User agent or component.
    pub component: String,
    /// The request's (audit) id.
    pub request_id: String,
    /// The revision whose reading led to this write, when known.
    pub cause: Option<Revision>,
    /// Generation of the schema the values were written under (0: built-in).
    pub schema: u32,
    /// Encoding of the values; empty means `application/json`.
    pub media_type: String,
}

/// One key's value at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The final bytes, revision included.
    pub value: Bytes,
    /// Where the revision's digits stand in `value`, if they do.
    pub rv_at: Option<u32>,
    /// Revision of the last change.
    pub revision: Revision,
    /// Revision that created the key.
    pub created: Revision,
    /// Number of puts since the creation, from 1.
    pub version: u64,
    /// When the key goes away by itself.
    pub expires: Option<WallTime>,
    /// Who wrote it.
    pub meta: Arc<Meta>,
}

/// What must hold for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The key it is about.
    pub key: Key,
    /// Its state.
    pub state: Expected,
}

/// A key's expected state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is no such key.
    Absent,
    /// There is one, whatever its revision.
    Present,
    /// Its last change has this revision.
    Revision(Revision),
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Put {
        /// The key.
        key: Key,
        /// The value without its revision.
        value: Bytes,
        /// Byte offset, between two adjacent quotes, at which the committer writes the decimal revision.
        rv_at: Option<u32>,
        /// Keep it encrypted on disk.
        seal: bool,
        /// Wall time after which the key is deleted.
        expires: Option<WallTime>,
    },
    /// Remove; a commit that removes an absent key fails with a conflict.
    Delete {
        /// The key.
        key: Key,
    },
}

impl Change {
    /// A put of `value`, with the place of its revision.
    pub fn put(key: impl Into<Key>, value: impl Into<Bytes>, rv_at: Option<u32>) -> Change {
        Change::Put { key: key.into(), value: value.into(), rv_at, seal: false, expires: None }
    }

    /// A removal.
    pub fn delete(key: impl Into<Key>) -> Change {
        Change::Delete { key: key.into() }
    }

    /// Encrypted on disk.
    #[must_use]
    pub fn sealed(mut self) -> Change {
        if let Change::Put { seal, .. } = &mut self {
            *seal = true;
        }
        self
    }

    /// Deleted by the store after `at`.
    #[must_use]
    pub fn expires_at(mut self, at: WallTime) -> Change {
        if let Change::Put { expires, .. } = &mut self {
            *expires = Some(at);
        }
        self
    }

    /// The key it changes.
    pub fn key(&self) -> &Key {
        match self {
            Change::Put { key, .. } | Change::Delete { key } => key,
        }
    }
}

/// When a commit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After it is on stable storage.
    #[default]
    Durable,
    /// Before: a power cut (not a kill) may lose it. For Events and renewals of node leases only.
    Cheap,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// All of these must hold.
    pub expect: Vec<Expectation>,
    /// All of these happen, at one revision. Keys must differ.
    pub changes: Vec<Change>,
    /// When to answer.
    pub durability: Durability,
    /// Who and why.
    pub meta: Meta,
}

impl Commit {
    /// Creates `change`'s key; a conflict if it exists.
    pub fn create(change: Change, meta: Meta) -> Commit {
        Commit::expecting(change, Expected::Absent, meta)
    }

    /// Changes a key whose last change must be at `revision`.
    pub fn update(change: Change, revision: Revision, meta: Meta) -> Commit {
        Commit::expecting(change, Expected::Revision(revision), meta)
    }

    fn expecting(change: Change, state: Expected, meta: Meta) -> Commit {
        let expect = vec![Expectation { key: change.key().clone(), state }];
        Commit { expect, changes: vec![change], durability: Durability::Durable, meta }
    }

    /// Answered before the sync.
    #[must_use]
    pub fn cheap(mut self) -> Commit {
        self.durability = Durability::Cheap;
        self
    }
}

/// The result of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// Its changes, in the order of the commit's.
    pub records: Vec<Record>,
}

/// What a change did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The key was absent before.
    Created,
    /// It had another value.
    Updated,
    /// It is gone.
    Deleted,
}

/// One change as it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub change: Changed,
    /// The key and its final value; for a deletion the last value with the deletion's revision in its place.
    pub entry: Entry,
    /// The value before.
    pub prev: Option<Entry>,
}

/// Why a commit did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// An expectation did not hold, or a key to delete was absent.
    Conflict {
        /// The key.
        key: Key,
        /// What is there.
        current: Option<Entry>,
    },
    /// The commit itself is wrong (a key twice, an `rv_at` that is not between quotes, too large).
    Invalid(String),
    /// The value could not be encrypted.
    Seal(String),
    /// No space left; nothing was written, and later commits may succeed.
    Full(String),
    /// The store does not accept writes; the outcome of this one is unknown: read back.
    Unavailable(String),
}

/// Why a read was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The revision is gone; the oldest readable one is `oldest`.
    Compacted {
        /// Oldest revision that can be read.
        oldest: Revision,
    },
    /// The revision has not been reached.
    Future {
        /// The newest one.
        current: Revision,
    },
    /// The store cannot read.
    Unavailable(String),
}

/// Which keys to read: `start <= key`, `prefix` is a prefix of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// Prefix of every key.
    pub prefix: Key,
    /// First key (continue with the last key read plus `\0`).
    pub start: Option<Key>,
    /// At most so many; 0: all.
    pub limit: usize,
    /// When.
    pub at: At,
}

impl RangeRequest {
    /// All keys with this prefix, now.
    pub fn prefix(prefix: impl Into<Key>) -> RangeRequest {
        RangeRequest { prefix: prefix.into(), start: None, limit: 0, at: At::Latest }
    }
}

/// Keys read, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// What was asked for.
    pub entries: Vec<Entry>,
    /// Number of keys beyond the limit.
    pub remaining: usize,
    /// The revision of the state that was read.
    pub revision: Revision,
}

/// All changes of one revision under a watch's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// The changes.
    pub records: Vec<Record>,
}

/// What a watch says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes.
    Changes(Batch),
    /// Everything up to here was delivered.
    Progress(Revision),
}

/// The engine's side of a watch. `next` must be safe to cancel.
pub trait WatchSource: Send {
    /// The next item; after an error the watch is over.
    fn next(&mut self) -> BoxFuture<'_, Result<WatchItem, ReadError>>;
}

/// An open watch.
pub struct Watch(Box<dyn WatchSource>);

impl Watch {
    /// Wraps an engine's source.
    pub fn new(source: impl WatchSource + 'static) -> Watch {
        Watch(Box::new(source))
    }

    /// The next item; waits until there is one. Safe to cancel. After an error the watch is over.
    pub async fn next(&mut self) -> Result<WatchItem, ReadError> {
        self.0.next().await
    }
}

/// All keys at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// Every key in order.
    pub entries: Vec<Entry>,
}

/// The store's condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Newest visible revision.
    pub revision: Revision,
    /// Oldest readable revision.
    pub compacted: Revision,
    /// Number of keys.
    pub keys: usize,
    /// Bytes of keys and values that are live.
    pub live_bytes: usize,
    /// Number of changes that watches can resume over.
    pub history: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why the store refuses writes, if it does.
    pub trouble: Option<String>,
    /// The cluster version: the format that is written; and the newest that this program could write. 0: it has none.
    pub format: (u32, u32),
}

/// The contract.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`, with the revision of the state that was read.
    fn get<'a>(&'a self, key: &'a str, at: At) -> BoxFuture<'a, Result<(Option<Entry>, Revision), ReadError>>;
    /// Keys in order.
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Range, ReadError>>;
    /// All or nothing.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>>;
    /// Every change above `after` to keys with `prefix`.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError>;
    /// Forgets states older than `revision`; answers the oldest readable revision.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, ReadError>>;
    /// Deletes what expired before `now` (a logged delete); answers when to ask again.
    fn expire(&self, now: WallTime) -> BoxFuture<'_, Result<Option<WallTime>, CommitError>>;
    /// The newest visible revision.
    fn revision(&self) -> Revision;
    /// If `at` may have been given out and was lost: the first revision after it that was not. Whoever resumes from there has
    /// to read anew.
    fn lost(&self, at: Revision) -> Option<Revision> {
        let _ = at;
        None
    }
    /// Condition and sizes.
    fn status(&self) -> Status;
    /// Raises the format in which it is written to the newest that this program writes, and answers it. From then on older
    /// programs refuse what is stored.
    fn finalize(&self) -> BoxFuture<'_, Result<u32, String>> {
        Box::pin(async { Err("this store has no format of its own; etcd is upgraded by its own means".into()) })
    }
    /// Everything, at one revision.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, ReadError>>;
    /// Ends cleanly: what was answered is durable, revisions go on without a gap at the next start. Later commits fail.
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Conflict { key, current: Some(e) } => {
                write!(f, "{key} is at revision {}, not as expected", e.revision)
            }
            CommitError::Conflict { key, current: None } => write!(f, "{key} does not exist"),
            CommitError::Invalid(why) => write!(f, "invalid commit: {why}"),
            CommitError::Seal(why) => write!(f, "the value could not be encrypted: {why}"),
            CommitError::Full(why) => write!(f, "the store's disk is full: {why}"),
            CommitError::Unavailable(why) => write!(f, "the store does not accept writes: {why}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Compacted { oldest } => write!(f, "the requested revision is gone; the oldest is {oldest}"),
            ReadError::Future { current } => {
                write!(f, "the requested revision is in the future; the newest is {current}")
            }
            ReadError::Unavailable(why) => write!(f, "the store cannot read: {why}"),
        }
    }
}

impl std::error::Error for CommitError {}
impl std::error::Error for ReadError {}
