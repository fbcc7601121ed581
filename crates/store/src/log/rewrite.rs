//! Reclaiming the log: all keys at some revision go into a snapshot, and the segments before it are removed.
//!
//! A snapshot is written beside the service, in steps, without holding the state; it counts from its rename on. Its revision
//! becomes the oldest readable one, so it is chosen older than the history's age unless the log has grown far too long.

use super::Shared;
use super::files::{self, Opened, SNAPSHOT};
use crate::contract::{ReadError, Revision};
use crate::core::codec::Malformed;
use crate::core::record::{self, FileHead, Payload};
use crate::core::state::{Place, Version};
use platform::Env;
use platform::watch;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Rewrites whenever a commit has made it worthwhile.
pub async fn run(env: Env, shared: Weak<Shared>, mut woken: watch::Receiver<()>) {
    while woken.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        let Some(target) = target(&env, &shared) else { continue };
        if let Err(error) = rewrite(&shared, target).await {
            // The log stays as it was; the next commit tries again.
            tracing::error!(error, revision = target.0, "the log could not be rewritten as a snapshot");
        }
    }
}

/// The revision to write a snapshot of, if one is due.
fn target(env: &Env, shared: &Shared) -> Option<Revision> {
    let limits = &shared.limits;
    let segments: Vec<(Revision, u64)> =
        shared.files.open().range(..SNAPSHOT).map(|(_, f)| (f.after, f.bytes)).collect();
    let log: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    let state = shared.state();
    let (visible, remembered) = (shared.seen(), state.history().0);
    let due = limits.log_bytes.max(state.live().1 as u64);
    let overgrown = log > due.saturating_mul(limits.overgrown) || remembered > limits.history_events;
    if log <= due && !overgrown {
        return None;
    }
    // Only segments that end before the target go, so it has to be the beginning of one.
    let old = env.wall().plus_nanos(-i64::try_from(limits.history_age.as_nanos()).unwrap_or(i64::MAX));
    let aged = state.history_above(state.compacted()).take_while(|e| e.now.meta.wall < old).last();
    let aged = aged.map_or(Revision(0), |e| e.revision.min(visible));
    let aged = segments.iter().skip(1).map(|(after, _)| *after).take_while(|after| *after <= aged).last();
    let aged = aged.filter(|at| *at > state.compacted());
    if aged.is_some() || !overgrown {
        return aged;
    }
    // Too much is young: the older half of it goes.
    if remembered > limits.history_events {
        let middle = state.history_above(state.compacted()).nth(remembered / 2).map(|e| e.revision);
        return middle.filter(|at| *at > state.compacted() && *at <= visible);
    }
    let (mut kept, mut from) = (0, None);
    for (after, bytes) in segments.iter().skip(1).rev() {
        if kept > log / 2 && from.is_some() {
            break;
        }
        (kept, from) = (kept + bytes, Some(*after));
    }
    from.filter(|at| *at > state.compacted() && *at <= visible)
}

async fn rewrite(shared: &Arc<Shared>, target: Revision) -> Result<(), String> {
    let generation = shared.generation.load(Ordering::SeqCst);
    let versions = {
        let state = shared.state();
        state.readable(target, shared.seen()).map_err(|e| e.to_string())?;
        state.range("", None, 0, target).0
    };
    let number = SNAPSHOT | target.0;
    let disk = shared.files.disk();
    let name = files::name(number);
    let temporary = format!("{name}.tmp");
    let (places, bytes) = write(shared, &temporary, number, target, &versions).await?;
    let say = |e: platform::disk::DiskError| e.to_string();
    disk.rename(&temporary, &name).await.map_err(say)?;
    disk.sync_dir().await.map_err(say)?;
    let file = disk.open(&name, false).await.map_err(say)?;
    // From here on the snapshot counts: places first, then the files that they pointed into go.
    {
        let mut state = shared.state();
        if generation != shared.generation.load(Ordering::SeqCst) {
            return Ok(()); // the state was read again meanwhile: it knows its own files
        }
        for (version, place) in versions.iter().zip(places) {
            version.set_place(place);
        }
        state.compact(target);
        shared.files.open().insert(number, Opened { file, after: target, bytes });
    }
    let gone: Vec<u64> = {
        let mut open = shared.files.open();
        let segments: Vec<(u64, Revision)> = open.range(..SNAPSHOT).map(|(n, f)| (*n, f.after)).collect();
        let old = segments.windows(2).filter(|w| w[1].1 <= target).map(|w| w[0].0);
        let old: Vec<u64> = old.chain(open.range(SNAPSHOT..number).map(|(n, _)| *n)).collect();
        open.retain(|n, _| !old.contains(n));
        old
    };
    for number in gone {
        disk.remove(&files::name(number)).await.map_err(say)?;
    }
    disk.sync_dir().await.map_err(say)
}

async fn write(
    shared: &Shared,
    name: &str,
    number: u64,
    target: Revision,
    versions: &[Arc<Version>],
) -> Result<(Vec<Place>, u64), String> {
    let say = |e: platform::disk::DiskError| e.to_string();
    let file = shared.files.disk().open(name, true).await.map_err(say)?;
    file.truncate(0).await.map_err(say)?;
    let mut buffer =
        FileHead { number, after: target, reserved: Revision(0), epoch: 0, format: shared.files.format() }.encode();
    let (mut written, mut places) = (0_u64, Vec::with_capacity(versions.len()));
    for version in versions {
        let value = shared.bytes(version).await.map_err(|e: ReadError| e.to_string())?;
        let payload = record::encode_key(version, &value, |plain| match (&shared.seal, version.sealed) {
            (Some(seal), true) => seal.seal(&version.key, plain).map(Some).map_err(|e| Malformed(e.0)),
            (None, true) => Err(Malformed(format!("{}: no key to encrypt it", version.key))),
            (_, false) => Ok(None),
        });
        places.push(Place { file: number, offset: written + buffer.len() as u64, index: 0 });
        record::frame(&mut buffer, number, 0, &payload.map_err(|e| e.0)?);
        if buffer.len() >= shared.limits.rewrite_bytes {
            let chunk = std::mem::take(&mut buffer);
            let at = written;
            written += chunk.len() as u64;
            file.write(at, chunk, false).await.map_err(say)?;
        }
    }
    record::frame(&mut buffer, number, 0, &record::encode_mark(&Payload::End(versions.len() as u64)));
    let length = written + buffer.len() as u64;
    file.write(written, buffer, true).await.map_err(say)?;
    Ok((places, length))
}
