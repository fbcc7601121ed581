//! `create …`, `run`, `expose`: objects from flags.

use super::apply::{DryRun, post, report};
use super::exec::attach_to;
use crate::Ctx;
use crate::core::condition::Goal;
use crate::core::generate;
use crate::core::merge::with_memory;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, targets};
use crate::out;
use crate::session::Body;
use crate::watching::Watching;
use api::Value;
use api::schema::Type;
use api::value::object;
use http::Method;

async fn create(ctx: &Ctx, mut made: Value, manager: &str) -> Outcome<Target> {
    let dry = DryRun::of(ctx)?;
    let resource = ctx.session.resource_of(&made).await?;
    let name = made.at("metadata").at("name").str().to_string();
    let namespace = if resource.namespaced { ctx.session.namespace.clone() } else { String::new() };
    if resource.namespaced && (dry != DryRun::Client || ctx.session.namespace_given) {
        made.entry("metadata").set("namespace", namespace.as_str());
    }
    let made = if ctx.given.on("save-config") { with_memory(&made) } else { made };
    let mut target = Target { resource, namespace, name, object: None };
    let created = if dry == DryRun::Client {
        canonical(&target, made)
    } else {
        post(ctx, &target, &made, manager, dry).await.map_err(|f| failed(f, &target, manager))?
    };
    report(ctx, &target, &created, "created", dry)?;
    target.object = Some(created);
    Ok(target)
}

/// The form in which a typed client writes the object: fields that are always there are there.
fn canonical(target: &Target, mut object: Value) -> Value {
    if let Some(ty) = Type::of_kind(&target.resource.group, &target.resource.version, &target.resource.kind) {
        api::canon::canonicalize(&mut object, ty);
        object.set_default("apiVersion", target.resource.api_version().as_str());
        object.set_default("kind", target.resource.kind.as_str());
    }
    object
}

fn failed(mut failure: Failure, target: &Target, manager: &str) -> Failure {
    if manager == "kubectl-create"
        && let Some((_, text)) =
            failure.text.clone().strip_prefix("Error from server (").and_then(|t| t.split_once("): "))
    {
        failure.text = format!("error: failed to create {}: {text}", target.resource.kind.to_lowercase());
    }
    failure
}

fn name(ctx: &Ctx) -> Outcome<&str> {
    let before = ctx.given.dash.unwrap_or(ctx.given.args.len());
    match &ctx.given.args[..before] {
        [one] => Ok(one),
        [] => Err(Failure::error("exactly one NAME is required, got 0")),
        more => Err(Failure::error(format!("exactly one NAME is required, got {}", more.len()))),
    }
}

fn after_dash(ctx: &Ctx) -> &[String] {
    ctx.given.dash.map_or(&[], |d| &ctx.given.args[d..])
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// Files of `--from-file` (a file, `key=file`, or a directory's files) and lines of `--from-env-file`.
fn sources(ctx: &Ctx) -> Outcome<(Files, Vec<String>)> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|e| Failure::error(format!("error reading {}: {e}", path.display())))
    };
    let base = |path: &std::path::Path| path.file_name().map(|n| n.to_string_lossy().to_string()).unwrap_or_default();
    let mut files = Vec::new();
    for item in ctx.given.list("from-file") {
        let (key, path) = item.split_once('=').map_or((None, item.as_str()), |(k, p)| (Some(k), p));
        let path = std::path::Path::new(path);
        if path.is_dir() {
            let entries = std::fs::read_dir(path)
                .map_err(|e| Failure::error(format!("error listing files in {}: {e}", path.display())))?;
            let mut paths: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_file()).collect();
            paths.sort();
            for file in paths {
                files.push((base(&file), read(&file)?));
            }
        } else {
            files.push((key.map_or_else(|| base(path), str::to_string), read(path)?));
        }
    }
    let mut lines = ctx.given.list("from-literal").to_vec();
    for item in ctx.given.list("from-env-file") {
        let text = String::from_utf8_lossy(&read(std::path::Path::new(item))?).to_string();
        lines.extend(
            text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_string),
        );
    }
    Ok((files, lines))
}

