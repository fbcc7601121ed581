//! Validation of pods and pod templates.
//!
//! Source: `pkg/apis/core/validation/validation.go`. The parts: [`container`], [`resources`], [`volumes`], [`security`],
//! [`scheduling`]; what of a pod may change: [`update`]; what a client is told: [`warnings`].

pub mod container;
pub mod resources;
pub mod scheduling;
pub mod security;
pub mod update;
pub mod volumes;
pub mod warnings;

use super::validation as v;
use api::check::At;
use api::{Value, f, format};
use container::Scope;

/// A pod.
pub fn validate(pod: At) {
    spec(pod.at(f::spec), pod.get(f::metadata).at(f::name).str(), &[]);
}

/// A new pod.
pub fn validate_create(pod: At) {
    let ephemeral = pod.at(f::spec).at(f::ephemeralContainers);
    if !ephemeral.v.is_zero() {
        ephemeral.forbidden("cannot be set on create");
    }
}

/// A PodTemplate object.
pub fn template_object(t: At) {
    template(t.at(f::template));
}

/// A pod template.
pub fn template(t: At) {
    template_with(t, &[]);
}

/// A pod template to whose volumes others are added before.
pub fn template_with(t: At, claims: &[&str]) {
    let m = t.at(f::metadata);
    v::labels(t.place("labels").with(m.get(f::labels)));
    v::annotations(m.at(f::annotations));
    spec(t.at(f::spec), "", claims);
    if !t.get(f::spec).at(f::ephemeralContainers).is_zero() {
        t.at(f::spec).at(f::ephemeralContainers).forbidden("ephemeral containers not allowed in pod template");
    }
}

fn spec(s: At, pod: &str, claims: &[&str]) {
    let scope = Scope::of(s.v, claims);
    let list = s.at(f::volumes);
    for (i, claim) in claims.iter().enumerate() {
        for m in format::is_dns1123_label(claim) {
            list.index(i).at(f::name).invalid_as(*claim, m);
        }
    }
    volumes::volumes(list, pod);
    containers(s, &scope);
    if let Some(r) = s.at(f::resources).some() {
        resources::of_pod(r, &scope);
    }
    s.at(f::restartPolicy).one_of(&["Always", "OnFailure", "Never"]);
    s.at(f::dnsPolicy).one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    let grace = s.at(f::activeDeadlineSeconds);
    grace.within(1, i64::from(i32::MAX));
    v::labels(s.at(f::nodeSelector));
    if let Some(context) = s.at(f::securityContext).some() {
        security::of_pod(s, context);
    }
    scheduling::affinity(s.at(f::affinity));
    dns(s);
    for gate in s.at(f::readinessGates).items() {
        gate.at(f::conditionType).format_as(format::is_qualified_name);
    }
    let gates = s.at(f::schedulingGates);
    gates.items().for_each(|g| {
        g.at(f::name).format_as(format::is_qualified_name);
    });
    gates.unique(|g| g.at(f::name), |g| g.at(f::name).duplicate());
    scheduling::spread(s.at(f::topologySpreadConstraints));
    security::host_process(s);
    resources::claims(s.at(f::resourceClaims));
    for (key, check) in [
        (f::serviceAccountName, format::is_dns1123_subdomain as format::Check),
        (f::nodeName, format::is_dns1123_subdomain),
        (f::hostname, format::is_dns1123_label),
        (f::subdomain, format::is_dns1123_label),
        (f::priorityClassName, format::is_dns1123_subdomain),
        (f::runtimeClassName, format::is_dns1123_subdomain),
    ] {
        s.at(key).maybe(check);
    }
    scheduling::tolerations(s.at(f::tolerations));
    for alias in s.at(f::hostAliases).items() {
        alias.at(f::ip).format_as(format::is_ip);
        alias.at(f::hostnames).items().for_each(|h| h.form(format::is_dns1123_subdomain));
    }
    s.at(f::preemptionPolicy).maybe_one_of(&["Never", "PreemptLowerPriority"]);
    let overhead = s.at(f::overhead);
    for (name, amount) in overhead.entries() {
        let at = overhead.key(name);
        resources::container_resource(at, name);
        v::quantity_not_negative(at.with(amount));
    }
    if let Some(os) = s.at(f::os).some() {
        os.at(f::name).one_of(&["linux", "windows"]);
    }
}

fn containers(s: At, scope: &Scope) {
    let list = s.at(f::containers);
    if list.v.is_zero() {
        list.required("");
    }
    let mut names: Vec<&str> = Vec::new();
    for (key, kind) in [
        (f::containers, container::Kind::Main),
        (f::initContainers, container::Kind::Init),
        (f::ephemeralContainers, container::Kind::Ephemeral),
    ] {
        for c in s.at(key).items() {
            container::validate(c, kind, scope);
            let name = c.str(f::name);
            if !name.is_empty() && names.contains(&name) {
                c.at(f::name).duplicate();
            }
            names.push(name);
        }
    }
    host_ports(s);
}

