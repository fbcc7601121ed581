//! The contract suite and the comparison with the model over a real etcd, if there is one: `CORTEN_ETCD_TESTS=1` starts
//! `etcd` (Debian's etcd-server) on loopback; then its absence is a failure.

use etcd::{Access, Options, open};
use platform::Env;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{AesGcm, At, Change, Commit, Meta, RangeRequest, Store, WatchItem, suite};

struct Server {
    child: Child,
    dir: std::path::PathBuf,
    endpoint: String,
    peer: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wanted() -> bool {
    std::env::var_os("CORTEN_ETCD_TESTS").is_some()
}

fn spawn(dir: &std::path::Path, client: &str, peer: &str) -> Child {
    let args = [
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
        client,
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
    ];
    Command::new("etcd")
        .arg("--data-dir")
        .arg(dir)
        .args(args)
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd (Debian's etcd-server) must be installed for CORTEN_ETCD_TESTS")
}

fn start(name: &str) -> Server {
    let dir = std::env::temp_dir().join(format!("corten-etcd-{name}-{}", std::process::id()));
    let (endpoint, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    Server { child: spawn(&dir, &endpoint, &peer), dir, endpoint, peer }
}

impl Server {
    /// Kills it and starts it again with the same data.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.dir, &self.endpoint, &self.peer);
    }
}

static STORES: AtomicUsize = AtomicUsize::new(0);

/// A store of its own inside the server: under a root that nobody else has.
async fn store(server: &Server, root: Option<&str>) -> Arc<dyn Store> {
    let root = root.map_or_else(|| format!("/test{}", STORES.fetch_add(1, Ordering::SeqCst)), str::to_string);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let access = Access { endpoints: vec![server.endpoint.clone()], ..Access::default() };
        let seal = Arc::new(AesGcm::new(&[(1, [7; 32])]).unwrap());
        match open(&Env::system("test"), Options { access, root: root.clone(), prefix: "/".into(), seal }).await {
            Ok(store) => return store,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    if !wanted() {
        return;
    }
    let server = start("contract");
    suite::contract(&|| Box::pin(store(&server, None))).await;
}

#[tokio::test]
async fn equals_the_model() {
    if !wanted() {
        return;
    }
    let server = start("model");
    for seed in 0..6 {
        let store = store(&server, None).await;
        let mut walk = suite::Walk::new(seed);
        walk.steps(&*store, 120).await;
        walk.compare(&*store).await;
    }
}

fn object(text: &str) -> Change {
    let (value, at) = suite::object(text);
    Change::put("/r/a", value, Some(at))
}

#[tokio::test]
async fn two_servers_share_one_etcd_and_a_restart_finds_everything() {
    if !wanted() {
        return;
    }
    let server = start("shared");
    let (a, b) = (store(&server, Some("/x")).await, store(&server, Some("/x")).await);
    let mut watch = b.watch("/r/", b.revision()).unwrap();
    let made =
        a.commit(Commit::create(object("1").sealed(), Meta { user: "u".into(), ..Meta::default() })).await.unwrap();
    let WatchItem::Changes(batch) = watch.next().await.unwrap() else { panic!("no change") };
    assert_eq!(batch.records, made.records, "the other server sees the same");
    let (seen, _) = b.get("/r/a", At::Latest).await.unwrap();
    assert_eq!(seen.unwrap(), made.records[0].entry);
    assert!(a.commit(Commit::create(object("2"), Meta::default())).await.is_err());
    let again = store(&server, Some("/x")).await;
    let range = again.range(RangeRequest::prefix("/")).await.unwrap();
    assert_eq!(range.entries, [made.records[0].entry.clone()], "value, revisions and who wrote it survive");
}

#[tokio::test]
async fn a_killed_etcd_loses_no_change_and_makes_none_twice() {
    if !wanted() {
        return;
    }
    let mut server = start("killed");
    let store = store(&server, None).await;
    let mut watch = store.watch("/r/", store.revision()).unwrap();
    let mut made = Vec::new();
    let mut unknown = 0;
    for i in 0..200 {
        if i % 50 == 25 {
            server.restart();
        }
        let (value, at) = suite::object(&i.to_string());
        // Refused while it is down; an answer that was lost is found out, or told as unknown.
        match store.commit(Commit::create(Change::put(format!("/r/{i}"), value, Some(at)), Meta::default())).await {
            Ok(done) => made.push(done.revision),
            Err(store::CommitError::Unavailable(_)) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(made.len() > 100, "{} made, {unknown} unknown", made.len());
    let mut seen = Vec::new();
    while seen.last() < made.last() {
        if let WatchItem::Changes(batch) = watch.next().await.unwrap() {
            assert_eq!(batch.records.len(), 1);
            seen.push(batch.revision);
        }
    }
    assert!(seen.is_sorted() && made.iter().all(|r| seen.contains(r)), "every answered write was seen, in order");
}
