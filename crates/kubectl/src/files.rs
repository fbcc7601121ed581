//! Manifests from files, directories and standard input, and what the user's arguments point at.

use crate::Ctx;
use crate::core::resources::{Resource, read_args};
use crate::failure::{Failure, Outcome};
use api::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One object of a manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where it came from.
    pub source: String,
    /// The object.
    pub object: Value,
}

/// An object that a command is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The manifest, if it came from one.
    pub object: Option<Value>,
}

impl Target {
    /// Its path.
    pub fn path(&self) -> String {
        self.resource.path(&self.namespace, &self.name)
    }

    /// `pod/x`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.resource.label(), self.name)
    }
}

/// Reads the `-f` flags.
pub fn read_files(ctx: &Ctx) -> Outcome<Vec<Manifest>> {
    let recursive = ctx.given.on("recursive");
    let mut all = Vec::new();
    for file in ctx.given.list("filename") {
        if file == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|e| Failure::error(format!("reading standard input: {e}")))?;
            parse("STDIN", &text, &mut all)?;
        } else if file.starts_with("http://") || file.starts_with("https://") {
            return Err(Failure::error(format!(
                "{file}: manifests from the network are not supported; download it first"
            )));
        } else {
            read_path(Path::new(file), recursive, true, &mut all)?;
        }
    }
    Ok(all)
}

fn read_path(path: &Path, recursive: bool, top: bool, all: &mut Vec<Manifest>) -> Outcome {
    let shown = path.display();
    let meta = std::fs::metadata(path)
        .map_err(|_| Failure::error(format!("the path {:?} does not exist", shown.to_string())))?;
    if meta.is_dir() {
        if !top && !recursive {
            return Ok(());
        }
        let entries = std::fs::read_dir(path).map_err(|e| Failure::error(format!("{shown}: {e}")))?;
        let mut names: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        names.sort();
        for name in names {
            let wanted = matches!(name.extension().and_then(|e| e.to_str()), Some("json" | "yaml" | "yml"));
            if name.is_dir() || wanted {
                read_path(&name, recursive, false, all)?;
            }
        }
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(|e| Failure::error(format!("{shown}: {e}")))?;
    parse(&shown.to_string(), &text, all)
}

fn parse(source: &str, text: &str, all: &mut Vec<Manifest>) -> Outcome {
    let documents = api::yaml::parse_all(text).map_err(|e| Failure::error(format!("error parsing {source}: {e}")))?;
    for document in documents {
        if document.is_null() || document.as_map().is_some_and(api::Map::is_empty) {
            continue;
        }
        let items = document.at("items").as_list().cloned();
        if document.at("kind").str().ends_with("List")
            && let Some(items) = items
        {
            all.extend(items.into_iter().map(|object| Manifest { source: source.to_string(), object }));
            continue;
        }
        for (field, what) in [("kind", "Object 'Kind' is missing"), ("apiVersion", "Object 'apiVersion' is missing")] {
            if document.at(field).str().is_empty() {
                let shown = api::json::to_string(&document);
                return Err(Failure::error(format!("unable to decode {source:?}: {what} in '{shown}'")));
            }
        }
        all.push(Manifest { source: source.to_string(), object: document });
    }
    Ok(())
}

/// The namespace of an object of a manifest; an error if a flag says otherwise.
pub fn namespace_of(ctx: &Ctx, resource: &Resource, object: &Value) -> Outcome<String> {
    if !resource.namespaced {
        return Ok(String::new());
    }
    let own = object.at("metadata").at("namespace").str();
    let session = &ctx.session;
    if own.is_empty() {
        return Ok(session.namespace.clone());
    }
    if session.namespace_given && own != session.namespace {
        return Err(Failure::error(format!(
            "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass '--namespace={own}' to perform this operation.",
            session.namespace
        )));
    }
    Ok(own.to_string())
}

/// The targets in manifests.
pub async fn file_targets(ctx: &Ctx) -> Outcome<Vec<(Target, String)>> {
    let mut targets = Vec::new();
    for manifest in read_files(ctx)? {
        let resource = ctx.session.resource_of(&manifest.object).await.map_err(|mut failure| {
            failure.text = failure.text.replace("{source}", &format!("{:?}", manifest.source));
            failure
        })?;
        let namespace = namespace_of(ctx, &resource, &manifest.object)?;
        let name = manifest.object.at("metadata").at("name").str().to_string();
        targets.push((Target { resource, namespace, name, object: Some(manifest.object) }, manifest.source));
    }
    Ok(targets)
}

/// All targets of a command: from `-f`, or from `args`, by name, by `-l`, or all with `--all`.
pub async fn targets(ctx: &Ctx, args: &[String]) -> Outcome<Vec<Target>> {
    if ctx.given.has("filename") {
        return Ok(file_targets(ctx).await?.into_iter().map(|(target, _)| target).collect());
    }
    let asks = read_args(ctx.session.catalog().await?, args).map_err(Failure::error)?;
    if asks.is_empty() {
        return Err(Failure::error("you must provide one or more resources by argument or filename"));
    }
    let selector = ctx.given.text("selector");
    let mut targets = Vec::new();
    for ask in asks {
        let all_namespaces = ctx.given.on("all-namespaces");
        let namespace =
            if ask.resource.namespaced && !all_namespaces { ctx.session.namespace.clone() } else { String::new() };
        if let Some(name) = ask.name {
            targets.push(Target { resource: ask.resource, namespace, name, object: None });
            continue;
        }
        if selector.is_empty() && ctx.given.text("field-selector").is_empty() && !ctx.given.on("all") {
            return Err(Failure::error("resource(s) were provided, but no name was specified"));
        }
        for object in list(ctx, &ask.resource, &namespace).await? {
            let metadata = object.at("metadata");
            let (namespace, name) = (metadata.at("namespace").str().to_string(), metadata.at("name").str().to_string());
            targets.push(Target { resource: ask.resource.clone(), namespace, name, object: Some(object.clone()) });
        }
    }
    Ok(targets)
}

/// The query that the selection flags ask for.
pub fn selection(ctx: &Ctx) -> Vec<(&'static str, String)> {
    let flags = [("labelSelector", "selector"), ("fieldSelector", "field-selector")];
    flags
        .into_iter()
        .map(|(name, flag)| (name, ctx.given.text(flag).to_string()))
        .filter(|(_, v)| !v.is_empty())
        .collect()
}

/// The objects of a resource, by the selection flags; kind and apiVersion filled in.
pub async fn list(ctx: &Ctx, resource: &Resource, namespace: &str) -> Outcome<Vec<Value>> {
    let uri = client::with_query(&resource.path(namespace, ""), &selection(ctx));
    let mut answer = ctx.session.get(&uri).await?;
    let items = std::mem::take(answer.entry("items").make_list());
    Ok(items.into_iter().map(|object| complete(resource, object)).collect())
}

/// An object of a list with its kind and apiVersion.
pub fn complete(resource: &Resource, mut object: Value) -> Value {
    object.set_default("kind", resource.kind.as_str());
    object.set_default("apiVersion", resource.api_version().as_str());
    object
}
