//! Upstream's flags, read from `facts/flags/*.tsv`.
//!
//! A component names the flags that it acts on; any other known flag is refused unless it has its default value, because a
//! flag that is accepted and ignored is a lie.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One flag of upstream's.
struct Known {
    kind: &'static str,
    default: &'static str,
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
}

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
        for (name, what) in self.acting.iter().chain(self.own) {
            let kind = known.get(name).map_or("string", |k| k.kind);
            let default = known
                .get(name)
                .map(|k| k.default)
                .filter(|d| !d.is_empty())
                .map(|d| format!(" (default {d})"))
                .unwrap_or_default();
            let _ = writeln!(out, "  --{name} {kind}\n        {what}{default}");
        }
        out.push_str("\nAny other flag of upstream's is accepted with its default value only.\n");
        out
    }

    /// Reads arguments; all mistakes are told at once.
    pub fn parse(&self, args: &[String]) -> Result<Flags, String> {
        let known = self.known();
        let mut flags = Flags::default();
        let mut wrong = Vec::new();
        let mut i = 0;
        while i < args.len() {
            let arg = &args[i];
            i += 1;
            let Some(body) = arg.strip_prefix("--") else {
                wrong.push(format!("unexpected argument {arg:?}"));
                continue;
            };
            let (name, mut value) = match body.split_once('=') {
                Some((n, v)) => (n.to_string(), Some(v.to_string())),
                None => (body.to_string(), None),
            };
            let is_bool = known.get(name.as_str()).is_some_and(|k| k.kind == "bool");
            if value.is_none() && is_bool {
                value = Some("true".into());
            }
            if value.is_none() {
                value = args.get(i).cloned();
                i += 1;
            }
            let Some(value) = value else {
                wrong.push(format!("flag --{name} needs a value"));
                continue;
            };
            let acts = self.acting.iter().chain(self.own).any(|(n, _)| *n == name);
            match known.get(name.as_str()) {
                _ if acts => {}
                Some(k) if k.default == value => continue,
                Some(k) => {
                    wrong.push(format!("flag --{name} has no effect in corten {} yet and is refused with any value but its default ({:?})", self.component, k.default));
                    continue;
                }
                None => {
                    wrong.push(format!("unknown flag --{name}"));
                    continue;
                }
            }
            flags.given.entry(name).or_default().push(value);
        }
        if wrong.is_empty() {
            Ok(flags)
        } else {
            Err(format!("{}\nSee `corten {} --help`.", wrong.join("\n"), self.component))
        }
    }
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
        table: "flag\ttype\tdefault\tnote\n--port\tint\t1\t\n--quiet\tbool\tfalse\t\n--odd\tstring\tx\t\n",
        acting: &[("port", "where")],
        own: &[("data-dir", "ours")],
    };

    fn parse(args: &[&str]) -> Result<Flags, String> {
        SPEC.parse(&args.iter().map(|a| a.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn what_acts_is_taken_and_what_would_be_ignored_is_refused() {
        let flags = parse(&["--port=5", "--data-dir", "/d", "--quiet=false", "--odd", "x"]).expect("valid");
        assert_eq!((flags.get("port"), flags.get("data-dir")), (Some("5"), Some("/d")));
        let error = parse(&["--quiet", "--odd=y", "--nope=1"]).expect_err("three mistakes");
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}
