//! Roles, bindings, certificate requests.
//!
//! Source: `pkg/apis/{rbac,certificates}/{v1/defaults.go,validation}`.

use super::{each, text_default, validation as v};
use api::check::At;
use api::{Value, f, format};
use base64::Engine as _;

// === roles and bindings ===

/// RoleBinding and ClusterRoleBinding.
pub fn binding_defaults(b: &mut Value) {
    let role = b.entry(f::roleRef);
    text_default(role, f::apiGroup, "rbac.authorization.k8s.io");
    for s in each(b, f::subjects) {
        if matches!(s.at(f::kind).str(), "User" | "Group") {
            text_default(s, f::apiGroup, "rbac.authorization.k8s.io");
        }
    }
}

/// Role.
pub fn role(r: At) {
    r.at(f::rules).items().for_each(|p| rule(p, true));
}

/// ClusterRole.
pub fn cluster_role(r: At) {
    r.at(f::rules).items().for_each(|p| rule(p, false));
    let Some(aggregation) = r.at(f::aggregationRule).some() else { return };
    let selectors = aggregation.at(f::clusterRoleSelectors);
    if selectors.v.is_zero() {
        selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for s in selectors.items() {
        if !v::label_selector(s) {
            s.invalid_as(&Value::Null, "invalid label selector.");
        }
    }
}

fn rule(p: At, namespaced: bool) {
    if p.get(f::verbs).is_zero() {
        p.at(f::verbs).required("verbs must contain at least one value");
    }
    let paths = p.at(f::nonResourceURLs);
    if !paths.v.is_zero() {
        if namespaced {
            paths.invalid("namespaced rules cannot apply to non-resource URLs");
        }
        if [f::apiGroups, f::resources, f::resourceNames].iter().any(|k| !p.get(*k).is_zero()) {
            paths.invalid("rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if p.get(f::apiGroups).is_zero() {
        p.at(f::apiGroups).required("resource rules must supply at least one api group");
    }
    if p.get(f::resources).is_zero() {
        p.at(f::resources).required("resource rules must supply at least one resource");
    }
}

const GROUP: &str = "rbac.authorization.k8s.io";

fn binding(b: At, kinds: &[&str], namespaced: bool) {
    let role = b.at(f::roleRef);
    role.at(f::apiGroup).any_of(&[GROUP]);
    role.at(f::kind).any_of(kinds);
    role.at(f::name).named(format::is_path_segment);
    b.at(f::subjects).items().for_each(|s| subject(s, namespaced));
}

fn subject(s: At, namespaced: bool) {
    let (name, group) = (s.at(f::name), s.at(f::apiGroup));
    if name.v.str().is_empty() {
        name.required("");
    }
    match s.str(f::kind) {
        "ServiceAccount" => {
            name.maybe(format::is_dns1123_subdomain);
            if !group.v.str().is_empty() {
                group.unsupported(&[""]);
            }
            if !namespaced && s.str(f::namespace).is_empty() {
                s.at(f::namespace).required("");
            }
        }
        "User" | "Group" => group.any_of(&[GROUP]),
        _ => s.at(f::kind).unsupported(&["ServiceAccount", "User", "Group"]),
    }
}

/// RoleBinding.
pub fn role_binding(b: At) {
    binding(b, &["Role", "ClusterRole"], true);
}

/// ClusterRoleBinding.
pub fn cluster_role_binding(b: At) {
    binding(b, &["ClusterRole"], false);
}

/// What a binding gives stays.
pub fn role_ref_immutable(new: At, old: &Value) {
    if new.get(f::roleRef) != old.at(f::roleRef) {
        new.at(f::roleRef).invalid("cannot change roleRef");
    }
}

// === certificates ===

/// CertificateSigningRequest.
pub fn csr_defaults(c: &mut Value) {
    let spec = c.entry(f::spec);
    if spec.at(f::usages).is_zero() {
        spec.set(f::usages, vec!["digital signature".into(), "key encipherment".into()]);
    }
}

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The PEM block in base64 text: its type and its content.
pub fn pem(v: &Value) -> Option<(String, Vec<u8>)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(v.str()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let rest = &text[text.find("-----BEGIN ")? + 11..];
    let (kind, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {kind}-----"))?;
    let joined: String = body.split_whitespace().collect();
    Some((kind.to_string(), base64::engine::general_purpose::STANDARD.decode(joined).ok()?))
}

/// CertificateSigningRequest.
pub fn csr(c: At) {
    let spec = c.at(f::spec);
    let request = spec.at(f::request);
    if pem(request.v).is_none_or(|(kind, _)| kind != "CERTIFICATE REQUEST") {
        request.invalid("PEM block type must be CERTIFICATE REQUEST");
    }
    let usages = spec.at(f::usages);
    if usages.v.is_zero() {
        usages.required("usages must be provided");
    }
    for u in usages.items().filter(|u| !USAGES.contains(&u.v.str())) {
        u.unsupported(USAGES);
    }
    usages.unique(|u| u, |u| u.duplicate());
    signer(spec.at(f::signerName));
    let seconds = spec.at(f::expirationSeconds);
    if seconds.v.as_int().is_some_and(|n| n < 600) {
        seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)");
    }
    conditions(c);
}

fn signer(at: At) {
    const PATH_MAX: usize = 253 + 1 + 253 + 1 + 63;
    if !at.needed() {
        return;
    }
    let name = at.v.str();
    let Some((domain, path)) = name.split_once('/').filter(|(_, p)| !p.contains('/')) else {
        return at.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if name.len() > PATH_MAX {
        at.too_long(PATH_MAX);
    }
    let domain_wrong = format::is_dns1123_subdomain(domain);
    for m in &domain_wrong {
        at.invalid_as(domain, format!("validating label {domain:?}: {m}"));
    }
    if domain_wrong.is_empty() && !domain.contains('.') {
        at.invalid_as(domain, "should be a domain with at least two segments separated by dots");
    }
    for m in path.split('.').flat_map(format::is_dns1123_label) {
        at.invalid_as(path, format!("validating label {path:?}: {m}"));
    }
}

/// Conditions are true and known once; Approved and Denied exclude each other.
fn conditions(c: At) {
    let list = c.at(f::status).at(f::conditions);
    let (mut approved, mut denied) = (false, false);
    for (i, condition) in list.items().enumerate() {
        let (kind, status) = (condition.at(f::type_), condition.at(f::status));
        if kind.v.str().is_empty() {
            kind.required("");
        } else if list.v.items()[..i].iter().any(|o| o.at(f::type_) == kind.v) {
            kind.duplicate();
        }
        match (kind.v.str(), status.v.str()) {
            (_, "") => status.required(""),
            ("Approved" | "Denied" | "Failed", "True") => {}
            ("Approved" | "Denied" | "Failed", _) => status.unsupported(&["True"]),
            (_, "True" | "False" | "Unknown") => {}
            _ => status.unsupported(&["True", "False", "Unknown"]),
        }
        approved |= kind.v.str() == "Approved";
        denied |= kind.v.str() == "Denied";
        if approved && denied && matches!(kind.v.str(), "Approved" | "Denied") {
            list.invalid_as(kind.v, "Approved and Denied conditions are mutually exclusive");
        }
    }
    certificate(c.at(f::status).at(f::certificate));
}

fn certificate(at: At) {
    if !at.v.str().is_empty() && pem(at.v).is_none_or(|(kind, _)| kind != "CERTIFICATE") {
        at.invalid_as("<certificate data>", "must contain at least one CERTIFICATE PEM block");
    }
}

/// What was decided of a request stays.
pub fn csr_status(new: At, old: &Value) {
    csr(new);
    let list = new.at(f::status).at(f::conditions);
    for kind in ["Approved", "Denied", "Failed"] {
        let has = |v: &Value| v.items().iter().any(|c| c.at(f::type_).str() == kind);
        if has(old.at(f::status).at(f::conditions)) && !has(list.v) {
            list.forbidden(format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

/// What is asked for, and by whom, stays.
pub fn csr_update(new: &mut Value, old: &Value) {
    match old.get(f::spec) {
        Some(spec) => new.set(f::spec, spec.clone()),
        None => drop(new.remove(f::spec)),
    }
}

/// An approval writes conditions and metadata.
pub fn keep_conditions(new: &mut Value, old: &Value) {
    let conditions = new.at(f::status).at(f::conditions).clone();
    for key in [f::spec, f::status] {
        match old.get(key) {
            Some(v) => new.set(key, v.clone()),
            None => drop(new.remove(key)),
        }
    }
    new.entry(f::status).set(f::conditions, conditions);
}

/// Conditions carry the time of their making.
pub fn csr_stamp(new: &mut Value, old: &Value, now: &str) {
    let before = old.at(f::status).at(f::conditions).clone();
    let Some(status) = new.get_mut(f::status) else { return };
    for c in each(status, f::conditions) {
        let was = before.items().iter().find(|o| o.at(f::type_) == c.at(f::type_));
        if c.at(f::lastTransitionTime).is_null() {
            let same = was.filter(|o| o.at(f::status) == c.at(f::status)).map(|o| o.at(f::lastTransitionTime));
            let time = same.filter(|t| !t.is_null()).cloned().unwrap_or_else(|| now.into());
            c.set(f::lastTransitionTime, time);
        }
        if c.at(f::lastUpdateTime).is_null() {
            let time = was.map(|o| o.at(f::lastUpdateTime)).filter(|t| !t.is_null()).cloned();
            c.set(f::lastUpdateTime, time.unwrap_or_else(|| now.into()));
        }
    }
}
