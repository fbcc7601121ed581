//! `logs`: of a pod, of a workload's pods, of what a selector finds; once or as they come.

use crate::Ctx;
use crate::core::resources::Resource;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, list, targets};
use crate::lines::Lines;
use crate::out;
use api::Value;
use tokio::sync::mpsc;

/// A container whose log is wanted.
#[derive(Clone, Debug)]
struct Source {
    uri: String,
    prefix: String,
}

/// Runs the command.
pub async fn run(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let pods = pods(ctx).await.map_err(|mut failure| {
        if failure.is_not_found() {
            failure.text = format!(
                "error: {} in namespace {:?}",
                failure.text.replacen("Error", "error", 1),
                ctx.session.namespace
            );
        }
        failure
    })?;
    let mut sources = Vec::new();
    for pod in &pods {
        for container in containers(ctx, pod, &given.args)? {
            sources.push(source(ctx, pod, &container)?);
        }
    }
    if sources.is_empty() {
        return Err(Failure::error("no containers to read logs of"));
    }
    if given.on("follow") && sources.len() > 1 {
        let most = given.int("max-log-requests");
        if sources.len() as i64 > most {
            return Err(Failure::error(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {most}, use --max-log-requests to increase the limit",
                sources.len()
            )));
        }
        return follow_all(ctx, sources).await;
    }
    for source in &sources {
        let copied = copy(ctx, source).await;
        if !given.on("ignore-errors") {
            copied?;
        }
    }
    Ok(())
}

/// The pods that the arguments mean.
async fn pods(ctx: &Ctx) -> Outcome<Vec<Value>> {
    let given = &ctx.given;
    let resource = ctx.session.resource("pods").await?;
    if !given.text("selector").is_empty() {
        if !given.args.is_empty() {
            return Err(Failure::error("only a selector (-l) or a POD name is allowed"));
        }
        let found = list(ctx, &resource, &ctx.session.namespace).await?;
        if found.is_empty() {
            out::line(&format!("No resources found in {} namespace.", ctx.session.namespace));
            return Err(Failure::silent(0));
        }
        return Ok(found);
    }
    let Some(first) = given.args.first() else {
        return Err(Failure::error(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'kubectl logs -h' for help and examples",
        ));
    };
    if given.args.len() > 2 {
        return Err(Failure::error("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'"));
    }
    let several = if given.on("all-pods") { Several::All } else { Several::Say };
    let pod = pod_for(ctx, &resource, first, several).await?;
    Ok(pod)
}

/// What to do with a workload's several pods.
#[derive(Clone, Copy, PartialEq)]
pub enum Several {
    /// Take all.
    All,
    /// Take the best one and say so.
    Say,
    /// Take the best one.
    First,
}

/// The pod called `word`, or the pods of the workload `type/name`, best first.
pub async fn pod_for(ctx: &Ctx, pods: &Resource, word: &str, several: Several) -> Outcome<Vec<Value>> {
    let target = match word.split_once('/') {
        None => {
            let namespace = &ctx.session.namespace;
            return Ok(vec![ctx.session.get(&pods.path(namespace, word)).await?]);
        }
        Some(_) => targets(ctx, &[word.to_string()]).await?.into_iter().next(),
    };
    let target: Target = target.ok_or_else(|| Failure::error("no such resource"))?;
    let owner = ctx.session.get(&target.path()).await?;
    if target.resource.kind == "Pod" {
        return Ok(vec![owner]);
    }
    let selector = selector_of(&target.resource.kind, &owner)?;
    let uri = client::with_query(&pods.path(&target.namespace, ""), &[("labelSelector", selector.clone())]);
    let answer = ctx.session.get(&uri).await?;
    let mut found = answer.at("items").items().to_vec();
    if found.is_empty() {
        return Err(Failure::error(format!("timed out waiting for the condition: no pods match {selector:?}")));
    }
    found.sort_by_key(preference);
    if found.len() > 1 && several == Several::Say {
        eprintln!("Found {} pods, using pod/{}", found.len(), found[0].at("metadata").at("name").str());
    }
    if several != Several::All {
        found.truncate(1);
    }
    Ok(found)
}

/// Running and ready pods come first, then older ones.
fn preference(pod: &Value) -> (bool, bool, bool, String) {
    let status = pod.at("status");
    let ready =
        status.at("conditions").items().iter().any(|c| c.at("type").str() == "Ready" && c.at("status").str() == "True");
    let scheduled = !pod.at("spec").at("nodeName").str().is_empty();
    (
        !scheduled,
        status.at("phase").str() != "Running",
        !ready,
        pod.at("metadata").at("creationTimestamp").str().to_string(),
    )
}

/// A workload's selector as text.
pub fn selector_of(kind: &str, owner: &Value) -> Outcome<String> {
    let selector = owner.at("spec").at("selector");
    let labels = if selector.has("matchLabels") || selector.has("matchExpressions") {
        selector.at("matchLabels")
    } else {
        selector
    };
    let mut parts: Vec<String> = labels.members().map(|(k, v)| format!("{}={}", k.as_str(), v.str())).collect();
    for expression in selector.at("matchExpressions").items() {
        let (key, values) = (
            expression.at("key").str(),
            expression.at("values").items().iter().map(Value::str).collect::<Vec<_>>().join(","),
        );
        parts.push(match expression.at("operator").str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        });
    }
    if parts.is_empty() {
        return Err(Failure::error(format!("cannot get the logs from {kind}: selector is empty")));
    }
    Ok(parts.join(","))
}

