//! Ingresses, network policies, endpoints, addresses and their ranges.
//!
//! Source: `pkg/apis/{networking,discovery,core}/validation`, `pkg/registry/{networking,discovery}`.

use super::validation as v;
use api::check::At;
use api::{Value, f, format};
use std::net::IpAddr;

// === endpoints ===

/// Endpoints.
pub fn endpoints_defaults(e: &mut Value) {
    for s in super::each(e, f::subsets) {
        for p in super::each(s, f::ports) {
            super::text_default(p, f::protocol, "TCP");
        }
    }
}

/// EndpointSlice.
pub fn slice_defaults(e: &mut Value) {
    for p in super::each(e, f::ports) {
        p.set_default(f::name, "");
        p.set_default(f::protocol, "TCP");
    }
}

/// Topology by labels is read of old slices only.
pub fn slice_create(e: &mut Value) {
    for e in super::each(e, f::endpoints) {
        e.remove(f::deprecatedTopology);
    }
}

/// What is told of a slice.
pub fn slice_warnings(e: &Value) -> Vec<String> {
    match e.at(f::addressType).str() {
        "FQDN" => vec!["spec.addressType: FQDN endpoints are deprecated".into()],
        _ => Vec::new(),
    }
}

/// Addresses that lead to no other machine.
fn ordinary(at: At) {
    let Ok(ip) = at.v.str().parse::<IpAddr>() else { return };
    let local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    let multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    if ip.is_unspecified() {
        at.invalid(format!("may not be unspecified ({})", "0.0.0.0 or ::"));
    }
    if ip.is_loopback() {
        at.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if local {
        at.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        at.invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Endpoints.
pub fn endpoints(e: At) {
    for s in e.at(f::subsets).items() {
        if s.get(f::addresses).is_zero() && s.get(f::notReadyAddresses).is_zero() {
            s.required("must specify `addresses` or `notReadyAddresses`");
        }
        for key in [f::addresses, f::notReadyAddresses] {
            for a in s.at(key).items() {
                let ip = a.at(f::ip);
                if !ip.format_as(format::is_ip) && ip.v.str().parse::<IpAddr>().is_err() {
                    ip.invalid_as(ip.v.str(), "must be a valid IP address"); // both of upstream's checks say so
                }
                a.at(f::hostname).maybe(format::is_dns1123_label);
                a.at(f::nodeName).maybe(format::is_dns1123_subdomain);
                ordinary(ip);
            }
        }
        let named = s.get(f::ports).items().len() > 1;
        for p in s.at(f::ports).items() {
            let name = p.at(f::name);
            if named && name.v.str().is_empty() {
                name.required("");
            }
            name.maybe(format::is_dns1123_label);
            v::port_number(p.at(f::port));
            p.at(f::protocol).one_of(&["SCTP", "TCP", "UDP"]);
            p.at(f::appProtocol).maybe(format::is_qualified_name);
        }
    }
}

const ADDRESSES_MAX: usize = 100;
const HINTS_MAX: usize = 8;

/// EndpointSlice.
pub fn slice(s: At) {
    let kind = s.at(f::addressType);
    kind.one_of(&["FQDN", "IPv4", "IPv6"]);
    let endpoints = s.at(f::endpoints);
    if endpoints.v.items().len() > 1000 {
        endpoints.too_many(1000);
    }
    endpoints.items().for_each(|e| endpoint(e, kind.v.str()));
    let ports = s.at(f::ports);
    if ports.v.items().len() > 20_000 {
        ports.too_many(20_000);
    }
    for p in ports.items() {
        p.at(f::name).maybe(format::is_dns1123_label);
        p.at(f::protocol).one_of(&["SCTP", "TCP", "UDP"]);
        p.at(f::appProtocol).maybe(format::is_qualified_name);
    }
    ports.unique(|p| p.at(f::name), |p| p.at(f::name).duplicate());
}

fn endpoint(e: At, kind: &str) {
    let addresses = e.at(f::addresses);
    match addresses.v.items().len() {
        0 => addresses.required("must contain at least 1 address"),
        n if n > ADDRESSES_MAX => return addresses.too_many(ADDRESSES_MAX),
        _ => {}
    }
    for a in addresses.items() {
        let ip = a.v.str().parse::<IpAddr>();
        match kind {
            "FQDN" => a.form(format::is_dns1123_subdomain),
            "IPv4" | "IPv6" => {
                if a.format(format::is_ip) {
                    match (kind, ip) {
                        ("IPv4", Ok(IpAddr::V6(_))) => a.invalid("must be an IPv4 address"),
                        ("IPv6", Ok(IpAddr::V4(_))) => a.invalid("must be an IPv6 address"),
                        _ => ordinary(a),
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(name) = e.at(f::nodeName).some() {
        name.format(format::is_dns1123_subdomain);
    }
    v::labels(e.at(f::deprecatedTopology));
    if let Some(name) = e.at(f::hostname).some() {
        name.format(format::is_dns1123_label);
    }
    for (list, check) in
        [(f::forZones, format::is_label_value as format::Check), (f::forNodes, format::is_dns1123_subdomain)]
    {
        let hints = e.at(f::hints).at(list);
        if hints.v.items().len() > HINTS_MAX {
            return hints.too_many(HINTS_MAX);
        }
        hints.items().for_each(|h| h.at(f::name).form(check));
        hints.unique(|h| h.at(f::name), |h| h.at(f::name).duplicate());
    }
}

/// A slice's kind of addresses stays.
pub fn slice_update(new: At, old: &Value) {
    new.at(f::addressType).immutable(old.at(f::addressType));
}

// === Ingress ===

/// Ingress.
pub fn ingress(i: At) {
    let spec = i.at(f::spec);
    let (backend_at, rules) = (spec.at(f::defaultBackend), spec.at(f::rules));
    match backend_at.some() {
        Some(b) => backend(b),
        None if rules.v.is_zero() => {
            spec.invalid_as(&Value::Null, "either `defaultBackend` or `rules` must be specified")
        }
        None => {}
    }
    for tls in spec.at(f::tls).items() {
        tls.at(f::hosts).items().for_each(host_pattern);
        tls.at(f::secretName).maybe(format::is_dns1123_subdomain);
    }
    for rule in rules.items() {
        let host = rule.at(f::host);
        if !host.v.str().is_empty() {
            if host.v.str().parse::<IpAddr>().is_ok() {
                host.invalid("must be a DNS name, not an IP address");
            } else {
                host_pattern(host);
            }
        }
        if let Some(http) = rule.at(f::http).some() {
            if http.get(f::paths).is_zero() {
                http.at(f::paths).required("");
            }
            http.at(f::paths).items().for_each(path);
        }
    }
    if let Some(class) = spec.at(f::ingressClassName).some() {
        class.format(format::is_dns1123_subdomain);
    }
}

fn host_pattern(host: At) {
    let wild = host.v.str().contains('*');
    host.format(if wild { format::is_wildcard_subdomain } else { format::is_dns1123_subdomain });
}

fn path(p: At) {
    const NEVER: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
    const LAST: &[&str] = &["/..", "/."];
    let (kind, at) = (p.at(f::pathType), p.at(f::path));
    let text = at.v.str();
    match kind.v.as_str() {
        None => return kind.required("pathType must be specified"),
        Some("Exact" | "Prefix") => {
            if !text.starts_with('/') {
                at.invalid_as(text, "must be an absolute path");
            }
            for bad in NEVER.iter().filter(|b| text.contains(**b)) {
                at.invalid(format!("must not contain '{bad}'"));
            }
            for bad in LAST.iter().filter(|b| text.ends_with(**b)) {
                at.invalid(format!("cannot end with '{bad}'"));
            }
        }
        Some("ImplementationSpecific") => {
            if !text.is_empty() && !text.starts_with('/') {
                at.invalid("must be an absolute path");
            }
        }
        Some(_) => kind.unsupported(&["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(p.at(f::backend));
}

fn backend(b: At) {
    let (resource, service) = (b.at(f::resource), b.at(f::service));
    match (resource.some(), service.some()) {
        (Some(_), Some(_)) => b.invalid_as("", "cannot set both resource and service backends"),
        (Some(r), None) => v::typed_reference(r),
        (None, Some(s)) => {
            s.at(f::name).named(format::is_dns1035_label);
            let port = s.at(f::port);
            let (name, number) = (port.at(f::name), port.at(f::number));
            match (name.v.str().is_empty(), number.v.int() == 0) {
                (false, false) => b.invalid_as("", "cannot set both port name & port number"),
                (false, true) => name.form(format::is_port_name),
                (true, false) => v::port_number(number),
                (true, true) => b.required("port name or number is required"),
            }
        }
        (None, None) => b.invalid_as("", "resource or service backend is required"),
    }
}

/// What is told of an ingress.
pub fn ingress_warnings(i: &Value) -> Vec<String> {
    const CLASS: &str = "kubernetes.io/ingress.class";
    if i.at(f::metadata).at(f::annotations).has(CLASS) {
        vec![format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead")]
    } else {
        Vec::new()
    }
}

/// A class and the older annotation exclude each other.
pub fn ingress_create(i: At) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let annotations = i.at(f::metadata).at(f::annotations);
    if i.get(f::spec).has(f::ingressClassName) && annotations.v.has(CLASS) {
        annotations.key(CLASS).invalid("can not be set when the class field is also set");
    }
}

/// IngressClass.
pub fn class_defaults(c: &mut Value) {
    if let Some(p) = c.get_mut(f::spec).and_then(|s| s.get_mut(f::parameters)).filter(|p| !p.is_null()) {
        p.set_default(f::scope, "Cluster");
    }
}

/// IngressClass.
pub fn class(c: At) {
    let spec = c.at(f::spec);
    let controller = spec.at(f::controller);
    if controller.v.str().len() > 250 {
        controller.too_long(250);
    }
    domain_prefixed(controller);
    let Some(p) = spec.at(f::parameters).some() else { return };
    v::typed_reference(p);
    let (scope, namespace) = (p.at(f::scope), p.at(f::namespace));
    match scope.v.as_str() {
        None => scope.required(""),
        Some("Namespace") => match namespace.v.as_str() {
            None => namespace.required("`parameters.scope` is set to 'Namespace'"),
            Some(_) => namespace.form(format::is_dns1123_label),
        },
        Some("Cluster") => {
            if !namespace.v.is_null() {
                namespace.forbidden("`parameters.scope` is set to 'Cluster'");
            }
        }
        Some(_) => scope.unsupported(&["Cluster", "Namespace"]),
    }
}

fn domain_prefixed(at: At) {
    let text = at.v.str();
    if text.is_empty() {
        return at.required("");
    }
    match text.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            for m in format::is_dns1123_subdomain(domain) {
                at.invalid_as(domain, m);
            }
        }
        _ => at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// A class's controller stays.
pub fn class_update(new: At, old: &Value) {
    new.at(f::spec).at(f::controller).immutable(old.at(f::spec).at(f::controller));
}

// === NetworkPolicy ===

/// NetworkPolicy.
pub fn policy_defaults(n: &mut Value) {
    let spec = n.entry(f::spec);
    for rules in [f::ingress, f::egress] {
        for rule in super::each(spec, rules) {
            for p in super::each(rule, f::ports) {
                p.set_default(f::protocol, "TCP");
            }
        }
    }
    if spec.at(f::policyTypes).is_zero() {
        let mut types = vec![Value::from("Ingress")];
        if !spec.at(f::egress).is_zero() {
            types.push("Egress".into());
        }
        spec.set(f::policyTypes, types);
    }
}

/// NetworkPolicy.
pub fn policy(n: At) {
    let spec = n.at(f::spec);
    v::label_selector(spec.at(f::podSelector));
    for (rules, peers) in [(f::ingress, f::from), (f::egress, f::to)] {
        for rule in spec.at(rules).items() {
            rule.at(f::ports).items().for_each(policy_port);
            rule.at(peers).items().for_each(peer);
        }
    }
    let types = spec.at(f::policyTypes);
    if types.v.items().len() > 2 {
        return types.invalid("may not specify more than two policyTypes");
    }
    types.items().for_each(|t| t.any_of(&["Ingress", "Egress"]));
}

fn policy_port(p: At) {
    p.at(f::protocol).maybe_one_of(&["TCP", "UDP", "SCTP"]);
    let (port, end) = (p.at(f::port), p.at(f::endPort));
    match port.v {
        Value::Null if !end.v.is_null() => end.invalid("may not be specified when `port` is not specified"),
        Value::Null => {}
        Value::Str(_) => {
            if !end.v.is_null() {
                end.invalid("may not be specified when `port` is non-numeric");
            }
            v::port(port);
        }
        _ => {
            v::port(port);
            if !end.v.is_null() {
                if end.v.int() < port.v.int() {
                    end.invalid_as(port.v.int(), "must be greater than or equal to `port`");
                }
                v::port_number(end);
            }
        }
    }
}

fn peer(p: At) {
    let (pods, namespaces, block) = (p.at(f::podSelector), p.at(f::namespaceSelector), p.at(f::ipBlock));
    for s in [pods, namespaces] {
        v::label_selector(s);
    }
    if let Some(b) = block.some() {
        ip_block(b);
    }
    let n = [pods, namespaces, block].iter().filter(|s| !s.v.is_null()).count();
    if n == 0 {
        p.required("must specify a peer");
    } else if n > 1 && !block.v.is_null() {
        p.forbidden("may not specify both ipBlock and another peer");
    }
}

fn ip_block(b: At) {
    let cidr = b.at(f::cidr);
    if !cidr.needed() || !cidr.format(format::is_cidr) {
        return;
    }
    for e in b.at(f::except).items() {
        if e.format(format::is_cidr) && !is_strict_subset(e.v.str(), cidr.v.str()) {
            e.invalid("must be a strict subset of `cidr`");
        }
    }
}

/// Whether a block lies within a larger one.
fn is_strict_subset(inner: &str, outer: &str) -> bool {
    let parse =
        |s: &str| s.split_once('/').and_then(|(ip, n)| Some((ip.parse::<IpAddr>().ok()?, n.parse::<u32>().ok()?)));
    let (Some((a, n)), Some((b, m))) = (parse(inner), parse(outer)) else { return false };
    let same = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => m == 0 || (u32::from(a) ^ u32::from(b)) >> (32 - m) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => m == 0 || (u128::from(a) ^ u128::from(b)) >> (128 - m) == 0,
        _ => false,
    };
    n > m && same
}

// === addresses of services ===

/// IPAddress.
pub fn address(a: At) {
    let Some(parent) = a.at(f::spec).at(f::parentRef).some() else {
        return a.at(f::spec).at(f::parentRef).required("");
    };
    parent.at(f::group).maybe(format::is_dns1123_subdomain);
    parent.at(f::resource).named(format::is_path_segment);
    parent.at(f::name).named(format::is_path_segment);
    parent.at(f::namespace).maybe(format::is_path_segment);
}

/// Whose an address is stays.
pub fn address_update(new: At, old: &Value) {
    new.at(f::spec).at(f::parentRef).immutable(old.at(f::spec).at(f::parentRef));
}

/// ServiceCIDR.
pub fn range(s: At) {
    let cidrs = s.at(f::spec).at(f::cidrs);
    if cidrs.v.is_zero() {
        return cidrs.required("at least one CIDR required");
    }
    if cidrs.v.items().len() > 2 {
        return cidrs.invalid("may only hold up to 2 values");
    }
    let six = |c: &Value| c.str().contains(':');
    if let [a, b] = cidrs.v.items()
        && six(a) == six(b)
    {
        cidrs.invalid("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
    cidrs.items().for_each(|c| c.form(format::is_cidr));
}

/// A range once given stays; one of the other family may be added.
pub fn range_update(new: At, old: &Value) {
    let cidrs = new.at(f::spec).at(f::cidrs);
    for (i, was) in old.at(f::spec).at(f::cidrs).items().iter().enumerate() {
        cidrs.index(i).immutable(was);
    }
}

#[cfg(test)]
mod tests {
    use super::is_strict_subset;

    #[test]
    fn blocks_lie_in_blocks() {
        assert!(is_strict_subset("10.1.0.0/16", "10.0.0.0/8"));
        assert!(!is_strict_subset("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!is_strict_subset("11.0.0.0/16", "10.0.0.0/8"));
        assert!(!is_strict_subset("10.0.0.0/8", "::/0"));
        assert!(is_strict_subset("fd00::/16", "::/0"));
    }
}
