//! Tests of the queue and of the events' aggregation.
use super::correlate::{Correlator, Same, Verdict};
use super::queue::Queue;
use std::time::Duration;

fn queue() -> Queue<&'static str> {
    Queue::new(Duration::from_millis(5), Duration::from_secs(300))
}

#[test]
fn news_during_a_failing_run_does_not_wait_for_the_retry() {
    let mut queue = queue();
    queue.add("a");
    queue.take(0);
    queue.add("a");
    assert!(queue.done("a", true, 0).is_some());
    assert_eq!(queue.take(0), Some("a"));
}

#[test]
fn a_key_is_in_line_once_and_runs_once() {
    let mut queue = queue();
    assert!(queue.add("a") && !queue.add("a") && queue.add("b"));
    assert_eq!(queue.take(0), Some("a"));
    queue.add("a");
    assert_eq!((queue.take(0), queue.take(0)), (Some("b"), None));
    assert_eq!(queue.done("a", false, 0), None);
    assert_eq!(queue.take(0), Some("a"), "it was added while it ran");
}

#[test]
fn failures_wait_longer_each_time() {
    let mut queue = queue();
    let (mut now, mut last) = (0, 0);
    queue.add("a");
    for _ in 0..12 {
        assert_eq!(queue.take(now), Some("a"));
        let at = queue.done("a", true, now).expect("a retry");
        assert!(at - now > last, "{at} {now}");
        (last, now) = (at - now, at);
    }
    assert_eq!(queue.failures(&"a"), 12);
    queue.take(now);
    queue.done("a", false, now);
    assert_eq!(queue.failures(&"a"), 0);
}

#[test]
fn the_earlier_time_wins() {
    let mut queue = queue();
    queue.add_at("a", 50);
    queue.add_at("a", 20);
    queue.add_at("a", 70);
    assert_eq!((queue.next_time(), queue.take(19), queue.take(20)), (Some(20), None, Some("a")));
    assert_eq!(queue.next_time(), None);
}

#[test]
fn equal_events_are_counted_and_chatter_is_cut() {
    let event = Same { uid: "u".into(), kind: "Normal".into(), reason: "R".into(), message: "m".into() };
    let mut said = Correlator::default();
    assert_eq!(said.judge(&event, 0), Verdict::New);
    said.made(event.clone(), "u.1".into(), 0);
    assert_eq!(said.judge(&event, 5), Verdict::Again { name: "u.1".into(), count: 2 });
    let dropped = (0..100).filter(|_| said.judge(&event, 6) == Verdict::Drop).count();
    assert_eq!(dropped, 77);
    assert_eq!(said.judge(&event, 700), Verdict::New, "the series ended");
}
