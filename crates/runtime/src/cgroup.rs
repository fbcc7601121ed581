//! Control groups of every layout: v1, v2, and hybrid (v1 controllers with an unused v2 tree).
//!
//! A group is named by one path, the same in every hierarchy, that begins with the node's root group
//! (`/corten-<id>/...`). Limits go to whichever hierarchy has the controller. The v2 tree, where there is one, is always
//! joined too: `cgroup.kill` ends everything in a group at once.
//!
//! Traps kept in code: on v1 a new cpuset level has no cpus until they are copied from its parent; a directory is busy
//! until the last task is reaped; on v2 controllers are switched on from the top.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::devices::{self, DeviceRule};

/// Limits of a group; nothing set means no limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Resources {
    /// cgroup v1 shares (2 to 262144).
    pub cpu_shares: u64,
    /// Microseconds per period; 0 or less is no limit.
    pub cpu_quota: i64,
    pub cpu_period: u64,
    /// Bytes; 0 or less is no limit.
    pub memory: i64,
    /// Memory and swap together, bytes; 0 leaves it alone, negative is no limit.
    pub memory_swap: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// Processes; 0 or less is no limit.
    pub pids: i64,
    /// Page size name ("2MB") and bytes.
    pub hugepages: Vec<(String, u64)>,
    /// v2 files as they are.
    pub unified: BTreeMap<String, String>,
}

/// What a group uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_nanos: u64,
    pub memory_bytes: u64,
    pub inactive_file_bytes: u64,
    pub rss_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    /// 0 is no limit.
    pub memory_limit: u64,
    pub pids: u64,
}

/// The mounted hierarchies.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// v1: controller to mount point.
    v1: BTreeMap<String, PathBuf>,
    /// Mount point of the v2 tree.
    v2: Option<PathBuf>,
}

