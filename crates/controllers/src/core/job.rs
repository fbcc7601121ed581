//! Jobs: pods that run to their end, each counted once.
//! Source: `pkg/controller/job/{job_controller,tracking_utils,indexed_job_utils,backoff_utils}.go`, `pkg/controller/ttlafterfinished`.
//!
//! A pod is counted in three steps, so that none is lost or counted twice: its uid goes into `uncountedTerminatedPods`, its
//! finalizer is removed, and when that is seen the uid becomes a number. Policies are in [`super::job_policy`]. Leaves out (and
//! refuses, with an event): backoff limits per index.

use super::job_policy::{self, Failure};
use super::pods::{self, Claim, set_condition};
use crate::views::{Condition, Job, JobStatus, Pod, Uncounted, condition};
use client::{Announce, DeleteOptions, Event, Op, Plan, Propagation, Regarding, Target, resources};
use platform::WallTime;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Finalizer of pods that are not counted yet.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label: which index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const CREATE_MOST: i64 = 500;
const BACKOFF_FIRST: i64 = 10;
const BACKOFF_MOST: i64 = 600;

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The job.
    pub job: Option<Arc<Job>>,
    /// Its pods, and orphans in its namespace.
    pub pods: Vec<Arc<Pod>>,
}

/// Reason and message of a job's end.
type Why = (String, String);

struct Work<'a> {
    job: &'a Job,
    now: WallTime,
    plan: Plan,
    after: Vec<Op>,
    status: JobStatus,
    done: BTreeSet<i64>,
}

/// What to do for a job.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let Some(job) = &world.job else { return Plan::nothing() };
    if job.metadata.is_deleting() && world.pods.is_empty()
        || job.spec.managed_by.as_deref().is_some_and(|m| m != "kubernetes.io/job-controller")
    {
        return Plan::nothing();
    }
    let mut work = Work {
        job,
        now,
        plan: Plan::nothing(),
        after: Vec::new(),
        status: job.status.clone(),
        done: parse_indexes(&job.status.completed_indexes),
    };
    if finished(job).is_some() {
        work.clean_up(&world.pods);
        return work.plan;
    }
    if let Some(field) = job.spec.unsupported() {
        let message = format!("spec.{field} is not supported by this cluster; the job is not started");
        let regarding = Regarding::of(&resources::JOBS, &job.metadata);
        work.plan.push(Op::Tell(Event { regarding, warning: true, reason: "Unsupported".into(), message }));
        return work.plan;
    }
    let pods = work.claim(&world.pods);
    work.track(&pods);
    work.judge(&pods);
    work.finish()
}

/// The condition that says that it has ended.
pub fn finished(job: &Job) -> Option<&Condition> {
    ["Complete", "Failed"]
        .iter()
        .find_map(|kind| condition(&job.status.conditions, kind).filter(|c| c.status == "True"))
}

fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().any(|f| f == TRACKING)
}

fn index_of(pod: &Pod) -> Option<i64> {
    pod.metadata.annotations.get(INDEX)?.parse().ok()
}

/// `0-2,5` as numbers.
pub fn parse_indexes(text: &str) -> BTreeSet<i64> {
    let mut out = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>()) {
            out.extend(from..=to);
        }
    }
    out
}

