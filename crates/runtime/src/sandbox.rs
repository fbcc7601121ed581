//! Pod sandboxes: namespaces, network, shim; made in this order, taken back in the other.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use wire::cri::{ContainerEventType, DnsConfig, PodSandboxConfig, Protocol, RunPodSandboxRequest};

use crate::cni::{CniRequest, PortMapping};
use crate::engine::{Engine, new_id, unix_nanos};
use crate::error::{Error, Result};
use crate::image::registry::blocking;
use crate::namespaces::{self, Wanted};
use crate::shim::client::{self, ShimClient};
use crate::shim::proto::{Call, ShimConfig};
use crate::specgen::{resources, shares_pid, uses_host};
use crate::state::{Phase, Sandbox, SandboxRecord, lock};

impl Engine {
    /// Makes a sandbox. On failure nothing of it is left.
    pub async fn run_sandbox(self: &Arc<Self>, request: RunPodSandboxRequest) -> Result<String> {
        let config = request.config.ok_or_else(|| Error::invalid("the sandbox has no configuration"))?;
        if !request.runtime_handler.is_empty() {
            return Err(Error::invalid(format!("no runtime for {:?} is configured", request.runtime_handler)));
        }
        let metadata = config.metadata.clone().ok_or_else(|| Error::invalid("the sandbox has no metadata"))?;
        refuse_unsupported(&config)?;
        let id = new_id();
        let parent = config.linux.as_ref().map(|l| l.cgroup_parent.clone()).unwrap_or_default();
        let cgroup = match parent.trim_matches('/') {
            "" => format!("{}/pods/{}", self.config.node_cgroup(), metadata.uid),
            parent => format!("{}/{parent}", self.config.node_cgroup()),
        };
        let record = SandboxRecord {
            version: 1,
            id: id.clone(),
            config,
            runtime_handler: request.runtime_handler,
            created_at: unix_nanos(),
            phase: Phase::Creating,
            boot_id: self.boot_id.clone(),
            cgroup,
            ..SandboxRecord::default()
        };
        let dir = self.sandbox_dir(&id);
        fs::create_dir_all(&dir).map_err(|e| Error::file("make directory", &dir, e))?;
        self.save_sandbox(&record)?;
        let sandbox = Arc::new(Sandbox::new(record));
        lock(&self.state).sandboxes.insert(id.clone(), sandbox.clone());
        if let Err(e) = self.build(&sandbox).await {
            if let Err(again) = self.remove_sandbox(&id).await {
                tracing::warn!(sandbox = id, error = %again, "cannot clean up a failed sandbox; it will be tried again when it is removed");
            }
            return Err(Error { code: e.code, message: format!("failed to create pod sandbox: {}", e.message) });
        }
        Ok(id)
    }

