//! Health, version, OpenID discovery.
//!
//! A check that can fail asks when it is asked. What must have happened before a server listens (roles, priority classes,
//! namespaces) is listed under upstream's names, because clients look for them, and holds whenever there is an answer.

use super::{Body, Call, Server, respond};
use http::Response;
use std::fmt::Write as _;
use std::sync::Arc;

/// A check: its name, where it is asked, and whether it holds.
struct Check {
    name: &'static str,
    /// Only `/readyz` asks it: not ready is not dead.
    readiness: bool,
    holds: fn(&Server) -> bool,
}

const CHECKS: &[Check] = &[
    Check { name: "ping", readiness: false, holds: |_| true },
    Check { name: "etcd", readiness: false, holds: |s| s.registry.store.status().trouble.is_none() },
    Check { name: "etcd-readiness", readiness: true, holds: |s| s.registry.store.status().trouble.is_none() },
    // The caches' feed has not ended: they follow the store.
    Check { name: "informer-sync", readiness: true, holds: |s| s.registry.follows() },
    Check { name: "poststarthook/start-system-namespaces-controller", readiness: false, holds: |_| true },
    Check { name: "poststarthook/rbac/bootstrap-roles", readiness: false, holds: |_| true },
    Check { name: "poststarthook/scheduling/bootstrap-system-priority-classes", readiness: false, holds: |_| true },
];

/// `/healthz`, `/livez`, `/readyz` and their single checks.
pub fn answer(server: &Arc<Server>, call: &Call) -> Response<Body> {
    let path = call.info.path.trim_matches('/');
    let (name, single) = path.split_once('/').unwrap_or((path, ""));
    let asked = || CHECKS.iter().filter(|c| name == "readyz" || !c.readiness);
    if !single.is_empty() {
        return match asked().find(|c| c.name == single) {
            None => respond::text(404, "404 page not found\n"),
            Some(c) if (c.holds)(server) => respond::text(200, "ok"),
            Some(_) => respond::text(500, "internal server error: reason withheld\n"),
        };
    }
    let mut excluded: Vec<&str> = call.query.all("exclude").filter(|e| !e.is_empty()).collect();
    let (mut out, mut failed) = (String::new(), Vec::new());
    for c in asked() {
        let line = if let Some(at) = excluded.iter().position(|e| *e == c.name) {
            excluded.remove(at);
            format!("[+]{} excluded: ok", c.name)
        } else if (c.holds)(server) {
            format!("[+]{} ok", c.name)
        } else {
            failed.push(c.name);
            format!("[-]{} failed: reason withheld", c.name)
        };
        let _ = writeln!(out, "{line}");
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|e| api::errors::go_quote(e)).collect();
        let _ = writeln!(out, "warn: some health checks cannot be excluded: no matches for {}", names.join(","));
    }
    if !failed.is_empty() {
        tracing::warn!(checks = failed.join(","), "{name} check failed");
        return respond::text(500, format!("{out}{name} check failed\n"));
    }
    if call.query.flag("verbose") {
        return respond::text(200, format!("{out}{name} check passed\n"));
    }
    respond::text(200, "ok")
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

/// OpenID discovery of the service account issuer.
pub fn openid(server: &Arc<Server>) -> Response<Body> {
    let s = &server.registry.settings;
    let text = format!(
        "{{\"issuer\":\"{0}\",\"jwks_uri\":\"https://{1}:{2}/openid/v1/jwks\",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\"]}}",
        s.issuer, s.advertise.0, s.advertise.1
    );
    respond::raw(200, "application/json", text)
}
