//! ResourceQuota: nothing that exceeds a quota; what is used is written together with the object that uses it.

use super::{Attrs, Operation};
use crate::registry::write::{ATTEMPTS, Part, commit_failed};
use crate::registry::{Context, Registry, User};
use api::quantity::Quantity;
use api::{Status, Value, f};
use kinds::rules::quota::{self, Usage};
use std::sync::Arc;
use store::{Change, Commit, CommitError, Durability, Expectation, Expected, Revision};

/// A quota with what it counts more, and that nobody else changed it.
pub type Charge = (Expectation, Change);

/// Counts an object in every quota that is about it: answers the one to be committed with the object. A revision has one
/// change of a resource at most, so other quotas, and the quotas that count a new quota, are written before; `done` are
/// those that are counted already when the write is tried again.
pub async fn settle(
    registry: &Arc<Registry>,
    cx: &Context,
    a: &Attrs<'_>,
    object: &Value,
    done: &mut Vec<Arc<str>>,
) -> Result<Option<Charge>, Status> {
    for _ in 0..ATTEMPTS {
        let mut charges = charge(registry, a, object, done)?;
        let with_object = usize::from(a.resource.plural != "resourcequotas");
        if a.dry_run || charges.len() <= with_object {
            return Ok(charges.pop().filter(|_| !a.dry_run));
        }
        let (expect, change) = charges.remove(0);
        let key = expect.key.clone();
        let Some(quotas) = kinds::by_path("", "v1", "resourcequotas") else { return Ok(None) };
        let meta = registry.meta(cx, quotas, None);
        let commit = Commit { expect: vec![expect], changes: vec![change], durability: Durability::Durable, meta };
        match registry.commit(commit).await {
            Ok(_) => done.push(key),
            Err(CommitError::Conflict { .. }) => registry.catch_up().await,
            Err(e) => return Err(commit_failed(e)),
        }
    }
    Err(Status::conflict(&a.resource.group, &a.resource.plural, a.name, Status::MODIFIED))
}

/// What a write adds to each resource.
fn added(a: &Attrs, object: &Value) -> Usage {
    let kind = quota::name_of(&a.resource.group, &a.resource.plural);
    let mut usage = quota::usage(&kind, object);
    if let Some(old) = a.old {
        for (name, before) in quota::usage(&kind, old) {
            if let Some(now) = usage.get_mut(&name) {
                *now = now.minus(before);
            }
        }
    }
    usage.retain(|_, q| !q.is_zero() && !q.is_negative());
    usage
}

/// Refuses what exceeds a quota; answers what to count.
fn charge(registry: &Arc<Registry>, a: &Attrs, object: &Value, done: &[Arc<str>]) -> Result<Vec<Charge>, Status> {
    let mut out = Vec::new();
    let updated = matches!(a.resource.plural.as_str(), "pods" | "services" | "persistentvolumeclaims");
    let about = a.subresource.is_empty() || a.subresource == "resize";
    let counted = match a.operation {
        Operation::Create => a.subresource.is_empty(),
        Operation::Update => updated && about,
        Operation::Delete => false,
    };
    let Some(r) = kinds::by_path("", "v1", "resourcequotas") else { return Ok(out) };
    let list = registry.cache(r).map(|c| c.list(&r.key_prefix(a.namespace))).unwrap_or_default();
    if !counted || a.namespace.is_empty() || list.is_empty() {
        return Ok(out);
    }
    let usage = added(a, object);
    let kind = quota::name_of(&a.resource.group, &a.resource.plural);
    for stored in list.into_iter().filter(|q| !done.contains(&q.key)) {
        let q = crate::registry::encode::tree(&stored.text());
        let status = q.at(f::status);
        let hard = status.at(f::hard);
        if hard.is_zero() || !quota::concerns(q.at(f::spec), &kind, object) {
            continue;
        }
        let name = q.at(f::metadata).at(f::name).str();
        if a.is("pods")
            && let Some(missing) = quota::unsaid(hard, object.at(f::spec))
        {
            return Err(a.forbid(format!("failed quota: {name}: must specify {missing}")));
        }
        let mine: Vec<(&String, Quantity)> =
            usage.iter().filter(|(k, _)| hard.has(k.as_str())).map(|(k, q)| (k, *q)).collect();
        if mine.is_empty() {
            continue;
        }
        let mut new = q.clone();
        let mut over: Vec<[String; 3]> = Vec::new();
        for (key, more) in mine {
            let read = |list: &Value| Quantity::parse(list.at(key.as_str()).str()).unwrap_or(Quantity::from_int(0));
            let (used, limit) = (read(status.at(f::used)), read(hard));
            let sum = used.plus(more);
            if sum > limit {
                over.push([format!("{key}={more}"), format!("{key}={used}"), format!("{key}={limit}")]);
            }
            new.entry(f::status).entry(f::used).set(key.as_str(), sum.to_string());
        }
        if !over.is_empty() {
            let [requested, used, limited] =
                [0, 1, 2].map(|i| over.iter().map(|o| o[i].clone()).collect::<Vec<_>>().join(","));
            return Err(
                a.forbid(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
            );
        }
        out.push(counted_more(registry, r, &q, new, &stored));
    }
    Ok(out)
}

fn counted_more(
    registry: &Arc<Registry>,
    r: &'static kinds::Resource,
    old: &Value,
    mut new: Value,
    stored: &cache::Object,
) -> Charge {
    const SERVER: &str = "kube-apiserver";
    let user = User { name: SERVER.into(), ..User::default() };
    let cx = Context { user, field_manager: SERVER.into(), ..Context::default() };
    registry.own(&cx, r, old, &mut new, false, Part::Status);
    let (text, rv_at) = registry.stored_text(&mut new, r);
    let expect = Expectation { key: stored.key.clone(), state: Expected::Revision(Revision(stored.revision)) };
    (expect, registry.put(r, stored.key.to_string(), text, rv_at))
}
