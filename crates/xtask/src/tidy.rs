//! The rules of `ARCHITECTURE.md`, read from it and compared with the code.
//!
//! - crates use only what their row allows;
//! - `core/` is pure; crates of the simulation reach time, tasks, files and sockets only through `platform`;
//! - every file says what it is for; files and functions stay small; little stands twice; `cargo fmt` changes nothing.
//!
//! Exceptions stand in `tidy.toml`-like lines of `crates/xtask/exceptions.txt` (rule, place); the list may only shrink:
//! an exception that is not needed any more is an error.

use crate::codegen::root;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const DUPLICATE_BLOCK: usize = 15;
const DUPLICATE_SHARE_MAX: f64 = 0.05;

/// Code in which no order may come from hashes: tables that are walked are ordered.
const ORDERED: &[&str] = &[
    "crates/store/",
    "crates/etcd/",
    "crates/cache/",
    "crates/client/",
    "crates/controllers/",
    "crates/scheduler/",
    "crates/platform/",
    "crates/apiserver/src/registry/",
];

/// Crates whose code also runs in the simulation.
const SIMULATED: &[&str] = &["store", "cache", "client", "controllers", "scheduler"];

/// Checks everything and prints what is wrong.
pub fn run() -> Result<(), String> {
    let wrong = check()?;
    if wrong.is_empty() {
        println!("tidy: all rules hold");
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// What breaks a rule.
pub fn check() -> Result<Vec<String>, String> {
    let sources = sources()?;
    let mut wrong = arrows()?;
    let mut counts: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, text) in &sources {
        for (rule, message) in file_rules(path, text) {
            counts.insert((format!("{rule} {path}"), message));
        }
    }
    wrong.extend(duplication(&sources));
    wrong.extend(formatting()?);
    let exceptions = std::fs::read_to_string(root().join("crates/xtask/exceptions.txt")).unwrap_or_default();
    let mut allowed: BTreeSet<&str> = exceptions.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let known = allowed.clone();
    for (place, message) in &counts {
        if known.contains(place.as_str()) {
            allowed.remove(place.as_str());
        } else {
            wrong.push(format!("{place}: {message}"));
        }
    }
    wrong.extend(
        allowed
            .iter()
            .map(|place| format!("crates/xtask/exceptions.txt: {place:?} is not needed any more: remove the line")),
    );
    Ok(wrong)
}

/// What `cargo fmt` would change.
fn formatting() -> Result<Option<String>, String> {
    let out = crate::run::cargo(&["fmt", "--all", "--", "--check", "-l"]).output();
    let out = out.map_err(|e| format!("start cargo fmt: {e}"))?;
    let files = String::from_utf8_lossy(&out.stdout).lines().count();
    Ok((!out.status.success()).then(|| {
        format!("{files} files are not formatted: run `cargo fmt` {}", String::from_utf8_lossy(&out.stderr).trim())
    }))
}

/// All Rust files of the project, with paths relative to the root.
fn sources() -> Result<Vec<(String, String)>, String> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let base = root().canonicalize().map_err(|e| e.to_string())?;
    let mut files = Vec::new();
    walk(&base.join("crates"), &mut files);
    files.sort();
    files
        .iter()
        .map(|f| {
            Ok((
                f.strip_prefix(&base).unwrap_or(f).display().to_string(),
                std::fs::read_to_string(f).map_err(|e| format!("{}: {e}", f.display()))?,
            ))
        })
        .collect()
}

