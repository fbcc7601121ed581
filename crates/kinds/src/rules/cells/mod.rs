//! Table rows: what `kubectl get` shows of each kind.
//!
//! Source: `pkg/printers/internalversion/printers.go`. Columns are facts (`facts/table-columns.json`); a row has one cell each.

mod workloads;

pub use workloads::*;

use api::selector::LabelSelector;
use api::{Value, f, time};

const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

fn name(v: &Value) -> Value {
    v.at(f::metadata).at(f::name).str().into()
}

/// Time since a timestamp in the short form of tables.
pub fn since(stamp: &Value, now: i64) -> Value {
    match stamp.as_str().and_then(time::parse_seconds) {
        Some(t) => human(now - t).into(),
        None => UNKNOWN.into(),
    }
}

fn age(v: &Value, now: i64) -> Value {
    since(v.at(f::metadata).at(f::creationTimestamp), now)
}

/// A duration in at most two units.
/// Source: `k8s.io/apimachinery/pkg/util/duration:HumanDuration`.
pub fn human(seconds: i64) -> String {
    let (m, h, d) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".into(),
        s if s < 0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(m, "m", seconds % 60, "s"),
        600..10_800 => format!("{m}m"),
        10_800..28_800 => pair(h, "h", m % 60, "m"),
        28_800..172_800 => format!("{h}h"),
        172_800..691_200 => pair(d, "d", h % 24, "h"),
        691_200..63_072_000 => format!("{d}d"),
        63_072_000..252_288_000 => pair(d / 365, "y", d % 365, "d"),
        _ => format!("{}y", d / 365),
    }
}

fn join(items: impl Iterator<Item = String>) -> Value {
    let all: Vec<String> = items.collect();
    if all.is_empty() { NONE.into() } else { all.join(",").into() }
}

fn or_none(v: &Value) -> Value {
    if v.str().is_empty() { NONE.into() } else { v.clone() }
}

fn int(v: &Value) -> Value {
    v.int().into()
}

fn labels(v: &Value) -> Value {
    join(v.members().map(|(k, v)| format!("{}={}", k.as_str(), v.str())))
}

fn selector(v: &Value) -> Value {
    let Ok(s) = LabelSelector::from_object(v) else { return "<error>".into() };
    if s.requirements.is_empty() {
        return NONE.into();
    }
    use api::selector::Operator;
    let text = |r: &api::selector::Requirement| match r.operator {
        Operator::In if r.values.len() == 1 => format!("{}={}", r.key, r.values[0]),
        Operator::In => format!("{} in ({})", r.key, r.values.join(",")),
        Operator::NotIn => format!("{} notin ({})", r.key, r.values.join(",")),
        Operator::Exists => r.key.clone(),
        Operator::Absent => format!("!{}", r.key),
        Operator::Greater => format!("{}>{}", r.key, r.values.join("")),
        Operator::Less => format!("{}<{}", r.key, r.values.join("")),
    };
    s.requirements.iter().map(text).collect::<Vec<_>>().join(",").into()
}

fn images(spec: &Value) -> [Value; 2] {
    let all = |key: api::Name| {
        Value::from(spec.at(f::containers).items().iter().map(|c| c.at(key).str()).collect::<Vec<_>>().join(","))
    };
    [all(f::name), all(f::image)]
}

/// Name and age: most kinds without rules of their own.
pub fn name_and_age(v: &Value, now: i64) -> Vec<Value> {
    vec![name(v), age(v, now)]
}

// === core ===

/// Namespace.
pub fn namespace(n: &Value, now: i64) -> Vec<Value> {
    vec![name(n), n.at(f::status).at(f::phase).str().into(), age(n, now)]
}