/// `create KIND NAME …`.
pub async fn create_kind(ctx: &Ctx, kind: &str) -> Outcome {
    let given = &ctx.given;
    let manager = "kubectl-create";
    let made = match kind {
        "namespace" => Ok(generate::bare("v1", "Namespace", name(ctx)?)),
        "serviceaccount" => Ok(generate::bare("v1", "ServiceAccount", name(ctx)?)),
        "deployment" => generate::deployment(name(ctx)?, given, after_dash(ctx)),
        "configmap" | "secret generic" => {
            let (files, lines) = sources(ctx)?;
            generate::data(
                if kind == "configmap" { "ConfigMap" } else { "Secret" },
                name(ctx)?,
                &lines,
                &files,
                given.text("type"),
            )
        }
        "secret tls" => {
            let file = |flag: &str| {
                std::fs::read(given.text(flag)).map_err(|e| Failure::error(format!("{}: {e}", given.text(flag))))
            };
            let files = [("tls.crt".to_string(), file("cert")?), ("tls.key".to_string(), file("key")?)];
            generate::data("Secret", name(ctx)?, &[], &files, "kubernetes.io/tls")
        }
        "job" if given.has("from") => job_from(ctx).await,
        "job" | "cronjob" => generate::job(name(ctx)?, given, after_dash(ctx)),
        "role" | "clusterrole" => {
            let mut resources = Vec::new();
            for word in given.list("resource") {
                let (word, sub) =
                    word.split_once('/').map_or((word.as_str(), String::new()), |(w, s)| (w, format!("/{s}")));
                let resource = ctx.session.resource(word).await?;
                resources.push((resource.group, format!("{}{sub}", resource.plural)));
            }
            generate::role(if kind == "role" { "Role" } else { "ClusterRole" }, name(ctx)?, given, &resources)
        }
        "rolebinding" => generate::binding("RoleBinding", name(ctx)?, given),
        "clusterrolebinding" => generate::binding("ClusterRoleBinding", name(ctx)?, given),
        "token" => return token(ctx).await,
        service => generate::service(service.trim_start_matches("service "), name(ctx)?, given),
    };
    create(ctx, made.map_err(Failure::error)?, manager).await.map(|_| ())
}

async fn job_from(ctx: &Ctx) -> Result<Value, String> {
    let text = |f: Failure| f.text;
    let found = targets(ctx, &[ctx.given.text("from").to_string()]).await.map_err(text)?;
    let [cron] = found.as_slice() else { return Err("from must be an existing cronjob".into()) };
    let cron = ctx.session.get(&cron.path()).await.map_err(text)?;
    let template = cron.at("spec").at("jobTemplate");
    let mut made = generate::bare("batch/v1", "Job", name(ctx).map_err(text)?);
    let mut annotations = template.at("metadata").at("annotations").clone();
    annotations.make_map();
    annotations.set("cronjob.kubernetes.io/instantiate", "manual");
    made.entry("metadata").set("annotations", annotations);
    if let Some(labels) = template.at("metadata").get("labels") {
        made.entry("metadata").set("labels", labels.clone());
    }
    let owner = object([
        ("apiVersion", Value::from("batch/v1")),
        ("kind", Value::from("CronJob")),
        ("name", cron.at("metadata").at("name").clone()),
        ("uid", cron.at("metadata").at("uid").clone()),
    ]);
    made.entry("metadata").set("ownerReferences", Value::List(vec![owner]));
    made.set("spec", template.at("spec").clone());
    Ok(made)
}

async fn token(ctx: &Ctx) -> Outcome {
    let mut spec = Value::object();
    if ctx.given.has("duration") {
        let nanos =
            api::time::parse_duration(ctx.given.text("duration")).ok_or_else(|| Failure::error("invalid duration"))?;
        spec.set("expirationSeconds", nanos / 1_000_000_000);
    }
    if !ctx.given.list("audience").is_empty() {
        spec.set(
            "audiences",
            Value::List(ctx.given.list("audience").iter().map(|a| Value::from(a.as_str())).collect()),
        );
    }
    let request = object([
        ("apiVersion", Value::from("authentication.k8s.io/v1")),
        ("kind", Value::from("TokenRequest")),
        ("spec", spec),
    ]);
    let uri = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", ctx.session.namespace, name(ctx)?);
    let answer = ctx.session.call(Method::POST, &uri, "application/json", Body::json(&request)).await?;
    out::line(answer.at("status").at("token").str());
    Ok(())
}

