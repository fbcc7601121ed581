//! Small changes: `scale`, `label`, `annotate`, `patch`, `cordon`, `uncordon`, and `wait`.

use super::apply::{DryRun, report, write_query};
use super::delete::time_limit;
use super::get::all_failures;
use crate::Ctx;
use crate::core::condition::Goal;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, complete, targets};
use crate::out;
use crate::session::{JSON_PATCH, MERGE, STRATEGIC};
use crate::watching::Watching;
use api::Value;
use api::value::object;
use platform::time::timeout;

/// `scale`.
pub async fn scale(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    if !given.has("replicas") {
        return Err(Failure::error("required flag(s) \"replicas\" not set"));
    }
    if given.int("replicas") < 0 {
        return Err(Failure::error(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    let dry = DryRun::of(ctx)?;
    let mut failures = Vec::new();
    for target in targets(ctx, &given.args).await? {
        match scale_one(ctx, &target, dry).await {
            Ok(scaled) => report(ctx, &target, &scaled, "scaled", dry)?,
            Err(failure) => failures.push(failure),
        }
    }
    all_failures(failures)
}

async fn scale_one(ctx: &Ctx, target: &Target, dry: DryRun) -> Outcome<Value> {
    let uri = format!("{}/scale", target.path());
    let wanted = object([("replicas", Value::from(ctx.given.int("replicas")))]);
    let mut patch = object([("spec", wanted)]);
    if ctx.given.has("current-replicas") || ctx.given.has("resource-version") {
        let now = ctx.session.get(&uri).await?;
        let (replicas, revision) =
            (now.at("spec").at("replicas").int(), now.at("metadata").at("resourceVersion").str());
        if ctx.given.has("current-replicas") && replicas != ctx.given.int("current-replicas") {
            return Err(Failure::error(format!(
                "Expected replicas to be {}, was {replicas}",
                ctx.given.int("current-replicas")
            )));
        }
        if ctx.given.has("resource-version") && revision != ctx.given.text("resource-version") {
            return Err(Failure::error(format!(
                "Expected resource version to be {}, was {revision}",
                ctx.given.text("resource-version")
            )));
        }
        patch.set("metadata", object([("resourceVersion", Value::from(revision))]));
    }
    if dry == DryRun::Client {
        return Ok(Value::object());
    }
    let query: Vec<_> = if dry == DryRun::Server { vec![("dryRun", "All".to_string())] } else { vec![] };
    ctx.session.patch(&client::with_query(&uri, &query), MERGE, &patch).await
}

/// `label` and `annotate`: which arguments are changes, and which are targets.
fn split_changes(args: &[String]) -> (Vec<String>, Vec<String>) {
    let is_change = |a: &&String| a.contains('=') || (a.ends_with('-') && a.len() > 1);
    let at = args.iter().position(|a| is_change(&a)).unwrap_or(args.len());
    (args[..at].to_vec(), args[at..].to_vec())
}

/// `label` (`annotations` false) and `annotate`.
pub async fn label(ctx: &Ctx, annotations: bool) -> Outcome {
    let (field, noun, done, undone) = if annotations {
        ("annotations", "annotation", "annotated", "annotated")
    } else {
        ("labels", "label", "labeled", "unlabeled")
    };
    let (place, changes) = split_changes(&ctx.given.args);
    if changes.is_empty() && !ctx.given.on("list") {
        return Err(Failure::error(format!("at least one {noun} update is required")));
    }
    let dry = DryRun::of(ctx)?;
    let mut failures = Vec::new();
    for target in targets(ctx, &place).await? {
        match label_one(ctx, &target, field, &changes, dry).await {
            Ok((changed, removed, answer)) => {
                let text = match (changed, removed) {
                    (false, _) => format!("not {done}"),
                    (true, true) => undone.to_string(),
                    (true, false) => done.to_string(),
                };
                report(ctx, &target, &answer, &text, dry)?;
            }
            Err(failure) => failures.push(failure),
        }
    }
    all_failures(failures)
}

async fn label_one(
    ctx: &Ctx,
    target: &Target,
    field: &str,
    changes: &[String],
    dry: DryRun,
) -> Outcome<(bool, bool, Value)> {
    let current = complete(&target.resource, ctx.session.get(&target.path()).await?);
    let now = current.at("metadata").at(field);
    let mut patch = Value::object();
    let mut removed = false;
    let mut set = false;
    for change in changes {
        if let Some((name, value)) = change.split_once('=') {
            let old = now.get(name).map(Value::str);
            if old.is_some_and(|old| old != value) && !ctx.given.on("overwrite") {
                let noun = if field == "labels" { "'" } else { "" };
                return Err(Failure::error(if field == "labels" {
                    format!("{noun}{name}' already has a value ({}), and --overwrite is false", old.unwrap_or_default())
                } else {
                    format!(
                        "--overwrite is false but found the following declared annotation(s): '{name}' already has a value ({})",
                        old.unwrap_or_default()
                    )
                }));
            }
            if old != Some(value) {
                patch.set(name, value);
                set = true;
            }
        } else {
            let name = change.trim_end_matches('-');
            if now.has(name) {
                patch.set(name, Value::Null);
                removed = true;
            } else {
                out::line(&format!("{} {name:?} not found.", if field == "labels" { "label" } else { "annotation" }));
            }
        }
    }
    if !set && !removed || dry == DryRun::Client {
        return Ok((set || removed, removed && !set, current));
    }
    let mut metadata = object([(field, patch)]);
    if ctx.given.has("resource-version") {
        metadata.set("resourceVersion", ctx.given.text("resource-version"));
    }
    let manager = if field == "labels" { "kubectl-label" } else { "kubectl-annotate" };
    let uri = client::with_query(&target.path(), &write_query(ctx, manager, dry));
    let answer = ctx.session.patch(&uri, MERGE, &object([("metadata", metadata)])).await?;
    Ok((true, removed && !set, answer))
}

/// `patch`.
pub async fn patch(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let text = match (given.text("patch"), given.text("patch-file")) {
        ("", "") => {
            return Err(Failure::error("must specify --patch or --patch-file containing the contents of the patch"));
        }
        ("", file) => {
            std::fs::read_to_string(file).map_err(|e| Failure::error(format!("unable to read patch file: {e}")))?
        }
        (text, _) => text.to_string(),
    };
    let patch = api::yaml::parse(&text).map_err(|e| Failure::error(format!("unable to parse {text:?}: {e}")))?;
    let media_type = match given.text("type") {
        "strategic" => STRATEGIC,
        "merge" => MERGE,
        "json" => JSON_PATCH,
        other => return Err(Failure::error(format!("--type must be one of [json merge strategic], not {other:?}"))),
    };
    let dry = DryRun::of(ctx)?;
    let mut failures = Vec::new();
    for target in targets(ctx, &given.args).await? {
        let mut path = target.path();
        let subresource = given.text("subresource");
        if !subresource.is_empty() {
            path = format!("{path}/{subresource}");
        }
        let result = async {
            let before = ctx.session.get(&path).await?;
            if dry == DryRun::Client {
                return Ok((before, true));
            }
            let uri = client::with_query(&path, &write_query(ctx, "kubectl-patch", dry));
            let after = ctx.session.patch(&uri, media_type, &patch).await?;
            let changed = before.at("metadata").at("resourceVersion") != after.at("metadata").at("resourceVersion");
            Ok((after, changed || dry == DryRun::Server))
        };
        match result.await {
            Ok((after, changed)) => {
                report(ctx, &target, &after, if changed { "patched" } else { "patched (no change)" }, dry)?
            }
            Err(failure) => failures.push(failure),
        }
    }
    all_failures(failures)
}

/// `cordon` and `uncordon`.
pub async fn cordon(ctx: &Ctx, on: bool) -> Outcome {
    let dry = DryRun::of(ctx)?;
    if ctx.given.args.is_empty() && ctx.given.text("selector").is_empty() {
        return Err(Failure::error(format!("USAGE: {} NODE [flags]", if on { "cordon" } else { "uncordon" })));
    }
    let mut args = vec!["nodes".to_string()];
    args.extend(ctx.given.args.iter().map(|a| a.trim_start_matches("node/").trim_start_matches("nodes/").to_string()));
    for target in targets(ctx, &args).await? {
        cordon_one(ctx, &target, on, dry).await?;
    }
    Ok(())
}

/// Cordons or uncordons one node.
pub async fn cordon_one(ctx: &Ctx, target: &Target, on: bool, dry: DryRun) -> Outcome {
    let now = ctx.session.get(&target.path()).await?;
    let done = if on { "cordoned" } else { "uncordoned" };
    if now.at("spec").at("unschedulable").is_true() == on {
        out::line(&format!("{} already {done}{}", target.label(), dry.note()));
        return Ok(());
    }
    if dry != DryRun::Client {
        let value = if on { Value::from(true) } else { Value::Null };
        let uri = client::with_query(&target.path(), &write_query(ctx, "kubectl-cordon", dry));
        ctx.session.patch(&uri, STRATEGIC, &object([("spec", object([("unschedulable", value)]))])).await?;
    }
    out::line(&format!("{} {done}{}", target.label(), dry.note()));
    Ok(())
}

/// `wait`.
pub async fn wait(ctx: &Ctx) -> Outcome {
    let goal = ctx.given.text("for");
    if goal.is_empty() {
        return Err(Failure::error("condition is required"));
    }
    let goal = Goal::parse(goal).map_err(Failure::error)?;
    let limit = time_limit(ctx.given.text("timeout"))?;
    let found = targets(ctx, &ctx.given.args).await?;
    if found.is_empty() {
        return if matches!(goal, Goal::Gone) { Ok(()) } else { Err(Failure::error("no matching resources found")) };
    }
    let mut failures = Vec::new();
    let started = ctx.session.env.now();
    for target in found {
        let left = limit.saturating_sub(started.elapsed());
        let result = timeout(left, reach(ctx, &target, &goal)).await;
        match result.unwrap_or_else(|_| {
            Err(Failure::error(format!(
                "timed out waiting for the condition on {}/{}",
                target.resource.plural, target.name
            )))
        }) {
            Ok(true) => out::line(&format!("{} condition met", target.label())),
            Ok(false) => {}
            Err(failure) => failures.push(failure),
        }
    }
    all_failures(failures)
}

/// Waits for the goal; `false` when there was nothing to wait for.
async fn reach(ctx: &Ctx, target: &Target, goal: &Goal) -> Outcome<bool> {
    let mut watching = Watching::new(ctx, target);
    let mut first = true;
    loop {
        let object = watching.next().await?;
        if goal.reached(object.as_ref()).map_err(Failure::error)? {
            return Ok(object.is_some() || !first);
        }
        if object.is_none() && first && !matches!(goal, Goal::There) {
            ctx.session.get(&target.path()).await?; // says that it is not there
        }
        first = false;
    }
}
