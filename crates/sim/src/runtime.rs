//! A container runtime that only counts, behind CRI: sandboxes and containers come to be and end, take their time, and
//! outlive the kubelet. What runs in them is nothing.

use crate::checks::{Checks, ONE_CONTAINER};
use platform::Rng;
use platform::time::{Duration, Instant, sleep};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;
use wire::cri::*;
use wire::service::{Io, Process};
use wire::{Cri, Status};

const EPOCH_NS: i64 = 1_800_000_000_000_000_000;
const EVENTS: usize = 1000;

struct Sandbox {
    config: PodSandboxConfig,
    ready: bool,
    created: i64,
    ip: String,
}

struct Box_ {
    sandbox: String,
    config: ContainerConfig,
    state: ContainerState,
    created: i64,
    started: i64,
    finished: i64,
    exit_code: i32,
}

#[derive(Default)]
struct Inner {
    next: u64,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Box_>,
    listeners: Vec<mpsc::Sender<ContainerEventResponse>>,
}

/// One machine's runtime.
pub struct SimCri {
    me: Weak<SimCri>,
    node: String,
    number: u64,
    checks: Arc<Checks>,
    start: Instant,
    rng: Mutex<Rng>,
    inner: Mutex<Inner>,
}

fn gone(what: &str, id: &str) -> Status {
    Status::not_found(format!("{what} {id} is not there"))
}

fn unsupported<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("the simulated runtime has no {what}")))
}

