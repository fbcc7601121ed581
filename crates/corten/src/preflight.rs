//! What this machine must have, looked at before anything is made. All that is missing is told at once, with its remedy.
//!
//! [`look`] asks the machine; [`missing`] is pure and decides.

use network::probe::Feature;
use std::path::Path;

/// What was found.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `uname -m`.
    pub architecture: String,
    /// `uname -r`.
    pub kernel: String,
    /// `/proc/filesystems`.
    pub filesystems: String,
    /// Names below `/proc/self/ns`.
    pub namespaces: Vec<String>,
    /// Controllers that are mounted as v1 or enabled in the v2 tree.
    pub controllers: Vec<String>,
    /// The kernel filters system calls.
    pub seccomp: bool,
    /// What the network cannot do, and the kernel's answer.
    pub network: Vec<(Feature, String)>,
}

/// Kernels before this one lack `mount_setattr`.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Namespaces that pods need.
const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// Controllers by which pods are limited.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Why Corten cannot run here; nothing if it can.
pub fn check() -> Result<(), String> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Err(
            "corten makes namespaces, mounts and network rules, for which it must be root: run it with sudo".into()
        );
    }
    let missing = missing(&look());
    if missing.is_empty() { Ok(()) } else { Err(format!("this machine cannot run Corten:\n{}", missing.join("\n"))) }
}

/// Asks the machine. What is there as a module is loaded by the asking.
fn look() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if !has(&read("/proc/filesystems"), "overlay") {
        load_overlay();
    }
    let mut namespaces: Vec<String> = std::fs::read_dir("/proc/self/ns")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    namespaces.sort();
    let cgroups = runtime::cgroup::Cgroups::detect().unwrap_or_default();
    let mut controllers: Vec<String> = cgroups.v1_mounts().map(|(name, _)| name.to_string()).collect();
    if let Some(root) = cgroups.v2_mount() {
        let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        controllers.extend(text.split_whitespace().map(String::from));
    }
    let system = rustix::system::uname();
    Machine {
        architecture: system.machine().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        filesystems: read("/proc/filesystems"),
        namespaces,
        controllers,
        seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
        network: network::probe::missing().into_iter().map(|(f, e)| (f, e.to_string())).collect(),
    }
}

/// The kernel loads a file system's module when somebody asks for the file system; this mount itself always fails.
fn load_overlay() {
    let _ = rustix::mount::mount("none", "/", "overlay", rustix::mount::MountFlags::empty(), c"lowerdir=/nonexistent");
}

fn has(filesystems: &str, name: &str) -> bool {
    filesystems.lines().any(|l| l.split_whitespace().last() == Some(name))
}

/// What is missing, each with its remedy.
pub fn missing(m: &Machine) -> Vec<String> {
    let mut out = Vec::new();
    if m.architecture != "x86_64" {
        out.push(format!("the processor is {}: this corten is built for x86_64", m.architecture));
    }
    let mut numbers = m.kernel.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        out.push(format!(
            "the kernel is {}: Corten needs Linux {}.{} or newer; boot a newer one",
            m.kernel, KERNEL_MIN.0, KERNEL_MIN.1
        ));
    }
    if !has(&m.filesystems, "overlay") {
        out.push("the kernel has no overlay file system, so images cannot be layered: run `modprobe overlay`, or boot a kernel with CONFIG_OVERLAY_FS".into());
    }
    for name in NAMESPACES.iter().filter(|n| !m.namespaces.iter().any(|have| have == *n)) {
        out.push(format!(
            "the kernel has no {name} namespaces, so pods cannot be kept apart: boot a kernel with CONFIG_NAMESPACES and CONFIG_{}_NS",
            name.to_uppercase()
        ));
    }
    let without: Vec<&str> =
        CONTROLLERS.iter().filter(|c| !m.controllers.iter().any(|have| have == *c)).copied().collect();
    if without.len() == CONTROLLERS.len() {
        out.push("no cgroup controllers are mounted below /sys/fs/cgroup, so pods cannot be limited: run `mount -t cgroup2 none /sys/fs/cgroup`".into());
    } else if !without.is_empty() {
        out.push(format!(
            "the cgroup controllers {} are missing, so pods cannot be limited: boot with `cgroup_enable={}`, or a kernel that has them",
            without.join(", "),
            without.join(",")
        ));
    }
    if !m.seccomp {
        out.push("the kernel cannot filter system calls, so pods' profiles cannot be applied: boot a kernel with CONFIG_SECCOMP_FILTER".into());
    }
    out.extend(m.network.iter().map(|(feature, answer)| {
        let (why, remedy) = match feature {
            Feature::Namespaces => ("pods cannot have networks of their own", "run with CAP_SYS_ADMIN, on a kernel with CONFIG_NET_NS"),
            Feature::Veth => ("pods cannot be connected", "run `modprobe veth`, or boot a kernel with CONFIG_VETH"),
            Feature::Bridge => ("nodes in namespaces cannot be connected", "run `modprobe bridge`, or boot a kernel with CONFIG_BRIDGE"),
            Feature::Vxlan => ("nodes' pods cannot reach each other", "run `modprobe vxlan`, or boot a kernel with CONFIG_VXLAN"),
            Feature::Nftables => ("services cannot be reached", "run `modprobe nf_tables nft_chain_nat nft_masq`, or boot a kernel with CONFIG_NF_TABLES, CONFIG_NFT_NAT and CONFIG_NFT_MASQ"),
        };
        format!("{answer}: {why}; {remedy}")
    }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Machine {
        Machine {
            architecture: "x86_64".into(),
            kernel: "6.1.0-18-amd64".into(),
            filesystems: "nodev\tcgroup2\nnodev\toverlay\n\text4\n".into(),
            namespaces: NAMESPACES.map(String::from).to_vec(),
            controllers: CONTROLLERS.map(String::from).to_vec(),
            seccomp: true,
            network: Vec::new(),
        }
    }

    /// Each lack is told in one line that names it and what to do.
    #[test]
    fn every_lack_is_told_with_its_remedy() {
        assert_eq!(missing(&good()), Vec::<String>::new());
        let net = |f| Machine { network: vec![(f, "could not x: Operation not supported".into())], ..good() };
        for (machine, words) in [
            (Machine { architecture: "aarch64".into(), ..good() }, ["aarch64", "x86_64"]),
            (Machine { kernel: "5.10.0-28".into(), ..good() }, ["5.10", "5.12"]),
            (Machine { filesystems: "nodev\tcgroup2\n".into(), ..good() }, ["overlay", "modprobe overlay"]),
            (Machine { namespaces: vec!["net".into()], ..good() }, ["pid namespaces", "CONFIG_PID_NS"]),
            (Machine { controllers: Vec::new(), ..good() }, ["no cgroup controllers", "mount -t cgroup2"]),
            (Machine { controllers: vec!["cpu".into(), "pids".into()], ..good() }, ["memory", "cgroup_enable=memory"]),
            (Machine { seccomp: false, ..good() }, ["filter system calls", "CONFIG_SECCOMP_FILTER"]),
            (net(Feature::Namespaces), ["not supported", "CAP_SYS_ADMIN"]),
            (net(Feature::Veth), ["not supported", "modprobe veth"]),
            (net(Feature::Bridge), ["not supported", "modprobe bridge"]),
            (net(Feature::Vxlan), ["not supported", "modprobe vxlan"]),
            (net(Feature::Nftables), ["not supported", "modprobe nf_tables"]),
        ] {
            let told = missing(&machine).join("\n");
            assert!(words.iter().all(|w| told.contains(w)), "{words:?} are not in {told:?}");
        }
    }
}
