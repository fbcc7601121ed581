//! The record format: what lies in the log's segments and in snapshots.
//!
//! A file is a header and frames; a frame is `magic, length, CRC, durable offset, payload`. The CRC covers the file's number
//! too, so that a frame of another file is never taken for one of this. The durable offset is the length of the file that was
//! known to be synced when the frame was made: a bad frame *below* the durable offset of a later one is rot, not a torn tail.
//! Values are kept without their revision's digits, plain or sealed.

use super::codec::{Malformed, Reader, Writer};
use super::splice::unsplice;
use super::state::Version;
use crate::contract::{Change, Durability, Key, Meta, Revision};
use crate::seal::Sealed;
use bytes::Bytes;
use platform::WallTime;
use std::sync::Arc;

/// The formats of a program. A directory's own, the cluster version, is in its `VERSION` file; it is what is written until
/// `finalize` raises it, so that the program before this one can still be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// The oldest that is read: the one before the newest, if there was one.
    pub oldest: u32,
    /// The newest that is read and can be written.
    pub newest: u32,
}

impl Formats {
    /// This program's.
    pub const OURS: Formats = Formats { oldest: 1, newest: 1 };

    /// Why `format` is not read, if it is not.
    pub fn refuse(self, format: u32) -> Option<String> {
        let Formats { oldest, newest } = self;
        if format > newest {
            return Some(format!(
                "format {format}; this program reads formats {oldest} to {newest}: start the newer corten that wrote it"
            ));
        }
        (format < oldest).then(|| {
            format!(
                "format {format}; this program reads formats {oldest} to {newest}: start the last corten that writes format {oldest}, run `corten upgrade finalize` with it, and come back"
            )
        })
    }
}
/// Bytes of a frame before its payload.
pub const FRAME_HEAD: usize = 20;
/// Bytes of a file before its first frame.
pub const FILE_HEAD: usize = 48;
/// Longest payload that is written or believed.
pub const PAYLOAD_MAX: usize = 64 << 20;
const FRAME_MAGIC: [u8; 4] = *b"\xc0fr\x01";
const FILE_MAGIC: [u8; 8] = *b"corten\x00\x01";

/// A file's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// The file's number.
    pub number: u64,
    /// Revision before the first one in it (of a snapshot: its revision).
    pub after: Revision,
    /// Revisions reserved when it was begun.
    pub reserved: Revision,
    /// Epoch: 0.
    pub epoch: u32,
    /// The format that the file is in.
    pub format: u32,
}

impl FileHead {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.0.extend_from_slice(&FILE_MAGIC);
        w.u32(self.format);
        w.u32(self.epoch);
        w.u64(self.number);
        w.u64(self.after.0);
        w.u64(self.reserved.0);
        let crc = crc32fast::hash(&w.0);
        w.u32(crc);
        w.u32(0);
        w.0
    }

    /// From bytes.
    pub fn decode(bytes: &[u8], formats: Formats) -> Result<FileHead, Malformed> {
        let head = bytes.get(..FILE_HEAD).ok_or_else(|| Malformed("the file's header is cut off".into()))?;
        let mut r = Reader(&head[FILE_MAGIC.len()..]);
        let (format, epoch, number, after, reserved, crc) =
            (r.u32()?, r.u32()?, r.u64()?, r.u64()?, r.u64()?, r.u32()?);
        if head[..8] != FILE_MAGIC || crc32fast::hash(&head[..FILE_HEAD - 8]) != crc {
            return Err(Malformed("the file's header is damaged".into()));
        }
        if let Some(why) = formats.refuse(format) {
            return Err(Malformed(why));
        }
        Ok(FileHead { number, after: Revision(after), reserved: Revision(reserved), epoch, format })
    }
}

fn frame_crc(file: u64, head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file.to_le_bytes());
    crc.update(head);
    crc.update(payload);
    crc.finalize()
}

/// Appends a frame to `out`.
pub fn frame(out: &mut Vec<u8>, file: u64, durable: u64, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let durable = durable.to_le_bytes();
    let crc = frame_crc(file, &[length.as_slice(), &durable].concat(), payload);
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&durable);
    out.extend_from_slice(payload);
}

