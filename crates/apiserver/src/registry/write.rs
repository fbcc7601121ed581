//! CREATE and UPDATE, and the steps that every write shares.

use super::{Attrs, Context, Operation, Outcome, Registry, encode};
use crate::admission;
use crate::core::meta::{self, Birth};
use api::apply::{self, Writer};
use api::check::check;
use api::{Status, Value, f};
use bytes::Bytes;
use cache::Object;
use kinds::Resource;
use std::sync::Arc;
use store::{Change, Commit, CommitError, Entry, Expectation, Expected, Revision};

/// Attempts at an unconditional write before giving up.
pub(crate) const ATTEMPTS: usize = 8;
const NAME_ATTEMPTS: usize = 8;

/// Which part of an object a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Main,
    /// Its status.
    Status,
    /// Another subresource that writes the same object (its rules are given by the caller).
    Sub(&'static str),
}

impl Part {
    /// The subresource's name.
    pub fn name(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Status => "status",
            Part::Sub(name) => name,
        }
    }
}

/// The fields that a write through a part never owns.
pub(crate) fn reset_fields(r: &Resource, part: Part) -> apply::set::Set {
    let request = r.kind == "CertificateSigningRequest";
    match part {
        Part::Main | Part::Sub("approval") if request => apply::members(&["spec", "status"]),
        Part::Main if r.has_status() => apply::members(&["status"]),
        Part::Status => {
            let mut names: Vec<&str> =
                r.ty.fields.iter().map(|f| f.name.as_str()).filter(|n| !matches!(*n, "metadata" | "status")).collect();
            if r.kind == "Pod" {
                names.extend(["metadata/deletionTimestamp", "metadata/ownerReferences"]);
            } else if matches!(r.group.as_str(), "apps" | "batch") && r.kind != "CronJob" {
                names.extend(["metadata/labels"].iter().filter(|_| r.kind == "Deployment"));
            }
            apply::members(&names)
        }
        _ => apply::set::Set::new(),
    }
}

/// Records who wrote an object that is only an answer.
pub(crate) fn own_made(
    registry: &Registry,
    cx: &Context,
    v: &mut Value,
    ty: &'static api::schema::Type,
    api_version: &str,
    subresource: &str,
) {
    let now = registry.now();
    let mut empty = Value::object();
    empty.entry(f::metadata).make_map();
    api::canon::canonicalize(&mut empty, ty);
    api::canon::canonicalize(v, ty);
    let reset = apply::set::Set::new();
    let w = Writer { manager: &cx.field_manager, api_version, subresource, now: &now, reset: &reset };
    apply::update(&empty, v, ty, true, w);
}

impl Registry {
    /// Records who owns what after any verb but apply.
    pub(crate) fn own(
        &self,
        cx: &Context,
        r: &'static Resource,
        live: &Value,
        new: &mut Value,
        create: bool,
        part: Part,
    ) {
        let reset = reset_fields(r, part);
        let now = self.now();
        let mut empty;
        let live = if create {
            empty = Value::object();
            empty.entry(f::metadata).make_map();
            api::canon::canonicalize(&mut empty, r.ty);
            &empty
        } else {
            live
        };
        api::canon::canonicalize(new, r.ty);
        let w = Writer {
            manager: &cx.field_manager,
            api_version: &r.api_version(),
            subresource: part.name(),
            now: &now,
            reset: &reset,
        };
        apply::update(live, new, r.ty, create, w);
    }

