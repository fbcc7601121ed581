//! Requests about objects: from verb and path to the registry, and back into the form asked for.

use super::{BODY_MAX, Body, Call, Server, context, proxy, respond};
use crate::core::negotiate::{self, Form, Media, View};
use crate::registry::delete::DeleteOptions;
use crate::registry::encode::{self, Include};
use crate::registry::patch::{PATCH_TYPES, PatchKind, complain};
use crate::registry::read::ListOptions;
use crate::registry::watch::{Next, Watching, error_frame};
use crate::registry::write::Part;
use crate::registry::{Context, Outcome};
use api::errors::{FieldErrors, Path};
use api::schema::Type;
use api::{Status, Value, f};
use bytes::Bytes;
use http::Response;
use kinds::{Resource, by_path};
use std::sync::Arc;

/// Answers a request about objects.
pub async fn answer(server: &Arc<Server>, call: &mut Call) -> Response<Body> {
    let i = &call.info;
    let Some(r) = by_path(&i.group, &i.version, &i.resource) else { return unknown(call) };
    if !i.subresource.is_empty() && r.subresource(&i.subresource).is_none() {
        return unknown(call);
    }
    if let Err(s) = allowed(r, call) {
        return respond::status(&s, call);
    }
    if i.verb == "watch" {
        return match watch(server, call, r).await {
            Ok(r) => r,
            Err(s) => respond::status(&s, call),
        };
    }
    if proxy::is_proxied(&i.resource, &i.subresource) {
        return proxy::answer(server, call).await;
    }
    let mut cx = context(call);
    let told = (!r.rules.deprecated.is_empty()).then(|| r.rules.deprecated.to_string());
    let result = dispatch(server, call, &mut cx, r).await;
    let mut response = match result {
        Ok(Answer::Outcome(o)) => outcome(server, call, o),
        Ok(Answer::List(form, bytes)) => respond::formed(call, 200, form, bytes),
        Err(s) => respond::status(&s, call),
    };
    if !matches!(response.status().as_u16(), 406 | 415) {
        cx.warnings.splice(0..0, told);
    }
    respond::warn(&mut response, &cx.warnings);
    response
}

enum Answer {
    Outcome(Outcome),
    List(Form, Bytes),
}

/// A path within a known group that leads nowhere, or one of an unknown group.
fn unknown(call: &Call) -> Response<Body> {
    let i = &call.info;
    let known = kinds::resources().iter().any(|r| r.group == i.group);
    if !known {
        return respond::text(404, "404 page not found\n");
    }
    let mut s = Status::failure(404, "NotFound", "the server could not find the requested resource");
    s.details = true;
    respond::status(&s, call)
}

/// Whether the method is one that the resource knows.
fn allowed(r: &Resource, call: &Call) -> Result<(), Status> {
    let i = &call.info;
    let refuse = || {
        let mut s =
            Status::failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        s.details = true;
        Err(s)
    };
    let verbs =
        if i.subresource.is_empty() { &r.verbs } else { r.subresource(&i.subresource).map_or(&r.verbs, |s| &s.verbs) };
    let verb = i.verb.as_str();
    if matches!(call.method.as_str(), "HEAD" | "OPTIONS") || !verbs.iter().any(|v| v == verb) {
        return refuse();
    }
    // Creates go to collections, updates to items.
    let item = !i.name.is_empty();
    let fits = match verb {
        "create" => item == !i.subresource.is_empty(),
        "update" | "patch" | "get" | "delete" => item,
        _ => true,
    };
    let placed = !r.namespaced || !i.namespace.is_empty() || matches!(verb, "list" | "watch") || !r.has_verb("get");
    if fits && placed { Ok(()) } else { refuse() }
}