/// Edges of the table in ARCHITECTURE.md against cargo's.
fn arrows() -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).map_err(|e| format!("ARCHITECTURE.md: {e}"))?;
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [name, _, may] = cells[..] {
            rows.insert(name.trim_matches('`').into(), may.into());
        }
    }
    let out = crate::run::output(&mut crate::run::cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let meta: serde_json::Value = serde_json::from_str(&out).map_err(|e| e.to_string())?;
    let packages = meta["packages"].as_array().cloned().unwrap_or_default();
    let ours: BTreeSet<String> = packages.iter().filter_map(|p| p["name"].as_str().map(String::from)).collect();
    let mut wrong = Vec::new();
    for p in &packages {
        let name = p["name"].as_str().unwrap_or_default();
        let Some(may) = rows.get(name) else {
            wrong.push(format!("crate {name} has no row in ARCHITECTURE.md"));
            continue;
        };
        if may == "*" {
            continue;
        }
        let allowed: Vec<&str> = may.split(',').map(str::trim).collect();
        for d in p["dependencies"].as_array().into_iter().flatten().filter(|d| d["kind"].is_null()) {
            let dep = d["name"].as_str().unwrap_or_default();
            if ours.contains(dep) && !allowed.contains(&dep) {
                wrong.push(format!("crate {name} uses {dep}, which its row in ARCHITECTURE.md does not allow"));
            }
        }
    }
    wrong.extend(
        rows.keys()
            .filter(|n| !ours.contains(*n))
            .map(|n| format!("ARCHITECTURE.md names a crate {n} that does not exist")),
    );
    Ok(wrong)
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
        || path.ends_with("suite.rs")
        || path.contains("/testing")
}

fn is_generated(text: &str) -> bool {
    text.lines().take(5).any(|l| l.contains("Generated") || l.contains("@generated"))
}

fn file_rules(path: &str, text: &str) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if is_generated(text) {
        return out;
    }
    if !text.starts_with("//!") {
        out.push(("module-doc", "the file does not begin with `//!`: say what it is for".into()));
    }
    if is_test(path) {
        return out;
    }
    let production = production(text);
    let lines = production.lines().count();
    if lines > FILE_LINES_MAX {
        out.push((
            "file-size",
            format!("{lines} lines of production code, at most {FILE_LINES_MAX}: split it by meaning"),
        ));
    }
    for (name, line, length) in functions(production) {
        if length > FUNCTION_LINES_MAX {
            out.push((
                "function-size",
                format!("line {line}: `{name}` has {length} lines, at most {FUNCTION_LINES_MAX}"),
            ));
        }
    }
    let word = |w: &str| production.lines().filter(|l| !l.trim_start().starts_with("//")).any(|l| l.contains(w));
    if path.contains("/core/") {
        for w in [
            "tokio::",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "SystemTime",
            "Instant::now",
            "std::thread",
            "std::process",
            "async fn",
        ] {
            if word(w) {
                out.push(("purity", format!("`core/` is pure, but names `{w}`")));
            }
        }
    }
    out.extend(order(path, production));
    let krate = path.split('/').nth(1).unwrap_or_default();
    if SIMULATED.contains(&krate) && !path.contains("https.rs") && !path.contains("kubeconfig.rs") {
        for w in [
            "tokio::time",
            "tokio::spawn",
            "std::fs::",
            "tokio::fs",
            "tokio::net",
            "SystemTime::now",
            "spawn_blocking",
            "std::thread::spawn",
        ] {
            if word(w) {
                out.push(("platform-only", format!("runs in the simulation, but names `{w}`: go through `platform`")));
            }
        }
    }
    out
}

/// What a simulated run must not depend on: the order of hashes, the lot of a `select!`, checks that release leaves out.
fn order(path: &str, production: &str) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let word = |w: &str| production.lines().filter(|l| !l.trim_start().starts_with("//")).any(|l| l.contains(w));
    for w in ["HashMap", "HashSet"].into_iter().filter(|_| ORDERED.iter().any(|o| path.starts_with(o))) {
        if word(w) {
            out.push(("hash-order", format!("names `{w}`: no decision may depend on hash order, use a BTree")));
        }
    }
    if word(concat!("debug_", "assert")) {
        out.push(("invariants", "checks something in debug builds only: invariants stay on in release".into()));
    }
    let krate = path.split('/').nth(1).unwrap_or_default();
    if SIMULATED.contains(&krate) || krate == "apiserver" {
        let lines: Vec<&str> = production.lines().collect();
        if lines.windows(2).any(|w| w[0].contains("select! {") && !w[1].trim().starts_with("biased;")) {
            out.push(("biased", "a `select!` without `biased;`: what is ready first must not be drawn by lot".into()));
        }
    }
    out
}