/// Numbers as `0-2,5`. Two neighbours are written apart, as upstream does.
fn format_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == *index => *to = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let text = |(from, to): (i64, i64)| match to - from {
        0 => from.to_string(),
        1 => format!("{from},{to}"),
        _ => format!("{from}-{to}"),
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

impl Work<'_> {
    fn target(&self) -> Target {
        Target::new(&resources::JOBS, &self.job.metadata.namespace, &self.job.metadata.name)
    }

    fn announce(&self) -> Announce {
        Announce { regarding: Regarding::of(&resources::JOBS, &self.job.metadata), child: "pod" }
    }

    fn stamp(&self) -> String {
        api::time::format_seconds(self.now.unix_seconds())
    }

    fn tell(&mut self, warning: bool, reason: &str, message: &str) {
        let regarding = Regarding::of(&resources::JOBS, &self.job.metadata);
        self.after.push(Op::Tell(Event { regarding, warning, reason: reason.into(), message: message.into() }));
    }

    fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> bool {
        let stamp = Some(self.stamp());
        let mut other = std::collections::BTreeMap::new();
        other.insert("lastProbeTime".to_string(), Value::from(self.stamp()));
        let (kind, status, reason, message) = (kind.into(), status.into(), reason.into(), message.into());
        let new =
            Condition { kind, status, last_transition_time: stamp, reason, message, other, ..Condition::default() };
        set_condition(&mut self.status.conditions, new)
    }

    fn claim(&mut self, pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let mut mine = Vec::new();
        for pod in pods {
            match pods::claim(&self.job.metadata, &self.job.spec.selector, &pod.metadata) {
                Claim::Owned => mine.push(pod.clone()),
                Claim::Adopt => {
                    let job = &self.job.metadata;
                    pods::adopt(&mut self.plan, &resources::JOBS, job, &resources::PODS, &pod.metadata)
                }
                Claim::Release => self.plan.push(pods::release(&self.job.metadata, &resources::PODS, &pod.metadata)),
                Claim::Ignore => {}
            }
        }
        mine
    }

    fn indexed(&self) -> bool {
        self.job.spec.completion_mode.as_deref() == Some("Indexed")
    }

    /// Counts ended pods.
    fn track(&mut self, pods: &[Arc<Pod>]) {
        let old = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let held = |uid: &String| pods.iter().any(|p| p.metadata.uid == *uid && has_finalizer(p));
        // Those whose finalizer is gone become numbers.
        self.status.failed += old.failed.iter().filter(|u| !held(u)).count() as i64;
        if !self.indexed() {
            self.status.succeeded += old.succeeded.iter().filter(|u| !held(u)).count() as i64;
        }
        let mut new = Uncounted {
            succeeded: old.succeeded.into_iter().filter(|u| held(u)).collect(),
            failed: old.failed.into_iter().filter(|u| held(u)).collect(),
        };
        for pod in pods.iter().filter(|p| has_finalizer(p)) {
            let uid = &pod.metadata.uid;
            let ending =
                condition(&self.status.conditions, "FailureTarget").is_some() || self.job.metadata.is_deleting();
            let (good, bad) = (pod.status.phase == "Succeeded", job_policy::is_failed(self.job, pod));
            if good && self.indexed() {
                if let Some(index) = index_of(pod).filter(|i| *i < self.job.spec.completions.unwrap_or(0)) {
                    self.done.insert(index);
                }
            } else if good && !new.succeeded.contains(uid) {
                new.succeeded.push(uid.clone());
            } else if bad && !new.failed.contains(uid) {
                match job_policy::failure(self.job, pod) {
                    Failure::Ignore => {}
                    Failure::Count => new.failed.push(uid.clone()),
                    Failure::FailJob(why) => {
                        new.failed.push(uid.clone());
                        if !ending {
                            self.set("FailureTarget", "True", "PodFailurePolicy", &why);
                        }
                    }
                }
            }
            if good || bad || ending && pods::is_finished(pod) {
                self.after.push(self.release(pod));
            }
        }
        if self.indexed() {
            self.status.completed_indexes = format_indexes(&self.done);
            self.status.succeeded = self.done.len() as i64;
        }
        self.status.uncounted_terminated_pods = Some(new);
    }

    fn release(&self, pod: &Pod) -> Op {
        let kept: Vec<_> = pod.metadata.finalizers.iter().filter(|f| *f != TRACKING).collect();
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": kept}});
        Op::merge(Target::new(&resources::PODS, &pod.metadata.namespace, &pod.metadata.name), patch)
    }

    fn uncounted(&self) -> (i64, i64) {
        let none = Uncounted::default();
        let uncounted = self.status.uncounted_terminated_pods.as_ref().unwrap_or(&none);
        (uncounted.succeeded.len() as i64, uncounted.failed.len() as i64)
    }

    /// Decides whether the job goes on, and makes or removes pods.
    fn judge(&mut self, pods: &[Arc<Pod>]) {
        let spec = &self.job.spec;
        let active: Vec<_> = pods.iter().filter(|p| pods::is_active(p)).cloned().collect();
        let terminating = pods.iter().filter(|p| p.metadata.is_deleting() && !pods::is_finished(p)).count() as i64;
        self.status.terminating = Some(terminating);
        self.status.ready = Some(active.iter().filter(|p| pods::is_ready(p)).count() as i64);
        self.status.active = active.len() as i64;
        if self.status.start_time.is_none() && !spec.suspend {
            self.status.start_time = Some(self.stamp());
        }
        let (good, bad) = self.uncounted();
        let succeeded = self.status.succeeded + good;
        let failed = self.status.failed + bad;
        if let Some(why) = self.failure(failed, &active) {
            self.end(&active, terminating, ("FailureTarget", "Failed"), why, true);
        } else if let Some(why) = self.succeeded(succeeded, &active) {
            self.end(&active, terminating, ("SuccessCriteriaMet", "Complete"), why, false);
        } else if spec.suspend {
            self.suspend(&active);
        } else if !self.job.metadata.is_deleting() {
            if condition(&self.status.conditions, "Suspended").is_some_and(|c| c.status == "True") {
                self.set("Suspended", "False", "JobResumed", "Job resumed");
                self.status.start_time = Some(self.stamp());
                self.tell(false, "Resumed", "Job resumed");
            }
            self.size(pods, active, terminating, succeeded, failed);
        }
    }

    fn failure(&mut self, failed: i64, active: &[Arc<Pod>]) -> Option<Why> {
        let spec = &self.job.spec;
        if let Some(known) = condition(&self.status.conditions, "FailureTarget") {
            return Some((known.reason.clone(), known.message.clone()));
        }
        let why = |(reason, message): (&str, &str)| Some((reason.to_string(), message.to_string()));
        let limit = spec.backoff_limit.unwrap_or(6);
        let restarts: i64 = active.iter().flat_map(|p| &p.status.container_statuses).map(|c| c.restart_count).sum();
        let on_failure = spec.template["spec"]["restartPolicy"] == "OnFailure";
        if failed > limit || (on_failure && (if limit == 0 { restarts > 0 } else { restarts >= limit })) {
            return why(BACKOFF);
        }
        let start = self.status.start_time.as_deref().and_then(api::time::parse_seconds)?;
        let deadline = start + spec.active_deadline_seconds?;
        if spec.suspend {
            return None;
        }
        if self.now.unix_seconds() >= deadline {
            return why(DEADLINE);
        }
        self.plan.look_again(WallTime::from_unix(deadline, 0));
        None
    }

    fn succeeded(&self, succeeded: i64, active: &[Arc<Pod>]) -> Option<Why> {
        if let Some(known) = condition(&self.status.conditions, "SuccessCriteriaMet") {
            return Some((known.reason.clone(), known.message.clone()));
        }
        if let Some(message) = job_policy::success(self.job, &self.done) {
            return Some(("SuccessPolicy".into(), message));
        }
        let reached = match self.job.spec.completions {
            Some(wanted) => succeeded >= wanted,
            // A work queue: one success, and nobody works any more.
            None => succeeded > 0 && active.is_empty(),
        };
        reached.then(|| ("CompletionsReached".into(), "Reached expected number of succeeded pods".into()))
    }

    fn end(&mut self, active: &[Arc<Pod>], terminating: i64, kinds: (&str, &str), why: Why, failed: bool) {
        self.set(kinds.0, "True", &why.0, &why.1);
        let announce = self.announce();
        self.after.extend(active.iter().map(|p| pods::delete(p).announced(announce.clone())));
        if active.is_empty() && terminating == 0 && self.uncounted() == (0, 0) {
            self.set(kinds.1, "True", &why.0, &why.1);
            if failed {
                self.tell(true, &why.0, &why.1);
            } else {
                self.status.completion_time = Some(self.stamp());
                self.tell(false, "Completed", "Job completed");
            }
        }
    }

    fn suspend(&mut self, active: &[Arc<Pod>]) {
        let announce = self.announce();
        self.after.extend(active.iter().map(|p| pods::delete(p).announced(announce.clone())));
        if self.set("Suspended", "True", "JobSuspended", "Job suspended") {
            self.tell(false, "Suspended", "Job suspended");
        }
    }

    /// Makes missing pods, removes superfluous ones.
    fn size(&mut self, pods: &[Arc<Pod>], mut active: Vec<Arc<Pod>>, terminating: i64, succeeded: i64, failed: i64) {
        let spec = &self.job.spec;
        let parallelism = spec.parallelism.unwrap_or(1);
        let mut wanted = match spec.completions {
            Some(completions) => parallelism.min(completions - succeeded),
            None if succeeded > 0 => active.len() as i64,
            None => parallelism,
        };
        wanted = wanted.max(0);
        let announce = self.announce();
        let surplus = (active.len() as i64 - wanted).max(0) as usize;
        if surplus > 0 {
            pods::sort_for_deletion(&mut active, &Default::default(), self.now.unix_seconds());
            self.after.extend(active.drain(..surplus).map(|p| pods::delete(&p).announced(announce.clone())));
            return;
        }
        let replaced = if job_policy::replaces_failed_only(self.job) { terminating } else { 0 };
        let missing = (wanted - active.len() as i64 - replaced).min(CREATE_MOST);
        if missing <= 0 || self.backs_off(pods, failed) {
            return;
        }
        let indexes: Vec<Option<i64>> = if self.indexed() {
            let busy: BTreeSet<i64> = active.iter().filter_map(|p| index_of(p)).collect();
            let all = 0..spec.completions.unwrap_or(0);
            all.filter(|i| !self.done.contains(i) && !busy.contains(i)).take(missing as usize).map(Some).collect()
        } else {
            vec![None; missing as usize]
        };
        self.status.active += indexes.len() as i64;
        for index in indexes {
            let pod = self.pod(index);
            self.after
                .push(Op::create(&resources::PODS, &self.job.metadata.namespace, pod).announced(announce.clone()));
        }
    }

    /// After failures new pods wait, ever longer.
    fn backs_off(&mut self, pods: &[Arc<Pod>], failed: i64) -> bool {
        let end = |p: &Arc<Pod>| {
            let ends =
                p.status.container_statuses.iter().filter_map(|c| c.state.terminated.as_ref()?.finished_at.as_deref());
            ends.filter_map(api::time::parse_seconds).max()
        };
        let last = pods.iter().filter(|p| p.status.phase == "Failed").filter_map(end).max();
        let (Some(last), true) = (last, failed > 0) else { return false };
        let pause = BACKOFF_FIRST.saturating_mul(1 << (failed - 1).min(10)).min(BACKOFF_MOST);
        let until = last + pause;
        if until > self.now.unix_seconds() {
            self.plan.look_again(WallTime::from_unix(until, 0));
            return true;
        }
        false
    }

    fn pod(&self, index: Option<i64>) -> Value {
        let owner = pods::controller_ref(&resources::JOBS, &self.job.metadata);
        let mut pod = pods::from_template(&self.job.spec.template, &owner, &self.job.metadata.namespace);
        match pod["metadata"]["finalizers"].as_array_mut() {
            Some(finalizers) => finalizers.push(TRACKING.into()),
            None => pod["metadata"]["finalizers"] = json!([TRACKING]),
        }
        let Some(index) = index else { return pod };
        let name = &self.job.metadata.name;
        pod["metadata"]["generateName"] = format!("{name}-{index}-").into();
        pod["metadata"]["annotations"][INDEX] = index.to_string().into();
        pod["metadata"]["labels"][INDEX] = index.to_string().into();
        if pod["spec"]["hostname"].as_str().is_none_or(str::is_empty) {
            pod["spec"]["hostname"] = format!("{name}-{index}").into();
        }
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                let variable = json!({
                    "name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}},
                });
                match container["env"].as_array_mut() {
                    Some(env) if env.iter().any(|e| e["name"] == "JOB_COMPLETION_INDEX") => {}
                    Some(env) => env.push(variable),
                    None => container["env"] = json!([variable]),
                }
            }
        }
        pod
    }

    /// The status first: a uid is noted before its finalizer goes.
    fn finish(mut self) -> Plan {
        if self.status != self.job.status {
            let metadata = json!({"uid": self.job.metadata.uid, "resourceVersion": self.job.metadata.resource_version});
            let patch = json!({"metadata": metadata, "status": self.status});
            self.plan.push(Op::status(self.target(), patch));
        }
        self.plan.ops.append(&mut self.after);
        self.plan
    }

    /// A job that has ended: leftovers are released.
    fn clean_up(&mut self, pods: &[Arc<Pod>]) {
        for pod in pods
            .iter()
            .filter(|p| has_finalizer(p) && p.metadata.controller().is_some_and(|o| o.uid == self.job.metadata.uid))
        {
            self.plan.push(self.release(pod));
        }
    }
}

