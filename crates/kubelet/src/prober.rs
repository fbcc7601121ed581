//! Probes of one pod: a task for each probe that should run, ended when it should not.

use std::collections::BTreeMap;
use std::sync::Arc;

use platform::time::{Duration, sleep, timeout};
use wire::cri::ExecSyncRequest;

use crate::core::machine::ProbeKind;
use crate::core::pod::{Container, Pod};
use crate::core::probe::{Counter, Wanted};
use crate::hooks;
use crate::net;
use crate::shared::Shared;
use crate::worker::Command;

type Id = (String, ProbeKind);

/// The probes that run.
pub struct Probers {
    shared: Arc<Shared>,
    uid: String,
    tasks: BTreeMap<Id, tokio::task::JoinHandle<()>>,
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.tasks.values().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Probers {
    pub fn new(shared: Arc<Shared>, uid: String) -> Probers {
        Probers { shared, uid, tasks: BTreeMap::new() }
    }

    /// Makes exactly these probes run.
    pub fn run(&mut self, wanted: Vec<Wanted>, pod: &Pod) {
        self.tasks.retain(|id, task| {
            let keep = wanted.iter().any(|w| (w.id.clone(), w.kind) == *id);
            if !keep {
                task.abort();
            }
            keep
        });
        for w in wanted {
            let id = (w.id.clone(), w.kind);
            if self.tasks.contains_key(&id) {
                continue;
            }
            let Some(container) = pod.container(&w.container).cloned() else { continue };
            let task = probe(self.shared.clone(), self.uid.clone(), pod.clone(), container, w);
            self.tasks.insert(id, self.shared.env.spawn("probe", task));
        }
    }
}

fn word(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    }
}

async fn probe(shared: Arc<Shared>, uid: String, pod: Pod, container: Container, w: Wanted) {
    let period = Duration::from_secs(w.probe.period_seconds.max(1).unsigned_abs());
    sleep(Duration::from_secs(w.probe.initial_delay_seconds.unsigned_abs())).await;
    let mut counter = Counter::default();
    loop {
        let result = once(&shared, &pod, &container, &w).await;
        let passed = result.is_ok();
        if let Err(e) = &result {
            shared.tell(&pod, &container.name, true, "Unhealthy", format!("{} probe failed: {e}", word(w.kind)));
        }
        if let Some(passed) = counter.add(&w.probe, passed) {
            let message = result.err().unwrap_or_default();
            let command =
                Command::Probed { container: container.name.clone(), id: w.id.clone(), kind: w.kind, passed, message };
            if !shared.send(&uid, command) {
                return;
            }
        }
        sleep(period).await;
    }
}

async fn once(shared: &Shared, pod: &Pod, container: &Container, w: &Wanted) -> Result<(), String> {
    let limit = Duration::from_secs(w.probe.timeout_seconds.max(1).unsigned_abs());
    let ips = shared.facts(pod).pod_ips;
    let host = hooks::pod_host(shared, pod, &ips);
    if let Some(exec) = &w.probe.exec {
        let request =
            ExecSyncRequest { container_id: w.id.clone(), cmd: exec.command.clone(), timeout: limit.as_secs() as i64 };
        return match shared.cri.exec_sync(request).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => Err(String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned()),
            Err(e) if e.code() == wire::Code::DeadlineExceeded => {
                Err(format!("command timed out: {:?} timed out after {limit:?}", exec.command.join(" ")))
            }
            Err(e) => Err(e.message().to_string()),
        };
    }
    let work = async {
        if let Some(g) = &w.probe.http_get {
            let get = hooks::request(container, g, &host, "kube-probe/1.36")?;
            return match net::get(&get).await {
                Ok((status, _)) if (200..400).contains(&status) => Ok(()),
                Ok((status, _)) => Err(format!("HTTP probe failed with statuscode: {status}")),
                Err(e) => Err(format!(
                    "Get \"{}://{}:{}{}\": {e}",
                    if get.https { "https" } else { "http" },
                    get.host,
                    get.port,
                    get.path
                )),
            };
        }
        if let Some(t) = &w.probe.tcp_socket {
            let host = if t.host.is_empty() { host.clone() } else { t.host.clone() };
            return net::connect(&host, hooks::port(container, &t.port)?).await.map(drop);
        }
        match &w.probe.grpc {
            Some(g) => {
                let port = u16::try_from(g.port).map_err(|_| format!("invalid port number: {}", g.port))?;
                net::grpc_health(&host, port, g.service.as_deref().unwrap_or("")).await
            }
            None => Err("missing probe handler".into()),
        }
    };
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into()),
    }
}
