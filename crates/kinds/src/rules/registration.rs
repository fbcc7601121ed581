//! Admission registrations, APIServices and CustomResourceDefinitions: defaults.
//!
//! Source: `pkg/apis/admissionregistration/v1/defaults.go` and its like.

use super::each;
use api::{Value, f};

fn webhook_defaults(w: &mut Value) {
    w.set_default(f::failurePolicy, "Fail");
    w.set_default(f::matchPolicy, "Equivalent");
    w.set_default(f::namespaceSelector, Value::object());
    w.set_default(f::objectSelector, Value::object());
    w.set_default(f::timeoutSeconds, 10);
    if let Some(s) = w.get_mut(f::clientConfig).and_then(|c| c.get_mut(f::service)).filter(|s| !s.is_null()) {
        s.set_default(f::port, 443);
    }
    for r in each(w, f::rules) {
        r.set_default(f::scope, "*");
    }
}

/// ValidatingWebhookConfiguration.
pub fn webhooks_defaults(v: &mut Value) {
    each(v, f::webhooks).for_each(webhook_defaults);
}

/// MutatingWebhookConfiguration.
pub fn mutating_webhooks_defaults(v: &mut Value) {
    for w in each(v, f::webhooks) {
        webhook_defaults(w);
        w.set_default(f::reinvocationPolicy, "Never");
    }
}

fn constraints_defaults(c: &mut Value) {
    c.set_default(f::matchPolicy, "Equivalent");
    c.set_default(f::namespaceSelector, Value::object());
    c.set_default(f::objectSelector, Value::object());
    for rules in [f::resourceRules, f::excludeResourceRules] {
        for r in each(c, rules) {
            r.set_default(f::scope, "*");
        }
    }
}

/// ValidatingAdmissionPolicy and MutatingAdmissionPolicy.
pub fn policy_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    spec.set_default(f::failurePolicy, "Fail");
    if let Some(c) = spec.get_mut(f::matchConstraints).filter(|c| !c.is_null()) {
        constraints_defaults(c);
    }
}

/// Bindings of admission policies.
pub fn policy_binding_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    if let Some(c) = spec.get_mut(f::matchResources).filter(|c| !c.is_null()) {
        constraints_defaults(c);
    }
    if let Some(r) = spec.get_mut(f::paramRef).filter(|r| !r.is_null()) {
        r.set_default(f::parameterNotFoundAction, "Deny");
    }
}

/// CustomResourceDefinition.
pub fn crd_defaults(c: &mut Value) {
    let spec = c.entry(f::spec);
    let names = spec.entry(f::names);
    if names.at(f::singular).str().is_empty() {
        let singular = names.at(f::kind).str().to_lowercase();
        names.set(f::singular, singular);
    }
    if names.at(f::listKind).str().is_empty() && !names.at(f::kind).str().is_empty() {
        let list = format!("{}List", names.at(f::kind).str());
        names.set(f::listKind, list);
    }
    spec.entry(f::conversion).set_default(f::strategy, "None");
}

/// APIService.
pub fn api_service_defaults(a: &mut Value) {
    if let Some(s) = a.get_mut(f::spec).and_then(|s| s.get_mut(f::service)).filter(|s| !s.is_null()) {
        s.set_default(f::port, 443);
    }
}
