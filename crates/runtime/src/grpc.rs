//! CRI over gRPC on a unix socket, for `crictl` and other kubelets.
//!
//! `Exec`, `Attach` and `PortForward` answer with URLs of a small HTTP server on loopback; each URL holds a secret, works
//! once, and is forgotten after a minute.

mod streaming;

use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};
use wire::Cri;
use wire::cri::image_service_server::{ImageService, ImageServiceServer};
use wire::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use wire::cri::*;

use crate::Runtime;
use streaming::{Streaming, Ticket};

type Answer<T> = Result<Response<T>, Status>;

/// Both CRI services over one runtime.
#[derive(Clone)]
struct Service {
    runtime: Runtime,
    streaming: Arc<Streaming>,
}

/// Serves until the process ends. A socket file that is left from before is replaced.
pub async fn serve(runtime: Runtime, socket: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_file(socket);
    let listener = tokio::net::UnixListener::bind(socket)?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    let service = Service { streaming: Streaming::start(runtime.clone()).await?, runtime };
    let (runtime, images) = (RuntimeServiceServer::new(service.clone()), ImageServiceServer::new(service));
    loop {
        let (stream, _) = listener.accept().await?;
        let (runtime, images) = (runtime.clone(), images.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (mut runtime, mut images) = (runtime.clone(), images.clone());
            async move {
                match request.uri().path().starts_with("/runtime.v1.ImageService/") {
                    true => images.call(request).await,
                    false => runtime.call(request).await, // answers unknown paths, too
                }
            }
        });
        tokio::spawn(async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ = server.await; // a client that breaks off is its own business
        });
    }
}

fn empty<T: Default>(result: Result<(), Status>) -> Answer<T> {
    result.map(|()| Response::new(T::default()))
}

