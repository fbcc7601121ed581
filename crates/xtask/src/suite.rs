//! Everything that CI checks, in the order in which a mistake shows soonest.

use crate::{e2e, golden, run, tidy};

/// Debian packages that tests use (never the product).
const PACKAGES: &[&str] = &["busybox-static", "python3", "ca-certificates", "iproute2", "nftables"];

/// Runs it all.
pub fn run() -> Result<(), String> {
    install()?;
    tidy::run()?;
    run::command("cargo", &["test", "--workspace", "--quiet"])?;
    if crate::codegen::root().join("crates/sim").is_dir() {
        run::command("cargo", &["run", "--quiet", "--package", "sim", "--", "--seeds", "200"])?;
    }
    golden::run(&[])?;
    e2e::run(&[])
}

/// Installs what tests need, if it is missing and we may.
fn install() -> Result<(), String> {
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|p| {
        !std::process::Command::new("dpkg").args(["-s", p]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
    }).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run::command("apt-get", &["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(missing);
    run::command("apt-get", &args)
}
