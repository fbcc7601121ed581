//! About the cluster and the configuration: `api-resources`, `api-versions`, `version`, `cluster-info`, `config`, `auth can-i`.

use crate::Ctx;
use crate::core::flags::Given;
use crate::core::printer::pretty;
use crate::core::resources::Resource;
use crate::core::table::columns;
use crate::failure::{Failure, Outcome};
use crate::out;
use crate::session::{Body, kubeconfig_path};
use api::Value;
use api::value::object;
use http::Method;

/// The version that this client says it has: upstream's that it was written after.
pub const VERSION: &str = "v1.36.0";

/// `api-resources`.
pub async fn api_resources(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let wanted = |r: &&Resource| {
        r.preferred
            && (!given.has("namespaced") || r.namespaced == given.on("namespaced"))
            && (!given.has("api-group") || r.group == given.text("api-group"))
            && given.list("verbs").iter().all(|v| r.can(v))
            && given.list("categories").iter().all(|c| r.categories.contains(c))
    };
    let mut all: Vec<&Resource> = ctx.session.catalog().await?.all.iter().filter(wanted).collect();
    match given.text("sort-by") {
        "name" => all.sort_by(|a, b| a.plural.cmp(&b.plural)),
        "kind" => all.sort_by(|a, b| a.kind.cmp(&b.kind)),
        _ => all.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural))),
    }
    if given.text("output") == "name" {
        all.iter().for_each(|r| out::line(&r.qualified()));
        return Ok(());
    }
    let wide = given.text("output") == "wide";
    let mut rows = Vec::new();
    if !given.on("no-headers") {
        let mut header = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
        if wide {
            header.extend(["VERBS", "CATEGORIES"]);
        }
        rows.push(header.into_iter().map(String::from).collect::<Vec<_>>());
    }
    for r in all {
        let mut row =
            vec![r.plural.clone(), r.short.join(","), r.api_version(), r.namespaced.to_string(), r.kind.clone()];
        if wide {
            row.extend([r.verbs.join(","), r.categories.join(",")]);
        }
        rows.push(row);
    }
    out::print(&columns(&rows));
    Ok(())
}