async fn dispatch(server: &Arc<Server>, call: &Call, cx: &mut Context, r: &'static Resource) -> Result<Answer, Status> {
    let registry = &server.registry;
    let i = &call.info;
    let (namespace, name) = (i.namespace.as_str(), i.name.as_str());
    let namespace = if r.namespaced { namespace } else { "" };
    check_options(call)?;
    check_query(call)?;
    if matches!(i.verb.as_str(), "list" | "deletecollection") {
        let form = respond::form(call, true)?;
        if i.verb == "list" {
            let o = ListOptions::parse(&call.query, r, false)?;
            return Ok(Answer::List(form, registry.list(r, namespace, &o, form).await?));
        }
        let list = ListOptions::parse(&call.query, r, false)?;
        let o = delete_options(call)?;
        cx.dry_run |= o.dry_run;
        let page = registry.delete_collection(cx, r, namespace, &list, &o).await?;
        return Ok(Answer::List(form, registry.assemble(r, &page, form, &list)));
    }
    respond::form(call, false)?;
    if !i.subresource.is_empty() && i.subresource != "status" {
        return subresource(server, call, cx, r).await.map(Answer::Outcome);
    }
    let part = if i.subresource == "status" { Part::Status } else { Part::Main };
    let done = match i.verb.as_str() {
        "get" => Outcome::Object(r, registry.get(r, namespace, name, call.query.text("resourceVersion")).await?, 200),
        "create" => {
            let object = object(call, cx, r.ty, &r.api_version(), &r.kind)?;
            if r.prefix.is_empty() {
                if r.kind == "Binding" {
                    let target = object.at(f::metadata).at(f::name).str().to_string();
                    registry.bind(cx, namespace, &target, &object).await?
                } else {
                    registry.review(cx, r, namespace, object, &server.config.tokens).await?
                }
            } else {
                registry.create(cx, r, namespace, object).await?
            }
        }
        "update" => {
            let mut sent = |cx: &mut Context| object(call, cx, r.ty, &r.api_version(), &r.kind);
            registry.update(cx, r, namespace, name, &mut sent, part).await?
        }
        "patch" => patch(server, call, cx, r, part).await?,
        "delete" => {
            let o = delete_options(call)?;
            cx.dry_run |= o.dry_run;
            registry.delete(cx, r, namespace, name, &o).await?
        }
        other => return Err(Status::method_not_supported(&r.group, &r.plural, other)),
    };
    Ok(Answer::Outcome(done))
}

async fn patch(
    server: &Arc<Server>,
    call: &Call,
    cx: &mut Context,
    r: &'static Resource,
    part: Part,
) -> Result<Outcome, Status> {
    let i = &call.info;
    let kind = PatchKind::of(call.header("content-type").unwrap_or_default()).ok_or_else(|| Status {
        details: true,
        ..Status::failure(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    })?;
    let force = call.query.get("force").is_some_and(|v| !matches!(v, "false" | "0"));
    let mut errs = FieldErrors::new();
    let root = Path::Root;
    if kind == PatchKind::Apply && call.query.text("fieldManager").is_empty() {
        errs.required(&root.child("fieldManager"), "is required for apply patch");
    }
    if kind != PatchKind::Apply && call.query.get("force").is_some() {
        errs.forbidden(&root.child("force"), "may not be specified for non-apply patch");
    }
    if !errs.is_empty() {
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errs));
    }
    if call.body.len() > BODY_MAX {
        return Err(Status::failure(413, "RequestEntityTooLarge", format!("limit is {BODY_MAX}")));
    }
    let namespace = if r.namespaced { i.namespace.as_str() } else { "" };
    server.registry.patch(cx, r, namespace, &i.name, part, kind, &call.body, force).await
}

/// What a query says in numbers and times must be readable.
fn check_query(call: &Call) -> Result<(), Status> {
    let query = &call.query;
    if query.get("export").is_some_and(|v| !matches!(v, "false" | "0")) {
        return Err(Status::bad_request("the export parameter, deprecated since v1.14, is no longer supported"));
    }
    if matches!(call.info.verb.as_str(), "list" | "watch" | "deletecollection") {
        for key in ["limit", "timeoutSeconds"] {
            if let Some(text) = query.get(key).filter(|t| !t.is_empty() && t.parse::<i64>().is_err()) {
                return Err(Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")));
            }
        }
    }
    match query.get("timeout").filter(|t| !t.is_empty() && api::time::parse_duration(t).is_none()) {
        Some(text) => Err(Status::bad_request(format!(
            "invalid timeout specified in the request URL - time: invalid duration {text:?}"
        ))),
        None => Ok(()),
    }
}

/// The options that every write shares.
fn check_options(call: &Call) -> Result<(), Status> {
    let kind = match call.info.verb.as_str() {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => return Ok(()),
    };
    let mut errs = FieldErrors::new();
    let root = Path::Root;
    let dry: Vec<&str> = call.query.all("dryRun").collect();
    if !dry.is_empty() && dry.iter().any(|d| *d != "All") {
        let shown = Value::List(dry.iter().map(|d| Value::from(*d)).collect());
        errs.not_supported(&root.child("dryRun"), &shown, &["All"]);
    }
    let manager = call.query.text("fieldManager");
    if manager.len() > 128 {
        errs.too_long(&root.child("fieldManager"), 128);
    }
    if manager.chars().any(char::is_control) {
        errs.invalid(&root.child("fieldManager"), manager, "should only contain printable characters");
    }
    let validation = call.query.text("fieldValidation");
    if !matches!(validation, "" | "Strict" | "Warn" | "Ignore") {
        errs.not_supported(&root.child("fieldValidation"), validation, &["", "Ignore", "Strict", "Warn"]);
    }
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", kind, "", &errs)) }
}

/// The object in a body.
fn object(call: &Call, cx: &mut Context, ty: &'static Type, api_version: &str, kind: &str) -> Result<Value, Status> {
    let media = negotiate::content_type(call.header("content-type"))
        .map_err(|e| Status::failure(415, "UnsupportedMediaType", e))?;
    if call.body.len() > BODY_MAX {
        return Err(Status::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_MAX}"),
        ));
    }
    let decoded = encode::decode_body(&call.body, media, (api_version, kind), ty)?;
    let version = api_version.rsplit('/').next().unwrap_or(api_version).to_string();
    complain(cx, &decoded.strict, |e| {
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {e}"))
    })?;
    Ok(decoded.object)
}

