//! The committer: decides what is written when, and what is answered and shown when. `step(input) -> outputs`.
//!
//! Invariants: one disk request is under way at a time; commits are staged in the order of their submission and become visible
//! in that order, only once their group's request is done; a group with a durable commit (or a reservation) is synced; a
//! revision is staged only below a reservation that is durable no later than the revision is visible; a segment is synced to
//! its end before the next one begins. After a failed request nothing is accepted: the shell reads the disk again.

use super::record::{self, PAYLOAD_MAX, Payload};
use super::state::{Event, Place, Refusal, State};
use crate::contract::{Commit, Committed, Durability, Revision};
use crate::seal::Sealed;
use platform::disk::{DiskError, DiskErrorKind};
use std::collections::VecDeque;
use std::sync::Arc;

pub use platform::limits::StoreLimits as Limits;

/// A submitted commit, with the sealed values of its puts.
#[derive(Debug)]
pub struct Pending {
    /// Whom to answer.
    pub ticket: u64,
    /// What.
    pub commit: Commit,
    /// One for each change.
    pub texts: Vec<Option<Sealed>>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Commits were submitted.
    Submit(Vec<Pending>),
    /// The disk request under way is done.
    Done(Result<(), DiskError>),
    /// The time asked for with [`Output::SyncLater`] has come.
    SyncDue,
    /// End cleanly.
    Close,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// It happened.
    Done(Committed),
    /// It may not happen.
    Refused(Refusal),
    /// It did not happen: no space.
    Full(String),
    /// Unknown.
    Unavailable(String),
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Write to the current segment; report with [`Input::Done`].
    Write { offset: u64, data: Vec<u8>, sync: bool },
    /// Sync the current segment; report.
    Sync,
    /// Cut the current segment and sync it; report.
    Truncate(u64),
    /// Make the segment `number`, which follows `after`, durable in file and name; it is the current one then; report.
    Roll { number: u64, after: Revision, reserved: Revision },
    /// Revisions up to here may be seen.
    Visible(Revision),
    /// Answer a submitter.
    Answer(u64, Outcome),
    /// Send [`Input::SyncDue`] after the cheap delay.
    SyncLater,
    /// Writes are over until the disk was read again; of the current segment so many bytes are trusted.
    Broken { error: String, durable: u64 },
    /// The clean end is on disk.
    Closed,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Writing(Group),
    Syncing,
    Rolling,
    Truncating(Group, String),
    Closing,
    Broken(String),
}

#[derive(Debug)]
struct Group {
    data: Vec<u8>,
    sync: bool,
    answers: Vec<(u64, Outcome)>,
    reserved_before: Revision,
}

/// See the file's head.
#[derive(Debug)]
pub struct Committer {
    limits: Limits,
    phase: Phase,
    queue: VecDeque<Pending>,
    segment: u64,
    offset: u64,
    durable: u64,
    visible: Revision,
    reserved: Revision,
    sync_armed: bool,
    sync_wanted: bool,
    closing: bool,
}

impl Committer {
    /// Goes on in `segment` at `offset` (all of it durable), with revisions reserved up to `reserved`.
    pub fn new(limits: Limits, segment: u64, offset: u64, visible: Revision, reserved: Revision) -> Committer {
        Committer {
            limits,
            phase: Phase::Idle,
            queue: VecDeque::new(),
            segment,
            offset,
            durable: offset,
            visible,
            reserved,
            sync_armed: false,
            sync_wanted: false,
            closing: false,
        }
    }

