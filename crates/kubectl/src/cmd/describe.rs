//! `describe`: reads objects, their events and what belongs to them.

use crate::Ctx;
use crate::core::describe::{Around, describe};
use crate::core::resources::read_args;
use crate::core::rollout;
use crate::failure::{Failure, Outcome};
use crate::files::{Target, complete, file_targets, list};
use crate::out;
use api::Value;

/// Runs the command.
pub async fn run(ctx: &Ctx) -> Outcome {
    let targets = find(ctx).await?;
    if targets.is_empty() {
        if ctx.session.namespace_given || !ctx.given.on("all-namespaces") {
            eprintln!("No resources found in {} namespace.", ctx.session.namespace);
        } else {
            eprintln!("No resources found");
        }
        return Ok(());
    }
    for (i, target) in targets.iter().enumerate() {
        let object = match &target.object {
            Some(object) => object.clone(),
            None => ctx.session.get(&target.path()).await?,
        };
        let object = complete(&target.resource, object);
        let around = around(ctx, target, &object).await;
        if i > 0 {
            out::print("\n\n");
        }
        out::print(&describe(&object, &around));
    }
    Ok(())
}

async fn find(ctx: &Ctx) -> Outcome<Vec<Target>> {
    if ctx.given.has("filename") {
        let found = file_targets(ctx).await?.into_iter();
        return Ok(found.map(|(t, _)| Target { object: None, ..t }).collect());
    }
    let asks = read_args(ctx.session.catalog().await?, &ctx.given.args).map_err(Failure::error)?;
    if asks.is_empty() {
        return Err(Failure::error(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    }
    let mut targets = Vec::new();
    for ask in asks {
        let all = ctx.given.on("all-namespaces");
        let namespace = if ask.resource.namespaced && !all { ctx.session.namespace.clone() } else { String::new() };
        let target = |name: &str, namespace: &str, object: Option<Value>| Target {
            resource: ask.resource.clone(),
            namespace: namespace.into(),
            name: name.into(),
            object,
        };
        let Some(name) = &ask.name else {
            for object in list(ctx, &ask.resource, &namespace).await? {
                let metadata = object.at("metadata").clone();
                targets.push(target(metadata.at("name").str(), metadata.at("namespace").str(), Some(object)));
            }
            continue;
        };
        match ctx.session.get(&ask.resource.path(&namespace, name)).await {
            Ok(object) => targets.push(target(name, &namespace, Some(object))),
            Err(failure) if failure.is_not_found() => {
                // A name may be the beginning of several.
                let found = list(ctx, &ask.resource, &namespace).await?;
                let matching: Vec<_> = found
                    .into_iter()
                    .filter(|o| o.at("metadata").at("name").str().starts_with(name.as_str()))
                    .collect();
                if matching.is_empty() {
                    return Err(failure);
                }
                for object in matching {
                    let metadata = object.at("metadata").clone();
                    targets.push(target(metadata.at("name").str(), metadata.at("namespace").str(), Some(object)));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(targets)
}

/// Events and related objects; what cannot be read is left out, as the object itself is what was asked for.
async fn around(ctx: &Ctx, target: &Target, object: &Value) -> Around {
    let mut around = Around { now: ctx.session.env.wall().unix_seconds(), ..Around::default() };
    if ctx.given.on("show-events") {
        around.events = events(ctx, target, object).await.unwrap_or_default();
    }
    around.related = related(ctx, target, object).await.unwrap_or_default();
    around
}

async fn events(ctx: &Ctx, target: &Target, object: &Value) -> Outcome<Vec<Value>> {
    let namespace = if target.resource.namespaced { target.namespace.as_str() } else { "" };
    let path = if namespace.is_empty() {
        "/api/v1/events".to_string()
    } else {
        format!("/api/v1/namespaces/{namespace}/events")
    };
    let uid = object.at("metadata").at("uid").str();
    let kind = &target.resource.kind;
    let mut selector = format!("involvedObject.name={},involvedObject.kind={kind}", target.name);
    if !namespace.is_empty() {
        selector = format!("{selector},involvedObject.namespace={namespace}");
    }
    // Events about nodes carry the node's name for its uid.
    if !uid.is_empty() && kind != "Node" {
        selector = format!("{selector},involvedObject.uid={uid}");
    }
    let answer = ctx.session.get(&client::with_query(&path, &[("fieldSelector", selector)])).await?;
    let mut events = answer.at("items").items().to_vec();
    let time = |e: &Value| {
        let at =
            ["lastTimestamp", "eventTime", "firstTimestamp"].into_iter().map(|f| e.at(f).str()).find(|t| !t.is_empty());
        at.and_then(api::time::parse_seconds).unwrap_or(0)
    };
    events.sort_by_key(time);
    Ok(events)
}

async fn related(ctx: &Ctx, target: &Target, object: &Value) -> Outcome<Vec<Value>> {
    let get = |path: String, query: Vec<(&'static str, String)>| async move {
        let mut answer = ctx.session.get(&client::with_query(&path, &query)).await?;
        Ok(std::mem::take(answer.entry("items").make_list()))
    };
    match target.resource.kind.as_str() {
        "Node" => get("/api/v1/pods".into(), vec![("fieldSelector", format!("spec.nodeName={}", target.name))]).await,
        "Service" => {
            let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", target.namespace);
            get(path, vec![("labelSelector", format!("kubernetes.io/service-name={}", target.name))]).await
        }
        "Deployment" => {
            let sets = get(format!("/apis/apps/v1/namespaces/{}/replicasets", target.namespace), vec![]).await?;
            Ok(rollout::revisions(object, &sets)
                .into_iter()
                .map(|(_, set)| set.clone())
                .filter(|s| s.at("spec").at("replicas").int() > 0 || s.at("status").at("replicas").int() > 0)
                .collect())
        }
        "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet" => {
            let selector = super::logs::selector_of(&target.resource.kind, object)?;
            let pods =
                get(format!("/api/v1/namespaces/{}/pods", target.namespace), vec![("labelSelector", selector)]).await?;
            let uid = object.at("metadata").at("uid").str().to_string();
            Ok(pods
                .into_iter()
                .filter(|p| p.at("metadata").at("ownerReferences").items().iter().any(|o| o.at("uid").str() == uid))
                .collect())
        }
        _ => Ok(Vec::new()),
    }
}
