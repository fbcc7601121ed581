//! Effects of the pod machine against the real world: volumes, sandbox, pull, start, stop, clean up.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use platform::time::{Duration, timeout};
use wire::Code;
use wire::cri::*;

use crate::convert;
use crate::core::machine::{Effect, Observation, Outcome, Run};
use crate::core::pod::{Container, Kind, Pod};
use crate::core::{env, files};
use crate::hooks;
use crate::objects::Ref;
use crate::shared::Shared;
use crate::volumes::{self, Prepared};

/// What an effect may look at.
pub struct Context {
    pub shared: Arc<Shared>,
    pub pod: Arc<Pod>,
    pub seen: Observation,
    pub prepared: Arc<Mutex<Prepared>>,
}

/// Least time that a container gets between its stop signal and SIGKILL, after a slow hook.
const MIN_GRACE: Duration = Duration::from_secs(2);

fn failed(reason: &str, message: impl Into<String>) -> Outcome {
    Outcome::Failed { reason: reason.into(), message: message.into() }
}

/// Carries out one effect.
pub async fn carry_out(c: Context, effect: Effect) -> Outcome {
    match effect {
        Effect::Volumes => set_up_volumes(&c).await,
        Effect::Sandbox { attempt } => run_sandbox(&c, attempt).await,
        Effect::Pull { container } => crate::images::ensure(&c, &container).await,
        Effect::Start { container, attempt, image } => start(&c, &container, attempt, image).await,
        Effect::Stop { id, container, grace, reason, .. } => stop(&c, &id, &container, grace, &reason).await,
        Effect::StopSandbox { id } => {
            match c.shared.cri.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id }).await {
                Ok(()) => Outcome::Done,
                Err(e) => {
                    c.shared.tell(&c.pod, "", true, "FailedKillPod", format!("error killing pod: {}", e.message()));
                    failed("", e.message())
                }
            }
        }
        Effect::Cleanup => {
            let (root, uid) = (c.shared.config.root_dir.clone(), c.pod.metadata.uid.clone());
            c.shared.objects.follow(&uid, &Default::default());
            if let Err(e) = stop_sandboxes(&c).await {
                return failed("", e);
            }
            match c.shared.env.blocking(move || volumes::tear_down(&root, &uid)).await {
                Ok(Ok(())) => Outcome::Done,
                Ok(Err(e)) | Err(e) => failed("", e),
            }
        }
        Effect::Cancel(_) | Effect::Tell { .. } | Effect::WakeAt(_) | Effect::Finish => Outcome::Done, // not ours
    }
}

async fn set_up_volumes(c: &Context) -> Outcome {
    if !c.pod.spec.resource_claims.is_empty() {
        let text = "dynamic resources (spec.resourceClaims) are not supported by this kubelet";
        c.shared.tell(&c.pod, "", true, "FailedPrepareDynamicResources", text);
        return failed("", text);
    }
    match volumes::set_up(&c.shared, &c.pod).await {
        Ok(prepared) => {
            c.shared.objects.follow(&c.pod.metadata.uid, &prepared.refs);
            *c.prepared.lock().unwrap_or_else(PoisonError::into_inner) = prepared;
            Outcome::Done
        }
        Err(e) => {
            c.shared.tell(&c.pod, "", true, "FailedMount", e.clone());
            failed("", e)
        }
    }
}

/// Frees what earlier sandboxes of the pod hold (addresses, ports, namespaces): one that lost its shim or was half made when
/// the kubelet was killed was never stopped. Those without containers go altogether.
async fn stop_sandboxes(c: &Context) -> Result<(), String> {
    for sandbox in &c.seen.sandboxes {
        let id = sandbox.id.clone();
        let stopped = c.shared.cri.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await;
        stopped.map_err(|e| format!("stop the old sandbox {id}: {}", e.message()))?;
        if !c.seen.containers.iter().any(|k| k.sandbox == id) {
            let removed = c.shared.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.clone() }).await;
            removed.map_err(|e| format!("remove the old sandbox {id}: {}", e.message()))?;
        }
    }
    Ok(())
}

