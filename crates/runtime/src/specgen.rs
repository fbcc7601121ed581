//! CRI's container configuration and the image become the shim's [`Spec`].

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use wire::cri::{
    ContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, Mount as CriMount, NamespaceMode,
    PodSandboxConfig, SecurityProfile, security_profile::ProfileType,
};

use crate::cgroup::Resources;
use crate::core::capabilities;
use crate::core::passwd::UserSpec;
use crate::core::seccomp::{self, Profile};
use crate::devices::{self, DeviceRule};
use crate::error::{Error, Result};
use crate::image::store::{Image, ImageStore};
use crate::spec::{DeviceNode, Mount, Namespaces, Overlay, PidNamespace, ProcessSpec, Propagation, Spec};

/// Where things of one container are.
pub struct Places<'a> {
    /// The container's own directory.
    pub dir: PathBuf,
    /// The sandbox' run directory (namespaces, shm).
    pub run: PathBuf,
    /// The sandbox' files (hostname, resolv.conf).
    pub sandbox: PathBuf,
    pub cgroup: String,
    pub images: &'a ImageStore,
}

/// CRI's limits as ours.
pub fn resources(r: Option<&LinuxContainerResources>) -> Resources {
    let Some(r) = r else { return Resources::default() };
    let mut unified: BTreeMap<String, String> = BTreeMap::new();
    unified.extend(r.unified.iter().map(|(k, v)| (k.clone(), v.clone())));
    Resources {
        cpu_shares: r.cpu_shares.max(0) as u64,
        cpu_quota: r.cpu_quota,
        cpu_period: r.cpu_period.max(0) as u64,
        memory: r.memory_limit_in_bytes,
        memory_swap: r.memory_swap_limit_in_bytes,
        cpuset_cpus: r.cpuset_cpus.clone(),
        cpuset_mems: r.cpuset_mems.clone(),
        pids: 0,
        hugepages: r.hugepage_limits.iter().map(|h| (h.page_size.clone(), h.limit)).collect(),
        unified,
    }
}

/// Builds the specification.
pub fn build(
    id: &str,
    config: &ContainerConfig,
    sandbox: &PodSandboxConfig,
    image: &Image,
    places: &Places<'_>,
) -> Result<Spec> {
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.clone().unwrap_or_default();
    let privileged = security.privileged;
    let pod_privileged = sandbox.linux.as_ref().and_then(|l| l.security_context.as_ref()).is_some_and(|s| s.privileged);
    if privileged && !pod_privileged {
        return Err(Error::invalid("no privileged container allowed in sandbox"));
    }
    let (host_devices, device_rules) = devices_of(config, privileged)?;
    let log_path = match (sandbox.log_directory.is_empty(), config.log_path.is_empty()) {
        (false, false) => Path::new(&sandbox.log_directory).join(&config.log_path),
        _ => PathBuf::new(),
    };
    let mut spec = Spec {
        version: 1,
        id: id.to_string(),
        overlay: overlay(image, &places.images.layers_dir(), &places.dir),
        readonly: security.readonly_rootfs,
        process: process(config, image, &security, linux.resources.as_ref())?,
        mounts: Vec::new(),
        devices: host_devices,
        device_rules,
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.readonly_paths.clone(),
        namespaces: namespaces(&security, sandbox, &places.run),
        cgroup: places.cgroup.clone(),
        resources: resources(linux.resources.as_ref()),
        log_path,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        privileged,
    };
    spec.mounts = mounts(config, sandbox, places)?;
    if let Some(selinux) = &security.selinux_options
        && !(selinux.user.is_empty()
            && selinux.role.is_empty()
            && selinux.r#type.is_empty()
            && selinux.level.is_empty())
    {
        tracing::debug!(container = id, "SELinux options have no effect: this runtime does not label");
    }
    apparmor(&security)?;
    Ok(spec)
}