/// The text before inline tests.
fn production(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// Functions: name, first line, number of lines.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        let trimmed = lines[i].trim_start();
        let indent = lines[i].len() - trimmed.len();
        let words: Vec<&str> = trimmed.split([' ', '(', '<']).collect();
        let at = words.iter().position(|w| *w == "fn");
        let head = at.is_some_and(|p| {
            words[..p].iter().all(|w| {
                matches!(*w, "pub" | "crate)" | "super)" | "async" | "unsafe" | "const" | "extern" | "\"C\"")
                    || w.starts_with("pub(")
            })
        });
        if let (true, Some(p)) = (head, at) {
            let end = (i..lines.len()).find(|j| {
                lines[*j].starts_with(&" ".repeat(indent))
                    && lines[*j].trim_end() == format!("{}}}", " ".repeat(indent))
                    || (*j == i && lines[*j].trim_end().ends_with('}'))
                    || lines[*j].trim_end().ends_with(';') && *j == i
            });
            if let Some(end) = end {
                out.push((words.get(p + 1).unwrap_or(&"").to_string(), i + 1, end - i + 1));
            }
        }
        i += 1;
    }
    out
}

/// The share of production lines in blocks that stand twice.
fn duplication(sources: &[(String, String)]) -> Vec<String> {
    let mut seen: HashMap<Vec<&str>, (usize, usize)> = HashMap::new();
    let files: Vec<(usize, Vec<&str>)> = sources
        .iter()
        .enumerate()
        .filter(|(_, (p, t))| !is_test(p) && !is_generated(t))
        .map(|(i, (_, t))| {
            (
                i,
                production(t)
                    .lines()
                    .map(str::trim)
                    .filter(|l| l.len() > 2 && !l.starts_with("//") && !l.starts_with("use "))
                    .collect(),
            )
        })
        .collect();
    let mut doubled: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (file, lines) in &files {
        for at in 0..lines.len().saturating_sub(DUPLICATE_BLOCK - 1) {
            let block = lines[at..at + DUPLICATE_BLOCK].to_vec();
            match seen.get(&block) {
                Some((f, a)) => {
                    for k in 0..DUPLICATE_BLOCK {
                        doubled.insert((*f, a + k));
                        doubled.insert((*file, at + k));
                    }
                }
                None => drop(seen.insert(block, (*file, at))),
            }
        }
    }
    let total: usize = files.iter().map(|(_, l)| l.len()).sum();
    let share = doubled.len() as f64 / total.max(1) as f64;
    if share <= DUPLICATE_SHARE_MAX {
        return Vec::new();
    }
    vec![format!(
        "{:.1} % of the lines stand in blocks of {DUPLICATE_BLOCK} that occur twice, at most {:.0} %",
        share * 100.0,
        DUPLICATE_SHARE_MAX * 100.0
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let wrong = check().expect("the project is readable");
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    #[test]
    fn long_functions_are_found() {
        let body = "    x();\n".repeat(80);
        let text = format!("fn short() {{\n}}\npub async fn long(a: u8) {{\n{body}}}\n");
        let found = functions(&text);
        assert_eq!(found.iter().map(|f| (f.0.as_str(), f.2)).collect::<Vec<_>>(), [("short", 2), ("long", 82)]);
    }

    #[test]
    fn copies_are_those_of_shared() {
        let shared = root().join("../shared");
        for (ours, theirs) in [("facts", "facts"), ("golden", "golden"), ("bench/kload", "bench/kload")] {
            let origin = shared.join(theirs);
            if !origin.is_dir() {
                continue; // the project is whole without it
            }
            compare(&origin, &root().join(ours));
        }
    }

    fn compare(origin: &Path, copy: &Path) {
        for entry in std::fs::read_dir(origin).expect("readable").flatten() {
            let (from, to) = (entry.path(), copy.join(entry.file_name()));
            if from.is_dir() {
                compare(&from, &to);
            } else {
                assert!(
                    std::fs::read(&from).ok() == std::fs::read(&to).ok(),
                    "{} differs from {}",
                    to.display(),
                    from.display()
                );
            }
        }
    }
}
