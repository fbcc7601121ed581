//! CRI as one object-safe trait: what the kubelet needs from a container runtime, in process or behind a socket.
//!
//! Unary calls use the structs of [`crate::cri`]; errors are gRPC statuses everywhere, so that a caller sees the same codes
//! whether the runtime is embedded or remote. Remote commands do not go through URLs here: `exec_stream`, `attach_stream`
//! and `port_forward_stream` hand out the byte streams themselves ([`Process`]); an implementation over gRPC follows the
//! URLs of CRI's `Exec`, `Attach` and `PortForward` on its own.

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tonic::Status;

use crate::cri::*;

/// A boxed future that can move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A boxed readable byte stream.
pub type BoxRead = Box<dyn AsyncRead + Send + Unpin>;
/// A boxed writable byte stream; shutting it down (or dropping it) is end of file for the other side.
pub type BoxWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// Readable and writable bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The streams of a remote process: what `exec` and `attach` give.
pub struct Process {
    /// Writes to the process' standard input, when it was asked for.
    pub stdin: Option<BoxWrite>,
    /// The process' standard output (everything, with a terminal).
    pub stdout: Option<BoxRead>,
    /// The process' standard error; none with a terminal.
    pub stderr: Option<BoxRead>,
    /// Changes the terminal's size; messages to a process without a terminal are ignored.
    pub resize: mpsc::Sender<TerminalSize>,
    /// The exit code. For `attach` it resolves to 0 when the streams are closed.
    pub exit: BoxFuture<Result<i32, Status>>,
}

/// A container runtime.
#[async_trait::async_trait]
pub trait Cri: Send + Sync + 'static {
    async fn version(&self) -> Result<VersionResponse, Status>;
    async fn status(&self, r: StatusRequest) -> Result<StatusResponse, Status>;
    async fn update_runtime_config(&self, r: UpdateRuntimeConfigRequest) -> Result<(), Status>;
    async fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, Status>;
    async fn stop_pod_sandbox(&self, r: StopPodSandboxRequest) -> Result<(), Status>;
    async fn remove_pod_sandbox(&self, r: RemovePodSandboxRequest) -> Result<(), Status>;
    async fn pod_sandbox_status(&self, r: PodSandboxStatusRequest) -> Result<PodSandboxStatusResponse, Status>;
    async fn list_pod_sandbox(&self, r: ListPodSandboxRequest) -> Result<ListPodSandboxResponse, Status>;
    async fn create_container(&self, r: CreateContainerRequest) -> Result<CreateContainerResponse, Status>;
    async fn start_container(&self, r: StartContainerRequest) -> Result<(), Status>;
    async fn stop_container(&self, r: StopContainerRequest) -> Result<(), Status>;
    async fn remove_container(&self, r: RemoveContainerRequest) -> Result<(), Status>;
    async fn list_containers(&self, r: ListContainersRequest) -> Result<ListContainersResponse, Status>;
    async fn container_status(&self, r: ContainerStatusRequest) -> Result<ContainerStatusResponse, Status>;
    async fn update_container_resources(&self, r: UpdateContainerResourcesRequest) -> Result<(), Status>;
    async fn reopen_container_log(&self, r: ReopenContainerLogRequest) -> Result<(), Status>;
    async fn exec_sync(&self, r: ExecSyncRequest) -> Result<ExecSyncResponse, Status>;
    async fn exec_stream(&self, r: ExecRequest) -> Result<Process, Status>;
    async fn attach_stream(&self, r: AttachRequest) -> Result<Process, Status>;
    /// A connection to `port` of the pod's loopback.
    async fn port_forward_stream(&self, sandbox: &str, port: u16) -> Result<Box<dyn Io>, Status>;
    async fn container_stats(&self, r: ContainerStatsRequest) -> Result<ContainerStatsResponse, Status>;
    async fn list_container_stats(&self, r: ListContainerStatsRequest) -> Result<ListContainerStatsResponse, Status>;
    async fn pod_sandbox_stats(&self, r: PodSandboxStatsRequest) -> Result<PodSandboxStatsResponse, Status>;
    async fn list_pod_sandbox_stats(
        &self,
        r: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse, Status>;
    /// Everything that happens to containers and sandboxes from now on. The channel is closed when the reader falls
    /// behind its bound or the runtime goes away: the reader then lists and subscribes again.
    async fn container_events(&self) -> Result<mpsc::Receiver<ContainerEventResponse>, Status>;
    async fn list_images(&self, r: ListImagesRequest) -> Result<ListImagesResponse, Status>;
    async fn image_status(&self, r: ImageStatusRequest) -> Result<ImageStatusResponse, Status>;
    async fn pull_image(&self, r: PullImageRequest) -> Result<PullImageResponse, Status>;
    async fn remove_image(&self, r: RemoveImageRequest) -> Result<(), Status>;
    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, Status>;
}
