//! Configuration files of upstream's kinds (`--config`): KubeletConfiguration, KubeSchedulerConfiguration,
//! KubeProxyConfiguration.
//!
//! A field that acts becomes the flag of the same meaning, unless the command line has that flag. Any other field is
//! refused by its path unless it has its default, as flags are. What fields there are stands in `facts/config-types.txt`,
//! their defaults in `facts/config-defaults`.

use serde_json::Value;

const TYPES: &str = include_str!("../../../facts/config-types.txt");

/// How a component reads a file.
pub struct ConfigSpec {
    /// The file's apiVersion.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// The kind's name in `config-types.txt`.
    pub root: &'static str,
    /// `facts/config-defaults/<kind>.json`.
    pub defaults: &'static str,
    /// Fields that act, and their flags.
    pub acting: &'static [(&'static str, &'static str)],
    /// Fields that may have this value, which is what Corten does, though it is not upstream's default.
    pub does: &'static [(&'static str, &'static str)],
}

/// The flags in a file; all mistakes are told at once.
pub fn flags(spec: &ConfigSpec, text: &str) -> Result<Vec<(&'static str, String)>, Vec<String>> {
    let parsed = api::yaml::parse(text).map_err(|e| vec![e])?;
    let file: Value = serde_json::from_str(&parsed.to_string()).map_err(|e| vec![e.to_string()])?;
    if file["kind"] != spec.kind || file["apiVersion"] != spec.api_version {
        return Err(vec![format!(
            "it is {} of {}, not {} of {}",
            file["kind"], file["apiVersion"], spec.kind, spec.api_version
        )]);
    }
    let defaults: Value = serde_json::from_str(spec.defaults).map_err(|e| vec![e.to_string()])?;
    let mut reader = Reader { spec, flags: Vec::new(), wrong: Vec::new() };
    reader.object("", spec.root, &file, &defaults);
    if reader.wrong.is_empty() { Ok(reader.flags) } else { Err(reader.wrong) }
}

struct Reader<'a> {
    spec: &'a ConfigSpec,
    flags: Vec<(&'static str, String)>,
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn object(&mut self, at: &str, kind: &str, value: &Value, default: &Value) {
        for (key, field) in value.as_object().into_iter().flatten() {
            if at.is_empty() && matches!(key.as_str(), "kind" | "apiVersion") {
                continue;
            }
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            match field_type(kind, key) {
                None => self.wrong.push(format!("unknown field {path}")),
                Some(kind) => self.field(&path, kind, field, &default[key.as_str()]),
            }
        }
    }

    fn field(&mut self, path: &str, kind: &str, value: &Value, default: &Value) {
        if let Some((_, flag)) = self.spec.acting.iter().find(|(p, _)| *p == path) {
            match as_flag(value) {
                Some(text) => self.flags.push((flag, text)),
                None => self.wrong.push(format!("field {path}: {value} is no value that can be used here")),
            }
            return;
        }
        let done = self.spec.does.iter().any(|(p, v)| *p == path && as_flag(value).as_deref() == Some(v));
        if done || is_default(value, default) {
            return;
        }
        let element = kind.trim_end_matches('?').trim_start_matches('[').trim_end_matches(']');
        match (value, default) {
            (Value::Object(_), _) if has_type(element) => self.object(path, element, value, default),
            (Value::Array(items), Value::Array(defaults)) if has_type(element) && items.len() == defaults.len() => {
                for (i, (item, default)) in items.iter().zip(defaults).enumerate() {
                    self.object(&format!("{path}[{i}]"), element, item, default);
                }
            }
            _ => self.wrong.push(format!(
                "field {path} has no effect in corten yet and is refused with any value but its default ({})",
                if default.is_null() { "absent".to_string() } else { default.to_string() }
            )),
        }
    }
}

/// The lines of a type.
fn rows(kind: &str) -> impl Iterator<Item = &'static str> {
    let kind = kind.to_string();
    TYPES.lines().skip_while(move |l| *l != kind).skip(1).take_while(|l| l.starts_with(' '))
}

fn has_type(kind: &str) -> bool {
    rows(kind).next().is_some()
}

