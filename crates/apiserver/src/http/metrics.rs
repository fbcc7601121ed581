//! What the server counts, in upstream's names and labels, and how it is told to Prometheus.
//!
//! Series are bounded: verbs come from a fixed list, resources from the table of what is served.
//! Source: `k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`; `facts/metrics.tsv`.

use super::{Call, Server, respond};
use crate::http::Body;
use http::Response;
use kinds::Resource;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seconds.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Bytes.
const SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// What a series is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Subject {
    /// Place in the table of resources, whose order is that of the text.
    resource: &'static str,
    group: &'static str,
    version: &'static str,
    subresource: &'static str,
    verb: &'static str,
    scope: &'static str,
    dry_run: bool,
}

impl Subject {
    fn of(call: &Call, r: &'static Resource) -> Subject {
        let i = &call.info;
        let sub = r.subresource(&i.subresource).map_or("", |s| s.name.as_str());
        Subject {
            resource: &r.plural,
            group: &r.group,
            version: &r.version,
            subresource: sub,
            verb: verb(&i.verb, sub, call.header("content-type")),
            scope: match (i.name.is_empty() && i.verb != "create", i.namespace.is_empty()) {
                (false, _) => "resource",
                (true, false) => "namespace",
                (true, true) => "cluster",
            },
            dry_run: call.query.get("dryRun").is_some(),
        }
    }

    fn labels(&self, with_dry_run: bool) -> String {
        let mut out = String::from("component=\"apiserver\"");
        if with_dry_run {
            let _ = write!(out, ",dry_run=\"{}\"", if self.dry_run { "All" } else { "" });
        }
        let _ = write!(
            out,
            ",group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group, self.resource, self.scope, self.subresource, self.verb, self.version
        );
        out
    }
}

/// Upstream's names of verbs in metrics.
fn verb(verb: &str, subresource: &str, media: Option<&str>) -> &'static str {
    match verb {
        _ if matches!(subresource, "exec" | "attach" | "portforward" | "proxy") => "CONNECT",
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" if media.is_some_and(|m| m.starts_with("application/apply-patch")) => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

/// Counts of values up to each bound, their number and sum.
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    fn observe(&mut self, value: f64) {
        if let Some(i) = self.bounds.iter().position(|b| value <= *b) {
            self.counts[i] += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}", self.sum, self.count);
    }
}

struct Series {
    codes: BTreeMap<u16, u64>,
    durations: Histogram,
    sizes: Histogram,
    open: i64,
}

/// Everything that is counted.
#[derive(Default)]
pub struct Metrics {
    series: Mutex<HashMap<Subject, Series>>,
}