fn overlay(image: &Image, layers: &Path, dir: &Path) -> Overlay {
    Overlay {
        layers: layers.to_path_buf(),
        lower: image.layers.iter().rev().cloned().collect(),
        upper: dir.join("upper"),
        work: dir.join("work"),
        root: dir.join("rootfs"),
    }
}

fn process(
    config: &ContainerConfig,
    image: &Image,
    security: &LinuxContainerSecurityContext,
    resources: Option<&LinuxContainerResources>,
) -> Result<ProcessSpec> {
    let run = &image.config;
    // The pod's command replaces entrypoint and cmd; its args replace cmd.
    let mut args: Vec<String> = Vec::new();
    if config.command.is_empty() {
        args.extend(run.entrypoint.iter().cloned());
        args.extend(if config.args.is_empty() { run.cmd.iter() } else { config.args.iter() }.cloned());
    } else {
        args.extend(config.command.iter().chain(&config.args).cloned());
    }
    if args.is_empty() {
        return Err(Error::invalid("no command specified: neither the pod nor the image names one"));
    }
    let mut env: Vec<String> = run.env.clone();
    for pair in &config.envs {
        let prefix = format!("{}=", pair.key);
        env.retain(|e| !e.starts_with(&prefix));
        env.push(format!("{prefix}{}", pair.value));
    }
    let cwd = if config.working_dir.is_empty() { run.working_dir.clone() } else { config.working_dir.clone() };
    let capability = security.capabilities.clone().unwrap_or_default();
    let capabilities = if security.privileged {
        capabilities::all()
    } else {
        capabilities::effective(&capability.add_capabilities, &capability.drop_capabilities).map_err(Error::invalid)?
    };
    let ambient =
        capabilities::effective(&capability.add_ambient_capabilities, &["ALL".into()]).map_err(Error::invalid)?;
    Ok(ProcessSpec {
        args,
        env,
        cwd: if cwd.is_empty() { "/".into() } else { cwd },
        user: user(run.user.as_str(), security)?,
        capabilities,
        ambient: if capability.add_ambient_capabilities.is_empty() { 0 } else { ambient & capabilities },
        no_new_privileges: security.no_new_privs,
        seccomp: seccomp_profile(security, capabilities)?,
        oom_score_adj: resources.map(|r| r.oom_score_adj as i32),
        rlimits: Vec::new(),
    })
}

fn user(image_user: &str, security: &LinuxContainerSecurityContext) -> Result<UserSpec> {
    let number = |n: i64| u32::try_from(n).map_err(|_| Error::invalid(format!("{n} is not a valid user or group id")));
    let user = match (&security.run_as_user, security.run_as_username.as_str()) {
        (Some(uid), _) => number(uid.value)?.to_string(),
        (None, "") => image_user.to_string(),
        (None, name) => name.to_string(),
    };
    let gid = security.run_as_group.as_ref().map(|g| number(g.value)).transpose()?;
    let supplemental = security.supplemental_groups.iter().map(|g| number(*g)).collect::<Result<_>>()?;
    let strict = security.supplemental_groups_policy == wire::cri::SupplementalGroupsPolicy::Strict as i32;
    Ok(UserSpec { user, gid, supplemental, strict })
}

fn seccomp_profile(security: &LinuxContainerSecurityContext, bounding: u64) -> Result<Option<Profile>> {
    if security.privileged {
        return Ok(None);
    }
    let Some(SecurityProfile { profile_type, localhost_ref }) = &security.seccomp else { return Ok(None) };
    match ProfileType::try_from(*profile_type) {
        Ok(ProfileType::RuntimeDefault) => Ok(Some(seccomp::default_profile(bounding))),
        Ok(ProfileType::Localhost) => {
            let path = Path::new(localhost_ref.strip_prefix("localhost/").unwrap_or(localhost_ref));
            let text = fs::read(path).map_err(|e| Error::file("read the seccomp profile", path, e))?;
            let profile: Profile =
                serde_json::from_slice(&text).map_err(|e| Error::file("read the seccomp profile", path, e))?;
            seccomp::compile(&profile).map_err(Error::invalid)?; // tell now, not at start
            Ok(Some(profile))
        }
        _ => Ok(None),
    }
}

