//! Tests of the log engine: the contract, the model, and both under crashes, power cuts and failing disks.
use super::*;
use crate::AesGcm;
use crate::suite::{self, Walk};
use platform::disk::{DiskFaults, SimDisk, SystemDisk};

fn env(seed: u64) -> Env {
    Env::simulated("store", seed, WallTime::from_unix(10_000, 0))
}

fn key() -> Option<Arc<dyn Seal>> {
    Some(Arc::new(AesGcm::new(&[(1, [7; 32])]).expect("key")))
}

/// Limits small enough that a short run meets every edge.
fn tiny(seed: u64) -> Limits {
    Limits {
        segment_bytes: 2_000 + 500 * (seed % 5),
        group_commits: 1 + seed as usize % 4,
        group_bytes: 3_000,
        reserve: 3 + seed % 20,
        history_bytes: 200 * (seed as usize % 6),
        log_bytes: 6_000,
        history_age: time::Duration::from_secs(seed % 2 * 100_000),
        watch_step: 3,
        ..Limits::default()
    }
}

async fn open_sim(disk: &SimDisk, env: &Env, limits: Limits) -> Arc<Log> {
    open(env, Arc::new(disk.clone()), key(), limits).await.unwrap_or_else(|e| panic!("open: {e}"))
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    let made = std::sync::atomic::AtomicU64::new(0);
    let make = || -> BoxFuture<'_, Arc<dyn Store>> {
        let seed = made.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let disk = SimDisk::new("d", seed, DiskFaults { latency_us: 300, ..DiskFaults::default() });
            let store: Arc<dyn Store> =
                open_sim(&disk, &env(seed), Limits { history_bytes: 0, ..Limits::default() }).await;
            store
        })
    };
    suite::contract(&make).await;
}

#[tokio::test]
async fn keeps_the_contract_on_the_systems_disk() {
    let root = std::env::temp_dir().join(format!("corten-store-{}", std::process::id()));
    let made = std::sync::atomic::AtomicU64::new(0);
    let env = Env::system("store");
    let make = || -> BoxFuture<'_, Arc<dyn Store>> {
        let dir = root.join(made.fetch_add(1, Ordering::Relaxed).to_string());
        let env = env.clone();
        Box::pin(async move {
            let disk = SystemDisk::new(dir).expect("directory");
            let store: Arc<dyn Store> = open(&env, Arc::new(disk), key(), Limits::default()).await.expect("open");
            store
        })
    };
    suite::contract(&make).await;
    env.kill();
    std::fs::remove_dir_all(root).expect("clean up");
}

#[tokio::test(start_paused = true)]
async fn equals_the_model_without_faults() {
    for seed in 0..40 {
        let disk = SimDisk::new("d", seed, DiskFaults { latency_us: 200, ..DiskFaults::default() });
        let env = env(seed);
        let mut walk = Walk::new(seed);
        for _ in 0..3 {
            let store = open_sim(&disk, &env, tiny(seed)).await;
            assert_eq!(store.revision(), walk.model.tip(), "a clean end leaves no gap");
            walk.steps(&*store, 60).await;
            walk.model.compact(store.status().compacted);
            walk.compare(&*store).await;
            store.close().await;
            assert!(matches!(store.commit(walk.commit()).await, Err(CommitError::Unavailable(_))));
            env.kill();
            disk.process_ended();
        }
    }
}

