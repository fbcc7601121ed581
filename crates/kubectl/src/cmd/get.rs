//! `get`: tables as the server makes them, or objects in another form; once, or as they change.

use crate::Ctx;
use crate::core::printer::{self, Form, TableStyle};
use crate::core::resources::{Ask, Resource, read_args};
use crate::core::table::Columns;
use crate::failure::{Failure, Outcome};
use crate::files::{complete, file_targets, selection};
use crate::lines::Lines;
use crate::out;
use crate::session::Body;
use api::Value;
use http::Method;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// What is asked for, and where.
struct Request {
    resource: Resource,
    namespace: String,
    name: Option<String>,
}

/// Runs the command.
pub async fn run(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    if given.has("raw") {
        let bytes =
            ctx.session.call_bytes(Method::GET, given.text("raw"), "application/json, */*", Body::default()).await?;
        out::bytes(&bytes);
        return Ok(());
    }
    let form = out::form(given.text("output"), given.on("no-headers"))?;
    let requests = requests(ctx).await?;
    if requests.is_empty() {
        let text = "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples";
        return Err(Failure { text: text.into(), code: 1, reason: None });
    }
    if given.on("watch") || given.on("watch-only") {
        return watch(ctx, &form, &requests).await;
    }
    match form {
        Form::Table(wide) => tables(ctx, &requests, wide).await,
        _ => objects(ctx, &form, &requests).await,
    }
}

async fn requests(ctx: &Ctx) -> Outcome<Vec<Request>> {
    if ctx.given.has("filename") {
        let targets = file_targets(ctx).await?.into_iter();
        return Ok(targets
            .map(|(t, _)| Request { resource: t.resource, namespace: t.namespace, name: Some(t.name) })
            .collect());
    }
    let asks = read_args(ctx.session.catalog().await?, &ctx.given.args).map_err(Failure::error)?;
    let all = ctx.given.on("all-namespaces");
    let request = |ask: Ask| {
        if all && ask.name.is_some() {
            return Err(Failure::error("a resource cannot be retrieved by name across all namespaces"));
        }
        let namespace = if ask.resource.namespaced && !all { ctx.session.namespace.clone() } else { String::new() };
        Ok(Request { resource: ask.resource, namespace, name: ask.name })
    };
    asks.into_iter().map(request).collect()
}

