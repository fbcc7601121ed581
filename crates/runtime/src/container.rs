//! Containers: create, start, stop, remove.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use wire::cri::{ContainerEventType, CreateContainerRequest, LinuxContainerResources, Signal};

use crate::engine::{Engine, new_id, remove_when_empty, unix_nanos};
use crate::error::{Error, Result};
use crate::image::registry::blocking;
use crate::shim::containers::Running;
use crate::shim::proto::Call;
use crate::specgen::{self, Places};
use crate::state::{Container, ContainerRecord, Ended, Live, load, lock, save};

/// How long a container may take to die of SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

impl Engine {
    /// Prepares a container; nothing runs yet.
    pub async fn create_container(self: &Arc<Self>, request: CreateContainerRequest) -> Result<String> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(Error::state(format!("sandbox container {:?} is not running", sandbox.id)));
        }
        let config = request.config.ok_or_else(|| Error::invalid("the container has no configuration"))?;
        let name = config.image.as_ref().map(|i| i.image.clone()).unwrap_or_default();
        let image = self
            .images
            .find(&name)
            .ok_or_else(|| Error::not_found(format!("failed to resolve image {name:?}: not found")))?;
        let sandbox_record = sandbox.record();
        // The sandbox as it is now; a client may send an older one.
        let pod = sandbox_record.config.clone();
        let id = new_id();
        let cgroup = format!("{}/{id}", sandbox_record.cgroup);
        let record = ContainerRecord {
            version: 1,
            id: id.clone(),
            sandbox: sandbox.id.clone(),
            image_id: image.id.clone(),
            image_ref: image.digests.first().cloned().unwrap_or_else(|| image.id.clone()),
            layers: image.layers.clone(),
            stop_signal: stop_signal(config.stop_signal, &image.config.stop_signal),
            created_at: unix_nanos(),
            cgroup: cgroup.clone(),
            config,
        };
        let container = Arc::new(Container::new(record, Live::default()));
        // Known before it is on disk, so that its layers are in use from now on.
        lock(&self.state).containers.insert(id.clone(), container.clone());
        let engine = self.clone();
        let made = blocking(move || {
            let dir = engine.container_dir(&container.record.id);
            for sub in ["upper", "work", "rootfs"] {
                fs::create_dir_all(dir.join(sub)).map_err(|e| Error::file("make directory", &dir, e))?;
            }
            save(&dir.join("container.json"), &container.record)?;
            let places = Places {
                run: engine.run_dir(&container.record.sandbox),
                sandbox: engine.sandbox_dir(&container.record.sandbox),
                cgroup,
                images: &engine.images,
                dir: dir.clone(),
            };
            let spec = specgen::build(&container.record.id, &container.record.config, &pod, &image, &places)?;
            for mount in spec.mounts.iter().filter_map(|m| m.image.as_ref()) {
                fs::create_dir_all(&mount.root).map_err(|e| Error::file("make directory", &mount.root, e))?;
            }
            save(&dir.join("spec.json"), &spec)
        });
        if let Err(e) = made.await {
            lock(&self.state).containers.remove(&id);
            let _ = fs::remove_dir_all(self.container_dir(&id));
            return Err(e);
        }
        self.announce(ContainerEventType::ContainerCreatedEvent, &id, &sandbox.id);
        Ok(id)
    }

    /// Runs a created container.
    pub async fn start_container(&self, id: &str) -> Result<()> {
        let container = self.container(id)?;
        let record = &container.record;
        let sandbox = self.sandbox(&record.sandbox)?;
        let shim = sandbox.shim()?;
        let mut allowed = false;
        container.live.send_if_modified(|live| {
            allowed = live.started_at == 0 && live.ended.is_none() && !live.starting;
            live.starting |= allowed;
            false
        });
        if !allowed {
            return Err(Error::state(format!("container {:?} is not in created state", record.id)));
        }
        match shim.call(Call::Start { container: record.id.clone() }, &[]).await {
            Ok((answer, _)) => {
                let running: Option<Running> =
                    load(&self.container_dir(&record.id).join("running.json")).unwrap_or_default();
                let started_at = running.map_or_else(unix_nanos, |r| r.started_at);
                container.live.send_modify(|live| {
                    live.starting = false;
                    live.started_at = started_at;
                    live.pid = answer.pid;
                    live.user = answer.user;
                });
                self.announce(ContainerEventType::ContainerStartedEvent, &record.id, &record.sandbox);
                Ok(())
            }
            Err(e) => {
                let ended = Ended {
                    code: 128,
                    finished_at: unix_nanos(),
                    reason: "StartError".into(),
                    message: e.message.clone(),
                    ..Ended::default()
                };
                save(&self.container_dir(&record.id).join("exit.json"), &ended)?;
                self.container_ended(&record.id, ended);
                Err(Error {
                    code: e.code,
                    message: format!("failed to start container {:?}: {}", record.id, e.message),
                })
            }
        }
    }

    /// Stops a container: its stop signal, `grace`, then SIGKILL. One that does not run is stopped already.
    pub async fn stop_container(&self, container: &Container, grace: Duration) -> Result<()> {
        if !container.is_running() {
            return Ok(());
        }
        let record = &container.record;
        let Ok(shim) = self.sandbox(&record.sandbox).and_then(|s| s.shim()) else { return Ok(()) };
        let mut live = container.live.subscribe();
        let signal = |signal: i32, all: bool| {
            let (shim, container) = (shim.clone(), record.id.clone());
            async move { shim.call(Call::Signal { container, signal, all }, &[]).await }
        };
        if !grace.is_zero() {
            let number = signal_number(&record.stop_signal).unwrap_or(libc::SIGTERM);
            signal(number, false).await?;
            let ended = tokio::time::timeout(grace, live.wait_for(|l| l.ended.is_some()));
            if ended.await.is_ok() {
                return Ok(());
            }
        }
        if let Err(e) = signal(libc::SIGKILL, true).await
            && container.is_running()
        {
            return Err(e);
        }
        match tokio::time::timeout(KILL_TIMEOUT, live.wait_for(|l| l.ended.is_some())).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error {
                code: tonic::Code::DeadlineExceeded,
                message: format!("container {:?} does not die", record.id),
            }),
        }
    }

    /// Removes a container, running or not. An unknown one is removed already.
    pub async fn remove_container(self: &Arc<Self>, id: &str) -> Result<()> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        let record = &container.record;
        self.stop_container(&container, Duration::ZERO).await?;
        if let Ok(shim) = self.sandbox(&record.sandbox).and_then(|s| s.shim()) {
            let _ = shim.call(Call::Forget { container: record.id.clone() }, &[]).await; // it may never have seen it
        }
        if self.cgroups.exists(&record.cgroup) {
            // Its shim was killed before it could clean up.
            let (engine, group) = (self.clone(), record.cgroup.clone());
            blocking(move || {
                engine.cgroups.kill(&group);
                remove_when_empty(&engine.cgroups, &group)
            })
            .await?;
        }
        let dir = self.container_dir(&record.id);
        // Moved away at once, deleted in the background: a large upper layer takes its time.
        let grave = self.images.temporary();
        match fs::rename(&dir, &grave) {
            Ok(()) => drop(tokio::task::spawn_blocking(move || fs::remove_dir_all(grave))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => fs::remove_dir_all(&dir).map_err(|e| Error::file("remove", &dir, e))?,
        }
        lock(&self.state).containers.remove(&record.id);
        self.announce(ContainerEventType::ContainerDeletedEvent, &record.id, &record.sandbox);
        Ok(())
    }

    /// Changes the limits of a container.
    pub fn update_resources(&self, id: &str, wanted: Option<&LinuxContainerResources>) -> Result<()> {
        let container = self.container(id)?;
        if container.live.borrow().ended.is_some() {
            return Err(Error::state(format!("container {:?} has ended", container.record.id)));
        }
        let limits = specgen::resources(wanted);
        if container.is_running() {
            let group = &container.record.cgroup;
            return self.cgroups.apply(group, &limits).map_err(|e| Error::internal(format!("set limits: {e}")));
        }
        let path = self.container_dir(&container.record.id).join("spec.json");
        let mut spec: crate::spec::Spec = load(&path)?.ok_or_else(|| Error::not_found("the container is gone"))?;
        spec.resources = limits;
        save(&path, &spec)
    }

    pub async fn reopen_log(&self, id: &str) -> Result<()> {
        let container = self.container(id)?;
        if !container.is_running() {
            return Err(Error::state("container is not running"));
        }
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        shim.call(Call::ReopenLog { container: container.record.id.clone() }, &[]).await.map(drop)
    }
}

/// The signal that stops the container: the pod's, the image's, or SIGTERM.
fn stop_signal(asked: i32, image: &str) -> String {
    match Signal::try_from(asked) {
        Ok(Signal::RuntimeDefault) | Err(_) if image.is_empty() => "SIGTERM".into(),
        Ok(Signal::RuntimeDefault) | Err(_) => image.to_string(),
        Ok(signal) => signal.as_str_name().replace("PLUS", "+").replace("MINUS", "-"),
    }
}

/// A signal's number, from a name (with or without `SIG`) or a number.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return Some(34 + offset.trim_start_matches('+').parse::<i32>().unwrap_or(0));
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return Some(64 - offset.trim_start_matches('-').parse::<i32>().unwrap_or(0));
    }
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let alias = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    NAMES.iter().position(|n| *n == alias).map(|i| i as i32 + 1)
}

#[cfg(test)]
mod tests;