async fn run_sandbox(c: &Context, attempt: u32) -> Outcome {
    if let Err(e) = stop_sandboxes(c).await {
        c.shared.tell(&c.pod, "", true, "FailedKillPod", format!("error killing pod: {e}"));
        return failed("", e);
    }
    let config = convert::sandbox(&c.shared.config, &c.shared.node_dns, &c.pod, attempt);
    let made = match runtime_handler(c).await {
        Ok(runtime_handler) => {
            let request = RunPodSandboxRequest { config: Some(config), runtime_handler };
            c.shared.cri.run_pod_sandbox(request).await.map_err(|e| e.message().to_string())
        }
        Err(e) => Err(e),
    };
    match made {
        Ok(_) => Outcome::Done,
        Err(e) => {
            let text = format!("Failed to create pod sandbox: {e}");
            c.shared.tell(&c.pod, "", true, "FailedCreatePodSandBox", text.clone());
            failed("", text)
        }
    }
}

/// What the pod's RuntimeClass stands for; empty is the runtime's default.
async fn runtime_handler(c: &Context) -> Result<String, String> {
    let Some(name) = c.pod.spec.runtime_class_name.as_deref().filter(|n| !n.is_empty()) else {
        return Ok(String::new());
    };
    let resource = client::Resource::new("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false);
    let class: serde_json::Value = c
        .shared
        .client
        .get(client::At { resource: &resource, namespace: "", name })
        .await
        .map_err(|e| format!("failed to get sandbox runtime: RuntimeClass {name:?}: {e}"))?;
    Ok(class["handler"].as_str().unwrap_or_default().to_string())
}

fn lookup<'a>(c: &'a Context, name: &str) -> Option<(Kind, &'a Container)> {
    c.pod.all_containers().find(|(_, k)| k.name == name)
}

async fn start(c: &Context, name: &str, attempt: u32, image: String) -> Outcome {
    let Some((kind, container)) = lookup(c, name) else {
        return failed("", format!("container {name:?} is not in the pod"));
    };
    let shared = &c.shared;
    let tell = |reason: &str, message: String| shared.tell(&c.pod, name, true, reason, message);
    let sandbox = match c.seen.sandboxes.first().filter(|s| s.ready) {
        Some(sandbox) => sandbox.clone(),
        None => return failed("", "the pod's sandbox is gone"),
    };
    let config = match configure(c, container, attempt, image, &sandbox.ips).await {
        Ok(config) => config,
        Err(e) => {
            tell("Failed", format!("Error: {e}"));
            return failed("CreateContainerConfigError", e);
        }
    };
    remove_unborn(c, name).await;
    let sandbox_config = Some(convert::sandbox(&shared.config, &shared.node_dns, &c.pod, sandbox.attempt));
    let request = CreateContainerRequest { pod_sandbox_id: sandbox.id.clone(), config: Some(config), sandbox_config };
    let id = match shared.cri.create_container(request).await {
        Ok(answer) => answer.container_id,
        Err(e) => {
            tell("Failed", format!("Error: {}", e.message()));
            return failed("CreateContainerError", e.message());
        }
    };
    shared.tell(&c.pod, name, false, "Created", "Container created");
    if let Err(e) = shared.cri.start_container(StartContainerRequest { container_id: id.clone() }).await {
        tell("Failed", format!("Error: {}", e.message()));
        return failed("RunContainerError", e.message());
    }
    shared.tell(&c.pod, name, false, "Started", "Container started");
    let hook = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()).filter(|_| kind != Kind::Init);
    if let Some(hook) = hook
        && let Err(e) = hooks::run(shared, &c.pod, container, &id, hook, &sandbox.ips).await
    {
        tell("FailedPostStartHook", format!("PostStartHook failed: {e}"));
        let grace = Duration::from_secs(c.pod.grace_seconds().unsigned_abs());
        stop(c, &id, name, grace, "FailedPostStartHook").await;
        return failed("PostStartHookError", format!("PostStartHook failed: {e}"));
    }
    remove_old(c, name).await;
    Outcome::Done
}

