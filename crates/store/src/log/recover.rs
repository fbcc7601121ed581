//! From files to a state: the newest snapshot, then every segment after it.
//!
//! A bad frame at the end of the last segment is a torn tail and is cut off; a bad frame anywhere else, a missing segment or
//! a damaged snapshot is corruption: nothing is changed, and the message says where.

use super::files::{self, Opened, SNAPSHOT, VERSION};
use crate::contract::{Change, Entry, Revision};
use crate::core::committer::Limits;
use crate::core::record::{self, FILE_HEAD, FileHead, Formats, LoggedChange, Payload};
use crate::core::splice::splice;
use crate::core::state::{Place, State};
use crate::seal::Seal;
use platform::disk::{Disk, DiskError};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The disk refused.
    Disk(DiskError),
    /// Data that was durable is damaged or missing.
    Corrupt(String),
    /// Written by a program this one does not understand.
    Format(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Disk(error) => error.fmt(f),
            OpenError::Corrupt(why) => {
                write!(f, "the store is damaged: {why}; restore a backup, or move the file away to look at it")
            }
            OpenError::Format(why) => write!(f, "the store was written by another version: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> OpenError {
        OpenError::Disk(error)
    }
}

/// What is still trusted after a failed disk request.
#[derive(Clone, Copy)]
pub struct Trusted {
    /// The segment that was current.
    pub segment: u64,
    /// Its synced length.
    pub durable: u64,
    /// Revisions up to here were seen: go on above them.
    pub above: Revision,
}

/// A recovered store.
pub struct Recovered {
    /// Its state.
    pub state: State,
    /// Its files.
    pub files: BTreeMap<u64, Opened>,
    /// The current segment.
    pub segment: u64,
    /// Its length.
    pub offset: u64,
    /// Revisions that may be given out.
    pub reserved: Revision,
    /// The cluster version.
    pub format: u32,
}

/// Reads (or makes) a store.
pub async fn open(
    disk: &Arc<dyn Disk>,
    seal: Option<&dyn Seal>,
    limits: Limits,
    formats: Formats,
    trusted: Option<Trusted>,
) -> Result<Recovered, OpenError> {
    let names = disk.list().await?;
    for name in names.iter().filter(|n| n.ends_with(".tmp")) {
        disk.remove(name).await?;
    }
    let format = version(disk, &names, formats).await?;
    let mut recovery = Recovery {
        disk,
        seal,
        limits,
        formats,
        format,
        state: State::new(Revision(0)),
        files: BTreeMap::new(),
        reserved: Revision(0),
        clean: false,
    };
    recovery.snapshot(&names).await?;
    let segments = recovery.segments(&names, trusted).await?;
    let mut end = FILE_HEAD as u64;
    for (i, number) in segments.iter().enumerate() {
        end = recovery.replay(*number, i + 1 == segments.len(), trusted).await?;
    }
    let segment = match segments.last() {
        Some(number) => *number,
        None => recovery.first().await?,
    };
    recovery.go_on(segment, end, trusted).await
}

/// The directory's format: what its `VERSION` says; a new one gets the newest.
async fn version(disk: &Arc<dyn Disk>, names: &[String], formats: Formats) -> Result<u32, OpenError> {
    if names.iter().any(|n| n == VERSION) {
        let found = disk.open(VERSION, false).await?.read(0, 100).await?;
        let Some(format) = files::parse_version(&found) else {
            let text = String::from_utf8_lossy(&found).into_owned();
            return Err(OpenError::Corrupt(format!("{}/{VERSION} says {:?}", disk.path(), text.trim())));
        };
        return match formats.refuse(format) {
            Some(why) => Err(OpenError::Format(format!("{} is in {why}", disk.path()))),
            None => Ok(format),
        };
    }
    if let Some(other) = names.iter().find(|n| n.ends_with(".log") || n.ends_with(".snap")) {
        return Err(OpenError::Corrupt(format!("{}/{VERSION} is missing though {other} is there", disk.path())));
    }
    files::write_version(disk, formats.newest).await?;
    Ok(formats.newest)
}

struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    seal: Option<&'a dyn Seal>,
    limits: Limits,
    formats: Formats,
    format: u32,
    state: State,
    files: BTreeMap<u64, Opened>,
    reserved: Revision,
    clean: bool,
}