fn uri(ctx: &Ctx, request: &Request, more: &[(&'static str, String)]) -> String {
    let mut path = request.resource.path(&request.namespace, request.name.as_deref().unwrap_or(""));
    let subresource = ctx.given.text("subresource");
    if !subresource.is_empty() {
        path = format!("{path}/{subresource}");
    }
    let mut query = if request.name.is_none() { selection(ctx) } else { Vec::new() };
    query.extend(more.iter().cloned());
    client::with_query(&path, &query)
}

fn style(ctx: &Ctx, wide: bool, resource: &Resource, several: bool) -> TableStyle {
    TableStyle {
        wide,
        namespace: ctx.given.on("all-namespaces") && resource.namespaced,
        labels: ctx.given.on("show-labels"),
        label_columns: ctx.given.list("label-columns").to_vec(),
        prefix: (several || ctx.given.on("show-kind")).then(|| resource.label()),
        no_headers: ctx.given.on("no-headers"),
        event: ctx.given.on("output-watch-events"),
    }
}

/// A server's answer as a table, even if the server cannot make one.
fn as_table(answer: Value) -> Value {
    if answer.at("kind").str() == "Table" {
        return answer;
    }
    let items = answer.at("items").as_list().cloned().unwrap_or_else(|| vec![answer.clone()]);
    let rows = items
        .into_iter()
        .map(|item| {
            let name = item.at("metadata").at("name").clone();
            let age = item.at("metadata").at("creationTimestamp").clone();
            api::value::object([("cells", Value::List(vec![name, age])), ("object", item)])
        })
        .collect();
    let column = |name: &str| api::value::object([("name", Value::from(name))]);
    api::value::object([
        ("columnDefinitions", Value::List(vec![column("Name"), column("Created At")])),
        ("rows", Value::List(rows)),
    ])
}

/// Sorts items by a template over their objects.
fn sort_items<T>(items: &mut Vec<T>, by: &str, object: impl Fn(&T) -> &Value) -> Outcome {
    let template = crate::core::jsonpath::relaxed(by)
        .and_then(|t| crate::core::jsonpath::Template::parse(&t, true))
        .map_err(Failure::error)?;
    let key = |item: &T| template.find(object(item)).ok().and_then(|f| f.into_iter().next()).unwrap_or_default();
    let mut keyed: Vec<(Value, T)> = std::mem::take(items).into_iter().map(|item| (key(&item), item)).collect();
    let number = |v: &Value| match v {
        Value::Str(_) => api::quantity::Quantity::parse(v.str()).ok().map(|q| q.nanos()),
        other => other.as_int().map(|n| i128::from(n) * 1_000_000_000),
    };
    keyed.sort_by(|a, b| match (number(&a.0), number(&b.0)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.0.str().cmp(b.0.str()),
    });
    *items = keyed.into_iter().map(|(_, item)| item).collect();
    Ok(())
}

async fn tables(ctx: &Ctx, requests: &[Request], wide: bool) -> Outcome {
    let sort_by = ctx.given.text("sort-by");
    let kinds: std::collections::BTreeSet<_> = requests.iter().map(|r| r.resource.qualified()).collect();
    let more: Vec<(&str, String)> = if sort_by.is_empty() { vec![] } else { vec![("includeObject", "Object".into())] };
    let (mut failures, mut printed, mut last) = (Vec::new(), 0, String::new());
    let mut columns = Columns::default();
    let mut pending: Vec<Vec<String>> = Vec::new();
    for request in requests {
        let answer = ctx.session.read(&uri(ctx, request, &more), TABLE).await;
        let mut table = match answer {
            Ok(answer) => as_table(answer),
            Err(failure) if failure.is_not_found() && ctx.given.on("ignore-not-found") && request.name.is_some() => {
                continue;
            }
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        if !sort_by.is_empty() {
            sort_items(table.entry("rows").make_list(), sort_by, |row| row.at("object"))?;
        }
        let style = style(ctx, wide, &request.resource, kinds.len() > 1);
        let rows = printer::rows(&table, &style, "");
        if rows.is_empty() {
            continue;
        }
        if last != request.resource.qualified() {
            out::print(&columns.format(&std::mem::take(&mut pending)));
            if !last.is_empty() {
                out::line("");
            }
            columns = Columns::default();
            last = request.resource.qualified();
            if !style.no_headers {
                pending.push(printer::header(&table, &style));
            }
        }
        printed += rows.len();
        pending.extend(rows);
    }
    out::print(&columns.format(&pending));
    if printed == 0 && failures.is_empty() && !ctx.given.on("ignore-not-found") {
        nothing_found(ctx, requests);
    }
    all_failures(failures)
}

fn nothing_found(ctx: &Ctx, requests: &[Request]) {
    let namespaced = requests.iter().any(|r| r.resource.namespaced);
    if namespaced && !ctx.given.on("all-namespaces") {
        eprintln!("No resources found in {} namespace.", ctx.session.namespace);
    } else {
        eprintln!("No resources found");
    }
}

/// One failure of several.
pub fn all_failures(failures: Vec<Failure>) -> Outcome {
    let Some(first) = failures.first().cloned() else { return Ok(()) };
    let text = failures.into_iter().map(|f| f.text).collect::<Vec<_>>().join("\n");
    Err(Failure { text, ..first })
}

async fn objects(ctx: &Ctx, form: &Form, requests: &[Request]) -> Outcome {
    let mut found: Vec<(Option<Resource>, Value)> = Vec::new();
    let mut failures = Vec::new();
    let mut as_list = requests.len() > 1;
    for request in requests {
        match ctx.session.get(&uri(ctx, request, &[])).await {
            Ok(answer) => {
                if request.name.is_some() {
                    found.push((Some(request.resource.clone()), answer));
                } else {
                    as_list = true;
                    let items = answer.at("items").items().iter();
                    found.extend(
                        items.map(|o| (Some(request.resource.clone()), complete(&request.resource, o.clone()))),
                    );
                }
            }
            Err(failure) if failure.is_not_found() && ctx.given.on("ignore-not-found") => {}
            Err(failure) => failures.push(failure),
        }
    }
    if ctx.given.has("sort-by") {
        sort_items(&mut found, ctx.given.text("sort-by"), |(_, object)| object)?;
    }
    if !ctx.given.on("show-managed-fields") {
        found.iter_mut().for_each(|(_, object)| printer::tidy(object));
    }
    let nothing = found.is_empty() && (!failures.is_empty() || (ctx.given.on("ignore-not-found") && !as_list));
    if !nothing {
        if found.is_empty() && matches!(form, Form::Columns(..)) {
            nothing_found(ctx, requests);
        }
        out::print(&printer::print(form, &found, as_list).map_err(Failure::error)?);
    }
    all_failures(failures)
}

async fn watch(ctx: &Ctx, form: &Form, requests: &[Request]) -> Outcome {
    let [request] = requests else {
        return Err(Failure::error("you may only specify a single resource type"));
    };
    let accept = if form.is_table() { TABLE } else { "application/json" };
    let mut printer = Changes { ctx, form, resource: &request.resource, columns: Columns::default(), headed: false };
    // A watch of one object is a watch of its collection with a field selector.
    let name = request.name.as_ref().map(|n| ("fieldSelector", format!("metadata.name={n}")));
    let collection = Request { resource: request.resource.clone(), namespace: request.namespace.clone(), name: None };
    if request.name.is_some() {
        ctx.session.get(&uri(ctx, request, &[])).await?; // not found is an error, as it is without --watch
    }
    let query: Vec<_> = name.into_iter().collect();
    let first = ctx.session.call(Method::GET, &uri(ctx, &collection, &query), accept, Body::default()).await?;
    let revision = first.at("metadata").at("resourceVersion").str().to_string();
    if !ctx.given.on("watch-only") {
        printer.print("ADDED", first)?;
    }
    let mut more = query;
    more.extend([("watch", "true".to_string()), ("resourceVersion", revision)]);
    let mut lines = Lines::new(ctx.session.open(&uri(ctx, &collection, &more), accept).await?);
    while let Some(line) = lines.next().await? {
        let mut event = api::json::parse(&line).map_err(|e| Failure::error(e.message))?;
        let kind = event.at("type").str().to_string();
        let object = event.remove("object").unwrap_or_default();
        match kind.as_str() {
            "BOOKMARK" => {}
            "ERROR" => return Err(Failure::error(format!("watch: {}", object.at("message").str()))),
            kind => printer.print(kind, object)?,
        }
    }
    Ok(())
}

/// Prints changes as they come.
struct Changes<'a> {
    ctx: &'a Ctx,
    form: &'a Form,
    resource: &'a Resource,
    columns: Columns,
    headed: bool,
}

impl Changes<'_> {
    fn print(&mut self, event: &str, object: Value) -> Outcome {
        if let Form::Table(wide) = self.form {
            let table = as_table(object);
            let style = style(self.ctx, *wide, self.resource, false);
            let mut rows = printer::rows(&table, &style, event);
            if !self.headed && !style.no_headers && !rows.is_empty() {
                rows.insert(0, printer::header(&table, &style));
                self.headed = true;
            }
            out::print(&self.columns.format(&rows));
            return Ok(());
        }
        let items = object.at("items").as_list().cloned().unwrap_or_else(|| vec![object]);
        for item in items {
            let mut item = complete(self.resource, item);
            if !self.ctx.given.on("show-managed-fields") {
                printer::tidy(&mut item);
            }
            let wrapped = if self.ctx.given.on("output-watch-events") {
                api::value::object([("object", item), ("type", Value::from(event))])
            } else {
                item
            };
            let text =
                printer::print(self.form, &[(Some(self.resource.clone()), wrapped)], false).map_err(Failure::error)?;
            match self.form {
                Form::Yaml => out::print(&format!("---\n{text}")),
                _ => out::print(&text),
            }
        }
        Ok(())
    }
}