/// Instances that were made but never ran, because the kubelet was killed in between: they do not count as restarts.
async fn remove_unborn(c: &Context, name: &str) {
    for unborn in c.seen.containers.iter().filter(|s| s.name == name && s.state == Run::Created) {
        let request = RemoveContainerRequest { container_id: unborn.id.clone() };
        if let Err(e) = c.shared.cri.remove_container(request).await {
            tracing::debug!(container = unborn.id, error = %e, "cannot remove a container that never ran");
        }
    }
}

/// Dead instances beyond those that are kept.
async fn remove_old(c: &Context, name: &str) {
    let old = c.seen.containers.iter().filter(|s| s.name == name).skip(c.shared.config.keep_dead_containers);
    for dead in old {
        if let Err(e) = c.shared.cri.remove_container(RemoveContainerRequest { container_id: dead.id.clone() }).await {
            tracing::debug!(container = dead.id, error = %e, "cannot remove a dead container");
            continue;
        }
        let log = convert::log_dir(&c.shared.config, &c.pod).join(name).join(format!("{}.log", dead.attempt));
        crate::gc::remove_log(&log);
    }
}

async fn configure(
    c: &Context,
    container: &Container,
    attempt: u32,
    image: String,
    ips: &[String],
) -> Result<ContainerConfig, String> {
    run_as_non_root(c, container, &image).await?;
    if !container.volume_devices.is_empty() {
        return Err("raw block volumes (volumeDevices) are not supported by this kubelet".into());
    }
    let variables = environment(c, container).await?;
    let expand = |text: &String| {
        env::expand(text, |name| variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
    };
    let (mut mounts, message_file) = (volume_mounts(c, container, &variables)?, message_file(c, container, attempt)?);
    if !container.termination_message_path.is_empty() {
        let host_path = message_file.display().to_string();
        mounts.push(Mount {
            container_path: container.termination_message_path.clone(),
            host_path,
            ..Default::default()
        });
    }
    let wants_hosts = !container.volume_mounts.iter().any(|m| m.mount_path == "/etc/hosts");
    if wants_hosts && !(ips.is_empty() && !c.pod.spec.host_network) {
        mounts.push(Mount {
            container_path: "/etc/hosts".into(),
            host_path: hosts_file(c, ips)?,
            ..Default::default()
        });
    }
    let target = match container.target_container_name.as_str() {
        "" => None,
        name => {
            let running = c.seen.containers.iter().find(|s| s.name == name && s.state == Run::Running);
            Some(running.map(|s| s.id.clone()).ok_or_else(|| format!("unable to find target container {name}"))?)
        }
    };
    let inputs = convert::Inputs {
        attempt,
        image,
        command: container.command.iter().map(expand).collect(),
        args: container.args.iter().map(expand).collect(),
        env: variables.clone(),
        mounts,
        message_file,
        target,
        node_memory: c.shared.node_memory,
    };
    Ok(convert::container(&c.shared.config, &c.pod, container, inputs))
}

async fn run_as_non_root(c: &Context, container: &Container, image: &str) -> Result<(), String> {
    let (own, all) = (&container.security_context, &c.pod.spec.security_context);
    if own.run_as_non_root.or(all.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let who = format!(
        "(pod: {:?}, container: {})",
        format!("{}_{}({})", c.pod.metadata.name, c.pod.metadata.namespace, c.pod.metadata.uid),
        container.name
    );
    if let Some(uid) = own.run_as_user.or(all.run_as_user) {
        return if uid == 0 { Err(format!("container's runAsUser breaks non-root policy {who}")) } else { Ok(()) };
    }
    let request =
        ImageStatusRequest { image: Some(ImageSpec { image: image.into(), ..Default::default() }), verbose: false };
    let found =
        c.shared.cri.image_status(request).await.map_err(|e| e.message().to_string())?.image.unwrap_or_default();
    match (found.uid, found.username.as_str()) {
        (Some(uid), _) if uid.value == 0 => Err(format!("container has runAsNonRoot and image will run as root {who}")),
        (Some(_), _) => Ok(()),
        (None, "" | "root") => Err(format!("container has runAsNonRoot and image will run as root {who}")),
        (None, name) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {who}"
        )),
    }
}