/// An error with the file it is about.
fn at(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

fn put(path: PathBuf, value: &str) -> io::Result<()> {
    fs::write(&path, value).map_err(|e| at(&path, io::Error::new(e.kind(), format!("write {value:?}: {e}"))))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A value of a `key value` file.
fn field(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// v1 shares as a v2 weight.
pub fn shares_to_weight(shares: u64) -> u64 {
    if shares == 0 { 0 } else { 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142 }
}

impl Cgroups {
    /// Reads what is mounted.
    pub fn detect() -> io::Result<Cgroups> {
        Ok(Cgroups::from_mounts(&fs::read_to_string("/proc/self/mounts")?))
    }

    /// The hierarchies in the text of `/proc/mounts`.
    pub fn from_mounts(text: &str) -> Cgroups {
        let mut found = Cgroups::default();
        for line in text.lines() {
            let f: Vec<&str> = line.split(' ').collect();
            let [_, point, kind, options, ..] = f[..] else { continue };
            match kind {
                "cgroup2" if found.v2.is_none() => found.v2 = Some(point.into()),
                "cgroup" => {
                    for option in options.split(',') {
                        let name = option.strip_prefix("name=").unwrap_or(option);
                        if Path::new(point)
                            .file_name()
                            .is_some_and(|l| l.to_string_lossy().split(',').any(|p| p == name))
                        {
                            found.v1.entry(name.to_string()).or_insert_with(|| point.into());
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Whether limits live in the v2 tree.
    pub fn is_v2(&self) -> bool {
        !self.v1.contains_key("memory") && self.v2.is_some()
    }

    /// Controller name and mount point of each v1 hierarchy.
    pub fn v1_mounts(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.v1.iter().map(|(k, v)| (k.as_str(), v.as_path()))
    }

    /// Mount point of the v2 tree.
    pub fn v2_mount(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    fn join(mount: &Path, group: &str) -> PathBuf {
        mount.join(group.trim_start_matches('/'))
    }

    /// Every distinct directory of a group.
    fn directories(&self, group: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.v1.values().chain(&self.v2).map(|m| Cgroups::join(m, group)).collect();
        all.sort();
        all.dedup();
        all
    }

    fn v1_dir(&self, controller: &str, group: &str) -> Option<PathBuf> {
        self.v1.get(controller).map(|m| Cgroups::join(m, group))
    }

    fn v2_dir(&self, group: &str) -> Option<PathBuf> {
        self.v2.as_ref().map(|m| Cgroups::join(m, group))
    }

    /// Makes a group, with all levels above it.
    pub fn create(&self, group: &str) -> io::Result<()> {
        for dir in self.directories(group) {
            fs::create_dir_all(&dir).map_err(|e| at(&dir, e))?;
        }
        if let Some(mount) = self.v1.get("cpuset") {
            inherit_cpuset(mount, group)?;
        }
        if self.is_v2() {
            self.delegate(group)?;
        }
        Ok(())
    }

    /// Switches on every available controller for the levels above `group`.
    fn delegate(&self, group: &str) -> io::Result<()> {
        let Some(mut dir) = self.v2.clone() else { return Ok(()) };
        let levels: Vec<&str> = group.split('/').filter(|p| !p.is_empty()).collect();
        for level in &levels {
            let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                // A controller that cannot be delegated shows when its limit is written.
                let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            dir.push(level);
        }
        Ok(())
    }

    /// Sets limits. A limit whose controller is missing is an error: it would be ignored otherwise.
    pub fn apply(&self, group: &str, r: &Resources) -> io::Result<()> {
        if self.is_v2() { self.apply_v2(group, r) } else { self.apply_v1(group, r) }
    }

    fn need(&self, controller: &str, group: &str) -> io::Result<PathBuf> {
        self.v1_dir(controller, group).ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, format!("the {controller} cgroup controller is not mounted"))
        })
    }

    fn apply_v1(&self, group: &str, r: &Resources) -> io::Result<()> {
        if r.cpu_shares > 0 {
            put(self.need("cpu", group)?.join("cpu.shares"), &r.cpu_shares.max(2).to_string())?;
        }
        if r.cpu_period > 0 {
            put(self.need("cpu", group)?.join("cpu.cfs_period_us"), &r.cpu_period.to_string())?;
        }
        if r.cpu_quota != 0 {
            put(self.need("cpu", group)?.join("cpu.cfs_quota_us"), &r.cpu_quota.max(-1).to_string())?;
        }
        if r.memory > 0 {
            self.memory_v1(group, r)?;
        }
        if !r.cpuset_cpus.is_empty() {
            put(self.need("cpuset", group)?.join("cpuset.cpus"), &r.cpuset_cpus)?;
        }
        if !r.cpuset_mems.is_empty() {
            put(self.need("cpuset", group)?.join("cpuset.mems"), &r.cpuset_mems)?;
        }
        if r.pids > 0 {
            put(self.need("pids", group)?.join("pids.max"), &r.pids.to_string())?;
        }
        for (size, bytes) in &r.hugepages {
            let dir = self.v1_dir("hugetlb", group);
            if let Some(dir) = dir {
                put(dir.join(format!("hugetlb.{size}.limit_in_bytes")), &bytes.to_string())?;
            }
        }
        Ok(())
    }

    fn memory_v1(&self, group: &str, r: &Resources) -> io::Result<()> {
        let dir = self.need("memory", group)?;
        let limit = dir.join("memory.limit_in_bytes");
        let both = dir.join("memory.memsw.limit_in_bytes");
        let swap = if r.memory_swap == 0 { r.memory } else { r.memory_swap };
        // The sum may never be below the limit: raise it first, lower it last.
        if both.exists() && number(&both).is_some_and(|now| now < r.memory.unsigned_abs()) {
            put(both.clone(), &swap.to_string())?;
        }
        put(limit, &r.memory.to_string())?;
        if both.exists() && swap > 0 {
            put(both, &swap.to_string())?;
        }
        Ok(())
    }

    fn apply_v2(&self, group: &str, r: &Resources) -> io::Result<()> {
        let Some(dir) = self.v2_dir(group) else { return Ok(()) };
        if r.cpu_shares > 0 {
            put(dir.join("cpu.weight"), &shares_to_weight(r.cpu_shares).to_string())?;
        }
        if r.cpu_quota != 0 {
            let period = if r.cpu_period == 0 { 100_000 } else { r.cpu_period };
            let quota = if r.cpu_quota < 0 { "max".to_string() } else { r.cpu_quota.to_string() };
            put(dir.join("cpu.max"), &format!("{quota} {period}"))?;
        }
        if r.memory > 0 {
            put(dir.join("memory.max"), &r.memory.to_string())?;
            let swap = dir.join("memory.swap.max");
            if r.memory_swap >= 0 && swap.exists() {
                put(swap, &(r.memory_swap - r.memory).max(0).to_string())?;
            }
        }
        for (file, value) in [("cpuset.cpus", &r.cpuset_cpus), ("cpuset.mems", &r.cpuset_mems)] {
            if !value.is_empty() {
                put(dir.join(file), value)?;
            }
        }
        if r.pids > 0 {
            put(dir.join("pids.max"), &r.pids.to_string())?;
        }
        for (size, bytes) in &r.hugepages {
            let file = dir.join(format!("hugetlb.{size}.max"));
            if file.exists() {
                put(file, &bytes.to_string())?;
            }
        }
        for (file, value) in &r.unified {
            if file.contains('/') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("unified resource {file:?} is not a file name"),
                ));
            }
            put(dir.join(file), value)?;
        }
        Ok(())
    }

    /// Limits the devices of a group.
    pub fn restrict_devices(&self, group: &str, rules: &[DeviceRule]) -> io::Result<()> {
        if let Some(dir) = self.v1_dir("devices", group) {
            put(dir.join("devices.deny"), "a")?;
            for rule in rules {
                put(dir.join("devices.allow"), &rule.to_string())?;
            }
            return Ok(());
        }
        match self.v2_dir(group) {
            Some(dir) => devices::attach(&dir, rules).map_err(|e| at(&dir, e)),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "no cgroup hierarchy can restrict devices")),
        }
    }

    /// Moves a process into a group, in every hierarchy.
    pub fn attach(&self, group: &str, pid: i32) -> io::Result<()> {
        for dir in self.directories(group) {
            put(dir.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Every process in the group and below.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let Some(dir) =
            self.v2_dir(group).or_else(|| self.v1_dir("pids", group)).or_else(|| self.v1_dir("memory", group))
        else {
            return Vec::new();
        };
        let mut out = Vec::new();
        walk(&dir, &mut |d| {
            let text = fs::read_to_string(d.join("cgroup.procs")).unwrap_or_default();
            out.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
        });
        out
    }

    /// Kills everything in the group and below.
    pub fn kill(&self, group: &str) {
        if let Some(dir) = self.v2_dir(group)
            && fs::write(dir.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        // Without cgroup.kill: a process may fork while the list is read, so go on until the list is empty.
        for _ in 0..100 {
            let pids = self.processes(group);
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                let _ = crate::sys::kill(pid, libc::SIGKILL);
            }
        }
    }

    /// Removes the group and what is below it. Busy while tasks are there.
    pub fn remove(&self, group: &str) -> io::Result<()> {
        let mut result = Ok(());
        for dir in self.directories(group) {
            let mut below = Vec::new();
            walk(&dir, &mut |d| below.push(d.to_path_buf()));
            for d in below.iter().rev() {
                match fs::remove_dir(d) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => result = Err(at(d, e)),
                    _ => {}
                }
            }
        }
        result
    }

    /// Removes the group alone, if it is empty and has nothing below it.
    pub fn remove_empty(&self, group: &str) {
        for dir in self.directories(group) {
            let _ = fs::remove_dir(dir); // another pod sandbox may still use it
        }
    }

    /// Whether any hierarchy still has the group.
    pub fn exists(&self, group: &str) -> bool {
        self.directories(group).iter().any(|d| d.exists())
    }

    /// Groups directly below `group`, by name, in any hierarchy.
    pub fn children(&self, group: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for dir in self.directories(group) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// How often the kernel killed something in the group for lack of memory.
    pub fn oom_kills(&self, group: &str) -> u64 {
        match self.v1_dir("memory", group) {
            Some(dir) => field(&dir.join("memory.oom_control"), "oom_kill"),
            None => self.v2_dir(group).and_then(|d| field(&d.join("memory.events"), "oom_kill")),
        }
        .unwrap_or(0)
    }

    /// What the group uses now; none if it is gone.
    pub fn usage(&self, group: &str) -> Option<Usage> {
        if self.is_v2() { self.usage_v2(group) } else { self.usage_v1(group) }
    }

    fn usage_v1(&self, group: &str) -> Option<Usage> {
        let memory = self.v1_dir("memory", group)?;
        let stat = memory.join("memory.stat");
        let limit = number(&memory.join("memory.limit_in_bytes")).unwrap_or(0);
        Some(Usage {
            cpu_nanos: self.v1_dir("cpuacct", group).and_then(|d| number(&d.join("cpuacct.usage")))?,
            memory_bytes: number(&memory.join("memory.usage_in_bytes"))?,
            inactive_file_bytes: field(&stat, "total_inactive_file").unwrap_or(0),
            rss_bytes: field(&stat, "total_rss").unwrap_or(0),
            page_faults: field(&stat, "total_pgfault").unwrap_or(0),
            major_page_faults: field(&stat, "total_pgmajfault").unwrap_or(0),
            memory_limit: if limit > 1 << 60 { 0 } else { limit },
            pids: self.v1_dir("pids", group).and_then(|d| number(&d.join("pids.current"))).unwrap_or(0),
        })
    }

    fn usage_v2(&self, group: &str) -> Option<Usage> {
        let dir = self.v2_dir(group)?;
        let stat = dir.join("memory.stat");
        Some(Usage {
            cpu_nanos: field(&dir.join("cpu.stat"), "usage_usec")? * 1000,
            memory_bytes: number(&dir.join("memory.current")).unwrap_or(0),
            inactive_file_bytes: field(&stat, "inactive_file").unwrap_or(0),
            rss_bytes: field(&stat, "anon").unwrap_or(0),
            page_faults: field(&stat, "pgfault").unwrap_or(0),
            major_page_faults: field(&stat, "pgmajfault").unwrap_or(0),
            memory_limit: number(&dir.join("memory.max")).unwrap_or(0),
            pids: number(&dir.join("pids.current")).unwrap_or(0),
        })
    }
}

/// Copies cpus and memory nodes from each level to the next one that has none.
fn inherit_cpuset(mount: &Path, group: &str) -> io::Result<()> {
    let mut dir = mount.to_path_buf();
    for level in group.split('/').filter(|p| !p.is_empty()) {
        let parent = dir.clone();
        dir.push(level);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = fs::read_to_string(dir.join(file)).map_err(|e| at(&dir.join(file), e))?;
            if own.trim().is_empty() {
                let inherited = fs::read_to_string(parent.join(file)).map_err(|e| at(&parent.join(file), e))?;
                put(dir.join(file), inherited.trim())?;
            }
        }
    }
    Ok(())
}

/// Visits a directory and everything below, parents first.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    if !dir.is_dir() {
        return;
    }
    visit(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

/// Asks the kernel for cheap group changes (`favordynmods`): without it the first process that enters a group after a
/// pause waits some 16 ms. Failure is harmless. The kernel cannot take it back before the next boot.
pub fn favor_dynamic_changes(cgroups: &Cgroups) {
    if let Some(mount) = cgroups.v2_mount() {
        let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
        if let Err(e) = crate::sys::mount("cgroup2", mount, "cgroup2", flags, "favordynmods") {
            tracing::debug!(error = %e, "the kernel has no favordynmods; containers start some 16 ms later");
        }
    }
}

#[cfg(test)]
mod tests;
