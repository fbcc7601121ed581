//! The simulation's disk: content, what of it is durable, and everything that can go wrong with the rest.
//!
//! A write is visible at once but stays *pending* until its file is synced. A power cut keeps any subset of the pending
//! sectors (lost, torn, reordered) and a prefix of the pending changes of names. Time passes in every operation, so that
//! other tasks run, and crashes happen, in the middle of it.

use super::{BoxFuture, Disk, DiskError, DiskErrorKind, DiskResult, File};
use crate::Rng;
use crate::time::{Duration, sleep};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// Faults that stay on until changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFaults {
    /// Bytes of all files together; 0: no limit.
    pub capacity: u64,
    /// Percent of syncs that fail and lose what was pending.
    pub sync_fails_percent: u64,
    /// Percent of writes that fail, with a part written.
    pub write_fails_percent: u64,
    /// Longest time an operation takes, in microseconds.
    pub latency_us: u64,
}

/// A simulated directory. Clones are the same directory: it outlives the simulated process.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    name: String,
}

struct Inner {
    rng: Rng,
    faults: DiskFaults,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    files: BTreeMap<u64, Content>,
    next: u64,
    locked: Option<u64>,
    syncs: u64,
}

#[derive(Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl SimDisk {
    /// An empty directory whose faults follow from `seed`.
    pub fn new(name: &str, seed: u64, faults: DiskFaults) -> SimDisk {
        let inner = Inner {
            rng: Rng::from_seed(seed).split(name),
            faults,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            files: BTreeMap::new(),
            next: 0,
            locked: None,
            syncs: 0,
        };
        SimDisk { inner: Arc::new(Mutex::new(inner)), name: name.to_string() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the standing faults.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.inner().faults = faults;
    }

    /// The power fails: what was not synced is kept, lost or torn at random. Call it after killing the process.
    pub fn power_cut(&self) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        inner.locked = None;
        for content in inner.files.values_mut() {
            content.cut(&mut inner.rng);
        }
        let pending = std::mem::take(&mut inner.pending_names);
        let keep = inner.rng.below(pending.len() as u64 + 1) as usize;
        for change in &pending[..keep] {
            apply_name(&mut inner.durable_names, change);
        }
        inner.names = inner.durable_names.clone();
        let names: Vec<u64> = inner.names.values().copied().collect();
        inner.files.retain(|id, _| names.contains(id));
    }

    /// The process died (no power cut): its lock is gone, what it wrote is not.
    pub fn process_ended(&self) {
        self.inner().locked = None;
    }

    /// Flips a bit of `name` at `offset`, durably. False if there is no such byte.
    pub fn rot(&self, name: &str, offset: u64) -> bool {
        let mut inner = self.inner();
        let Some(id) = inner.names.get(name).copied() else { return false };
        let Some(content) = inner.files.get_mut(&id) else { return false };
        let at = offset as usize;
        if at >= content.now.len() {
            return false;
        }
        content.now[at] ^= 0x10;
        if let Some(byte) = content.durable.get_mut(at) {
            *byte ^= 0x10;
        }
        true
    }

    /// Length of a file.
    pub fn size(&self, name: &str) -> Option<u64> {
        let inner = self.inner();
        let id = inner.names.get(name)?;
        inner.files.get(id).map(|c| c.now.len() as u64)
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.inner().used()
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.inner().names.keys().cloned().collect()
    }

    /// Number of syncs so far.
    pub fn syncs(&self) -> u64 {
        self.inner().syncs
    }

    async fn wait(&self) {
        let micros = {
            let mut inner = self.inner();
            let most = inner.faults.latency_us;
            inner.rng.below(most + 1)
        };
        if micros > 0 {
            sleep(Duration::from_micros(micros)).await;
        }
    }

    fn error(&self, operation: &'static str, name: &str, kind: DiskErrorKind, detail: &str) -> DiskError {
        DiskError { operation, path: format!("{}/{name}", self.name), kind, detail: detail.into() }
    }
}

fn apply_name(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Inner {
    fn rename(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.pending_names.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|c| c.now.len() as u64).sum()
    }
}

impl Content {
    fn write(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
        if content.len() < offset + data.len() {
            content.resize(offset + data.len(), 0);
        }
        content[offset..offset + data.len()].copy_from_slice(data);
    }