fn apparmor(security: &LinuxContainerSecurityContext) -> Result<()> {
    let wanted = security.apparmor.as_ref().is_some_and(|p| p.profile_type == ProfileType::Localhost as i32);
    if wanted && !security.privileged {
        return Err(Error::invalid(
            "AppArmor profiles are not supported by this runtime; use RuntimeDefault or Unconfined",
        ));
    }
    Ok(())
}

fn namespaces(security: &LinuxContainerSecurityContext, sandbox: &PodSandboxConfig, run: &Path) -> Namespaces {
    let own =
        sandbox.linux.as_ref().and_then(|l| l.security_context.as_ref()).and_then(|s| s.namespace_options.clone());
    let pod = own.unwrap_or_default();
    let options = security.namespace_options.clone().unwrap_or_else(|| pod.clone());
    let node = NamespaceMode::Node as i32;
    let bound = |mode: i32, name: &str| (mode != node).then(|| run.join(name));
    let pid = match NamespaceMode::try_from(options.pid) {
        Ok(NamespaceMode::Node) => PidNamespace::Host,
        Ok(NamespaceMode::Pod) if shares_pid(sandbox) => PidNamespace::Sandbox,
        Ok(NamespaceMode::Target) => PidNamespace::Container(options.target_id.clone()),
        _ => PidNamespace::Own,
    };
    Namespaces {
        net: bound(pod.network, crate::namespaces::NET),
        ipc: bound(pod.ipc, crate::namespaces::IPC),
        uts: bound(pod.network, crate::namespaces::UTS),
        pid,
    }
}

/// Whether the pod has one pid namespace for all containers.
pub fn shares_pid(sandbox: &PodSandboxConfig) -> bool {
    let security = sandbox.linux.as_ref().and_then(|l| l.security_context.as_ref());
    // Pod is the zero value: only a sandbox that says so in so many words (with options) shares.
    security.and_then(|s| s.namespace_options.as_ref()).is_some_and(|o| o.pid == NamespaceMode::Pod as i32)
}

/// A namespace mode of the sandbox.
pub fn uses_host(sandbox: &PodSandboxConfig, pick: impl Fn(&wire::cri::NamespaceOption) -> i32) -> bool {
    let security = sandbox.linux.as_ref().and_then(|l| l.security_context.as_ref());
    security.and_then(|s| s.namespace_options.as_ref()).is_some_and(|o| pick(o) == NamespaceMode::Node as i32)
}

fn mounts(config: &ContainerConfig, sandbox: &PodSandboxConfig, places: &Places<'_>) -> Result<Vec<Mount>> {
    let mut out = Vec::new();
    let asked = |path: &str| config.mounts.iter().any(|m| Path::new(&m.container_path) == Path::new(path));
    let readonly = config.linux.as_ref().and_then(|l| l.security_context.as_ref()).is_some_and(|s| s.readonly_rootfs);
    let host_network = uses_host(sandbox, |o| o.network);
    for (target, file) in [("/etc/hostname", "hostname"), ("/etc/resolv.conf", "resolv.conf"), ("/etc/hosts", "hosts")]
    {
        let mut source = places.sandbox.join(file);
        if file == "hosts" && !source.exists() {
            // The kubelet brings a hosts file; other clients get the host's or a minimal one.
            if !host_network {
                continue;
            }
            source = PathBuf::from("/etc/hosts");
        }
        if !asked(target) && source.exists() {
            out.push(Mount { target: target.into(), source, readonly, ..Mount::default() });
        }
    }
    if !asked("/dev/shm") {
        let source = if uses_host(sandbox, |o| o.ipc) { PathBuf::from("/dev/shm") } else { places.run.join("shm") };
        out.push(Mount { target: "/dev/shm".into(), source, ..Mount::default() });
    }
    let mut own: Vec<&CriMount> = config.mounts.iter().collect();
    own.sort_by_key(|m| Path::new(&m.container_path).components().count()); // parents first
    for (number, mount) in own.into_iter().enumerate() {
        out.push(one_mount(mount, number, places)?);
    }
    Ok(out)
}

