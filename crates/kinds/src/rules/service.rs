//! Services: defaults and validation. Addresses and node ports are given by the registry.
//!
//! Source: `pkg/apis/core/v1/defaults.go:SetDefaults_Service`, `pkg/apis/core/validation:ValidateService`.

use api::check::At;
use api::{Value, f, format};
use std::net::IpAddr;

/// Service.
pub fn defaults(s: &mut Value) {
    let spec = s.entry(f::spec);
    if spec.at(f::sessionAffinity).str().is_empty() {
        spec.set(f::sessionAffinity, "None");
    }
    if spec.at(f::type_).str().is_empty() {
        spec.set(f::type_, "ClusterIP");
    }
    let kind = spec.at(f::type_).str().to_string();
    match spec.at(f::sessionAffinity).str() {
        "None" => drop(spec.remove(f::sessionAffinityConfig)),
        "ClientIP" => spec.entry(f::sessionAffinityConfig).entry(f::clientIP).set_default(f::timeoutSeconds, 10800),
        _ => {}
    }
    for p in spec.get_mut(f::ports).and_then(Value::as_list_mut).into_iter().flatten() {
        if p.at(f::protocol).str().is_empty() {
            p.set(f::protocol, "TCP");
        }
        if matches!(p.at(f::targetPort), Value::Null | Value::Int(0)) || p.at(f::targetPort).as_str() == Some("") {
            let port = p.at(f::port).clone();
            p.set(f::targetPort, port);
        }
    }
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !spec.at(f::externalIPs).is_zero());
    if external && spec.at(f::externalTrafficPolicy).str().is_empty() {
        spec.set(f::externalTrafficPolicy, "Cluster");
    }
    if kind != "ExternalName" {
        spec.set_default(f::internalTrafficPolicy, "Cluster");
    }
    if kind == "LoadBalancer" {
        spec.set_default(f::allocateLoadBalancerNodePorts, true);
    }
    for i in s
        .get_mut(f::status)
        .and_then(|s| s.get_mut(f::loadBalancer))
        .and_then(|l| l.get_mut(f::ingress))
        .and_then(Value::as_list_mut)
        .into_iter()
        .flatten()
    {
        if !i.at(f::ip).str().is_empty() {
            i.set_default(f::ipMode, "VIP");
        }
    }
}

/// A single address stands in the list too.
pub fn create(s: &mut Value) {
    let Some(spec) = s.get_mut(f::spec) else { return };
    let ip = spec.at(f::clusterIP).clone();
    if !ip.str().is_empty() && spec.at(f::clusterIPs).is_zero() {
        spec.set(f::clusterIPs, vec![ip]);
    }
}

fn is(spec: &Value, kinds: &[&str]) -> bool {
    kinds.contains(&spec.at(f::type_).str())
}

/// Whether traffic from outside of the cluster reaches a service.
fn external(spec: &Value) -> bool {
    is(spec, &["NodePort", "LoadBalancer"]) || is(spec, &["ClusterIP"]) && !spec.at(f::externalIPs).is_zero()
}

fn health_checked(spec: &Value) -> bool {
    is(spec, &["LoadBalancer"]) && spec.at(f::externalTrafficPolicy).str() == "Local"
}

/// A member, and whether a service of a type has it.
type Dependent = (api::Name, fn(&Value) -> bool);

/// Members that go with a type: when the type changes and they do not, they go.
const DEPENDENT: &[Dependent] = &[
    (f::healthCheckNodePort, health_checked),
    (f::allocateLoadBalancerNodePorts, |s| is(s, &["LoadBalancer"])),
    (f::loadBalancerClass, |s| is(s, &["LoadBalancer"])),
    (f::externalTrafficPolicy, external),
];

/// What went with the old type goes with it.
pub fn update(new: &mut Value, old: &Value) {
    let was = old.at(f::spec);
    let Some(spec) = new.get_mut(f::spec) else { return };
    keep_allocated(spec, was);
    let gone: Vec<api::Name> = DEPENDENT
        .iter()
        .filter(|(key, has)| has(was) && !has(spec) && spec.at(*key) == was.at(*key))
        .map(|(key, _)| *key)
        .collect();
    gone.into_iter().for_each(|key| drop(spec.remove(key)));
    let ports = |s: &Value| is(s, &["NodePort", "LoadBalancer"]);
    let number = |s: &Value| -> Vec<i64> { s.at(f::ports).items().iter().map(|p| p.at(f::nodePort).int()).collect() };
    if ports(was) && !ports(spec) && number(was) == number(spec) {
        for p in super::each(spec, f::ports) {
            p.remove(f::nodePort);
        }
    }
}

