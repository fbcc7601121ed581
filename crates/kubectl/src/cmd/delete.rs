//! `delete`: and waiting until what was deleted is gone.

use super::apply::DryRun;
use super::get::all_failures;
use crate::Ctx;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, targets};
use crate::out;
use crate::session::Body;
use crate::watching::Watching;
use api::Value;
use http::Method;
use platform::time::{Duration, timeout};

/// Runs `delete`.
pub async fn run(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let dry = DryRun::of(ctx)?;
    if given.args.is_empty() && !given.has("filename") && !given.has("raw") {
        return Err(Failure::error(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
        ));
    }
    let found = targets(ctx, &given.args).await?;
    if found.is_empty() {
        out::line("No resources found");
        return Ok(());
    }
    if given.on("now") && given.has("grace-period") {
        return Err(Failure::error("--now and --grace-period cannot be specified together"));
    }
    let grace = grace_period(ctx)?;
    if given.on("force") {
        eprintln!(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
        );
    }
    let mut failures = Vec::new();
    let mut waiting: Vec<(Target, String)> = Vec::new();
    for target in found {
        match delete_one(ctx, &target, grace, dry).await {
            Ok(uid) => {
                say(ctx, &target, dry);
                waiting.push((target, uid));
            }
            Err(failure) if failure.is_not_found() && (given.on("ignore-not-found") || given.on("all")) => {}
            Err(failure) => match given.list("filename").first() {
                Some(file) => failures.push(failure.while_doing(&format!("error when deleting {file:?}"))),
                None => failures.push(failure),
            },
        }
    }
    if given.on("wait") && dry == DryRun::No {
        wait_until_gone(ctx, &waiting, time_limit(given.text("timeout"))?).await?;
    }
    all_failures(failures)
}

fn say(ctx: &Ctx, target: &Target, dry: DryRun) {
    if ctx.given.text("output") == "name" {
        return out::line(&target.label());
    }
    let verb = if ctx.given.on("force") && ctx.given.int("grace-period") <= 0 { "force deleted" } else { "deleted" };
    let place =
        if target.namespace.is_empty() { String::new() } else { format!(" from {} namespace", target.namespace) };
    out::line(&format!("{} {:?} {verb}{place}{}", target.resource.label(), target.name, dry.note()));
}

fn grace_period(ctx: &Ctx) -> Outcome<Option<i64>> {
    let given = &ctx.given;
    if given.on("now") {
        return Ok(Some(1));
    }
    match given.int("grace-period") {
        -1 if given.on("force") => Ok(Some(0)),
        n if n < 0 => Ok(None),
        0 if !given.on("force") => {
            // Without --force, zero means as soon as the kubelet has confirmed.
            Ok(Some(1))
        }
        n if n > 0 && given.on("force") => {
            Err(Failure::error("--force and --grace-period greater than 0 cannot be specified together"))
        }
        n => Ok(Some(n)),
    }
}

async fn delete_one(ctx: &Ctx, target: &Target, grace: Option<i64>, dry: DryRun) -> Outcome<String> {
    if dry == DryRun::Client {
        return Ok(String::new());
    }
    let propagation = match ctx.given.text("cascade") {
        "orphan" | "false" => "Orphan",
        "foreground" => "Foreground",
        _ => "Background",
    };
    let mut options = api::value::object([
        ("kind", Value::from("DeleteOptions")),
        ("apiVersion", Value::from("v1")),
        ("propagationPolicy", Value::from(propagation)),
    ]);
    if let Some(grace) = grace {
        options.set("gracePeriodSeconds", grace);
    }
    if dry == DryRun::Server {
        options.set("dryRun", Value::List(vec![Value::from("All")]));
    }
    let answer = ctx.session.call(Method::DELETE, &target.path(), "application/json", Body::json(&options)).await?;
    // An object that is still there, or a Status that names what went.
    let uid = answer.at("metadata").at("uid").str();
    Ok(if uid.is_empty() { answer.at("details").at("uid").str().to_string() } else { uid.to_string() })
}

/// `--timeout`: zero is a week, as upstream has it.
pub fn time_limit(text: &str) -> Outcome<Duration> {
    let nanos = if text.is_empty() || text == "0" { Some(0) } else { api::time::parse_duration(text) };
    match nanos {
        Some(0) => Ok(Duration::from_secs(168 * 3600)),
        Some(n) if n < 0 => Ok(Duration::from_secs(168 * 3600)),
        Some(n) => Ok(Duration::from_nanos(n.unsigned_abs())),
        None => Err(Failure::error(format!(
            "invalid argument {text:?} for \"--timeout\" flag: time: invalid duration {text:?}"
        ))),
    }
}

async fn wait_until_gone(ctx: &Ctx, waiting: &[(Target, String)], limit: Duration) -> Outcome {
    for (target, uid) in waiting {
        let gone = timeout(limit, gone(ctx, target, uid)).await;
        gone.unwrap_or_else(|_| {
            Err(Failure::error(format!("timed out waiting for the condition on {}", target.plural_label())))
        })?;
    }
    Ok(())
}

impl Target {
    /// `pods/x`.
    pub fn plural_label(&self) -> String {
        format!("{}/{}", self.resource.qualified(), self.name)
    }
}

/// Returns when the object with this uid is not there any more.
pub async fn gone(ctx: &Ctx, target: &Target, uid: &str) -> Outcome {
    let mut watching = Watching::new(ctx, target);
    while let Some(object) = watching.next().await? {
        if !uid.is_empty() && object.at("metadata").at("uid").str() != uid {
            return Ok(());
        }
    }
    Ok(())
}

/// Deletes an object if it is there and waits until it is gone.
pub async fn delete_and_wait(ctx: &Ctx, target: &Target) -> Outcome {
    match delete_one(ctx, target, None, DryRun::No).await {
        Ok(uid) => gone(ctx, target, &uid).await,
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => Err(failure),
    }
}
