//! Defaults and rules of the smaller kinds.
//!
//! Source: the `defaults.go` and `strategy.go` files of each group.

use super::validation as v;
use super::workloads::RootChild;
use api::errors::{FieldErrors, Path};
use api::{Key, Value, f, format};
use base64::Engine as _;

fn each(v: &mut Value, key: api::Name) -> impl Iterator<Item = &mut Value> {
    v.get_mut(key).and_then(Value::as_list_mut).into_iter().flatten()
}

fn text_default(v: &mut Value, key: api::Name, text: &str) {
    if v.at(key).str().is_empty() {
        v.set(key, text);
    }
}

// === namespaces, nodes ===

/// The label that names a namespace.
pub fn namespace_defaults(n: &mut Value) {
    let name = n.at(f::metadata).at(f::name).str().to_string();
    if !name.is_empty() {
        n.entry(f::metadata).entry(f::labels).set("kubernetes.io/metadata.name", name);
    }
}

/// A new namespace is active and has the finalizer of the namespace controller.
pub fn namespace_create(n: &mut Value) {
    namespace_defaults(n); // a generated name is known only now
    n.set(f::status, api::value::object([(f::phase, "Active".into())]));
    let list = n.entry(f::spec).entry(f::finalizers).make_list();
    if !list.iter().any(|v| v.str() == "kubernetes") {
        list.push("kubernetes".into());
    }
}

/// Finalizers of a namespace change through `/finalize` only.
pub fn namespace_update(new: &mut Value, old: &Value) {
    let list = old.at(f::spec).at(f::finalizers).clone();
    new.entry(f::spec).set(f::finalizers, list);
}

/// What is allocatable is what there is, unless said otherwise.
pub fn node_defaults(n: &mut Value) {
    let status = n.at(f::status);
    if status.at(f::allocatable).is_zero() && !status.at(f::capacity).is_zero() {
        let capacity = status.at(f::capacity).clone();
        n.entry(f::status).set(f::allocatable, capacity);
    }
}

/// Node.
pub fn node(n: &Value, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("spec");
    let taints = path.child("taints");
    let mut seen: Vec<(String, String)> = Vec::new();
    for (i, t) in n.at(f::spec).at(f::taints).items().iter().enumerate() {
        let at = taints.index(i);
        for m in format::is_qualified_name(t.at(f::key).str()) {
            errs.invalid(&at.child("key"), t.at(f::key), m);
        }
        for m in format::is_label_value(t.at(f::value).str()) {
            errs.invalid(&at.child("value"), t.at(f::value), m);
        }
        v::one_of(t.at(f::effect), &at.child("effect"), &["NoSchedule", "PreferNoSchedule", "NoExecute"], errs);
        let id = (t.at(f::key).str().to_string(), t.at(f::effect).str().to_string());
        if seen.contains(&id) {
            errs.duplicate(&at, t);
        }
        seen.push(id);
    }
}

// === configuration ===

const DATA_MAX: usize = 1024 * 1024;

fn data_keys(v: &Value, key: api::Name, total: &mut usize, decode: bool, errs: &mut FieldErrors) {
    let path = Path::Root.child_static(key.as_str());
    let mut entries: Vec<(&Key, &Value)> = v.at(key).members().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    for (k, data) in entries {
        for m in format::is_config_map_key(k.as_str()) {
            errs.invalid(&path.key(k.as_str()), k.as_str(), m);
        }
        *total += if decode { data.str().len() / 4 * 3 } else { data.str().len() };
    }
}

/// ConfigMap.
pub fn config_map(c: &Value, errs: &mut FieldErrors) {
    let mut total = 0;
    data_keys(c, f::data, &mut total, false, errs);
    let path = Path::Root.child_static("data");
    let mut both: Vec<&Key> =
        c.at(f::binaryData).members().map(|(k, _)| k).filter(|k| c.at(f::data).get(*k).is_some()).collect();
    both.sort();
    for k in both {
        errs.invalid(&path.key(k.as_str()), k.as_str(), "duplicate of key present in binaryData");
    }
    data_keys(c, f::binaryData, &mut total, true, errs);
    if total > DATA_MAX {
        errs.too_long(&Path::Root, DATA_MAX);
    }
}

