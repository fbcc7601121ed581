//! The golden corpus against our API server. What passed once must pass: `golden/passing.txt` may only grow.

use crate::codegen::root;
use crate::run::{self, Guard};
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Replays and compares.
pub fn run(args: &[String]) -> Result<(), String> {
    let update = args.iter().any(|a| a == "--update");
    let rest: Vec<&String> = args.iter().filter(|a| *a != "--update").collect();
    let binary = run::corten()?;
    let dir = run::scratch("golden")?;
    let port = run::free_port()?;
    let log = std::fs::File::create(dir.join("log")).map_err(|e| e.to_string())?;
    let server = Command::new(&binary)
        .arg("apiserver")
        .args([
            format!("--data-dir={}", dir.join("data").display()),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
        ])
        .arg(format!("--token-auth-file={}", root().join("golden/tokens.csv").display()))
        .args(["--enable-admission-plugins=NodeRestriction", "--service-cluster-ip-range=10.0.0.0/24"])
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| format!("start {}: {e}", binary.display()))?;
    let _server = Guard(server);
    run::until("the API server listens", Duration::from_secs(30), || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let results = dir.join("results.json");
    let status = Command::new("python3")
        .arg(root().join("golden/replay.py"))
        .args(["--server", &format!("https://127.0.0.1:{port}"), "--token", "golden-admin-token", "-q", "--json"])
        .arg(&results)
        .args(rest)
        .stdout(if args.is_empty() || update { Stdio::null() } else { Stdio::inherit() })
        .status()
        .map_err(|e| format!("start python3: {e}"))?;
    let text =
        std::fs::read_to_string(&results).map_err(|e| format!("the replayer wrote no results ({status}): {e}"))?;
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let passed: BTreeSet<&str> = all.iter().filter(|c| c["ok"] == true).filter_map(|c| c["name"].as_str()).collect();
    let ran: BTreeSet<&str> = all.iter().filter_map(|c| c["name"].as_str()).collect();
    println!(
        "golden: {} of {} cases pass ({:.1} %)",
        passed.len(),
        ran.len(),
        100.0 * passed.len() as f64 / ran.len().max(1) as f64
    );
    let list = root().join("golden/passing.txt");
    if update {
        let text: String = passed.iter().map(|n| format!("{n}\n")).collect();
        return std::fs::write(&list, text).map_err(|e| e.to_string());
    }
    let known = std::fs::read_to_string(&list).map_err(|e| format!("read {}: {e}", list.display()))?;
    let lost: Vec<&str> = known.lines().filter(|n| ran.contains(n) && !passed.contains(n)).collect();
    if lost.is_empty() {
        let _ = std::fs::remove_dir_all(&dir);
        Ok(())
    } else {
        Err(format!(
            "cases that passed before fail now:\n  {}\n(run `cargo xtask golden --filter NAME` to see why; the server's log is {})",
            lost.join("\n  "),
            dir.join("log").display()
        ))
    }
}
