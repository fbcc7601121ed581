//! [`Runtime`] as a CRI runtime: each call, answered from the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;
use wire::cri::*;
use wire::service::{Cri, Io, Process};

use crate::Runtime;
use crate::core::reference::Reference;
use crate::error::{Error, Result};
use crate::image::registry::blocking;
use crate::state::lock;
use crate::status;

type Answer<T> = std::result::Result<T, Status>;

impl Runtime {
    fn wanted_containers(&self, f: &ContainerFilter) -> Vec<Arc<crate::state::Container>> {
        let all: Vec<_> = lock(&self.engine.state).containers.values().cloned().collect();
        let fits = |c: &Arc<crate::state::Container>| {
            c.record.id.starts_with(&f.id)
                && c.record.sandbox.starts_with(&f.pod_sandbox_id)
                && f.state.as_ref().is_none_or(|s| s.state == status::container_state(c) as i32)
                && status::labels_match(&f.label_selector, &c.record.config.labels)
        };
        all.into_iter().filter(fits).collect()
    }

    fn wanted_sandboxes(&self, f: &PodSandboxFilter) -> Vec<Arc<crate::state::Sandbox>> {
        let all: Vec<_> = lock(&self.engine.state).sandboxes.values().cloned().collect();
        let fits = |s: &Arc<crate::state::Sandbox>| {
            let record = s.record();
            record.id.starts_with(&f.id)
                && f.state.as_ref().is_none_or(|w| w.state == status::sandbox_state(record.phase))
                && status::labels_match(&f.label_selector, &record.config.labels)
        };
        all.into_iter().filter(fits).collect()
    }

    async fn pull(&self, r: PullImageRequest) -> Result<PullImageResponse> {
        let name = r.image.map(|i| i.image).unwrap_or_default();
        let reference = Reference::parse(&name).map_err(Error::invalid)?;
        let image = self.engine.puller.pull(&self.engine.images, &reference, r.auth).await?;
        Ok(PullImageResponse { image_ref: image.id })
    }

    async fn forget_image(&self, name: String) -> Result<()> {
        let engine = self.engine.clone();
        blocking(move || {
            engine.images.remove(&name)?;
            engine.images.sweep(&engine.layers_in_use())
        })
        .await
    }
}

#[async_trait::async_trait]
impl Cri for Runtime {
    async fn version(&self) -> Answer<VersionResponse> {
        Ok(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "corten".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self, _: StatusRequest) -> Answer<StatusResponse> {
        let network = self.engine.cni.status().await;
        let condition = |kind: &str, problem: Option<String>| RuntimeCondition {
            r#type: kind.into(),
            status: problem.is_none(),
            reason: if problem.is_none() {
                String::new()
            } else {
                format!("{}PluginNotReady", kind.trim_end_matches("Ready"))
            },
            message: problem.unwrap_or_default(),
        };
        let features = RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: false };
        Ok(StatusResponse {
            status: Some(RuntimeStatus {
                conditions: vec![condition("RuntimeReady", None), condition("NetworkReady", network.err())],
            }),
            info: Default::default(),
            runtime_handlers: vec![RuntimeHandler { name: String::new(), features: Some(features) }],
            features: Some(RuntimeFeatures { supplemental_groups_policy: true }),
        })
    }

    async fn update_runtime_config(&self, r: UpdateRuntimeConfigRequest) -> Answer<()> {
        let cidr = r.runtime_config.and_then(|c| c.network_config).map(|n| n.pod_cidr).unwrap_or_default();
        *lock(&self.engine.pod_cidr) = cidr;
        Ok(())
    }

