//! `rollout status|history|undo|restart|pause|resume`.

use super::delete::time_limit;
use super::get::all_failures;
use crate::Ctx;
use crate::core::rollout::{self, REVISION};
use crate::core::table::tabbed;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, complete, targets};
use crate::out;
use crate::session::{JSON_PATCH, STRATEGIC};
use crate::watching::Watching;
use api::Value;
use api::value::object;
use platform::time::timeout;

async fn each(ctx: &Ctx) -> Outcome<Vec<Target>> {
    if ctx.given.args.is_empty() && !ctx.given.has("filename") {
        return Err(Failure::error("required resource not specified"));
    }
    targets(ctx, &ctx.given.args).await
}

async fn read(ctx: &Ctx, target: &Target) -> Outcome<Value> {
    Ok(complete(&target.resource, ctx.session.get(&target.path()).await?))
}

/// `rollout status`.
pub async fn status(ctx: &Ctx) -> Outcome {
    let limit = time_limit(ctx.given.text("timeout"))?;
    for target in each(ctx).await? {
        let follow = timeout(limit, follow(ctx, &target)).await;
        follow.unwrap_or_else(|_| Err(Failure::error("timed out waiting for the condition")))?;
    }
    Ok(())
}

async fn follow(ctx: &Ctx, target: &Target) -> Outcome {
    let mut watching = Watching::new(ctx, target);
    let mut last = String::new();
    let mut seen = false;
    loop {
        let Some(object) = watching.next().await? else {
            if seen {
                return Err(Failure::error("object has been deleted"));
            }
            read(ctx, target).await?; // says that it is not there
            continue;
        };
        seen = true;
        let object = complete(&target.resource, object);
        let (text, done) = rollout::status(&object, ctx.given.int("revision")).map_err(Failure::error)?;
        if text != last {
            out::print(&text);
            last = text;
        }
        if done || !ctx.given.on("watch") {
            return Ok(());
        }
    }
}

/// The objects that keep the history of `target`.
async fn keepers(ctx: &Ctx, target: &Target) -> Outcome<Vec<Value>> {
    let word = match target.resource.kind.as_str() {
        "Deployment" => "replicasets.apps",
        "DaemonSet" | "StatefulSet" => "controllerrevisions.apps",
        _ => {
            return Err(Failure::error(format!(
                "no history viewer has been implemented for {:?}",
                target.resource.kind
            )));
        }
    };
    let resource = ctx.session.resource(word).await?;
    let mut list = ctx.session.get(&resource.path(&target.namespace, "")).await?;
    Ok(std::mem::take(list.entry("items").make_list()))
}

/// The pod template of a revision.
fn template(revision: &Value) -> Value {
    if revision.has("data") {
        let mut template = revision.at("data").at("spec").at("template").clone();
        template.remove("$patch");
        return template;
    }
    let mut template = revision.at("spec").at("template").clone();
    if let Some(labels) = template.get_mut("metadata").and_then(|m| m.get_mut("labels")) {
        labels.remove("pod-template-hash");
    }
    template
}

/// `rollout history`.
pub async fn history(ctx: &Ctx) -> Outcome {
    for target in each(ctx).await? {
        let owner = read(ctx, &target).await?;
        let objects = keepers(ctx, &target).await?;
        let revisions = rollout::revisions(&owner, &objects);
        let wanted = ctx.given.int("revision");
        if wanted == 0 {
            out::print(&format!("{} \n{}\n", target.label(), rollout::history(&revisions)));
            continue;
        }
        let found = revisions.iter().find(|(n, _)| *n == wanted);
        let (number, revision) =
            found.ok_or_else(|| Failure::error(format!("unable to find the specified revision {wanted}")))?;
        let text = crate::core::describe::pod_template(&template(revision));
        out::print(&format!("{} with revision #{number}\n{}\n", target.label(), tabbed(&text, 2)));
    }
    Ok(())
}

