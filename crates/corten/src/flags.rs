//! Upstream's flags, read from `facts/flags/*.tsv`.
//!
//! A component names the flags that it acts on; any other known flag is refused unless it has its default value, because a
//! flag that is accepted and ignored is a lie.

use crate::config_file::{self, ConfigSpec};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One flag of upstream's.
struct Known {
    kind: &'static str,
    default: &'static str,
}

/// `--v` of a command line, before anything else is read of it.
pub fn verbosity(args: &[String]) -> u8 {
    let at = |i: usize, arg: &String| match arg.trim_start_matches('-').split_once('=') {
        Some(("v", value)) => value.parse().ok(),
        None if arg == "-v" || arg == "--v" => args.get(i + 1)?.parse().ok(),
        _ => None,
    };
    args.iter().enumerate().filter_map(|(i, arg)| at(i, arg)).next_back().unwrap_or(0)
}

impl Known {
    /// The default as it would be written on a command line.
    fn plain(&self) -> &'static str {
        let text = self.default.trim_matches('"').trim_start_matches('[').trim_end_matches(']');
        match (self.kind, text) {
            ("bool", "") => "false",
            ("int" | "int32" | "int64" | "uint" | "float32" | "Level", "") => "0",
            ("duration", "") => "0s",
            _ => text,
        }
    }

    fn is_default(&self, value: &str) -> bool {
        let duration = |text: &str| api::time::parse_duration(text).filter(|_| self.kind == "duration");
        let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Some(true),
            "0" | "f" | "false" => Some(false),
            _ => None,
        };
        value == self.plain()
            || (duration(value).is_some() && duration(value) == duration(self.plain()))
            || (self.kind == "bool" && truth(value).is_some() && truth(value) == truth(self.plain()))
    }
}

/// Flags as given.
#[derive(Debug, Default)]
pub struct Flags {
    given: BTreeMap<String, Vec<String>>,
}

/// A component's flags: upstream's table, and those that act here with a description each.
pub struct Spec {
    /// The component's name, for messages.
    pub component: &'static str,
    /// `facts/flags/<component>.tsv`.
    pub table: &'static str,
    /// Flags that act here, and what they do.
    pub acting: &'static [(&'static str, &'static str)],
    /// Flags of ours that upstream does not have, and what they do.
    pub own: &'static [(&'static str, &'static str)],
    /// How `--config` is read, if it is.
    pub config: Option<ConfigSpec>,
}

/// Flags of every component that act.
const COMMON: [(&str, &str); 1] = [("v", "How much is logged: from 4 on, what helps to find mistakes.")];

/// Values that say what Corten does anyway, though they are not upstream's default.
const DOES: [(&str, &str, &str); 4] = [
    ("apiserver", "storage-backend", "etcd3"),
    ("controller-manager", "allocate-node-cidrs", "true"),
    ("proxy", "proxy-mode", "nftables"),
    ("kubelet", "fail-cgroupv1", "false"),
];

/// Why a flag has no effect, where there is more to say than that it has none yet.
const REASONS: [(&str, &str); 6] = [
    ("proxy-mode", "service rules are always nftables maps: only nftables is accepted"),
    ("cgroup-driver", "cgroups are written directly: only cgroupfs is accepted"),
    ("storage-backend", "the store is etcd3's protocol or our own log: only etcd3 is accepted"),
    ("authentication-kubeconfig", "this component serves no requests, so it authenticates nobody"),
    ("authorization-kubeconfig", "this component serves no requests, so it authorizes nobody"),
    ("profiling", "there is no profiling endpoint"),
];

