//! Pods: defaults of the spec (shared by every kind with a pod template) and what a create or update does to a pod.
//!
//! Source: `pkg/apis/core/v1/defaults.go`, `pkg/registry/core/pod/strategy.go`.

use api::quantity::Quantity;
use api::{Key, Value, f};

/// Defaults of a pod.
pub fn defaults(pod: &mut Value) {
    let spec = pod.entry(f::spec);
    for list in [f::containers, f::initContainers] {
        for c in spec.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten() {
            requests_from_limits(c.entry(f::resources));
        }
    }
    if let Some(r) = spec.get_mut(f::resources) {
        requests_from_limits(r);
    }
    spec.set_default(f::enableServiceLinks, true);
    spec_defaults(spec, true);
}

/// What is limited but not requested is requested at its limit.
fn requests_from_limits(resources: &mut Value) {
    let limits = resources.at(f::limits).clone();
    let Some(limits) = limits.as_map().filter(|m| !m.is_empty()) else { return };
    let requests = resources.entry(f::requests);
    for (k, v) in limits.iter() {
        if !requests.has(k) {
            requests.set(k, v.clone());
        }
    }
}

/// Defaults of a PodTemplate object.
pub fn template_object_defaults(v: &mut Value) {
    template_defaults(v.entry(f::template));
}

/// Defaults of a pod template inside another object.
pub fn template_defaults(template: &mut Value) {
    spec_defaults(template.entry(f::spec), false);
}

/// Defaults of a pod's spec; ports of the host's network are filled in for pods only.
fn spec_defaults(spec: &mut Value, pod: bool) {
    let host_network = pod && spec.at(f::hostNetwork).is_true();
    // Both names of the service account say the same, and the newer one rules.
    let account = [f::serviceAccountName, f::serviceAccount].map(|k| spec.at(k).str().to_string());
    if let Some(name) = account.iter().find(|n| !n.is_empty()).filter(|n| account.iter().any(|a| a != *n)) {
        spec.set(f::serviceAccountName, name.as_str());
        spec.set(f::serviceAccount, name.as_str());
    }
    for v in list(spec, f::volumes) {
        volume_defaults(v);
    }
    for group in [f::initContainers, f::containers, f::ephemeralContainers] {
        for c in list(spec, group) {
            container_defaults(c, host_network && group != f::ephemeralContainers);
        }
    }
    spec.set_default(f::restartPolicy, "Always");
    spec.set_default(f::terminationGracePeriodSeconds, 30);
    if spec.at(f::dnsPolicy).str().is_empty() {
        spec.set(f::dnsPolicy, "ClusterFirst");
    }
    spec.set_default(f::securityContext, Value::object());
    if spec.at(f::schedulerName).str().is_empty() {
        spec.set(f::schedulerName, "default-scheduler");
    }
    if let Some(overhead) = spec.get_mut(f::overhead) {
        round_resources(overhead);
    }
    for c in list(spec, f::topologySpreadConstraints) {
        c.set_default(f::nodeAffinityPolicy, Value::Null);
        c.remove_null(f::nodeAffinityPolicy);
    }
}

trait RemoveNull {
    fn remove_null(&mut self, key: api::Name);
}

impl RemoveNull for Value {
    fn remove_null(&mut self, key: api::Name) {
        if self.get(key).is_some_and(Value::is_null) {
            self.remove(key);
        }
    }
}

fn list(v: &mut Value, key: api::Name) -> impl Iterator<Item = &mut Value> {
    v.get_mut(key).and_then(Value::as_list_mut).into_iter().flatten()
}

/// Sets a text that an empty one counts as absent for.
fn set_empty(v: &mut Value, key: api::Name, text: &str) {
    if v.at(key).str().is_empty() {
        v.set(key, text);
    }
}

fn container_defaults(c: &mut Value, host_network: bool) {
    if c.at(f::imagePullPolicy).str().is_empty() {
        let policy = if is_latest(c.at(f::image).str()) { "Always" } else { "IfNotPresent" };
        c.set(f::imagePullPolicy, policy);
    }
    set_empty(c, f::terminationMessagePath, "/dev/termination-log");
    set_empty(c, f::terminationMessagePolicy, "File");
    for p in list(c, f::ports) {
        set_empty(p, f::protocol, "TCP");
        if host_network && p.at(f::hostPort).int() == 0 {
            let port = p.at(f::containerPort).clone();
            p.set(f::hostPort, port);
        }
    }
    for e in list(c, f::env) {
        if let Some(r) = e.get_mut(f::valueFrom).and_then(|v| v.get_mut(f::fieldRef)).filter(|r| !r.is_null()) {
            set_empty(r, f::apiVersion, "v1");
        }
        if let Some(r) = e.get_mut(f::valueFrom).and_then(|v| v.get_mut(f::fileKeyRef)).filter(|r| !r.is_null()) {
            r.set_default(f::optional, false);
        }
    }
    for key in [f::limits, f::requests] {
        if let Some(r) = c.get_mut(f::resources).and_then(|r| r.get_mut(key)) {
            round_resources(r);
        }
    }
    for key in [f::livenessProbe, f::readinessProbe, f::startupProbe] {
        if let Some(p) = c.get_mut(key).filter(|p| !p.is_null()) {
            probe_defaults(p);
        }
    }
    if let Some(l) = c.get_mut(f::lifecycle) {
        for key in [f::postStart, f::preStop] {
            if let Some(h) = l.get_mut(key) {
                http_defaults(h);
            }
        }
    }
}