/// What was given out stays when a client leaves it out.
fn keep_allocated(spec: &mut Value, was: &Value) {
    let addressed = |s: &Value| !is(s, &["ExternalName"]);
    if addressed(spec) && addressed(was) {
        if spec.at(f::clusterIP).str().is_empty() && !was.at(f::clusterIP).is_zero() {
            spec.set(f::clusterIP, was.at(f::clusterIP).clone());
        }
        if spec.at(f::clusterIPs).is_zero() && spec.at(f::clusterIP) == was.at(f::clusterIP) && was.has(f::clusterIPs) {
            spec.set(f::clusterIPs, was.at(f::clusterIPs).clone());
        }
    }
    if health_checked(spec) && health_checked(was) && spec.at(f::healthCheckNodePort).int() == 0 {
        spec.set(f::healthCheckNodePort, was.at(f::healthCheckNodePort).clone());
    }
}

/// Service.
pub fn validate(s: At) {
    let spec = s.at(f::spec);
    let kind = spec.at(f::type_);
    let headless = spec.str(f::clusterIP) == "None";
    if spec.get(f::ports).is_zero() && !headless && kind.v.str() != "ExternalName" {
        spec.at(f::ports).required("");
    }
    match kind.v.str() {
        "ExternalName" => external_name(spec),
        "LoadBalancer" | "NodePort" if headless => spec
            .at(f::clusterIPs)
            .index(0)
            .invalid_as("None", format!("may not be set to 'None' for {} services", kind.v.str())),
        _ => {}
    }
    ports(spec);
    super::validation::labels(spec.at(f::selector));
    affinity(spec);
    addresses(spec);
    kind.one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    unique_ports(spec);
    source_ranges(s, spec);
    load_balancer(spec);
    traffic(spec);
}

fn external_name(spec: At) {
    if !matches!(spec.str(f::clusterIP), "" | "None") || !spec.get(f::clusterIPs).is_zero() {
        spec.at(f::clusterIPs).forbidden("may not be set for ExternalName services");
    }
    let name = spec.at(f::externalName);
    if name.v.str().is_empty() {
        name.required("");
    } else {
        for m in format::is_dns1123_subdomain(name.v.str().trim_end_matches('.')) {
            name.invalid(m);
        }
    }
}

fn ports(spec: At) {
    let list = spec.at(f::ports);
    let named = list.v.items().len() > 1;
    for (i, p) in list.items().enumerate() {
        let name = p.at(f::name);
        if name.v.str().is_empty() {
            if named {
                name.required("");
            }
        } else {
            name.format(format::is_dns1123_label);
            if list.v.items()[..i].iter().any(|o| o.at(f::name) == name.v) {
                name.duplicate();
            }
        }
        super::validation::port_number(p.at(f::port));
        p.at(f::protocol).one_of(&["SCTP", "TCP", "UDP"]);
        super::validation::port(p.at(f::targetPort));
        p.at(f::appProtocol).maybe(format::is_qualified_name);
        if is(spec.v, &["ClusterIP"]) && p.int(f::nodePort) != 0 {
            p.at(f::nodePort).forbidden("may not be used when `type` is 'ClusterIP'");
        }
    }
}

fn unique_ports(spec: At) {
    let list = spec.at(f::ports);
    for (i, p) in list.items().enumerate() {
        let same = |o: &Value| o.at(f::port) == p.get(f::port) && o.at(f::protocol) == p.get(f::protocol);
        if list.v.items()[..i].iter().any(same) {
            let mut shown = Value::object();
            for key in [f::port, f::protocol] {
                shown.set(key, p.get(key).clone());
            }
            p.duplicate_text(p.with(&shown).shown(), "");
        }
    }
}

