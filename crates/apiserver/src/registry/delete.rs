//! DELETE and DELETECOLLECTION: preconditions, grace, finalizers, propagation.
//!
//! Source: `k8s.io/apiserver/pkg/registry/generic/registry/store.go:Delete`, `…/rest/delete.go`.

use super::write::{ATTEMPTS, commit_failed};
use super::{Attrs, Context, Operation, Outcome, Registry};
use crate::admission;
use api::errors::{FieldErrors, Path};
use api::{Status, Value, f};
use cache::Object;
use kinds::Resource;
use std::sync::Arc;
use store::{Change, Commit, CommitError, Durability, Expectation, Expected, Revision};

/// The options of a delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds of grace.
    pub grace: Option<i64>,
    /// Background, Foreground, Orphan; empty: the kind's own.
    pub propagation: String,
    /// The uid that the object must have.
    pub uid: String,
    /// The revision that the object must have.
    pub resource_version: String,
    /// Deletes nothing, but says what would be.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// From the body's object.
    pub fn from_value(v: &Value) -> Result<DeleteOptions, Status> {
        let mut errs = FieldErrors::new();
        let root = Path::Root;
        let propagation = v.at(f::propagationPolicy).str().to_string();
        let orphan = v.at(f::orphanDependents);
        if !orphan.is_null() && !propagation.is_empty() {
            errs.invalid(
                &root.child("propagationPolicy"),
                propagation.as_str(),
                "orphanDependents and deletionPropagation cannot be both set",
            );
        }
        if !matches!(propagation.as_str(), "" | "Background" | "Foreground" | "Orphan") {
            errs.not_supported(
                &root.child("propagationPolicy"),
                propagation.as_str(),
                &["Foreground", "Background", "Orphan", "nil"],
            );
        }
        let dry = v.at(f::dryRun).items();
        if dry.iter().any(|d| d.str() != "All") {
            errs.not_supported(&root.child("dryRun"), v.at(f::dryRun), &["All"]);
        }
        if !errs.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errs));
        }
        let propagation = match orphan {
            Value::Bool(true) => "Orphan".into(),
            Value::Bool(false) => "Background".into(),
            _ => propagation,
        };
        let pre = v.at(f::preconditions);
        Ok(DeleteOptions {
            grace: v.at(f::gracePeriodSeconds).as_int(),
            propagation,
            uid: pre.at(f::uid).str().into(),
            resource_version: pre.at(f::resourceVersion).str().into(),
            dry_run: !dry.is_empty(),
        })
    }
}

/// Whether an object that is being deleted may go once its finalizers are gone.
pub(crate) fn may_vanish(r: &Resource, object: &Value) -> bool {
    let grace = object.at(f::metadata).at(f::deletionGracePeriodSeconds);
    let namespaces_too = r.plural != "namespaces" || object.at(f::spec).at(f::finalizers).is_zero();
    namespaces_too && (!r.policy.graceful_delete || grace.is_null() || grace.int() == 0)
}

/// What a delete does to an object.
enum Step {
    /// Remove it.
    Remove,
    /// Mark it.
    Mark(Value),
    /// It is marked already.
    Nothing,
}

impl Registry {
    /// DELETE.
    pub async fn delete(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        o: &DeleteOptions,
    ) -> Result<Outcome, Status> {
        let key: Arc<str> = r.key(namespace, name).into();
        let mut current: Option<Arc<Object>> = self.cache(r).and_then(|c| c.get(&key));
        for _ in 0..ATTEMPTS {
            let Some(at) = current else { return Err(Status::not_found(&r.group, &r.plural, name)) };
            let live = self.served_tree(&at.text(), r);
            preconditions(r, name, &live, o)?;
            let user = cx.user.clone();
            let attrs = Attrs {
                operation: Operation::Delete,
                resource: r,
                subresource: "",
                namespace,
                name,
                user: &user,
                dry_run: cx.dry_run || o.dry_run,
                old: Some(&live),
            };
            admission::validate(self, &attrs, &Value::Null)?;
            let step = self.deletion(cx, r, &live, o);
            let change = match step {
                Step::Nothing => return Ok(Outcome::Object(r, at.text(), 200)),
                Step::Remove => Change::delete(key.clone()),
                Step::Mark(mut v) => {
                    let (text, rv_at) = self.stored_text(&mut v, r);
                    if cx.dry_run || o.dry_run {
                        return Ok(Outcome::Object(r, super::write::with_revision(&text, rv_at, at.revision), 200));
                    }
                    self.put(r, key.to_string(), text, rv_at)
                }
            };
            let removed = matches!(change, Change::Delete { .. });
            if cx.dry_run || o.dry_run {
                return Ok(answer(r, &live, at.text()));
            }
            let mut changes = vec![change];
            if removed && r.kind == "Service" {
                changes.extend(self.release(&live));
            }
            let expect = vec![Expectation { key: key.clone(), state: Expected::Revision(Revision(at.revision)) }];
            let durability = if r.plural == "events" { Durability::Cheap } else { Durability::Durable };
            let commit = Commit { expect, changes, durability, meta: self.meta(cx, r, Some(at.revision)) };
            match self.commit(commit).await {
                Ok(bytes) if removed => return Ok(answer(r, &live, bytes)),
                Ok(bytes) => return Ok(Outcome::Object(r, bytes, 200)),
                Err(CommitError::Conflict { current: c, .. }) => {
                    current = c.map(|e| Arc::new(super::object_of(&e, super::stored_of(r))))
                }
                Err(e) => return Err(commit_failed(e)),
            }
        }
        Err(Status::conflict(&r.group, &r.plural, name, Status::MODIFIED))
    }

