//! The garbage collector's decisions: what happens to an object whose owners are gone, or that is being deleted while others
//! depend on it. Source: `pkg/controller/garbagecollector/garbagecollector.go:attemptToDeleteItem`.

use client::{DeleteOptions, Meta, Op, OwnerReference, Plan, Propagation, Resource, Target};
use serde_json::json;

/// Finalizer of an object that waits for its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object that lets its dependents go first.
pub const ORPHAN: &str = "orphan";

/// What is known about an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Solid,
    /// It is there, and waits for its dependents to go.
    Waiting,
    /// It is gone.
    Absent,
    /// Its kind is not served: nobody can tell.
    Unknown,
}

/// All that one decision looks at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The object.
    pub object: Option<(Resource, Meta)>,
    /// Its owners.
    pub owners: Vec<(OwnerReference, Owner)>,
    /// Objects that name it as an owner.
    pub dependents: Vec<(Resource, Meta)>,
}

fn has(meta: &Meta, finalizer: &str) -> bool {
    meta.finalizers.iter().any(|f| f == finalizer)
}

/// Whether an object waits for its dependents.
pub fn is_waiting(meta: &Meta) -> bool {
    meta.is_deleting() && has(meta, FOREGROUND)
}

/// What to do with an object.
pub fn plan(world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some((resource, meta)) = &world.object else { return plan };
    let target = Target::new(resource, &meta.namespace, &meta.name);
    if meta.is_deleting() {
        if has(meta, ORPHAN) {
            for (resource, dependent) in &world.dependents {
                plan.push(drop_owners(resource, dependent, &[&meta.uid]));
            }
            plan.push(drop_finalizer(target, meta, ORPHAN));
        } else if has(meta, FOREGROUND) && !world.dependents.iter().any(|(_, d)| blocks(d, &meta.uid)) {
            plan.push(drop_finalizer(target, meta, FOREGROUND));
        }
        return plan;
    }
    let of = |state: Owner| world.owners.iter().filter(move |(_, s)| *s == state).map(|(o, _)| o.uid.as_str());
    if world.owners.is_empty() {
        return plan;
    }
    if of(Owner::Unknown).next().is_some() {
        plan.retry = Some(format!("{}: the kind of an owner is not served", meta.key()));
        return plan;
    }
    if of(Owner::Solid).next().is_some() {
        let gone: Vec<&str> = of(Owner::Absent).chain(of(Owner::Waiting)).collect();
        if !gone.is_empty() {
            plan.push(drop_owners(resource, meta, &gone));
        }
        return plan;
    }
    let waiting = of(Owner::Waiting).next().is_some();
    let propagation = if (waiting && !world.dependents.is_empty()) || has(meta, FOREGROUND) {
        Propagation::Foreground
    } else if has(meta, ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    let options = DeleteOptions {
        uid: Some(meta.uid.clone()),
        resource_version: Some(meta.resource_version.clone()),
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    plan.push(Op::Delete { target, options, announce: None });
    plan
}

fn blocks(dependent: &Meta, owner: &str) -> bool {
    dependent.owner_references.iter().any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
}

fn drop_owners(resource: &Resource, meta: &Meta, uids: &[&str]) -> Op {
    let kept: Vec<_> = meta.owner_references.iter().filter(|o| !uids.contains(&o.uid.as_str())).collect();
    let metadata = json!({"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": kept});
    Op::merge(Target::new(resource, &meta.namespace, &meta.name), json!({"metadata": metadata}))
}

fn drop_finalizer(target: Target, meta: &Meta, finalizer: &str) -> Op {
    let kept: Vec<_> = meta.finalizers.iter().filter(|f| *f != finalizer).collect();
    let metadata = json!({"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": kept});
    Op::merge(target, json!({"metadata": metadata}))
}
