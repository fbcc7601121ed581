//! Health, version, metrics, OpenID discovery.

use super::{Body, Call, Server, respond};
use http::Response;
use std::fmt::Write as _;
use std::sync::Arc;

const CHECKS: &[&str] = &[
    "ping",
    "log",
    "etcd",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/rbac/bootstrap-roles",
    "informer-sync",
];

/// `/healthz`, `/livez`, `/readyz` and their single checks.
pub fn answer(call: &Call) -> Response<Body> {
    let path = call.info.path.trim_matches('/');
    let (name, check) = path.split_once('/').unwrap_or((path, ""));
    if !check.is_empty() {
        return if CHECKS.contains(&check) {
            respond::text(200, "ok")
        } else {
            respond::text(404, "404 page not found\n")
        };
    }
    if !call.query.flag("verbose") {
        return respond::text(200, "ok");
    }
    let excluded: Vec<&str> = call.query.all("exclude").collect();
    let mut out = String::new();
    for c in CHECKS {
        let what = if excluded.contains(c) { "excluded: ok" } else { "ok" };
        let _ = writeln!(out, "[+]{c} {what}");
    }
    let _ = writeln!(out, "{name} check passed");
    respond::text(200, out)
}

/// `/version`.
pub fn version(server: &Arc<Server>, _: &Call) -> Response<Body> {
    let v = &server.config.version.git_version;
    let text = format!(
        "{{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"{v}\",\n  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"rust\",\n  \"compiler\": \"rustc\",\n  \"platform\": \"{}/{}\"\n}}",
        std::env::consts::OS,
        if std::env::consts::ARCH == "x86_64" { "amd64" } else { "arm64" },
    );
    respond::raw(200, "application/json", text)
}

/// `/metrics`: what the store and caches hold.
pub fn metrics(server: &Arc<Server>) -> Response<Body> {
    let status = server.registry.store.status();
    let (objects, bytes) = server.registry.size();
    let mut out = String::new();
    for (name, help, value) in [
        ("apiserver_storage_size_bytes", "Bytes of the store on disk.", status.disk_bytes),
        ("corten_store_revision", "Newest revision of the store.", status.revision.0),
        ("corten_store_keys", "Keys in the store.", status.keys as u64),
        ("corten_cache_objects", "Objects in the watch caches.", objects as u64),
        ("corten_cache_bytes", "Bytes of objects in the watch caches.", bytes as u64),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    respond::raw(200, "text/plain; version=0.0.4; charset=utf-8", out)
}

/// OpenID discovery of the service account issuer.
pub fn openid(server: &Arc<Server>) -> Response<Body> {
    let s = &server.registry.settings;
    let text = format!(
        "{{\"issuer\":\"{0}\",\"jwks_uri\":\"https://{1}:{2}/openid/v1/jwks\",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\"]}}",
        s.issuer, s.advertise.0, s.advertise.1
    );
    respond::raw(200, "application/json", text)
}