fn delete_options(call: &Call) -> Result<DeleteOptions, Status> {
    if call.body.is_empty() {
        let mut v = Value::object();
        if let Some(n) = call.query.int("gracePeriodSeconds") {
            v.set(f::gracePeriodSeconds, n);
        }
        if let Some(p) = call.query.get("propagationPolicy") {
            v.set(f::propagationPolicy, p);
        }
        if let Some(o) = call.query.get("orphanDependents") {
            v.set(f::orphanDependents, !matches!(o, "false" | "0"));
        }
        let dry: Vec<Value> = call.query.all("dryRun").map(Value::from).collect();
        if !dry.is_empty() {
            v.set(f::dryRun, dry);
        }
        return DeleteOptions::from_value(&v);
    }
    let media = negotiate::content_type(call.header("content-type"))
        .map_err(|e| Status::failure(415, "UnsupportedMediaType", e))?;
    let ty = Type::named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .ok_or_else(|| Status::internal("DeleteOptions has no type"))?;
    if media != Media::Protobuf
        && let Ok(v) = encode::parse_body(&call.body, media, &mut Vec::new())
    {
        let (gv, kind) = (v.at(f::apiVersion).str(), v.at(f::kind).str());
        if v.as_map().is_none() && !v.is_null() {
            return Err(Status::bad_request(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
                v.go_kind()
            )));
        }
        let gv = if gv.is_empty() { "meta.k8s.io/v1" } else { gv };
        if !kind.is_empty() && kind != "DeleteOptions" {
            return Err(Status::bad_request(format!(
                "no kind {kind:?} is registered for version {gv:?} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
            )));
        }
    }
    let v = if media == Media::Protobuf {
        let raw = api::proto::open(&call.body).map(|(_, _, raw)| raw).unwrap_or(&call.body);
        api::proto::decode(raw, ty).map_err(Status::bad_request)?
    } else {
        let mut v = encode::parse_body(&call.body, media, &mut Vec::new()).map_err(Status::bad_request)?;
        api::decode::decode(&mut v, ty, &mut api::decode::Notes::default()).map_err(Status::bad_request)?;
        v
    };
    DeleteOptions::from_value(&v)
}

async fn subresource(
    server: &Arc<Server>,
    call: &Call,
    cx: &mut Context,
    r: &'static Resource,
) -> Result<Outcome, Status> {
    let registry = &server.registry;
    let i = &call.info;
    let (namespace, name) = (i.namespace.as_str(), i.name.as_str());
    let sub = r.subresource(&i.subresource).ok_or_else(|| Status::not_found(&r.group, &r.plural, name))?;
    let (group, version, kind) = &sub.gvk;
    let gv = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let sent = |cx: &mut Context| -> Result<Value, Status> {
        let ty = Type::of_kind(group, version, kind).ok_or_else(|| Status::internal(format!("{kind} has no type")))?;
        object(call, cx, ty, &gv, kind)
    };
    let load = || {
        registry.load(r, namespace, name).map(|(v, _)| v).ok_or_else(|| Status::not_found(&r.group, &r.plural, name))
    };
    match (i.subresource.as_str(), i.verb.as_str()) {
        ("scale", "get") => {
            registry.catch_up().await;
            Ok(Outcome::Made(registry.scale_of(r, &load()?), 200))
        }
        ("scale", "update") => {
            let v = sent(cx)?;
            registry.set_scale(cx, r, namespace, name, &v).await
        }
        ("scale", "patch") => {
            let mut scale = registry.scale_of(r, &load()?);
            patch_made(call, &mut scale)?;
            registry.set_scale(cx, r, namespace, name, &scale).await
        }
        ("binding", "create") => {
            let v = sent(cx)?;
            registry.bind(cx, namespace, name, &v).await
        }
        ("eviction", "create") => {
            let v = sent(cx)?;
            let mut o = DeleteOptions::from_value(v.at(f::deleteOptions))?;
            o.dry_run |= cx.dry_run;
            registry.evict(cx, namespace, name, o).await
        }
        ("token", "create") => {
            let v = sent(cx)?;
            registry.token_request(cx, namespace, name, v)
        }
        (_, "get") => {
            Ok(Outcome::Object(r, registry.get(r, if r.namespaced { namespace } else { "" }, name, "").await?, 200))
        }
        (_, "update") if let Some(rules) = r.rules.part(&i.subresource) => {
            let namespace = if r.namespaced { namespace } else { "" };
            registry.update(cx, r, namespace, name, &mut |cx| sent(cx), Part::Sub(rules.name)).await
        }
        (_, "patch") if let Some(rules) = r.rules.part(&i.subresource) => {
            patch(server, call, cx, r, Part::Sub(rules.name)).await
        }
        (_, verb) => Err(Status::method_not_supported(&r.group, &format!("{}/{}", r.plural, i.subresource), verb)),
    }
}

