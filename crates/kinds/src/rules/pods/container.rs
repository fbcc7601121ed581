//! One container: names, ports, environment, mounts, probes, hooks.

use super::super::validation as v;
use super::{resources, security, volumes};
use api::check::At;
use api::{Value, f, format};

/// Which list a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `containers`.
    Main,
    /// `initContainers`.
    Init,
    /// `ephemeralContainers`.
    Ephemeral,
}

/// What a container's fields may refer to.
pub struct Scope<'a> {
    /// The pod's volumes.
    volumes: Vec<&'a Value>,
    /// Volumes that are added to a template.
    added: &'a [&'a str],
    /// Names of the pod's resource claims.
    pub claims: Vec<&'a str>,
    /// The pod's grace period.
    grace: i64,
    /// Users of the container are users of the host.
    pub host_users: bool,
}

impl<'a> Scope<'a> {
    /// What a pod's spec offers.
    pub fn of(spec: &'a Value, added: &'a [&'a str]) -> Scope<'a> {
        Scope {
            volumes: spec.at(f::volumes).items().iter().collect(),
            added,
            claims: spec.at(f::resourceClaims).items().iter().map(|c| c.at(f::name).str()).collect(),
            grace: spec.at(f::terminationGracePeriodSeconds).int(),
            host_users: spec.at(f::hostUsers).as_bool().unwrap_or(true),
        }
    }

    fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes.iter().copied().find(|v| v.at(f::name).str() == name)
    }

    fn has_volume(&self, name: &str) -> bool {
        self.volume(name).is_some() || self.added.contains(&name)
    }
}

/// A container.
pub fn validate(c: At, kind: Kind, scope: &Scope) {
    c.at(f::name).named(format::is_dns1123_label);
    let image = c.at(f::image);
    if image.needed() && image.v.str().trim() != image.v.str() {
        image.invalid("must not have leading or trailing whitespace");
    }
    c.at(f::terminationMessagePolicy).one_of(&["File", "FallbackToLogsOnError"]);
    ports(c.at(f::ports));
    c.at(f::env).items().for_each(|e| env(e, scope));
    env_from(c.at(f::envFrom));
    mounts(c, scope);
    c.at(f::imagePullPolicy).one_of(&["Always", "IfNotPresent", "Never"]);
    resources::of_container(c.at(f::resources), scope);
    resize_policy(c);
    if let Some(context) = c.at(f::securityContext).some() {
        security::of_container(context, scope);
    }
    restart_and_probes(c, kind, scope);
}

fn resize_policy(c: At) {
    let list = c.at(f::resizePolicy);
    for p in list.items() {
        p.at(f::resourceName).one_of(&["cpu", "memory"]);
        p.at(f::restartPolicy).one_of(&["NotRequired", "RestartContainer"]);
    }
    list.unique(|p| p.at(f::resourceName), |p| p.duplicate_as(p.str(f::resourceName)));
}

const PROBES: &[api::Name] = &[f::livenessProbe, f::readinessProbe, f::startupProbe];

fn restart_and_probes(c: At, kind: Kind, scope: &Scope) {
    let policy = c.at(f::restartPolicy);
    policy.maybe_one_of(&["Always", "Never", "OnFailure"]);
    if kind == Kind::Ephemeral {
        return;
    }
    let once = kind == Kind::Init && policy.v.str() != "Always";
    let lifecycle = c.at(f::lifecycle);
    if once {
        for key in [f::lifecycle].iter().chain(PROBES).filter(|k| c.has(**k)) {
            c.at(*key).forbidden("may not be set for init containers without restartPolicy=Always");
        }
        return;
    }
    for key in [f::postStart, f::preStop] {
        if let Some(hook) = lifecycle.at(key).some() {
            handler(hook, &[f::exec, f::httpGet, f::tcpSocket, f::sleep], scope.grace);
        }
    }
    for key in PROBES {
        if let Some(p) = c.at(*key).some() {
            probe(p, *key == f::readinessProbe);
        }
    }
}

fn ports(list: At) {
    let mut names: Vec<&str> = Vec::new();
    for p in list.items() {
        let name = p.at(f::name);
        if !name.v.str().is_empty() {
            if name.format(format::is_port_name) && names.contains(&name.v.str()) {
                name.duplicate();
            }
            names.push(name.v.str());
        }
        if p.int(f::containerPort) == 0 {
            p.at(f::containerPort).required("");
        } else {
            v::port_number(p.at(f::containerPort));
        }
        if p.int(f::hostPort) != 0 {
            v::port_number(p.at(f::hostPort));
        }
        p.at(f::protocol).one_of(&["SCTP", "TCP", "UDP"]);
    }
}

fn env(e: At, scope: &Scope) {
    e.at(f::name).named(format::is_env_var_name);
    let Some(from) = e.at(f::valueFrom).some() else { return };
    let sources = from.v.members().filter(|(_, v)| !v.is_null()).count();
    if let Some(r) = from.at(f::fieldRef).some() {
        volumes::field_ref(r, ENV_FIELDS);
    }
    if let Some(r) = from.at(f::resourceFieldRef).some() {
        volumes::resource_ref(r, false);
    }
    for (key, check) in
        [(f::configMapKeyRef, format::is_config_map_key as format::Check), (f::secretKeyRef, format::is_config_map_key)]
    {
        if let Some(r) = from.at(key).some() {
            r.at(f::name).format_as(format::is_dns1123_subdomain);
            r.at(f::key).named(check);
        }
    }
    if let Some(r) = from.at(f::fileKeyRef).some() {
        file_key(r, scope);
    }
    if sources == 0 {
        from.invalid_as(
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !e.str(f::value).is_empty() {
        from.invalid_as("", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        from.invalid_as("", "may not have more than one field specified at a time");
    }
}

/// Fields of a pod that its environment may show.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn file_key(r: At, scope: &Scope) {
    r.at(f::key).named(format::is_env_var_name);
    r.at(f::volumeName).needed();
    if r.at(f::path).needed() {
        volumes::no_backsteps(r.at(f::path));
    }
    let name = r.at(f::volumeName);
    match scope.volume(name.v.str()) {
        None => name.not_found_as(name.v.str(), ""),
        Some(v) if !v.has(f::emptyDir) => {
            name.invalid("must be a volume of type emptyDir");
        }
        Some(_) => {}
    }
}

fn env_from(list: At) {
    for e in list.items() {
        if !e.str(f::prefix).is_empty() {
            e.at(f::prefix).format(format::is_env_var_name);
        }
        let mut sources = 0;
        for key in [f::configMapRef, f::secretRef] {
            if let Some(r) = e.at(key).some() {
                sources += 1;
                r.at(f::name).named(format::is_dns1123_subdomain);
            }
        }
        match sources {
            0 => list.invalid_as("", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => list.invalid_as("", "may not have more than one field specified at a time"),
        }
    }
}

fn mounts(c: At, scope: &Scope) {
    let (list, devices) = (c.at(f::volumeMounts), c.at(f::volumeDevices));
    let named = |l: At, name: &str| l.v.items().iter().any(|m| m.at(f::name).str() == name);
    for (i, m) in list.items().enumerate() {
        let (name, point) = (m.at(f::name), m.at(f::mountPath));
        if name.v.str().is_empty() {
            name.required("");
        }
        if !scope.has_volume(name.v.str()) {
            name.not_found_as(name.v.str(), "");
        }
        if point.v.str().is_empty() {
            point.required("");
        }
        if list.v.items()[..i].iter().any(|o| o.at(f::mountPath) == point.v) {
            point.invalid("must be unique");
        }
        if named(devices, name.v.str()) {
            name.invalid("must not already exist in volumeDevices");
        }
        // Upstream reports these without the mount's index.
        for key in [f::subPath, f::subPathExpr] {
            let sub = list.at(key).with(m.get(key));
            if sub.v.str().starts_with('/') {
                sub.invalid_as(sub.v.str(), "must be a relative path");
            } else {
                volumes::no_backsteps_as(sub);
            }
        }
        let read_only = list.at(f::recursiveReadOnly).with(m.get(f::recursiveReadOnly));
        if let Some(text) = read_only.v.as_str()
            && !["Disabled", "Enabled", "IfPossible"].contains(&text)
        {
            read_only.unsupported_as(text, &["Disabled", "Enabled", "IfPossible"]);
        }
        m.at(f::mountPropagation).maybe_one_of(&["Bidirectional", "HostToContainer", "None"]);
    }
    for (i, d) in devices.items().enumerate() {
        let (name, path) = (d.at(f::name), d.at(f::devicePath));
        if name.v.str().is_empty() {
            name.required("");
        }
        match scope.volume(name.v.str()) {
            Some(v) if !v.has(f::persistentVolumeClaim) && !v.has(f::ephemeral) => {
                name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
            }
            None if !scope.has_volume(name.v.str()) => name.not_found(),
            _ => {}
        }
        if path.v.str().is_empty() {
            path.required("");
        }
        if devices.v.items()[..i].iter().any(|o| o.at(f::devicePath) == path.v) {
            path.invalid("must be unique");
        }
        if path.v.str().split('/').any(|p| p == "..") {
            path.invalid("can not contain backsteps ('..')");
        }
        if named(list, name.v.str()) {
            name.invalid("must not already exist in volumeMounts");
        }
    }
}

/// A hook or probe: exactly one way to call it.
fn handler(h: At, ways: &[api::Name], grace: i64) {
    let given: Vec<api::Name> = ways.iter().copied().filter(|w| h.has(*w)).collect();
    for extra in given.iter().skip(1) {
        h.at(*extra).forbidden("may not specify more than 1 handler type");
    }
    let Some(way) = given.first() else { return h.required("must specify a handler type") };
    let at = h.at(*way);
    match *way {
        f::exec => {
            if at.get(f::command).is_zero() {
                at.at(f::command).required("");
            }
        }
        f::httpGet => {
            if at.str(f::path).is_empty() {
                at.at(f::path).required("");
            }
            v::port(at.at(f::port));
            at.at(f::scheme).any_of(&["HTTP", "HTTPS"]);
            for header in at.at(f::httpHeaders).v.items() {
                let name = header.at(f::name);
                for m in format::is_http_header_name(name.str()) {
                    at.at(f::httpHeaders).invalid_as(name, m);
                }
            }
        }
        f::tcpSocket => v::port(at.at(f::port)),
        f::grpc => v::port_number(at.at(f::port)),
        f::sleep => {
            let seconds = at.int(f::seconds);
            if seconds < 0 || seconds > grace {
                at.invalid_as(
                    seconds,
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
                );
            }
        }
        _ => {}
    }
}

fn probe(p: At, readiness: bool) {
    handler(p, &[f::exec, f::httpGet, f::tcpSocket, f::grpc], 0);
    for key in [f::initialDelaySeconds, f::timeoutSeconds, f::periodSeconds, f::successThreshold, f::failureThreshold] {
        p.at(key).non_negative();
    }
    let grace = p.at(f::terminationGracePeriodSeconds);
    if readiness {
        if !grace.v.is_null() {
            grace.invalid("must not be set for readinessProbes");
        }
        return;
    }
    grace.positive();
    if p.int(f::successThreshold) > 1 {
        p.at(f::successThreshold).invalid("must be 1");
    }
}
