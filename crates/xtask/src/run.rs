//! Running programs, waiting for conditions.

use crate::codegen::root;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command in the project's root; its failure is an error.
pub fn command(program: &str, args: &[&str]) -> Result<(), String> {
    let status =
        Command::new(program).args(args).current_dir(root()).status().map_err(|e| format!("start {program}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} {} failed: {status}", args.join(" "))) }
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
    let text = output(
        Command::new("cargo")
            .args(["build", "--message-format=json-render-diagnostics"])
            .args(what)
            .current_dir(root())
            .stderr(Stdio::inherit()),
    )?;
    let found = text
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|v| v["executable"].as_str().map(PathBuf::from))
        .last();
    found.ok_or_else(|| "cargo built no executable".into())
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
