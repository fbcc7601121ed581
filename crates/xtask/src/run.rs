//! Running programs, waiting for conditions.

use crate::codegen::root;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Cargo as a user's shell would start it. Without what `cargo run` tells *this* program about itself: build scripts
/// (ring's) look at those names, and would build half the tree again in turns with a `cargo build` typed by hand.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy();
        if ours.starts_with("CARGO_PKG_") || ours.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end; its failure is an error.
pub fn command(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("start {command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

/// Runs a command and gives what it printed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|e| format!("start {command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(text)
    } else {
        Err(format!("{command:?} failed ({}):\n{text}{}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// Builds the binary and gives its path.
pub fn corten() -> Result<PathBuf, String> {
    if let Ok(path) = std::env::var("CORTEN_BIN") {
        return Ok(path.into());
    }
    built(&["--package", "corten"])
}

/// Builds something and gives the path of its executable.
pub fn built(what: &[&str]) -> Result<PathBuf, String> {
    executables(what)?.pop().ok_or_else(|| "cargo built no executable".into())
}

/// Builds something and gives the paths of all its executables.
pub fn executables(what: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut build = cargo(&["build", "--message-format=json-render-diagnostics"]);
    let text = output(build.args(what).stderr(Stdio::inherit()))?;
    let found = text
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|v| v["executable"].as_str().map(PathBuf::from));
    Ok(found.collect())
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    listener.and_then(|l| l.local_addr()).map(|a| a.port()).map_err(|e| format!("find a free port: {e}"))
}

/// A directory for this run's files.
pub fn scratch(name: &str) -> Result<PathBuf, String> {
    let dir = std::env::temp_dir().join(format!("corten-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| format!("make {}: {e}", dir.display()))?;
    Ok(dir)
}

/// Waits until a condition holds; `what` names it when it does not in time.
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("waited {} s in vain until {what}", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A child that is ended with the value.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