fn affinity(spec: At) {
    const TIMEOUT_MAX: i64 = 86_400;
    let config = spec.at(f::sessionAffinityConfig);
    spec.at(f::sessionAffinity).one_of(&["ClientIP", "None"]);
    match spec.str(f::sessionAffinity) {
        "ClientIP" => {
            let timeout = config.at(f::clientIP).at(f::timeoutSeconds);
            if timeout.v.as_int().is_some_and(|n| !(1..=TIMEOUT_MAX).contains(&n)) {
                timeout.invalid(format!("must be greater than 0 and less than {TIMEOUT_MAX}"));
            }
        }
        "None" if !config.v.is_null() => {
            config.forbidden("must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn addresses(spec: At) {
    let policy = spec.at(f::ipFamilyPolicy);
    let families = spec.at(f::ipFamilies);
    families.items().for_each(|f| f.any_of(&["IPv4", "IPv6"]));
    families.unique(|f| f, |f| f.duplicate());
    policy.maybe_one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let ips = spec.at(f::clusterIPs);
    if spec.str(f::clusterIP) != "None" && !is(spec.v, &["ExternalName"]) {
        for ip in ips.items().filter(|ip| !ip.v.str().is_empty()) {
            for m in if ip.v.str().parse::<IpAddr>().is_ok() { Vec::new() } else { format::is_ip(ip.v.str()) } {
                ip.invalid(m);
            }
        }
    }
    spec.at(f::externalIPs).items().for_each(|ip| ip.form(format::is_ip));
}

const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

fn source_ranges(s: At, spec: At) {
    let annotations = s.at(f::metadata).at(f::annotations);
    let list = spec.at(f::loadBalancerSourceRanges);
    let balanced = is(spec.v, &["LoadBalancer"]);
    if !list.v.is_zero() {
        if !balanced {
            list.forbidden("may only be used when `type` is 'LoadBalancer'");
        }
        for range in list.items() {
            for m in format::is_cidr(range.v.str().trim()) {
                range.invalid(m);
            }
        }
    } else if let Some(text) = annotations.v.at(RANGES).as_str() {
        let at = annotations.key(RANGES);
        if !balanced {
            return at.forbidden("may only be used when `type` is 'LoadBalancer'");
        }
        let ranges = text.split(',').map(str::trim).filter(|r| !r.is_empty());
        for m in ranges.flat_map(format::is_cidr) {
            at.invalid(m);
        }
    }
}

fn load_balancer(spec: At) {
    let (nodes, class) = (spec.at(f::allocateLoadBalancerNodePorts), spec.at(f::loadBalancerClass));
    if is(spec.v, &["LoadBalancer"]) {
        if nodes.v.is_null() {
            nodes.required("");
        }
        class.maybe(format::is_qualified_name);
        return;
    }
    for at in [nodes, class].into_iter().filter(|at| !at.v.is_null()) {
        at.forbidden("may only be used when `type` is 'LoadBalancer'");
    }
}

fn traffic(spec: At) {
    let policy = spec.at(f::externalTrafficPolicy);
    if external(spec.v) {
        policy.one_of(&["Cluster", "Local"]);
    } else if !policy.v.str().is_empty() {
        policy.invalid("may only be set for externally-accessible services");
    }
    let check = spec.at(f::healthCheckNodePort);
    if check.v.int() != 0 && !health_checked(spec.v) {
        check.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    spec.at(f::internalTrafficPolicy).maybe_one_of(&["Cluster", "Local"]);
    spec.at(f::trafficDistribution).maybe_one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

/// An address once given stays, and so does the class of a load balancer.
pub fn validate_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    let given = o.at(f::clusterIP).str();
    let needs = |v: &Value| v.at(f::type_).str() != "ExternalName";
    if needs(n.v) && needs(o) && !given.is_empty() && n.str(f::clusterIP) != given {
        n.at(f::clusterIPs).index(0).invalid_as(n.get(f::clusterIPs), "may not change once set");
    }
    let class = n.at(f::loadBalancerClass);
    if is(n.v, &["LoadBalancer"]) && is(o, &["LoadBalancer"]) && class.v != o.at(f::loadBalancerClass) {
        class.invalid("may not change once set");
    }
}

/// What a load balancer reports.
pub fn validate_status(new: At, _: &Value) {
    let list = new.at(f::status).at(f::loadBalancer).at(f::ingress);
    if !list.v.is_zero() && !is(new.get(f::spec), &["LoadBalancer"]) {
        return list.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
    }
    for i in list.items() {
        let (ip, mode, host) = (i.at(f::ip), i.at(f::ipMode), i.at(f::hostname));
        ip.maybe(format::is_ip);
        match (ip.v.str().is_empty(), mode.v.as_str()) {
            (true, Some(_)) => mode.forbidden("may not be specified when `ip` is not set"),
            (false, None) => mode.required("must be specified when `ip` is set"),
            (false, Some(_)) => mode.any_of(&["Proxy", "VIP"]),
            (true, None) => {}
        }
        if host.v.str().parse::<IpAddr>().is_ok() {
            host.invalid("must be a DNS name, not an IP address");
        } else {
            host.maybe(format::is_dns1123_subdomain);
        }
    }
}

/// What is told of a service.
pub fn warnings(s: &Value) -> Vec<String> {
    let spec = s.at(f::spec);
    let mut out = Vec::new();
    if !spec.at(f::externalIPs).is_zero() {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if spec.at(f::trafficDistribution).str() == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}