impl Recovery<'_> {
    fn corrupt(&self, number: u64, offset: usize, why: &str) -> OpenError {
        OpenError::Corrupt(format!("{}/{} at byte {offset}: {why}", self.disk.path(), files::name(number)))
    }

    async fn read(&self, number: u64) -> Result<(Arc<dyn platform::disk::File>, Vec<u8>), OpenError> {
        let file = self.disk.open(&files::name(number), false).await?;
        let length = file.len().await?;
        let bytes = file.read(0, usize::try_from(length).unwrap_or(usize::MAX)).await?;
        Ok((file, bytes))
    }

    /// Loads the newest snapshot.
    async fn snapshot(&mut self, names: &[String]) -> Result<(), OpenError> {
        let newest = names.iter().rev().find_map(|n| n.strip_suffix(".snap")?.parse::<u64>().ok());
        let Some(revision) = newest else { return Ok(()) };
        let number = SNAPSHOT | revision;
        let (file, bytes) = self.read(number).await?;
        let head = FileHead::decode(&bytes, self.formats).map_err(|e| self.corrupt(number, 0, &e.0))?;
        if head.number != number {
            return Err(self.corrupt(number, 0, "the file belongs elsewhere"));
        }
        self.state = State::new(Revision(revision));
        self.reserved = head.reserved;
        let (mut at, mut keys) = (FILE_HEAD, 0);
        loop {
            let frame = record::unframe(&bytes[at..], number)
                .ok_or_else(|| self.corrupt(number, at, "the record is damaged"))?;
            match record::decode(frame.payload).map_err(|e| self.corrupt(number, at, &e.0))? {
                Payload::Key {
                    revision,
                    created,
                    version,
                    meta,
                    change: LoggedChange::Put { key, text, rv_at, expires },
                } => {
                    let sealed = matches!(text, record::Text::Sealed(_));
                    let plain = files::open_text(&key, text, self.seal).map_err(|e| self.corrupt(number, at, &e))?;
                    let value = splice(&plain, rv_at, revision);
                    let entry = Entry { key, value, rv_at, revision, created, version, expires, meta: Arc::new(meta) };
                    self.state.load(entry, sealed, Some(Place { file: number, offset: at as u64, index: 0 }));
                    keys += 1;
                }
                Payload::End(count) if count == keys => break,
                _ => return Err(self.corrupt(number, at, "a record that does not belong into a snapshot")),
            }
            at += frame.len;
        }
        self.files.insert(number, Opened { file, after: Revision(revision), bytes: bytes.len() as u64 });
        Ok(())
    }

    /// Which segments to replay, in order.
    async fn segments(&mut self, names: &[String], trusted: Option<Trusted>) -> Result<Vec<u64>, OpenError> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|n| n.strip_suffix(".log")?.parse().ok()).collect();
        numbers.sort_unstable();
        if let Some(trusted) = trusted {
            for number in numbers.extract_if(.., |n| *n > trusted.segment) {
                self.disk.remove(&files::name(number)).await?; // begun, never used
            }
        }
        // A segment whose very head was cut off was never used.
        if let Some(last) = numbers.last().copied() {
            let (_, bytes) = self.read(last).await?;
            if bytes.len() <= FILE_HEAD && FileHead::decode(&bytes, self.formats).is_err() {
                self.disk.remove(&files::name(last)).await?;
                self.disk.sync_dir().await?;
                numbers.pop();
            }
        }
        // What lies before a gap was left over by reclamation.
        let run = numbers.windows(2).rposition(|w| w[0] + 1 != w[1]).map_or(0, |i| i + 1);
        let left: Vec<u64> = numbers.drain(..run).collect();
        if let Some(first) = numbers.first().copied() {
            let (_, bytes) = self.read(first).await?;
            let head = FileHead::decode(&bytes, self.formats).map_err(|e| self.corrupt(first, 0, &e.0))?;
            if head.after > self.state.tip() {
                let why = format!(
                    "it begins after revision {}, but the files before end at {}",
                    head.after,
                    self.state.tip()
                );
                return Err(self.corrupt(first, 0, &why));
            }
        } else if self.state.tip() > Revision(0) {
            return Err(OpenError::Corrupt(format!("{} has a snapshot but no segment", self.disk.path())));
        }
        for number in left {
            self.disk.remove(&files::name(number)).await?;
        }
        Ok(numbers)
    }

    /// Applies a segment; answers its length.
    async fn replay(&mut self, number: u64, last: bool, trusted: Option<Trusted>) -> Result<u64, OpenError> {
        let (file, mut bytes) = self.read(number).await?;
        let length = bytes.len();
        if let Some(trusted) = trusted.filter(|t| t.segment == number) {
            bytes.truncate(trusted.durable as usize);
        }
        let head = FileHead::decode(&bytes, self.formats).map_err(|e| self.corrupt(number, 0, &e.0))?;
        if head.number != number {
            return Err(self.corrupt(number, 0, "the file belongs elsewhere"));
        }
        self.reserved = self.reserved.max(head.reserved);
        let mut at = FILE_HEAD;
        while at < bytes.len() {
            let Some(frame) = record::unframe(&bytes[at..], number) else {
                if !last || record::rotten(&bytes, number, at) {
                    return Err(self.corrupt(
                        number,
                        at,
                        "the record is damaged, and what follows was durable after it",
                    ));
                }
                tracing::warn!(
                    segment = number,
                    at,
                    bytes = bytes.len() - at,
                    "cutting off what was not written completely"
                );
                break;
            };
            let payload = record::decode(frame.payload).map_err(|e| self.corrupt(number, at, &e.0))?;
            self.apply(number, at, payload)?;
            at += frame.len;
        }
        if at < length {
            file.truncate(at as u64).await?;
            file.sync().await?;
        }
        self.files.insert(number, Opened { file, after: head.after, bytes: at as u64 });
        Ok(at as u64)
    }

    fn apply(&mut self, number: u64, at: usize, payload: Payload) -> Result<(), OpenError> {
        self.clean = false;
        match payload {
            Payload::Reserve(revision) => self.reserved = self.reserved.max(revision),
            Payload::Restart(next) => self.state.lose(next),
            Payload::Clean => self.clean = true,
            Payload::Commit { revision, .. } if revision <= self.state.compacted() => {}
            Payload::Commit { revision, meta, changes, .. } => {
                if revision <= self.state.tip() {
                    return Err(self.corrupt(
                        number,
                        at,
                        &format!("revision {revision} comes after {}", self.state.tip()),
                    ));
                }
                let mut plain = Vec::with_capacity(changes.len());
                for change in changes {
                    plain.push(self.plain(change).map_err(|e| self.corrupt(number, at, &e))?);
                }
                let events = self.state.apply(&plain, &record::share(meta), revision);
                for event in &events {
                    let index = plain.iter().position(|c| *c.key() == event.now.key).unwrap_or(0) as u32;
                    event.now.set_place(Place { file: number, offset: at as u64, index });
                }
                self.state.shrink(self.limits.history_bytes, revision);
            }
            Payload::Key { .. } | Payload::End(_) => {
                return Err(self.corrupt(number, at, "a snapshot's record in a segment"));
            }
        }
        Ok(())
    }

    fn plain(&self, change: LoggedChange) -> Result<Change, String> {
        Ok(match change {
            LoggedChange::Delete(key) => Change::Delete { key },
            LoggedChange::Put { key, text, rv_at, expires } => {
                let seal = matches!(text, record::Text::Sealed(_));
                let value = files::open_text(&key, text, self.seal)?;
                Change::Put { key, value, rv_at, seal, expires }
            }
        })
    }

    /// Makes the first segment of a new store.
    async fn first(&mut self) -> Result<u64, OpenError> {
        let file = files::create(self.disk, 1, Revision(0), Revision(0), self.format).await?;
        self.files.insert(1, Opened { file, after: Revision(0), bytes: FILE_HEAD as u64 });
        self.clean = true;
        Ok(1)
    }

    /// After an unclean end: jumps above every revision that may have been seen, durably.
    async fn go_on(mut self, segment: u64, end: u64, trusted: Option<Trusted>) -> Result<Recovered, OpenError> {
        let mut offset = end;
        if !self.clean || trusted.is_some() {
            let seen = trusted.map_or(Revision(0), |t| t.above);
            let next = Revision(self.reserved.max(self.state.tip()).max(seen).0 + 1);
            self.reserved = Revision(next.0 + self.limits.reserve);
            let mut data = Vec::new();
            record::frame(&mut data, segment, end, &record::encode_mark(&Payload::Restart(next)));
            record::frame(&mut data, segment, end, &record::encode_mark(&Payload::Reserve(self.reserved)));
            offset += data.len() as u64;
            if let Some(opened) = self.files.get_mut(&segment) {
                opened.file.write(end, data, true).await?;
                opened.bytes = offset;
            }
            self.state.lose(next);
        }
        let snapshots: Vec<u64> = self.files.range(SNAPSHOT..).map(|(n, _)| *n).collect();
        for name in self.disk.list().await?.iter().filter(|n| n.ends_with(".snap")) {
            if snapshots.iter().all(|n| files::name(*n) != *name) {
                self.disk.remove(name).await?; // an older one
            }
        }
        Ok(Recovered {
            state: self.state,
            files: self.files,
            segment,
            offset,
            reserved: self.reserved,
            format: self.format,
        })
    }
}
