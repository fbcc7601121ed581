//! CronJobs: a job at each time of a schedule.
//! Source: `pkg/controller/cronjob/{cronjob_controllerv2,utils}.go`.
//!
//! A job's name follows from the minute it is for, so that it is made once, whatever is forgotten. What is active is what
//! the caches show: jobs of this CronJob that are not finished. Leaves out: time zones but UTC (refused with an event).

use super::cron::{self, Schedule};
use super::job::finished;
use super::pods::controller_ref;
use crate::views::{CronJob, CronJobStatus, Job};
use client::{Announce, DeleteOptions, Event, Op, Plan, Propagation, Regarding, Target, resources};
use platform::WallTime;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
const MISSED_MOST: i64 = 100;
const DAY: i64 = 86_400;

/// What one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The CronJob.
    pub cron: Option<Arc<CronJob>>,
    /// Jobs that it controls.
    pub jobs: Vec<Arc<Job>>,
}

struct Work<'a> {
    cron: &'a CronJob,
    now: i64,
    plan: Plan,
    status: CronJobStatus,
}

/// What to do for a CronJob.
pub fn plan(world: &World, now: WallTime) -> Plan {
    let Some(cron) = &world.cron else { return Plan::nothing() };
    let mut work = Work { cron, now: now.unix_seconds(), plan: Plan::nothing(), status: cron.status.clone() };
    work.look_at(&world.jobs);
    if !cron.metadata.is_deleting() {
        work.schedule(&world.jobs);
        work.forget(&world.jobs);
    }
    if work.status != cron.status {
        let mut status = json!(work.status);
        if work.status.active.is_empty() {
            status["active"] = Value::Null;
        }
        let patch = json!({"metadata": {"uid": cron.metadata.uid}, "status": status});
        work.plan.push(Op::status(work.target(), patch));
    }
    work.plan
}

fn job_target(job: &Job) -> Target {
    Target::new(&resources::JOBS, &job.metadata.namespace, &job.metadata.name)
}

/// When there was a time to start at.
#[derive(Debug, PartialEq, Eq)]
struct Recent {
    /// From where times were counted.
    from: i64,
    /// The newest time that has come.
    due: Option<i64>,
    /// About how many came since `from`, beyond the first.
    missed: i64,
}

fn recent(cron: &CronJob, schedule: &Schedule, now: i64, deadline: bool) -> Result<Recent, String> {
    let last = cron.status.last_schedule_time.as_deref().and_then(api::time::parse_seconds);
    let mut from = last.unwrap_or_else(|| cron.metadata.created());
    if let Some(seconds) = cron.spec.starting_deadline_seconds.filter(|_| deadline) {
        from = from.max(now - seconds);
    }
    let none = |due| Ok(Recent { from, due, missed: 0 });
    let Some(first) = schedule.next(from) else { return none(None) };
    if now < first {
        return none(None);
    }
    let second = match schedule.next(first) {
        Some(second) if now >= second => second,
        _ => return none(Some(first)),
    };
    let between = second - first;
    if between < 1 {
        return Err("time difference between two schedules is less than 1 second".into());
    }
    let count = (now - first) / between + 1;
    // However long nobody looked, only the newest time matters: it is looked for ever further back.
    let newest = |since: i64| {
        let (mut time, mut found) = (since.max(from), None);
        while let Some(next) = schedule.next(time).filter(|t| *t <= now) {
            (time, found) = (next, Some(next));
        }
        found
    };
    let due =
        [MISSED_MOST * between, 8 * DAY, 400 * DAY, 5 * 366 * DAY].into_iter().find_map(|span| newest(now - span));
    Ok(Recent { from, due, missed: count })
}