/// The container's variables, in order; a later one wins.
async fn environment(c: &Context, container: &Container) -> Result<Vec<(String, String)>, String> {
    let ns = &c.pod.metadata.namespace;
    let links = c.pod.spec.enable_service_links.unwrap_or(true);
    // A pod that starts with the node waits for the services, but not for ever: the server may be away.
    let _ = timeout(c.shared.env.limits().kubelet.services, c.shared.services.synced()).await;
    let mut out: Vec<(String, String)> = env::services(&c.shared.services_for(ns, links));
    for from in &container.env_from {
        let (r, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(o), _) => (Ref::config_map(ns, &o.name), o.optional),
            (_, Some(o)) => (Ref::secret(ns, &o.name), o.optional),
            _ => continue,
        };
        let data = match c.shared.objects.get(&r).await? {
            Some(data) => data,
            None if optional == Some(true) => continue,
            None => return Err(format!("{} {:?} not found", if r.secret { "secret" } else { "configmap" }, r.name)),
        };
        for (key, value) in data.values {
            let name = format!("{}{key}", from.prefix);
            if env::is_name(&name) {
                set(&mut out, name, String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    let facts = c.shared.facts(&c.pod);
    for variable in &container.env {
        let value = match &variable.value_from {
            None => {
                let known = |name: &str| out.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                Some(env::expand(&variable.value, known))
            }
            Some(source) => source_value(c, container, source, &facts).await?,
        };
        if let Some(value) = value {
            set(&mut out, variable.name.clone(), value);
        }
    }
    Ok(out)
}

fn set(out: &mut Vec<(String, String)>, name: String, value: String) {
    out.retain(|(n, _)| *n != name);
    out.push((name, value));
}

async fn source_value(
    c: &Context,
    container: &Container,
    s: &crate::core::pod::EnvSource,
    facts: &env::Facts,
) -> Result<Option<String>, String> {
    let ns = &c.pod.metadata.namespace;
    if let Some(f) = &s.field_ref {
        return env::field(&c.pod, &f.field_path, facts).map(Some);
    }
    if let Some(r) = &s.resource_field_ref {
        return env::resource(&c.pod, Some(container), r, facts).map(Some);
    }
    let (r, key) = match (&s.config_map_key_ref, &s.secret_key_ref) {
        (Some(k), _) => (Ref::config_map(ns, &k.name), k),
        (_, Some(k)) => (Ref::secret(ns, &k.name), k),
        _ => return Err("the variable's source is not supported by this kubelet".into()),
    };
    let (kind, optional) = (if r.secret { "secret" } else { "configmap" }, key.optional == Some(true));
    match c.shared.objects.get(&r).await? {
        None if optional => Ok(None),
        None => Err(format!("{kind} {:?} not found", r.name)),
        Some(data) => match data.values.get(&key.key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional => Ok(None),
            None => Err(format!(
                "couldn't find key {} in {} {ns}/{}",
                key.key,
                if r.secret { "Secret" } else { "ConfigMap" },
                r.name
            )),
        },
    }
}

fn volume_mounts(c: &Context, container: &Container, variables: &[(String, String)]) -> Result<Vec<Mount>, String> {
    let prepared = c.prepared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut out = Vec::new();
    for m in &container.volume_mounts {
        let volume = c.pod.spec.volumes.iter().find(|v| v.name == m.name);
        let image = volume.and_then(|v| v.image.as_ref());
        let propagation = match m.mount_propagation.as_deref() {
            Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => MountPropagation::PropagationBidirectional,
            _ => MountPropagation::PropagationPrivate,
        };
        let recursive = matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")) && m.read_only;
        let mut mount = Mount {
            container_path: if m.mount_path.starts_with('/') {
                m.mount_path.clone()
            } else {
                format!("/{}", m.mount_path)
            },
            readonly: m.read_only,
            recursive_read_only: recursive,
            propagation: propagation as i32,
            ..Default::default()
        };
        if let Some(image) = image {
            mount.image = Some(ImageSpec { image: image.reference.clone(), ..Default::default() });
            mount.image_sub_path = m.sub_path.clone();
            mount.readonly = true;
        } else {
            let path = prepared.paths.get(&m.name).ok_or_else(|| format!("volume {:?} is not mounted", m.name))?;
            let known = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            let sub =
                if m.sub_path_expr.is_empty() { m.sub_path.clone() } else { env::expand(&m.sub_path_expr, known) };
            let host: PathBuf = if sub.is_empty() { path.clone() } else { volumes::sub_path(path, &sub)? };
            mount.host_path = host.display().to_string();
        }
        out.push(mount);
    }
    Ok(out)
}

/// An empty file that the container writes its last words to.
fn message_file(c: &Context, container: &Container, attempt: u32) -> Result<PathBuf, String> {
    let dir = volumes::pod_dir(&c.shared.config.root_dir, &c.pod.metadata.uid).join("containers").join(&container.name);
    let path = dir.join(format!("message-{attempt}"));
    let made = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, "")).and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))
    });
    made.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

