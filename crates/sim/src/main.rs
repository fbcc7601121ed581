//! `sim --seeds N [--seed X] [--loud]`: plays seeds, each twice, and says which went wrong. `sim --checks`: what is checked.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A fifth of the simulation's time went into glibc's allocator; the product keeps glibc's (docs/decisions/0004-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Starts the program again with an allocator that keeps what it has: seeds make and drop whole clusters, and a sixth of the
/// time went into fresh pages. mimalloc reads its options before `main`, from the environment only.
fn keep_memory() {
    const OPTIONS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "-1"), ("MIMALLOC_ALLOW_THP", "0")];
    if OPTIONS.iter().all(|(name, _)| std::env::var_os(name).is_none()) {
        let mut again = std::process::Command::new("/proc/self/exe");
        let failed = again.args(std::env::args_os().skip(1)).envs(OPTIONS).exec();
        eprintln!("the allocator stays as it is: start /proc/self/exe again: {failed}");
    }
}

struct Arguments {
    first: u64,
    count: u64,
    loud: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut out = Arguments { first: 0, count: 1, loud: false };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|v| v.parse().ok()).ok_or_else(|| format!("{name} needs a number"));
        match name.as_str() {
            "--seeds" => out.count = number()?,
            "--seed" => out.first = number()?,
            "--loud" => out.loud = true,
            "--checks" => {
                sim::NAMES.iter().for_each(|name| println!("{name}"));
                println!("everything converges");
                out.count = 0;
            }
            other => {
                return Err(format!("unknown argument {other}; usage: sim [--seeds N] [--seed X] [--loud] [--checks]"));
            }
        }
    }
    Ok(out)
}

fn main() -> ExitCode {
    keep_memory();
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.loud {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .without_time()
            .init();
    }
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first + arguments.count;
    let bad = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(arguments.count as usize);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let first = sim::run(seed, arguments.loud);
                    let again = sim::run(seed, false);
                    let mut failures = first.failures.clone();
                    if first.hash != again.hash {
                        failures.push(format!("the same seed gives two traces: {:?} and {:?}", first.hash, again.hash));
                    }
                    if !failures.is_empty() {
                        println!(
                            "seed {seed}: {} virtual seconds, trace {:016x}\n  {}",
                            first.seconds,
                            first.hash.0,
                            failures.join("\n  ")
                        );
                        if let Ok(mut bad) = bad.lock() {
                            bad.push(seed);
                        }
                    }
                }
            });
        }
    });
    let mut bad = bad.into_inner().unwrap_or_default();
    bad.sort_unstable();
    println!(
        "{} seeds, {} failed{}",
        arguments.count,
        bad.len(),
        if bad.is_empty() { String::new() } else { format!(": {bad:?}") }
    );
    if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
