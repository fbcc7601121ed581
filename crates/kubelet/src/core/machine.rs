//! One pod on this node as a state machine: events in, effects out.
//!
//! `step` is deterministic and total. Effects are carried out by the pod's executor, each under its [`Key`]; an executor
//! reports every effect's end with [`Event::Done`], and observes the runtime again after it. Rules:
//! - No two effects with the same key are out at once.
//! - *The barrier*: that nothing runs counts only when the runtime was looked at after the last effect's end and no effect
//!   is out; otherwise a start still on its way could put a container into a pod that is gone.
//! - A grace period only ever shrinks.
//!
//! What should happen next is decided in [`super::plan`]; what is told to the API in [`super::status`].

use std::collections::{BTreeMap, BTreeSet};

use platform::time::Duration;
use platform::{KubeletLimits, WallTime};

use super::pod::Pod;

/// A name for an effect while it is out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Volumes,
    Sandbox,
    /// By container name.
    Pull(String),
    Start(String),
    /// By container id, and how often it was asked.
    Stop(String, u32),
    StopSandbox(String),
    /// Frees what the pod used.
    Cleanup,
}

/// What the executor is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Makes the volumes.
    Volumes,
    /// Makes a sandbox.
    Sandbox {
        attempt: u32,
    },
    /// Makes sure that the container's image is here.
    Pull {
        container: String,
    },
    /// Creates and starts a container; `init` containers have no hooks.
    Start {
        container: String,
        attempt: u32,
        image: String,
    },
    /// preStop hook, stop signal, grace, SIGKILL.
    Stop {
        id: String,
        container: String,
        asked: u32,
        grace: Duration,
        reason: String,
    },
    StopSandbox {
        id: String,
    },
    /// Gives up an effect if it can be given up.
    Cancel(Key),
    /// Tears the volumes down.
    Cleanup,
    /// Tells the API a pod event; `container` names the part.
    Tell {
        container: String,
        warning: bool,
        reason: &'static str,
        message: String,
    },
    /// Looks again at that time.
    WakeAt(WallTime),
    /// All done and deleted: forget the pod, after removing it from the API.
    Finish,
}

impl Effect {
    /// The key, for effects that end with [`Event::Done`].
    pub fn key(&self) -> Option<Key> {
        match self {
            Effect::Volumes => Some(Key::Volumes),
            Effect::Sandbox { .. } => Some(Key::Sandbox),
            Effect::Pull { container } => Some(Key::Pull(container.clone())),
            Effect::Start { container, .. } => Some(Key::Start(container.clone())),
            Effect::Stop { id, asked, .. } => Some(Key::Stop(id.clone(), *asked)),
            Effect::StopSandbox { id } => Some(Key::StopSandbox(id.clone())),
            Effect::Cleanup => Some(Key::Cleanup),
            Effect::Cancel(_) | Effect::Tell { .. } | Effect::WakeAt(_) | Effect::Finish => None,
        }
    }
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    /// Pull: the image's id.
    Image(String),
    /// A waiting reason of the API (or empty) and a text.
    Failed {
        reason: String,
        message: String,
    },
    Cancelled,
}

/// What happens to a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The API's pod has changed.
    Pod(Box<Pod>),
    Observed(Observation),
    Done(Key, Outcome),
    Probed {
        container: String,
        id: String,
        kind: ProbeKind,
        passed: bool,
        message: String,
    },
    /// The pod is to end.
    Kill {
        grace: Duration,
        why: Why,
    },
    /// The API has no such pod any more.
    Gone,
    Wake,
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// Why a pod ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is being deleted (or was, while nobody looked).
    Deleted,
    /// All containers have ended for good.
    Completed,
    /// The kubelet ends it: phase Failed with this reason and message.
    Failed { reason: String, message: String },
}

/// What the runtime has of the pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Number of effects that had ended when the runtime was asked.
    pub after: u64,
    /// Newest first.
    pub sandboxes: Vec<SandboxSeen>,
    pub containers: Vec<ContainerSeen>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxSeen {
    pub id: String,
    pub ready: bool,
    pub attempt: u32,
    pub ips: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSeen {
    pub id: String,
    pub name: String,
    pub sandbox: String,
    pub attempt: u32,
    pub state: Run,
    pub image: String,
    pub image_id: String,
    /// Hash of the specification that it was made from.
    pub hash: String,
    pub created_at: WallTime,
    pub started_at: WallTime,
    pub finished_at: WallTime,
    pub exit_code: i32,
    pub signal: i32,
    pub reason: String,
    pub message: String,
    /// uid, gid, groups.
    pub user: Option<(i64, i64, Vec<i64>)>,
}

/// A container's state in the runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    #[default]
    Created,
    Running,
    Exited,
}

/// Where the pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    Syncing,
    Terminating {
        deadline: WallTime,
        why: Why,
    },
    /// Nothing runs; resources are free.
    Terminated {
        why: Why,
    },
    Finished,
}

/// Something that is tried until it works.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    pub done: bool,
    pub retry_at: Option<WallTime>,
    pub message: String,
}