    /// CREATE.
    pub async fn create(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Outcome, Status> {
        check_place(r, namespace, "", &mut object)?;
        kinds::gates::drop_disabled(&mut object, &Value::Null, r.ty);
        if !object.at(f::metadata).at(f::resourceVersion).is_zero() {
            return Err(Status::unclassified("resourceVersion should not be set on objects to be created"));
        }
        (r.rules.defaults)(&mut object);
        self.own(cx, r, &Value::Null, &mut object, true, Part::Main);
        self.create_owned(cx, r, namespace, object).await
    }

    /// CREATE of an object whose ownership is recorded already.
    pub(crate) async fn create_owned(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        object: Value,
    ) -> Result<Outcome, Status> {
        let generated = object.at(f::metadata).at(f::name).str().is_empty()
            && !object.at(f::metadata).at(f::generateName).str().is_empty();
        if !generated {
            return self.create_once(cx, r, namespace, object).await;
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.create_once(cx, r, namespace, object.clone()).await {
                Err(s) if s.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS => {}
                Err(mut s) if s.reason == "AlreadyExists" => {
                    s.message.push_str(", the server was not able to generate a unique name for the object");
                    return Err(s);
                }
                other => return other,
            }
        }
    }

    async fn create_once(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Outcome, Status> {
        let name = object.at(f::metadata).at(f::name).str().to_string();
        let attrs = Attrs {
            operation: Operation::Create,
            resource: r,
            subresource: "",
            namespace,
            name: &name,
            user: &cx.user.clone(),
            dry_run: cx.dry_run,
            old: None,
        };
        self.complete(cx, r, namespace, &attrs, &mut object)?;
        let name = object.at(f::metadata).at(f::name).str().to_string();
        let _turn = if r.kind == "Service" { Some(self.allocation.lock().await) } else { None };
        let key = r.key(namespace, &name);
        if self.cache(r).is_some_and(|c| c.get(&key).is_some()) {
            return Err(Status::already_exists(&r.group, &r.plural, &name)); // before anything is allocated for it
        }
        let mut extra = if r.kind == "Service" { self.allocate(&mut object, None, cx.dry_run)? } else { Vec::new() };
        let (text, rv_at) = self.stored_text(&mut object, r);
        if cx.dry_run {
            admission::quota::settle(self, cx, &attrs, &object, &mut Vec::new()).await?;
            let exists = self.cache(r).is_some_and(|c| c.get(&key).is_some());
            return if exists {
                Err(Status::already_exists(&r.group, &r.plural, &name))
            } else {
                Ok(Outcome::Object(r, without_revision(&text), 201))
            };
        }
        let mut own = vec![self.put(r, key.clone(), text, rv_at)];
        own.append(&mut extra);
        let mut counted = Vec::new();
        for _ in 0..ATTEMPTS {
            let charge = admission::quota::settle(self, cx, &attrs, &object, &mut counted).await?;
            match self.commit(self.birth(cx, r, &own, charge)).await {
                Ok(bytes) => return Ok(Outcome::Object(r, bytes, 201)),
                Err(CommitError::Conflict { key: k, .. }) if *k == *key => {
                    return Err(Status::already_exists(&r.group, &r.plural, &name));
                }
                Err(CommitError::Conflict { key: k, .. }) if quota_key(&k) => self.catch_up().await,
                Err(e) => return Err(commit_failed(e)),
            }
        }
        Err(Status::conflict(&r.group, &r.plural, &name, Status::MODIFIED))
    }

    /// The commit of a new object, of what is made with it, and of the quota that counts it.
    fn birth(&self, cx: &Context, r: &Resource, own: &[Change], charge: Option<admission::quota::Charge>) -> Commit {
        let absent = own.iter().map(|c| Expectation { key: c.key().clone(), state: Expected::Absent });
        let expect = absent.chain(charge.iter().map(|(e, _)| e.clone())).collect();
        let changes = own.iter().chain(charge.iter().map(|(_, c)| c)).cloned().collect();
        Commit { expect, changes, durability: durability(r, None, None), meta: self.meta(cx, r, None) }
    }

    /// Brings a new object into its final form and checks it.
    fn complete(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        attrs: &Attrs,
        object: &mut Value,
    ) -> Result<(), Status> {
        admission::mutate(self, attrs, object)?;
        (r.rules.defaults)(object);
        let (uid, now, suffix) = (self.uuid(), self.now(), self.suffix());
        meta::fill_create(object, r, namespace, &Birth { uid: &uid, now: &now, suffix: &suffix });
        if r.has_status() && !r.rules.keeps_status {
            object.remove(f::status);
        }
        cx.warnings.extend(meta::unite_owners(object));
        if r.kind == "CertificateSigningRequest" {
            super::special::requester(object, attrs.user);
        }
        (r.rules.prepare_create)(object);
        (r.rules.defaults)(object);
        let errs = check(object, Some(r.ty), |o| {
            meta::validate(o, r);
            (r.rules.validate)(o);
            (r.rules.validate_create)(o);
        });
        if !errs.is_empty() {
            return Err(Status::invalid(r.error_group(), &r.kind, object.at(f::metadata).at(f::name).str(), &errs));
        }
        cx.warnings.extend((r.rules.warnings)(object));
        admission::validate(self, attrs, object, &mut cx.warnings)
    }

    /// The text to store, converted to the stored version first.
    pub(crate) fn stored_text(&self, object: &mut Value, r: &'static Resource) -> (Bytes, Option<u32>) {
        let stored = super::stored_of(r);
        if !std::ptr::eq(stored, r) {
            crate::convert::convert(object, r, stored);
        }
        encode::store_text(object, stored)
    }

    /// A put with what the resource asks of the store.
    pub(crate) fn put(&self, r: &Resource, key: String, text: Bytes, rv_at: Option<u32>) -> Change {
        let put = Change::put(key, text, rv_at);
        match r.plural.as_str() {
            "secrets" => put.sealed(),
            "events" => put.expires_at(
                self.env.wall().plus(std::time::Duration::from_secs(self.settings.event_ttl_seconds.max(0) as u64)),
            ),
            _ => put,
        }
    }

    /// Commits, waits until the caches have seen it, and answers with the first change's text.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Bytes, CommitError> {
        super::one_change_a_resource(&commit.changes);
        let done = self.store.commit(commit).await?;
        self.wait_for(done.revision.0).await;
        Ok(done.records.into_iter().next().map(|r| r.entry.value).unwrap_or_default())
    }

    /// UPDATE (PUT). `sent` reads the object from the request, once for each attempt.
    pub async fn update(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        sent: &mut (dyn FnMut(&mut Context) -> Result<Value, Status> + Send),
        part: Part,
    ) -> Result<Outcome, Status> {
        let mut created = None;
        let result = self
            .guaranteed(cx, r, namespace, name, part, &mut |registry, cx, live| {
                let mut new = sent(cx)?;
                check_place(r, namespace, name, &mut new)?;
                let version = parse_given(new.at(f::metadata).at(f::resourceVersion).str())?;
                let Some((live, at)) = live else {
                    if !r.policy.create_on_update || part != Part::Main {
                        return Err(Status::not_found(&r.group, &r.plural, name));
                    }
                    created = Some(new);
                    return Ok(None);
                };
                let uid = new.at(f::metadata).at(f::uid).str();
                let live_uid = live.at(f::metadata).at(f::uid).str();
                if !uid.is_empty() && uid != live_uid {
                    return Err(uid_conflict(r, namespace, name, uid, live_uid));
                }
                match version {
                    None if !r.policy.unconditional_update => {
                        let errs = check(&new, None, |o| {
                            let at = o.at(f::metadata).at(f::resourceVersion);
                            at.invalid_as(0_i64, "must be specified for an update");
                        });
                        return Err(Status::invalid(&r.group, &r.plural, name, &errs));
                    }
                    Some(v) if v != at.revision => {
                        return Err(Status::conflict(&r.group, &r.plural, name, Status::MODIFIED));
                    }
                    _ => {}
                }
                (r.rules.defaults)(&mut new);
                registry.own(cx, r, live, &mut new, false, part);
                Ok(Some(new))
            })
            .await?;
        if let Some(mut object) = created {
            object.entry(f::metadata).remove(f::resourceVersion);
            (r.rules.defaults)(&mut object);
            self.own(cx, r, &Value::Null, &mut object, true, Part::Main);
            return self.create_owned(cx, r, namespace, object).await;
        }
        Ok(result)
    }

    /// Read, change, write; again from the current state when somebody else was faster. `change` answers the new object
    /// with ownership recorded, or nothing if no write is wanted.
    pub(crate) async fn guaranteed(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        change: &mut (
                 dyn FnMut(&Arc<Registry>, &mut Context, Option<(&Value, &Object)>) -> Result<Option<Value>, Status>
                     + Send
             ),
    ) -> Result<Outcome, Status> {
        let key = r.key(namespace, name);
        let mut current: Option<Arc<Object>> = self.cache(r).and_then(|c| c.get(&key));
        let warnings = cx.warnings.len();
        for _ in 0..ATTEMPTS {
            cx.warnings.truncate(warnings);
            let live = current.as_ref().map(|o| self.served_tree(&o.text(), r));
            let new = change(self, cx, live.as_ref().zip(current.as_deref()))?;
            let (Some(new), Some(live), Some(at)) = (new, live, current.clone()) else {
                return Ok(Outcome::Made(Value::Null, 200));
            };
            match self.replace(cx, r, namespace, name, part, &live, &at, new).await {
                Ok(done) => return Ok(done),
                Err(Failure::Status(s)) => return Err(*s),
                Err(Failure::Again) => {
                    self.catch_up().await;
                    current = self.cache(r).and_then(|c| c.get(&key));
                }
                Err(Failure::Raced(entry)) => {
                    current = entry.map(|e| Arc::new(super::object_of(&e, super::stored_of(r))))
                }
            }
        }
        Err(Status::conflict(&r.group, &r.plural, name, Status::MODIFIED))
    }

    /// Stored text as the tree of a served version.
    pub(crate) fn served_tree(&self, bytes: &Bytes, r: &'static Resource) -> Value {
        encode::tree(&encode::served(bytes, r))
    }

    /// The second half of an update: prepare, admit, validate, commit.
    #[allow(clippy::too_many_arguments, reason = "the state of one write, used here only")]
    async fn replace(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        live: &Value,
        at: &Object,
        mut new: Value,
    ) -> Result<Outcome, Failure> {
        let user = cx.user.clone();
        let attrs = Attrs {
            operation: Operation::Update,
            resource: r,
            subresource: part.name(),
            namespace,
            name,
            user: &user,
            dry_run: cx.dry_run,
            old: Some(live),
        };
        if !self.complete_update(cx, part, &attrs, &mut new, live)? {
            return Ok(Outcome::Object(r, at.text(), 200));
        }
        let finished = live.at(f::metadata).has(f::deletionTimestamp)
            && new.at(f::metadata).at(f::finalizers).is_zero()
            && super::delete::may_vanish(r, &new);
        let _turn = if r.kind == "Service" { Some(self.allocation.lock().await) } else { None };
        let mut extra = if r.kind == "Service" && part == Part::Main {
            self.allocate(&mut new, Some(live), cx.dry_run)?
        } else {
            Vec::new()
        };
        let key: Arc<str> = r.key(namespace, name).into();
        let durability = durability(r, Some(live), Some(&new));
        let (text, rv_at) = self.stored_text(&mut new, r);
        if cx.dry_run {
            return Ok(Outcome::Object(r, with_revision(&text, rv_at, at.revision), 200));
        }
        // Who takes the last finalizer away gets the object as it would have become.
        let last = finished.then(|| with_revision(&text, rv_at, at.revision));
        let first = if finished { Change::delete(key.clone()) } else { self.put(r, key.to_string(), text, rv_at) };
        let charge = admission::quota::settle(self, cx, &attrs, &new, &mut Vec::new()).await?;
        let mut changes = vec![first];
        changes.append(&mut extra);
        let mut expect = vec![Expectation { key: key.clone(), state: Expected::Revision(Revision(at.revision)) }];
        expect.extend(
            changes[1..]
                .iter()
                .filter(|c| matches!(c, Change::Put { .. }))
                .map(|c| Expectation { key: c.key().clone(), state: Expected::Absent }),
        );
        if let Some((e, c)) = charge {
            expect.push(e);
            changes.push(c);
        }
        let commit = Commit { expect, changes, durability, meta: self.meta(cx, r, Some(at.revision)) };
        match self.commit(commit).await {
            Ok(bytes) => Ok(Outcome::Object(r, last.unwrap_or(bytes), 200)),
            Err(CommitError::Conflict { key: k, .. }) if quota_key(&k) => Err(Failure::Again),
            Err(CommitError::Conflict { key: k, current }) if *k == *key => Err(Failure::Raced(current)),
            Err(e) => Err(commit_failed(e).into()),
        }
    }

    /// Brings a changed object into its final form and checks it; answers whether anything changes.
    fn complete_update(
        self: &Arc<Self>,
        cx: &mut Context,
        part: Part,
        attrs: &Attrs,
        new: &mut Value,
        live: &Value,
    ) -> Result<bool, Status> {
        let r = attrs.resource;
        cx.warnings.extend(meta::unite_owners(new));
        kinds::gates::drop_disabled(new, live, r.ty);
        prepare_update(r, part, new, live, &self.now());
        admission::mutate(self, attrs, new)?;
        settle_update(r, part, new, live);
        if new == live {
            return Ok(false);
        }
        validate_update(r, part, attrs.name, new, live)?;
        if part == Part::Main && r.kind != "Pod" && new.at(f::spec) != live.at(f::spec) {
            cx.warnings.extend((r.rules.warnings)(new));
        }
        admission::validate(self, attrs, new, &mut cx.warnings)?;
        Ok(true)
    }
}

/// After admission: defaults again, what an update may not change put back, canonical form.
fn settle_update(r: &Resource, part: Part, new: &mut Value, live: &Value) {
    (r.rules.defaults)(new);
    meta::keep_on_update(new, live, r);
    if part == Part::Status {
        new.entry(f::metadata).set(f::generation, live.at(f::metadata).at(f::generation).clone());
    }
    new.entry(f::metadata).set(f::resourceVersion, live.at(f::metadata).at(f::resourceVersion).clone());
    api::canon::canonicalize(new, r.ty);
    keep_times(new, live);
}

/// Everything that an update must satisfy.
fn validate_update(r: &Resource, part: Part, name: &str, new: &Value, live: &Value) -> Result<(), Status> {
    let errs = check(new, Some(r.ty), |o| {
        meta::validate_update(o, live);
        if part == Part::Main && meta::checked_twice(r) {
            meta::validate_update(o, live);
        }
        match part {
            Part::Main => {
                meta::validate(o, r);
                (r.rules.validate)(o);
                (r.rules.validate_update)(o, live);
            }
            Part::Status => (r.rules.validate_status)(o, live),
            Part::Sub(name) => {
                if let Some(rules) = r.rules.part(name) {
                    (rules.validate)(o, live);
                }
            }
        }
    });
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid(r.error_group(), &r.kind, name, &errs)) }
}