/// CPU is kept in thousandths, rounded up.
fn round_resources(list: &mut Value) {
    if let Some(m) = list.as_map_mut() {
        for (_, v) in m.iter_mut() {
            if let Ok(q) = Quantity::parse(v.str()) {
                *v = q.round_to_milli().to_string().into();
            }
        }
    }
}

fn probe_defaults(p: &mut Value) {
    for (key, n) in [(f::timeoutSeconds, 1), (f::periodSeconds, 10), (f::successThreshold, 1), (f::failureThreshold, 3)]
    {
        if p.at(key).int() == 0 {
            p.set(key, n);
        }
    }
    http_defaults(p);
    if let Some(g) = p.get_mut(f::grpc).filter(|g| !g.is_null()) {
        g.set_default(f::service, "");
    }
}

fn http_defaults(handler: &mut Value) {
    if let Some(h) = handler.get_mut(f::httpGet).filter(|h| !h.is_null()) {
        set_empty(h, f::path, "/");
        set_empty(h, f::scheme, "HTTP");
    }
}

/// Whether an image names no tag or `latest`.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn volume_defaults(v: &mut Value) {
    let sources = v.members().filter(|(k, v)| k.as_str() != "name" && !v.is_null()).count();
    if sources == 0 {
        v.set(f::emptyDir, Value::object());
    }
    for key in [f::secret, f::configMap, f::downwardAPI, f::projected] {
        if let Some(s) = v.get_mut(key).filter(|s| !s.is_null()) {
            s.set_default(f::defaultMode, 420);
        }
    }
    for item in v.get_mut(f::downwardAPI).map(|d| list(d, f::items)).into_iter().flatten() {
        field_ref(item);
    }
    for source in v.get_mut(f::projected).map(|p| list(p, f::sources)).into_iter().flatten() {
        if let Some(t) = source.get_mut(f::serviceAccountToken).filter(|t| !t.is_null()) {
            t.set_default(f::expirationSeconds, 3600);
        }
        for item in source.get_mut(f::downwardAPI).map(|d| list(d, f::items)).into_iter().flatten() {
            field_ref(item);
        }
    }
    let texts: &[(api::Name, api::Name, &str)] = &[
        (f::hostPath, f::type_, ""),
        (f::iscsi, f::iscsiInterface, "default"),
        (f::rbd, f::pool, "rbd"),
        (f::rbd, f::user, "admin"),
        (f::rbd, f::keyring, "/etc/ceph/keyring"),
        (f::azureDisk, f::cachingMode, "ReadWrite"),
        (f::azureDisk, f::kind, "Shared"),
        (f::azureDisk, f::fsType, "ext4"),
        (f::scaleIO, f::storageMode, "ThinProvisioned"),
        (f::scaleIO, f::fsType, "xfs"),
    ];
    for (source, key, text) in texts {
        if let Some(s) = v.get_mut(*source).filter(|s| !s.is_null()) {
            s.set_default(*key, *text);
        }
    }
    if let Some(s) = v.get_mut(f::azureDisk).filter(|s| !s.is_null()) {
        s.set_default(f::readOnly, false);
    }
    if let Some(image) = v.get_mut(f::image).filter(|i| !i.is_null()) {
        let policy = if is_latest(image.at(f::reference).str()) { "Always" } else { "IfNotPresent" };
        set_empty(image, f::pullPolicy, policy);
    }
    if let Some(claim) =
        v.get_mut(f::ephemeral).and_then(|e| e.get_mut(f::volumeClaimTemplate)).and_then(|t| t.get_mut(f::spec))
    {
        claim.set_default(f::volumeMode, "Filesystem");
    }
}

fn field_ref(item: &mut Value) {
    if let Some(r) = item.get_mut(f::fieldRef).filter(|r| !r.is_null()) {
        set_empty(r, f::apiVersion, "v1");
    }
}

