//! CNI plugins as programs: the first configuration of a directory, run plugin by plugin (specification 1.0 and 0.4).
//!
//! ADD runs the list in order, each plugin getting the result of the one before; DEL in reverse. The last result is kept
//! in a cache directory, because DEL and CHECK must be given it again after a restart. Plugins live in `bin_dirs`.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cni, CniRequest, CniResult};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Where plugins and their configuration are.
#[derive(Clone, Debug)]
pub struct ExecCni {
    /// `/etc/cni/net.d`
    pub conf_dir: PathBuf,
    /// `/opt/cni/bin` and the like.
    pub bin_dirs: Vec<PathBuf>,
    /// Where results are kept.
    pub cache_dir: PathBuf,
}

struct Network {
    name: String,
    version: String,
    plugins: Vec<Value>,
}

impl ExecCni {
    /// The first usable configuration, by file name.
    fn network(&self) -> Result<Network, String> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.conf_dir)
            .map_err(|e| format!("cni config: read {}: {e}", self.conf_dir.display()))?
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|x| x == "conflist" || x == "conf" || x == "json"))
            .collect();
        files.sort();
        let file = files.first().ok_or_else(|| {
            format!("no network config found in {}: cni plugin not initialized", self.conf_dir.display())
        })?;
        let text = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let value: Value = serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        let text = |key: &str, default: &str| value.get(key).and_then(Value::as_str).unwrap_or(default).to_string();
        let (name, version) = (text("name", ""), text("cniVersion", "0.2.0"));
        let plugins = match value.get("plugins").and_then(Value::as_array) {
            Some(list) => list.clone(),
            None => vec![value.clone()],
        };
        if name.is_empty() || plugins.is_empty() {
            return Err(format!("{}: a network needs a name and plugins", file.display()));
        }
        Ok(Network { name, version, plugins })
    }

    fn cache(&self, request: &CniRequest) -> PathBuf {
        self.cache_dir.join(format!("{}-{}.json", request.container_id, request.interface))
    }

    async fn run(
        &self,
        command: &str,
        network: &Network,
        plugin: &Value,
        previous: Option<&Value>,
        r: &CniRequest,
    ) -> Result<Value, String> {
        let kind = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() || kind.contains('/') {
            return Err(format!("cni plugin type {kind:?} is not a plain name"));
        }
        let program = self.bin_dirs.iter().map(|d| d.join(kind)).find(|p| p.is_file());
        let program = program.ok_or_else(|| format!("failed to find plugin {kind:?} in path {:?}", self.bin_dirs))?;
        let mut config = plugin.clone();
        config["name"] = json!(network.name);
        config["cniVersion"] = json!(network.version);
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        let wants_ports = config.pointer("/capabilities/portMappings").and_then(Value::as_bool).unwrap_or(false);
        if wants_ports && !r.port_mappings.is_empty() {
            let ports = r.port_mappings.iter().map(|p| {
                json!({"hostPort": p.host_port, "containerPort": p.container_port, "protocol": p.protocol,
                       "hostIP": p.host_ip.map(|ip| ip.to_string()).unwrap_or_default()})
            });
            config["runtimeConfig"] = json!({"portMappings": ports.collect::<Vec<_>>()});
        }
        if let Some(map) = config.as_object_mut() {
            map.remove("capabilities");
        }
        let output = self.execute(command, &program, &config, r).await?;
        if output.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&output).map_err(|e| format!("plugin {kind}: {e}"))
        }
    }

    async fn execute(&self, command: &str, program: &Path, config: &Value, r: &CniRequest) -> Result<Vec<u8>, String> {
        use std::io::Write;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            r.pod_namespace, r.pod_name, r.container_id, r.pod_uid
        );
        let mut environment: BTreeMap<&str, String> = BTreeMap::new();
        environment.insert("CNI_COMMAND", command.to_string());
        environment.insert("CNI_CONTAINERID", r.container_id.clone());
        environment.insert("CNI_NETNS", r.netns.as_ref().map(|n| n.display().to_string()).unwrap_or_default());
        environment.insert("CNI_IFNAME", r.interface.clone());
        environment.insert("CNI_ARGS", arguments);
        environment
            .insert("CNI_PATH", self.bin_dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(":"));
        environment.insert("PATH", std::env::var("PATH").unwrap_or_default());
        let mut child = std::process::Command::new(program)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("run {}: {e}", program.display()))?;
        let text = serde_json::to_vec(config).map_err(|e| e.to_string())?;
        let pid = child.id();
        let wait = tokio::task::spawn_blocking(move || {
            if let Some(mut stdin) = child.stdin.take() {
                let _ = stdin.write_all(&text);
            }
            child.wait_with_output()
        });
        let output = match tokio::time::timeout(TIMEOUT, wait).await {
            Ok(Ok(Ok(output))) => output,
            Ok(Ok(Err(e))) => return Err(format!("run {}: {e}", program.display())),
            Ok(Err(e)) => return Err(format!("run {}: {e}", program.display())),
            Err(_) => {
                let _ = crate::sys::kill(pid as i32, libc::SIGKILL);
                return Err(format!("plugin {} did not end in {TIMEOUT:?}", program.display()));
            }
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let message = error.get("msg").and_then(Value::as_str).map(String::from);
        Err(format!(
            "plugin type={:?} failed ({}): {}",
            program.file_name().unwrap_or_default().to_string_lossy(),
            command.to_lowercase(),
            message.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_string())
        ))
    }

    fn cached(&self, request: &CniRequest) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.cache(request)).ok()?).ok()
    }
}

/// The addresses of a result, in both shapes (`address` is a prefix; 0.2 had `ip4.ip`).
fn addresses(result: &Value) -> Vec<IpAddr> {
    let list = result.get("ips").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = list.iter().filter_map(|i| i.get("address")).chain(result.pointer("/ip4/ip"));
    text.filter_map(|t| t.as_str()?.split('/').next()?.parse().ok()).collect()
}

#[async_trait::async_trait]
impl Cni for ExecCni {
    async fn add(&self, request: &CniRequest) -> Result<CniResult, String> {
        let network = self.network()?;
        let mut result: Option<Value> = None;
        for plugin in &network.plugins {
            match self.run("ADD", &network, plugin, result.as_ref(), request).await {
                Ok(next) => result = Some(next),
                Err(e) => {
                    let _ = self.del(request).await; // give back what the plugins before it took
                    return Err(e);
                }
            }
        }
        let result = result.unwrap_or_default();
        let save = fs::create_dir_all(&self.cache_dir)
            .and_then(|()| crate::shim::write_atomic(&self.cache(request), result.to_string().as_bytes()));
        save.map_err(|e| format!("keep the CNI result in {}: {e}", self.cache_dir.display()))?;
        Ok(CniResult { ips: addresses(&result) })
    }

    async fn del(&self, request: &CniRequest) -> Result<(), String> {
        let network = self.network()?;
        let cached = self.cached(request);
        for plugin in network.plugins.iter().rev() {
            self.run("DEL", &network, plugin, cached.as_ref(), request).await?;
        }
        let _ = fs::remove_file(self.cache(request));
        Ok(())
    }

    async fn check(&self, request: &CniRequest) -> Result<(), String> {
        let network = self.network()?;
        let cached = self.cached(request);
        for plugin in &network.plugins {
            self.run("CHECK", &network, plugin, cached.as_ref(), request).await?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<(), String> {
        self.network().map(drop)
    }
}

#[cfg(test)]
mod tests;
