//! More changes: `taint`, `drain`, `set image`, `autoscale`; and `events`, `auth whoami`.

use super::apply::{DryRun, post, report, write_query};
use super::change::cordon_one;
use super::delete::{gone, time_limit};
use super::get::all_failures;
use crate::Ctx;
use crate::core::describe::age;
use crate::core::edit::{self, Taint};
use crate::core::table::columns;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, complete, targets};
use crate::out;
use crate::session::{Body, MERGE, STRATEGIC};
use api::Value;
use api::value::object;
use http::Method;
use platform::time::{Duration, sleep, timeout};

/// `taint nodes NAME … KEY=VALUE:EFFECT …`.
pub async fn taint(ctx: &Ctx) -> Outcome {
    let args = &ctx.given.args;
    let is_change = |a: &String| a.contains(':') || a.ends_with('-');
    let at = args.iter().position(is_change).unwrap_or(args.len());
    if at == args.len() {
        return Err(Failure::error("at least one taint update is required"));
    }
    let changes: Result<Vec<Taint>, String> = args[at..].iter().map(|a| Taint::parse(a)).collect();
    let changes = changes.map_err(Failure::error)?;
    let dry = DryRun::of(ctx)?;
    for target in targets(ctx, &args[..at]).await? {
        let node = ctx.session.get(&target.path()).await?;
        let (taints, done) = edit::taint(&node, &changes, ctx.given.on("overwrite")).map_err(Failure::error)?;
        let revision = node.at("metadata").at("resourceVersion").clone();
        let patch =
            object([("metadata", object([("resourceVersion", revision)])), ("spec", object([("taints", taints)]))]);
        let uri = client::with_query(&target.path(), &write_query(ctx, "kubectl-taint", dry));
        let answer = if dry == DryRun::Client { node } else { ctx.session.patch(&uri, MERGE, &patch).await? };
        report(ctx, &target, &answer, done, dry)?;
    }
    Ok(())
}

/// `drain`: cordon, then evict what may be evicted, and wait.
pub async fn drain(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    if given.args.is_empty() && given.text("selector").is_empty() {
        return Err(Failure::error("USAGE: drain NODE [flags]"));
    }
    let mut args = vec!["nodes".to_string()];
    args.extend(given.args.iter().map(|a| a.trim_start_matches("node/").to_string()));
    let dry = DryRun::of(ctx)?;
    // The selector chooses nodes; pods are listed by their node.
    for node in targets(ctx, &args).await? {
        cordon_one(ctx, &node, true, dry).await?;
        drain_one(ctx, &node, dry).await?;
        out::line(&format!("{} drained{}", node.label(), dry.note()));
    }
    Ok(())
}

async fn drain_one(ctx: &Ctx, node: &Target, dry: DryRun) -> Outcome {
    let pods = ctx.session.resource("pods").await?;
    let mut query = vec![("fieldSelector", format!("spec.nodeName={}", node.name))];
    if !ctx.given.text("pod-selector").is_empty() {
        query.push(("labelSelector", ctx.given.text("pod-selector").to_string()));
    }
    let list = ctx.session.get(&client::with_query("/api/v1/pods", &query)).await?;
    let (mut evict, mut errors) = (Vec::new(), Vec::new());
    for pod in list.at("items").items() {
        match edit::spare(pod, &ctx.given) {
            None => evict.push(pod),
            Some(Ok(text)) if text.is_empty() => {}
            Some(Ok(text)) => eprintln!("Warning: {text}"),
            Some(Err(text)) => errors.push(text),
        }
    }
    if !errors.is_empty() {
        return Err(Failure::error(format!(
            "unable to drain node {:?} due to error: [{}], continuing command...",
            node.name,
            errors.join(", ")
        )));
    }
    let limit = time_limit(ctx.given.text("timeout"))?;
    let work = async {
        for pod in evict {
            let metadata = pod.at("metadata");
            let (namespace, name) = (metadata.at("namespace").str(), metadata.at("name").str());
            out::line(&format!("evicting pod {namespace}/{name}{}", dry.note()));
            if dry != DryRun::Client {
                let target =
                    Target { resource: pods.clone(), namespace: namespace.into(), name: name.into(), object: None };
                evict_one(ctx, &target, dry).await?;
                if dry == DryRun::No {
                    gone(ctx, &target, metadata.at("uid").str()).await?;
                    out::line(&format!("pod/{name} evicted"));
                }
            }
        }
        Ok(())
    };
    timeout(limit, work).await.unwrap_or_else(|_| Err(Failure::error("drain did not complete within the timeout")))
}

