//! The log engine under a long write load and at a restart: `cargo run --release -p store --example load -- DIR [UPDATES]`.
//!
//! Prints latency, memory and disk while it overwrites 10,000 keys, then how long a start with 100,000 small objects takes.

use platform::Env;
use platform::disk::SystemDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Change, Commit, Meta, Store};

const KEYS: u64 = 10_000;
const OBJECTS: u64 = 100_000;
const WRITERS: u64 = 16;
const BYTES: usize = 1000;

/// Resident memory in MiB.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096 >> 20
}

async fn open(env: &Env, dir: &str) -> Result<Arc<store::Log>, Box<dyn std::error::Error>> {
    Ok(store::log::open(env, Arc::new(SystemDisk::new(dir)?), None, env.limits().store).await?)
}

fn put(env: &Env, key: String) -> Commit {
    let text = format!(r#"{{"metadata":{{"resourceVersion":""}},"data":"{}"}}"#, "x".repeat(BYTES));
    let at = text.find("\"\"").map(|at| at as u32 + 1);
    Commit {
        changes: vec![Change::put(key, text, at)],
        meta: Meta { wall: env.wall(), user: "load".into(), ..Meta::default() },
        ..Commit::default()
    }
}

/// Writes `count` records from several tasks; answers latencies in microseconds.
async fn write(env: &Env, log: &Arc<store::Log>, count: u64, keys: u64) -> Vec<u64> {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (env, log, next) = (env.clone(), log.clone(), next.clone());
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return taken;
                    }
                    let start = Instant::now();
                    let done = log.commit(put(&env, format!("/registry/things/{:06}", i % keys))).await;
                    taken.push(start.elapsed().as_micros() as u64);
                    if let Err(error) = done {
                        eprintln!("{error}");
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap_or_default());
    }
    all.sort_unstable();
    all
}

fn at(sorted: &[u64], permille: usize) -> f64 {
    sorted.get(sorted.len() * permille / 1000).copied().unwrap_or(0) as f64 / 1000.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: load DIR [UPDATES]")?;
    let updates: u64 = std::env::args().nth(2).map_or(Ok(1_000_000), |n| n.parse())?;
    let env = Env::system("load");
    let log = open(&env, &format!("{dir}/long")).await?;
    let step = updates / 10;
    for turn in 1..=10 {
        let start = Instant::now();
        let taken = write(&env, &log, step, KEYS).await;
        let (status, seconds) = (log.status(), start.elapsed().as_secs_f64());
        println!(
            "{:>9} updates: {:>7.0}/s, p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.0} ms, memory {} MiB, disk {} MiB, {} changes remembered",
            turn * step,
            step as f64 / seconds,
            at(&taken, 500),
            at(&taken, 990),
            at(&taken, 999),
            at(&taken, 1000 - 1).max(taken.last().copied().unwrap_or(0) as f64 / 1000.0),
            memory(),
            status.disk_bytes >> 20,
            status.history
        );
    }
    log.close().await;
    let path = format!("{dir}/many");
    let log = open(&env, &path).await?;
    write(&env, &log, OBJECTS, OBJECTS).await;
    log.close().await;
    drop(log);
    tokio::time::sleep(Duration::from_millis(200)).await; // until its tasks have let the directory go
    for _ in 0..3 {
        let (start, before) = (Instant::now(), memory());
        let log = open(&env, &path).await?;
        let took = start.elapsed();
        let status = log.status();
        println!("start with {} objects: {took:.0?}, {} MiB more", status.keys, memory().saturating_sub(before));
        log.close().await;
        drop(log);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