/// `rollout undo`.
pub async fn undo(ctx: &Ctx) -> Outcome {
    for target in each(ctx).await? {
        let owner = read(ctx, &target).await?;
        if owner.at("spec").at("paused").is_true() {
            return Err(Failure::error(
                "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
            ));
        }
        let objects = keepers(ctx, &target).await?;
        let revisions = rollout::revisions(&owner, &objects);
        let kind = target.resource.kind.to_lowercase();
        let (number, revision) =
            rollout::target(&revisions, ctx.given.int("to-revision"), &kind, &target.name).map_err(Failure::error)?;
        let template = template(revision);
        if &template == owner.at("spec").at("template") {
            out::line(&format!(
                "{} skipped rollback (current template already matches revision {number})",
                target.label()
            ));
            continue;
        }
        let mut patch = vec![object([
            ("op", Value::from("replace")),
            ("path", Value::from("/spec/template")),
            ("value", template),
        ])];
        if target.resource.kind == "Deployment" {
            // The old ReplicaSet's annotations come back with it, but for those that describe the ReplicaSet itself.
            let skip = [
                REVISION,
                "deployment.kubernetes.io/revision-history",
                "deployment.kubernetes.io/desired-replicas",
                "deployment.kubernetes.io/max-replicas",
                crate::core::merge::LAST_APPLIED,
            ];
            let mut annotations = Value::object();
            for name in skip {
                if let Some(own) = owner.at("metadata").at("annotations").get(name) {
                    annotations.set(name, own.clone());
                }
            }
            for (name, value) in revision.at("metadata").at("annotations").members() {
                if !skip.contains(&name.as_str()) {
                    annotations.set(name, value.clone());
                }
            }
            patch.push(object([
                ("op", Value::from("replace")),
                ("path", Value::from("/metadata/annotations")),
                ("value", annotations),
            ]));
        }
        ctx.session.patch(&target.path(), JSON_PATCH, &Value::List(patch)).await?;
        out::line(&format!("{} rolled back", target.label()));
    }
    Ok(())
}

async fn patch_each(ctx: &Ctx, done: &str, plan: impl Fn(&Target, &Value) -> Result<Value, String>) -> Outcome {
    let mut failures = Vec::new();
    for target in each(ctx).await? {
        let result = async {
            let now = read(ctx, &target).await?;
            let patch = plan(&target, &now).map_err(Failure::error)?;
            ctx.session.patch(&target.path(), STRATEGIC, &patch).await
        };
        match result.await {
            Ok(_) => out::line(&format!("{} {done}", target.label())),
            Err(failure) => failures.push(failure),
        }
    }
    all_failures(failures)
}

/// `rollout restart`.
pub async fn restart(ctx: &Ctx) -> Outcome {
    let now = api::time::format_seconds(ctx.session.env.wall().unix_seconds());
    patch_each(ctx, "restarted", |target, current| {
        if current.at("spec").at("paused").is_true() {
            return Err(format!(
                "can't restart paused {} (run rollout resume first)",
                target.resource.kind.to_lowercase()
            ));
        }
        if !current.at("spec").has("template") {
            return Err(format!("{} {:?} restarting is not supported", target.resource.qualified(), target.name));
        }
        let annotation = object([("kubectl.kubernetes.io/restartedAt", Value::from(now.as_str()))]);
        Ok(object([("spec", object([("template", object([("metadata", object([("annotations", annotation)]))]))]))]))
    })
    .await
}

/// `rollout pause` and `rollout resume`.
pub async fn pause(ctx: &Ctx, paused: bool) -> Outcome {
    let done = if paused { "paused" } else { "resumed" };
    patch_each(ctx, done, |target, current| {
        let name = format!("{} {:?}", target.resource.qualified(), target.name);
        if target.resource.kind != "Deployment" {
            return Err(format!("{name} {} is not supported", if paused { "pausing" } else { "resuming" }));
        }
        match (paused, current.at("spec").at("paused").is_true()) {
            (true, true) => Err(format!("{name} is already paused")),
            (false, false) => Err(format!("{name} is not paused")),
            (true, false) => Ok(object([("spec", object([("paused", Value::from(true))]))])),
            (false, true) => Ok(object([("spec", object([("paused", Value::Null)]))])),
        }
    })
    .await
}
