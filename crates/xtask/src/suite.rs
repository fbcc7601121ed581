//! Everything that CI checks, in the order in which a mistake shows soonest.

use crate::{e2e, golden, run, tidy};
use std::process::Command;
use std::time::Instant;

/// Debian packages that tests use (never the product).
const PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "etcd-server",
    "iproute2",
    "nftables",
    "openssl",
    "procps",
    "python3",
    "runc",
    "skopeo",
];

/// Runs it all.
pub fn run() -> Result<(), String> {
    let began = Instant::now();
    let steps: &[(&str, fn() -> Result<(), String>)] = &[
        ("packages", install),
        ("rules of the house", tidy::run),
        ("unit and property tests", || run::command(&mut run::cargo(&["test", "--workspace", "--quiet"]))),
        ("simulation", || {
            run::command(&mut run::cargo(&["run", "--quiet", "--package", "sim", "--", "--seeds", "200"]))
        }),
        ("tests with root", with_root),
        ("golden corpus", || golden::run(&[])),
        ("end to end", || e2e::run(&[])),
    ];
    for (name, step) in steps {
        println!("== {name} ({:.0} s)", began.elapsed().as_secs_f64());
        step().map_err(|e| format!("{name}: {e}"))?;
    }
    println!("== all passed in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Tests that make namespaces, mounts and containers, or start a real etcd.
fn with_root() -> Result<(), String> {
    let args = [
        "test",
        "--quiet",
        "--package",
        "runtime",
        "--package",
        "network",
        "--package",
        "kubelet",
        "--package",
        "etcd",
        "--test",
        "*",
    ];
    run::command(run::cargo(&args).env("CORTEN_ROOT_TESTS", "1").env("CORTEN_ETCD_TESTS", "1"))
}

/// Installs what tests need, if it is missing and we may.
fn install() -> Result<(), String> {
    let has = |p: &&&str| {
        Command::new("dpkg")
            .args(["-s", p])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let missing: Vec<&str> = PACKAGES.iter().filter(|p| !has(p)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    run::command(Command::new("apt-get").args(["update", "-q"]))?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(missing);
    run::command(Command::new("apt-get").args(args))
}
