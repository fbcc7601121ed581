//! `apply`, `create -f` and `replace`: what manifests say becomes what the server has.

use super::get::all_failures;
use crate::Ctx;
use crate::core::merge::{LAST_APPLIED, three_way, with_memory};
use crate::core::printer;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, file_targets};
use crate::out;
use crate::session::{APPLY, Body, MERGE, STRATEGIC};
use api::Value;
use api::schema::Type;
use http::Method;

/// What `--dry-run` says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum DryRun {
    /// Do it.
    No,
    /// Only show.
    Client,
    /// Let the server try.
    Server,
}

impl DryRun {
    /// Reads the flag.
    pub fn of(ctx: &Ctx) -> Outcome<DryRun> {
        match ctx.given.text("dry-run") {
            "" | "none" | "false" => Ok(DryRun::No),
            "client" | "true" => Ok(DryRun::Client),
            "server" => Ok(DryRun::Server),
            "unchanged" => Err(Failure::error(
                "--dry-run flag without a value was specified. A value must be set: \"none\", \"server\", or \"client\".",
            )),
            other => Err(Failure::error(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// What is said after the verb.
    pub fn note(self) -> &'static str {
        match self {
            DryRun::No => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

/// The query of a write.
pub fn write_query(ctx: &Ctx, manager: &str, dry: DryRun) -> Vec<(&'static str, String)> {
    let flag = ctx.given.text("field-manager");
    let mut query = vec![("fieldManager", if flag.is_empty() { manager.to_string() } else { flag.to_string() })];
    match ctx.given.text("validate") {
        "" => {}
        "true" | "strict" => query.push(("fieldValidation", "Strict".into())),
        "warn" => query.push(("fieldValidation", "Warn".into())),
        _ => query.push(("fieldValidation", "Ignore".into())),
    }
    if dry == DryRun::Server {
        query.push(("dryRun", "All".into()));
    }
    query
}

/// Says what was done with an object, in the form that `-o` asks for.
pub fn report(ctx: &Ctx, target: &Target, object: &Value, done: &str, dry: DryRun) -> Outcome {
    let text = ctx.given.text("output");
    if text.is_empty() {
        out::line(&format!("{} {done}{}", target.label(), dry.note()));
        return Ok(());
    }
    let form = out::form(text, false)?;
    let mut object = object.clone();
    if !ctx.given.on("show-managed-fields") {
        printer::tidy(&mut object);
    }
    out::print(&printer::print(&form, &[(Some(target.resource.clone()), object)], false).map_err(Failure::error)?);
    Ok(())
}

/// Runs `apply`.
pub async fn apply(ctx: &Ctx) -> Outcome {
    if !ctx.given.has("filename") {
        return Err(Failure::error("must specify one of -f and -k"));
    }
    let dry = DryRun::of(ctx)?;
    let targets = file_targets(ctx).await?;
    if targets.is_empty() {
        return Err(Failure::error("no objects passed to apply"));
    }
    let mut failures = Vec::new();
    for (target, source) in &targets {
        let result = if ctx.given.on("server-side") {
            server_side(ctx, target, dry).await
        } else {
            client_side(ctx, target, source, dry).await
        };
        if let Err(failure) = result {
            failures.push(failure);
        }
    }
    all_failures(failures)
}

fn manifest(target: &Target) -> Value {
    let mut object = target.object.clone().unwrap_or_default();
    if !target.namespace.is_empty() {
        object.entry("metadata").set("namespace", target.namespace.as_str());
    }
    object
}

async fn server_side(ctx: &Ctx, target: &Target, dry: DryRun) -> Outcome {
    if dry == DryRun::Client {
        return Err(Failure::error(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ));
    }
    let mut query = write_query(ctx, "kubectl", dry);
    query.push(("force", ctx.given.on("force-conflicts").to_string()));
    let uri = client::with_query(&target.path(), &query);
    let answer = ctx.session.patch(&uri, APPLY, &manifest(target)).await.map_err(explain_conflict)?;
    report(ctx, target, &answer, "serverside-applied", dry)
}

fn explain_conflict(mut failure: Failure) -> Failure {
    if failure.is_conflict() {
        let message = failure.text.strip_prefix("Error from server (Conflict): ").unwrap_or(&failure.text);
        failure.text = format!(
            "error: {message}\nPlease review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field (remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"
        );
    }
    failure
}

async fn client_side(ctx: &Ctx, target: &Target, source: &str, dry: DryRun) -> Outcome {
    if target.name.is_empty() {
        let shown =
            target.object.as_ref().map(|o| o.at("metadata").at("generateName").str().to_string()).unwrap_or_default();
        return Err(Failure::error(format!("from {shown}: cannot use generate name with apply")));
    }
    let modified = with_memory(&manifest(target));
    let current = match ctx.session.get(&target.path()).await {
        Ok(current) => current,
        Err(failure) if failure.is_not_found() => {
            let created = if dry == DryRun::Client {
                modified
            } else {
                post(ctx, target, &modified, "kubectl-client-side-apply", dry)
                    .await
                    .map_err(|f| f.while_doing(&format!("error when creating {source:?}")))?
            };
            return report(ctx, target, &created, "created", dry);
        }
        Err(failure) => {
            return Err(failure.while_doing(&format!("error when retrieving current configuration of {source:?}")));
        }
    };
    let memory = current.at("metadata").at("annotations").at(LAST_APPLIED).str().to_string();
    if memory.is_empty() && dry != DryRun::Client {
        eprintln!(
            "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
            target.resource.plural, target.name
        );
    }
    let original = api::json::parse(memory.as_bytes()).unwrap_or_else(|_| Value::object());
    let ty = Type::of_kind(&target.resource.group, &target.resource.version, &target.resource.kind);
    let patch = three_way(&original, &modified, &current, ty);
    if patch.as_map().is_some_and(api::Map::is_empty) {
        return report(ctx, target, &current, "unchanged", dry);
    }
    if dry == DryRun::Client {
        return report(ctx, target, &modified, "configured", dry);
    }
    let uri = client::with_query(&target.path(), &write_query(ctx, "kubectl-client-side-apply", dry));
    let media_type = if ty.is_some() { STRATEGIC } else { MERGE };
    match ctx.session.patch(&uri, media_type, &patch).await {
        Ok(answer) => {
            let same = answer.at("metadata").at("resourceVersion") == current.at("metadata").at("resourceVersion");
            report(ctx, target, &answer, if same && dry == DryRun::No { "unchanged" } else { "configured" }, dry)
        }
        Err(failure) if ctx.given.on("force") && (failure.is_conflict() || failure.reason == Some(client::Reason::Invalid)) => {
            replace_by_force(ctx, target, &modified, dry).await
        }
        Err(failure) => Err(failure.while_doing(&format!(
            "error when applying patch:\n{}\nto:\nResource: {:?}, GroupVersionKind: \"{}, Kind={}\"\nName: {:?}, Namespace: {:?}\nfor: {source:?}",
            api::json::to_string(&patch),
            format!("{}/{}, Resource={}", target.resource.group, target.resource.version, target.resource.plural).trim_start_matches('/'),
            target.resource.api_version(),
            target.resource.kind,
            target.name,
            target.namespace,
        ))),
    }
}

async fn replace_by_force(ctx: &Ctx, target: &Target, object: &Value, dry: DryRun) -> Outcome {
    super::delete::delete_and_wait(ctx, target).await?;
    let created = post(ctx, target, object, "kubectl-client-side-apply", dry).await?;
    report(ctx, target, &created, "configured", dry)
}

/// POSTs an object.
pub async fn post(ctx: &Ctx, target: &Target, object: &Value, manager: &str, dry: DryRun) -> Outcome<Value> {
    let uri = client::with_query(&target.resource.path(&target.namespace, ""), &write_query(ctx, manager, dry));
    ctx.session.call(Method::POST, &uri, "application/json", Body::json(object)).await
}

/// Runs `create -f`.
pub async fn create_files(ctx: &Ctx) -> Outcome {
    if !ctx.given.has("filename") {
        return Err(Failure::error("must specify one of -f and -k"));
    }
    let dry = DryRun::of(ctx)?;
    let targets = file_targets(ctx).await?;
    if targets.is_empty() {
        return Err(Failure::error("no objects passed to create"));
    }
    let mut failures = Vec::new();
    for (mut target, source) in targets {
        let object = manifest(&target);
        let object = if ctx.given.on("save-config") { with_memory(&object) } else { object };
        let result =
            if dry == DryRun::Client { Ok(object) } else { post(ctx, &target, &object, "kubectl-create", dry).await };
        match result {
            Ok(created) => {
                target.name = created.at("metadata").at("name").str().to_string();
                report(ctx, &target, &created, "created", dry)?;
            }
            Err(failure) => failures.push(failure.while_doing(&format!("error when creating {source:?}"))),
        }
    }
    all_failures(failures)
}

/// Runs `replace -f`.
pub async fn replace(ctx: &Ctx) -> Outcome {
    let dry = DryRun::of(ctx)?;
    let targets = file_targets(ctx).await?;
    if targets.is_empty() {
        return Err(Failure::error("no objects passed to replace"));
    }
    let mut failures = Vec::new();
    for (target, source) in &targets {
        let object = manifest(target);
        let result = if ctx.given.on("force") {
            super::delete::delete_and_wait(ctx, target).await?;
            post(ctx, target, &object, "kubectl-replace", dry).await
        } else {
            let uri = client::with_query(&target.path(), &write_query(ctx, "kubectl-replace", dry));
            ctx.session.call(Method::PUT, &uri, "application/json", Body::json(&object)).await
        };
        match result {
            Ok(replaced) => report(ctx, target, &replaced, "replaced", dry)?,
            Err(failure) => failures.push(failure.while_doing(&format!("error when replacing {source:?}"))),
        }
    }
    all_failures(failures)
}
