//! The contract as a test suite, and a random walk that compares an engine with the model. Every engine passes both.
//!
//! Compiled for tests, and with the feature `testing` for engines in other crates and for the simulation.

use crate::contract::*;
use crate::model::{Model, Readable};
use platform::{Rng, WallTime};

/// Makes an empty store.
pub type Make<'a> = &'a (dyn Fn() -> BoxFuture<'a, std::sync::Arc<dyn Store>> + Sync);

/// An object's text with an empty resourceVersion, and the place of the latter.
pub fn object(text: &str) -> (String, u32) {
    let head = r#"{"metadata":{"resourceVersion":""#;
    (format!(r#"{head}"}},"data":"{text}"}}"#), head.len() as u32)
}

fn put(key: &str, text: &str) -> Change {
    let (value, at) = object(text);
    Change::put(key, value, Some(at))
}

fn meta() -> Meta {
    Meta { wall: WallTime::from_unix(1_000, 0), user: "tester".into(), ..Meta::default() }
}

/// Runs every case.
pub async fn contract(make: Make<'_>) {
    creates_updates_and_deletes(&*make().await).await;
    refuses_stale_expectations(&*make().await).await;
    commits_are_all_or_nothing(&*make().await).await;
    reads_old_revisions(&*make().await).await;
    ranges_are_limited_and_continued(&*make().await).await;
    watches_are_ordered_and_resumable(&*make().await).await;
    compaction_ends_old_reads(&*make().await).await;
    expiry_is_a_logged_delete(&*make().await).await;
}

async fn creates_updates_and_deletes(s: &dyn Store) {
    let a = s.commit(Commit::create(put("/r/a", "1").sealed(), meta())).await.expect("create");
    let text = format!(r#"{{"metadata":{{"resourceVersion":"{}"}},"data":"1"}}"#, a.revision);
    assert_eq!(a.records[0].entry.value, text);
    assert_eq!(a.records[0].change, Changed::Created);
    let b = s.commit(Commit::update(put("/r/a", "2"), a.revision, meta())).await.expect("update");
    assert!(b.revision > a.revision);
    let (found, at) = s.get("/r/a", At::Latest).await.expect("get");
    let found = found.expect("the key");
    assert_eq!((at, found.revision, found.created, found.version), (b.revision, b.revision, a.revision, 2));
    assert_eq!(found.meta.user, "tester");
    let c = s.commit(Commit::update(Change::delete("/r/a"), b.revision, meta())).await.expect("delete");
    assert_eq!(c.records[0].change, Changed::Deleted);
    assert!(std::str::from_utf8(&c.records[0].entry.value).is_ok_and(|t| t.contains(&format!("\"{}\"", c.revision))));
    assert_eq!(s.get("/r/a", At::Latest).await, Ok((None, c.revision)));
}

async fn refuses_stale_expectations(s: &dyn Store) {
    let a = s.commit(Commit::create(put("/r/a", "1"), meta())).await.expect("create");
    let again = s.commit(Commit::create(put("/r/a", "x"), meta())).await;
    let Err(CommitError::Conflict { current: Some(current), .. }) = again else { panic!("{again:?}") };
    assert_eq!(current.revision, a.revision);
    let stale = s.commit(Commit::update(put("/r/a", "x"), Revision(a.revision.0 + 7), meta())).await;
    assert!(matches!(stale, Err(CommitError::Conflict { .. })), "{stale:?}");
    let absent = s.commit(Commit { changes: vec![Change::delete("/r/none")], ..Commit::default() }).await;
    assert!(matches!(absent, Err(CommitError::Conflict { current: None, .. })), "{absent:?}");
    let (value, at) = object("1");
    let bad = s.commit(Commit::create(Change::put("/r/b", value, Some(at + 1)), meta())).await;
    assert!(matches!(bad, Err(CommitError::Invalid(_))), "{bad:?}");
    let twice = s.commit(Commit { changes: vec![put("/r/c", "1"), put("/r/c", "2")], ..Commit::default() }).await;
    assert!(matches!(twice, Err(CommitError::Invalid(_))), "{twice:?}");
    assert_eq!(s.revision(), a.revision);
}

async fn commits_are_all_or_nothing(s: &dyn Store) {
    let mut both = Commit::create(put("/r/a", "1"), meta());
    both.changes.push(Change::delete("/r/missing"));
    assert!(s.commit(both).await.is_err());
    assert_eq!(s.get("/r/a", At::Latest).await.expect("get").0, None);
    let mut both = Commit::create(put("/r/a", "1"), meta());
    both.changes.push(put("/q/b", "1"));
    let done = s.commit(both).await.expect("both");
    let range = s.range(RangeRequest::prefix("/")).await.expect("range");
    assert!(range.entries.len() == 2 && range.entries.iter().all(|e| e.revision == done.revision));
}

async fn reads_old_revisions(s: &dyn Store) {
    let a = s.commit(Commit::create(put("/r/a", "1"), meta())).await.expect("a").revision;
    let b = s.commit(Commit::create(put("/r/b", "1"), meta())).await.expect("b").revision;
    let c = s.commit(Commit::update(put("/r/a", "2"), a, meta())).await.expect("c").revision;
    let d = s.commit(Commit::update(Change::delete("/r/b"), b, meta())).await.expect("d").revision;
    for (at, wanted) in [(a, "a1"), (b, "a1b1"), (c, "a2b1"), (d, "a2")] {
        let request = RangeRequest { at: At::Revision(at), ..RangeRequest::prefix("/r/") };
        let range = s.range(request).await.expect("range");
        let found: String = range.entries.iter().map(|e| format!("{}{}", &e.key[3..], text(e))).collect();
        assert_eq!(found, wanted, "at {at}");
    }
    let future = s.get("/r/a", At::Revision(Revision(d.0 + 1))).await;
    assert_eq!(future, Err(ReadError::Future { current: d }));
}

fn text(entry: &Entry) -> String {
    let value = String::from_utf8_lossy(&entry.value);
    value.split(r#""data":""#).nth(1).unwrap_or_default().trim_end_matches("\"}").to_string()
}

async fn ranges_are_limited_and_continued(s: &dyn Store) {
    for i in 0..7 {
        s.commit(Commit::create(put(&format!("/r/{i}"), "1"), meta())).await.expect("create");
    }
    let mut keys = Vec::new();
    let (mut start, mut at) = (None, At::Latest);
    loop {
        let page = s.range(RangeRequest { start, limit: 3, at, ..RangeRequest::prefix("/r/") }).await.expect("page");
        keys.extend(page.entries.iter().map(|e| e.key.to_string()));
        if page.remaining == 0 {
            break;
        }
        at = At::Revision(page.revision);
        start = page.entries.last().map(|e| format!("{}\0", e.key).into());
        let _ = s.commit(Commit::create(put("/r/5x", "1"), meta())).await; // must not appear in the pages
    }
    assert_eq!(keys, (0..7).map(|i| format!("/r/{i}")).collect::<Vec<_>>());
}

async fn watches_are_ordered_and_resumable(s: &dyn Store) {
    let start = s.revision();
    let mut early = s.watch("/r/", start).expect("watch");
    let mut revisions = Vec::new();
    for i in 0..5 {
        revisions.push(s.commit(Commit::create(put(&format!("/r/{i}"), "1"), meta())).await.expect("create").revision);
        s.commit(Commit::create(put(&format!("/q/{i}"), "1"), meta())).await.expect("create");
    }
    assert_eq!(collect(&mut early, s.revision()).await, revisions);
    let mut late = s.watch("/r/", revisions[2]).expect("watch");
    assert_eq!(collect(&mut late, s.revision()).await, revisions[3..]);
}

async fn collect(watch: &mut Watch, upto: Revision) -> Vec<Revision> {
    let mut seen = Vec::new();
    loop {
        match watch.next().await.expect("item") {
            WatchItem::Changes(batch) => {
                seen.push(batch.revision);
                if batch.revision == upto {
                    return seen;
                }
            }
            WatchItem::Progress(at) if at >= upto => return seen,
            WatchItem::Progress(_) => {}
        }
    }
}

async fn compaction_ends_old_reads(s: &dyn Store) {
    let a = s.commit(Commit::create(put("/r/a", "1"), meta())).await.expect("a").revision;
    let b = s.commit(Commit::update(put("/r/a", "2"), a, meta())).await.expect("b").revision;
    let c = s.commit(Commit::update(put("/r/a", "3"), b, meta())).await.expect("c").revision;
    let mut slow = s.watch("/r/", a).expect("watch");
    assert_eq!(s.compact(b).await, Ok(b));
    assert_eq!(s.get("/r/a", At::Revision(a)).await, Err(ReadError::Compacted { oldest: b }));
    assert_eq!(text(&s.get("/r/a", At::Revision(b)).await.expect("get").0.expect("a")), "2");
    assert_eq!(slow.next().await, Err(ReadError::Compacted { oldest: b }));
    assert!(s.watch("/r/", a).is_err());
    assert_eq!(collect(&mut s.watch("/r/", b).expect("watch"), c).await, [c]);
}

async fn expiry_is_a_logged_delete(s: &dyn Store) {
    let soon = WallTime::from_unix(2_000, 0);
    let later = WallTime::from_unix(3_000, 0);
    s.commit(Commit::create(put("/e/a", "1").expires_at(soon), meta()).cheap()).await.expect("a");
    let b = s.commit(Commit::create(put("/e/b", "1").expires_at(later), meta()).cheap()).await.expect("b").revision;
    assert_eq!(s.expire(WallTime::from_unix(1_999, 0)).await, Ok(Some(soon)));
    let mut watch = s.watch("/e/", b).expect("watch");
    assert_eq!(s.expire(soon).await, Ok(Some(later)));
    let WatchItem::Changes(batch) = watch.next().await.expect("item") else { panic!("no change") };
    assert_eq!((batch.records[0].change, &*batch.records[0].entry.key), (Changed::Deleted, "/e/a"));
    assert_eq!(batch.records[0].entry.meta.wall, soon);
}

/// A random walk over an engine and the model side by side.
pub struct Walk {
    /// Its choices.
    pub rng: Rng,
    /// The oracle.
    pub model: Model,
    made: u64,
}

impl Walk {
    /// A walk that follows from `seed`.
    pub fn new(seed: u64) -> Walk {
        Walk { rng: Rng::from_seed(seed), model: Model::default(), made: 0 }
    }

    /// A random commit.
    pub fn commit(&mut self) -> Commit {
        self.made += 1;
        let meta = Meta { request_id: self.made.to_string(), ..meta() };
        let mut commit = Commit { meta, ..Commit::default() };
        if self.rng.chance(40) {
            commit.durability = Durability::Cheap;
        }
        let count = if self.rng.chance(80) { 1 } else { 1 + self.rng.below(3) };
        let now = self.model.at(self.model.tip());
        for _ in 0..count {
            let key: Key = format!("/r{}/{}", self.rng.below(2), self.rng.below(8)).into();
            if commit.changes.iter().any(|c| *c.key() == key) {
                continue;
            }
            let current = now.get(&key).map(|e| e.revision);
            let state = match (self.rng.below(5), current) {
                (0, _) => None,
                (1, _) => Some(Expected::Absent),
                (2, _) => Some(Expected::Present),
                (_, Some(revision)) => Some(Expected::Revision(revision)),
                (_, None) => Some(Expected::Absent),
            };
            commit.expect.extend(state.map(|state| Expectation { key: key.clone(), state }));
            let change = if self.rng.chance(25) {
                Change::delete(key)
            } else {
                let long = if self.rng.chance(10) { 3_000 } else { 20 };
                let text = format!("{}{}", self.rng.u64(), "x".repeat(self.rng.below(long) as usize));
                put(&key, &text)
            };
            commit.changes.push(if self.rng.chance(20) { change.sealed() } else { change });
        }
        commit
    }

    /// Random commits and reads, one after the other; every answer is compared.
    pub async fn steps(&mut self, store: &dyn Store, count: usize) {
        for _ in 0..count {
            let commit = self.commit();
            self.one(store, commit).await;
            if self.rng.chance(3) {
                let to = Revision(self.rng.below(self.model.tip().0 + 1));
                if self.model.readable(to) == Readable::Yes {
                    let done = store.compact(to).await;
                    assert!(done.is_ok() || store.status().compacted > to, "{done:?}");
                    // An engine may keep more than it must; the model forgets what may be forgotten.
                    self.model.compact(store.status().compacted);
                }
            }
            if self.rng.chance(20) {
                self.read(store).await;
            }
        }
    }

    /// One commit on both sides.
    pub async fn one(&mut self, store: &dyn Store, commit: Commit) {
        let got = store.commit(commit.clone()).await;
        let revision = got.as_ref().map_or(Revision(0), |c| c.revision);
        if let Err(error @ (CommitError::Unavailable(_) | CommitError::Full(_))) = &got {
            panic!("{error}");
        }
        match (got, self.model.commit(&commit, revision)) {
            (Ok(got), Ok(wanted)) => assert_eq!(got.records, wanted),
            (Err(CommitError::Conflict { key, current }), Err(wanted)) => {
                assert_eq!(key, wanted);
                assert_eq!(current.as_ref(), self.model.at(self.model.tip()).get(&key));
            }
            (got, wanted) => panic!("the store says {got:?}, the model {wanted:?}"),
        }
    }

    async fn read(&mut self, store: &dyn Store) {
        let at = Revision(self.rng.below(self.model.tip().0 + 2));
        let request =
            RangeRequest { at: At::Revision(at), ..RangeRequest::prefix(format!("/r{}/", self.rng.below(2))) };
        let got = store.range(request.clone()).await;
        self.model.compact(store.status().compacted);
        match (self.model.readable(at), got) {
            (Readable::Yes | Readable::Compacted, Ok(range)) => {
                assert_eq!(range.entries, self.model.range(&request.prefix, at), "at {at}")
            }
            (Readable::Compacted | Readable::Lost, Err(ReadError::Compacted { .. }))
            | (Readable::Future, Err(ReadError::Future { .. })) => {}
            (wanted, got) => panic!("at {at}: the model says {wanted:?}, the store {got:?}"),
        }
    }

    /// Brings the model to what a restarted store has: of the commits whose answer nobody got, those that happened; of the
    /// others, what the store may lose. Panics if it lost or invented anything else.
    pub async fn recover(&mut self, store: &dyn Store, unanswered: &[Commit]) {
        let (from, batches) = history(store, "").await;
        let last = batches.last().map_or(self.model.last_commit().min(from), |b| b.revision);
        let known = self.model.tip();
        for batch in batches.into_iter().filter(|b| b.revision > known) {
            let id = &batch.records[0].entry.meta.request_id;
            let commit = unanswered.iter().find(|c| c.meta.request_id == *id).expect("a commit that was asked for");
            let records = self.model.commit(commit, batch.revision).expect("a commit that may happen");
            assert_eq!(batch.records, records);
        }
        self.model.restart(last, store.revision(), |_| true);
        self.model.compact(store.status().compacted);
    }

    /// Compares everything that can be read, and a watch over all history.
    pub async fn compare(&mut self, store: &dyn Store) {
        let tip = store.revision();
        assert_eq!(tip, self.model.tip());
        for at in 0..=tip.0 {
            if self.model.readable(Revision(at)) != Readable::Yes {
                continue;
            }
            let request = RangeRequest { at: At::Revision(Revision(at)), ..RangeRequest::prefix("/") };
            let range = match store.range(request).await {
                Ok(range) => range,
                Err(ReadError::Compacted { .. }) if store.status().compacted > Revision(at) => continue,
                Err(error) => panic!("at {at}: {error}"),
            };
            assert_eq!(range.entries, self.model.range("/", Revision(at)), "at {at}");
        }
        let (from, got) = history(store, "/r1/").await;
        assert_eq!(got, self.model.events("/r1/", from, tip));
    }
}

/// Every change under `prefix` that a watch can still tell, and after which revision they begin.
async fn history(store: &dyn Store, prefix: &str) -> (Revision, Vec<Batch>) {
    let tip = store.revision();
    'again: loop {
        let from = store.status().compacted;
        let (mut seen, mut got) = (from, Vec::new());
        let mut watch = store.watch(prefix, from).expect("watch from the oldest revision");
        while seen < tip {
            match watch.next().await {
                Ok(WatchItem::Progress(at)) => seen = at,
                Ok(WatchItem::Changes(batch)) => {
                    seen = batch.revision;
                    got.push(batch);
                }
                // Reclaimed in the middle.
                Err(ReadError::Compacted { .. }) if store.status().compacted > from => continue 'again,
                Err(error) => panic!("a watch after {from}, at {seen}: {error}"),
            }
        }
        return (from, got);
    }
}
