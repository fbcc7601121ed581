//! Sandboxes, containers and images as CRI describes them.

use std::collections::HashMap;

use wire::cri::*;

use crate::engine::Engine;
use crate::image::store::Image as StoredImage;
use crate::state::{Container as OurContainer, Phase, Sandbox};

pub fn sandbox_state(phase: Phase) -> i32 {
    let state = if phase == Phase::Ready { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready };
    state as i32
}

pub fn sandbox_status(_: &Engine, sandbox: &Sandbox) -> PodSandboxStatus {
    let record = sandbox.record();
    let mut ips = record.ips.into_iter();
    let options = record
        .config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref())
        .and_then(|s| s.namespace_options.clone());
    PodSandboxStatus {
        id: record.id,
        metadata: record.config.metadata,
        state: sandbox_state(record.phase),
        created_at: record.created_at,
        network: Some(PodSandboxNetworkStatus {
            ip: ips.next().unwrap_or_default(),
            additional_ips: ips.map(|ip| PodIp { ip }).collect(),
        }),
        linux: Some(LinuxPodSandboxStatus { namespaces: Some(Namespace { options }) }),
        labels: record.config.labels,
        annotations: record.config.annotations,
        runtime_handler: record.runtime_handler,
    }
}

pub fn sandbox_item(sandbox: &Sandbox) -> PodSandbox {
    let record = sandbox.record();
    PodSandbox {
        id: record.id,
        metadata: record.config.metadata,
        state: sandbox_state(record.phase),
        created_at: record.created_at,
        labels: record.config.labels,
        annotations: record.config.annotations,
        runtime_handler: record.runtime_handler,
    }
}

pub fn container_state(container: &OurContainer) -> ContainerState {
    let live = container.live.borrow();
    match (&live.ended, live.started_at) {
        (Some(_), _) => ContainerState::ContainerExited,
        (None, 0) => ContainerState::ContainerCreated,
        (None, _) => ContainerState::ContainerRunning,
    }
}

pub fn container_status(engine: &Engine, container: &OurContainer) -> ContainerStatus {
    let live = container.live();
    let record = &container.record;
    let config = &record.config;
    let ended = live.ended.clone().unwrap_or_default();
    let log_dir = engine.sandbox(&record.sandbox).map(|s| s.record().config.log_directory).unwrap_or_default();
    let log_path = match (log_dir.is_empty(), config.log_path.is_empty()) {
        (false, false) => std::path::Path::new(&log_dir).join(&config.log_path).display().to_string(),
        _ => String::new(),
    };
    ContainerStatus {
        id: record.id.clone(),
        metadata: config.metadata.clone(),
        state: container_state(container) as i32,
        created_at: record.created_at,
        started_at: live.started_at,
        finished_at: ended.finished_at,
        exit_code: ended.code,
        image: config.image.clone(),
        image_ref: record.image_ref.clone(),
        image_id: record.image_id.clone(),
        reason: live.ended.as_ref().map(|e| e.reason().to_string()).unwrap_or_default(),
        message: ended.message,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path,
        resources: config
            .linux
            .as_ref()
            .and_then(|l| l.resources.clone())
            .map(|linux| ContainerResources { linux: Some(linux), windows: None }),
        user: live.user.map(|u| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: u.uid.into(),
                gid: u.gid.into(),
                supplemental_groups: u.groups.into_iter().map(i64::from).collect(),
            }),
        }),
        stop_signal: config.stop_signal,
    }
}

pub fn container_item(container: &OurContainer) -> Container {
    let record = &container.record;
    Container {
        id: record.id.clone(),
        pod_sandbox_id: record.sandbox.clone(),
        metadata: record.config.metadata.clone(),
        image: record.config.image.clone(),
        image_ref: record.image_ref.clone(),
        image_id: record.image_id.clone(),
        state: container_state(container) as i32,
        created_at: record.created_at,
        labels: record.config.labels.clone(),
        annotations: record.config.annotations.clone(),
        ..Default::default()
    }
}

pub fn image(stored: &StoredImage) -> Image {
    let name = stored.config.user.split(':').next().unwrap_or("");
    let uid = name.parse::<i64>().ok();
    Image {
        id: stored.id.clone(),
        repo_tags: stored.tags.clone(),
        repo_digests: stored.digests.clone(),
        size: stored.size,
        uid: uid.map(|value| Int64Value { value }),
        username: if uid.is_some() { String::new() } else { name.to_string() },
        spec: None,
        pinned: stored.pinned,
    }
}

/// Whether every wanted label is there with its value.
pub fn labels_match(wanted: &HashMap<String, String>, have: &HashMap<String, String>) -> bool {
    wanted.iter().all(|(k, v)| have.get(k) == Some(v))
}