/// Why an attempt to replace did not succeed.
pub(crate) enum Failure {
    /// It will not.
    Status(Box<Status>),
    /// Somebody else was faster; this is there now.
    Raced(Option<Entry>),
    /// Something that is counted with it changed.
    Again,
}

fn quota_key(key: &str) -> bool {
    key.starts_with("/registry/resourcequotas/")
}

impl From<Status> for Failure {
    fn from(s: Status) -> Failure {
        Failure::Status(Box::new(s))
    }
}

/// What a write through a part cannot touch goes back to the old value.
pub(crate) fn prepare_update(r: &'static Resource, part: Part, new: &mut Value, live: &Value, now: &str) {
    match part {
        Part::Main => {
            if r.has_status() {
                match live.get(f::status) {
                    Some(s) => new.set(f::status, s.clone()),
                    None => drop(new.remove(f::status)),
                }
            }
            (r.rules.prepare_update)(new, live);
        }
        Part::Status => {
            let status = new.remove(f::status);
            let metadata = new.remove(f::metadata);
            let mut out = live.clone();
            match status {
                Some(s) => out.set(f::status, s),
                None => drop(out.remove(f::status)),
            }
            if let Some(m) = metadata {
                out.set(f::metadata, m);
            }
            if r.rules.status_only || r.kind == "Deployment" {
                let kept: &[api::Name] = if r.rules.status_only {
                    &[f::labels, f::annotations, f::finalizers, f::ownerReferences]
                } else {
                    &[f::labels]
                };
                keep_metadata(&mut out, live, kept);
            }
            if r.kind == "Pod" {
                keep_metadata(&mut out, live, &[f::deletionTimestamp, f::ownerReferences]);
                if out.at(f::status).at(f::qosClass).str().is_empty() {
                    out.entry(f::status).set(f::qosClass, live.at(f::status).at(f::qosClass).clone());
                }
            }
            *new = out;
            (r.rules.prepare_status)(new, live, now);
        }
        Part::Sub(name) => {
            if let Some(rules) = r.rules.part(name) {
                (rules.prepare)(new, live);
                (r.rules.prepare_status)(new, live, now);
            }
        }
    }
}

