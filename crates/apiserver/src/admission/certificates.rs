//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction.

use super::{Attrs, Operation};
use crate::core::csr;
use crate::core::rbac::Attributes;
use crate::registry::Registry;
use api::{Status, Value, f};

/// Checks a write of a certificate request.
pub fn check(registry: &Registry, a: &Attrs, new: &Value) -> Result<(), Status> {
    if a.resource.plural != "certificatesigningrequests" {
        return Ok(());
    }
    let signer = a.old.unwrap_or(new).at(f::spec).at(f::signerName).str();
    match (a.operation, a.subresource) {
        (Operation::Create, "") => subject(a, new, signer),
        (Operation::Update, "approval") => allowed(registry, a, "approve", signer),
        (Operation::Update, "status") => {
            let same = |key: api::Name| a.old.is_some_and(|o| o.at(f::status).at(key) == new.at(f::status).at(key));
            if same(f::certificate) && same(f::conditions) {
                return Ok(());
            }
            allowed(registry, a, "sign", signer)
        }
        _ => Ok(()),
    }
}

/// Whether the user may act for a signer, or for all of its domain.
fn allowed(registry: &Registry, a: &Attrs, verb: &str, signer: &str) -> Result<(), Status> {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let may = |name: &str| {
        let asked = Attributes {
            verb,
            group: "certificates.k8s.io",
            resource: "signers",
            name,
            is_resource: true,
            ..Attributes::default()
        };
        registry.authorize(a.user, &asked).is_ok()
    };
    if may(signer) || may(&domain) {
        Ok(())
    } else {
        Err(a.forbid(format!("user not permitted to {verb} requests with signerName {signer:?}")))
    }
}

/// Nobody becomes a master by a certificate.
fn subject(a: &Attrs, new: &Value, signer: &str) -> Result<(), Status> {
    const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
    let masters = signer == SIGNER
        && csr::subject(new.at(f::spec).at(f::request))
            .is_some_and(|s| s.organizations.iter().any(|o| o == "system:masters"));
    if masters {
        Err(a.forbid(format!("use of {SIGNER} signer with system:masters group is not allowed")))
    } else {
        Ok(())
    }
}
