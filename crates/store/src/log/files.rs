//! The open files of a store: which segments there are, and reading one value from one of them.

use crate::contract::{ReadError, Revision};
use crate::core::record::{self, FRAME_HEAD, FileHead, LoggedChange, PAYLOAD_MAX, Payload, Text};
use crate::core::splice::splice;
use crate::core::state::{Place, Version};
use crate::seal::Seal;
use bytes::Bytes;
use platform::disk::{Disk, DiskError, DiskErrorKind, File};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Set in the number of a snapshot's file; the rest is its revision.
pub const SNAPSHOT: u64 = 1 << 63;

/// A segment's or snapshot's file name.
pub fn name(number: u64) -> String {
    if number & SNAPSHOT != 0 { format!("{:020}.snap", number & !SNAPSHOT) } else { format!("{number:020}.log") }
}

/// One file.
#[derive(Clone)]
pub struct Opened {
    /// The open file.
    pub file: Arc<dyn File>,
    /// Revision before its first (of a snapshot: its own).
    pub after: Revision,
    /// Length.
    pub bytes: u64,
}

/// Cheap to clone; clones share.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    open: Mutex<BTreeMap<u64, Opened>>,
    /// The cluster version: the format of new files.
    format: AtomicU32,
}

impl Files {
    /// From recovered files.
    pub fn new(disk: Arc<dyn Disk>, files: BTreeMap<u64, Opened>, format: u32) -> Files {
        Files(Arc::new(Inner { disk, open: Mutex::new(files), format: AtomicU32::new(format) }))
    }

    /// The format of new files.
    pub fn format(&self) -> u32 {
        self.0.format.load(Ordering::SeqCst)
    }

    /// Makes `format` the cluster version, durably: files that are begun from now on have it.
    pub async fn finalize(&self, format: u32) -> Result<(), DiskError> {
        write_version(&self.0.disk, format).await?;
        self.0.format.store(format, Ordering::SeqCst);
        Ok(())
    }

    /// The directory.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.0.disk.clone()
    }

    /// All files by number.
    pub fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Opened>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After reading the directory again.
    pub fn replace(&self, files: BTreeMap<u64, Opened>) {
        *self.open() = files;
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.open().values().map(|f| f.bytes).sum()
    }

    /// Number of the current segment.
    pub fn current_number(&self) -> u64 {
        self.open().range(..SNAPSHOT).next_back().map_or(0, |(number, _)| *number)
    }

    /// The current segment.
    pub async fn current(&self) -> Result<Arc<dyn File>, DiskError> {
        let last = self.open().range(..SNAPSHOT).next_back().map(|(_, f)| f.file.clone());
        last.ok_or_else(|| DiskError {
            operation: "open",
            path: self.0.disk.path(),
            kind: DiskErrorKind::NotFound,
            detail: "the store has no segment".into(),
        })
    }

    /// Notes that the current segment is longer.
    pub fn grew(&self, bytes: u64) {
        if let Some((_, file)) = self.open().range_mut(..SNAPSHOT).next_back() {
            file.bytes += bytes;
        }
    }

    /// Begins the segment `number`.
    pub async fn roll(&self, number: u64, after: Revision, reserved: Revision) -> Result<(), DiskError> {
        let file = create(&self.0.disk, number, after, reserved, self.format()).await?;
        self.open().insert(number, Opened { file, after, bytes: record::FILE_HEAD as u64 });
        Ok(())
    }

    /// The final bytes of `version`, whose record is at `place`; `None` if the file is not there any more.
    pub async fn value(
        &self,
        place: Place,
        version: &Version,
        seal: Option<&dyn Seal>,
    ) -> Result<Option<Bytes>, ReadError> {
        let Some(file) = self.open().get(&place.file).map(|f| f.file.clone()) else { return Ok(None) };
        let unread = |why: String| ReadError::Unavailable(format!("{} at {}: {why}", name(place.file), place.offset));
        let head = file.read(place.offset, FRAME_HEAD).await.map_err(|e| unread(e.to_string()))?;
        let length = head.get(4..8).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let bytes =
            file.read(place.offset, FRAME_HEAD + length.min(PAYLOAD_MAX)).await.map_err(|e| unread(e.to_string()))?;
        let frame = record::unframe(&bytes, place.file).ok_or_else(|| unread("the record is damaged".into()))?;
        let change = match record::decode(frame.payload).map_err(|e| unread(e.0))? {
            Payload::Commit { mut changes, .. } if (place.index as usize) < changes.len() => {
                changes.swap_remove(place.index as usize)
            }
            Payload::Key { change, .. } => change,
            _ => return Err(unread("another record is there".into())),
        };
        match change {
            LoggedChange::Put { key, text, rv_at, .. } if key == version.key => {
                let plain = open_text(&key, text, seal).map_err(unread)?;
                Ok(Some(splice(&plain, rv_at, version.revision)))
            }
            _ => Err(unread("another key is there".into())),
        }
    }
}

/// A value's plain bytes.
pub fn open_text(key: &str, text: Text, seal: Option<&dyn Seal>) -> Result<Bytes, String> {
    match (text, seal) {
        (Text::Plain(bytes), _) => Ok(bytes),
        (Text::Sealed(sealed), Some(seal)) => seal.unseal(key, &sealed).map_err(|e| e.0),
        (Text::Sealed(sealed), None) => {
            Err(format!("{key} is encrypted with key {}, and no key was given", sealed.key_id))
        }
    }
}

/// Makes a file with its head, durable in content and name.
pub async fn create(
    disk: &Arc<dyn Disk>,
    number: u64,
    after: Revision,
    reserved: Revision,
    format: u32,
) -> Result<Arc<dyn File>, DiskError> {
    let file = disk.open(&name(number), true).await?;
    file.truncate(0).await?;
    file.write(0, FileHead { number, after, reserved, epoch: 0, format }.encode(), true).await?;
    disk.sync_dir().await?;
    Ok(file)
}

/// Name of the file that holds the cluster version.
pub const VERSION: &str = "VERSION";
const VERSION_HEAD: &str = "corten-store ";

/// The format that a `VERSION` file says.
pub fn parse_version(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.strip_prefix(VERSION_HEAD)?.trim_end().parse().ok()
}

/// Writes the cluster version, all or nothing.
pub async fn write_version(disk: &Arc<dyn Disk>, format: u32) -> Result<(), DiskError> {
    let temporary = format!("{VERSION}.tmp");
    let file = disk.open(&temporary, true).await?;
    file.truncate(0).await?;
    file.write(0, format!("{VERSION_HEAD}{format}\n").into_bytes(), true).await?;
    disk.rename(&temporary, VERSION).await?;
    disk.sync_dir().await
}
