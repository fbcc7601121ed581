//! What the design says of served bytes, watches, revisions, durability and local subscriptions, seen through the server.

use apiserver::core::negotiate::{Form, Media, View};
use apiserver::http::local::Local;
use apiserver::registry::read::ListOptions;
use apiserver::registry::stored;
use apiserver::registry::watch::{Next, Watching};
use apiserver::{Registry, Server, ServerConfig, Settings, Signer, User};
use client::{
    At, Client, DeleteOptions, EventKind, Informer, ListRequest, PatchKind, Resource, Selection, WatchRequest,
    resources,
};
use futures_util::StreamExt;
use platform::disk::{DiskFaults, SimDisk};
use platform::time::{Duration, sleep, timeout};
use platform::{Env, WallTime};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Change, Commit, Memory, Meta, Store};

fn env() -> Env {
    Env::simulated("server", 1, WallTime::from_unix(1_800_000_000, 0))
}

fn settings() -> Settings {
    Settings {
        issuer: "https://kubernetes.default.svc".into(),
        service_cidr: ([10, 96, 0, 0].into(), 16),
        node_ports: (30000, 32767),
        advertise: ([10, 0, 0, 1].into(), 6443),
        node_restriction: true,
        service_account_admission: false,
        event_ttl_seconds: 3600,
    }
}

async fn start(env: &Env, store: Arc<dyn Store>) -> Arc<Server> {
    let signer = Signer::from_pkcs8(&Signer::generate().expect("a key")).expect("a signer");
    let registry = Registry::start(env.clone(), store, settings(), signer).await.expect("a registry");
    apiserver::bootstrap::run(&registry).await.expect("bootstrap");
    Server::new(registry, ServerConfig::default())
}