/// `expose`.
pub async fn expose(ctx: &Ctx) -> Outcome {
    for target in targets(ctx, &ctx.given.args).await? {
        let owner = crate::files::complete(&target.resource, ctx.session.get(&target.path()).await?);
        let made = generate::expose(&owner, &ctx.given).map_err(Failure::error)?;
        let resource = ctx.session.resource_of(&made).await?;
        let dry = DryRun::of(ctx)?;
        let service = Target {
            name: made.at("metadata").at("name").str().to_string(),
            namespace: target.namespace.clone(),
            resource,
            object: None,
        };
        let mut made = made;
        made.entry("metadata").set("namespace", service.namespace.as_str());
        let created = if dry == DryRun::Client {
            canonical(&service, made)
        } else {
            post(ctx, &service, &made, "kubectl-expose", dry).await?
        };
        report(ctx, &service, &created, "exposed", dry)?;
    }
    Ok(())
}

/// `run`.
pub async fn run(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let Some((name, rest)) = given.args.split_first() else { return Err(Failure::error("NAME is required for run")) };
    let stdin = given.on("stdin");
    let attach = if given.has("attach") { given.on("attach") } else { stdin };
    if given.on("rm") && !attach {
        return Err(Failure::error("--rm should only be used for attached containers"));
    }
    let made = generate::pod(name, given, rest).map_err(Failure::error)?;
    if !attach || DryRun::of(ctx)? != DryRun::No {
        return create(ctx, made, "kubectl-run").await.map(|_| ());
    }
    let resource = ctx.session.resource_of(&made).await?;
    let target = Target { resource, namespace: ctx.session.namespace.clone(), name: name.clone(), object: None };
    post(ctx, &target, &made, "kubectl-run", DryRun::No).await?;
    let result = attached(ctx, &target, stdin, given.on("tty")).await;
    if given.on("rm") {
        super::delete::delete_and_wait(ctx, &target).await?;
        out::line(&format!("pod {name:?} deleted from {} namespace", target.namespace));
    }
    match result? {
        0 => Ok(()),
        code => Err(Failure::silent(u8::try_from(code).unwrap_or(255))),
    }
}

/// Waits until the pod runs, attaches or prints what it said, and answers its exit code.
async fn attached(ctx: &Ctx, target: &Target, stdin: bool, tty: bool) -> Outcome<i64> {
    let mut watching = Watching::new(ctx, target);
    let pod = loop {
        let Some(pod) = watching.next().await? else { return Err(Failure::error("the pod was deleted before it ran")) };
        if matches!(pod.at("status").at("phase").str(), "Running" | "Succeeded" | "Failed") {
            break pod;
        }
    };
    let logs = || format!("{}/log", target.path());
    if pod.at("status").at("phase").str() == "Running" {
        let before = out::printed();
        let attached = attach_to(ctx, &pod, stdin, tty).await;
        if let Err(failure) = &attached {
            eprintln!(
                "warning: couldn't attach to pod/{}, falling back to streaming logs: {}",
                target.name, failure.text
            );
        }
        if attached.is_err() || out::printed() == before {
            // It was over before we were there: what it said is in its log.
            out::bytes(&ctx.session.call_bytes(Method::GET, &logs(), "*/*", Body::default()).await?);
        }
    } else {
        out::bytes(&ctx.session.call_bytes(Method::GET, &logs(), "*/*", Body::default()).await?);
    }
    if ctx.given.text("restart") != "Never" && ctx.given.text("restart") != "OnFailure" {
        out::line(&format!(
            "Session ended, resume using 'kubectl attach {} -c {} -i -t' command when the pod is running",
            target.name, target.name
        ));
        return Ok(0);
    }
    let mut watching = Watching::new(ctx, target);
    let goals = [Goal::parse("jsonpath={.status.phase}=Succeeded"), Goal::parse("jsonpath={.status.phase}=Failed")];
    while let Some(pod) = watching.next().await? {
        let ended = goals.iter().flatten().any(|g| g.reached(Some(&pod)).unwrap_or(false));
        if ended {
            let states = pod.at("status").at("containerStatuses").items();
            return Ok(states.first().map_or(0, |s| s.at("state").at("terminated").at("exitCode").int()));
        }
    }
    Ok(0)
}