/// A new pod is pending, with its quality of service known.
pub fn prepare_create(pod: &mut Value) {
    let class = qos_class(pod.at(f::spec));
    let mut status = api::value::object([(f::phase, "Pending".into()), (f::qosClass, class.into())]);
    if !pod.at(f::spec).at(f::schedulingGates).is_zero() {
        let gated = api::value::object([
            (f::type_, "PodScheduled".into()),
            (f::status, "False".into()),
            (f::lastTransitionTime, pod.at(f::metadata).at(f::creationTimestamp).clone()),
            (f::reason, "SchedulingGated".into()),
            (f::message, "Scheduling is blocked due to non-empty scheduling gates".into()),
        ]);
        status.set(f::conditions, vec![gated]);
    }
    pod.set(f::status, status);
    let grace = pod.entry(f::spec).entry(f::terminationGracePeriodSeconds);
    if grace.int() < 0 {
        *grace = 1.into();
    }
    match_label_keys(pod);
}

/// Labels of the pod that terms name by key become part of the terms' selectors.
fn match_label_keys(pod: &mut Value) {
    let spec = pod.at(f::spec);
    if !spec.has(f::topologySpreadConstraints) && !spec.has(f::affinity) {
        return;
    }
    let labels = pod.at(f::metadata).at(f::labels).clone();
    let spec = pod.entry(f::spec);
    for c in list(spec, f::topologySpreadConstraints) {
        merge_keys(c, &labels);
    }
    let Some(affinity) = spec.get_mut(f::affinity) else { return };
    for kind in [f::podAffinity, f::podAntiAffinity] {
        let Some(pods) = affinity.get_mut(kind) else { continue };
        for t in list(pods, f::requiredDuringSchedulingIgnoredDuringExecution) {
            merge_keys(t, &labels);
        }
        for p in list(pods, f::preferredDuringSchedulingIgnoredDuringExecution) {
            if let Some(t) = p.get_mut(f::podAffinityTerm) {
                merge_keys(t, &labels);
            }
        }
    }
}

fn merge_keys(term: &mut Value, labels: &Value) {
    if !term.has(f::labelSelector) {
        return;
    }
    for (keys, operator) in [(f::matchLabelKeys, "In"), (f::mismatchLabelKeys, "NotIn")] {
        for key in term.at(keys).clone().items() {
            let Some(value) = labels.get(key.str()) else { continue };
            let requirement = api::value::object([
                (f::key, key.clone()),
                (f::operator, operator.into()),
                (f::values, vec![value.clone()].into()),
            ]);
            term.entry(f::labelSelector).entry(f::matchExpressions).make_list().push(requirement);
        }
    }
}

/// The first address stands alone too, and rules.
pub fn status_change(new: &mut Value, _: &Value, _: &str) {
    let Some(status) = new.get_mut(f::status) else { return };
    let ip = status.at(f::podIP).str().to_string();
    let first = status.at(f::podIPs).items().first().map_or("", |i| i.at(f::ip).str());
    if !ip.is_empty() && ip != first {
        status.set(f::podIPs, vec![api::value::object([(f::ip, ip.into())])]);
    } else if ip.is_empty() && !first.is_empty() {
        let first = first.to_string();
        status.set(f::podIP, first);
    }
}

/// The main resource does not touch the status.
pub fn prepare_update(new: &mut Value, old: &Value) {
    let status = old.at(f::status).clone();
    new.set(f::status, status);
}

/// A pod's quality of service.
/// Source: `pkg/apis/core/helper/qos/qos.go`.
pub fn qos_class(spec: &Value) -> &'static str {
    let resources: Vec<&Value> = match spec.at(f::resources) {
        Value::Map(m) if m.iter().any(|(k, v)| k.as_str() != "claims" && !v.is_zero()) => vec![spec.at(f::resources)],
        _ => [f::containers, f::initContainers]
            .iter()
            .flat_map(|k| spec.at(*k).items())
            .map(|c| c.at(f::resources))
            .collect(),
    };
    let amount = |v: &Value| Quantity::parse(v.str()).ok().filter(|q| !q.is_zero());
    let mut any = false;
    let mut guaranteed = !resources.is_empty();
    for r in &resources {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(r.at(f::requests).at(name)), amount(r.at(f::limits).at(name)));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Every container of a pod's spec, with the name of its list.
pub fn containers(spec: &Value) -> impl Iterator<Item = (api::Name, &Value)> {
    [f::initContainers, f::containers, f::ephemeralContainers]
        .into_iter()
        .flat_map(move |k| spec.at(k).items().iter().map(move |c| (k, c)))
}

/// A resource list's amount.
pub fn amount(list: &Value, resource: &str) -> Option<Quantity> {
    list.get(&Key::from(resource)).and_then(|v| Quantity::parse(v.str()).ok())
}
