//! Everything that CI checks, in the order in which a mistake shows soonest.

use crate::{run, tidy};
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
    let step = |name: &str, work: &dyn Fn() -> Result<(), String>| {
        println!("== {name} ({:.0} s)", began.elapsed().as_secs_f64());
        work().map_err(|e| format!("{name}: {e}"))
    };
    step("packages", &install)?;
    step("rules of the house", &tidy::run)?;
    // Everything at once: cargo would build most crates again for every selection of packages, whose features differ.
    println!("== build ({:.0} s)", began.elapsed().as_secs_f64());
    let built = run::executables(&["--workspace", "--bins", "--tests"])?;
    let named = |name: &str| {
        let found = built.iter().find(|p| p.file_name().is_some_and(|n| n == name));
        found.ok_or_else(|| format!("cargo built no {name}"))
    };
    // The build may have replaced the program that runs this.
    let (corten, sim, xtask) = (named("corten")?, named("sim")?, named("xtask")?);
    step("tests, with root and a real etcd where they ask for it", &|| {
        let mut tests = run::cargo(&["test", "--workspace", "--quiet", "--bins", "--lib", "--tests"]);
        run::command(tests.env("CORTEN_ROOT_TESTS", "1").env("CORTEN_ETCD_TESTS", "1"))
    })?;
    step("simulation", &|| run::command(Command::new(sim).args(["--seeds", "200"])))?;
    let chore = |name: &str| run::command(Command::new(xtask).arg(name).env("CORTEN_BIN", corten));
    step("golden corpus", &|| chore("golden"))?;
    step("end to end", &|| chore("e2e"))?;
    println!("== all passed in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
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