/// What is immutable stays.
pub fn immutable_data(new: &Value, old: &Value, errs: &mut FieldErrors) {
    if !old.at(f::immutable).is_true() {
        return;
    }
    if !new.at(f::immutable).is_true() {
        errs.forbidden(&Path::Root.child_static("immutable"), "field is immutable when `immutable` is set");
    }
    for key in [f::data, f::binaryData] {
        if new.at(key) != old.at(key) && !(new.at(key).is_zero() && old.at(key).is_zero()) {
            errs.forbidden(&Path::Root.child_static(key.as_str()), "field is immutable when `immutable` is set");
        }
    }
}

/// Secret.
pub fn secret_defaults(s: &mut Value) {
    text_default(s, f::type_, "Opaque");
}

/// `stringData` is written into `data`.
pub fn secret_string_data(s: &mut Value) {
    let Some(Value::Map(strings)) = s.remove(f::stringData) else { return };
    for (k, v) in strings.iter() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(v.str());
        s.entry(f::data).set(k, encoded);
    }
}

/// As for a create; a type left out stays.
pub fn secret_update(new: &mut Value, old: &Value) {
    secret_string_data(new);
    if new.at(f::type_).str().is_empty() {
        let kind = old.at(f::type_).clone();
        new.set(f::type_, kind);
    }
}

/// Secret.
pub fn secret(s: &Value, errs: &mut FieldErrors) {
    let mut total = 0;
    data_keys(s, f::data, &mut total, true, errs);
    let path = Path::Root.child_static("data");
    if total > DATA_MAX {
        errs.too_long(&path, DATA_MAX);
    }
    let need = |key: &str, errs: &mut FieldErrors| {
        if s.at(f::data).get(key).is_none() {
            errs.required(&path.key(key), "");
        }
    };
    match s.at(f::type_).str() {
        "kubernetes.io/service-account-token" => {
            let name = s.at(f::metadata).at(f::annotations).at("kubernetes.io/service-account.name");
            if name.str().is_empty() {
                let metadata = Path::Root.child_static("metadata");
                let annotations = metadata.child("annotations");
                errs.required(&annotations.key("kubernetes.io/service-account.name"), "");
            }
        }
        "kubernetes.io/dockerconfigjson" => need(".dockerconfigjson", errs),
        "kubernetes.io/dockercfg" => need(".dockercfg", errs),
        "kubernetes.io/ssh-auth" => need("ssh-privatekey", errs),
        "kubernetes.io/tls" => {
            need("tls.crt", errs);
            need("tls.key", errs);
        }
        "kubernetes.io/basic-auth" => {
            if s.at(f::data).get("username").is_none() && s.at(f::data).get("password").is_none() {
                errs.required(&path.key("username"), "");
                errs.required(&path.key("password"), "");
            }
        }
        _ => {}
    }
}

/// A secret's type stays.
pub fn secret_change(new: &Value, old: &Value, errs: &mut FieldErrors) {
    if new.at(f::type_) != old.at(f::type_) {
        errs.invalid(&Path::Root.child_static("type"), new.at(f::type_), "field is immutable");
    }
    immutable_data(new, old, errs);
}

// === endpoints ===

/// Endpoints.
pub fn endpoints_defaults(e: &mut Value) {
    for s in each(e, f::subsets) {
        for p in each(s, f::ports) {
            text_default(p, f::protocol, "TCP");
        }
    }
}

/// EndpointSlice.
pub fn endpoint_slice_defaults(e: &mut Value) {
    for p in each(e, f::ports) {
        p.set_default(f::name, "");
        p.set_default(f::protocol, "TCP");
    }
}

// === policy, limits ===

