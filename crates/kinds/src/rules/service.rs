//! Services: defaults and validation. Addresses and node ports are given by the registry.
//!
//! Source: `pkg/apis/core/v1/defaults.go:SetDefaults_Service`, `pkg/apis/core/validation:ValidateService`.

use super::validation as v;
use super::workloads::RootChild;
use api::errors::{FieldErrors, Path};
use api::{Value, f, format};

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

/// Service.
pub fn validate(s: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let spec = s.at(f::spec);
    let kind = spec.at(f::type_).str();
    let headless = spec.at(f::clusterIP).str() == "None";
    let ports = path.child("ports");
    if spec.at(f::ports).is_zero() && !headless && kind != "ExternalName" {
        errs.required(&ports, "");
    }
    match kind {
        "ExternalName" => {
            let ip = spec.at(f::clusterIP);
            if !ip.str().is_empty() && ip.str() != "None" {
                errs.forbidden(&path.child("clusterIPs"), "may not be set when `type` is 'ExternalName'");
            }
            let name = spec.at(f::externalName).str();
            if name.is_empty() {
                errs.required(&path.child("externalName"), "");
            } else {
                for m in format::is_dns1123_subdomain(name.trim_end_matches('.')) {
                    errs.invalid(&path.child("externalName"), name, m);
                }
            }
        }
        "LoadBalancer" if headless => errs.invalid(
            &path.child("clusterIPs"),
            spec.at(f::clusterIPs),
            "may not be set to 'None' for LoadBalancer services",
        ),
        "NodePort" if headless => errs.invalid(
            &path.child("clusterIPs"),
            spec.at(f::clusterIPs),
            "may not be set to 'None' for NodePort services",
        ),
        "ClusterIP" | "NodePort" | "LoadBalancer" => {}
        "" => errs.required(&path.child("type"), ""),
        other => {
            errs.not_supported(&path.child("type"), other, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])
        }
    }
    let list = spec.at(f::ports).items();
    let mut names = Vec::new();
    for (i, p) in list.iter().enumerate() {
        port(p, &ports.index(i), list.len() > 1, &mut names, errs);
    }
    for (i, p) in list.iter().enumerate() {
        let same = |o: &Value| o.at(f::port) == p.at(f::port) && o.at(f::protocol) == p.at(f::protocol);
        if list[..i].iter().any(same) {
            let mut shown = Value::object();
            for key in [f::port, f::protocol] {
                shown.set(key, p.at(key).clone());
            }
            errs.duplicate(&ports.index(i), &shown);
        }
    }
    let selector = spec.at(f::selector);
    if !selector.is_null() {
        v::labels(selector, &path.child("selector"), errs);
    }
    let affinity = spec.at(f::sessionAffinity);
    v::one_of(affinity, &path.child("sessionAffinity"), &["ClientIP", "None"], errs);
}

fn port(p: &Value, path: &Path, need_name: bool, names: &mut Vec<String>, errs: &mut FieldErrors) {
    let name = p.at(f::name);
    if name.str().is_empty() {
        if need_name {
            errs.required(&path.child("name"), "");
        }
    } else {
        for m in format::is_dns1123_label(name.str()) {
            errs.invalid(&path.child("name"), name, m);
        }
        if names.iter().any(|n| n == name.str()) {
            errs.duplicate(&path.child("name"), name);
        }
        names.push(name.str().into());
    }
    for m in format::is_port_number(p.at(f::port).int()) {
        errs.invalid(&path.child("port"), p.at(f::port).int(), m);
    }
    let protocol = p.at(f::protocol);
    v::one_of(protocol, &path.child("protocol"), &["SCTP", "TCP", "UDP"], errs);
    let target = p.at(f::targetPort);
    match target {
        Value::Str(s) => {
            for m in format::is_port_name(s) {
                errs.invalid(&path.child("targetPort"), target, m);
            }
        }
        _ => {
            for m in format::is_port_number(target.int()) {
                errs.invalid(&path.child("targetPort"), target, m);
            }
        }
    }
}

/// An address once given stays.
pub fn validate_update(new: &Value, old: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    let given = o.at(f::clusterIP).str();
    let needs = |v: &Value| v.at(f::type_).str() != "ExternalName";
    if needs(n) && needs(o) && !given.is_empty() && n.at(f::clusterIP).str() != given {
        let list = path.child("clusterIPs");
        errs.invalid(&list.index(0), n.at(f::clusterIPs), "may not change once set");
    }
}