    /// Any subset of the pending sectors reaches the disk.
    fn cut(&mut self, rng: &mut Rng) {
        let keep = rng.below(101);
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Truncate(len) => {
                    if rng.chance(keep) {
                        self.durable.truncate(len);
                    }
                }
                Pending::Write(offset, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        let end = (((offset + at) / SECTOR + 1) * SECTOR - offset).min(data.len());
                        if rng.chance(keep) {
                            Content::write(&mut self.durable, offset + at, &data[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        self.now = self.durable.clone();
    }
}

impl Disk for SimDisk {
    fn list(&self) -> BoxFuture<'_, DiskResult<Vec<String>>> {
        Box::pin(async move {
            self.wait().await;
            Ok(self.names())
        })
    }

    fn open(&self, name: &str, create: bool) -> BoxFuture<'_, DiskResult<Arc<dyn File>>> {
        let name = name.to_string();
        Box::pin(async move {
            self.wait().await;
            let mut inner = self.inner();
            let id = match inner.names.get(&name) {
                Some(id) => *id,
                None if !create => return Err(self.error("open", &name, DiskErrorKind::NotFound, "no such file")),
                None => {
                    let id = inner.next;
                    inner.next += 1;
                    inner.files.insert(id, Content::default());
                    inner.rename(NameChange::Create(name.clone(), id));
                    id
                }
            };
            let file: Arc<dyn File> = Arc::new(SimFile { disk: self.clone(), id, name });
            Ok(file)
        })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'_, DiskResult<()>> {
        let (from, to) = (from.to_string(), to.to_string());
        Box::pin(async move {
            self.wait().await;
            let mut inner = self.inner();
            if !inner.names.contains_key(&from) {
                return Err(self.error("rename", &from, DiskErrorKind::NotFound, "no such file"));
            }
            inner.rename(NameChange::Rename(from, to));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> BoxFuture<'_, DiskResult<()>> {
        let name = name.to_string();
        Box::pin(async move {
            self.wait().await;
            let mut inner = self.inner();
            if inner.names.contains_key(&name) {
                inner.rename(NameChange::Remove(name));
            }
            Ok(())
        })
    }

    fn sync_dir(&self) -> BoxFuture<'_, DiskResult<()>> {
        Box::pin(async move {
            self.wait().await;
            let mut inner = self.inner();
            inner.pending_names.clear();
            inner.durable_names = inner.names.clone();
            Ok(())
        })
    }

    fn lock(&self) -> BoxFuture<'_, DiskResult<Box<dyn Send + Sync>>> {
        Box::pin(async move {
            self.wait().await;
            let mut inner = self.inner();
            if inner.locked.is_some() {
                return Err(self.error(
                    "lock",
                    "LOCK",
                    DiskErrorKind::Locked,
                    "another process uses this data directory",
                ));
            }
            let id = inner.next;
            inner.next += 1;
            inner.locked = Some(id);
            let guard: Box<dyn Send + Sync> = Box::new(Unlock(self.clone(), id));
            Ok(guard)
        })
    }

    fn path(&self) -> String {
        self.name.clone()
    }
}

/// A lock's guard; a killed process' guard may be dropped late and must not free its successor's lock.
struct Unlock(SimDisk, u64);

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        if inner.locked == Some(self.1) {
            inner.locked = None;
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    name: String,
}

impl SimFile {
    fn content<T>(&self, operation: &'static str, work: impl FnOnce(&mut Content) -> T) -> DiskResult<T> {
        let mut inner = self.disk.inner();
        match inner.files.get_mut(&self.id) {
            Some(content) => Ok(work(content)),
            None => {
                Err(self.disk.error(operation, &self.name, DiskErrorKind::Other, "the file was lost in a power cut"))
            }
        }
    }

    fn sync_now(&self) -> DiskResult<()> {
        let fails = {
            let mut inner = self.disk.inner();
            inner.syncs += 1;
            let percent = inner.faults.sync_fails_percent;
            inner.rng.chance(percent)
        };
        self.content("sync", |c| {
            let pending = std::mem::take(&mut c.pending);
            if fails {
                // Linux marks the pages clean: the content reads as written until it is evicted, no later sync writes it, and
                // it is gone after a restart.
                return false;
            }
            for one in pending {
                match one {
                    Pending::Truncate(len) => c.durable.truncate(len),
                    Pending::Write(offset, data) => Content::write(&mut c.durable, offset, &data),
                }
            }
            true
        })
        .and_then(|ok| {
            if ok {
                Ok(())
            } else {
                Err(self.disk.error("sync", &self.name, DiskErrorKind::Other, "input/output error"))
            }
        })
    }
}

impl File for SimFile {
    fn len(&self) -> BoxFuture<'_, DiskResult<u64>> {
        Box::pin(async move { self.content("stat", |c| c.now.len() as u64) })
    }

    fn read(&self, offset: u64, len: usize) -> BoxFuture<'_, DiskResult<Vec<u8>>> {
        Box::pin(async move {
            self.disk.wait().await;
            self.content("read", |c| {
                let start = (offset as usize).min(c.now.len());
                c.now[start..(start + len).min(c.now.len())].to_vec()
            })
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>, sync: bool) -> BoxFuture<'_, DiskResult<()>> {
        Box::pin(async move {
            let (used, capacity, fails) = {
                let mut inner = self.disk.inner();
                let percent = inner.faults.write_fails_percent;
                (inner.used(), inner.faults.capacity, percent > 0 && inner.rng.chance(percent))
            };
            let grown = self.content("write", |c| (offset as usize + data.len()).saturating_sub(c.now.len()))?;
            let fits = capacity == 0 || used + grown as u64 <= capacity;
            let taken = if fits && !fails { data.len() } else { data.len() / 2 }; // a failing disk takes a part
            self.content("write", |c| {
                Content::write(&mut c.now, offset as usize, &data[..taken]);
                c.pending.push(Pending::Write(offset as usize, data[..taken].to_vec()));
            })?;
            if !fits {
                return Err(self.disk.error("write", &self.name, DiskErrorKind::Full, "no space left on device"));
            }
            if fails {
                return Err(self.disk.error("write", &self.name, DiskErrorKind::Other, "input/output error"));
            }
            self.disk.wait().await;
            if sync { self.sync_now() } else { Ok(()) }
        })
    }

    fn truncate(&self, len: u64) -> BoxFuture<'_, DiskResult<()>> {
        Box::pin(async move {
            self.disk.wait().await;
            self.content("truncate", |c| {
                c.now.truncate(len as usize);
                c.pending.push(Pending::Truncate(len as usize));
            })
        })
    }

    fn sync(&self) -> BoxFuture<'_, DiskResult<()>> {
        Box::pin(async move {
            self.disk.wait().await;
            self.sync_now()
        })
    }
}
