//! Requests and limits as the kernel wants them: shares, quotas, out-of-memory scores; the pod's cgroup; the hash of a
//! container's specification.

use serde_json::Value;
use wire::cri::{HugepageLimit, LinuxContainerResources};

use super::pod::{Container, Kind, Pod, Qos, Resources, quantity_milli, quantity_value};

const PERIOD: i64 = 100_000;
const MIN_QUOTA: i64 = 1000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

/// `cpu.shares` for thousandths of a core.
pub fn shares(milli: i64) -> i64 {
    if milli == 0 { MIN_SHARES } else { (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES) }
}

/// Microseconds a period for thousandths of a core; 0 is no limit.
pub fn quota(milli: i64) -> i64 {
    if milli == 0 { 0 } else { (milli * PERIOD / 1000).max(MIN_QUOTA) }
}

fn milli(map: &std::collections::BTreeMap<String, Value>, name: &str) -> Option<i64> {
    map.get(name).map(quantity_milli)
}

/// Limits of one container.
pub fn container(pod: &Pod, c: &Container, node_memory: i64) -> LinuxContainerResources {
    let r = &c.resources;
    let cpu_limit = milli(&r.limits, "cpu").unwrap_or(0);
    let cpu_request = milli(&r.requests, "cpu").or(milli(&r.limits, "cpu")).unwrap_or(0);
    let huge = r.limits.iter().filter_map(|(name, v)| {
        let size = name.strip_prefix("hugepages-")?;
        let page_size = format!("{}B", size.trim_end_matches('i'));
        Some(HugepageLimit { page_size, limit: quantity_value(v).unsigned_abs() })
    });
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: r.limits.get("memory").map_or(0, quantity_value),
        oom_score_adj: oom_score(pod, c, node_memory),
        hugepage_limits: huge.collect(),
        ..LinuxContainerResources::default()
    }
}

/// How willingly the kernel kills the container when memory is short.
pub fn oom_score(pod: &Pod, c: &Container, node_memory: i64) -> i64 {
    if pod.spec.priority.is_some_and(|p| p >= 2_000_000_000) {
        return -997; // node-critical
    }
    match pod.qos() {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = c.resources.requests.get("memory").map_or(0, quantity_value);
            let score = 1000 - 1000 * request / node_memory.max(1);
            // Above guaranteed pods, below best-effort ones.
            if score < 3 { 3 } else { score.min(999) }
        }
    }
}

/// Limits of the whole pod: those of its containers together, if every one has one.
pub fn pod(pod: &Pod) -> LinuxContainerResources {
    let own = &pod.spec.resources;
    let containers =
        || pod.all_containers().filter(|(k, _)| matches!(k, Kind::Main | Kind::Sidecar)).map(|(_, c)| &c.resources);
    let sum =
        |pick: &dyn Fn(&Resources) -> Option<i64>| containers().map(pick).try_fold(0i64, |all, one| Some(all + one?));
    // An init container may need more than all that run together later.
    let most = |pick: &dyn Fn(&Resources) -> Option<i64>| {
        pod.all_containers()
            .filter(|(k, _)| *k == Kind::Init)
            .map(|(_, c)| pick(&c.resources))
            .try_fold(0i64, |max, one| Some(max.max(one?)))
    };
    let limit = |name: &'static str, read: fn(&Value) -> i64| -> i64 {
        if let Some(v) = own.limits.get(name) {
            return read(v);
        }
        let pick = move |r: &Resources| r.limits.get(name).map(read);
        match (sum(&pick), most(&pick)) {
            (Some(a), Some(b)) => a.max(b),
            _ => 0,
        }
    };
    let request: i64 = match own.requests.get("cpu") {
        Some(v) => quantity_milli(v),
        None => containers().filter_map(|r| milli(&r.requests, "cpu").or(milli(&r.limits, "cpu"))).sum(),
    };
    let (cpu, memory) = (limit("cpu", quantity_milli), limit("memory", quantity_value));
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(cpu),
        cpu_shares: shares(request),
        memory_limit_in_bytes: memory,
        ..LinuxContainerResources::default()
    }
}

/// The pod's group below the node's root.
pub fn cgroup_parent(pod: &Pod) -> String {
    let uid = &pod.metadata.uid;
    match pod.qos() {
        Qos::Guaranteed => format!("/kubepods/pod{uid}"),
        Qos::Burstable => format!("/kubepods/burstable/pod{uid}"),
        Qos::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// A value that changes when the running container no longer is what the pod asks for: its name or image.
pub fn spec_hash(c: &Container) -> String {
    let text = format!("{}\0{}", c.name, c.image);
    // FNV-1a: stable between versions, and nobody gains by a collision.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:x}")
}
