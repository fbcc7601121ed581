//! A container runtime behind a socket (`--container-runtime-endpoint`): CRI over gRPC.
//!
//! Commands and forwarded ports follow the URLs that the runtime gives (SPDY over plain HTTP on loopback, as containerd and
//! CRI-O serve it). A runtime without container events is asked for its containers every second.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use platform::time::sleep;
use stream::client::{Target, exec_spdy, port_forward_spdy};
use stream::{Message, Wanted};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use wire::cri::image_service_client::ImageServiceClient;
use wire::cri::runtime_service_client::RuntimeServiceClient;
use wire::cri::*;
use wire::service::{Io, Process, TerminalSize};

type Answer<T> = Result<T, Status>;

/// See the file's head. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    env: platform::Env,
}

/// Largest message: image lists and statuses of many containers.
const MAX_MESSAGE: usize = 16 << 20;

impl Remote {
    /// For a socket, `unix:///run/containerd/containerd.sock` or a plain path. Connects when it is first used.
    pub fn new(env: &platform::Env, endpoint: &str) -> Result<Remote, String> {
        let path: PathBuf = endpoint.strip_prefix("unix://").unwrap_or(endpoint).into();
        if !path.is_absolute() {
            return Err(format!("container runtime endpoint {endpoint:?} is not a unix socket"));
        }
        let path: Arc<Path> = path.into();
        let connect = move |_: Uri| {
            let path = path.clone();
            Box::pin(async move { UnixStream::connect(&*path).await.map(TokioIo::new) })
                as std::pin::Pin<Box<dyn Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send>>
        };
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(Connector(Arc::new(connect)));
        Ok(Remote {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            env: env.clone(),
        })
    }

    async fn process(&self, url: String, wanted: Wanted) -> Answer<Process> {
        let (io, target) = open(&url).await?;
        let session = exec_spdy(io, &target, wanted).await.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(relay(&self.env, session, wanted))
    }
}

type Connect =
    dyn Fn(Uri) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send>> + Send + Sync;

/// Connects to the socket, whatever the URI.
#[derive(Clone)]
struct Connector(Arc<Connect>);

impl tonic::codegen::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), std::io::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        (self.0)(uri)
    }
}

/// Connects to a streaming URL.
async fn open(url: &str) -> Answer<(TcpStream, Target)> {
    let uri: Uri = url.parse().map_err(|e| Status::internal(format!("the runtime's URL {url:?}: {e}")))?;
    let authority =
        uri.authority().ok_or_else(|| Status::internal(format!("the runtime's URL {url:?} has no host")))?;
    let host = authority.host().trim_matches(['[', ']']).to_string();
    let port = authority.port_u16().unwrap_or(80);
    let io = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|e| Status::unavailable(format!("connect to the runtime's {authority}: {e}")))?;
    let path = uri.path_and_query().map_or_else(|| "/".to_string(), ToString::to_string);
    Ok((io, Target { host: authority.to_string(), path, headers: Vec::new() }))
}