    /// Everything that follows from `input`.
    pub fn step(&mut self, state: &mut State, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Submit(pending) => self.queue.extend(pending),
            Input::Done(result) => self.done(state, result, &mut out),
            Input::SyncDue => {
                self.sync_armed = false;
                self.sync_wanted = self.offset > self.durable;
            }
            Input::Close => self.closing = true,
        }
        match &self.phase {
            Phase::Idle => self.next(state, &mut out),
            Phase::Broken(why) => {
                let why = why.clone();
                out.extend(self.queue.drain(..).map(|p| Output::Answer(p.ticket, Outcome::Unavailable(why.clone()))));
                if self.closing {
                    out.push(Output::Closed);
                }
            }
            _ => {}
        }
        out
    }

    /// Whether a submission would start at once.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    fn done(&mut self, state: &mut State, result: Result<(), DiskError>, out: &mut Vec<Output>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, result) {
            (Phase::Writing(group), Ok(())) => self.written(state, group, out),
            (Phase::Writing(group), Err(error)) if error.kind == DiskErrorKind::Full => {
                out.push(Output::Truncate(self.offset));
                self.phase = Phase::Truncating(group, error.to_string());
            }
            (Phase::Truncating(group, why), Ok(())) => {
                state.undo_above(self.visible);
                self.durable = self.offset; // cutting synced the rest
                self.reserved = group.reserved_before;
                out.extend(
                    group.answers.into_iter().map(|(ticket, _)| Output::Answer(ticket, Outcome::Full(why.clone()))),
                );
            }
            (Phase::Syncing, Ok(())) => self.durable = self.offset,
            (Phase::Rolling, Ok(())) => {
                self.segment += 1;
                self.offset = record::FILE_HEAD as u64;
                self.durable = self.offset;
            }
            (Phase::Closing, Ok(())) => {
                self.phase = Phase::Broken("the store is closed".into());
            }
            (Phase::Rolling, Err(error)) if error.kind == DiskErrorKind::Full => {
                let why = error.to_string();
                out.extend(self.queue.drain(..).map(|p| Output::Answer(p.ticket, Outcome::Full(why.clone()))));
            }
            (phase, Err(error)) => self.broken(phase, error, out),
            (Phase::Idle | Phase::Broken(_), Ok(())) => {}
        }
    }

    fn broken(&mut self, phase: Phase, error: DiskError, out: &mut Vec<Output>) {
        let error = error.to_string();
        if let Phase::Writing(group) | Phase::Truncating(group, _) = phase {
            out.extend(
                group
                    .answers
                    .into_iter()
                    .map(|(ticket, _)| Output::Answer(ticket, Outcome::Unavailable(error.clone()))),
            );
        }
        out.push(Output::Broken { error: error.clone(), durable: self.durable });
        self.phase = Phase::Broken(error);
    }

    fn written(&mut self, state: &State, group: Group, out: &mut Vec<Output>) {
        self.offset += group.data.len() as u64;
        if group.sync {
            self.durable = self.offset;
        } else if !self.sync_armed {
            self.sync_armed = true;
            out.push(Output::SyncLater);
        }
        if state.tip() > self.visible {
            self.visible = state.tip();
            out.push(Output::Visible(self.visible));
        }
        out.extend(group.answers.into_iter().map(|(ticket, outcome)| Output::Answer(ticket, outcome)));
    }

    /// Starts the next disk request, if there is a reason for one.
    fn next(&mut self, state: &mut State, out: &mut Vec<Output>) {
        let ending = self.closing && self.queue.is_empty();
        if self.offset >= self.limits.segment_bytes && !self.queue.is_empty() {
            if self.offset > self.durable {
                out.push(Output::Sync);
                self.phase = Phase::Syncing;
            } else {
                out.push(Output::Roll { number: self.segment + 1, after: state.tip(), reserved: self.reserved });
                self.phase = Phase::Rolling;
            }
        } else if !self.queue.is_empty() {
            let group = self.stage(state);
            if group.data.is_empty() {
                out.extend(group.answers.into_iter().map(|(ticket, outcome)| Output::Answer(ticket, outcome)));
                return self.next(state, out);
            }
            out.push(Output::Write { offset: self.offset, data: group.data.clone(), sync: group.sync });
            self.phase = Phase::Writing(group);
        } else if ending {
            let mut data = Vec::new();
            record::frame(&mut data, self.segment, self.durable, &record::encode_mark(&Payload::Clean));
            out.push(Output::Write { offset: self.offset, data, sync: true });
            self.phase = Phase::Closing;
        } else if self.sync_wanted {
            self.sync_wanted = false;
            out.push(Output::Sync);
            self.phase = Phase::Syncing;
        }
    }

    /// Checks and applies queued commits, and makes their frames.
    fn stage(&mut self, state: &mut State) -> Group {
        let mut group = Group { data: Vec::new(), sync: false, answers: Vec::new(), reserved_before: self.reserved };
        let wanted = Revision(state.tip().0 + self.queue.len().min(self.limits.group_commits) as u64);
        if wanted > self.reserved {
            self.reserved = Revision(wanted.0 + self.limits.reserve);
            let mark = record::encode_mark(&Payload::Reserve(self.reserved));
            record::frame(&mut group.data, self.segment, self.durable, &mark);
            group.sync = true;
        }
        let (start, mut staged) = (group.data.len(), 0);
        while staged < self.limits.group_commits && group.data.len() < self.limits.group_bytes {
            let Some(pending) = self.queue.pop_front() else { break };
            let outcome = self.stage_one(state, &pending, &mut group);
            group.answers.push((pending.ticket, outcome));
            staged += 1;
        }
        if group.data.len() == start {
            // Nothing but refusals: the reservation can wait.
            (group.data, group.sync, self.reserved) = (Vec::new(), false, group.reserved_before);
        }
        group
    }

    fn stage_one(&self, state: &mut State, pending: &Pending, group: &mut Group) -> Outcome {
        let commit = &pending.commit;
        if let Err(refusal) = state.check(commit) {
            return Outcome::Refused(refusal);
        }
        if commit.changes.is_empty() {
            return Outcome::Done(Committed { revision: state.tip(), records: Vec::new() });
        }
        let revision = Revision(state.tip().0 + 1);
        let payload = record::encode_commit(&commit.changes, &pending.texts, commit.durability, &commit.meta, revision);
        if payload.len() > self.limits.commit_bytes.min(PAYLOAD_MAX) {
            let why = format!(
                "a commit of {} bytes; at most {} are taken",
                payload.len(),
                self.limits.commit_bytes.min(PAYLOAD_MAX)
            );
            return Outcome::Refused(Refusal::Invalid(why));
        }
        let offset = self.offset + group.data.len() as u64;
        record::frame(&mut group.data, self.segment, self.durable, &payload);
        group.sync |= commit.durability == Durability::Durable;
        let events = state.apply(&commit.changes, &Arc::new(commit.meta.clone()), revision);
        for (index, event) in events.iter().enumerate() {
            event.now.set_place(Place { file: self.segment, offset, index: index as u32 });
        }
        Outcome::Done(Committed { revision, records: events.iter().map(Event::fresh_record).collect() })
    }
}