/// A frame read back.
pub struct Frame<'a> {
    /// Its content.
    pub payload: &'a [u8],
    /// The file's durable length when it was made.
    pub durable: u64,
    /// Its length with its head.
    pub len: usize,
}

/// The frame at the start of `bytes`, if a whole valid one is there.
pub fn unframe(bytes: &[u8], file: u64) -> Option<Frame<'_>> {
    let head = bytes.get(..FRAME_HEAD)?;
    if head[..4] != FRAME_MAGIC {
        return None;
    }
    let mut r = Reader(&head[4..]);
    let (length, crc, durable) = (r.u32().ok()? as usize, r.u32().ok()?, r.u64().ok()?);
    if length > PAYLOAD_MAX {
        return None;
    }
    let payload = bytes.get(FRAME_HEAD..FRAME_HEAD + length)?;
    let covered = [&head[4..8], &head[12..20]].concat();
    (frame_crc(file, &covered, payload) == crc).then_some(Frame { payload, durable, len: FRAME_HEAD + length })
}

/// Whether a valid frame after the bad one at `bad` says that the file was durable beyond it.
pub fn rotten(bytes: &[u8], file: u64, bad: usize) -> bool {
    let starts = bytes[bad..].windows(4).enumerate().filter(|(_, w)| **w == FRAME_MAGIC).map(|(i, _)| bad + i);
    starts.filter_map(|at| unframe(&bytes[at..], file)).any(|f| f.durable > bad as u64)
}

/// A value as the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Readable.
    Plain(Bytes),
    /// Encrypted.
    Sealed(Sealed),
}

/// A change as the disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedChange {
    /// Create or replace.
    Put {
        /// The key.
        key: Key,
        /// The value.
        text: Text,
        /// Where the revision goes.
        rv_at: Option<u32>,
        /// Expiry.
        expires: Option<WallTime>,
    },
    /// Remove.
    Delete(Key),
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A commit.
    Commit {
        /// Its revision.
        revision: Revision,
        /// How it was answered.
        durability: Durability,
        /// Who and why.
        meta: Meta,
        /// What.
        changes: Vec<LoggedChange>,
    },
    /// Revisions up to here may be given out.
    Reserve(Revision),
    /// After an unclean end the store went on at this revision.
    Restart(Revision),
    /// A clean end.
    Clean,
    /// A key of a snapshot.
    Key {
        /// Revision of its last change.
        revision: Revision,
        /// Its creation.
        created: Revision,
        /// Puts since.
        version: u64,
        /// Who and why.
        meta: Meta,
        /// Always a put.
        change: LoggedChange,
    },
    /// The end of a snapshot, with the number of its keys.
    End(u64),
}

/// Writes a commit's payload; `texts` are the values of its puts in order.
pub fn encode_commit(
    changes: &[Change],
    texts: &[Option<Sealed>],
    durability: Durability,
    meta: &Meta,
    revision: Revision,
) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(1);
    w.u64(revision.0);
    w.u8(u8::from(durability == Durability::Cheap));
    write_meta(&mut w, meta);
    w.u32(changes.len() as u32);
    for (change, sealed) in changes.iter().zip(texts) {
        match change {
            Change::Delete { key } => {
                w.u8(0);
                w.bytes(key.as_bytes());
            }
            Change::Put { key, value, rv_at, expires, .. } => {
                write_put(&mut w, key, value, sealed.as_ref(), *rv_at, *expires)
            }
        }
    }
    w.0
}

/// Writes a payload that is not a commit.
pub fn encode_mark(payload: &Payload) -> Vec<u8> {
    let mut w = Writer::default();
    match payload {
        Payload::Reserve(revision) => (w.u8(2), w.u64(revision.0)).1,
        Payload::Restart(revision) => (w.u8(3), w.u64(revision.0)).1,
        Payload::Clean => w.u8(4),
        Payload::End(count) => (w.u8(6), w.u64(*count)).1,
        Payload::Commit { .. } | Payload::Key { .. } => unreachable!("commits and keys have encoders of their own"),
    }
    w.0
}