impl SimCri {
    /// A runtime that has nothing.
    pub fn new(node: &str, number: u64, seed: u64, checks: &Arc<Checks>) -> Arc<SimCri> {
        let rng = Mutex::new(Rng::from_seed(seed).split(node));
        Arc::new_cyclic(|me| SimCri {
            me: me.clone(),
            node: node.into(),
            number,
            checks: checks.clone(),
            start: Instant::now(),
            rng,
            inner: Mutex::default(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        EPOCH_NS + i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    async fn wait(&self, most_ms: u64) {
        let millis = 1 + self.rng.lock().unwrap_or_else(PoisonError::into_inner).below(most_ms);
        sleep(Duration::from_millis(millis)).await;
    }

    /// Uids of pods with a running container.
    pub fn uids(&self) -> Vec<String> {
        let inner = self.inner();
        let running = inner.containers.values().filter(|c| c.state == ContainerState::ContainerRunning);
        let mut uids: Vec<String> = running.filter_map(|c| inner.sandboxes.get(&c.sandbox)).map(uid).collect();
        uids.sort();
        uids.dedup();
        uids
    }

    /// The power goes: nothing is left.
    pub fn power_off(&self) {
        let uids = self.uids();
        {
            let mut inner = self.inner();
            *inner = Inner { next: inner.next, ..Inner::default() };
        }
        uids.iter().for_each(|uid| self.checks.stopped(uid));
    }

    /// Runs a container; what is called `job` ends by itself.
    async fn begin(&self, id: String) -> Result<(), Status> {
        self.wait(100).await;
        let now = self.now();
        let (uid, name, twin, image) = {
            let mut inner = self.inner();
            let container = inner.containers.get_mut(&id).ok_or_else(|| gone("container", &id))?;
            container.state = ContainerState::ContainerRunning;
            container.started = now;
            let (sandbox, own) = (container.sandbox.clone(), name_of(container));
            let image = container.config.image.clone().map(|i| i.image).unwrap_or_default();
            let sandbox = inner.sandboxes.get(&sandbox).filter(|s| s.ready).ok_or_else(|| gone("sandbox", &sandbox))?;
            let meta = sandbox.config.metadata.clone().unwrap_or_default();
            let same =
                |c: &Box_| inner.sandboxes.get(&c.sandbox).is_some_and(|s| uid(s) == meta.uid) && name_of(c) == own;
            let mut others = inner.containers.iter().filter(|(other, _)| **other != id);
            let twin = others.find(|(_, c)| c.state == ContainerState::ContainerRunning && same(c));
            (uid(sandbox), format!("{}/{}", meta.namespace, meta.name), twin.map(|(id, _)| id.clone()), image)
        };
        if let Some(twin) = twin {
            self.checks.violated(ONE_CONTAINER, format!("{id} of {name} starts on {} while {twin} runs", self.node));
        }
        let stateful = name.contains("/db-");
        self.checks.starts(&self.node, &uid, stateful.then_some(name.as_str()));
        self.tell(&id, ContainerEventType::ContainerStartedEvent);
        if image == "job" {
            let me = self.me.clone();
            drop(tokio::spawn(async move {
                let Some(me) = me.upgrade() else { return };
                me.wait(4000).await;
                me.end(&id, 0); // unless a power cut took it away
            }));
        }
        Ok(())
    }

    /// Ends a container, and tells.
    fn end(&self, id: &str, code: i32) {
        let now = self.now();
        let uid = {
            let mut inner = self.inner();
            let Some(container) = inner.containers.get_mut(id).filter(|c| c.state == ContainerState::ContainerRunning)
            else {
                return;
            };
            container.state = ContainerState::ContainerExited;
            container.finished = now;
            container.exit_code = code;
            let sandbox = container.sandbox.clone();
            let running =
                inner.containers.values().any(|c| c.sandbox == sandbox && c.state == ContainerState::ContainerRunning);
            inner.sandboxes.get(&sandbox).filter(|_| !running).map(uid)
        };
        if let Some(uid) = uid {
            self.checks.stopped(&uid);
        }
        self.tell(id, ContainerEventType::ContainerStoppedEvent);
    }

    fn tell(&self, id: &str, kind: ContainerEventType) {
        let mut inner = self.inner();
        let sandbox = inner.containers.get(id).map_or_else(|| id.to_string(), |c| c.sandbox.clone());
        let Some(status) = inner.sandboxes.get(&sandbox).map(|s| sandbox_status(&sandbox, s)) else { return };
        let statuses = inner
            .containers
            .iter()
            .filter(|(_, c)| c.sandbox == sandbox)
            .map(|(id, c)| container_status(id, c))
            .collect();
        let event = ContainerEventResponse {
            container_id: id.into(),
            container_event_type: kind as i32,
            created_at: self.now(),
            pod_sandbox_status: Some(status),
            containers_statuses: statuses,
        };
        inner.listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
    }
}

fn name_of(container: &Box_) -> String {
    container.config.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default()
}

fn uid(sandbox: &Sandbox) -> String {
    sandbox.config.metadata.as_ref().map(|m| m.uid.clone()).unwrap_or_default()
}

fn sandbox_status(id: &str, s: &Sandbox) -> PodSandboxStatus {
    let state = if s.ready { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready };
    PodSandboxStatus {
        id: id.into(),
        metadata: s.config.metadata.clone(),
        state: state as i32,
        created_at: s.created,
        network: Some(PodSandboxNetworkStatus { ip: s.ip.clone(), ..Default::default() }),
        labels: s.config.labels.clone(),
        annotations: s.config.annotations.clone(),
        ..Default::default()
    }
}

fn container_status(id: &str, c: &Box_) -> ContainerStatus {
    let image = c.config.image.clone();
    let name = image.as_ref().map(|i| i.image.clone()).unwrap_or_default();
    let reason = if c.state == ContainerState::ContainerExited {
        if c.exit_code == 0 { "Completed" } else { "Error" }
    } else {
        ""
    };
    ContainerStatus {
        id: id.into(),
        metadata: c.config.metadata.clone(),
        state: c.state as i32,
        created_at: c.created,
        started_at: c.started,
        finished_at: c.finished,
        exit_code: c.exit_code,
        image,
        image_ref: name.clone(),
        image_id: name,
        reason: reason.into(),
        labels: c.config.labels.clone(),
        annotations: c.config.annotations.clone(),
        log_path: c.config.log_path.clone(),
        ..Default::default()
    }
}

fn wanted(
    labels: &std::collections::HashMap<String, String>,
    selector: &std::collections::HashMap<String, String>,
) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

impl SimCri {
    fn sandboxes(&self, filter: Option<PodSandboxFilter>) -> Vec<PodSandbox> {
        let filter = filter.unwrap_or_default();
        let one = |(id, s): (&String, &Sandbox)| {
            let status = sandbox_status(id, s);
            let fits = (filter.id.is_empty() || filter.id == *id) && wanted(&s.config.labels, &filter.label_selector);
            let state = filter.state.as_ref().is_none_or(|w| w.state == status.state);
            (fits && state).then(|| PodSandbox {
                id: id.clone(),
                metadata: s.config.metadata.clone(),
                state: status.state,
                created_at: s.created,
                labels: s.config.labels.clone(),
                annotations: s.config.annotations.clone(),
                ..Default::default()
            })
        };
        self.inner().sandboxes.iter().filter_map(one).collect()
    }

    fn listed(&self, filter: Option<ContainerFilter>) -> Vec<Container> {
        let filter = filter.unwrap_or_default();
        let one = |(id, c): (&String, &Box_)| {
            let fits = (filter.id.is_empty() || filter.id == *id)
                && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == c.sandbox)
                && wanted(&c.config.labels, &filter.label_selector)
                && filter.state.as_ref().is_none_or(|w| w.state == c.state as i32);
            let status = container_status(id, c);
            fits.then(|| Container {
                id: id.clone(),
                pod_sandbox_id: c.sandbox.clone(),
                metadata: c.config.metadata.clone(),
                image: c.config.image.clone(),
                image_ref: status.image_ref,
                state: status.state,
                created_at: c.created,
                labels: c.config.labels.clone(),
                annotations: c.config.annotations.clone(),
                image_id: status.image_id,
            })
        };
        self.inner().containers.iter().filter_map(one).collect()
    }
}

#[async_trait::async_trait]
impl Cri for SimCri {
    async fn version(&self) -> Result<VersionResponse, Status> {
        let text = |s: &str| s.to_string();
        Ok(VersionResponse {
            version: text("0.1.0"),
            runtime_name: text("sim"),
            runtime_version: text("1"),
            runtime_api_version: text("v1"),
        })
    }

    async fn status(&self, _: StatusRequest) -> Result<StatusResponse, Status> {
        let on = |kind: &str| RuntimeCondition { r#type: kind.into(), status: true, ..Default::default() };
        let status = RuntimeStatus { conditions: vec![on("RuntimeReady"), on("NetworkReady")] };
        Ok(StatusResponse { status: Some(status), ..Default::default() })
    }

    async fn update_runtime_config(&self, _: UpdateRuntimeConfigRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, Status> {
        self.wait(200).await;
        let config = r.config.ok_or_else(|| Status::invalid_argument("no config"))?;
        let id = {
            let mut inner = self.inner();
            // A name can be taken once, as in every runtime.
            if inner.sandboxes.values().any(|s| s.config.metadata == config.metadata) {
                return Err(Status::already_exists("the sandbox's name is taken"));
            }
            inner.next += 1;
            let (n, created) = (inner.next, self.now());
            let id = format!("{}-s{n:06}", self.node);
            let ip = format!("10.244.{}.{}", self.number, n % 250 + 1);
            inner.sandboxes.insert(id.clone(), Sandbox { config, ready: true, created, ip });
            id
        };
        self.tell(&id, ContainerEventType::ContainerCreatedEvent);
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }

    async fn stop_pod_sandbox(&self, r: StopPodSandboxRequest) -> Result<(), Status> {
        self.wait(100).await;
        let inside =
            self.listed(Some(ContainerFilter { pod_sandbox_id: r.pod_sandbox_id.clone(), ..Default::default() }));
        inside.iter().for_each(|c| self.end(&c.id, 137));
        if let Some(sandbox) = self.inner().sandboxes.get_mut(&r.pod_sandbox_id) {
            sandbox.ready = false;
        }
        self.tell(&r.pod_sandbox_id, ContainerEventType::ContainerStoppedEvent);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, r: RemovePodSandboxRequest) -> Result<(), Status> {
        self.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: r.pod_sandbox_id.clone() }).await?;
        let mut inner = self.inner();
        inner.containers.retain(|_, c| c.sandbox != r.pod_sandbox_id);
        inner.sandboxes.remove(&r.pod_sandbox_id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, r: PodSandboxStatusRequest) -> Result<PodSandboxStatusResponse, Status> {
        let inner = self.inner();
        let sandbox = inner.sandboxes.get(&r.pod_sandbox_id).ok_or_else(|| gone("sandbox", &r.pod_sandbox_id))?;
        Ok(PodSandboxStatusResponse { status: Some(sandbox_status(&r.pod_sandbox_id, sandbox)), ..Default::default() })
    }

    async fn list_pod_sandbox(&self, r: ListPodSandboxRequest) -> Result<ListPodSandboxResponse, Status> {
        Ok(ListPodSandboxResponse { items: self.sandboxes(r.filter) })
    }

    async fn create_container(&self, r: CreateContainerRequest) -> Result<CreateContainerResponse, Status> {
        self.wait(50).await;
        let config = r.config.ok_or_else(|| Status::invalid_argument("no config"))?;
        let mut inner = self.inner();
        if !inner.sandboxes.get(&r.pod_sandbox_id).is_some_and(|s| s.ready) {
            return Err(gone("sandbox", &r.pod_sandbox_id));
        }
        if inner.containers.values().any(|c| c.sandbox == r.pod_sandbox_id && c.config.metadata == config.metadata) {
            return Err(Status::already_exists("the container's name is taken"));
        }
        inner.next += 1;
        let (id, created) = (format!("{}-c{:06}", self.node, inner.next), self.now());
        let state = ContainerState::ContainerCreated;
        inner.containers.insert(
            id.clone(),
            Box_ { sandbox: r.pod_sandbox_id, config, state, created, started: 0, finished: 0, exit_code: 0 },
        );
        Ok(CreateContainerResponse { container_id: id })
    }

    async fn start_container(&self, r: StartContainerRequest) -> Result<(), Status> {
        self.begin(r.container_id).await
    }

    async fn stop_container(&self, r: StopContainerRequest) -> Result<(), Status> {
        self.wait(u64::try_from(r.timeout.clamp(0, 2)).unwrap_or(0) * 1000 + 1).await;
        self.end(&r.container_id, 0);
        Ok(())
    }

    async fn remove_container(&self, r: RemoveContainerRequest) -> Result<(), Status> {
        self.end(&r.container_id, 137);
        self.inner().containers.remove(&r.container_id);
        Ok(())
    }

    async fn list_containers(&self, r: ListContainersRequest) -> Result<ListContainersResponse, Status> {
        Ok(ListContainersResponse { containers: self.listed(r.filter) })
    }

    async fn container_status(&self, r: ContainerStatusRequest) -> Result<ContainerStatusResponse, Status> {
        let inner = self.inner();
        let container = inner.containers.get(&r.container_id).ok_or_else(|| gone("container", &r.container_id))?;
        Ok(ContainerStatusResponse { status: Some(container_status(&r.container_id, container)), ..Default::default() })
    }

    async fn update_container_resources(&self, _: UpdateContainerResourcesRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn reopen_container_log(&self, _: ReopenContainerLogRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn exec_sync(&self, _: ExecSyncRequest) -> Result<ExecSyncResponse, Status> {
        unsupported("exec")
    }

    async fn exec_stream(&self, _: ExecRequest) -> Result<Process, Status> {
        unsupported("exec")
    }

    async fn attach_stream(&self, _: AttachRequest) -> Result<Process, Status> {
        unsupported("attach")
    }

    async fn port_forward_stream(&self, _: &str, _: u16) -> Result<Box<dyn Io>, Status> {
        unsupported("port forwarding")
    }

    async fn container_stats(&self, _: ContainerStatsRequest) -> Result<ContainerStatsResponse, Status> {
        unsupported("statistics")
    }

    async fn list_container_stats(&self, _: ListContainerStatsRequest) -> Result<ListContainerStatsResponse, Status> {
        Ok(ListContainerStatsResponse::default())
    }

    async fn pod_sandbox_stats(&self, _: PodSandboxStatsRequest) -> Result<PodSandboxStatsResponse, Status> {
        unsupported("statistics")
    }

    async fn list_pod_sandbox_stats(
        &self,
        _: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse, Status> {
        Ok(ListPodSandboxStatsResponse::default())
    }

    async fn container_events(&self) -> Result<mpsc::Receiver<ContainerEventResponse>, Status> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.inner().listeners.push(sender);
        Ok(receiver)
    }

    async fn list_images(&self, _: ListImagesRequest) -> Result<ListImagesResponse, Status> {
        Ok(ListImagesResponse::default())
    }

    async fn image_status(&self, r: ImageStatusRequest) -> Result<ImageStatusResponse, Status> {
        let name = r.image.map(|i| i.image).unwrap_or_default();
        let image = Image { id: name.clone(), repo_tags: vec![name], size: 1 << 20, ..Default::default() };
        Ok(ImageStatusResponse { image: Some(image), ..Default::default() })
    }

    async fn pull_image(&self, r: PullImageRequest) -> Result<PullImageResponse, Status> {
        self.wait(500).await;
        Ok(PullImageResponse { image_ref: r.image.map(|i| i.image).unwrap_or_default() })
    }

    async fn remove_image(&self, _: RemoveImageRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, Status> {
        Ok(ImageFsInfoResponse::default())
    }
}