/// Applies a patch to an object that is made on the way.
fn patch_made(call: &Call, v: &mut Value) -> Result<(), Status> {
    let kind = PatchKind::of(call.header("content-type").unwrap_or_default());
    let patch = api::yaml_or_json(&call.body).map_err(Status::bad_request)?;
    match kind {
        Some(PatchKind::Json) => api::patch::json_patch(v, &patch).map_err(|_| {
            Status::failure(422, "Invalid", "the server rejected our request due to an error in our request")
        }),
        Some(PatchKind::Strategic) => {
            let (gv, k) = (v.at(f::apiVersion).str().to_string(), v.at(f::kind).str().to_string());
            let (group, version) = gv.split_once('/').unwrap_or(("", &gv));
            match Type::of_kind(group, version, &k).or_else(|| Type::of_kind("", "v1", "Pod")) {
                Some(ty) => api::patch::strategic(v, &patch, ty).map_err(Status::unclassified),
                None => Err(Status::internal("no type to merge by")),
            }
        }
        Some(_) => {
            api::patch::merge(v, &patch);
            Ok(())
        }
        None => Err(Status::failure(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {PATCH_TYPES}"),
        )),
    }
}

fn outcome(server: &Arc<Server>, call: &Call, o: Outcome) -> Response<Body> {
    let form = respond::form(call, false).unwrap_or(Form::JSON);
    match o {
        Outcome::Object(r, bytes, code) => {
            let include = match call.query.get("includeObject") {
                Some("None") => Include::None,
                Some("Object") => Include::Object,
                _ => Include::Metadata,
            };
            let now = server.registry.env.wall().unix_seconds();
            respond::formed(call, code, form, encode::object_form(&bytes, r, form, now, include))
        }
        Outcome::Made(v, code) => {
            respond::formed(call, code, form, encode::value_form(&v, Form { view: View::Full, ..form }))
        }
        Outcome::Status(s) => respond::status(&s, call),
    }
}

async fn watch(server: &Arc<Server>, call: &Call, r: &'static Resource) -> Result<Response<Body>, Status> {
    let form = respond::form(call, true).or_else(|e| respond::form(call, false).map_err(|_| e))?;
    let mut o = ListOptions::parse(&call.query, r, true)?;
    if !call.info.name.is_empty() {
        o.fields.terms.push(("metadata.name".into(), true, call.info.name.clone()));
    }
    let namespace = if r.namespaced { call.info.namespace.as_str() } else { "" };
    let media = match form.media {
        Media::Json => "application/json",
        Media::Yaml => "application/yaml",
        Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
    };
    let opened = server.registry.watch(r, namespace, o).await;
    let body = match opened {
        Ok(w) => {
            Body::Stream(Box::pin(futures_util::stream::unfold(Some((w, true)), move |state| frames(state, form))))
        }
        // A revision that is gone is the watch's first and last event.
        Err(s) if s.code == 410 => Body::from(error_frame(&s, form)),
        Err(s) => return Err(s),
    };
    let mut response = respond::raw(200, media, Bytes::new());
    *response.body_mut() = body;
    Ok(response)
}

/// The next frame of a watch; several events that are there already go out as one.
async fn frames(state: Option<(Watching, bool)>, form: Form) -> Option<(Bytes, Option<(Watching, bool)>)> {
    let (mut w, first) = state?;
    match w.next().await {
        Next::Event(seen) => {
            let bytes = w.frame(&seen, form, first);
            Some((bytes, Some((w, false))))
        }
        Next::Bookmark(revision, end) => {
            let bytes = w.bookmark(revision, end, form);
            Some((bytes, Some((w, first))))
        }
        Next::Error(s) => Some((error_frame(&s, form), None)),
        Next::End => None,
    }
}
