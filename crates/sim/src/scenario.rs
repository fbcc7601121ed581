//! One run: a workload, faults for a while, then quiet, and everything has to come to rest.

use crate::checks::Checks;
use crate::cluster::Cluster;
use crate::net::Faults;
use client::{At, Client, DeleteOptions, ListRequest, PatchKind, resources};
use platform::Rng;
use platform::disk::{DiskFaults, SimDisk};
use platform::time::{Duration, Instant, sleep};
use serde_json::{Value, json};
use std::sync::Arc;
use store::log::Limits;

/// How long faults last, in seconds.
const FAULTY: u64 = 60;
/// How long convergence may take afterwards.
const QUIET: u64 = 600;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hash and number of lines of the trace.
    pub hash: (u64, u64),
    /// Violations and other failures; empty: all is well.
    pub failures: Vec<String>,
    /// The end of the trace.
    pub tail: Vec<String>,
    /// Virtual seconds.
    pub seconds: u64,
}

/// Plays a seed.
pub fn run(seed: u64, loud: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(play(seed, loud)),
        Err(error) => Outcome { seed, hash: (0, 0), failures: vec![error.to_string()], tail: Vec::new(), seconds: 0 },
    }
}

async fn play(seed: u64, loud: bool) -> Outcome {
    let start = Instant::now();
    let rng = Rng::from_seed(seed).split("scenario");
    let limits = limits(&mut rng.split("limits"));
    let disk = SimDisk::new("store", seed, DiskFaults { latency_us: 300, ..DiskFaults::default() });
    let nodes = 2 + rng.split("nodes").below(3);
    let mut failures = Vec::new();
    let (mut hash, mut tail) = ((0, 0), Vec::new());
    match Cluster::new(seed, disk, limits, nodes, loud) {
        Err(error) => failures.push(error),
        Ok(cluster) => {
            let mut scenario = Scenario { cluster, rng };
            if let Err(error) = scenario.play().await {
                failures.push(error);
            }
            scenario.cluster.checks.complete();
            failures.extend(scenario.cluster.checks.violations());
            (hash, tail) = (scenario.cluster.trace.hash(), scenario.cluster.trace.tail());
        }
    }
    Outcome { seed, hash, failures, tail, seconds: start.elapsed().as_secs() }
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        segment_bytes: 20_000 + rng.below(200_000),
        group_commits: 1 + rng.below(50) as usize,
        reserve: 20 + rng.below(2000),
        history_bytes: rng.below(200_000) as usize,
        log_bytes: 100_000 + rng.below(1_000_000),
        history_age: Duration::from_secs(rng.below(100)),
        cheap_delay: Duration::from_millis(100 + rng.below(2000)),
        watch_step: 1 + rng.below(100) as usize,
        ..Limits::default()
    }
}

struct Scenario {
    cluster: Cluster,
    rng: Rng,
}