/// Names of a pod's containers, in the order of its spec.
pub fn container_names(pod: &Value) -> Vec<String> {
    let spec = pod.at("spec");
    let all = ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|f| spec.at(f).items());
    all.map(|c| c.at("name").str().to_string()).collect()
}

/// The container that is meant when none is named; says so if there are several.
pub fn default_container(pod: &Value) -> Outcome<String> {
    let annotated = pod.at("metadata").at("annotations").at("kubectl.kubernetes.io/default-container").str();
    let names = container_names(pod);
    if !annotated.is_empty() && names.iter().any(|n| n == annotated) {
        return Ok(annotated.to_string());
    }
    let main = pod.at("spec").at("containers").items();
    let first = main
        .first()
        .map(|c| c.at("name").str().to_string())
        .ok_or_else(|| Failure::error("the pod has no containers"))?;
    if names.len() > 1 {
        let spec = pod.at("spec");
        let init: Vec<String> =
            spec.at("initContainers").items().iter().map(|c| format!("{} (init)", c.at("name").str())).collect();
        let ephemeral: Vec<String> =
            spec.at("ephemeralContainers").items().iter().map(|c| format!("{} (ephem)", c.at("name").str())).collect();
        let shown: Vec<String> =
            main.iter().map(|c| c.at("name").str().to_string()).chain(ephemeral).chain(init).collect();
        eprintln!("Defaulted container {first:?} out of: {}", shown.join(", "));
    }
    Ok(first)
}

fn containers(ctx: &Ctx, pod: &Value, args: &[String]) -> Outcome<Vec<String>> {
    let given = &ctx.given;
    if given.on("all-containers") {
        return Ok(container_names(pod));
    }
    let named =
        Some(given.text("container")).filter(|c| !c.is_empty()).map(str::to_string).or_else(|| args.get(1).cloned());
    match named {
        None => Ok(vec![default_container(pod)?]),
        Some(name) if container_names(pod).contains(&name) => Ok(vec![name]),
        Some(name) => Err(Failure::error(format!(
            "container {name} is not valid for pod {}",
            pod.at("metadata").at("name").str()
        ))),
    }
}

fn source(ctx: &Ctx, pod: &Value, container: &str) -> Outcome<Source> {
    let given = &ctx.given;
    let (namespace, name) = (pod.at("metadata").at("namespace").str(), pod.at("metadata").at("name").str());
    let mut query = vec![("container", container.to_string())];
    for (flag, parameter) in [
        ("follow", "follow"),
        ("previous", "previous"),
        ("timestamps", "timestamps"),
        ("insecure-skip-tls-verify-backend", "insecureSkipTLSVerifyBackend"),
    ] {
        if given.on(flag) {
            query.push((parameter, "true".into()));
        }
    }
    let selected = !given.text("selector").is_empty() && !given.has("tail");
    let tail = if selected { 10 } else { given.int("tail") };
    if tail >= 0 {
        query.push(("tailLines", tail.to_string()));
    }
    if given.has("since") {
        let nanos = api::time::parse_duration(given.text("since"))
            .ok_or_else(|| Failure::error(format!("invalid duration {:?} for --since", given.text("since"))))?;
        let seconds = ((nanos + 999_999_999) / 1_000_000_000).max(1);
        query.push(("sinceSeconds", seconds.to_string()));
    }
    if given.has("since-time") {
        query.push(("sinceTime", given.text("since-time").to_string()));
    }
    if given.int("limit-bytes") > 0 {
        query.push(("limitBytes", given.text("limit-bytes").to_string()));
    }
    let prefix = if given.on("prefix") { format!("[pod/{name}/{container}] ") } else { String::new() };
    Ok(Source { uri: client::with_query(&format!("/api/v1/namespaces/{namespace}/pods/{name}/log"), &query), prefix })
}

async fn copy(ctx: &Ctx, source: &Source) -> Outcome {
    let mut lines = Lines::new(ctx.session.open(&source.uri, "application/json, */*").await?);
    while let Some(line) = lines.next().await? {
        print(&source.prefix, &line);
    }
    Ok(())
}

fn print(prefix: &str, line: &[u8]) {
    out::bytes(&[prefix.as_bytes(), line, b"\n"].concat());
}

/// Several logs at once, line by line as they come.
async fn follow_all(ctx: &Ctx, sources: Vec<Source>) -> Outcome {
    let (send, mut receive) = mpsc::channel::<Outcome<(String, Vec<u8>)>>(64);
    for source in sources {
        let mut lines = Lines::new(ctx.session.open(&source.uri, "application/json, */*").await?);
        let send = send.clone();
        ctx.session.env.spawn("log", async move {
            loop {
                let message = match lines.next().await {
                    Ok(Some(line)) => Ok((source.prefix.clone(), line)),
                    Ok(None) => return,
                    Err(failure) => Err(failure),
                };
                let ends = message.is_err();
                if send.send(message).await.is_err() || ends {
                    return;
                }
            }
        });
    }
    drop(send);
    while let Some(message) = receive.recv().await {
        match message {
            Ok((prefix, line)) => print(&prefix, &line),
            Err(failure) if ctx.given.on("ignore-errors") => eprintln!("{}", failure.text),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