/// Deletes a job whose time after its end is over.
pub fn expire(job: Option<&Job>, now: WallTime) -> Plan {
    let mut plan = Plan::nothing();
    let Some(job) = job.filter(|j| !j.metadata.is_deleting()) else { return plan };
    let (Some(finished), Some(ttl)) = (finished(job), job.spec.ttl_seconds_after_finished) else { return plan };
    let since = finished.last_transition_time.as_deref().and_then(api::time::parse_seconds).unwrap_or(0);
    let at = WallTime::from_unix(since + ttl, 0);
    if at > now {
        plan.look_again(at);
        return plan;
    }
    let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::uid(&job.metadata.uid) };
    let target = Target::new(&resources::JOBS, &job.metadata.namespace, &job.metadata.name);
    plan.push(Op::Delete { target, options, announce: None });
    plan
}

const BACKOFF: (&str, &str) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
const DEADLINE: (&str, &str) = ("DeadlineExceeded", "Job was active longer than specified deadline");

impl crate::views::JobSpec {
    /// A field that is set and not supported.
    pub fn unsupported(&self) -> Option<&'static str> {
        let fields =
            [("backoffLimitPerIndex", &self.backoff_limit_per_index), ("maxFailedIndexes", &self.max_failed_indexes)];
        fields.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name)
    }
}