    async fn build(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<()> {
        let (engine, record) = (self.clone(), sandbox.record());
        let attach = !uses_host(&record.config, |o| o.network);
        blocking(move || engine.prepare(&record)).await?;
        let shim = {
            let (engine, record) = (self.clone(), sandbox.record());
            blocking(move || engine.start_shim(&record))
        };
        let network = async {
            if !attach {
                return Ok(Vec::new());
            }
            // Before the call: what may be half done must be undone.
            self.change(sandbox, |r| r.attached = true)?;
            let result = self.cni.add(&self.cni_request(sandbox)).await;
            result
                .map(|r| r.ips)
                .map_err(|e| Error::internal(format!("failed to setup network for sandbox {:?}: {e}", sandbox.id)))
        };
        let (shim, network) = tokio::join!(shim, network);
        shim?;
        let ips = network?;
        let client = ShimClient::connect(&sandbox.id, &self.run_dir(&sandbox.id), self.shim_events.clone());
        let client = client.map_err(|e| Error::internal(format!("connect to the shim: {e}")))?;
        client.hello().await?;
        *lock(&sandbox.shim) = Some(Arc::new(client));
        self.change(sandbox, |r| {
            r.phase = Phase::Ready;
            r.ips = ips.iter().map(ToString::to_string).collect();
        })
    }

    /// Changes a sandbox' record, on disk first.
    fn change(&self, sandbox: &Sandbox, edit: impl FnOnce(&mut SandboxRecord)) -> Result<()> {
        let mut record = lock(&sandbox.record);
        let mut next = record.clone();
        edit(&mut next);
        self.save_sandbox(&next)?;
        *record = next;
        Ok(())
    }

    /// Everything but the shim and the network.
    fn prepare(&self, record: &SandboxRecord) -> Result<()> {
        let config = &record.config;
        let linux = config.linux.clone().unwrap_or_default();
        self.cgroups.create(&record.cgroup).map_err(|e| Error::internal(format!("create cgroup: {e}")))?;
        let mut limits = resources(linux.resources.as_ref());
        limits.unified.clear();
        limits.cpuset_cpus.clear();
        limits.cpuset_mems.clear();
        if let Some(overhead) = &linux.overhead {
            limits.memory = if limits.memory > 0 { limits.memory + overhead.memory_limit_in_bytes } else { 0 };
        }
        limits.memory_swap = 0;
        limits.pids = self.config.pod_pids_limit;
        self.cgroups
            .apply(&record.cgroup, &limits)
            .map_err(|e| Error::internal(format!("set the pod's limits: {e}")))?;
        let run = self.run_dir(&record.id);
        fs::create_dir_all(&run).map_err(|e| Error::file("make directory", &run, e))?;
        let mut sysctls: Vec<_> = linux.sysctls.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        sysctls.sort();
        let wanted = Wanted {
            net: !uses_host(config, |o| o.network),
            ipc: !uses_host(config, |o| o.ipc),
            hostname: config.hostname.clone(),
            sysctls,
        };
        namespaces::create(&run, &wanted)?;
        if wanted.ipc {
            namespaces::mount_shm(&run)?;
        }
        if !config.log_directory.is_empty() {
            let dir = Path::new(&config.log_directory);
            fs::create_dir_all(dir).map_err(|e| Error::file("make directory", dir, e))?;
        }
        self.write_files(record)
    }

    /// hostname and resolv.conf, for the containers to mount.
    fn write_files(&self, record: &SandboxRecord) -> Result<()> {
        let dir = self.sandbox_dir(&record.id);
        let config = &record.config;
        let hostname = match config.hostname.as_str() {
            "" => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string(),
            name => name.to_string(),
        };
        let resolv = match &config.dns_config {
            Some(dns) => resolv_conf(dns),
            None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        };
        for (name, text) in [("hostname", hostname + "\n"), ("resolv.conf", resolv)] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|e| Error::file("write", &path, e))?;
        }
        Ok(())
    }

    fn start_shim(&self, record: &SandboxRecord) -> Result<()> {
        let run = self.run_dir(&record.id);
        let bound = |host: bool, name: &str| (!host).then(|| run.join(name));
        let (host_network, host_ipc) = (uses_host(&record.config, |o| o.network), uses_host(&record.config, |o| o.ipc));
        let config = ShimConfig {
            version: crate::shim::proto::VERSION,
            sandbox: record.id.clone(),
            containers: self.config.root.join("containers"),
            cgroup: format!("{}/shims", self.config.node_cgroup()),
            pause: shares_pid(&record.config),
            pause_cgroup: format!("{}/{}", record.cgroup, record.id),
            net: bound(host_network, namespaces::NET),
            ipc: bound(host_ipc, namespaces::IPC),
            uts: bound(host_network, namespaces::UTS),
        };
        let child = client::spawn(&self.config.shim_command, &run, &config)?;
        lock(&self.shims).insert(record.id.clone(), child);
        Ok(())
    }

    fn cni_request(&self, sandbox: &Sandbox) -> CniRequest {
        let record = sandbox.record();
        let netns = self.run_dir(&record.id).join(namespaces::NET);
        let metadata = record.config.metadata.clone().unwrap_or_default();
        let ports = record.config.port_mappings.iter().filter(|p| p.host_port > 0).filter_map(|p| {
            Some(PortMapping {
                host_port: u16::try_from(p.host_port).ok()?,
                container_port: u16::try_from(p.container_port).ok()?,
                protocol: match Protocol::try_from(p.protocol).ok()? {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                },
                host_ip: p.host_ip.parse().ok(),
            })
        });
        CniRequest {
            container_id: record.id.clone(),
            netns: netns.exists().then_some(netns),
            interface: "eth0".into(),
            pod_namespace: metadata.namespace,
            pod_name: metadata.name,
            pod_uid: metadata.uid,
            port_mappings: ports.collect(),
        }
    }

    /// Stops a sandbox and everything in it. An unknown one is stopped already.
    pub async fn stop_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        let _one = sandbox.teardown.lock().await;
        let was_ready = sandbox.is_ready();
        for container in self.containers_of(&sandbox.id) {
            self.stop_container(&container, std::time::Duration::ZERO).await?;
        }
        // From here on the shim's end is expected.
        self.change(&sandbox, |r| r.phase = Phase::NotReady)?;
        let shim = lock(&sandbox.shim).take();
        match shim {
            Some(shim) => drop(shim.call(Call::Shutdown, &[]).await), // its socket closes: an error is success, too
            None => {
                let run = self.run_dir(&sandbox.id);
                blocking(move || Ok(client::shut_down_unknown(&run))).await?;
            }
        }
        if sandbox.record().attached {
            let request = self.cni_request(&sandbox);
            self.cni
                .del(&request)
                .await
                .map_err(|e| Error::internal(format!("failed to destroy network for sandbox {:?}: {e}", sandbox.id)))?;
            self.change(&sandbox, |r| r.attached = false)?;
        }
        let run = self.run_dir(&sandbox.id);
        blocking(move || namespaces::destroy(&run)).await?;
        self.reap(&sandbox.id);
        if was_ready {
            self.announce(ContainerEventType::ContainerStoppedEvent, &sandbox.id, &sandbox.id);
        }
        Ok(())
    }

    /// Removes a sandbox with its containers. An unknown one is removed already.
    pub async fn remove_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        self.stop_sandbox(&sandbox.id).await?;
        for container in self.containers_of(&sandbox.id) {
            self.remove_container(&container.record.id).await?;
        }
        let record = sandbox.record();
        self.cgroups.remove_empty(&format!("{}/{}", record.cgroup, record.id));
        self.cgroups.remove_empty(&record.cgroup);
        let dir = self.sandbox_dir(&sandbox.id);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::file("remove", &dir, e)),
            _ => {}
        }
        lock(&self.state).sandboxes.remove(&sandbox.id);
        self.announce(ContainerEventType::ContainerDeletedEvent, &sandbox.id, &sandbox.id);
        Ok(())
    }
}

fn refuse_unsupported(config: &PodSandboxConfig) -> Result<()> {
    let options =
        config.linux.as_ref().and_then(|l| l.security_context.as_ref()).and_then(|s| s.namespace_options.as_ref());
    let users = options.and_then(|o| o.userns_options.as_ref());
    if users.is_some_and(|u| u.mode == wire::cri::NamespaceMode::Pod as i32) {
        return Err(Error::invalid("user namespaces (hostUsers: false) are not supported by this runtime"));
    }
    Ok(())
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut out = String::new();
    if !dns.searches.is_empty() {
        out += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        out += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        out += &format!("options {}\n", dns.options.join(" "));
    }
    out
}