impl Spec {
    fn known(&self) -> BTreeMap<&'static str, Known> {
        let rows = self.table.lines().skip(1).filter_map(|line| {
            let mut cells = line.split('\t');
            let name = cells.next()?.trim().trim_start_matches("--");
            Some((name, Known { kind: cells.next().unwrap_or_default(), default: cells.next().unwrap_or_default() }))
        });
        rows.collect()
    }

    /// What `--help` says.
    pub fn help(&self) -> String {
        let known = self.known();
        let mut out = format!(
            "Runs {} alone, with upstream's flags.\n\nUsage: corten {} [flags]\n\nFlags that act:\n",
            self.component, self.component
        );
        for (name, what) in self.acting.iter().chain(self.own).chain(&COMMON) {
            let kind = known.get(name).map_or("string", |k| k.kind);
            let default = known
                .get(name)
                .map(|k| k.default)
                .filter(|d| !d.is_empty())
                .map(|d| format!(" (default {d})"))
                .unwrap_or_default();
            let _ = writeln!(out, "  --{name} {kind}\n        {what}{default}");
        }
        if let Some(config) = &self.config {
            let _ = writeln!(
                out,
                "  --config string\n        File of kind {} ({}); flags go before it. Fields that act:",
                config.kind, config.api_version
            );
            for (path, flag) in config.acting {
                let _ = writeln!(out, "          {path} (--{flag})");
            }
        }
        out.push_str("\nAny other flag of upstream's is accepted with its default value only.\n");
        out
    }

    /// Reads arguments, and the configuration file that they name; all mistakes are told at once.
    pub fn parse(&self, args: &[String]) -> Result<Flags, String> {
        let known = self.known();
        let (pairs, mut wrong) = split(args, &known);
        let mut flags = Flags::default();
        for (name, value) in pairs {
            let acts = self.acting.iter().chain(self.own).chain(&COMMON).any(|(n, _)| *n == name);
            let does = DOES.iter().any(|(c, n, v)| *c == self.component && *n == name && *v == value);
            let file = name == "config" && self.config.is_some();
            match known.get(name.as_str()) {
                _ if acts || file => flags.given.entry(name).or_default().push(value),
                Some(k) if does || k.is_default(&value) => {}
                Some(k) => {
                    let reason = REASONS.iter().find(|(n, _)| *n == name).map_or_else(
                        || format!("has no effect in corten {} yet", self.component),
                        |(_, why)| format!("has no effect in corten {}: {why}", self.component),
                    );
                    wrong.push(format!(
                        "flag --{name} {reason}; it is refused with any value but its default ({:?})",
                        k.plain()
                    ));
                }
                None => wrong.push(format!("unknown flag --{name}")),
            }
        }
        if let (Some(path), Some(config)) = (flags.path("config"), &self.config) {
            match crate::paths::read(&path).map_err(|e| vec![e]).and_then(|text| config_file::flags(config, &text)) {
                Ok(found) => {
                    for (name, value) in found {
                        flags.given.entry(name.to_string()).or_insert_with(|| vec![value]);
                    }
                }
                Err(mistakes) => wrong.extend(mistakes.into_iter().map(|m| format!("{}: {m}", path.display()))),
            }
        }
        if wrong.is_empty() {
            Ok(flags)
        } else {
            Err(format!("{}\nSee `corten {} --help`.", wrong.join("\n"), self.component))
        }
    }
}

/// Arguments as flags and values, and what is no flag with a value.
fn split(args: &[String], known: &BTreeMap<&'static str, Known>) -> (Vec<(String, String)>, Vec<String>) {
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-').filter(|b| b.starts_with('v'))) else {
            wrong.push(format!("unexpected argument {arg:?}"));
            continue;
        };
        let (name, value) = match body.split_once('=') {
            Some((n, v)) => (n.to_string(), Some(v.to_string())),
            None if known.get(body).is_some_and(|k| k.kind == "bool") => (body.to_string(), Some("true".into())),
            None => (body.to_string(), args.next().cloned()),
        };
        match value {
            Some(value) => pairs.push((name, value)),
            None => wrong.push(format!("flag --{name} needs a value")),
        }
    }
    (pairs, wrong)
}

impl Flags {
    /// The last value given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).and_then(|v| v.last()).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// A path.
    pub fn path(&self, name: &str) -> Option<std::path::PathBuf> {
        self.get(name).map(Into::into)
    }

    /// All values, comma-separated lists taken apart.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.given
            .get(name)
            .into_iter()
            .flatten()
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .map(String::from)
            .collect()
    }

    /// A value of a type, or its default.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.get(name) {
            None => Ok(default),
            Some(v) => v.parse().map_err(|_| format!("flag --{name}: {v:?} is no valid value")),
        }
    }

    /// A boolean.
    pub fn bool(&self, name: &str, default: bool) -> Result<bool, String> {
        self.parsed(name, default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        component: "test",
        table: "flag\ttype\tdefault\tnote\n--port\tint\t1\t\n--quiet\tbool\t\t\n--odd\tstring\t\"x\"\t\n--wait\tduration\t2m0s\t\n--list\tstrings\t[pods]\t\n",
        acting: &[("port", "where")],
        own: &[("data-dir", "ours")],
        config: None,
    };

    fn parse(args: &[&str]) -> Result<Flags, String> {
        SPEC.parse(&args.iter().map(|a| a.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn what_acts_is_taken_and_what_would_be_ignored_is_refused() {
        let flags = parse(&["--port=5", "--data-dir", "/d", "--quiet=false", "--odd", "x"]).expect("valid");
        assert_eq!((flags.get("port"), flags.get("data-dir")), (Some("5"), Some("/d")));
        parse(&["--wait=120s", "--list=pods", "--quiet=F", "-v=4", "--v", "2"])
            .expect("defaults, however they are written");
        let error = parse(&["--quiet", "--odd=y", "--nope=1"]).expect_err("three mistakes");
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}