async fn evict_one(ctx: &Ctx, target: &Target, dry: DryRun) -> Outcome {
    let mut options = Value::object();
    if ctx.given.int("grace-period") >= 0 {
        options.set("gracePeriodSeconds", ctx.given.int("grace-period"));
    }
    if dry == DryRun::Server {
        options.set("dryRun", Value::List(vec![Value::from("All")]));
    }
    let metadata =
        object([("name", Value::from(target.name.as_str())), ("namespace", Value::from(target.namespace.as_str()))]);
    let eviction = object([
        ("apiVersion", Value::from("policy/v1")),
        ("kind", Value::from("Eviction")),
        ("metadata", metadata),
        ("deleteOptions", options),
    ]);
    loop {
        let uri = format!("{}/eviction", target.path());
        match ctx.session.call(Method::POST, &uri, "application/json", Body::json(&eviction)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_not_found() => return Ok(()),
            Err(failure) if failure.reason == Some(client::Reason::TooManyRequests) => {
                // A disruption budget says not now: upstream tries again every five seconds.
                eprintln!(
                    "error when evicting pods/{:?} -n {:?} (will retry after 5s): {}",
                    target.name, target.namespace, failure.text
                );
                sleep(Duration::from_secs(5)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// `set image`.
pub async fn set_image(ctx: &Ctx) -> Outcome {
    let (changes, places): (Vec<&String>, Vec<&String>) = ctx.given.args.iter().partition(|a| a.contains('='));
    if changes.is_empty() {
        return Err(Failure::error("at least one image update is required"));
    }
    let changes: Vec<(String, String)> =
        changes.into_iter().filter_map(|c| c.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect();
    let places: Vec<String> = places.into_iter().cloned().collect();
    let dry = DryRun::of(ctx)?;
    let mut failures = Vec::new();
    for target in targets(ctx, &places).await? {
        let now = complete(&target.resource, ctx.session.get(&target.path()).await?);
        match edit::images(&now, &changes) {
            Ok(Some(patch)) => {
                let uri = client::with_query(&target.path(), &write_query(ctx, "kubectl-set", dry));
                let answer =
                    if dry == DryRun::Client { now } else { ctx.session.patch(&uri, STRATEGIC, &patch).await? };
                report(ctx, &target, &answer, "image updated", dry)?;
            }
            Ok(None) => {}
            Err(text) => failures.push(Failure::error(text)),
        }
    }
    all_failures(failures)
}

/// `autoscale`.
pub async fn autoscale(ctx: &Ctx) -> Outcome {
    for target in targets(ctx, &ctx.given.args).await? {
        let made = edit::autoscaler(&target.resource.api_version(), &target.resource.kind, &target.name, &ctx.given)
            .map_err(Failure::error)?;
        let resource = ctx.session.resource_of(&made).await?;
        let scaler = Target {
            name: made.at("metadata").at("name").str().into(),
            namespace: target.namespace.clone(),
            resource,
            object: None,
        };
        let dry = DryRun::of(ctx)?;
        let created =
            if dry == DryRun::Client { made } else { post(ctx, &scaler, &made, "kubectl-autoscale", dry).await? };
        report(ctx, &scaler, &created, "autoscaled", dry)?;
    }
    Ok(())
}

/// `events`.
pub async fn events(ctx: &Ctx) -> Outcome {
    let all = ctx.given.on("all-namespaces");
    let path =
        if all { "/api/v1/events".to_string() } else { format!("/api/v1/namespaces/{}/events", ctx.session.namespace) };
    let mut query = Vec::new();
    if let Some((kind, name)) = ctx.given.text("for").split_once('/') {
        let kind = ctx.session.resource(kind).await?.kind;
        query.push(("fieldSelector", format!("involvedObject.kind={kind},involvedObject.name={name}")));
    }
    let answer = ctx.session.get(&client::with_query(&path, &query)).await?;
    let now = ctx.session.env.wall().unix_seconds();
    let types = ctx.given.list("types");
    let time = |e: &Value| {
        ["lastTimestamp", "eventTime", "firstTimestamp"]
            .into_iter()
            .find_map(|f| api::time::parse_seconds(e.at(f).str()))
            .unwrap_or(0)
    };
    let mut found: Vec<&Value> = answer
        .at("items")
        .items()
        .iter()
        .filter(|e| types.is_empty() || types.iter().any(|t| t == e.at("type").str()))
        .collect();
    found.sort_by_key(|e| time(e));
    if found.is_empty() {
        eprintln!(
            "{}",
            if all {
                "No events found.".to_string()
            } else {
                format!("No events found in {} namespace.", ctx.session.namespace)
            }
        );
        return Ok(());
    }
    let mut rows = Vec::new();
    if !ctx.given.on("no-headers") {
        let head = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(String::from);
        rows.push(if all { std::iter::once("NAMESPACE".to_string()).chain(head).collect() } else { head.to_vec() });
    }
    for event in found {
        let about = event.at("involvedObject");
        let mut row = vec![
            age(now - time(event)),
            event.at("type").str().to_string(),
            event.at("reason").str().to_string(),
            format!("{}/{}", about.at("kind").str(), about.at("name").str()),
            event.at("message").str().trim().to_string(),
        ];
        if all {
            row.insert(0, event.at("metadata").at("namespace").str().to_string());
        }
        rows.push(row);
    }
    out::print(&columns(&rows));
    Ok(())
}

/// `auth whoami`.
pub async fn whoami(ctx: &Ctx) -> Outcome {
    let review =
        object([("apiVersion", Value::from("authentication.k8s.io/v1")), ("kind", Value::from("SelfSubjectReview"))]);
    let answer = ctx
        .session
        .call(
            Method::POST,
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            "application/json",
            Body::json(&review),
        )
        .await?;
    let user = answer.at("status").at("userInfo");
    let mut rows: Vec<Vec<String>> = vec![["ATTRIBUTE", "VALUE"].map(String::from).into()];
    rows.push(vec!["Username".into(), user.at("username").str().into()]);
    if !user.at("uid").str().is_empty() {
        rows.push(vec!["UID".into(), user.at("uid").str().into()]);
    }
    let list = |v: &Value| format!("[{}]", v.items().iter().map(Value::str).collect::<Vec<_>>().join(" "));
    if !user.at("groups").items().is_empty() {
        rows.push(vec!["Groups".into(), list(user.at("groups"))]);
    }
    for (key, value) in user.at("extra").members() {
        rows.push(vec![format!("Extra: {}", key.as_str()), list(value)]);
    }
    out::print(&columns(&rows));
    Ok(())
}