/// A long-running request; counted until it is dropped.
pub struct Open {
    metrics: Arc<Metrics>,
    subject: Subject,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(s) = self.metrics.lock().get_mut(&self.subject) {
            s.open -= 1;
        }
    }
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Series>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer; a long-running one also stays open until the result is dropped.
    pub(crate) fn answered(self: &Arc<Self>, call: &Call, code: u16, seconds: f64, bytes: Option<u64>) -> Option<Open> {
        let i = &call.info;
        let r = kinds::by_path(&i.group, &i.version, &i.resource)?;
        let subject = Subject::of(call, r);
        let mut series = self.lock();
        let s = series.entry(subject).or_insert_with(|| Series {
            codes: BTreeMap::new(),
            durations: Histogram::new(DURATIONS),
            sizes: Histogram::new(SIZES),
            open: 0,
        });
        *s.codes.entry(code).or_default() += 1;
        s.durations.observe(seconds);
        if let ("GET" | "LIST", Some(n)) = (subject.verb, bytes) {
            s.sizes.observe(n as f64);
        }
        if !call.is_long_running() || code >= 300 {
            return None;
        }
        s.open += 1;
        Some(Open { metrics: self.clone(), subject })
    }

    fn write(&self, out: &mut String) {
        let series = self.lock();
        let mut sorted: Vec<(&Subject, &Series)> = series.iter().collect();
        sorted.sort_by_key(|(subject, _)| **subject);
        head(out, "apiserver_request_total", "counter", "Answered requests.");
        for (subject, s) in &sorted {
            let labels = subject.labels(true);
            for (code, count) in &s.codes {
                let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{labels}}} {count}");
            }
        }
        let name = "apiserver_request_duration_seconds";
        head(out, name, "histogram", "Seconds until an answer began.");
        sorted.iter().for_each(|(subject, s)| s.durations.write(out, name, &subject.labels(true)));
        let name = "apiserver_response_sizes";
        head(out, name, "histogram", "Bytes of answers to GET and LIST.");
        let sized = sorted.iter().filter(|(_, s)| s.sizes.count > 0);
        sized.for_each(|(subject, s)| s.sizes.write(out, name, &subject.labels(false)));
        let name = "apiserver_longrunning_requests";
        head(out, name, "gauge", "Watches and streams that are open.");
        for (subject, s) in sorted.iter().filter(|(_, s)| s.open > 0) {
            let _ = writeln!(out, "{name}{{{}}} {}", subject.labels(false), s.open);
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// `/metrics`.
pub fn answer(server: &Arc<Server>) -> Response<Body> {
    let mut out = String::new();
    let registry = &server.registry;
    let status = registry.store.status();
    let (objects, bytes) = registry.size();
    let process = platform::process::usage();
    for (name, kind, help, value) in [
        ("corten_store_revision", "gauge", "Newest revision of the store.", status.revision.0 as f64),
        ("corten_store_keys", "gauge", "Keys in the store.", status.keys as f64),
        ("corten_store_healthy", "gauge", "1 while the store takes writes.", f64::from(status.trouble.is_none())),
        ("corten_cache_objects", "gauge", "Objects in the watch caches.", objects as f64),
        ("corten_cache_bytes", "gauge", "Bytes of objects in the watch caches.", bytes as f64),
        ("process_cpu_seconds_total", "counter", "CPU time of this process.", process.cpu_seconds),
        ("process_resident_memory_bytes", "gauge", "Memory of this process.", process.resident_bytes as f64),
        ("process_open_fds", "gauge", "Open file descriptors.", process.open_files as f64),
    ] {
        head(&mut out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
    let name = "apiserver_storage_size_bytes";
    head(&mut out, name, "gauge", "Bytes of the store on disk.");
    let _ = writeln!(out, "{name}{{storage_cluster_id=\"etcd-0\"}} {}", status.disk_bytes);
    head(&mut out, "apiserver_storage_objects", "gauge", "Stored objects by resource.");
    for (resource, count) in registry.counts() {
        let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
    }
    let name = "apiserver_current_inflight_requests";
    head(&mut out, name, "gauge", "Requests that are being answered.");
    for (kind, count) in server.seats.taken() {
        let _ = writeln!(out, "{name}{{request_kind=\"{kind}\"}} {count}");
    }
    server.metrics.write(&mut out);
    respond::raw(200, "text/plain; version=0.0.4; charset=utf-8", out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative() {
        let mut h = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|v| h.observe(v));
        let mut out = String::new();
        h.write(&mut out, "x", "a=\"b\"");
        let want = "x_bucket{a=\"b\",le=\"1\"} 2\nx_bucket{a=\"b\",le=\"2\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 4\n\
                    x_sum{a=\"b\"} 12\nx_count{a=\"b\"} 4\n";
        assert_eq!(out, want);
    }

    #[test]
    fn verbs_have_upstreams_names() {
        assert_eq!(verb("patch", "", Some("application/apply-patch+yaml")), "APPLY");
        assert_eq!(verb("patch", "status", Some("application/merge-patch+json")), "PATCH");
        assert_eq!(verb("get", "exec", None), "CONNECT");
        assert_eq!(verb("unheard", "", None), "other");
    }
}