impl Scenario {
    async fn play(&mut self) -> Result<(), String> {
        self.cluster.start_server().await?;
        for name in self.cluster.names() {
            self.cluster.start(&name)?;
        }
        let admin = self.cluster.admin("admin");
        self.create_workload(&admin).await?;
        let mut rng = self.rng.split("ops");
        let bank = bank(self.cluster.admin("bank"), self.cluster.checks.clone(), self.rng.split("bank"));
        let bank = tokio::spawn(bank);
        let ops = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(500 + rng.below(6000))).await;
                disturb(&admin, &mut rng).await;
            }
        });
        self.faults().await?;
        ops.abort();
        bank.abort();
        self.heal().await?;
        self.converge().await
    }

    async fn create_workload(&mut self, admin: &Client) -> Result<(), String> {
        let template = |app: &str| {
            let container = json!({"name": "c", "image": "one", "resources": {"requests": {"cpu": "100m"}}});
            json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}})
        };
        let selector = |app: &str| json!({"matchLabels": {"app": app}});
        let made = [
            (
                resources::DEPLOYMENTS,
                json!({"metadata": {"name": "web"}, "spec": {"replicas": 4, "selector": selector("web"), "template": template("web")}}),
            ),
            (
                resources::STATEFULSETS,
                json!({"metadata": {"name": "db"}, "spec": {
                    "replicas": 2, "selector": selector("db"), "template": template("db"), "serviceName": "db",
                }}),
            ),
            (
                resources::DAEMONSETS,
                json!({"metadata": {"name": "log"}, "spec": {"selector": selector("log"), "template": template("log")}}),
            ),
            (
                resources::SERVICES,
                json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
            ),
        ];
        for (resource, object) in made {
            let mut tries = 0;
            while let Err(error) = admin.create(&resource, "default", object.clone()).await {
                tries += 1;
                if error.is_already_exists() {
                    break;
                }
                if tries > 5 || !error.is_temporary() {
                    return Err(format!("{} was not created: {error}", resource.plural));
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    /// Things go wrong, one after the other.
    async fn faults(&mut self) -> Result<(), String> {
        let mut rng = self.rng.split("faults");
        let end = Instant::now() + Duration::from_secs(FAULTY);
        sleep(Duration::from_secs(rng.below(10))).await;
        while Instant::now() < end {
            let bad = Faults {
                delay_ms: [5, 50, 300, 1500][rng.below(4) as usize],
                lost_permille: [0, 0, 5, 40][rng.below(4) as usize],
                twice_permille: [0, 20][rng.below(2) as usize],
                broken_permille: [0, 0, 10][rng.below(3) as usize],
            };
            self.cluster.net.set_faults(bad);
            let names = self.cluster.names();
            let name = names[rng.below(names.len() as u64) as usize].clone();
            match rng.below(9) {
                0 | 1 => self.crash_server(&mut rng).await?,
                2 | 3 => {
                    self.cluster.kill(&name);
                    sleep(Duration::from_millis(rng.below(8000))).await;
                    self.cluster.start(&name)?;
                }
                4 => {
                    self.cluster.net.cut(&name, true);
                    sleep(Duration::from_secs(rng.below(30))).await;
                    self.cluster.net.cut(&name, false);
                }
                5 => self.lose_machine(&mut rng).await?,
                6 => {
                    let faults = DiskFaults {
                        latency_us: 50_000,
                        sync_fails_percent: [0, 5][rng.below(2) as usize],
                        ..DiskFaults::default()
                    };
                    self.cluster.disk.set_faults(faults);
                    sleep(Duration::from_millis(rng.below(5000))).await;
                    self.cluster.disk.set_faults(DiskFaults { latency_us: 300, ..DiskFaults::default() });
                }
                7 => {
                    let seconds = rng.below(20) as i64 - 10;
                    self.cluster.skew(&name, seconds * 1_000_000_000);
                }
                _ => {}
            }
            sleep(Duration::from_millis(rng.below(6000))).await;
        }
        Ok(())
    }

    async fn crash_server(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.cluster.kill("server");
        if rng.chance(60) {
            self.cluster.trace.note("the power fails");
            self.cluster.disk.power_cut();
        }
        sleep(Duration::from_millis(rng.below(4000))).await;
        self.cluster.start_server().await
    }

    /// A machine loses power, with its pods; it comes back, or not until the end.
    async fn lose_machine(&mut self, rng: &mut Rng) -> Result<(), String> {
        let machine = self.cluster.machines[rng.below(self.cluster.machines.len() as u64) as usize].clone();
        self.cluster.kill(&machine.name);
        machine.power_off();
        sleep(Duration::from_secs(rng.below(40))).await;
        self.cluster.start(&machine.name)
    }

    /// No more faults.
    async fn heal(&mut self) -> Result<(), String> {
        self.cluster.trace.note("no more faults");
        self.cluster.net.set_faults(Faults { delay_ms: 2, ..Faults::default() });
        self.cluster.disk.set_faults(DiskFaults { latency_us: 300, ..DiskFaults::default() });
        for name in self.cluster.names() {
            self.cluster.net.cut(&name, false);
            self.cluster.skew(&name, 0);
            if !self.cluster.runs(&name) {
                self.cluster.start(&name)?;
            }
        }
        Ok(())
    }

    async fn converge(&mut self) -> Result<(), String> {
        let admin = self.cluster.admin("judge");
        let end = Instant::now() + Duration::from_secs(QUIET);
        let mut why = String::new();
        while Instant::now() < end {
            sleep(Duration::from_secs(5)).await;
            match judge(&admin, &self.cluster).await {
                Ok(()) => {
                    check_bank(&admin, &self.cluster.checks).await?;
                    return Ok(());
                }
                Err(not_yet) => why = not_yet,
            }
        }
        check_bank(&admin, &self.cluster.checks).await?;
        Err(format!("everything converges: not after {QUIET} s: {why}"))
    }
}

/// A client that writes numbers and remembers which were acknowledged.
async fn bank(client: Client, checks: Arc<Checks>, mut rng: Rng) {
    let mut value = 0;
    loop {
        sleep(Duration::from_millis(50 + rng.below(1500))).await;
        value += 1;
        let name = format!("account-{}", rng.below(4));
        let at = At { resource: &resources::CONFIGMAPS, namespace: "default", name: &name };
        checks.asks(&name, value);
        let patch = json!({"data": {"value": value.to_string()}});
        let mut result = client.patch(at, None, &PatchKind::Merge, &patch).await;
        if result.as_ref().is_err_and(|e| e.is_not_found()) {
            let object = json!({"metadata": {"name": name}, "data": {"value": value.to_string()}});
            result = client.create(&resources::CONFIGMAPS, "default", object).await;
        }
        match result {
            Ok(_) => checks.acknowledged(&name, value),
            Err(error) if error.is_temporary() => {}
            Err(_) => checks.refused(&name, value),
        }
    }
}

async fn check_bank(client: &Client, checks: &Checks) -> Result<(), String> {
    for account in 0..4 {
        let name = format!("account-{account}");
        let at = At { resource: &resources::CONFIGMAPS, namespace: "default", name: &name };
        let found = match client.get::<Value>(at).await {
            Ok(map) => map["data"]["value"].as_str().and_then(|v| v.parse().ok()),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        };
        checks.read(&name, found);
    }
    Ok(())
}

/// One thing that a user does.
async fn disturb(admin: &Client, rng: &mut Rng) {
    let deployment = At { resource: &resources::DEPLOYMENTS, namespace: "default", name: "web" };
    let set = At { resource: &resources::STATEFULSETS, namespace: "default", name: "db" };
    let image = |n: u64| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": format!("v{n}"), "resources": {"requests": {"cpu": "100m"}}}]}}}});
    let done = match rng.below(6) {
        0 => admin.patch(deployment, None, &PatchKind::Merge, &json!({"spec": {"replicas": rng.below(7)}})).await,
        1 | 2 => admin.patch(deployment, None, &PatchKind::Merge, &image(rng.below(4))).await,
        3 => admin.patch(set, None, &PatchKind::Merge, &json!({"spec": {"replicas": rng.below(4)}})).await,
        4 => admin.patch(set, None, &PatchKind::Merge, &image(rng.below(3))).await,
        _ => {
            let pods = admin
                .list_all::<client::Partial>(ListRequest {
                    namespace: Some("default".into()),
                    ..ListRequest::all(resources::PODS)
                })
                .await;
            let Some(pod) = pods.ok().and_then(|p| p.into_iter().nth(rng.below(8) as usize)) else { return };
            admin
                .delete(
                    At { resource: &resources::PODS, namespace: "default", name: &pod.metadata.name },
                    &DeleteOptions::default(),
                )
                .await
        }
    };
    drop(done); // a user whose request failed does something else
}

/// Whether everything is as it is asked for.
async fn judge(client: &Client, cluster: &Cluster) -> Result<(), String> {
    let list = |resource: &client::Resource| {
        let request = ListRequest {
            namespace: resource.namespaced.then(|| "default".to_string()),
            ..ListRequest::all(resource.clone())
        };
        async move { client.list_all::<Value>(request).await.map_err(|e| e.to_string()) }
    };
    let pods = list(&resources::PODS).await?;
    let of = |app: &str| pods.iter().filter(|p| p["metadata"]["labels"]["app"] == app).count() as i64;
    let is_ready = |p: &Value| {
        p["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    if let Some(pod) = pods.iter().find(|p| !p["metadata"]["deletionTimestamp"].is_null() || !is_ready(p)) {
        return Err(format!("pod {} is not ready: {}", pod["metadata"]["name"], pod["status"]));
    }
    for deployment in list(&resources::DEPLOYMENTS).await? {
        let (wanted, status) = (deployment["spec"]["replicas"].as_i64().unwrap_or(1), &deployment["status"]);
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let current = status["observedGeneration"] == deployment["metadata"]["generation"];
        if !current
            || ["replicas", "updatedReplicas", "availableReplicas"].iter().any(|f| count(f) != wanted)
            || of("web") != wanted
        {
            return Err(format!("deployment web wants {wanted}, has {} pods, {status}", of("web")));
        }
    }
    for set in list(&resources::STATEFULSETS).await? {
        let (wanted, status) = (set["spec"]["replicas"].as_i64().unwrap_or(1), &set["status"]);
        let same = status["currentRevision"] == status["updateRevision"]
            && status["observedGeneration"] == set["metadata"]["generation"];
        if !same || status["readyReplicas"].as_i64().unwrap_or(0) != wanted || of("db") != wanted {
            return Err(format!("stateful set db wants {wanted}, has {} pods, {status}", of("db")));
        }
    }
    if of("log") != cluster.machines.len() as i64 {
        return Err(format!("daemon set log has {} pods on {} nodes", of("log"), cluster.machines.len()));
    }
    let running: usize = cluster.machines.iter().map(|m| m.uids().len()).sum();
    if running != pods.len() {
        return Err(format!("{running} pods run, {} exist", pods.len()));
    }
    let slices = list(&resources::ENDPOINTSLICES).await?;
    let mine = slices.iter().filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web");
    let endpoints: usize = mine.flat_map(|s| s["endpoints"].as_array()).map(Vec::len).sum();
    if endpoints as i64 != of("web") {
        return Err(format!("service web has {endpoints} endpoints of {} pods", of("web")));
    }
    Ok(())
}