/// Ports of the host are one pod's; with the host's network, they are the containers' own.
fn host_ports(s: At) {
    let mut seen: Vec<(&str, &str, i64)> = Vec::new();
    let host_network = s.get(f::hostNetwork).is_true();
    for c in s.at(f::containers).items() {
        for p in c.at(f::ports).items() {
            let (port, own) = (p.int(f::hostPort), p.int(f::containerPort));
            if host_network && port != own && port != 0 {
                p.at(f::hostPort).invalid_as(port, "must match `containerPort` when `hostNetwork` is true");
            }
            if port == 0 {
                continue;
            }
            let id = (p.str(f::protocol), p.str(f::hostIP), port);
            if seen.contains(&id) {
                p.at(f::hostPort).duplicate_as(format!("{}/{}/{port}", id.0, id.1));
            }
            seen.push(id);
        }
    }
}

fn dns(s: At) {
    const NAMESERVERS_MAX: usize = 3;
    const SEARCHES_MAX: usize = 32;
    let config = s.at(f::dnsConfig);
    let servers = config.at(f::nameservers);
    if s.str(f::dnsPolicy) == "None" {
        if config.v.is_null() {
            config.required("must provide `dnsConfig` when `dnsPolicy` is None");
        } else if servers.v.is_zero() {
            servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.v.items().len() > NAMESERVERS_MAX {
        servers.invalid(format!("must not have more than {NAMESERVERS_MAX} nameservers"));
    }
    servers.items().for_each(|n| n.form(format::is_ip));
    let searches = config.at(f::searches);
    if searches.v.items().len() > SEARCHES_MAX {
        searches.invalid(format!("must not have more than {SEARCHES_MAX} search paths"));
    }
    for search in searches.items().filter(|s| s.v.str() != ".") {
        for m in format::is_dns1123_with_underscore(search.v.str().strip_suffix('.').unwrap_or(search.v.str())) {
            search.invalid(m);
        }
    }
    for option in config.at(f::options).items().filter(|o| o.str(f::name).is_empty()) {
        option.required("must not be empty");
    }
}

/// A pod's status, written by whoever runs it.
pub fn validate_status(new: At, old: &Value) {
    let (status, was) = (new.at(f::status), old.at(f::status));
    let node = status.at(f::nominatedNodeName);
    node.maybe(format::is_dns1123_subdomain);
    if status.get(f::qosClass) != was.at(f::qosClass) {
        status.at(f::qosClass).invalid("field is immutable");
    }
    never_restarted(new, status, was);
    let claims = new.get(f::spec).at(f::resourceClaims);
    for c in status.at(f::resourceClaimStatuses).items() {
        if !claims.items().iter().any(|k| k.at(f::name) == c.get(f::name)) {
            c.at(f::name).invalid("must match the name of an entry in `spec.resourceClaims`");
        }
        c.at(f::resourceClaimName).maybe(format::is_dns1123_subdomain);
    }
    for c in status.at(f::conditions).items() {
        for m in format::is_qualified_name(c.str(f::type_)) {
            c.place("Type").invalid_as(c.str(f::type_), m);
        }
    }
    addresses(status.at(f::podIPs));
    let hosts = status.at(f::hostIPs);
    if let Some(first) = hosts.v.items().first()
        && first.at(f::ip).str() != status.str(f::hostIP)
    {
        hosts.index(0).at(f::ip).invalid("must be equal to `hostIP`");
    }
    addresses(hosts);
}

fn addresses(list: At) {
    for ip in list.items() {
        for m in format::is_ip(ip.str(f::ip)) {
            ip.invalid_as(ip.str(f::ip), m);
        }
    }
    let six = |v: &Value| v.at(f::ip).str().contains(':');
    if let [a, b] = list.v.items()
        && six(a) == six(b)
    {
        list.invalid("may specify no more than one IP for each IP family");
    }
    list.unique(|i| i.at(f::ip), |i| i.duplicate_as(i.str(f::ip)));
}

/// A container that ended and is not to be restarted stays ended.
fn never_restarted(pod: At, status: At, was: &Value) {
    let spec = pod.get(f::spec);
    let policy = spec.at(f::restartPolicy).str();
    for (list, group) in [(f::containerStatuses, f::containers), (f::initContainerStatuses, f::initContainers)] {
        for c in status.at(list).items() {
            let before = was.at(list).items().iter().find(|o| o.at(f::name) == c.get(f::name));
            let ended = before.map_or(&Value::Null, |b| b.at(f::state).at(f::terminated));
            let own = spec.at(group).items().iter().find(|s| s.at(f::name) == c.get(f::name));
            let own = own.map_or("", |s| s.at(f::restartPolicy).str());
            let stays = match (if own.is_empty() { policy } else { own }, group) {
                ("Never", _) => true,
                ("OnFailure", _) => ended.at(f::exitCode).int() == 0,
                _ => false,
            };
            if !ended.is_null() && stays && !c.get(f::state).has(f::terminated) {
                c.at(f::state).forbidden("may not be transitioned to non-terminated state");
            }
        }
    }
}