/// The type of a field, also of an inlined one.
fn field_type(kind: &str, name: &str) -> Option<&'static str> {
    rows(kind).find_map(|row| match row.trim_start().split_once('\t') {
        Some((field, ty)) if field == name => Some(ty),
        Some(_) => None,
        None => field_type(row.trim_start().strip_prefix("inline ")?, name),
    })
}

/// Absent, empty, or the same value, durations however they are written.
fn is_default(value: &Value, default: &Value) -> bool {
    let empty = match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    };
    let duration = |v: &Value| v.as_str().and_then(api::time::parse_duration);
    value == default
        || (empty && (default.is_null() || value.is_null() || value.is_object()))
        || duration(value).is_some_and(|d| duration(default) == Some(d) || (d == 0 && default.is_null()))
}

/// A value as the command line would have it.
fn as_flag(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(items) => items.iter().map(as_flag).collect::<Option<Vec<_>>>().map(|l| l.join(",")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(k, v)| Some(format!("{k}={}", as_flag(v)?))).collect::<Option<Vec<_>>>();
            pairs.map(|l| l.join(","))
        }
        Value::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{KUBELET, PROXY, SCHEDULER};

    fn read(spec: &crate::flags::Spec, body: &str) -> Result<Vec<(&'static str, String)>, Vec<String>> {
        let config = spec.config.as_ref().expect("the component reads a file");
        flags(config, &format!("kind: {}\napiVersion: {}\n{body}", config.kind, config.api_version))
    }

    #[test]
    fn what_acts_becomes_a_flag() {
        let found = read(
            &KUBELET,
            "clusterDNS: [10.96.0.10]\nmaxPods: 20\nauthentication: {x509: {clientCAFile: /ca}, webhook: {enabled: true}}\nsyncFrequency: 60s\nsystemReserved: {cpu: 100m}\nfailCgroupV1: false\n",
        );
        let want = [
            ("cluster-dns", "10.96.0.10"),
            ("max-pods", "20"),
            ("client-ca-file", "/ca"),
            ("system-reserved", "cpu=100m"),
        ];
        let mut found = found.expect("all of it acts or is the default");
        found.sort();
        let mut want = want.map(|(f, v)| (f, v.to_string())).to_vec();
        want.sort();
        assert_eq!(found, want);
        let found =
            read(&SCHEDULER, "leaderElection: {leaderElect: false}\nprofiles: [{schedulerName: default-scheduler}]\n");
        assert_eq!(found, Ok(vec![("leader-elect", "false".to_string())]));
        // The mode is what the proxy does anyway; another one is refused.
        let found = read(&PROXY, "clientConnection: {kubeconfig: /k}\nmode: nftables\n");
        assert_eq!(found, Ok(vec![("kubeconfig", "/k".to_string())]));
        let wrong = read(&PROXY, "mode: ipvs\n").expect_err("no such mode here");
        assert!(wrong[0].contains("mode"), "{wrong:?}");
    }

    #[test]
    fn what_would_be_ignored_is_refused_by_its_path() {
        let wrong =
            read(&KUBELET, "cpuManagerPolicy: static\nlogging: {verbosity: 4}\nnope: 1\n").expect_err("three mistakes");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        for (wrong, word) in wrong.iter().zip(["cpuManagerPolicy", "logging.verbosity", "unknown field nope"]) {
            assert!(wrong.contains(word), "{wrong}");
        }
        let config = KUBELET.config.as_ref().expect("there is one");
        assert!(flags(config, "kind: KubeProxyConfiguration\napiVersion: x\n").is_err());
    }

    #[test]
    fn every_acting_field_exists() {
        for spec in [&KUBELET, &SCHEDULER, &PROXY] {
            let config = spec.config.as_ref().expect("the component reads a file");
            for (path, flag) in config.acting {
                let mut kind = config.root;
                for name in path.split('.') {
                    kind = field_type(kind, name)
                        .unwrap_or_else(|| panic!("{path}: no field {name}"))
                        .trim_end_matches('?');
                }
                let known = spec.acting.iter().chain(spec.own).any(|(name, _)| name == flag);
                assert!(known, "{path} becomes --{flag}, on which {} does not act", spec.component);
            }
        }
    }
}