#[tonic::async_trait]
impl RuntimeService for Service {
    type GetContainerEventsStream = BoxStream<'static, Result<ContainerEventResponse, Status>>;

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        self.runtime.version().await.map(Response::new)
    }
    async fn run_pod_sandbox(&self, r: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        self.runtime.run_pod_sandbox(r.into_inner()).await.map(Response::new)
    }
    async fn stop_pod_sandbox(&self, r: Request<StopPodSandboxRequest>) -> Answer<StopPodSandboxResponse> {
        empty(self.runtime.stop_pod_sandbox(r.into_inner()).await)
    }
    async fn remove_pod_sandbox(&self, r: Request<RemovePodSandboxRequest>) -> Answer<RemovePodSandboxResponse> {
        empty(self.runtime.remove_pod_sandbox(r.into_inner()).await)
    }
    async fn pod_sandbox_status(&self, r: Request<PodSandboxStatusRequest>) -> Answer<PodSandboxStatusResponse> {
        self.runtime.pod_sandbox_status(r.into_inner()).await.map(Response::new)
    }
    async fn list_pod_sandbox(&self, r: Request<ListPodSandboxRequest>) -> Answer<ListPodSandboxResponse> {
        self.runtime.list_pod_sandbox(r.into_inner()).await.map(Response::new)
    }
    async fn create_container(&self, r: Request<CreateContainerRequest>) -> Answer<CreateContainerResponse> {
        self.runtime.create_container(r.into_inner()).await.map(Response::new)
    }
    async fn start_container(&self, r: Request<StartContainerRequest>) -> Answer<StartContainerResponse> {
        empty(self.runtime.start_container(r.into_inner()).await)
    }
    async fn stop_container(&self, r: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        empty(self.runtime.stop_container(r.into_inner()).await)
    }
    async fn remove_container(&self, r: Request<RemoveContainerRequest>) -> Answer<RemoveContainerResponse> {
        empty(self.runtime.remove_container(r.into_inner()).await)
    }
    async fn list_containers(&self, r: Request<ListContainersRequest>) -> Answer<ListContainersResponse> {
        self.runtime.list_containers(r.into_inner()).await.map(Response::new)
    }
    async fn container_status(&self, r: Request<ContainerStatusRequest>) -> Answer<ContainerStatusResponse> {
        self.runtime.container_status(r.into_inner()).await.map(Response::new)
    }
    async fn update_container_resources(
        &self,
        r: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        empty(self.runtime.update_container_resources(r.into_inner()).await)
    }
    async fn reopen_container_log(&self, r: Request<ReopenContainerLogRequest>) -> Answer<ReopenContainerLogResponse> {
        empty(self.runtime.reopen_container_log(r.into_inner()).await)
    }
    async fn exec_sync(&self, r: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        self.runtime.exec_sync(r.into_inner()).await.map(Response::new)
    }
    async fn exec(&self, r: Request<ExecRequest>) -> Answer<ExecResponse> {
        Ok(Response::new(ExecResponse { url: self.streaming.url(Ticket::Exec(r.into_inner())) }))
    }
    async fn attach(&self, r: Request<AttachRequest>) -> Answer<AttachResponse> {
        Ok(Response::new(AttachResponse { url: self.streaming.url(Ticket::Attach(r.into_inner())) }))
    }
    async fn port_forward(&self, r: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        Ok(Response::new(PortForwardResponse { url: self.streaming.url(Ticket::Forward(r.into_inner())) }))
    }
    async fn container_stats(&self, r: Request<ContainerStatsRequest>) -> Answer<ContainerStatsResponse> {
        self.runtime.container_stats(r.into_inner()).await.map(Response::new)
    }
    async fn list_container_stats(&self, r: Request<ListContainerStatsRequest>) -> Answer<ListContainerStatsResponse> {
        self.runtime.list_container_stats(r.into_inner()).await.map(Response::new)
    }
    async fn pod_sandbox_stats(&self, r: Request<PodSandboxStatsRequest>) -> Answer<PodSandboxStatsResponse> {
        self.runtime.pod_sandbox_stats(r.into_inner()).await.map(Response::new)
    }
    async fn list_pod_sandbox_stats(
        &self,
        r: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        self.runtime.list_pod_sandbox_stats(r.into_inner()).await.map(Response::new)
    }
    async fn update_runtime_config(
        &self,
        r: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        empty(self.runtime.update_runtime_config(r.into_inner()).await)
    }
    async fn status(&self, r: Request<StatusRequest>) -> Answer<StatusResponse> {
        Cri::status(&self.runtime, r.into_inner()).await.map(Response::new)
    }
    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        Err(Status::unimplemented("this runtime does not checkpoint containers"))
    }
    async fn get_container_events(&self, _: Request<GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let events = self.runtime.container_events().await?;
        let stream =
            futures_util::stream::unfold(events, |mut e| async move { e.recv().await.map(|event| (Ok(event), e)) });
        Ok(Response::new(stream.boxed()))
    }
    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        Err(Status::unimplemented("this runtime tells stats, not metrics"))
    }
    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        Err(Status::unimplemented("this runtime tells stats, not metrics"))
    }
    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 };
        Ok(Response::new(RuntimeConfigResponse { linux: Some(linux) }))
    }
}

#[tonic::async_trait]
impl ImageService for Service {
    async fn list_images(&self, r: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        self.runtime.list_images(r.into_inner()).await.map(Response::new)
    }
    async fn image_status(&self, r: Request<ImageStatusRequest>) -> Answer<ImageStatusResponse> {
        self.runtime.image_status(r.into_inner()).await.map(Response::new)
    }
    async fn pull_image(&self, r: Request<PullImageRequest>) -> Answer<PullImageResponse> {
        self.runtime.pull_image(r.into_inner()).await.map(Response::new)
    }
    async fn remove_image(&self, r: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        empty(self.runtime.remove_image(r.into_inner()).await)
    }
    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Answer<ImageFsInfoResponse> {
        self.runtime.image_fs_info().await.map(Response::new)
    }
}