    async fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> Answer<RunPodSandboxResponse> {
        // In a task of its own: a client that goes away must not leave half a sandbox.
        let engine = self.engine.clone();
        let work = tokio::spawn(async move { engine.run_sandbox(r).await });
        let pod_sandbox_id = work.await.map_err(|e| Status::internal(e.to_string()))??;
        Ok(RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(&self, r: StopPodSandboxRequest) -> Answer<()> {
        let engine = self.engine.clone();
        let work = tokio::spawn(async move { engine.stop_sandbox(&r.pod_sandbox_id).await });
        Ok(work.await.map_err(|e| Status::internal(e.to_string()))??)
    }

    async fn remove_pod_sandbox(&self, r: RemovePodSandboxRequest) -> Answer<()> {
        let engine = self.engine.clone();
        let work = tokio::spawn(async move { engine.remove_sandbox(&r.pod_sandbox_id).await });
        Ok(work.await.map_err(|e| Status::internal(e.to_string()))??)
    }

    async fn pod_sandbox_status(&self, r: PodSandboxStatusRequest) -> Answer<PodSandboxStatusResponse> {
        let sandbox = self.engine.sandbox(&r.pod_sandbox_id)?;
        let containers = self.engine.containers_of(&sandbox.id);
        Ok(PodSandboxStatusResponse {
            status: Some(status::sandbox_status(&self.engine, &sandbox)),
            info: Default::default(),
            containers_statuses: containers.iter().map(|c| status::container_status(&self.engine, c)).collect(),
            timestamp: crate::engine::unix_nanos(),
        })
    }

    async fn list_pod_sandbox(&self, r: ListPodSandboxRequest) -> Answer<ListPodSandboxResponse> {
        let found = self.wanted_sandboxes(&r.filter.unwrap_or_default());
        Ok(ListPodSandboxResponse { items: found.iter().map(|s| status::sandbox_item(s)).collect() })
    }

    async fn create_container(&self, r: CreateContainerRequest) -> Answer<CreateContainerResponse> {
        Ok(CreateContainerResponse { container_id: self.engine.create_container(r).await? })
    }

    async fn start_container(&self, r: StartContainerRequest) -> Answer<()> {
        let engine = self.engine.clone();
        let work = tokio::spawn(async move { engine.start_container(&r.container_id).await });
        Ok(work.await.map_err(|e| Status::internal(e.to_string()))??)
    }

    async fn stop_container(&self, r: StopContainerRequest) -> Answer<()> {
        let Ok(container) = self.engine.container(&r.container_id) else { return Ok(()) };
        let grace = Duration::from_secs(u64::try_from(r.timeout).unwrap_or(0));
        Ok(self.engine.stop_container(&container, grace).await?)
    }

    async fn remove_container(&self, r: RemoveContainerRequest) -> Answer<()> {
        Ok(self.engine.remove_container(&r.container_id).await?)
    }

    async fn list_containers(&self, r: ListContainersRequest) -> Answer<ListContainersResponse> {
        let found = self.wanted_containers(&r.filter.unwrap_or_default());
        Ok(ListContainersResponse { containers: found.iter().map(|c| status::container_item(c)).collect() })
    }

    async fn container_status(&self, r: ContainerStatusRequest) -> Answer<ContainerStatusResponse> {
        let container = self.engine.container(&r.container_id)?;
        let status = Some(status::container_status(&self.engine, &container));
        Ok(ContainerStatusResponse { status, info: Default::default() })
    }

    async fn update_container_resources(&self, r: UpdateContainerResourcesRequest) -> Answer<()> {
        Ok(self.engine.update_resources(&r.container_id, r.linux.as_ref())?)
    }

    async fn reopen_container_log(&self, r: ReopenContainerLogRequest) -> Answer<()> {
        Ok(self.engine.reopen_log(&r.container_id).await?)
    }

    async fn exec_sync(&self, r: ExecSyncRequest) -> Answer<ExecSyncResponse> {
        Ok(self.engine.exec_sync(r).await?)
    }

    async fn exec_stream(&self, r: ExecRequest) -> Answer<Process> {
        Ok(self.engine.exec(r).await?)
    }

    async fn attach_stream(&self, r: AttachRequest) -> Answer<Process> {
        Ok(self.engine.attach(r).await?)
    }

    async fn port_forward_stream(&self, sandbox: &str, port: u16) -> Answer<Box<dyn Io>> {
        Ok(self.engine.port_forward(sandbox, port).await?)
    }

    async fn container_stats(&self, r: ContainerStatsRequest) -> Answer<ContainerStatsResponse> {
        let container = self.engine.container(&r.container_id)?;
        let engine = self.engine.clone();
        let stats = blocking(move || Ok(engine.container_stats(&container))).await?;
        Ok(ContainerStatsResponse { stats: Some(stats) })
    }

    async fn list_container_stats(&self, r: ListContainerStatsRequest) -> Answer<ListContainerStatsResponse> {
        let f = r.filter.unwrap_or_default();
        let filter = ContainerFilter {
            id: f.id,
            pod_sandbox_id: f.pod_sandbox_id,
            label_selector: f.label_selector,
            state: None,
        };
        let (found, engine) = (self.wanted_containers(&filter), self.engine.clone());
        let stats = blocking(move || Ok(found.iter().map(|c| engine.container_stats(c)).collect())).await?;
        Ok(ListContainerStatsResponse { stats })
    }

    async fn pod_sandbox_stats(&self, r: PodSandboxStatsRequest) -> Answer<PodSandboxStatsResponse> {
        let sandbox = self.engine.sandbox(&r.pod_sandbox_id)?;
        let engine = self.engine.clone();
        let stats = blocking(move || Ok(engine.sandbox_stats(&sandbox))).await?;
        Ok(PodSandboxStatsResponse { stats: Some(stats) })
    }

    async fn list_pod_sandbox_stats(&self, r: ListPodSandboxStatsRequest) -> Answer<ListPodSandboxStatsResponse> {
        let f = r.filter.unwrap_or_default();
        let filter = PodSandboxFilter { id: f.id, label_selector: f.label_selector, state: None };
        let (found, engine) = (self.wanted_sandboxes(&filter), self.engine.clone());
        let stats = blocking(move || Ok(found.iter().map(|s| engine.sandbox_stats(s)).collect())).await?;
        Ok(ListPodSandboxStatsResponse { stats })
    }

    async fn container_events(&self) -> Answer<mpsc::Receiver<ContainerEventResponse>> {
        Ok(self.engine.subscribe())
    }

    async fn list_images(&self, r: ListImagesRequest) -> Answer<ListImagesResponse> {
        let wanted = r.filter.and_then(|f| f.image).map(|i| i.image).unwrap_or_default();
        let images = if wanted.is_empty() {
            self.engine.images.list()
        } else {
            self.engine.images.find(&wanted).into_iter().collect()
        };
        Ok(ListImagesResponse { images: images.iter().map(status::image).collect() })
    }

    async fn image_status(&self, r: ImageStatusRequest) -> Answer<ImageStatusResponse> {
        let name = r.image.map(|i| i.image).unwrap_or_default();
        Ok(ImageStatusResponse {
            image: self.engine.images.find(&name).as_ref().map(status::image),
            info: Default::default(),
        })
    }

    async fn pull_image(&self, r: PullImageRequest) -> Answer<PullImageResponse> {
        Ok(self.pull(r).await?)
    }

    async fn remove_image(&self, r: RemoveImageRequest) -> Answer<()> {
        Ok(self.forget_image(r.image.map(|i| i.image).unwrap_or_default()).await?)
    }

    async fn image_fs_info(&self) -> Answer<ImageFsInfoResponse> {
        let usage = |bytes: u64, dir: &str| FilesystemUsage {
            timestamp: crate::engine::unix_nanos(),
            fs_id: Some(FilesystemIdentifier { mountpoint: self.engine.config.root.join(dir).display().to_string() }),
            used_bytes: Some(UInt64Value { value: bytes }),
            inodes_used: None,
        };
        Ok(ImageFsInfoResponse {
            image_filesystems: vec![usage(self.engine.images.usage(), "images")],
            container_filesystems: vec![usage(0, "containers")],
        })
    }
}
