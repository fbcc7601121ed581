//! One run: a workload, faults for a while, then quiet, and everything has to come to rest.

use crate::checks::SURPLUS;
use crate::cluster::Cluster;
use crate::judge::judge;
use crate::net::{Faults, GUEST};
use crate::users;
use client::{Informer, Selection, resources};
use platform::disk::{DiskFaults, SimDisk};
use platform::time::{Duration, Instant, sleep};
use platform::{Limits, Rng};
use tokio::task::JoinHandle;

/// How long faults last, in seconds.
const FAULTY: u64 = 75;
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
    let limits = Limits::shrunk(&mut rng.split("limits"));
    let disk = SimDisk::new("store", seed, DiskFaults { latency_us: 300, ..DiskFaults::default() });
    let nodes = 2 + rng.split("nodes").below(3);
    let mut failures = Vec::new();
    let (mut hash, mut tail) = ((0, 0), Vec::new());
    match Cluster::new(seed, disk, limits, nodes, loud) {
        Err(error) => failures.push(error),
        Ok(cluster) => {
            let mut scenario = Scenario { cluster, rng, isolated: None };
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

struct Scenario {
    cluster: Cluster,
    rng: Rng,
    /// A node that is cut off until the faults end.
    isolated: Option<String>,
}

impl Scenario {
    async fn play(&mut self) -> Result<(), String> {
        self.cluster.start_server().await?;
        for name in self.cluster.names() {
            self.cluster.start(&name)?;
        }
        users::setup(&self.cluster.admin("admin")).await?;
        let mirror = self.cluster.process("mirror");
        let events = Informer::start(&mirror, &self.cluster.admin("mirror"), Selection::all(&resources::EVENTS));
        let tasks = self.users();
        self.faults().await?;
        tasks.iter().for_each(JoinHandle::abort);
        self.heal().await?;
        self.converge().await?;
        let (judge, checks) = (self.cluster.admin("judge"), self.cluster.checks.clone());
        users::check_till(&judge, &checks).await?;
        users::check_copy(&judge, &events, &checks).await?;
        self.calm().await
    }

    /// Everybody who uses the cluster.
    fn users(&self) -> Vec<JoinHandle<()>> {
        let (cluster, checks) = (&self.cluster, &self.cluster.checks);
        let (admin, mut rng) = (cluster.admin("admin"), self.rng.split("ops"));
        let ops = async move {
            loop {
                sleep(Duration::from_millis(500 + rng.below(6000))).await;
                users::disturb(&admin, &mut rng).await;
                users::restore(&admin).await;
            }
        };
        vec![
            tokio::spawn(ops),
            tokio::spawn(users::bank(cluster.admin("bank"), checks.clone(), self.rng.split("bank"))),
            tokio::spawn(users::warden(cluster.admin("warden"), checks.clone(), self.rng.split("warden"))),
            tokio::spawn(users::teller(cluster.admin("teller"), checks.clone(), self.rng.split("teller"))),
            tokio::spawn(users::teller(cluster.admin("teller2"), checks.clone(), self.rng.split("teller2"))),
            tokio::spawn(users::gossip(cluster.admin("gossip"), self.rng.split("gossip"))),
            tokio::spawn(users::guest(cluster.client(GUEST, GUEST, &[]))),
        ]
    }

    /// Things go wrong, one after the other.
    async fn faults(&mut self) -> Result<(), String> {
        let mut rng = self.rng.split("faults");
        let end = Instant::now() + Duration::from_secs(FAULTY);
        sleep(Duration::from_secs(rng.below(10))).await;
        if rng.chance(40) {
            // Cut off until the end: its pods run on, and are replaced elsewhere if that is safe.
            let machine = &self.cluster.machines[rng.below(self.cluster.machines.len() as u64) as usize];
            self.cluster.trace.note(&format!("{} is cut off", machine.name));
            self.cluster.net.cut(&machine.name, true);
            self.isolated = Some(machine.name.clone());
        }
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
            if self.isolated.as_ref() == Some(&name) {
                continue; // it has its trouble
            }
            match rng.below(13) {
                0 | 1 | 12 => self.crash_server(&mut rng).await?,
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
                6 | 7 => self.disk_trouble(&mut rng).await,
                8 => self.rot(&mut rng).await?,
                9 => {
                    let seconds = rng.below(20) as i64 - 10;
                    self.cluster.skew(&name, seconds * 1_000_000_000);
                }
                _ => {}
            }
            sleep(Duration::from_millis(rng.below(6000))).await;
        }
        Ok(())
    }

    /// The disk is slow, fails, or is full, for a while.
    async fn disk_trouble(&mut self, rng: &mut Rng) {
        let mut faults = DiskFaults { latency_us: 50_000, ..DiskFaults::default() };
        match rng.below(4) {
            0 => faults.sync_fails_percent = [5, 30][rng.below(2) as usize],
            1 => faults.write_fails_percent = 5,
            2 => faults.capacity = self.cluster.disk.used() + rng.below(20_000),
            _ => {}
        }
        self.cluster.trace.note(&format!("the disk: {faults:?}"));
        self.cluster.disk.set_faults(faults);
        sleep(Duration::from_millis(rng.below(5000))).await;
        self.cluster.disk.set_faults(DiskFaults { latency_us: 300, ..DiskFaults::default() });
    }

    /// While the server is down, a byte of its data changes: it has to notice.
    async fn rot(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.cluster.kill("server");
        self.cluster.rot(rng.u64(), rng.u64()).await;
        self.cluster.start_server().await
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
            users::restore(&admin).await;
            match judge(&admin, &self.cluster).await {
                Ok(()) => {
                    users::check_bank(&admin, &self.cluster.checks).await;
                    return Ok(());
                }
                Err(not_yet) => why = not_yet,
            }
        }
        users::check_bank(&admin, &self.cluster.checks).await;
        Err(format!("everything converges: not after {QUIET} s: {why}"))
    }

    /// Without faults, but with caches that lag: what is asked for is made, and nothing else.
    async fn calm(&mut self) -> Result<(), String> {
        let mut rng = self.rng.split("calm");
        let (admin, checks) = (self.cluster.admin("admin"), self.cluster.checks.clone());
        self.cluster.trace.note("all is calm");
        checks.calm();
        self.cluster.net.set_faults(Faults { delay_ms: 200 + rng.below(600), ..Faults::default() });
        let before = |kind: &str| checks.pods_of(kind);
        let kinds = ["ReplicaSet", "StatefulSet", "DaemonSet", "Job"].map(|kind| (kind, before(kind)));
        let needed = users::grow(&admin, &mut rng).await?;
        self.converge().await?;
        for (kind, (made, removed)) in kinds {
            let (now, gone) = checks.pods_of(kind);
            let wanted = needed.iter().find(|(k, _)| *k == kind).map_or(0, |(_, n)| *n);
            if (now - made, gone - removed) != (wanted, 0) {
                let what =
                    format!("{kind}: {wanted} pods were needed, {} made, {} removed", now - made, gone - removed);
                checks.violated(SURPLUS, what);
            }
        }
        Ok(())
    }
}