/// Members of metadata as they were.
fn keep_metadata(new: &mut Value, live: &Value, kept: &[api::Name]) {
    for key in kept {
        match live.at(f::metadata).get(*key) {
            Some(v) => new.entry(f::metadata).set(*key, v.clone()),
            None => drop(new.entry(f::metadata).remove(*key)),
        }
    }
}

/// A write that changes nothing but times of ownership changes nothing.
fn keep_times(new: &mut Value, live: &Value) {
    let (n, l) = (new.at(f::metadata), live.at(f::metadata));
    let same = without(new, f::metadata).eq(without(live, f::metadata))
        && without(n, f::managedFields).eq(without(l, f::managedFields))
        && same_but_times(n.at(f::managedFields).items(), l.at(f::managedFields).items());
    if same && let Some(entries) = l.get(f::managedFields) {
        new.entry(f::metadata).set(f::managedFields, entries.clone());
    }
}

fn without(v: &Value, name: api::Name) -> impl Iterator<Item = (&api::Key, &Value)> {
    v.members().filter(move |(k, _)| k.name() != Some(name))
}

/// Whether two lists hold the same entries of ownership in any order, whatever their times.
fn same_but_times(a: &[Value], b: &[Value]) -> bool {
    let same = |x: &Value, y: &Value| without(x, f::time).eq(without(y, f::time));
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| same(x, y)))
}

