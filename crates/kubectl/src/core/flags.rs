//! Command-line flags as kubectl's users know them (pflag's rules): `--flag=v`, `--flag v`, `-f v`, `-fv`, `-it`, flags
//! and arguments mixed, `--` ends flags. Messages are pflag's. Written by hand because no parser crate has these rules.

use std::collections::HashMap;

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// `true` when given alone; `--flag=false` is possible.
    Bool,
    /// One value; the last counts.
    Text,
    /// Any number of values; commas separate.
    List,
    /// Any number of values, taken as they are.
    Array,
    /// May be given without a value, which then is this.
    Optional(&'static str),
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Long name.
    pub name: &'static str,
    /// One letter, or 0.
    pub short: char,
    /// How it takes its value.
    pub takes: Takes,
    /// Value when not given.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// A flag without a letter.
pub const fn flag(name: &'static str, takes: Takes, default: &'static str, help: &'static str) -> Flag {
    Flag { name, short: '\0', takes, default, help }
}

/// A flag with a letter.
pub const fn short(name: &'static str, short: char, takes: Takes, default: &'static str, help: &'static str) -> Flag {
    Flag { name, short, takes, default, help }
}

/// What was given.
#[derive(Debug, Default)]
pub struct Given {
    /// Arguments that are no flags.
    pub args: Vec<String>,
    /// How many arguments stood before `--`, if it was there.
    pub dash: Option<usize>,
    values: HashMap<&'static str, Vec<String>>,
    defaults: HashMap<&'static str, &'static str>,
}

impl Given {
    /// Was the flag given?
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The flag's value, or its default.
    pub fn text(&self, name: &str) -> &str {
        let given = self.values.get(name).and_then(|v| v.last()).map(String::as_str);
        given.or_else(|| self.defaults.get(name).copied()).unwrap_or("")
    }

    /// Is it on?
    pub fn on(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1" | "t" | "T" | "TRUE" | "True")
    }

    /// All its values.
    pub fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Its value as a number.
    pub fn int(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// Reads `args` by the flags in `known`.
pub fn parse(args: &[String], known: &[&[Flag]]) -> Result<Given, String> {
    let all = || known.iter().flat_map(|set| set.iter());
    let mut given = Given { defaults: all().map(|f| (f.name, f.default)).collect(), ..Given::default() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            given.dash = Some(given.args.len());
            given.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let flag = all().find(|f| f.name == name).ok_or_else(|| format!("unknown flag: --{name}"))?;
            let value = match (value, flag.takes) {
                (Some(value), _) => value.to_string(),
                (None, Takes::Bool) => "true".to_string(),
                (None, Takes::Optional(alone)) => alone.to_string(),
                (None, _) => rest.next().cloned().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            };
            store(&mut given, flag, value)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            letters(arg, &mut rest, &mut given, &|c| all().find(|f| f.short == c).copied())?;
        } else {
            given.args.push(arg.clone());
        }
    }
    Ok(given)
}

/// Reads a group of one-letter flags, such as `-it` or `-fname`.
fn letters(
    arg: &str,
    rest: &mut std::slice::Iter<'_, String>,
    given: &mut Given,
    find: &dyn Fn(char) -> Option<Flag>,
) -> Result<(), String> {
    let mut chars = arg[1..].chars();
    while let Some(letter) = chars.next() {
        let flag = find(letter).ok_or_else(|| format!("unknown shorthand flag: '{letter}' in {arg}"))?;
        let tail = chars.as_str();
        let assigned = tail.strip_prefix('=');
        let value = match (assigned, flag.takes) {
            (Some(value), _) => value.to_string(),
            (None, Takes::Bool) => {
                store(given, &flag, "true".into())?;
                continue;
            }
            (None, Takes::Optional(alone)) => {
                store(given, &flag, alone.into())?;
                continue;
            }
            (None, _) if !tail.is_empty() => tail.to_string(),
            (None, _) => rest.next().cloned().ok_or_else(|| format!("flag needs an argument: '{letter}' in {arg}"))?,
        };
        return store(given, &flag, value);
    }
    Ok(())
}

fn store(given: &mut Given, flag: &Flag, value: String) -> Result<(), String> {
    if flag.takes == Takes::Bool
        && !matches!(
            value.as_str(),
            "true" | "false" | "1" | "0" | "t" | "f" | "T" | "F" | "True" | "False" | "TRUE" | "FALSE"
        )
    {
        let names = names(flag);
        return Err(format!(
            "invalid argument {value:?} for {names:?} flag: strconv.ParseBool: parsing {value:?}: invalid syntax"
        ));
    }
    let is_number = !flag.default.is_empty() && flag.default.parse::<i64>().is_ok();
    if is_number && flag.takes == Takes::Text && value.parse::<i64>().is_err() {
        let names = names(flag);
        return Err(format!(
            "invalid argument {value:?} for {names:?} flag: strconv.ParseInt: parsing {value:?}: invalid syntax"
        ));
    }
    let values = given.values.entry(flag.name).or_default();
    if flag.takes == Takes::List {
        values.extend(value.split(',').map(String::from));
    } else {
        values.push(value);
    }
    Ok(())
}

fn names(flag: &Flag) -> String {
    if flag.short == '\0' { format!("--{}", flag.name) } else { format!("-{}, --{}", flag.short, flag.name) }
}

/// The lines about flags in a command's help.
pub fn usage(flags: &[Flag]) -> String {
    let mut sorted: Vec<&Flag> = flags.iter().collect();
    sorted.sort_by_key(|f| f.name);
    let lines = sorted.iter().map(|f| {
        let letter = if f.short == '\0' { "    ".to_string() } else { format!("-{}, ", f.short) };
        let value = match (f.takes, f.default) {
            (Takes::List | Takes::Array, _) => "[]".to_string(),
            (Takes::Bool, "") => "false".to_string(),
            (Takes::Text | Takes::Optional(_), text) if f.default.parse::<i64>().is_err() => format!("'{text}'"),
            (_, text) => text.to_string(),
        };
        format!("    {letter}--{}={value}:\n\t{}\n", f.name, f.help)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
