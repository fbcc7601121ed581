//! Tests of the process handle.
use super::*;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn kill_ends_tasks_and_finished_tasks_are_forgotten() {
    let env = Env::simulated("p", 1, WallTime::from_unix(0, 0));
    let done = env.spawn("short", async { 7 });
    assert_eq!(done.await.ok(), Some(7));
    let long = env.spawn("long", time::sleep(Duration::from_secs(3600)));
    assert_eq!(env.tasks(), 1);
    env.kill();
    assert!(long.await.is_err_and(|e| e.is_cancelled()));
    assert_eq!(env.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn virtual_wall_time_follows_sleep_and_skew() {
    let env = Env::simulated("p", 1, WallTime::from_unix(1_000, 0));
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(env.wall().unix_seconds(), 1_005);
    env.skew(-3_000_000_000);
    assert_eq!(env.wall().unix_seconds(), 1_002);
}

#[tokio::test(start_paused = true)]
async fn components_draw_independently() {
    let a = Env::simulated("p", 9, WallTime::from_unix(0, 0));
    let b = Env::simulated("p", 9, WallTime::from_unix(0, 0));
    let _ = b.rng("other").u64();
    assert_eq!(a.rng("x").u64(), b.rng("x").u64());
}

#[tokio::test(start_paused = true)]
async fn watchers_are_woken_in_order_and_miss_nothing() {
    let (sender, mut receiver) = watch::channel(1);
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let (mut mine, order) = (receiver.clone(), order.clone());
            tokio::spawn(async move {
                mine.wait_for(|v| *v >= 3).await.expect("the value");
                order.lock().expect("lock").push(i);
            })
        })
        .collect();
    time::sleep(Duration::from_secs(1)).await;
    sender.send_replace(2);
    assert_eq!((receiver.changed().await, *receiver.borrow()), (Ok(()), 2));
    time::sleep(Duration::from_secs(1)).await;
    sender.send_modify(|v| *v += 1);
    for task in tasks {
        task.await.expect("task");
    }
    assert_eq!(*order.lock().expect("lock"), (0..20).collect::<Vec<_>>());
    drop(sender);
    assert_eq!(receiver.changed().await, Ok(()), "the last value first");
    assert_eq!(receiver.changed().await, Err(watch::Closed));
}