/// Whether a write may be answered before it is on disk.
fn durability(r: &Resource, old: Option<&Value>, new: Option<&Value>) -> store::Durability {
    let cheap = match (r.plural.as_str(), old, new) {
        ("events", ..) => true,
        ("leases", Some(o), Some(n)) if o.at(f::metadata).at(f::namespace).str() == "kube-node-lease" => {
            let rest = |v: &Value| {
                let mut s = v.at(f::spec).clone();
                s.remove(f::renewTime);
                s
            };
            rest(o) == rest(n)
        }
        _ => false,
    };
    if cheap { store::Durability::Cheap } else { store::Durability::Durable }
}

/// The object is another one than the client thinks.
pub(crate) fn uid_conflict(r: &Resource, namespace: &str, name: &str, uid: &str, live: &str) -> Status {
    let key = r.key(namespace, name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {live}"
    );
    Status::conflict(&r.group, &r.plural, name, &why)
}

/// A failed commit as a status.
pub(crate) fn commit_failed(e: CommitError) -> Status {
    match e {
        CommitError::Invalid(why) => Status::failure(413, "RequestEntityTooLarge", why),
        CommitError::Full(why) => Status::failure(507, "InternalError", format!("the store's disk is full: {why}")),
        CommitError::Unavailable(why) => {
            let mut s = Status::failure(503, "ServiceUnavailable", why);
            s.retry_after = 1;
            s
        }
        CommitError::Conflict { key, .. } => {
            Status::failure(409, "Conflict", format!("{key} was changed at the same time; please try again"))
        }
        CommitError::Seal(why) => Status::internal(why),
    }
}

