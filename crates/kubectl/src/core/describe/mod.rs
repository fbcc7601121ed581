//! `describe`: an object for people, with its events. Layout and words are kubectl's (`pkg/describe/describe.go`) for pods,
//! nodes, services and workloads; every other kind is shown field by field.

mod node;
mod pod;
mod workload;

pub use pod::pod_template;

use super::table::tabbed;
use api::Value;

/// What is known besides the object.
#[derive(Default)]
pub struct Around {
    /// Its events, oldest first.
    pub events: Vec<Value>,
    /// Pods on a node, or ReplicaSets of a deployment, or slices of a service.
    pub related: Vec<Value>,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// The text for an object.
pub fn describe(object: &Value, around: &Around) -> String {
    let mut out = Out::default();
    match object.at("kind").str() {
        "Pod" => pod::pod(&mut out, object),
        "Node" => node::node(&mut out, object, around),
        "Service" => workload::service(&mut out, object, around),
        "Deployment" => workload::deployment(&mut out, object, around),
        "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet" | "Job" => {
            workload::workload(&mut out, object, around)
        }
        "ConfigMap" => config_map(&mut out, object),
        "Secret" => return secret(&mut out, object),
        "Namespace" => return namespace(&mut out, object),
        _ => generic(&mut out, object),
    }
    events(&mut out, around);
    tabbed(&out.text, 2)
}

/// Text being written; cells are separated by tabs.
#[derive(Default)]
pub struct Out {
    text: String,
}

impl Out {
    /// A line at a depth of two spaces each.
    pub fn line(&mut self, depth: usize, text: &str) {
        self.text.extend(std::iter::repeat_n("  ", depth));
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `Name:\tvalue`.
    pub fn field(&mut self, depth: usize, name: &str, value: &str) {
        self.line(depth, &format!("{name}:\t{value}"));
    }

    /// A map, one entry per line under each other.
    pub fn map(&mut self, depth: usize, name: &str, map: &Value, separator: &str, skip: &[&str]) {
        let mut entries: Vec<(String, String)> = map
            .members()
            .filter(|(k, _)| !skip.contains(&k.as_str()))
            .map(|(k, v)| (k.as_str().to_string(), super::jsonpath::text_of(v)))
            .collect();
        entries.sort();
        if entries.is_empty() {
            return self.field(depth, name, "<none>");
        }
        for (i, (key, value)) in entries.iter().enumerate() {
            let head = if i == 0 { format!("{name}:") } else { String::new() };
            let value = value.trim_end_matches('\n');
            if value.contains('\n') || value.len() > 140 {
                self.line(depth, &format!("{head}\t{key}{}", separator.trim_end()));
                value.lines().for_each(|l| self.line(depth, &format!("\t  {l}")));
            } else {
                self.line(depth, &format!("{head}\t{key}{separator}{value}"));
            }
        }
    }

    /// Labels and annotations.
    pub fn labels(&mut self, object: &Value) {
        let metadata = object.at("metadata");
        self.map(0, "Labels", metadata.at("labels"), "=", &[]);
        self.map(0, "Annotations", metadata.at("annotations"), ": ", &[super::merge::LAST_APPLIED]);
    }
}

/// A text or `<none>`.
pub fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A list of texts in one line.
pub fn joined(list: &Value, separator: &str) -> String {
    list.items().iter().map(super::jsonpath::text_of).collect::<Vec<_>>().join(separator)
}

/// `app=web,tier=front`.
pub fn selector(selector: &Value) -> String {
    let labels = if selector.has("matchLabels") || selector.has("matchExpressions") {
        selector.at("matchLabels")
    } else {
        selector
    };
    let mut parts: Vec<String> = labels.members().map(|(k, v)| format!("{}={}", k.as_str(), v.str())).collect();
    parts.sort();
    for e in selector.at("matchExpressions").items() {
        let (key, values) = (e.at("key").str(), joined(e.at("values"), ","));
        parts.push(match e.at("operator").str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        });
    }
    or_none(&parts.join(",")).to_string()
}

/// A time as RFC 1123 in UTC; `<unset>` when there is none.
pub fn time(text: &str) -> String {
    let Some(seconds) = api::time::parse_seconds(text) else { return "<unset>".to_string() };
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil(days);
    let clock = seconds.rem_euclid(86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::try_from(month - 1).unwrap_or(0)];
    format!("{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} +0000", clock / 3600, clock / 60 % 60, clock % 60)
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// A span of seconds for people (`k8s.io/apimachinery/pkg/util/duration:HumanDuration`).
pub fn age(seconds: i64) -> String {
    let with = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        s if s < -1 => "<invalid>".to_string(),
        s if s < 0 => "0s".to_string(),
        s if s < 120 => format!("{s}s"),
        s if minutes < 10 => with(minutes, "m", s % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => with(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => with(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => with(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

fn events(out: &mut Out, around: &Around) {
    if around.events.is_empty() {
        return out.field(0, "Events", "<none>");
    }
    out.line(0, "Events:");
    out.line(0, "  Type\tReason\tAge\tFrom\tMessage");
    out.line(0, "  ----\t------\t----\t----\t-------");
    let since = |text: &str| api::time::parse_seconds(text).map(|t| age(around.now - t));
    for event in &around.events {
        let first = since(event.at("firstTimestamp").str())
            .or_else(|| since(event.at("eventTime").str()))
            .unwrap_or_else(|| "<unknown>".into());
        let series = event.at("series");
        let last = since(series.at("lastObservedTime").str()).or_else(|| since(event.at("lastTimestamp").str()));
        let count = series.at("count").as_int().unwrap_or(event.at("count").int());
        let when = match last {
            Some(last) if count > 1 => format!("{last} (x{count} over {first})"),
            _ => first,
        };
        let from = [event.at("source").at("component").str(), event.at("reportingComponent").str()]
            .into_iter()
            .find(|t| !t.is_empty())
            .unwrap_or_default();
        let message = event.at("message").str().trim().replace('\n', " ");
        out.line(0, &format!("  {}\t{}\t{when}\t{from}\t{message}", event.at("type").str(), event.at("reason").str()));
    }
}

fn config_map(out: &mut Out, object: &Value) {
    let metadata = object.at("metadata");
    out.field(0, "Name", metadata.at("name").str());
    out.field(0, "Namespace", metadata.at("namespace").str());
    out.labels(object);
    for (title, field) in [("Data", "data"), ("BinaryData", "binaryData")] {
        out.line(0, &format!("\n{title}\n===="));
        let mut all: Vec<_> = object.at(field).members().collect();
        all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        for (key, value) in all {
            match field {
                "data" => out.line(0, &format!("{}:\n----\n{}\n", key.as_str(), value.str())),
                _ => out.line(0, &format!("{}: {} bytes", key.as_str(), decoded_len(value.str()))),
            }
        }
    }
    out.line(0, "");
}

fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

fn secret(out: &mut Out, object: &Value) -> String {
    let metadata = object.at("metadata");
    out.field(0, "Name", metadata.at("name").str());
    out.field(0, "Namespace", metadata.at("namespace").str());
    out.labels(object);
    out.line(0, &format!("\nType:\t{}\n\nData\n====", object.at("type").str()));
    let mut all: Vec<_> = object.at("data").members().collect();
    all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    all.into_iter().for_each(|(key, value)| out.field(0, key.as_str(), &format!("{} bytes", decoded_len(value.str()))));
    tabbed(&out.text, 2)
}

fn namespace(out: &mut Out, object: &Value) -> String {
    out.field(0, "Name", object.at("metadata").at("name").str());
    out.labels(object);
    out.field(0, "Status", object.at("status").at("phase").str());
    tabbed(&out.text, 2)
}

/// Field by field: names in words, as upstream shows kinds that it does not know.
fn generic(out: &mut Out, object: &Value) {
    let metadata = object.at("metadata");
    out.field(0, "Name", metadata.at("name").str());
    out.field(0, "Namespace", metadata.at("namespace").str());
    out.labels(object);
    out.field(0, "API Version", object.at("apiVersion").str());
    out.field(0, "Kind", object.at("kind").str());
    let mut rest = object.clone();
    for name in ["apiVersion", "kind"] {
        rest.remove(name);
    }
    if let Some(metadata) = rest.get_mut("metadata") {
        for name in ["name", "namespace", "labels", "annotations", "managedFields"] {
            metadata.remove(name);
        }
    }
    members(out, 0, &rest);
}

fn members(out: &mut Out, depth: usize, value: &Value) {
    let mut all: Vec<_> = value.members().collect();
    all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    for (key, item) in all {
        let name = words(key.as_str());
        match item {
            Value::Map(map) if !map.is_empty() => {
                out.line(depth, &format!("{name}:"));
                members(out, depth + 1, item);
            }
            Value::List(items) if !items.is_empty() => {
                out.line(depth, &format!("{name}:"));
                for item in items {
                    match item {
                        Value::Map(_) => members(out, depth + 1, item),
                        other => out.line(depth + 1, &super::jsonpath::text_of(other)),
                    }
                }
            }
            Value::Map(_) | Value::List(_) => out.line(depth, &format!("{name}:")),
            other => out.field(depth, &name, &super::jsonpath::text_of(other)),
        }
    }
}

/// `resourceVersion` as `Resource Version`; keys that are no field names stay.
fn words(key: &str) -> String {
    if key.contains(['.', '/', '-', '_']) {
        return key.to_string();
    }
    let mut out = String::new();
    let mut previous_lower = false;
    for (i, c) in key.chars().enumerate() {
        if i == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && previous_lower {
                out.push(' ');
            }
            out.push(c);
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    match out.as_str() {
        "Uid" => "UID".to_string(),
        _ => out,
    }
}

#[cfg(test)]
mod tests;
