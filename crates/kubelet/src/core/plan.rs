//! What a pod needs next: the decisions of the state machine.
//!
//! Order of a start: volumes, sandbox, init containers one after the other (sidecars stay and must have started), then all
//! others at once. Order of an end: ordinary containers together, then sidecars from the last to the first.

use platform::WallTime;
use platform::time::Duration;

use super::machine::{BACKOFF_FIRST, ContainerSeen, Effect, Key, Life, Machine, Run, Why, longer};
use super::pod::{Container, Kind, RestartRule};
use super::status::full_name;

/// A container that ran this long has its delay forgotten.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// What a container wants, given its newest instance.
#[derive(Clone, Debug, PartialEq)]
enum Need {
    Nothing,
    Start,
    /// Start, but not before.
    Later(WallTime),
}

impl Machine {
    /// Effects for the present state. Issues nothing twice.
    pub fn plan(&mut self, now: WallTime) -> Vec<Effect> {
        let mut out = Vec::new();
        // A look from before the last effect's end would make that effect happen again.
        if !self.observed || self.seen.after != self.completed {
            return out;
        }
        self.deadline(now, &mut out);
        if self.life == Life::Syncing {
            self.sync(now, &mut out);
        }
        if matches!(self.life, Life::Terminating { .. }) {
            self.terminate(now, &mut out);
        }
        if let Life::Terminated { why } = &self.life {
            let deleted = *why == Why::Deleted || self.pod.metadata.is_deleting() || self.api_gone;
            if deleted && self.out.is_empty() && self.cleaned {
                self.life = Life::Finished;
                out.push(Effect::Finish);
            }
        }
        out
    }

    fn is_out(&self, key: &Key) -> bool {
        self.out.contains(key)
    }

