//! Requests, limits, resource claims.

use super::super::validation as v;
use super::container::Scope;
use api::check::At;
use api::{f, format};

/// A resource that a container can have.
pub fn container_resource(at: At, name: &str) {
    if !v::resource_name(at, name) && name.contains('/') {
        return;
    }
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known && !name.contains('/') {
        at.invalid_as(name, "must be a standard resource for containers");
    }
}

/// Whether less than the limit can be requested.
fn overcommitted(name: &str) -> bool {
    !name.contains('/') && !name.starts_with("hugepages-")
}

/// A container's resources.
pub fn of_container(r: At, scope: &Scope) {
    if r.v.as_map().is_none_or(|m| m.is_empty()) {
        return;
    }
    amounts(r, container_resource);
    claim_references(r.at(f::claims), scope);
}

/// A pod's own resources.
pub fn of_pod(r: At, scope: &Scope) {
    let claims = r.at(f::claims);
    if !claims.v.is_zero() {
        claims.forbidden("claims may not be set for Resources at pod-level");
    }
    claim_references(claims, scope);
    amounts(r, |at, name| {
        if !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
            at.unsupported_as(name, &["cpu", "memory"]);
        }
    });
}

fn amounts(r: At, known: impl Fn(At, &str)) {
    let (limits, requests) = (r.at(f::limits), r.at(f::requests));
    for (name, amount) in limits.entries() {
        let at = limits.key(name);
        known(at, name);
        v::quantity_not_negative(at.with(amount));
        v::whole_if_counted(at.with(amount), name);
    }
    for (name, amount) in requests.entries() {
        let at = requests.key(name);
        known(at, name);
        v::quantity_not_negative(at.with(amount));
        v::whole_if_counted(at.with(amount), name);
        match (v::quantity(amount), limits.v.get(name).and_then(v::quantity)) {
            (Some(request), Some(limit)) if request != limit && !overcommitted(name) => {
                requests.with(amount).invalid(format!("must be equal to {name} limit of {limit}"))
            }
            (Some(request), Some(limit)) if request > limit => {
                requests.with(amount).invalid(format!("must be less than or equal to {name} limit of {limit}"))
            }
            (Some(_), None) if !overcommitted(name) => {
                limits.required("Limit must be set for non overcommitable resources")
            }
            _ => {}
        }
    }
}

fn claim_references(list: At, scope: &Scope) {
    for (i, c) in list.items().enumerate() {
        let (name, request) = (c.str(f::name), c.str(f::request));
        if name.is_empty() {
            c.at(f::name).required("");
            continue;
        }
        let same = |o: &api::Value| o.at(f::name).str() == name && o.at(f::request).str() == request;
        if list.v.items()[..i].iter().any(same) {
            c.duplicate_as(if request.is_empty() { name.to_string() } else { format!("{name}/{request}") });
        } else if !scope.claims.contains(&name) {
            let mut detail = "must be one of the names in pod.spec.resourceClaims".to_string();
            if scope.claims.is_empty() {
                detail.push_str(" which is empty");
            } else {
                detail.push_str(&format!(": {}", scope.claims.join(", ")));
            }
            c.not_found_as(name, detail);
        }
    }
}

/// The claims that a pod brings.
pub fn claims(list: At) {
    for c in list.items() {
        c.at(f::name).named(format::is_dns1123_label);
        let (name, template) = (c.at(f::resourceClaimName), c.at(f::resourceClaimTemplateName));
        match (name.v.is_null(), template.v.is_null()) {
            (false, false) => {
                c.invalid("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            (true, true) => c.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => {}
        }
        for reference in [name, template].into_iter().filter(|r| !r.v.is_null()) {
            reference.format(format::is_dns1123_subdomain);
        }
    }
    list.unique(|c| c.at(f::name), |c| c.duplicate_as(c.str(f::name)));
}
