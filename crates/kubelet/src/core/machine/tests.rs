//! The machine under a model of a node: every effect is carried out after a random delay, in random order.

use super::*;
use crate::core::status;
use platform::Rng;
use serde_json::{Value, json};

fn pod(spec: Value) -> Pod {
    let mut pod: Pod =
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}))
            .expect("pod");
    if pod.spec.restart_policy.is_empty() {
        pod.spec.restart_policy = "Always".into();
    }
    pod
}

/// A node that does what it is told, some time later.
struct Node {
    machine: Machine,
    rng: Rng,
    now: WallTime,
    seen: Observation,
    pending: Vec<Effect>,
    wake: Option<WallTime>,
    ids: u32,
    /// How containers end: name to exit code (by themselves, at random times).
    exits: Vec<(&'static str, i32)>,
    started: Vec<String>,
    finished: bool,
}

impl Node {
    fn new(seed: u64, pod: Pod) -> Node {
        let now = WallTime::from_unix(1_000_000, 0);
        let machine = Machine::new(pod, now, KubeletLimits::default());
        Node {
            machine,
            rng: Rng::from_seed(seed),
            now,
            seen: Observation::default(),
            pending: Vec::new(),
            wake: None,
            ids: 0,
            exits: Vec::new(),
            started: Vec::new(),
            finished: false,
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.machine.step(self.now, event) {
            match effect {
                Effect::WakeAt(at) => self.wake = Some(self.wake.map_or(at, |w| w.min(at))),
                Effect::Finish => self.finished = true,
                Effect::Tell { .. } => {}
                Effect::Cancel(key) => {
                    if let Some(i) = self.pending.iter().position(|e| e.key().as_ref() == Some(&key)) {
                        self.pending.remove(i);
                        self.finish(key, Outcome::Cancelled);
                    }
                }
                effect => self.pending.push(effect),
            }
        }
    }

    fn finish(&mut self, key: Key, outcome: Outcome) {
        self.event(Event::Done(key, outcome));
        self.look();
    }

    fn look(&mut self) {
        let mut seen = self.seen.clone();
        seen.after = self.machine.completed;
        self.event(Event::Observed(seen));
    }

    fn carry_out(&mut self, effect: Effect) {
        let key = effect.key().expect("has a key");
        let mut outcome = Outcome::Done;
        match effect {
            Effect::Sandbox { attempt } => {
                self.ids += 1;
                let id = format!("s{}", self.ids);
                self.seen.sandboxes.push(SandboxSeen { id, ready: true, attempt, ips: vec!["10.0.0.1".into()] });
            }
            Effect::Pull { .. } => outcome = Outcome::Image("sha256:1".into()),
            Effect::Start { container, attempt, .. } => {
                let sandbox = self
                    .seen
                    .sandboxes
                    .iter()
                    .rev()
                    .find(|s| s.ready)
                    .map(|s| s.id.clone())
                    .expect("a start needs a sandbox");
                assert!(
                    !self.seen.containers.iter().any(|c| c.name == container && c.state == Run::Running),
                    "two of {container}"
                );
                self.ids += 1;
                self.started.push(container.clone());
                self.seen.containers.push(ContainerSeen {
                    id: format!("c{}", self.ids),
                    name: container,
                    sandbox,
                    attempt,
                    state: Run::Running,
                    created_at: self.now,
                    started_at: self.now,
                    ..ContainerSeen::default()
                });
            }
            Effect::Stop { id, .. } => self.end(&id, 143),
            Effect::StopSandbox { id } => {
                assert!(
                    !self.seen.containers.iter().any(|c| c.state == Run::Running),
                    "a sandbox stops before its containers"
                );
                self.seen.sandboxes.iter_mut().filter(|s| s.id == id).for_each(|s| s.ready = false);
            }
            Effect::Volumes | Effect::Cleanup => {}
            other => panic!("not an effect to carry out: {other:?}"),
        }
        self.finish(key, outcome);
    }

    fn end(&mut self, id: &str, code: i32) {
        if let Some(c) = self.seen.containers.iter_mut().find(|c| c.id == id && c.state == Run::Running) {
            (c.state, c.exit_code, c.finished_at) = (Run::Exited, code, self.now);
        }
    }

    /// Lets time and chance work until nothing more happens (or for so many steps).
    fn run(&mut self, steps: usize) {
        self.look();
        for _ in 0..steps {
            self.now = self.now.plus(Duration::from_millis(self.rng.below(50)));
            let ending = self
                .exits
                .iter()
                .position(|(name, _)| self.seen.containers.iter().any(|c| c.name == *name && c.state == Run::Running));
            match (self.pending.is_empty(), ending) {
                (false, _) if self.rng.chance(80) => {
                    let i = self.rng.below(self.pending.len() as u64) as usize;
                    let effect = self.pending.remove(i);
                    self.carry_out(effect);
                }
                (_, Some(i)) if self.rng.chance(50) => {
                    let (name, code) = self.exits.remove(i);
                    let id = self
                        .seen
                        .containers
                        .iter()
                        .rev()
                        .find(|c| c.name == name && c.state == Run::Running)
                        .map(|c| c.id.clone());
                    self.end(&id.expect("runs"), code);
                    self.look();
                }
                (true, None) => match self.wake.take() {
                    Some(at) => {
                        self.now = self.now.max(at);
                        self.event(Event::Wake);
                    }
                    None => return,
                },
                _ => {}
            }
        }
    }

    fn status(&self) -> Value {
        status::build(
            &self.machine,
            &status::Host { ips: vec!["192.0.2.1".into()], runtime: "corten".into() },
            self.now,
        )
    }
}

fn seeds(test: impl Fn(u64)) {
    for seed in 0..200 {
        test(seed);
    }
}

#[test]
fn starts_in_order() {
    seeds(|seed| {
        let spec = json!({"initContainers": [{"name": "i1"}, {"name": "side", "restartPolicy": "Always"}, {"name": "i2"}], "containers": [{"name": "a"}, {"name": "b"}]});
        let mut node = Node::new(seed, pod(spec));
        node.exits = vec![("i1", 0), ("i2", 0)];
        node.run(500);
        assert_eq!(node.started[..3], ["i1", "side", "i2"], "seed {seed}");
        let mut rest = node.started[3..].to_vec();
        rest.sort();
        assert_eq!(rest, ["a", "b"], "seed {seed}");
        let status = node.status();
        assert_eq!(status["phase"], "Running", "seed {seed}");
        assert_eq!(status["podIP"], "10.0.0.1");
        let ready = status["conditions"]
            .as_array()
            .expect("list")
            .iter()
            .find(|c| c["type"] == "Ready")
            .expect("ready")
            .clone();
        assert_eq!(ready["status"], "True", "seed {seed}: {status:#}");
    });
}

#[test]
fn every_deletion_ends() {
    seeds(|seed| {
        let spec = json!({"initContainers": [{"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "a"}, {"name": "b"}]});
        let mut node = Node::new(seed, pod(spec));
        node.exits = vec![("a", 1)];
        let before = node.rng.below(30) as usize;
        node.run(before);
        node.event(Event::Kill { grace: Duration::from_secs(1), why: Why::Deleted });
        node.run(1000);
        assert!(node.finished, "seed {seed}: {:?} {:?}", node.machine.life, node.pending);
        assert!(node.seen.containers.iter().all(|c| c.state != Run::Running), "seed {seed}");
        assert!(node.seen.sandboxes.iter().all(|s| !s.ready), "seed {seed}");
    });
}

#[test]
fn restart_policies() {
    for (policy, codes, phase, starts) in [
        ("Never", vec![0], "Succeeded", 1),
        ("Never", vec![3], "Failed", 1),
        ("OnFailure", vec![3, 3, 0], "Succeeded", 3),
        ("Always", vec![0, 1], "Running", 3),
    ] {
        seeds(|seed| {
            let mut node = Node::new(seed, pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]})));
            node.exits = codes.iter().map(|c| ("a", *c)).collect();
            node.run(500);
            assert_eq!(
                (node.status()["phase"].as_str(), node.started.len()),
                (Some(phase), starts),
                "{policy} seed {seed}"
            );
            if phase != "Running" {
                assert_eq!(node.machine.life, Life::Terminated { why: Why::Completed }, "{policy} seed {seed}");
            }
        });
    }
}

#[test]
fn failed_init_fails_the_pod() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let mut node = Node::new(1, pod(spec));
    node.exits = vec![("i", 2)];
    node.run(300);
    assert_eq!((node.status()["phase"].as_str(), node.started.len()), (Some("Failed"), 1));
}

#[test]
fn crash_loops_back_off() {
    let mut node = Node::new(1, pod(json!({"containers": [{"name": "a"}]})));
    node.exits = vec![("a", 1); 4];
    let begin = node.now;
    node.run(500);
    assert_eq!(node.started.len(), 5);
    assert!(node.now.since(begin) >= Duration::from_secs(10 + 20 + 40), "{:?}", node.now.since(begin));
    assert_eq!(node.status()["containerStatuses"][0]["restartCount"], 4);
}

#[test]
fn failed_pulls_are_shown() {
    let mut node = Node::new(1, pod(json!({"containers": [{"name": "a", "image": "x"}]})));
    node.look();
    for _ in 0..10 {
        if node.pending.iter().any(|e| matches!(e, Effect::Pull { .. })) {
            break;
        }
        let effect = node.pending.remove(0);
        node.carry_out(effect);
    }
    node.pending.clear();
    node.finish(
        Key::Pull("a".into()),
        Outcome::Failed { reason: "ErrImagePull".into(), message: "no such image".into() },
    );
    let state = node.status()["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(state["reason"], "ImagePullBackOff", "{state}");
    assert!(state["message"].as_str().expect("text").contains("ErrImagePull: no such image"), "{state}");
    assert_eq!(node.status()["phase"], "Pending");
}

#[test]
fn probes_decide() {
    let spec = json!({"containers": [{"name": "a", "readinessProbe": {"periodSeconds": 1}, "livenessProbe": {"periodSeconds": 1}}]});
    let mut node = Node::new(1, pod(spec));
    node.run(100);
    assert_eq!(node.status()["containerStatuses"][0]["ready"], false);
    let id = node.seen.containers[0].id.clone();
    let probe =
        |kind, passed| Event::Probed { container: "a".into(), id: id.clone(), kind, passed, message: String::new() };
    node.event(probe(ProbeKind::Readiness, true));
    assert_eq!(node.status()["containerStatuses"][0]["ready"], true);
    node.event(probe(ProbeKind::Liveness, false));
    assert!(node.pending.iter().any(|e| matches!(e, Effect::Stop { .. })), "{:?}", node.pending);
    node.run(200);
    assert_eq!(node.started.len(), 2);
    assert_eq!(node.status()["containerStatuses"][0]["ready"], false, "the new instance starts unready");
}

#[test]
fn a_deadline_ends_the_pod() {
    let mut node = Node::new(1, pod(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a"}]})));
    node.run(300);
    assert_eq!(
        (node.status()["phase"].as_str(), node.status()["reason"].as_str()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_new_kubelet_goes_on() {
    let mut pod = pod(json!({"containers": [{"name": "a", "readinessProbe": {}, "startupProbe": {}}]}));
    pod.status = serde_json::from_value(
        json!({"containerStatuses": [{"name": "a", "containerID": "corten://c1", "ready": true, "started": true}]}),
    )
    .expect("status");
    let mut node = Node::new(1, pod);
    node.seen.sandboxes.push(SandboxSeen { id: "s1".into(), ready: true, ..SandboxSeen::default() });
    let running = ContainerSeen {
        id: "c1".into(),
        name: "a".into(),
        sandbox: "s1".into(),
        state: Run::Running,
        ..ContainerSeen::default()
    };
    node.seen.containers.push(running);
    node.run(50);
    assert!(node.started.is_empty());
    assert_eq!(node.status()["containerStatuses"][0]["ready"], true);
}

#[test]
fn containers_may_have_rules_of_their_own() {
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never", "restartPolicyRules": rules}]});
    let mut node = Node::new(1, pod(spec));
    node.exits = vec![("a", 42), ("a", 1)];
    node.run(300);
    assert_eq!((node.status()["phase"].as_str(), node.started.len()), (Some("Failed"), 2));
}