    /// `activeDeadlineSeconds`.
    fn deadline(&mut self, now: WallTime, out: &mut Vec<Effect>) {
        let Some(seconds) = self.pod.spec.active_deadline_seconds else { return };
        if self.life != Life::Syncing {
            return;
        }
        let end = self.start_time.plus(Duration::from_secs(seconds.unsigned_abs()));
        if now < end {
            return out.push(Effect::WakeAt(end));
        }
        let why = Why::Failed {
            reason: "DeadlineExceeded".into(),
            message: "Pod was active on the node longer than the specified deadline".into(),
        };
        out.push(tell(
            "",
            false,
            "DeadlineExceeded",
            "Pod was active on the node longer than specified deadline".into(),
        ));
        self.life = Life::Terminating { deadline: now.plus(self.grace()), why };
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod.grace_seconds().unsigned_abs())
    }

    fn sync(&mut self, now: WallTime, out: &mut Vec<Effect>) {
        if self.is_complete() {
            self.life = Life::Terminating { deadline: now.plus(self.grace()), why: Why::Completed };
            return;
        }
        if !self.volumes.done {
            return self.attempt(now, Key::Volumes, Effect::Volumes, out);
        }
        let current = self.seen.sandboxes.first().cloned();
        match &current {
            Some(sandbox) if sandbox.ready => {}
            _ => {
                // What is left of the old sandbox must end first.
                let running =
                    self.seen.containers.iter().filter(|c| c.state == Run::Running).cloned().collect::<Vec<_>>();
                for container in &running {
                    self.stop(
                        now,
                        container,
                        Duration::ZERO,
                        "Pod sandbox changed, it will be killed and re-created.".into(),
                        out,
                    );
                }
                let starting = self.out.iter().any(|k| matches!(k, Key::Start(_) | Key::Stop(..)));
                if running.is_empty() && !starting {
                    let attempt = current.as_ref().map_or(0, |s| s.attempt + 1);
                    if current.is_some()
                        && !self.is_out(&Key::Sandbox)
                        && self.sandbox.retry_at.is_none_or(|at| at <= now)
                    {
                        out.push(tell(
                            "",
                            false,
                            "SandboxChanged",
                            "Pod sandbox changed, it will be killed and re-created.".into(),
                        ));
                    }
                    self.attempt(now, Key::Sandbox, Effect::Sandbox { attempt }, out);
                }
                return;
            }
        }
        if self.out.contains(&Key::Sandbox) {
            return;
        }
        self.restart_unhealthy(now, out);
        if self.initialize(now, out) {
            let names: Vec<Container> =
                self.pod.spec.containers.iter().chain(&self.pod.spec.ephemeral_containers).cloned().collect();
            for container in names {
                self.advance(now, &container, out);
            }
        }
    }

    /// Tries something until it works.
    fn attempt(&self, now: WallTime, key: Key, effect: Effect, out: &mut Vec<Effect>) {
        let state = if key == Key::Volumes || key == Key::Cleanup { &self.volumes } else { &self.sandbox };
        if self.is_out(&key) {
            return;
        }
        match state.retry_at {
            Some(at) if at > now => out.push(Effect::WakeAt(at)),
            _ => out.push(effect),
        }
    }

    /// Runs init containers as far as they go. True when the others may start.
    fn initialize(&mut self, now: WallTime, out: &mut Vec<Effect>) -> bool {
        let main_seen = self.pod.spec.containers.iter().any(|c| self.instance(&c.name).is_some());
        for container in self.pod.spec.init_containers.clone() {
            let newest = self.instance(&container.name).map(|c| (c.state, c.exit_code));
            if container.is_sidecar() {
                self.advance(now, &container, out);
                let started = self.containers.get(&container.name).is_some_and(|m| m.started);
                let running = matches!(newest, Some((Run::Running, _)));
                if !main_seen && !(running && started) {
                    return false;
                }
                continue;
            }
            if main_seen || matches!(newest, Some((Run::Exited, 0))) {
                continue;
            }
            self.advance(now, &container, out);
            return false;
        }
        true
    }

    /// Starts a container if it wants to be started now.
    fn advance(&mut self, now: WallTime, container: &Container, out: &mut Vec<Effect>) {
        let name = &container.name;
        if self.is_out(&Key::Start(name.clone())) || self.is_out(&Key::Pull(name.clone())) {
            return;
        }
        match self.need(now, container, out) {
            Need::Nothing => {}
            Need::Later(at) => out.push(Effect::WakeAt(at)),
            Need::Start => {
                let retry_at = self.containers.get(name).and_then(|m| m.retry_at);
                if let Some(at) = retry_at.filter(|at| *at > now) {
                    self.say_backoff(container, out);
                    return out.push(Effect::WakeAt(at));
                }
                match self.containers.get(name).and_then(|m| m.image.clone()) {
                    Some(image) => {
                        let attempt = self.next_attempt(name);
                        out.push(Effect::Start { container: name.clone(), attempt, image });
                    }
                    None => out.push(Effect::Pull { container: name.clone() }),
                }
            }
        }
    }

    /// While a failed pull waits for its next try, the API shows the back-off instead of the error.
    fn say_backoff(&mut self, container: &Container, out: &mut Vec<Effect>) {
        let image = container.image.clone();
        let memory = self.memory(&container.name);
        if let Some((reason, message)) = &memory.waiting
            && matches!(reason.as_str(), "ErrImagePull" | "RegistryUnavailable")
        {
            let text = format!("Back-off pulling image {image:?}: {reason}: {message}");
            memory.waiting = Some(("ImagePullBackOff".into(), text.clone()));
            out.push(tell(&container.name, false, "BackOff", format!("Back-off pulling image {image:?}")));
            out.push(tell(&container.name, true, "Failed", "Error: ImagePullBackOff".into()));
        }
    }

    fn need(&mut self, now: WallTime, container: &Container, out: &mut Vec<Effect>) -> Need {
        let Some(last) = self.instance(&container.name).cloned() else { return Need::Start };
        match last.state {
            Run::Running => Need::Nothing,
            // Made but never started: another instance takes its place.
            Run::Created => Need::Start,
            Run::Exited if !self.restarts(container, last.exit_code) => Need::Nothing,
            Run::Exited => self.after_crash(now, container, &last, out),
        }
    }

    fn after_crash(
        &mut self,
        now: WallTime,
        container: &Container,
        last: &ContainerSeen,
        out: &mut Vec<Effect>,
    ) -> Need {
        let pod = full_name(&self.pod);
        let memory = self.memory(&container.name);
        if memory.counted != last.id {
            let ran = last.finished_at.since(last.started_at);
            // The first end is followed at once; each further one waits longer.
            memory.crash_delay = match (memory.counted.is_empty(), ran > BACKOFF_RESET) {
                (true, _) => Duration::ZERO,
                (_, true) => Duration::ZERO,
                (false, false) => longer(memory.crash_delay),
            };
            memory.counted = last.id.clone();
        }
        let at = last.finished_at.plus(memory.crash_delay);
        if at <= now {
            return Need::Start;
        }
        let seconds = memory.crash_delay.max(BACKOFF_FIRST).as_secs();
        let delay = if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) };
        let text = format!("back-off {delay} restarting failed container={} pod={pod}", container.name);
        memory.waiting = Some(("CrashLoopBackOff".into(), text));
        if memory.told_backoff != last.id {
            memory.told_backoff = last.id.clone();
            let text = format!("Back-off restarting failed container {} in pod {pod}", container.name);
            out.push(tell(&container.name, true, "BackOff", text));
        }
        Need::Later(at)
    }

    /// Whether a container that ended is started again.
    pub fn restarts(&self, container: &Container, exit_code: i32) -> bool {
        if container.is_sidecar() {
            return true;
        }
        if self.pod.spec.ephemeral_containers.iter().any(|c| c.name == container.name) {
            return false;
        }
        let matches = |rule: &RestartRule| {
            let listed =
                rule.exit_codes.as_ref().is_some_and(|e| e.values.contains(&exit_code) == (e.operator == "In"));
            rule.action == "Restart" && rule.exit_codes.is_some() && listed
        };
        if container.restart_policy_rules.iter().any(matches) {
            return true;
        }
        let init = self.pod.spec.init_containers.iter().any(|c| c.name == container.name);
        let policy = container.restart_policy.as_deref().unwrap_or(&self.pod.spec.restart_policy);
        match policy {
            "Never" => false,
            "OnFailure" => exit_code != 0,
            _ => !init || exit_code != 0,
        }
    }

    /// Every container has ended for good.
    fn is_complete(&self) -> bool {
        let ended =
            |c: &Container| self.newest(&c.name).filter(|i| i.state == Run::Exited && !self.restarts(c, i.exit_code));
        let pending =
            |c: &Container| self.is_out(&Key::Start(c.name.clone())) || self.is_out(&Key::Pull(c.name.clone()));
        // An init container that failed for good ends the pod.
        let init = self.pod.spec.init_containers.iter().filter(|c| !c.is_sidecar());
        if init.clone().any(|c| ended(c).is_some_and(|i| i.exit_code != 0)) {
            return true;
        }
        !self.pod.spec.containers.is_empty()
            && self.pod.spec.containers.iter().all(|c| ended(c).is_some() && !pending(c))
    }

    /// The newest instance in any sandbox.
    pub fn newest(&self, name: &str) -> Option<&ContainerSeen> {
        self.instances(name).next()
    }

    fn restart_unhealthy(&mut self, now: WallTime, out: &mut Vec<Effect>) {
        for (_, container) in self.pod.clone().all_containers() {
            let Some(seen) = self.instance(&container.name).filter(|c| c.state == Run::Running).cloned() else {
                continue;
            };
            if let Some(reason) = self.containers.get(&container.name).and_then(|m| m.unhealthy.clone()) {
                let probes = [&container.liveness_probe, &container.startup_probe];
                let own = probes.into_iter().flatten().find_map(|p| p.termination_grace_period_seconds);
                let grace = own.map_or_else(|| self.grace(), |s| Duration::from_secs(s.unsigned_abs()));
                self.stop(now, &seen, grace, reason, out);
            } else if !seen.hash.is_empty() && seen.hash != super::resources::spec_hash(container) {
                let reason = format!("Container {} definition changed, will be restarted", container.name);
                self.stop(now, &seen, self.grace(), reason, out);
            }
        }
    }

    /// Stops a container, once for each deadline that is earlier than the one before.
    fn stop(&mut self, now: WallTime, seen: &ContainerSeen, grace: Duration, reason: String, out: &mut Vec<Effect>) {
        let wanted = now.plus(grace);
        let out_now = self.out.iter().any(|k| matches!(k, Key::Stop(id, _) if *id == seen.id));
        let memory = self.memory(&seen.name);
        let sooner = memory.stop_deadline.is_none_or(|old| wanted.plus(Duration::from_millis(500)) < old);
        if out_now && !sooner {
            return;
        }
        memory.stop_deadline = Some(wanted);
        memory.stops += 1;
        let asked = memory.stops;
        let reason = if asked > 1 && out_now { String::new() } else { reason };
        out.push(Effect::Stop { id: seen.id.clone(), container: seen.name.clone(), asked, grace, reason });
    }

    fn terminate(&mut self, now: WallTime, out: &mut Vec<Effect>) {
        let Life::Terminating { deadline, why } = self.life.clone() else { return };
        for key in self.out.clone() {
            if matches!(key, Key::Pull(_)) && self.cancelled.insert(key.clone()) {
                out.push(Effect::Cancel(key));
            }
        }
        let left = deadline.since(now);
        let running: Vec<ContainerSeen> =
            self.seen.containers.iter().filter(|c| c.state == Run::Running).cloned().collect();
        let sidecars: Vec<String> =
            self.pod.all_containers().filter(|(k, _)| *k == Kind::Sidecar).map(|(_, c)| c.name.clone()).collect();
        let (last, first): (Vec<_>, Vec<_>) = running.into_iter().partition(|c| sidecars.contains(&c.name));
        for container in &first {
            self.stop(now, container, left, format!("Stopping container {}", container.name), out);
        }
        if first.is_empty() && !self.out.iter().any(|k| matches!(k, Key::Start(_))) {
            // From the last to the first.
            let latest = last.iter().max_by_key(|c| sidecars.iter().position(|n| *n == c.name));
            if let Some(container) = latest.cloned() {
                self.stop(now, &container, left, format!("Stopping container {}", container.name), out);
            }
        }
        if !self.is_fresh() || !first.is_empty() || !last.is_empty() || !out.iter().all(|e| e.key().is_none()) {
            return;
        }
        if let Some(at) = self.sandbox.retry_at.filter(|at| *at > now) {
            return out.push(Effect::WakeAt(at));
        }
        let ready: Vec<String> = self.seen.sandboxes.iter().filter(|s| s.ready).map(|s| s.id.clone()).collect();
        if !ready.is_empty() {
            return out.extend(ready.into_iter().map(|id| Effect::StopSandbox { id }));
        }
        if !self.cleaned {
            return self.attempt(now, Key::Cleanup, Effect::Cleanup, out);
        }
        self.life = Life::Terminated { why };
    }
}

fn tell(container: &str, warning: bool, reason: &'static str, message: String) -> Effect {
    Effect::Tell { container: container.to_string(), warning, reason, message }
}
