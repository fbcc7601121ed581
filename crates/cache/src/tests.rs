//! Ordered, unique, complete; selective subscribers; falling behind.
use super::*;

fn object(name: &str, node: &str, revision: u64) -> Arc<Object> {
    let text = format!("{{\"metadata\":{{\"name\":\"{name}\",\"resourceVersion\":\"{revision}\"}}}}");
    let rv_at = text.find(&format!("{revision}\"}}")).map(|n| n as u32);
    let index = Index { namespace: "d".into(), name: name.into(), fields: vec![node.into()], ..Index::default() };
    Arc::new(Object::new(format!("/registry/pods/d/{name}").into(), text.into(), rv_at, revision, index))
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
    // What concerns it is found by index, in the backlog and later.
    assert_eq!(drain(&mut one), [(Added, 7), (Modified, 9)]);
}

#[test]
fn who_is_too_late_is_told() {
    let cache = Arc::new(Cache::new(Vec::new(), 0, None, Limits { events: 2, ..Limits::default() }));
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
    assert_eq!(&o.text()[..], br#"{"metadata":{"name":"a","resourceVersion":"1234"}}"#);
}

#[test]
fn a_slow_selective_subscriber_holds_nothing_and_is_cut_off() {
    let limits = Limits { events: 3, unread: 5, ..Limits::default() };
    let cache = Arc::new(Cache::new(Vec::new(), 0, Some(0), limits));
    let mut behind = cache.subscribe(0, Interest::Field("n1".into())).expect("in history");
    let mut full = cache.subscribe(0, Interest::Namespace("d".into())).expect("in history");
    let first = object("a", "n1", 1);
    let weak = Arc::downgrade(&first);
    cache.apply(Change { object: first, deleted: false });
    (2..=3).for_each(|r| put(&cache, "a", "n1", r));
    (4..=8).for_each(|r| put(&cache, "b", "n2", r));
    assert_eq!(weak.strong_count(), 0, "an unread event keeps no object alive beyond the history");
    assert_eq!(behind.try_next().err(), Some(Behind { oldest: 5 }), "its events left the history");
    assert_eq!(full.try_next().err(), Some(Behind { oldest: 5 }), "it has left too many unread");
}

#[test]
fn an_object_that_moves_concerns_both_nodes() {
    let cache = Arc::new(Cache::new(Vec::new(), 0, Some(0), Limits::default()));
    let mut subscribers =
        ["n1", "n2", "n3"].map(|node| cache.subscribe(0, Interest::Field(node.into())).expect("in history"));
    put(&cache, "a", "n1", 1);
    put(&cache, "a", "n2", 2);
    let seen = subscribers.each_mut().map(|s| drain(s).iter().map(|(_, r)| *r).collect::<Vec<_>>());
    assert_eq!(seen, [vec![1, 2], vec![2], vec![]]);
}

#[test]
fn forms_are_made_once_and_kept_under_a_budget() {
    let forms = Forms::new(1000);
    let made = std::cell::Cell::new(0);
    let slots: Vec<Slot> = (0..20).map(|_| Slot::default()).collect();
    let get = |slot: &Slot, id: u64| {
        forms.get(slot, id, || {
            made.set(made.get() + 1);
            Bytes::from(vec![0; 100])
        })
    };
    get(&slots[0], 1);
    get(&slots[0], 1);
    get(&slots[0], 2);
    assert_eq!(made.get(), 2, "once for each form");
    for slot in &slots {
        get(slot, 1);
        assert!(forms.bytes() <= 1000, "{}", forms.bytes());
    }
    made.set(0);
    get(&slots[19], 1);
    assert_eq!(made.get(), 0, "the newest is kept");
    get(&slots[0], 1);
    assert_eq!(made.get(), 1, "the oldest went");
}