fn door(server: &Arc<Server>, name: &str, group: &str) -> Client {
    let groups = vec![group.to_string(), "system:authenticated".into()];
    let user = User { name: name.into(), groups, ..User::default() };
    Client::new(Arc::new(Local::new(server.clone(), user)), "test")
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

fn revision(bytes: &[u8]) -> u64 {
    let object: client::Partial = client::decode(bytes).expect("an object");
    object.metadata.revision()
}

async fn make(client: &Client, resource: &Resource, object: Value) -> u64 {
    revision(&client.create(resource, "default", object).await.expect("create"))
}

#[tokio::test(start_paused = true)]
async fn a_local_subscription_ends_when_its_permission_does() {
    let server = start(&env(), Memory::new()).await;
    let (admin, guest) = (door(&server, "admin", "system:masters"), door(&server, "guest", "guests"));
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
    make(&admin, &resources::ROLES, json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "guest"});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"});
    let request = |after| WatchRequest {
        resource: resources::CONFIGMAPS,
        namespace: Some("default".into()),
        after,
        ..WatchRequest::default()
    };
    let refusal = guest.watch(request(1)).await.err().expect("no permission yet");
    assert!(matches!(&refusal, client::Error::Status(s) if s.code == 403), "{refusal}");
    let binding = json!({"metadata": {"name": "b"}, "subjects": [subject], "roleRef": role});
    let now = make(&admin, &resources::ROLEBINDINGS, binding).await;
    let mut watch = guest.watch(request(now)).await.expect("allowed");
    make(&admin, &resources::CONFIGMAPS, map("a")).await;
    assert_eq!(watch.next().await.expect("an event").expect("good").kind, EventKind::Added);
    let at = At { resource: &resources::ROLEBINDINGS, namespace: "default", name: "b" };
    admin.delete(at, &DeleteOptions::default()).await.expect("delete");
    make(&admin, &resources::CONFIGMAPS, map("b")).await;
    let last = watch.next().await.expect("an event").expect("good");
    assert_eq!(last.kind, EventKind::Error);
    let status: Value = serde_json::from_slice(&last.object).expect("a Status");
    assert_eq!(status["code"], 403);
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn records_of_another_type_table_are_read_anew() {
    let store = Memory::new();
    let pods = kinds::by_path("", "v1", "pods").expect("pods");
    let old = r#"{"kind":"Pod","apiVersion":"v1","gone":{"a":1},"metadata":{"resourceVersion":"","namespace":"default","name":"old"},"spec":{"containers":[{"name":"c","image":"i","wasOnce":true}]}}"#;
    let place = old.find("\"\"").map(|at| at as u32 + 1);
    let put = |name: &str, text: String, at| Change::put(format!("/registry/pods/default/{name}"), text, at);
    store.commit(Commit::create(put("old", old.into(), place), Meta::default())).await.expect("put");
    let new = r#"{"metadata":{"name":"new","namespace":"default","resourceVersion":""},"spec":{"containers":null}}"#;
    let place = new.find("\"\"").map(|at| at as u32 + 1);
    let meta = Meta { schema: stored::generation(pods), ..Meta::default() };
    let kept = store.commit(Commit::create(put("new", new.into(), place), meta)).await.expect("put");
    let server = start(&env(), store).await;
    let client = door(&server, "admin", "system:masters");
    static PODS: Resource = resources::PODS;
    let at = |name| At { resource: &PODS, namespace: "default", name };
    let read: Value = client.get(at("old")).await.expect("get");
    assert_eq!(read["gone"], Value::Null, "pruned");
    assert_eq!(read["spec"]["containers"][0]["wasOnce"], Value::Null, "pruned");
    assert_eq!(read["spec"]["restartPolicy"], "Always", "defaulted");
    assert_eq!(read["metadata"]["resourceVersion"], "1", "at its revision");
    let served = server.registry.get(pods, "default", "new", "0").await.expect("get");
    assert_eq!(served.as_ptr(), kept.records[0].entry.value.as_ptr(), "the store's own bytes");
    // What is written again is of this generation.
    client
        .patch(at("old"), None, &PatchKind::Merge, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect("patch");
    let (entry, _) = server.registry.store.get("/registry/pods/default/old", store::At::Latest).await.expect("get");
    assert_eq!(entry.expect("there").meta.schema, stored::generation(pods));
}

async fn next(watch: &mut Watching) -> apiserver::registry::watch::Seen {
    match watch.next().await {
        Next::Event(seen) => seen,
        _ => panic!("no event"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_made_once_for_all_watchers() {
    let server = start(&env(), Memory::new()).await;
    let client = door(&server, "admin", "system:masters");
    let maps = kinds::by_path("", "v1", "configmaps").expect("configmaps");
    let options = || ListOptions { resource_version: server.registry.revision().to_string(), ..ListOptions::default() };
    let mut all = server.registry.watch(maps, "", options()).await.expect("watch");
    let mut one = server.registry.watch(maps, "default", options()).await.expect("watch");
    make(&client, &resources::CONFIGMAPS, map("a")).await;
    let (a, b) = (next(&mut all).await, next(&mut one).await);
    for media in [Media::Json, Media::Protobuf] {
        let form = Form { media, pretty: false, view: View::Full };
        let frames = (all.frame(&a, form, true), one.frame(&b, form, true));
        assert_eq!(frames.0.as_ptr(), frames.1.as_ptr(), "{media:?}: the same bytes, not equal ones");
    }
}

/// A server whose disk loses what was not synced, and then works again.
#[tokio::test(start_paused = true)]
async fn a_revision_that_was_lost_answers_410() {
    let env = env();
    let disk = SimDisk::new("d", 1, DiskFaults::default());
    let log = store::log::open(&env, Arc::new(disk.clone()), None, store::log::Limits::default()).await.expect("open");
    let server = start(&env, log.clone()).await;
    let client = door(&server, "admin", "system:masters");
    let before = make(&client, &resources::CONFIGMAPS, map("a")).await;
    let involved = json!({"kind": "ConfigMap", "name": "a", "namespace": "default"});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R"});
    let seen = make(&client, &resources::EVENTS, event).await;
    assert!(seen > before);
    disk.set_faults(DiskFaults { sync_fails_percent: 100, ..DiskFaults::default() });
    assert!(client.create(&resources::CONFIGMAPS, "default", map("b")).await.is_err());
    disk.set_faults(DiskFaults::default());
    let mended = async {
        while log.status().trouble.is_some() {
            sleep(Duration::from_millis(50)).await; // virtual
        }
    };
    timeout(Duration::from_secs(60), mended).await.expect("the store takes writes again");
    let after = make(&client, &resources::CONFIGMAPS, map("c")).await;
    assert!(after > seen, "never given out again");
    let request = |after| WatchRequest {
        resource: resources::CONFIGMAPS,
        namespace: Some("default".into()),
        after,
        ..WatchRequest::default()
    };
    assert!(client.watch(request(seen)).await.err().expect("lost").is_expired());
    let exact =
        ListOptions { resource_version: seen.to_string(), version_match: "Exact".into(), ..ListOptions::default() };
    let maps = kinds::by_path("", "v1", "configmaps").expect("configmaps");
    assert_eq!(server.registry.page(maps, "default", &exact).await.err().expect("lost").code, 410);
    let page = client.list(ListRequest::all(resources::EVENTS)).await.expect("list");
    assert!(page.items.iter().all(|e| revision(e) != seen), "the event is lost");
}

/// The copy that an informer keeps goes back with the server: what the list shows is older than what a watch told.
#[tokio::test(start_paused = true)]
async fn a_copy_follows_a_server_that_lost_its_last_writes() {
    let env = env();
    let disk = SimDisk::new("d", 1, DiskFaults::default());
    let log = store::log::open(&env, Arc::new(disk.clone()), None, store::log::Limits::default()).await.expect("open");
    let server = start(&env, log.clone()).await;
    let client = door(&server, "admin", "system:masters");
    let involved = json!({"kind": "ConfigMap", "name": "a", "namespace": "default"});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R"});
    let first = make(&client, &resources::EVENTS, event).await;
    make(&client, &resources::CONFIGMAPS, map("a")).await; // what came before it is synced with it
    let copy: Informer<client::Partial> = Informer::start(&env, &client, Selection::all(&resources::EVENTS));
    let at = At { resource: &resources::EVENTS, namespace: "default", name: "e" };
    let second = client.patch(at, None, &PatchKind::Merge, &json!({"count": 2})).await.expect("patch");
    let shows = |revision| {
        move |copy: &Informer<client::Partial>| {
            copy.get("default", "e").is_some_and(|e| e.metadata.revision() == revision)
        }
    };
    copy.until(shows(revision(&second))).await;
    disk.set_faults(DiskFaults { sync_fails_percent: 100, ..DiskFaults::default() });
    assert!(client.create(&resources::CONFIGMAPS, "default", map("b")).await.is_err());
    disk.set_faults(DiskFaults::default());
    timeout(Duration::from_secs(60), copy.until(shows(first))).await.expect("it goes back");
}

#[tokio::test(start_paused = true)]
async fn only_events_and_renewals_of_node_leases_are_answered_before_the_sync() {
    let env = env();
    let disk = SimDisk::new("d", 1, DiskFaults::default());
    let log = store::log::open(&env, Arc::new(disk.clone()), None, store::log::Limits::default()).await.expect("open");
    let server = start(&env, log).await;
    let client = door(&server, "admin", "system:masters");
    let space = json!({"metadata": {"name": "kube-node-lease"}});
    drop(client.create(&resources::NAMESPACES, "", space).await); // or bootstrap has made it
    let spec = |holder: &str, time: u64| {
        let renewed = format!("2027-01-15T08:00:{time:02}.000000Z");
        json!({"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": renewed})
    };
    for space in ["kube-node-lease", "default"] {
        let lease = json!({"metadata": {"name": "n"}, "spec": spec("a", 0)});
        client.create(&resources::LEASES, space, lease).await.expect("lease");
    }
    let renew = async |space: &str, holder: &str, time: u64| {
        let at = At { resource: &resources::LEASES, namespace: space, name: "n" };
        // What is durable takes along what is cheap and came before it.
        make(&client, &resources::CONFIGMAPS, map(&format!("{space}-{time}"))).await;
        let before = disk.syncs();
        client.patch(at, None, &PatchKind::Merge, &json!({"spec": spec(holder, time)})).await.expect("renew");
        disk.syncs() - before
    };
    assert_eq!(renew("kube-node-lease", "a", 1).await, 0, "a renewal");
    assert_eq!(renew("kube-node-lease", "b", 2).await, 1, "another holder");
    assert_eq!(renew("default", "b", 3).await, 1, "a lease of something else");
    let involved = json!({"kind": "ConfigMap", "name": "a", "namespace": "default"});
    make(&client, &resources::CONFIGMAPS, map("before")).await;
    let before = disk.syncs();
    make(&client, &resources::EVENTS, json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "R"}))
        .await;
    assert_eq!(disk.syncs() - before, 0, "an event");
    make(&client, &resources::CONFIGMAPS, map("a")).await;
    assert_eq!(disk.syncs() - before, 1, "everything else");
}

#[tokio::test(start_paused = true)]
async fn an_answered_write_is_in_the_caches() {
    let server = start(&env(), Memory::new()).await;
    let client = door(&server, "admin", "system:masters");
    let maps = kinds::by_path("", "v1", "configmaps").expect("configmaps");
    for i in 0..20 {
        let name = format!("a{i}");
        let revision = make(&client, &resources::CONFIGMAPS, map(&name)).await;
        let cached = server.registry.load(maps, "default", &name).map(|(_, object)| object.revision);
        assert_eq!(cached, Some(revision));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_says_who_why_and_when() {
    let server = start(&env(), Memory::new()).await;
    let client = door(&server, "admin", "system:masters");
    let made = make(&client, &resources::SECRETS, json!({"metadata": {"name": "s"}, "stringData": {"p": "w"}})).await;
    let at = At { resource: &resources::SECRETS, namespace: "default", name: "s" };
    client.patch(at, None, &PatchKind::Merge, &json!({"metadata": {"labels": {"a": "b"}}})).await.expect("patch");
    let (entry, _) = server.registry.store.get("/registry/secrets/default/s", store::At::Latest).await.expect("get");
    let meta = entry.expect("there").meta.clone();
    assert_eq!((meta.user.as_str(), meta.component.as_str()), ("admin", "test"));
    assert_eq!(meta.cause.map(|c| c.0), Some(made), "the revision whose reading led to it");
    assert!(!meta.request_id.is_empty() && meta.wall > WallTime::from_unix(1_799_999_999, 0) && meta.schema != 0);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_is_cut_off() {
    let mut limits = platform::Limits::default();
    limits.cache.events = 20;
    let server = start(&env().limited(limits), Memory::new()).await;
    let client = door(&server, "admin", "system:masters");
    let now = make(&client, &resources::CONFIGMAPS, map("a")).await;
    let request = WatchRequest { resource: resources::CONFIGMAPS, after: now, ..WatchRequest::default() };
    let mut slow = client.watch(request).await.expect("watch");
    let at = At { resource: &resources::CONFIGMAPS, namespace: "default", name: "a" };
    for i in 0..30 {
        client.patch(at, None, &PatchKind::Merge, &json!({"data": {"a": i.to_string()}})).await.expect("patch");
    }
    let first = timeout(Duration::from_secs(1), slow.next()).await.expect("at once").expect("one").expect("good");
    assert_eq!(first.kind, EventKind::Error);
    assert!(String::from_utf8_lossy(&first.object).contains("410"), "{:?}", first.object);
}
