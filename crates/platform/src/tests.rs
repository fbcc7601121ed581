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