/// Writes a snapshot's key, whose final bytes are `value`.
pub fn encode_key(
    version: &Version,
    value: &Bytes,
    seal: impl FnOnce(&Bytes) -> Result<Option<Sealed>, Malformed>,
) -> Result<Vec<u8>, Malformed> {
    let plain = unsplice(value, version.rv_at, version.revision);
    let sealed = seal(&plain)?;
    let mut w = Writer::default();
    w.u8(5);
    w.u64(version.revision.0);
    w.u64(version.created.0);
    w.u64(version.version);
    write_meta(&mut w, &version.meta);
    write_put(&mut w, &version.key, &plain, sealed.as_ref(), version.rv_at, version.expires);
    Ok(w.0)
}

fn write_meta(w: &mut Writer, meta: &Meta) {
    w.i64(meta.wall.unix_nanos());
    w.u32(meta.schema);
    w.option(meta.cause.map(|c| c.0));
    for text in [&meta.user, &meta.component, &meta.request_id, &meta.media_type] {
        w.bytes(text.as_bytes());
    }
}

fn read_meta(r: &mut Reader<'_>) -> Result<Meta, Malformed> {
    let (wall, schema, cause) = (WallTime::from_unix_nanos(r.i64()?), r.u32()?, r.option()?.map(Revision));
    let mut text = || r.text().map(str::to_string);
    Ok(Meta { wall, schema, cause, user: text()?, component: text()?, request_id: text()?, media_type: text()? })
}

fn write_put(
    w: &mut Writer,
    key: &str,
    plain: &Bytes,
    sealed: Option<&Sealed>,
    rv_at: Option<u32>,
    expires: Option<WallTime>,
) {
    w.u8(if sealed.is_some() { 2 } else { 1 });
    w.bytes(key.as_bytes());
    w.option(rv_at.map(u64::from));
    w.option(expires.map(|e| e.unix_nanos() as u64));
    match sealed {
        Some(sealed) => {
            w.u32(sealed.key_id);
            w.bytes(&sealed.bytes);
        }
        None => w.bytes(plain),
    }
}

fn read_change(r: &mut Reader<'_>) -> Result<LoggedChange, Malformed> {
    let kind = r.u8()?;
    let key: Key = r.text()?.into();
    if kind == 0 {
        return Ok(LoggedChange::Delete(key));
    }
    let rv_at = r.option()?.map(u32::try_from).transpose().map_err(|e| Malformed(e.to_string()))?;
    let expires = r.option()?.map(|e| WallTime::from_unix_nanos(e as i64));
    let text = match kind {
        1 => Text::Plain(Bytes::copy_from_slice(r.bytes()?)),
        2 => Text::Sealed(Sealed { key_id: r.u32()?, bytes: Bytes::copy_from_slice(r.bytes()?) }),
        other => return Err(Malformed(format!("change of kind {other}"))),
    };
    Ok(LoggedChange::Put { key, text, rv_at, expires })
}

/// Reads a payload.
pub fn decode(bytes: &[u8]) -> Result<Payload, Malformed> {
    let mut r = Reader(bytes);
    let payload = match r.u8()? {
        1 => {
            let revision = Revision(r.u64()?);
            let durability = if r.u8()? == 0 { Durability::Durable } else { Durability::Cheap };
            let meta = read_meta(&mut r)?;
            let count = r.u32()?;
            let changes = (0..count).map(|_| read_change(&mut r)).collect::<Result<_, _>>()?;
            Payload::Commit { revision, durability, meta, changes }
        }
        2 => Payload::Reserve(Revision(r.u64()?)),
        3 => Payload::Restart(Revision(r.u64()?)),
        4 => Payload::Clean,
        5 => {
            let (revision, created, version) = (Revision(r.u64()?), Revision(r.u64()?), r.u64()?);
            let meta = read_meta(&mut r)?;
            Payload::Key { revision, created, version, meta, change: read_change(&mut r)? }
        }
        6 => Payload::End(r.u64()?),
        other => return Err(Malformed(format!("record of kind {other}"))),
    };
    if r.0.is_empty() { Ok(payload) } else { Err(Malformed(format!("{} bytes after the record", r.0.len()))) }
}

/// Shares a `Meta` between a commit's versions.
pub fn share(meta: Meta) -> Arc<Meta> {
    Arc::new(meta)
}