/// What is remembered of a container between its instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The image that the next instance will use.
    pub image: Option<String>,
    /// Why it is not running, as the API wants it.
    pub waiting: Option<(String, String)>,
    /// Pulls and creations that failed: when to try again, and the delay after that.
    pub retry_at: Option<WallTime>,
    pub pull_delay: Duration,
    /// Delay before the next restart.
    pub crash_delay: Duration,
    /// The container whose end was counted into `crash_delay`.
    pub counted: String,
    /// Probe results of the running instance.
    pub probed_id: String,
    pub started: bool,
    pub ready: bool,
    /// A probe failed: the container is to be restarted.
    pub unhealthy: Option<String>,
    /// How often a stop was asked, and the deadline of the last one.
    pub stops: u32,
    pub stop_deadline: Option<WallTime>,
    /// A back-off was told for this instance.
    pub told_backoff: String,
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Machine {
    pub pod: Pod,
    pub life: Life,
    pub seen: Observation,
    /// Whether the runtime was looked at at all.
    pub observed: bool,
    pub out: BTreeSet<Key>,
    pub completed: u64,
    pub volumes: Attempt,
    pub sandbox: Attempt,
    pub cleaned: bool,
    pub containers: BTreeMap<String, Memory>,
    pub api_gone: bool,
    pub cancelled: BTreeSet<Key>,
    /// When the kubelet first saw the pod.
    pub start_time: WallTime,
    pub limits: KubeletLimits,
}

/// First and longest delay of restarts and pulls.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(10);
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The delay after `delay`.
pub fn longer(delay: Duration) -> Duration {
    if delay.is_zero() { BACKOFF_FIRST } else { (delay * 2).min(BACKOFF_MAX) }
}

impl Machine {
    /// A pod that was just assigned here (or found again).
    pub fn new(pod: Pod, now: WallTime, limits: KubeletLimits) -> Machine {
        let start_time = pod.status.start_time.as_deref().and_then(api::time::parse_seconds);
        let start_time = start_time.map_or(now, |s| WallTime::from_unix(s, 0));
        let life =
            if pod.is_finished() { Life::Terminating { deadline: now, why: Why::Completed } } else { Life::Syncing };
        Machine {
            pod,
            life,
            limits,
            seen: Observation::default(),
            observed: false,
            out: BTreeSet::new(),
            completed: 0,
            volumes: Attempt::default(),
            sandbox: Attempt::default(),
            cleaned: false,
            containers: BTreeMap::new(),
            api_gone: false,
            cancelled: BTreeSet::new(),
            start_time,
        }
    }

    /// Takes one event in; answers what to do.
    pub fn step(&mut self, now: WallTime, event: Event) -> Vec<Effect> {
        match event {
            Event::Pod(pod) => self.update(now, *pod),
            Event::Observed(seen) => self.observe(seen),
            Event::Done(key, outcome) => self.done(now, key, outcome),
            Event::Probed { container, id, kind, passed, message } => {
                self.probed(&container, &id, kind, passed, message)
            }
            Event::Kill { grace, why } => self.kill(now, grace, why),
            Event::Gone => {
                self.api_gone = true;
                self.kill(now, Duration::from_secs(self.pod.grace_seconds().unsigned_abs()), Why::Deleted);
            }
            Event::Wake => {}
        }
        let effects = self.plan(now);
        for effect in &effects {
            self.out.extend(effect.key());
        }
        effects
    }

    /// That nothing runs may be believed.
    pub fn is_fresh(&self) -> bool {
        self.observed && self.out.is_empty() && self.seen.after == self.completed
    }

    /// What is remembered of a container.
    pub fn memory(&mut self, container: &str) -> &mut Memory {
        self.containers.entry(container.to_string()).or_default()
    }

    /// The newest instance of a container in the current sandbox.
    pub fn instance(&self, name: &str) -> Option<&ContainerSeen> {
        let sandbox = &self.seen.sandboxes.first()?.id;
        self.instances(name).find(|c| c.sandbox == *sandbox)
    }

    /// All instances of a container, newest first.
    pub fn instances(&self, name: &str) -> impl Iterator<Item = &ContainerSeen> {
        self.seen.containers.iter().filter(move |c| c.name == name)
    }

    /// The number of the next instance. It goes on from what the API says when the runtime has forgotten.
    pub fn next_attempt(&self, name: &str) -> u32 {
        let s = &self.pod.status;
        let told = s.container_statuses.iter().chain(&s.init_container_statuses).chain(&s.ephemeral_container_statuses);
        let told = told
            .filter(|c| c.name == name && !c.container_id.is_empty())
            .map(|c| c.restart_count.max(0) as u32 + 1)
            .max();
        // One that never ran (the kubelet was killed before its start) is not counted.
        let seen = self.instances(name).map(|c| c.attempt + u32::from(c.state != Run::Created)).max();
        seen.or(told).unwrap_or(0)
    }

    fn update(&mut self, now: WallTime, pod: Pod) {
        self.pod = pod;
        if self.pod.metadata.is_deleting() {
            self.kill(now, Duration::from_secs(self.pod.grace_seconds().unsigned_abs()), Why::Deleted);
        }
    }