    /// What becomes of an object that somebody wants gone.
    fn deletion(&self, cx: &mut Context, r: &Resource, live: &Value, o: &DeleteOptions) -> Step {
        let m = live.at(f::metadata);
        let marked = m.has(f::deletionTimestamp);
        let mut finalizers: Vec<Value> = m.at(f::finalizers).items().to_vec();
        let default_orphan = r.kind == "Job" && o.propagation.is_empty();
        if default_orphan && !marked {
            cx.warnings.push("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning".into());
        }
        // A namespace's own finalizers take the place of propagation.
        let want = match o.propagation.as_str() {
            _ if r.kind == "Event" => None, // events are nobody's children
            "Orphan" => Some("orphan"),
            "" if default_orphan => Some("orphan"),
            "Foreground" => Some("foregroundDeletion"),
            _ => None,
        };
        if want.is_some() || o.propagation == "Background" {
            finalizers.retain(|v| !matches!(v.str(), "orphan" | "foregroundDeletion"));
        }
        if let Some(want) = want {
            finalizers.push(want.into());
        }
        let pending =
            !finalizers.is_empty() || (r.plural == "namespaces" && !live.at(f::spec).at(f::finalizers).is_zero());
        let grace = if r.policy.graceful_delete { pod_grace(live, o.grace) } else { 0 };
        let mut new = live.clone();
        let meta = new.entry(f::metadata);
        if finalizers.is_empty() {
            meta.remove(f::finalizers);
        } else {
            meta.set(f::finalizers, finalizers.clone());
        }
        if marked {
            let had = m.at(f::deletionGracePeriodSeconds).int();
            if r.policy.graceful_delete && grace < had {
                if grace == 0 && !pending {
                    return Step::Remove;
                }
                let began =
                    m.at(f::deletionTimestamp).as_str().and_then(api::time::parse_seconds).unwrap_or_default() - had;
                meta.set(f::deletionTimestamp, api::time::format_seconds(began + grace));
                meta.set(f::deletionGracePeriodSeconds, grace);
                return Step::Mark(new);
            }
            if !pending && (had == 0 || !r.policy.graceful_delete) {
                return Step::Remove;
            }
            return if new == *live { Step::Nothing } else { Step::Mark(new) };
        }
        if grace == 0 && !pending {
            return Step::Remove;
        }
        let now = self.env.wall().unix_seconds();
        meta.set(f::deletionTimestamp, api::time::format_seconds(now + grace));
        if r.plural != "namespaces" {
            meta.set(f::deletionGracePeriodSeconds, grace);
        }
        let generation = meta.at(f::generation).int();
        if generation > 0 {
            meta.set(f::generation, generation + 1);
        }
        if r.plural == "namespaces" {
            new.entry(f::status).set(f::phase, "Terminating");
        }
        Step::Mark(new)
    }

    /// DELETECOLLECTION: every object of a list.
    pub async fn delete_collection(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        list: &super::read::ListOptions,
        o: &DeleteOptions,
    ) -> Result<super::read::Page, Status> {
        let page = self.page(r, namespace, list).await?;
        for object in &page.objects {
            match self.delete(cx, r, &object.index.namespace, &object.index.name, o).await {
                Ok(_) => {}
                Err(s) if s.code == 404 => {}
                Err(s) => return Err(s),
            }
        }
        Ok(page)
    }
}

/// A pod's grace: what is asked for, what it asks for itself; nothing for pods that do not run.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let spec = pod.at(f::spec);
    let phase = pod.at(f::status).at(f::phase).str();
    if spec.at(f::nodeName).str().is_empty() || matches!(phase, "Failed" | "Succeeded") {
        return 0;
    }
    let grace = asked.or_else(|| spec.at(f::terminationGracePeriodSeconds).as_int()).unwrap_or(30);
    if grace < 0 { 1 } else { grace }
}

fn preconditions(r: &Resource, name: &str, live: &Value, o: &DeleteOptions) -> Result<(), Status> {
    let m = live.at(f::metadata);
    let (uid, version) = (m.at(f::uid).str(), m.at(f::resourceVersion).str());
    if !o.uid.is_empty() && o.uid != uid {
        return Err(Status::conflict(
            &r.group,
            &r.kind,
            name,
            &format!(
                "the UID in the precondition ({}) does not match the UID in record ({uid}). The object might have been deleted and then recreated",
                o.uid
            ),
        ));
    }
    if !o.resource_version.is_empty() && o.resource_version != version {
        return Err(Status::conflict(
            &r.group,
            &r.kind,
            name,
            &format!(
                "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({version}). The object might have been modified",
                o.resource_version
            ),
        ));
    }
    Ok(())
}

/// The answer to a delete that removed the object.
fn answer(r: &'static Resource, live: &Value, bytes: bytes::Bytes) -> Outcome {
    if r.policy.delete_returns_object {
        return Outcome::Object(r, bytes, 200);
    }
    let m = live.at(f::metadata);
    Outcome::from(Status {
        code: 0,
        success: true,
        details: true,
        name: m.at(f::name).str().into(),
        group: r.group.clone(),
        kind: r.plural.clone(),
        uid: m.at(f::uid).str().into(),
        ..Status::default()
    })
}