impl Work<'_> {
    fn target(&self) -> Target {
        Target::new(&resources::CRONJOBS, &self.cron.metadata.namespace, &self.cron.metadata.name)
    }

    fn regarding(&self) -> Regarding {
        Regarding::of(&resources::CRONJOBS, &self.cron.metadata)
    }

    fn tell(&mut self, warning: bool, reason: &str, message: impl Into<String>) {
        let event = Event { regarding: self.regarding(), warning, reason: reason.into(), message: message.into() };
        self.plan.push(Op::Tell(event));
    }

    fn active(&self, uid: &str) -> bool {
        self.status.active.iter().any(|a| a["uid"] == uid)
    }

    /// What the status says of the jobs there are.
    fn look_at(&mut self, jobs: &[Arc<Job>]) {
        for job in jobs {
            let (name, uid) = (&job.metadata.name, &job.metadata.uid);
            match finished(job) {
                None if !self.active(uid) => {
                    if !job.metadata.annotations.contains_key(SCHEDULED) {
                        let message = format!("Saw a job that the controller did not create or forgot: {name}");
                        self.tell(true, "UnexpectedJob", message);
                        continue;
                    }
                    self.status.active.push(json!({
                        "kind": "Job", "apiVersion": "batch/v1", "namespace": job.metadata.namespace, "name": name,
                        "uid": uid, "resourceVersion": job.metadata.resource_version,
                    }));
                }
                None => {}
                Some(condition) => {
                    if self.active(uid) {
                        self.status.active.retain(|a| a["uid"] != **uid);
                        let kind = &condition.kind;
                        self.tell(false, "SawCompletedJob", format!("Saw completed job: {name}, condition: {kind}"));
                    }
                    if condition.kind == "Complete" && job.status.completion_time > self.status.last_successful_time {
                        self.status.last_successful_time = job.status.completion_time.clone(); // one form: text compares
                    }
                }
            }
        }
        let gone = self.status.active.iter().filter(|a| !jobs.iter().any(|j| a["uid"] == *j.metadata.uid));
        let gone: Vec<Value> = gone.cloned().collect();
        for reference in gone {
            self.status.active.retain(|a| *a != reference);
            let name = reference["name"].as_str().unwrap_or_default();
            self.tell(false, "MissingJob", format!("Active job went missing: {name}"));
        }
    }

    /// Makes the job that is due.
    fn schedule(&mut self, jobs: &[Arc<Job>]) {
        let spec = &self.cron.spec;
        if let Some(zone) = spec.time_zone.as_deref().filter(|z| !matches!(*z, "UTC" | "Etc/UTC")) {
            let message = format!("invalid timeZone: {zone:?}: only UTC is known here");
            return self.tell(true, "UnknownTimeZone", message);
        }
        if spec.suspend {
            return;
        }
        let schedule = match cron::parse(&spec.schedule) {
            Ok(schedule) => schedule,
            Err(why) => {
                let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                return self.tell(true, "UnparseableSchedule", message);
            }
        };
        let found = match recent(self.cron, &schedule, self.now, true) {
            Ok(found) => found,
            Err(why) => {
                return self.tell(true, "InvalidSchedule", format!("invalid schedule: {} : {why}", spec.schedule));
            }
        };
        self.look_again(&schedule);
        let Some(due) = found.due else { return };
        if found.missed > MISSED_MOST {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.tell(true, "TooManyMissedTimes", message);
        }
        if spec.starting_deadline_seconds.is_some_and(|seconds| due + seconds < self.now) {
            let message = format!("Missed scheduled time to start a job: {}", api::time::format_seconds(due));
            return self.tell(true, "MissSchedule", message);
        }
        let stamp = api::time::format_seconds(due);
        let name = format!("{}-{}", self.cron.metadata.name, due / 60);
        let known = jobs.iter().any(|j| j.metadata.name == name);
        if known || self.status.last_schedule_time.as_ref() == Some(&stamp) {
            return;
        }
        if spec.concurrency_policy == "Forbid" && !self.status.active.is_empty() {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return self.tell(false, "JobAlreadyActive", message);
        }
        if spec.concurrency_policy == "Replace" {
            let replaced = jobs.iter().filter(|j| self.active(&j.metadata.uid)).cloned().collect::<Vec<_>>();
            replaced.iter().for_each(|job| self.delete(job));
        }
        self.create(&name, &stamp);
        self.status.last_schedule_time = Some(stamp);
    }

    /// Asks to be woken at the next time.
    fn look_again(&mut self, schedule: &Schedule) {
        let from = match recent(self.cron, schedule, self.now, false) {
            Ok(Recent { due: Some(due), .. }) => due,
            Ok(Recent { missed: 0, from, .. }) => from,
            _ => self.now,
        };
        if let Some(next) = schedule.next(from.max(self.now)) {
            self.plan.look_again(WallTime::from_unix(next, 0));
        }
    }

    fn announce(&self) -> Announce {
        Announce { regarding: self.regarding(), child: "job" }
    }

    fn create(&mut self, name: &str, stamp: &str) {
        let template = &self.cron.spec.job_template;
        let mut annotations = template["metadata"]["annotations"].clone();
        if !annotations.is_object() {
            annotations = json!({});
        }
        annotations[SCHEDULED] = stamp.into();
        let mut metadata = json!({
            "name": name, "namespace": self.cron.metadata.namespace, "annotations": annotations,
            "ownerReferences": [controller_ref(&resources::CRONJOBS, &self.cron.metadata)],
        });
        if !template["metadata"]["labels"].is_null() {
            metadata["labels"] = template["metadata"]["labels"].clone();
        }
        let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]});
        self.plan.push(Op::Create {
            resource: resources::JOBS,
            namespace: self.cron.metadata.namespace.clone(),
            object,
            may_exist: true,
            announce: Some(self.announce()),
        });
    }

    fn delete(&mut self, job: &Job) {
        self.status.active.retain(|a| a["uid"] != *job.metadata.uid);
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::uid(&job.metadata.uid) };
        self.plan.push(Op::Delete { target: job_target(job), options, announce: Some(self.announce()) });
    }

    /// Removes the oldest finished jobs beyond the limits.
    fn forget(&mut self, jobs: &[Arc<Job>]) {
        let limits = [
            ("Complete", self.cron.spec.successful_jobs_history_limit),
            ("Failed", self.cron.spec.failed_jobs_history_limit),
        ];
        for (kind, limit) in limits {
            let Some(limit) = limit else { continue };
            let mut ended: Vec<_> = jobs.iter().filter(|j| finished(j).is_some_and(|c| c.kind == kind)).collect();
            ended.sort_by_key(|j| Reverse((j.status.start_time.clone(), j.metadata.name.clone())));
            for job in ended.into_iter().skip(usize::try_from(limit).unwrap_or(0)) {
                if !job.metadata.is_deleting() {
                    self.delete(job);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
