//! Usage of containers and pods, as CRI reports it.

use std::path::Path;

use wire::cri::*;

use crate::cgroup::Usage;
use crate::engine::{Engine, unix_nanos};
use crate::state::{Container as OurContainer, Sandbox};

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn cpu(usage: &Usage, now: i64) -> CpuUsage {
    CpuUsage { timestamp: now, usage_core_nano_seconds: value(usage.cpu_nanos), ..CpuUsage::default() }
}

fn memory(usage: &Usage, now: i64) -> MemoryUsage {
    let working_set = usage.memory_bytes.saturating_sub(usage.inactive_file_bytes);
    MemoryUsage {
        timestamp: now,
        working_set_bytes: value(working_set),
        available_bytes: value(if usage.memory_limit > 0 { usage.memory_limit.saturating_sub(working_set) } else { 0 }),
        usage_bytes: value(usage.memory_bytes),
        rss_bytes: value(usage.rss_bytes),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
        ..MemoryUsage::default()
    }
}

/// Bytes and files below a directory. Files that vanish meanwhile do not count.
fn disk(dir: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
        bytes += meta.blocks() * 512;
        files += 1;
        if meta.is_dir() {
            let (b, f) = disk(&entry.path());
            bytes += b;
            files += f;
        }
    }
    (bytes, files)
}

impl Engine {
    pub fn container_stats(&self, container: &OurContainer) -> ContainerStats {
        let record = &container.record;
        let now = unix_nanos();
        let usage = container.is_running().then(|| self.cgroups.usage(&record.cgroup)).flatten();
        let (bytes, inodes) = disk(&self.container_dir(&record.id).join("upper"));
        ContainerStats {
            attributes: Some(ContainerAttributes {
                id: record.id.clone(),
                metadata: record.config.metadata.clone(),
                labels: record.config.labels.clone(),
                annotations: record.config.annotations.clone(),
            }),
            cpu: usage.as_ref().map(|u| cpu(u, now)),
            memory: usage.as_ref().map(|u| memory(u, now)),
            writable_layer: Some(FilesystemUsage {
                timestamp: now,
                fs_id: Some(FilesystemIdentifier { mountpoint: self.config.root.display().to_string() }),
                used_bytes: value(bytes),
                inodes_used: value(inodes),
            }),
            ..ContainerStats::default()
        }
    }

    pub fn sandbox_stats(&self, sandbox: &Sandbox) -> PodSandboxStats {
        let record = sandbox.record();
        let now = unix_nanos();
        let usage = self.cgroups.usage(&record.cgroup);
        let containers = self.containers_of(&record.id);
        PodSandboxStats {
            attributes: Some(PodSandboxAttributes {
                id: record.id.clone(),
                metadata: record.config.metadata.clone(),
                labels: record.config.labels.clone(),
                annotations: record.config.annotations.clone(),
            }),
            linux: Some(LinuxPodSandboxStats {
                cpu: usage.as_ref().map(|u| cpu(u, now)),
                memory: usage.as_ref().map(|u| memory(u, now)),
                network: self.network_usage(&record.id, now),
                process: usage.as_ref().map(|u| ProcessUsage { timestamp: now, process_count: value(u.pids) }),
                containers: containers.iter().filter(|c| c.is_running()).map(|c| self.container_stats(c)).collect(),
                ..LinuxPodSandboxStats::default()
            }),
            windows: None,
        }
    }

    /// Counters of eth0, read through any running container of the pod.
    fn network_usage(&self, sandbox: &str, now: i64) -> Option<NetworkUsage> {
        if !self.run_dir(sandbox).join(crate::namespaces::NET).exists() {
            return None;
        }
        let pid = self.containers_of(sandbox).iter().find(|c| c.is_running()).map(|c| c.live.borrow().pid)?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
        let line = text.lines().find_map(|l| l.trim_start().strip_prefix("eth0:"))?;
        let n: Vec<u64> = line.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let at = |i: usize| value(n.get(i).copied().unwrap_or(0));
        Some(NetworkUsage {
            timestamp: now,
            default_interface: Some(NetworkInterfaceUsage {
                name: "eth0".into(),
                rx_bytes: at(0),
                rx_errors: at(2),
                tx_bytes: at(8),
                tx_errors: at(10),
            }),
            interfaces: Vec::new(),
        })
    }
}
