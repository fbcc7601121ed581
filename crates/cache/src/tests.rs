//! Ordered, unique, complete; selective subscribers; falling behind.
use super::*;

fn object(name: &str, node: &str, revision: u64) -> Arc<Object> {
    let text = format!("{{\"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"{revision}\"}}}}");
    let rv_at = text.find(&format!("{revision}\"}}")).map(|n| n as u32);
    let index = Index { namespace: "d".into(), name: name.into(), fields: vec![node.into()], ..Index::default() };
    Arc::new(Object { key: format!("/registry/pods/d/{name}").into(), bytes: text.into(), rv_at, revision, index })
}

fn put(cache: &Cache, name: &str, node: &str, revision: u64) {
    cache.apply(Change { object: object(name, node, revision), deleted: false });
}

fn drain(s: &mut Subscription) -> Vec<(EventKind, u64)> {
    std::iter::from_fn(|| s.try_next().ok().flatten().map(|e| (e.kind, e.revision))).collect()
}

#[test]
fn every_subscriber_sees_every_event_once() {
    let cache = Arc::new(Cache::new(Vec::new(), 5, Some(0), Limits::default()));
    put(&cache, "a", "n1", 6);
    let mut all = cache.subscribe(5, Interest::All).expect("in history");
    let mut one = cache.subscribe(5, Interest::Field("n2".into())).expect("in history");
    put(&cache, "b", "n2", 7);
    cache.apply(Change { object: object("a", "n1", 8), deleted: true });
    put(&cache, "b", "n2", 9);
    use EventKind::*;
    assert_eq!(drain(&mut all), [(Added, 6), (Added, 7), (Deleted, 8), (Modified, 9)]);
    // The backlog is unfiltered (readers filter), later events are found by index.
    assert_eq!(drain(&mut one), [(Added, 6), (Added, 7), (Modified, 9)]);
}

#[test]
fn who_is_too_late_is_told() {
    let cache = Arc::new(Cache::new(Vec::new(), 0, None, Limits { events_max: 2, bytes_max: 1 << 20 }));
    let mut slow = cache.subscribe(0, Interest::All).expect("in history");
    for r in 1..=4 {
        put(&cache, "a", "", r);
    }
    assert_eq!(slow.try_next().err(), Some(Behind { oldest: 2 }));
    assert_eq!(cache.subscribe(1, Interest::All).err(), Some(Behind { oldest: 2 }));
    assert!(cache.subscribe(2, Interest::All).is_ok());
}

#[test]
fn a_revision_can_be_replaced_in_the_text() {
    let o = object("a", "", 9).at_revision(1234);
    assert_eq!(&o.bytes[..], br#"{"metadata":{"name":"a","resourceVersion":"1234"}}"#);
}