fn one_mount(mount: &CriMount, number: usize, places: &Places<'_>) -> Result<Mount> {
    if !mount.container_path.starts_with('/') {
        return Err(Error::invalid(format!("mount path {:?} is not absolute", mount.container_path)));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(Error::invalid("id-mapped mounts (user namespaces) are not supported by this runtime"));
    }
    let propagation = match wire::cri::MountPropagation::try_from(mount.propagation) {
        Ok(wire::cri::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
        Ok(wire::cri::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
        _ => Propagation::Private,
    };
    let mut out = Mount {
        target: mount.container_path.clone().into(),
        readonly: mount.readonly,
        recursive_readonly: mount.recursive_read_only,
        propagation,
        ..Mount::default()
    };
    if let Some(spec) = mount.image.as_ref().filter(|i| !i.image.is_empty()) {
        if !mount.image_sub_path.is_empty() {
            return Err(Error::invalid("subPath of image volumes is not supported by this runtime"));
        }
        let image = places
            .images
            .find(&spec.image)
            .ok_or_else(|| Error::not_found(format!("image {:?} not found", spec.image)))?;
        let mut layers = overlay(&image, &places.images.layers_dir(), &places.dir);
        layers.root = places.dir.join(format!("image-{number}"));
        out.image = Some(layers);
        return Ok(out);
    }
    // A missing host path is made as a directory, as other runtimes do.
    let source = PathBuf::from(&mount.host_path);
    if !source.exists() {
        fs::create_dir_all(&source).map_err(|e| {
            Error::internal(format!("failed to generate container spec: failed to mkdir {:?}: {e}", mount.host_path))
        })?;
    }
    out.source = source.canonicalize().map_err(|e| Error::file("resolve", &source, e))?;
    Ok(out)
}

fn devices_of(config: &ContainerConfig, privileged: bool) -> Result<(Vec<DeviceNode>, Vec<DeviceRule>)> {
    if !config.cdi_devices.is_empty() {
        return Err(Error::invalid("CDI devices are not supported by this runtime"));
    }
    let mut nodes = Vec::new();
    let mut rules = if privileged { devices::everything() } else { devices::defaults() };
    if privileged {
        host_devices(Path::new("/dev"), &mut nodes);
    }
    for device in &config.devices {
        let before = nodes.len();
        let host = Path::new(&device.host_path);
        let meta = fs::metadata(host).map_err(|e| Error::file("device", host, e))?;
        if meta.is_dir() {
            host_devices(host, &mut nodes);
        } else if let Some(mut node) = device_node(host, &meta) {
            node.path = device.container_path.clone().into();
            nodes.push(node);
        } else {
            return Err(Error::invalid(format!("{} is not a device", device.host_path)));
        }
        for node in &nodes[before..] {
            let kind = if node.block { 'b' } else { 'c' };
            let access = device.permissions.clone();
            rules.push(DeviceRule { kind, major: Some(node.major), minor: Some(node.minor), access });
        }
    }
    Ok((nodes, rules))
}

fn device_node(path: &Path, meta: &fs::Metadata) -> Option<DeviceNode> {
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(DeviceNode {
        path: path.to_path_buf(),
        block: kind.is_block_device(),
        major: libc::major(meta.rdev()),
        minor: libc::minor(meta.rdev()),
        mode: meta.mode() & 0o777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

/// Every device below a directory, but what a container has of its own.
fn host_devices(dir: &Path, out: &mut Vec<DeviceNode>) {
    const OWN: [&str; 8] = ["pts", "shm", "mqueue", "fd", "console", "ptmx", "stdin", ".udev"];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if OWN.iter().any(|o| name == *o) {
            continue;
        }
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => host_devices(&path, out),
            Ok(meta) => out.extend(device_node(&path, &meta)),
            Err(_) => {}
        }
    }
}