    fn observe(&mut self, mut seen: Observation) {
        if self.observed && seen.after < self.seen.after {
            return; // an older look that arrives late
        }
        seen.sandboxes.sort_by_key(|s| std::cmp::Reverse(s.attempt));
        seen.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.attempt)));
        let first = !self.observed;
        self.seen = seen;
        self.observed = true;
        let running: Vec<_> = self
            .seen
            .containers
            .iter()
            .filter(|c| c.state == Run::Running)
            .map(|c| (c.name.clone(), c.id.clone()))
            .collect();
        for (name, id) in running {
            // A kubelet that has just started goes on with what the API was told of the same instance.
            let told = self.pod.status.container_statuses.iter().chain(&self.pod.status.init_container_statuses);
            let told = told
                .filter(|c| first && c.container_id.ends_with(&id))
                .map(|c| (c.started == Some(true), c.ready))
                .next();
            let (has_startup, has_readiness) = match self.pod.container(&name) {
                Some(c) => (c.startup_probe.is_some(), c.readiness_probe.is_some()),
                None => (false, false),
            };
            let memory = self.memory(&name);
            if memory.probed_id != id {
                memory.probed_id = id;
                memory.started = !has_startup || told.is_some_and(|(started, _)| started);
                memory.ready = !has_readiness || told.is_some_and(|(_, ready)| ready);
                memory.unhealthy = None;
                memory.waiting = None;
                memory.retry_at = None;
                memory.stop_deadline = None;
                memory.image = None;
            }
        }
    }

    fn done(&mut self, now: WallTime, key: Key, outcome: Outcome) {
        self.out.remove(&key);
        self.cancelled.remove(&key);
        self.completed += 1;
        let failed = match &outcome {
            Outcome::Failed { reason, message } => Some((reason.clone(), message.clone())),
            _ => None,
        };
        let attempt = |failed: Option<(String, String)>| match failed {
            None => Attempt { done: outcome == Outcome::Done, ..Attempt::default() },
            Some((_, message)) => Attempt { done: false, retry_at: Some(now.plus(self.limits.retry)), message },
        };
        match key {
            Key::Volumes => self.volumes = attempt(failed),
            Key::Sandbox => self.sandbox = attempt(failed),
            Key::Cleanup => {
                self.cleaned = failed.is_none();
                self.volumes = attempt(failed);
                self.volumes.done = false;
            }
            Key::Pull(name) => self.pulled(now, &name, outcome),
            Key::Start(name) => {
                let again = now.plus(self.limits.retry_create);
                let memory = self.memory(&name);
                memory.image = None;
                memory.retry_at = None;
                if let Some(waiting) = failed {
                    memory.retry_at = Some(again);
                    memory.waiting = Some(waiting);
                }
            }
            Key::Stop(..) | Key::StopSandbox(_) => {
                if failed.is_some() {
                    // Asked again after a while, not at once.
                    self.sandbox.retry_at = Some(now.plus(self.limits.retry));
                }
            }
        }
    }

    fn pulled(&mut self, now: WallTime, name: &str, outcome: Outcome) {
        let memory = self.memory(name);
        match outcome {
            Outcome::Image(image) => {
                (memory.image, memory.pull_delay, memory.retry_at) = (Some(image), Duration::ZERO, None);
                memory.waiting = None;
            }
            Outcome::Failed { reason, message } => {
                memory.pull_delay = longer(memory.pull_delay);
                memory.retry_at = Some(now.plus(memory.pull_delay));
                memory.waiting = Some((reason, message));
            }
            Outcome::Done | Outcome::Cancelled => {}
        }
    }

    fn probed(&mut self, container: &str, id: &str, kind: ProbeKind, passed: bool, message: String) {
        let memory = self.memory(container);
        if memory.probed_id != id {
            return; // about an instance that is gone
        }
        match kind {
            ProbeKind::Startup if passed => memory.started = true,
            ProbeKind::Readiness => memory.ready = passed,
            ProbeKind::Startup => {
                memory.unhealthy = Some(format!("Container {container} failed startup probe, will be restarted"))
            }
            ProbeKind::Liveness if !passed => {
                memory.unhealthy = Some(format!("Container {container} failed liveness probe, will be restarted"))
            }
            ProbeKind::Liveness => {}
        }
        let _ = message; // told as an event by the prober
    }

    fn kill(&mut self, now: WallTime, grace: Duration, why: Why) {
        let wanted = now.plus(grace);
        match &mut self.life {
            Life::Syncing => self.life = Life::Terminating { deadline: wanted, why },
            Life::Terminating { deadline, why: old } => {
                *deadline = (*deadline).min(wanted);
                if why == Why::Deleted && *old == Why::Completed {
                    *old = why;
                }
            }
            Life::Terminated { why: old } => {
                if why == Why::Deleted {
                    *old = why;
                }
            }
            Life::Finished => {}
        }
    }
}

#[cfg(test)]
mod tests;