/// A session as the streams of a process.
fn relay(env: &platform::Env, session: stream::Session, wanted: Wanted) -> Process {
    let pair = || tokio::io::duplex(64 * 1024);
    let (stdin, mut stdin_far) = pair();
    let ((stdout, mut stdout_far), (stderr, mut stderr_far)) = (pair(), pair());
    let (resize, mut sizes) = mpsc::channel::<TerminalSize>(4);
    let (exit_sender, exit) = oneshot::channel();
    let (sender, mut messages) = session.split();
    drop(env.spawn("remote-input", async move {
        let mut buffer = vec![0; 16 * 1024];
        let mut open = true;
        loop {
            let message = tokio::select! { biased;
                size = sizes.recv() => match size {
                    Some(size) => Message::Resize { width: size.width, height: size.height },
                    None => return, // the process is not used any more
                },
                read = stdin_far.read(&mut buffer), if open => match read {
                    Ok(n) if n > 0 => Message::Stdin(bytes::Bytes::copy_from_slice(&buffer[..n])),
                    _ => {
                        open = false;
                        Message::StdinEnd
                    }
                },
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    }));
    drop(env.spawn("remote-output", async move {
        let mut result = Err(Status::unavailable("the runtime closed the stream"));
        while let Some(message) = messages.recv().await {
            let written = match message {
                Message::Stdout(data) => stdout_far.write_all(&data).await,
                Message::Stderr(data) => stderr_far.write_all(&data).await,
                Message::Status(text) => {
                    // An empty error stream that ends is success.
                    result =
                        if text.is_empty() { Ok(0) } else { stream::status::parse(&text).map_err(Status::unknown) };
                    break;
                }
                _ => Ok(()),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = exit_sender.send(result);
    }));
    let some = |on: bool, io: DuplexStream| on.then_some(io);
    Process {
        stdin: some(wanted.stdin, stdin).map(|io| Box::new(io) as _),
        stdout: some(wanted.stdout, stdout).map(|io| Box::new(io) as _),
        stderr: some(wanted.stderr && !wanted.tty, stderr).map(|io| Box::new(io) as _),
        resize,
        exit: Box::pin(
            async move { exit.await.unwrap_or_else(|_| Err(Status::unavailable("the stream was given up"))) },
        ),
    }
}

macro_rules! forward {
    ($(fn $name:ident($request:ty) -> $answer:ty = $client:ident;)*) => {
        $(async fn $name(&self, r: $request) -> Answer<$answer> {
            self.$client.clone().$name(r).await.map(tonic::Response::into_inner)
        })*
    };
}

/// The calls that pass through unchanged, apart from the trait so that a macro can write them.
impl Remote {
    forward! {
        fn stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse = runtime;
        fn remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse = runtime;
        fn start_container(StartContainerRequest) -> StartContainerResponse = runtime;
        fn stop_container(StopContainerRequest) -> StopContainerResponse = runtime;
        fn remove_container(RemoveContainerRequest) -> RemoveContainerResponse = runtime;
        fn update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse = runtime;
        fn reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse = runtime;
        fn update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse = runtime;
        fn remove_image(RemoveImageRequest) -> RemoveImageResponse = images;
    }
}

#[async_trait::async_trait]
impl wire::Cri for Remote {
    async fn version(&self) -> Answer<VersionResponse> {
        self.runtime.clone().version(VersionRequest::default()).await.map(tonic::Response::into_inner)
    }
    async fn status(&self, r: StatusRequest) -> Answer<StatusResponse> {
        self.runtime.clone().status(r).await.map(tonic::Response::into_inner)
    }
    async fn update_runtime_config(&self, r: UpdateRuntimeConfigRequest) -> Answer<()> {
        Remote::update_runtime_config(self, r).await.map(drop)
    }
    async fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> Answer<RunPodSandboxResponse> {
        self.runtime.clone().run_pod_sandbox(r).await.map(tonic::Response::into_inner)
    }
    async fn stop_pod_sandbox(&self, r: StopPodSandboxRequest) -> Answer<()> {
        Remote::stop_pod_sandbox(self, r).await.map(drop)
    }
    async fn remove_pod_sandbox(&self, r: RemovePodSandboxRequest) -> Answer<()> {
        Remote::remove_pod_sandbox(self, r).await.map(drop)
    }
    async fn pod_sandbox_status(&self, r: PodSandboxStatusRequest) -> Answer<PodSandboxStatusResponse> {
        self.runtime.clone().pod_sandbox_status(r).await.map(tonic::Response::into_inner)
    }
    async fn list_pod_sandbox(&self, r: ListPodSandboxRequest) -> Answer<ListPodSandboxResponse> {
        self.runtime.clone().list_pod_sandbox(r).await.map(tonic::Response::into_inner)
    }
    async fn create_container(&self, r: CreateContainerRequest) -> Answer<CreateContainerResponse> {
        self.runtime.clone().create_container(r).await.map(tonic::Response::into_inner)
    }
    async fn start_container(&self, r: StartContainerRequest) -> Answer<()> {
        Remote::start_container(self, r).await.map(drop)
    }
    async fn stop_container(&self, r: StopContainerRequest) -> Answer<()> {
        Remote::stop_container(self, r).await.map(drop)
    }
    async fn remove_container(&self, r: RemoveContainerRequest) -> Answer<()> {
        Remote::remove_container(self, r).await.map(drop)
    }
    async fn list_containers(&self, r: ListContainersRequest) -> Answer<ListContainersResponse> {
        self.runtime.clone().list_containers(r).await.map(tonic::Response::into_inner)
    }
    async fn container_status(&self, r: ContainerStatusRequest) -> Answer<ContainerStatusResponse> {
        self.runtime.clone().container_status(r).await.map(tonic::Response::into_inner)
    }
    async fn update_container_resources(&self, r: UpdateContainerResourcesRequest) -> Answer<()> {
        Remote::update_container_resources(self, r).await.map(drop)
    }
    async fn reopen_container_log(&self, r: ReopenContainerLogRequest) -> Answer<()> {
        Remote::reopen_container_log(self, r).await.map(drop)
    }
    async fn exec_sync(&self, r: ExecSyncRequest) -> Answer<ExecSyncResponse> {
        self.runtime.clone().exec_sync(r).await.map(tonic::Response::into_inner)
    }
    async fn exec_stream(&self, r: ExecRequest) -> Answer<Process> {
        let wanted = Wanted { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty };
        let url = self.runtime.clone().exec(r).await?.into_inner().url;
        self.process(url, wanted).await
    }
    async fn attach_stream(&self, r: AttachRequest) -> Answer<Process> {
        let wanted = Wanted { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty };
        let url = self.runtime.clone().attach(r).await?.into_inner().url;
        self.process(url, wanted).await
    }
    async fn port_forward_stream(&self, sandbox: &str, port: u16) -> Answer<Box<dyn Io>> {
        let request = PortForwardRequest { pod_sandbox_id: sandbox.into(), port: vec![i32::from(port)] };
        let url = self.runtime.clone().port_forward(request).await?.into_inner().url;
        let (io, target) = open(&url).await?;
        let forwarder = port_forward_spdy(io, &target).await.map_err(|e| Status::unavailable(e.to_string()))?;
        let connection =
            forwarder.connect(port).await.ok_or_else(|| Status::unavailable("the runtime closed the connection"))?;
        // The forwarder ends with its last user: it lives as long as its one connection.
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut io = connection.io;
        drop(self.env.spawn("forwarded", async move {
            let _ = tokio::io::copy_bidirectional(&mut far, &mut io).await;
            drop(forwarder);
        }));
        Ok(Box::new(near))
    }
    async fn container_stats(&self, r: ContainerStatsRequest) -> Answer<ContainerStatsResponse> {
        self.runtime.clone().container_stats(r).await.map(tonic::Response::into_inner)
    }
    async fn list_container_stats(&self, r: ListContainerStatsRequest) -> Answer<ListContainerStatsResponse> {
        self.runtime.clone().list_container_stats(r).await.map(tonic::Response::into_inner)
    }
    async fn pod_sandbox_stats(&self, r: PodSandboxStatsRequest) -> Answer<PodSandboxStatsResponse> {
        self.runtime.clone().pod_sandbox_stats(r).await.map(tonic::Response::into_inner)
    }
    async fn list_pod_sandbox_stats(&self, r: ListPodSandboxStatsRequest) -> Answer<ListPodSandboxStatsResponse> {
        self.runtime.clone().list_pod_sandbox_stats(r).await.map(tonic::Response::into_inner)
    }
    async fn container_events(&self) -> Answer<mpsc::Receiver<ContainerEventResponse>> {
        let (sender, receiver) = mpsc::channel(256);
        match self.runtime.clone().get_container_events(GetEventsRequest::default()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                drop(self.env.spawn("runtime-event-stream", async move {
                    while let Ok(Some(event)) = stream.message().await {
                        if sender.send(event).await.is_err() {
                            return;
                        }
                    }
                }));
            }
            Err(e) if e.code() == tonic::Code::Unimplemented => {
                let remote = self.clone();
                drop(self.env.spawn("runtime-relist", async move { remote.relist(sender).await }));
            }
            Err(e) => return Err(e),
        }
        Ok(receiver)
    }
    async fn list_images(&self, r: ListImagesRequest) -> Answer<ListImagesResponse> {
        self.images.clone().list_images(r).await.map(tonic::Response::into_inner)
    }
    async fn image_status(&self, r: ImageStatusRequest) -> Answer<ImageStatusResponse> {
        self.images.clone().image_status(r).await.map(tonic::Response::into_inner)
    }
    async fn pull_image(&self, r: PullImageRequest) -> Answer<PullImageResponse> {
        self.images.clone().pull_image(r).await.map(tonic::Response::into_inner)
    }
    async fn remove_image(&self, r: RemoveImageRequest) -> Answer<()> {
        Remote::remove_image(self, r).await.map(drop)
    }
    async fn image_fs_info(&self) -> Answer<ImageFsInfoResponse> {
        self.images.clone().image_fs_info(ImageFsInfoRequest::default()).await.map(tonic::Response::into_inner)
    }
}

impl Remote {
    /// Makes events for a runtime that has none: an event without a name whenever anything is different.
    async fn relist(&self, events: mpsc::Sender<ContainerEventResponse>) {
        let mut last = None;
        loop {
            sleep(self.env.limits().kubelet.runtime).await;
            let containers = self.runtime.clone().list_containers(ListContainersRequest::default()).await;
            let sandboxes = self.runtime.clone().list_pod_sandbox(ListPodSandboxRequest::default()).await;
            let (Ok(containers), Ok(sandboxes)) = (containers, sandboxes) else { return };
            let mut now: Vec<(String, i32)> =
                containers.into_inner().containers.into_iter().map(|c| (c.id, c.state)).collect();
            now.extend(sandboxes.into_inner().items.into_iter().map(|s| (s.id, s.state)));
            now.sort();
            if last.as_ref() != Some(&now) {
                last = Some(now);
                if events.send(ContainerEventResponse::default()).await.is_err() {
                    return;
                }
            }
        }
    }
}