fn parse_given(version: &str) -> Result<Option<u64>, Status> {
    match version {
        "" | "0" => Ok(None),
        v => v
            .parse()
            .map(Some)
            .map_err(|_| Status::unclassified(format!("strconv.ParseUint: parsing {v:?}: invalid syntax"))),
    }
}

/// Name and namespace of the body against those of the path.
pub(crate) fn check_place(r: &Resource, namespace: &str, name: &str, object: &mut Value) -> Result<(), Status> {
    let m = object.entry(f::metadata).make_map();
    let given = m.get(f::namespace).map(Value::str).unwrap_or_default().to_string();
    if !given.is_empty() && given != namespace && r.namespaced {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if r.namespaced {
        m.set(f::namespace, namespace);
    }
    if name.is_empty() {
        return Ok(());
    }
    let own = m.get(f::name).map(Value::str).unwrap_or_default().to_string();
    if own.is_empty() {
        m.set(f::name, name);
    } else if own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// The text without the empty revision of an object that was not stored.
pub(crate) fn without_revision(text: &Bytes) -> Bytes {
    const MARK: &[u8] = b"\"resourceVersion\":\"\",";
    match text.windows(MARK.len()).position(|w| w == MARK) {
        Some(at) => Bytes::from([&text[..at], &text[at + MARK.len()..]].concat()),
        None => text.clone(),
    }
}

/// The text with a revision in its place.
pub(crate) fn with_revision(text: &Bytes, rv_at: Option<u32>, revision: u64) -> Bytes {
    match rv_at {
        Some(at) => Bytes::from([&text[..at as usize], revision.to_string().as_bytes(), &text[at as usize..]].concat()),
        None => text.clone(),
    }
}
