//! Dynamic resources: claims and their templates.
//!
//! Source: `pkg/apis/resource/v1/defaults.go`.

use super::{each, text_default};
use api::{Value, f};

/// ResourceClaim.
pub fn claim_defaults(c: &mut Value) {
    if let Some(spec) = c.get_mut(f::spec) {
        requests(spec);
    }
}

/// ResourceClaimTemplate.
pub fn template_defaults(t: &mut Value) {
    if let Some(spec) = t.get_mut(f::spec).and_then(|s| s.get_mut(f::spec)) {
        requests(spec);
    }
}

fn requests(spec: &mut Value) {
    let Some(devices) = spec.get_mut(f::devices) else { return };
    for r in each(devices, f::requests) {
        if let Some(exactly) = r.get_mut(f::exactly).filter(|e| !e.is_null()) {
            request(exactly);
        }
        each(r, f::firstAvailable).for_each(request);
    }
}

/// One device unless said otherwise.
fn request(r: &mut Value) {
    text_default(r, f::allocationMode, "ExactCount");
    if r.at(f::allocationMode).str() == "ExactCount" && r.at(f::count).int() == 0 {
        r.set(f::count, 1);
    }
    for t in each(r, f::tolerations) {
        text_default(t, f::operator, "Equal");
    }
}