fn hosts_file(c: &Context, ips: &[String]) -> Result<String, String> {
    let dir = volumes::pod_dir(&c.shared.config.root_dir, &c.pod.metadata.uid);
    let path = dir.join("etc-hosts");
    let text = match c.pod.spec.host_network {
        true => {
            let host = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            format!("# Kubernetes-managed hosts file (host network).\n{host}{}", files::aliases(&c.pod))
        }
        false => files::hosts(&c.pod, ips, &c.shared.config.cluster_domain),
    };
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path.display().to_string())
}

async fn stop(c: &Context, id: &str, name: &str, grace: Duration, reason: &str) -> Outcome {
    if !reason.is_empty() && reason != "FailedPostStartHook" {
        c.shared.tell(&c.pod, name, false, "Killing", reason);
    }
    let begun = c.shared.env.now();
    let container = lookup(c, name).map(|(_, k)| k);
    let hook = container.and_then(|k| k.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    if let (Some(hook), Some(container), false) = (hook, container, grace.is_zero()) {
        let ips = c.seen.sandboxes.first().map(|s| s.ips.clone()).unwrap_or_default();
        let result = timeout(grace, hooks::run(&c.shared, &c.pod, container, id, hook, &ips)).await;
        let error = match result {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e),
            Err(_) => Some("preStop hook did not complete in the grace period".to_string()),
        };
        if let Some(e) = error {
            c.shared.tell(&c.pod, name, true, "FailedPreStopHook", format!("PreStopHook failed: {e}"));
        }
    }
    let left = if grace.is_zero() { grace } else { grace.saturating_sub(begun.elapsed()).max(MIN_GRACE.min(grace)) };
    // Whole seconds, rounded up, are what the runtime takes.
    let seconds = left.as_millis().div_ceil(1000) as i64;
    match c.shared.cri.stop_container(StopContainerRequest { container_id: id.into(), timeout: seconds }).await {
        Ok(()) => Outcome::Done,
        Err(e) if e.code() == Code::NotFound => Outcome::Done,
        Err(e) => failed("", e.message()),
    }
}