/// LimitRange: limits fill in defaults, defaults fill in requests.
pub fn limit_range_defaults(l: &mut Value) {
    for item in l.get_mut(f::spec).map(|s| each(s, f::limits)).into_iter().flatten() {
        if item.at(f::type_).str() != "Container" {
            continue;
        }
        for (target, sources) in [(f::default_, [f::max].as_slice()), (f::defaultRequest, &[f::default_, f::min])] {
            for source in sources {
                let from = item.at(*source).clone();
                for (k, v) in from.members() {
                    if item.at(target).get(k).is_none() {
                        item.entry(target).set(k, v.clone());
                    }
                }
            }
        }
    }
}

/// NetworkPolicy.
pub fn network_policy_defaults(n: &mut Value) {
    let spec = n.entry(f::spec);
    for rules in [f::ingress, f::egress] {
        for rule in each(spec, rules) {
            for p in each(rule, f::ports) {
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

/// HorizontalPodAutoscaler.
pub fn hpa_defaults(h: &mut Value) {
    let spec = h.entry(f::spec);
    spec.set_default(f::minReplicas, 1);
    let v1 = spec.has(f::targetCPUUtilizationPercentage);
    if spec.at(f::metrics).is_zero() && !v1 {
        let target = api::value::object([("type", "Utilization".into()), ("averageUtilization", 80.into())]);
        let resource = api::value::object([("name", "cpu".into()), ("target", target)]);
        spec.set(f::metrics, vec![api::value::object([("type", "Resource".into()), ("resource", resource)])]);
    }
    if let Some(behavior) = spec.get_mut(f::behavior).filter(|b| !b.is_null()) {
        hpa_rules(behavior.entry(f::scaleUp), None, &[("Pods", 4, 15), ("Percent", 100, 15)], 0);
        hpa_rules(behavior.entry(f::scaleDown), Some(()), &[("Percent", 100, 15)], 300);
    }
}

fn hpa_rules(rules: &mut Value, down: Option<()>, policies: &[(&str, i64, i64)], window: i64) {
    if down.is_none() {
        rules.set_default(f::stabilizationWindowSeconds, window);
    }
    rules.set_default(f::selectPolicy, "Max");
    if rules.at(f::policies).is_zero() {
        let list = policies.iter().map(|(kind, value, period)| {
            api::value::object([
                ("type", (*kind).into()),
                ("value", (*value).into()),
                ("periodSeconds", (*period).into()),
            ])
        });
        rules.set(f::policies, list.collect::<Vec<_>>());
    }
}

/// PriorityClass.
pub fn priority_class_defaults(p: &mut Value) {
    p.set_default(f::preemptionPolicy, "PreemptLowerPriority");
}

// === storage ===

/// PersistentVolume.
pub fn pv_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    text_default(spec, f::persistentVolumeReclaimPolicy, "Retain");
    spec.set_default(f::volumeMode, "Filesystem");
    if let Some(h) = spec.get_mut(f::hostPath).filter(|h| !h.is_null()) {
        h.set_default(f::type_, "");
    }
    text_default(p.entry(f::status), f::phase, "Pending");
}

/// PersistentVolumeClaim.
pub fn pvc_defaults(p: &mut Value) {
    p.entry(f::spec).set_default(f::volumeMode, "Filesystem");
    text_default(p.entry(f::status), f::phase, "Pending");
}

/// StorageClass.
pub fn storage_class_defaults(s: &mut Value) {
    s.set_default(f::reclaimPolicy, "Delete");
    s.set_default(f::volumeBindingMode, "Immediate");
}

/// CSIDriver.
pub fn csi_driver_defaults(d: &mut Value) {
    let spec = d.entry(f::spec);
    spec.set_default(f::attachRequired, true);
    for key in [f::podInfoOnMount, f::storageCapacity, f::requiresRepublish, f::seLinuxMount] {
        spec.set_default(key, false);
    }
    spec.set_default(f::fsGroupPolicy, "ReadWriteOnceWithFSType");
    if spec.at(f::volumeLifecycleModes).is_zero() {
        spec.set(f::volumeLifecycleModes, vec!["Persistent".into()]);
    }
}

// === access ===

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

fn binding(b: &Value, kinds: &[&str], namespaced: bool, errs: &mut FieldErrors) {
    let path = Path::Root.child_static("roleRef");
    let role = b.at(f::roleRef);
    if role.at(f::apiGroup).str() != "rbac.authorization.k8s.io" {
        errs.not_supported(&path.child("apiGroup"), role.at(f::apiGroup), &["rbac.authorization.k8s.io"]);
    }
    if !kinds.contains(&role.at(f::kind).str()) {
        errs.not_supported(&path.child("kind"), role.at(f::kind), kinds);
    }
    v::named(role.at(f::name), &path.child("name"), format::is_path_segment, errs);
    let subjects = Path::Root.child_static("subjects");
    for (i, s) in b.at(f::subjects).items().iter().enumerate() {
        subject(s, &subjects.index(i), namespaced, errs);
    }
}

fn subject(s: &Value, at: &Path, namespaced: bool, errs: &mut FieldErrors) {
    if s.at(f::name).str().is_empty() {
        errs.required(&at.child("name"), "");
    }
    let group = s.at(f::apiGroup);
    match s.at(f::kind).str() {
        "ServiceAccount" => {
            let name = s.at(f::name);
            if !name.str().is_empty() {
                for m in format::is_dns1123_subdomain(name.str()) {
                    errs.invalid(&at.child("name"), name, m);
                }
            }
            if !group.str().is_empty() {
                errs.not_supported(&at.child("apiGroup"), group, &[""]);
            }
            if !namespaced && s.at(f::namespace).str().is_empty() {
                errs.required(&at.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group.str() != "rbac.authorization.k8s.io" {
                errs.not_supported(&at.child("apiGroup"), group, &["rbac.authorization.k8s.io"]);
            }
        }
        _ => errs.not_supported(&at.child("kind"), s.at(f::kind), &["ServiceAccount", "User", "Group"]),
    }
}

/// RoleBinding.
pub fn role_binding(b: &Value, errs: &mut FieldErrors) {
    binding(b, &["Role", "ClusterRole"], true, errs);
}

/// ClusterRoleBinding.
pub fn cluster_role_binding(b: &Value, errs: &mut FieldErrors) {
    binding(b, &["ClusterRole"], false, errs);
}

/// What a binding gives stays.
pub fn role_ref_immutable(new: &Value, old: &Value, errs: &mut FieldErrors) {
    if new.at(f::roleRef) != old.at(f::roleRef) {
        errs.invalid(&Path::Root.child_static("roleRef"), new.at(f::roleRef), "cannot change roleRef");
    }
}

/// CertificateSigningRequest.
pub fn csr_defaults(c: &mut Value) {
    let spec = c.entry(f::spec);
    if spec.at(f::usages).is_zero() {
        spec.set(f::usages, vec!["digital signature".into(), "key encipherment".into()]);
    }
}

// === flow control ===

/// FlowSchema.
pub fn flow_schema_defaults(s: &mut Value) {
    let spec = s.entry(f::spec);
    if spec.at(f::matchingPrecedence).int() == 0 {
        spec.set(f::matchingPrecedence, 1000);
    }
}

/// PriorityLevelConfiguration.
pub fn priority_level_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    if let Some(e) = spec.get_mut(f::exempt).filter(|e| !e.is_null()) {
        e.set_default(f::nominalConcurrencyShares, 0);
        e.set_default(f::lendablePercent, 0);
    }
    if let Some(l) = spec.get_mut(f::limited).filter(|l| !l.is_null()) {
        l.set_default(f::nominalConcurrencyShares, 30);
        l.set_default(f::lendablePercent, 0);
        if let Some(q) = l.get_mut(f::limitResponse).and_then(|r| r.get_mut(f::queuing)).filter(|q| !q.is_null()) {
            for (key, n) in [(f::handSize, 8), (f::queues, 64), (f::queueLengthLimit, 50)] {
                if q.at(key).int() == 0 {
                    q.set(key, n);
                }
            }
        }
    }
}

// === admission registration ===

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