/// `explain`.
pub async fn explain(ctx: &Ctx) -> Outcome {
    let Some(word) = ctx.given.args.first() else {
        return Err(Failure::error(
            "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    };
    // `deployments.apps.spec` or `pod.spec`: the longest beginning that names a resource, the rest is the path.
    let parts: Vec<&str> = word.split('.').collect();
    let catalog = ctx.session.catalog().await?;
    let found = (1..=parts.len()).rev().find_map(|n| catalog.find(&parts[..n].join(".")).ok().map(|r| (r, n)));
    let (resource, used) = found.ok_or_else(|| Failure {
        text: format!("the server doesn't have a resource type {:?}", parts[0]),
        code: 1,
        reason: None,
    })?;
    let (group, version) = match ctx.given.text("api-version") {
        "" => (resource.group.clone(), resource.version.clone()),
        text => crate::core::resources::split_api_version(text),
    };
    let place = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
    let document = ctx.session.get(&format!("/openapi/v3/{place}")).await?;
    let (text, complaint) = crate::core::explain::explain(
        &document,
        &group,
        &version,
        &resource.kind,
        &parts[used..],
        ctx.given.on("recursive"),
    );
    out::print(&text);
    complaint.map_or(Ok(()), |text| Err(Failure::error(text)))
}

/// `api-versions`.
pub async fn api_versions(ctx: &Ctx) -> Outcome {
    let catalog = ctx.session.catalog().await?;
    let all: std::collections::BTreeSet<String> = catalog.all.iter().map(Resource::api_version).collect();
    all.iter().for_each(|v| out::line(v));
    Ok(())
}

/// `version`.
pub async fn version(ctx: &Ctx) -> Outcome {
    let client = object([("gitVersion", Value::from(VERSION)), ("platform", Value::from("linux/amd64"))]);
    let server = if ctx.given.on("client") { None } else { Some(ctx.session.get("/version").await) };
    let found = server.as_ref().and_then(|s| s.as_ref().ok());
    let mut both = object([("clientVersion", client)]);
    if let Some(server) = found {
        both.set("serverVersion", server.clone());
    }
    match ctx.given.text("output") {
        "" => {
            out::line(&format!("Client Version: {VERSION}"));
            if let Some(server) = found {
                out::line(&format!("Server Version: {}", server.at("gitVersion").str()));
            }
        }
        "json" => out::print(&pretty(&both)),
        "yaml" => out::print(&api::yaml::to_string(&both)),
        _ => return Err(Failure::error("--output must be 'yaml' or 'json'")),
    }
    server.transpose().map(|_| ())
}

/// `cluster-info`.
pub async fn cluster_info(ctx: &Ctx) -> Outcome {
    ctx.session.get("/version").await?;
    let server = &ctx.session.https.config().server;
    out::line(&format!("Kubernetes control plane is running at {server}"));
    let uri = client::with_query(
        "/api/v1/namespaces/kube-system/services",
        &[("labelSelector", "kubernetes.io/cluster-service=true".into())],
    );
    for service in ctx.session.get(&uri).await?.at("items").items() {
        let (metadata, port) = (
            service.at("metadata"),
            service.at("spec").at("ports").items().first().map(|p| p.at("name").str().to_string()),
        );
        let label = metadata.at("labels").at("kubernetes.io/name").str();
        let shown = if label.is_empty() { metadata.at("name").str() } else { label };
        let port = port.filter(|p| !p.is_empty()).map(|p| format!(":{p}")).unwrap_or_default();
        out::line(&format!(
            "{shown} is running at {server}/api/v1/namespaces/kube-system/services/{}{port}/proxy",
            metadata.at("name").str()
        ));
    }
    out::line("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.");
    Ok(())
}

/// `auth can-i`.
pub async fn can_i(ctx: &Ctx) -> Outcome {
    let args = &ctx.given.args;
    let [verb, rest @ ..] = args.as_slice() else {
        return Err(Failure::error(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
        ));
    };
    let spec = match rest {
        [path] if path.starts_with('/') => object([(
            "nonResourceAttributes",
            object([("verb", Value::from(verb.as_str())), ("path", Value::from(path.as_str()))]),
        )]),
        [word, ..] => {
            let (word, name) = word.split_once('/').unwrap_or((word, rest.get(1).map_or("", String::as_str)));
            let (group, plural, namespaced) = match ctx.session.resource(word).await {
                Ok(r) => (r.group, r.plural, r.namespaced),
                Err(_) => {
                    eprintln!("Warning: the server doesn't have a resource type '{word}'");
                    (String::new(), word.to_string(), true)
                }
            };
            let namespace =
                if namespaced && !ctx.given.on("all-namespaces") { ctx.session.namespace.as_str() } else { "" };
            object([(
                "resourceAttributes",
                object([
                    ("verb", Value::from(verb.as_str())),
                    ("group", Value::from(group.as_str())),
                    ("resource", Value::from(plural.as_str())),
                    ("subresource", Value::from(ctx.given.text("subresource"))),
                    ("namespace", Value::from(namespace)),
                    ("name", Value::from(name)),
                ]),
            )])
        }
        [] => {
            return Err(Failure::error("you must specify two arguments: verb resource or verb resource/resourceName."));
        }
    };
    let review = object([
        ("apiVersion", Value::from("authorization.k8s.io/v1")),
        ("kind", Value::from("SelfSubjectAccessReview")),
        ("spec", spec),
    ]);
    let answer = ctx
        .session
        .call(
            Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "application/json",
            Body::json(&review),
        )
        .await?;
    let status = answer.at("status");
    if status.at("allowed").is_true() {
        out::line("yes");
        return Ok(());
    }
    let mut text = "no".to_string();
    if !status.at("reason").str().is_empty() {
        text = format!("{text} - {}", status.at("reason").str());
    }
    out::line(&text);
    Err(Failure::silent(1))
}

fn read_config(given: &Given) -> Outcome<(std::path::PathBuf, Value)> {
    let path = kubeconfig_path(given)
        .ok_or_else(|| Failure::error("no kubeconfig: use --kubeconfig, $KUBECONFIG or ~/.kube/config"))?;
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::error(format!("{}: {e}", path.display())))?;
    let value = api::yaml::parse(&text)
        .map_err(|e| Failure::error(format!("error loading config file {:?}: {e}", path.display().to_string())))?;
    Ok((path, value))
}

/// `config view|current-context|get-contexts|use-context|set-context`.
pub fn config(given: &Given, what: &str) -> Outcome {
    let (path, mut config) = read_config(given)?;
    let current = config.at("current-context").str().to_string();
    match what {
        "current-context" if current.is_empty() => Err(Failure::error("current-context is not set")),
        "current-context" => {
            out::line(&current);
            Ok(())
        }
        "get-contexts" => {
            let mut rows: Vec<Vec<String>> =
                vec![["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(String::from).into()];
            for entry in config.at("contexts").items() {
                let (name, context) = (entry.at("name").str(), entry.at("context"));
                let mark = if name == current { "*" } else { "" };
                let text = |field: &str| context.at(field).str().to_string();
                rows.push(vec![mark.into(), name.into(), text("cluster"), text("user"), text("namespace")]);
            }
            if given.text("output") == "name" {
                config.at("contexts").items().iter().for_each(|c| out::line(c.at("name").str()));
            } else {
                out::print(&columns(&rows));
            }
            Ok(())
        }
        "use-context" => {
            let wanted = given.args.first().ok_or_else(|| Failure::error("exactly one context name is required"))?;
            if !config.at("contexts").items().iter().any(|c| c.at("name").str() == wanted) {
                return Err(Failure::error(format!("no context exists with the name: {wanted:?}")));
            }
            config.set("current-context", wanted.as_str());
            write_config(&path, &config)?;
            out::line(&format!("Switched to context {wanted:?}."));
            Ok(())
        }
        "set-context" => set_context(given, &path, config, &current),
        _ => {
            if !given.on("raw") {
                hide_secrets(&mut config);
            }
            let text = if given.text("output") == "json" { pretty(&config) } else { api::yaml::to_string(&config) };
            out::print(&text);
            Ok(())
        }
    }
}

fn set_context(given: &Given, path: &std::path::Path, mut config: Value, current: &str) -> Outcome {
    let name = if given.on("current") { current.to_string() } else { given.args.first().cloned().unwrap_or_default() };
    if name.is_empty() {
        return Err(Failure::error("you must specify a non-empty context name or --current"));
    }
    let contexts = config.entry("contexts").make_list();
    let known = contexts.iter().any(|c| c.at("name").str() == name);
    if !known {
        contexts.push(object([("context", Value::object()), ("name", Value::from(name.as_str()))]));
    }
    for entry in contexts.iter_mut().filter(|c| c.at("name").str() == name) {
        for flag in ["cluster", "user", "namespace"] {
            if given.has(flag) {
                entry.entry("context").set(flag, given.text(flag));
            }
        }
    }
    write_config(path, &config)?;
    out::line(&format!("Context {name:?} {}.", if known { "modified" } else { "created" }));
    Ok(())
}

fn write_config(path: &std::path::Path, config: &Value) -> Outcome {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let written = file.and_then(|mut f| std::io::Write::write_all(&mut f, api::yaml::to_string(config).as_bytes()));
    written
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|e| Failure::error(format!("{}: {e}", path.display())))
}

fn hide_secrets(config: &mut Value) {
    let mut hide = |list: &str, inner: &str, fields: &[(&str, &str)]| {
        for entry in config.entry(list).make_list() {
            for (field, shown) in fields {
                if entry.at(inner).has(*field) {
                    entry.entry(inner).set(*field, *shown);
                }
            }
        }
    };
    hide("clusters", "cluster", &[("certificate-authority-data", "DATA+OMITTED")]);
    let secret = [
        ("client-certificate-data", "DATA+OMITTED"),
        ("client-key-data", "DATA+OMITTED"),
        ("token", "REDACTED"),
        ("password", "REDACTED"),
    ];
    hide("users", "user", &secret);
}