/// One life of a store: commits, some of them at once, until it is killed in the middle of something.
async fn life(walk: &mut Walk, disk: &SimDisk, seed: u64, power: bool) {
    let env = env(seed);
    let store = open_sim(disk, &env, tiny(seed)).await;
    walk.recover(&*store, &[]).await;
    let mut unanswered: Vec<Commit> = Vec::new();
    for round in 0..walk.rng.below(20) {
        let commits: Vec<Commit> = (0..1 + walk.rng.below(5)).map(|_| walk.commit()).collect();
        let killed = round > 10 && walk.rng.chance(20);
        let tasks: Vec<_> = commits
            .iter()
            .map(|commit| {
                let (store, commit) = (store.clone(), commit.clone());
                tokio::spawn(async move { store.commit(commit).await })
            })
            .collect();
        if killed {
            time::sleep(time::Duration::from_micros(walk.rng.below(700))).await;
            env.kill();
        }
        let mut done = Vec::new();
        for (task, commit) in tasks.into_iter().zip(commits) {
            match task.await.expect("the task") {
                Ok(committed) => done.push((committed, commit)),
                Err(CommitError::Unavailable(_)) => unanswered.push(commit),
                Err(CommitError::Conflict { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        done.sort_by_key(|(committed, _)| committed.revision);
        for (committed, commit) in done {
            if killed {
                // Answered, and perhaps between others that were not: the model hears of it when the store is read again.
                assert!(committed.revision > walk.model.tip());
                ANSWERED.with(|a| a.borrow_mut().push((committed.revision, commit.durability)));
                unanswered.push(commit);
            } else {
                assert_eq!(Ok(committed.records), walk.model.commit(&commit, committed.revision));
            }
        }
        if killed {
            break;
        }
    }
    env.kill();
    drop(store);
    if power {
        disk.power_cut()
    } else {
        disk.process_ended()
    }
    let env = self::env(seed + 1);
    let store = open_sim(disk, &env, tiny(seed)).await;
    walk.recover(&*store, &unanswered).await;
    for (revision, durability) in ANSWERED.with(|a| a.take()) {
        let kept = revision <= walk.model.last_commit();
        assert!(kept || (durability == Durability::Cheap && power), "revision {revision} was answered and is lost");
    }
    walk.compare(&*store).await;
    env.kill();
    drop(store);
    disk.process_ended();
}

thread_local! {
    static ANSWERED: std::cell::RefCell<Vec<(Revision, Durability)>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[tokio::test(start_paused = true)]
async fn loses_nothing_it_promised() {
    for seed in 0..150 {
        let disk = SimDisk::new("d", seed, DiskFaults { latency_us: 500, ..DiskFaults::default() });
        let mut walk = Walk::new(seed);
        for turn in 0..6 {
            let power = walk.rng.chance(60);
            life(&mut walk, &disk, seed * 10 + turn, power).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn goes_on_after_a_full_disk() {
    let disk = SimDisk::new("d", 1, DiskFaults { capacity: 4_000, ..DiskFaults::default() });
    let env = env(1);
    let store = open_sim(&disk, &env, Limits::default()).await;
    let mut walk = Walk::new(1);
    let full = loop {
        let (commit, tip) = (walk.commit(), store.revision());
        match store.commit(commit.clone()).await {
            Ok(done) => drop(walk.model.commit(&commit, done.revision)),
            Err(CommitError::Conflict { .. }) => {}
            Err(CommitError::Full(_)) => break tip,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(store.revision(), full, "nothing happened");
    disk.set_faults(DiskFaults::default());
    walk.steps(&*store, 50).await;
    env.kill();
    drop(store);
    disk.power_cut();
    let env = self::env(2);
    let store = open_sim(&disk, &env, Limits::default()).await;
    walk.recover(&*store, &[]).await;
    walk.compare(&*store).await;
}

#[tokio::test(start_paused = true)]
async fn reads_the_disk_again_after_a_failed_sync() {
    for seed in 0..20 {
        let disk = SimDisk::new("d", seed, DiskFaults::default());
        let env = env(seed);
        let store = open_sim(&disk, &env, tiny(seed)).await;
        let mut walk = Walk::new(seed);
        walk.steps(&*store, 30).await;
        disk.set_faults(DiskFaults { sync_fails_percent: 100, ..DiskFaults::default() });
        let commit = Commit {
            durability: Durability::Durable,
            changes: vec![Change::put("/r0/new", "x", None)],
            ..Commit::default()
        };
        assert!(matches!(store.commit(commit.clone()).await, Err(CommitError::Unavailable(_))));
        assert!(matches!(store.commit(commit.clone()).await, Err(CommitError::Unavailable(_))));
        assert!(store.status().trouble.is_some());
        disk.set_faults(DiskFaults::default());
        let seen = walk.model.tip();
        while store.status().trouble.is_some() {
            time::sleep(time::Duration::from_millis(50)).await;
        }
        assert!(store.revision() > seen);
        walk.recover(&*store, &[commit]).await;
        walk.steps(&*store, 30).await;
        walk.model.compact(store.status().compacted);
        walk.compare(&*store).await;
        env.kill();
        drop(store);
        disk.power_cut();
        let env = self::env(seed + 1);
        let store = open_sim(&disk, &env, tiny(seed)).await;
        walk.recover(&*store, &[]).await;
        walk.compare(&*store).await;
        env.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_revision_is_gone_and_never_given_out_again() {
    let mut met = 0;
    for seed in 0..10 {
        let disk = SimDisk::new("d", seed, DiskFaults::default());
        let first = env(1);
        let store = open_sim(&disk, &first, Limits::default()).await;
        let a = store.commit(Commit::create(Change::put("/a", "1", None), Meta::default())).await.expect("a").revision;
        let cheap = Commit::create(Change::put("/b", "1", None), Meta::default()).cheap();
        let b = store.commit(cheap).await.expect("b").revision;
        first.kill();
        drop(store);
        disk.power_cut();
        let store = open_sim(&disk, &env(2), Limits::default()).await;
        assert!(store.revision() > b);
        let mut resumed = store.watch("/", a).expect("a watch at a durable revision goes on");
        if store.get("/b", At::Latest).await.expect("get").0.is_some() {
            continue; // the disk kept the cheap record
        }
        met += 1;
        assert!(matches!(store.watch("/", b), Err(ReadError::Compacted { .. })));
        let put = Commit::create(Change::put("/c", "1", None), Meta::default());
        let c = store.commit(put).await.expect("c").revision;
        assert!(matches!(resumed.next().await, Ok(WatchItem::Changes(batch)) if batch.revision == c));
        store.compact(c).await.expect("compact");
        assert!(store.lost(b).is_some() && store.lost(a).is_none() && store.lost(c).is_none());
    }
    assert!(met > 2, "{met}");
}

#[tokio::test(start_paused = true)]
async fn the_cluster_version_is_kept_until_it_is_finalized() {
    let formats = |oldest, newest| Formats { oldest, newest };
    let disk = SimDisk::new("d", 3, DiskFaults::default());
    let small = Limits { segment_bytes: 300, ..Limits::default() };
    let start = async |env: &Env, formats: Formats| open_as(env, Arc::new(disk.clone()), key(), small, formats).await;
    let work = async |store: &Log, name: &str| {
        for i in 0..5 {
            let change = Change::put(format!("/{name}/{i}"), "x".repeat(100), None);
            store.commit(Commit::create(change, Meta::default())).await.expect("commit");
        }
    };
    let end = async |env: Env, store: Arc<Log>| {
        store.close().await;
        env.kill();
        disk.process_ended();
    };
    // Versions 1 and 2 of the program take turns: nothing is written that 1 cannot read.
    for (turn, ours) in [formats(1, 1), formats(1, 2), formats(1, 1), formats(1, 2)].into_iter().enumerate() {
        let env = env(turn as u64);
        let store = start(&env, ours).await.expect("open");
        assert_eq!(store.status().format, (1, ours.newest));
        work(&store, &turn.to_string()).await;
        if turn == 3 {
            assert_eq!(store.finalize().await, Ok(2));
            work(&store, "new").await;
            assert_eq!(store.status().format, (2, 2));
        }
        end(env, store).await;
    }
    let old = start(&env(7), formats(1, 1)).await.err().expect("a refusal");
    assert!(matches!(old, OpenError::Format(_)) && old.to_string().contains("start the newer corten"), "{old}");
    disk.process_ended();
    // The next program reads what is left in format 1 and writes 2; the one after it does not know 1 any more.
    let (ours, next) = (env(8), env(9));
    let store = start(&ours, formats(1, 3)).await.expect("open");
    assert_eq!(store.range(RangeRequest::prefix("/")).await.expect("range").entries.len(), 25);
    end(ours, store).await;
    let far = start(&next, formats(3, 4)).await.err().expect("a refusal");
    assert!(matches!(far, OpenError::Format(_)) && far.to_string().contains("corten upgrade finalize"), "{far}");
}

#[tokio::test(start_paused = true)]
async fn what_was_submitted_before_the_end_is_answered() {
    let disk = SimDisk::new("d", 3, DiskFaults { latency_us: 300, ..DiskFaults::default() });
    let first = env(1);
    let store = open_sim(&disk, &first, Limits::default()).await;
    let commit = |i: u64| Commit::create(Change::put(format!("/{i}"), "x", None), Meta::default());
    let commits: Vec<_> = (0..5).map(|i| store.commit(commit(i))).collect();
    let (done, ()) = tokio::join!(futures_join(commits), store.close());
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    first.kill();
    drop((done, store));
    disk.process_ended();
    let store = open_sim(&disk, &env(2), Limits::default()).await;
    assert_eq!(store.status().keys, 5);
    assert_eq!(store.revision(), Revision(5), "a clean end leaves no gap");
}

/// Long writing keeps memory and disk within bounds, and some history readable.
#[tokio::test(start_paused = true)]
async fn a_long_write_load_is_reclaimed_continuously() {
    let disk = SimDisk::new("d", 3, DiskFaults::default());
    let env = env(1);
    let limits = Limits { segment_bytes: 4_000, log_bytes: 20_000, history_events: 100, ..Limits::default() };
    let store = open_sim(&disk, &env, limits).await;
    let (mut most, mut remembered) = (0, 0);
    for i in 0..5_000 {
        let change = Change::put(format!("/{}", i % 10), "x".repeat(if i < 2_500 { 500 } else { 5 }), None);
        let meta = Meta { wall: env.wall(), ..Meta::default() };
        store.commit(Commit { changes: vec![change], meta, ..Commit::default() }).await.expect("commit");
        let status = store.status();
        (most, remembered) = (most.max(status.disk_bytes), remembered.max(status.history));
        assert!(i < 20 || status.history > 3, "after {i}: no history is left");
    }
    assert!(most < 20_000 * 6, "{most} bytes on disk");
    assert!(remembered < 200, "{remembered} changes in memory");
}

#[tokio::test(start_paused = true)]
async fn rot_stops_the_start_and_names_the_place() {
    let disk = SimDisk::new("d", 3, DiskFaults::default());
    let first = env(1);
    let store = open_sim(&disk, &first, Limits { segment_bytes: 3_000, log_bytes: 1 << 20, ..Limits::default() }).await;
    Walk::new(5).steps(&*store, 100).await;
    store.close().await;
    first.kill();
    drop(store);
    disk.process_ended();
    let segments: Vec<String> = disk.names().into_iter().filter(|n| n.ends_with(".log")).collect();
    assert!(segments.len() > 2, "{segments:?}");
    for (segment, at) in [(&segments[0], 100), (&segments[1], 20), (&segments[segments.len() - 1], 60)] {
        assert!(disk.rot(segment, at));
        let error = open(&env(2), Arc::new(disk.clone()), key(), Limits::default()).await.err().expect("a refusal");
        assert!(matches!(error, OpenError::Corrupt(_)) && error.to_string().contains(segment.as_str()), "{error}");
        assert!(disk.rot(segment, at));
    }
    assert!(open(&env(2), Arc::new(disk.clone()), key(), Limits::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn secrets_are_sealed_and_two_processes_do_not_meet() {
    let disk = SimDisk::new("d", 3, DiskFaults::default());
    let first = env(1);
    let store = open_sim(&disk, &first, Limits::default()).await;
    store.commit(Commit::create(Change::put("/s", "the-password", None).sealed(), Meta::default())).await.expect("put");
    store.commit(Commit::create(Change::put("/p", "the-plain-text", None), Meta::default())).await.expect("put");
    let second = open(&first, Arc::new(disk.clone()), key(), Limits::default()).await.err().expect("locked");
    assert!(matches!(second, OpenError::Disk(e) if e.kind == platform::disk::DiskErrorKind::Locked));
    let file = disk.open("00000000000000000001.log", false).await.expect("segment");
    let bytes = file.read(0, 1 << 20).await.expect("read");
    let has = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    assert!(has(b"the-plain-text") && !has(b"the-password"));
    first.kill();
    drop(store);
    disk.process_ended();
    let without = open(&env(2), Arc::new(disk.clone()), None, Limits::default()).await.err().expect("no key");
    assert!(without.to_string().contains("no key was given"), "{without}");
    let store = open_sim(&disk, &env(2), Limits::default()).await;
    assert_eq!(store.get("/s", At::Latest).await.expect("get").0.expect("there").value, "the-password");
}