/// Node.
pub fn node(n: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (n.at(f::spec), n.at(f::status));
    let ready = status.at(f::conditions).items().iter().find(|c| c.at(f::type_).str() == "Ready");
    let mut state = match ready.map(|c| c.at(f::status).str()) {
        Some("True") => "Ready".to_string(),
        Some(_) => "NotReady".to_string(),
        None => "Unknown".to_string(),
    };
    if spec.at(f::unschedulable).is_true() {
        state.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<String> = Vec::new();
    for (k, v) in n.at(f::metadata).at(f::labels).members() {
        if let Some(role) = k.as_str().strip_prefix("node-role.kubernetes.io/").filter(|r| !r.is_empty()) {
            roles.push(role.into());
        } else if k.as_str() == "kubernetes.io/role" && !v.str().is_empty() {
            roles.push(v.str().into());
        }
    }
    roles.sort();
    let address = |kind: &str| {
        status
            .at(f::addresses)
            .items()
            .iter()
            .find(|a| a.at(f::type_).str() == kind)
            .map_or(Value::from(NONE), |a| a.at(f::address).clone())
    };
    let info = status.at(f::nodeInfo);
    let text = |v: &Value| if v.str().is_empty() { Value::from(UNKNOWN) } else { v.clone() };
    vec![
        name(n),
        state.into(),
        join(roles.into_iter()),
        age(n, now),
        info.at(f::kubeletVersion).str().into(),
        address("InternalIP"),
        address("ExternalIP"),
        text(info.at(f::osImage)),
        text(info.at(f::kernelVersion)),
        text(info.at(f::containerRuntimeVersion)),
    ]
}

/// ConfigMap.
pub fn config_map(c: &Value, now: i64) -> Vec<Value> {
    let n = c.at(f::data).members().count() + c.at(f::binaryData).members().count();
    vec![name(c), Value::Int(n as i64), age(c, now)]
}

/// Secret.
pub fn secret(s: &Value, now: i64) -> Vec<Value> {
    vec![name(s), s.at(f::type_).str().into(), Value::Int(s.at(f::data).members().count() as i64), age(s, now)]
}

/// ServiceAccount.
pub fn service_account(s: &Value, now: i64) -> Vec<Value> {
    vec![name(s), age(s, now)]
}

/// Service.
pub fn service(s: &Value, now: i64) -> Vec<Value> {
    let spec = s.at(f::spec);
    let kind = spec.at(f::type_).str();
    let internal = spec.at(f::clusterIPs).items().first().map_or(NONE.into(), |v| v.clone());
    let listed = |v: &Value| v.items().iter().map(|v| v.str().to_string()).collect::<Vec<_>>();
    let mut external = listed(spec.at(f::externalIPs));
    let external = match kind {
        "ExternalName" => spec.at(f::externalName).str().to_string(),
        "LoadBalancer" => {
            let mut all: Vec<String> = s
                .at(f::status)
                .at(f::loadBalancer)
                .at(f::ingress)
                .items()
                .iter()
                .map(|i| if i.at(f::ip).str().is_empty() { i.at(f::hostname) } else { i.at(f::ip) })
                .map(|v| v.str().to_string())
                .collect();
            all.append(&mut external);
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        _ if external.is_empty() => NONE.into(),
        _ => external.join(","),
    };
    let ports = spec.at(f::ports).items().iter().map(|p| match p.at(f::nodePort).int() {
        0 => format!("{}/{}", p.at(f::port).int(), p.at(f::protocol).str()),
        node => format!("{}:{node}/{}", p.at(f::port).int(), p.at(f::protocol).str()),
    });
    vec![name(s), kind.into(), internal, external.into(), join(ports), age(s, now), labels(spec.at(f::selector))]
}

/// Endpoints.
pub fn endpoints(e: &Value, now: i64) -> Vec<Value> {
    let mut all = Vec::new();
    for s in e.at(f::subsets).items() {
        let ports = s.at(f::ports).items();
        for a in s.at(f::addresses).items() {
            let ip = a.at(f::ip).str();
            if ports.is_empty() {
                all.push(ip.to_string());
            }
            all.extend(ports.iter().map(|p| {
                if ip.contains(':') {
                    format!("[{ip}]:{}", p.at(f::port).int())
                } else {
                    format!("{ip}:{}", p.at(f::port).int())
                }
            }));
        }
    }
    vec![name(e), shorten(all, 3), age(e, now)]
}

fn shorten(all: Vec<String>, max: usize) -> Value {
    if all.is_empty() {
        return NONE.into();
    }
    let more = all.len().saturating_sub(max);
    let head = all[..all.len().min(max)].join(",");
    if more > 0 { format!("{head} + {more} more...").into() } else { head.into() }
}

/// EndpointSlice.
pub fn endpoint_slice(e: &Value, now: i64) -> Vec<Value> {
    let unset = |text: String| if text.is_empty() { Value::from("<unset>") } else { text.into() };
    let ports: Vec<String> =
        e.at(f::ports).items().iter().map(|p| p.at(f::port).as_int().map_or("any".into(), |n| n.to_string())).collect();
    let addresses: Vec<String> = e
        .at(f::endpoints)
        .items()
        .iter()
        .flat_map(|p| p.at(f::addresses).items())
        .map(|a| a.str().to_string())
        .collect();
    let cut = |all: Vec<String>| {
        let more = all.len().saturating_sub(3);
        let head = all[..all.len().min(3)].join(",");
        if more > 0 { format!("{head} + {more} more...") } else { head }
    };
    vec![name(e), e.at(f::addressType).clone(), unset(cut(ports)), unset(cut(addresses)), age(e, now)]
}

/// Event.
pub fn event(e: &Value, now: i64) -> Vec<Value> {
    let first = [f::firstTimestamp, f::deprecatedFirstTimestamp].iter().map(|k| e.at(*k)).find(|v| !v.is_null());
    let last = [f::lastTimestamp, f::deprecatedLastTimestamp].iter().map(|k| e.at(*k)).find(|v| !v.is_null());
    let stamp = |v: Option<&Value>| since(v.unwrap_or(e.at(f::eventTime)), now);
    let series = e.at(f::series);
    let last = if series.has(f::lastObservedTime) { since(series.at(f::lastObservedTime), now) } else { stamp(last) };
    let involved = if e.has(f::involvedObject) { e.at(f::involvedObject) } else { e.at(f::regarding) };
    let target = match involved.at(f::name).str() {
        "" => involved.at(f::kind).str().to_lowercase(),
        n => format!("{}/{n}", involved.at(f::kind).str().to_lowercase()),
    };
    let source = if e.has(f::source) { e.at(f::source) } else { e.at(f::deprecatedSource) };
    let source = match (source.at(f::component).str(), source.at(f::host).str()) {
        ("", _) => {
            let by = [f::reportingComponent, f::reportingController].iter().map(|k| e.at(*k).str());
            let by = by.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
            match e.at(f::reportingInstance).str() {
                "" => by.to_string(),
                instance => format!("{by}, {instance}"),
            }
        }
        (component, "") => component.to_string(),
        (component, host) => format!("{component}, {host}"),
    };
    let count = [series.at(f::count), e.at(f::count), e.at(f::deprecatedCount)]
        .iter()
        .map(|v| v.int())
        .find(|n| *n > 0)
        .unwrap_or(1);
    let message = if e.has(f::message) { e.at(f::message) } else { e.at(f::note) };
    vec![
        last,
        e.at(f::type_).str().into(),
        e.at(f::reason).str().into(),
        target.into(),
        involved.at(f::fieldPath).str().into(),
        source.into(),
        message.str().trim().into(),
        stamp(first),
        count.into(),
        name(e),
    ]
}

/// LimitRange.
pub fn limit_range(l: &Value, _: i64) -> Vec<Value> {
    vec![name(l), l.at(f::metadata).at(f::creationTimestamp).str().into()]
}

/// ResourceQuota.
pub fn resource_quota(q: &Value, now: i64) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let mut hard: Vec<_> = q.at(f::status).at(f::hard).members().collect();
    hard.sort_by(|a, b| a.0.cmp(b.0));
    for (k, v) in hard {
        let used = q.at(f::status).at(f::used).at(k);
        let text = format!("{}: {}/{}", k.as_str(), if used.str().is_empty() { "0" } else { used.str() }, v.str());
        if k.as_str().starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    vec![name(q), requests.join(", ").into(), limits.join(", ").into(), age(q, now)]
}

fn access_modes(v: &Value) -> String {
    let short = |m: &Value| match m.str() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    v.items().iter().map(short).collect::<Vec<_>>().join(",")
}

/// PersistentVolume.
pub fn persistent_volume(p: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (p.at(f::spec), p.at(f::status));
    let claim = match spec.at(f::claimRef) {
        Value::Null => String::new(),
        c => format!("{}/{}", c.at(f::namespace).str(), c.at(f::name).str()),
    };
    let phase = if p.at(f::metadata).has(f::deletionTimestamp) { "Terminating" } else { status.at(f::phase).str() };
    let attributes = spec.at(f::volumeAttributesClassName);
    vec![
        name(p),
        spec.at(f::capacity).at("storage").str().into(),
        access_modes(spec.at(f::accessModes)).into(),
        spec.at(f::persistentVolumeReclaimPolicy).str().into(),
        phase.into(),
        claim.into(),
        spec.at(f::storageClassName).str().into(),
        if attributes.is_null() { "<unset>".into() } else { attributes.clone() },
        status.at(f::reason).str().into(),
        age(p, now),
        text_or_unset(spec.at(f::volumeMode)),
    ]
}

fn text_or_unset(v: &Value) -> Value {
    if v.str().is_empty() { "<unset>".into() } else { v.clone() }
}

/// PersistentVolumeClaim.
pub fn persistent_volume_claim(p: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (p.at(f::spec), p.at(f::status));
    let phase = if p.at(f::metadata).has(f::deletionTimestamp) { "Terminating" } else { status.at(f::phase).str() };
    let bound = !spec.at(f::volumeName).str().is_empty();
    let capacity = if bound { status.at(f::capacity).at("storage").str() } else { "" };
    let modes = if bound { access_modes(status.at(f::accessModes)) } else { String::new() };
    let attributes = spec.at(f::volumeAttributesClassName);
    vec![
        name(p),
        phase.into(),
        spec.at(f::volumeName).str().into(),
        capacity.into(),
        modes.into(),
        spec.at(f::storageClassName).str().into(),
        if attributes.is_null() { "<unset>".into() } else { attributes.clone() },
        age(p, now),
        text_or_unset(spec.at(f::volumeMode)),
    ]
}

// === networking ===

/// Ingress.
pub fn ingress(i: &Value, now: i64) -> Vec<Value> {
    let spec = i.at(f::spec);
    let hosts: Vec<String> = spec
        .at(f::rules)
        .items()
        .iter()
        .map(|r| r.at(f::host).str())
        .filter(|h| !h.is_empty())
        .map(String::from)
        .collect();
    let hosts = if hosts.is_empty() {
        "*".to_string()
    } else if hosts.len() > 3 {
        format!("{} + {} more...", hosts[..3].join(","), hosts.len() - 3)
    } else {
        hosts.join(",")
    };
    let addresses: Vec<String> = i
        .at(f::status)
        .at(f::loadBalancer)
        .at(f::ingress)
        .items()
        .iter()
        .map(|a| if a.at(f::ip).str().is_empty() { a.at(f::hostname) } else { a.at(f::ip) })
        .map(|v| v.str().to_string())
        .collect();
    let ports = if spec.at(f::tls).is_zero() { "80" } else { "80, 443" };
    vec![
        name(i),
        or_none(spec.at(f::ingressClassName)),
        hosts.into(),
        addresses.join(",").into(),
        ports.into(),
        age(i, now),
    ]
}

/// IngressClass.
pub fn ingress_class(i: &Value, now: i64) -> Vec<Value> {
    let p = i.at(f::spec).at(f::parameters);
    let parameters = if p.is_null() {
        NONE.to_string()
    } else {
        format!("{}/{}", api::status::qualified(p.at(f::kind).str(), p.at(f::apiGroup).str()), p.at(f::name).str())
    };
    vec![name(i), i.at(f::spec).at(f::controller).str().into(), parameters.into(), age(i, now)]
}

/// NetworkPolicy.
pub fn network_policy(n: &Value, now: i64) -> Vec<Value> {
    vec![name(n), selector(n.at(f::spec).at(f::podSelector)), age(n, now)]
}

/// ServiceCIDR.
pub fn service_cidr(s: &Value, now: i64) -> Vec<Value> {
    let cidrs: Vec<&str> = s.at(f::spec).at(f::cidrs).items().iter().map(Value::str).collect();
    vec![name(s), cidrs.join(",").into(), age(s, now)]
}

/// IPAddress.
pub fn ip_address(i: &Value, _: i64) -> Vec<Value> {
    let r = i.at(f::spec).at(f::parentRef);
    let group = if r.at(f::group).str().is_empty() { String::new() } else { format!("{}.", r.at(f::group).str()) };
    let place =
        if r.at(f::namespace).str().is_empty() { String::new() } else { format!("{}/", r.at(f::namespace).str()) };
    vec![name(i), format!("{group}{}/{place}{}", r.at(f::resource).str(), r.at(f::name).str()).into()]
}

/// PodDisruptionBudget.
pub fn pod_disruption_budget(p: &Value, now: i64) -> Vec<Value> {
    let spec = p.at(f::spec);
    let amount = |v: &Value| match v {
        Value::Null => Value::from("N/A"),
        Value::Int(n) => n.to_string().into(),
        v => v.clone(),
    };
    vec![
        name(p),
        amount(spec.at(f::minAvailable)),
        amount(spec.at(f::maxUnavailable)),
        int(p.at(f::status).at(f::disruptionsAllowed)),
        age(p, now),
    ]
}

/// HorizontalPodAutoscaler.
pub fn hpa(h: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (h.at(f::spec), h.at(f::status));
    let target = spec.at(f::scaleTargetRef);
    let metrics: Vec<String> = match spec.at(f::targetCPUUtilizationPercentage) {
        Value::Int(n) => vec![format!(
            "cpu: {}/{n}%",
            status.at(f::currentCPUUtilizationPercentage).as_int().map_or(UNKNOWN.into(), |c| format!("{c}%"))
        )],
        _ => spec
            .at(f::metrics)
            .items()
            .iter()
            .enumerate()
            .map(|(i, m)| hpa_metric(m, status.at(f::currentMetrics).items().get(i)))
            .collect(),
    };
    let min = spec.at(f::minReplicas).as_int().map_or("<unset>".to_string(), |n| n.to_string());
    vec![
        name(h),
        format!("{}/{}", target.at(f::kind).str(), target.at(f::name).str()).into(),
        join(metrics.into_iter()),
        min.into(),
        int(spec.at(f::maxReplicas)),
        int(status.at(f::currentReplicas)),
        age(h, now),
    ]
}

fn hpa_metric(m: &Value, current: Option<&Value>) -> String {
    let kind = m.at(f::type_).str();
    let key = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        _ => "external",
    };
    let target = m.at(key).at(f::target);
    let now = current.map(|c| c.at(key).at(f::current));
    let prefix = if matches!(kind, "Resource" | "ContainerResource") {
        format!("{}: ", m.at(key).at(f::name).str())
    } else {
        String::new()
    };
    if let Value::Int(n) = target.at(f::averageUtilization) {
        let have =
            now.and_then(|c| c.at(f::averageUtilization).as_int()).map_or(UNKNOWN.to_string(), |c| format!("{c}%"));
        return format!("{prefix}{have}/{n}%");
    }
    let (field, suffix) = if target.has(f::averageValue) {
        (f::averageValue, if kind == "External" { " (avg)" } else { "" })
    } else {
        (f::value, "")
    };
    let have = now.map(|c| c.at(field).str()).filter(|s| !s.is_empty()).unwrap_or(UNKNOWN);
    format!("{prefix}{have}/{}{suffix}", target.at(field).str())
}

// === access ===

/// Role and ClusterRole.
pub fn role(r: &Value, _: i64) -> Vec<Value> {
    vec![name(r), r.at(f::metadata).at(f::creationTimestamp).str().into()]
}

/// RoleBinding and ClusterRoleBinding.
pub fn role_binding(b: &Value, now: i64) -> Vec<Value> {
    let subjects = |kind: &str| {
        let all: Vec<String> = b
            .at(f::subjects)
            .items()
            .iter()
            .filter(|s| s.at(f::kind).str() == kind)
            .map(|s| match (kind, s.at(f::namespace).str()) {
                ("ServiceAccount", ns) if !ns.is_empty() => format!("{ns}/{}", s.at(f::name).str()),
                _ => s.at(f::name).str().to_string(),
            })
            .collect();
        Value::from(all.join(", "))
    };
    let r = b.at(f::roleRef);
    vec![
        name(b),
        format!("{}/{}", r.at(f::kind).str(), r.at(f::name).str()).into(),
        age(b, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

/// CertificateSigningRequest.
pub fn csr(c: &Value, now: i64) -> Vec<Value> {
    let spec = c.at(f::spec);
    let duration = spec.at(f::expirationSeconds).as_int().map_or(NONE.to_string(), human);
    let is = |kind: &str| c.at(f::status).at(f::conditions).items().iter().any(|x| x.at(f::type_).str() == kind);
    let mut state = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_string();
    if is("Failed") {
        state.push_str(",Failed");
    }
    if !c.at(f::status).at(f::certificate).str().is_empty() {
        state.push_str(",Issued");
    }
    vec![
        name(c),
        age(c, now),
        or_none(spec.at(f::signerName)),
        spec.at(f::username).str().into(),
        duration.into(),
        state.into(),
    ]
}

/// PriorityClass.
pub fn priority_class(p: &Value, now: i64) -> Vec<Value> {
    vec![
        name(p),
        int(p.at(f::value)),
        p.at(f::globalDefault).is_true().into(),
        age(p, now),
        p.at(f::preemptionPolicy).str().into(),
    ]
}

// === storage ===

/// StorageClass.
pub fn storage_class(s: &Value, now: i64) -> Vec<Value> {
    let annotations = s.at(f::metadata).at(f::annotations);
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|k| annotations.at(*k).str() == "true");
    let shown: Value = if default { format!("{} (default)", name(s).str()).into() } else { name(s) };
    let or = |v: &Value, text: &str| if v.str().is_empty() { Value::from(text) } else { v.clone() };
    vec![
        shown,
        s.at(f::provisioner).clone(),
        or(s.at(f::reclaimPolicy), "Delete"),
        or(s.at(f::volumeBindingMode), "Immediate"),
        s.at(f::allowVolumeExpansion).is_true().into(),
        age(s, now),
    ]
}

/// CSIDriver.
pub fn csi_driver(d: &Value, now: i64) -> Vec<Value> {
    let spec = d.at(f::spec);
    let tokens: Vec<String> =
        spec.at(f::tokenRequests).items().iter().map(|t| t.at(f::audience).str().to_string()).collect();
    let tokens: Value = if tokens.is_empty() { "<unset>".into() } else { tokens.join(",").into() };
    let modes: Vec<&str> = spec.at(f::volumeLifecycleModes).items().iter().map(Value::str).collect();
    let modes: Value = if modes.is_empty() { NONE.into() } else { modes.join(",").into() };
    vec![
        name(d),
        spec.at(f::attachRequired).is_true().into(),
        spec.at(f::podInfoOnMount).is_true().into(),
        spec.at(f::storageCapacity).is_true().into(),
        tokens,
        spec.at(f::requiresRepublish).is_true().into(),
        modes,
        age(d, now),
    ]
}

/// CSINode.
pub fn csi_node(n: &Value, now: i64) -> Vec<Value> {
    vec![name(n), Value::Int(n.at(f::spec).at(f::drivers).items().len() as i64), age(n, now)]
}

/// VolumeAttachment.
pub fn volume_attachment(a: &Value, now: i64) -> Vec<Value> {
    let spec = a.at(f::spec);
    vec![
        name(a),
        spec.at(f::attacher).clone(),
        spec.at(f::source).at(f::persistentVolumeName).str().into(),
        spec.at(f::nodeName).clone(),
        a.at(f::status).at(f::attached).is_true().into(),
        age(a, now),
    ]
}

/// VolumeAttributesClass.
pub fn volume_attributes_class(c: &Value, now: i64) -> Vec<Value> {
    vec![name(c), c.at(f::driverName).clone(), age(c, now)]
}

// === the rest ===

/// Lease.
pub fn lease(l: &Value, now: i64) -> Vec<Value> {
    vec![name(l), l.at(f::spec).at(f::holderIdentity).str().into(), age(l, now)]
}

/// RuntimeClass.
pub fn runtime_class(r: &Value, now: i64) -> Vec<Value> {
    vec![name(r), r.at(f::handler).clone(), age(r, now)]
}

/// FlowSchema.
pub fn flow_schema(s: &Value, now: i64) -> Vec<Value> {
    let spec = s.at(f::spec);
    let level = spec.at(f::priorityLevelConfiguration).at(f::name).clone();
    let method = spec.at(f::distinguisherMethod).at(f::type_);
    let dangling = s
        .at(f::status)
        .at(f::conditions)
        .items()
        .iter()
        .find(|c| c.at(f::type_).str() == "Dangling")
        .map_or("?", |c| c.at(f::status).str());
    vec![name(s), level, int(spec.at(f::matchingPrecedence)), or_none(method), age(s, now), dangling.into()]
}

/// PriorityLevelConfiguration.
pub fn priority_level(p: &Value, now: i64) -> Vec<Value> {
    let spec = p.at(f::spec);
    let limited = spec.at(f::limited);
    let shares = if spec.at(f::type_).str() == "Limited" {
        limited.at(f::nominalConcurrencyShares)
    } else {
        spec.at(f::exempt).at(f::nominalConcurrencyShares)
    };
    let queuing = limited.at(f::limitResponse).at(f::queuing);
    let cell = |v: &Value| v.as_int().map_or(Value::from(NONE), |n| n.into());
    vec![
        name(p),
        spec.at(f::type_).str().into(),
        cell(shares),
        cell(queuing.at(f::queues)),
        cell(queuing.at(f::handSize)),
        cell(queuing.at(f::queueLengthLimit)),
        age(p, now),
    ]
}

/// Webhook configurations.
pub fn webhooks(w: &Value, now: i64) -> Vec<Value> {
    vec![name(w), Value::Int(w.at(f::webhooks).items().len() as i64), age(w, now)]
}

fn param_kind(spec: &Value) -> Value {
    match spec.at(f::paramKind) {
        Value::Null => "<unset>".into(),
        k => format!("{}/{}", k.at(f::apiVersion).str(), k.at(f::kind).str()).into(),
    }
}

/// ValidatingAdmissionPolicy.
pub fn validating_policy(p: &Value, now: i64) -> Vec<Value> {
    let spec = p.at(f::spec);
    vec![name(p), Value::Int(spec.at(f::validations).items().len() as i64), param_kind(spec), age(p, now)]
}

/// MutatingAdmissionPolicy.
pub fn mutating_policy(p: &Value, now: i64) -> Vec<Value> {
    let spec = p.at(f::spec);
    vec![name(p), Value::Int(spec.at(f::mutations).items().len() as i64), param_kind(spec), age(p, now)]
}

/// Bindings of admission policies.
pub fn policy_binding(b: &Value, now: i64) -> Vec<Value> {
    let spec = b.at(f::spec);
    let r = spec.at(f::paramRef);
    let param = if r.is_null() {
        "<unset>".to_string()
    } else if !r.at(f::name).str().is_empty() {
        let ns = r.at(f::namespace).str();
        if ns.is_empty() { format!("*/{}", r.at(f::name).str()) } else { format!("{ns}/{}", r.at(f::name).str()) }
    } else {
        selector(r.at(f::selector)).str().to_string()
    };
    vec![name(b), spec.at(f::policyName).str().into(), param.into(), age(b, now)]
}

/// APIService.
pub fn api_service(a: &Value, now: i64) -> Vec<Value> {
    let service = match a.at(f::spec).at(f::service) {
        Value::Null => "Local".to_string(),
        s => format!("{}/{}", s.at(f::namespace).str(), s.at(f::name).str()),
    };
    let available =
        a.at(f::status).at(f::conditions).items().iter().find(|c| c.at(f::type_).str() == "Available").map_or(
            "Unknown".to_string(),
            |c| match c.at(f::status).str() {
                "True" => "True".into(),
                other => format!("{other} ({})", c.at(f::reason).str()),
            },
        );
    vec![name(a), service.into(), available.into(), age(a, now)]
}

/// CustomResourceDefinition.
pub fn crd(c: &Value, _: i64) -> Vec<Value> {
    vec![name(c), c.at(f::metadata).at(f::creationTimestamp).str().into()]
}

/// ResourceClaim.
pub fn resource_claim(c: &Value, now: i64) -> Vec<Value> {
    let status = c.at(f::status);
    let mut state: Vec<&str> = Vec::new();
    if c.at(f::metadata).has(f::deletionTimestamp) {
        state.push("deleted");
    }
    if status.at(f::allocation).is_null() {
        if state.is_empty() {
            state.push("pending");
        }
    } else {
        state.push("allocated");
        if !status.at(f::reservedFor).is_zero() {
            state.push("reserved");
        }
    }
    vec![name(c), state.join(",").into(), age(c, now)]
}

/// ResourceSlice.
pub fn resource_slice(s: &Value, now: i64) -> Vec<Value> {
    let spec = s.at(f::spec);
    vec![
        name(s),
        spec.at(f::nodeName).str().into(),
        spec.at(f::driver).str().into(),
        spec.at(f::pool).at(f::name).str().into(),
        age(s, now),
    ]
}
