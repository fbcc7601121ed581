//! PATCH: JSON patch, merge patch, strategic merge patch, apply.

use super::write::{Part, reset_fields};
use super::{Context, Outcome, Registry, encode};
use crate::core::negotiate::Media;
use api::apply::{ApplyError, Writer};
use api::decode::{self, Notes};
use api::errors::FieldErrors;
use api::patch::{PatchError, json_patch, merge, strategic};
use api::status::Cause;
use api::{Status, Value, f};
use kinds::Resource;
use std::sync::Arc;

/// A patch's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// By Content-Type.
    pub fn of(content_type: &str) -> Option<PatchKind> {
        Some(match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => PatchKind::Json,
            "application/merge-patch+json" => PatchKind::Merge,
            "application/strategic-merge-patch+json" => PatchKind::Strategic,
            "application/apply-patch+yaml" => PatchKind::Apply,
            _ => return None,
        })
    }

    /// Changes an object as a patch in this language says.
    fn lay(self, patch: &Value, object: &mut Value, r: &Resource) -> Result<(), Status> {
        match self {
            PatchKind::Json => json_patch(object, patch).map_err(refused),
            PatchKind::Merge => {
                merge(object, patch);
                Ok(())
            }
            _ => strategic(object, patch, r.ty).map_err(Status::unclassified),
        }
    }
}

/// A patch without this text does not reach into what somebody owns.
const FIELDS: &[u8] = b"fieldsV1";

/// What is accepted, for the refusal.
pub const PATCH_TYPES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Registry {
    /// PATCH of an object or of a part of it.
    #[allow(clippy::too_many_arguments, reason = "a request's own parameters")]
    pub async fn patch(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        kind: PatchKind,
        body: &[u8],
        force: bool,
    ) -> Result<Outcome, Status> {
        let mut duplicates = Vec::new();
        let media = if kind == PatchKind::Apply { Media::Yaml } else { Media::Json };
        let patch = encode::parse_body(body, media, &mut duplicates).map_err(|e| match kind {
            PatchKind::Apply => Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {e}")),
            PatchKind::Json => Status::bad_request(format!("error decoding patch: {e}")),
            _ => Status::bad_request(e),
        })?;
        if kind == PatchKind::Apply {
            return self.apply(cx, r, namespace, name, part, patch, force).await;
        }
        if matches!(kind, PatchKind::Merge | PatchKind::Strategic) && patch.as_map().is_none() {
            let why =
                format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", patch.go_kind());
            return Err(Status::bad_request(match kind {
                PatchKind::Merge => format!("error decoding patch: {why}"),
                _ => why,
            }));
        }
        let api_version = r.api_version();
        let duplicates: Vec<String> = duplicates.into_iter().map(|p| format!("duplicate field \"{p}\"")).collect();
        let inside_ownership = body.windows(FIELDS.len()).any(|w| w == FIELDS);
        self.guaranteed(cx, r, namespace, name, part, &mut |registry, cx, live| {
            let Some((live, at)) = live else { return Err(Status::not_found(&r.group, &r.plural, name)) };
            let mut new = live.clone();
            if inside_ownership {
                new.expand();
            }
            // Patches speak of the whole object.
            let entries = new.make_map().entries_mut();
            entries.splice(
                0..0,
                [(f::kind.into(), r.kind.as_str().into()), (f::apiVersion.into(), api_version.as_str().into())],
            );
            kind.lay(&patch, &mut new, r)?;
            let mut notes = Notes::default();
            check_kind(&new, r, &api_version)?;
            let shown = match kind {
                PatchKind::Strategic => api::patch::go_plain(&patch),
                _ => api::json::to_string(&new),
            };
            decode::decode(&mut new, r.ty, &mut notes).map_err(|e| invalid_patch(&shown, &e))?;
            let mut strict = duplicates.clone();
            strict.append(&mut notes.strict);
            complain(cx, &strict, |e| invalid_patch(&shown, &e))?;
            new.remove(f::kind);
            new.remove(f::apiVersion);
            if new.at(f::metadata).at(f::name).str().is_empty() {
                return Err(Status::bad_request(format!(
                    "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                )));
            }
            check_identity(r, namespace, name, at.revision, &mut new)?;
            (r.rules.defaults)(&mut new);
            registry.own(cx, r, live, &mut new, false, part);
            Ok(Some(new))
        })
        .await
    }

    #[allow(clippy::too_many_arguments, reason = "a request's own parameters")]
    async fn apply(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        config: Value,
        force: bool,
    ) -> Result<Outcome, Status> {
        let config = if config.is_null() { Value::object() } else { config };
        if config.as_map().is_none() {
            return Err(Status::bad_request(format!(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                config.go_kind()
            )));
        }
        let api_version = r.api_version();
        check_apply(&config, r, &api_version, namespace, name)?;
        let mut notes = Notes::default();
        let mut probe = config.clone();
        decode::decode(&mut probe, r.ty, &mut notes).ok(); // type errors are apply's own, below
        let reset = reset_fields(r, part);
        let exists = self.cache(r).is_some_and(|c| c.get(&r.key(namespace, name)).is_some());
        if !exists {
            if part != Part::Main {
                return Err(Status::not_found(&r.group, &r.plural, name));
            }
            return self.apply_new(cx, r, namespace, name, &config, force).await;
        }
        self.guaranteed(cx, r, namespace, name, part, &mut |registry, cx, live| {
            let Some((live, at)) = live else { return Err(Status::not_found(&r.group, &r.plural, name)) };
            let now = registry.now();
            let w = Writer {
                manager: &cx.field_manager,
                api_version: &api_version,
                subresource: part.name(),
                now: &now,
                reset: &reset,
            };
            let mut config = config.clone();
            let given = config.get_mut(f::metadata).and_then(|m| m.remove(f::resourceVersion));
            let mut new = api::apply::apply(live, &config, r.ty, force, w).map_err(|e| apply_failed(e, r, &config))?;
            if let Some(v) = given {
                new.entry(f::metadata).set(f::resourceVersion, v);
            }
            normalize(&mut new, r)?;
            check_identity(r, namespace, name, at.revision, &mut new)?;
            (r.rules.defaults)(&mut new);
            Ok(Some(new))
        })
        .await
    }

    /// An apply of an object that does not exist creates it.
    async fn apply_new(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        name: &str,
        config: &Value,
        force: bool,
    ) -> Result<Outcome, Status> {
        let uid = config.at(f::metadata).at(f::uid).str();
        if !uid.is_empty() {
            return Err(Status::conflict(
                &r.group,
                &r.plural,
                name,
                &format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found"),
            ));
        }
        let mut empty = Value::object();
        empty.entry(f::metadata).make_map();
        let now = self.now();
        let w = Writer {
            manager: &cx.field_manager,
            api_version: &r.api_version(),
            subresource: Part::Main.name(),
            now: &now,
            reset: &reset_fields(r, Part::Main),
        };
        let mut object = api::apply::apply(&empty, config, r.ty, force, w).map_err(|e| apply_failed(e, r, config))?;
        normalize(&mut object, r)?;
        object.entry(f::metadata).set(f::name, name);
        if r.namespaced {
            object.entry(f::metadata).set(f::namespace, namespace);
        }
        (r.rules.defaults)(&mut object);
        self.create_owned(cx, r, namespace, object).await
    }
}

/// What apply merged, with leaves in canonical form.
fn normalize(object: &mut Value, r: &Resource) -> Result<(), Status> {
    decode::decode(object, r.ty, &mut Notes::default()).map_err(Status::unclassified)
}

/// Strict complaints become an error or warnings, as the client asked.
pub(crate) fn complain(
    cx: &mut Context,
    strict: &[String],
    error: impl FnOnce(String) -> Status,
) -> Result<(), Status> {
    if strict.is_empty() {
        return Ok(());
    }
    match cx.validation.as_str() {
        "Ignore" => Ok(()),
        "Strict" => Err(error(format!("strict decoding error: {}", strict.join(", ")))),
        _ => {
            cx.warnings.extend(strict.iter().cloned());
            Ok(())
        }
    }
}

fn refused(e: PatchError) -> Status {
    match e {
        PatchError::Malformed(m) => Status::bad_request(format!("error decoding patch: {m}")),
        PatchError::TooLarge(m) => Status::failure(413, "RequestEntityTooLarge", m),
        PatchError::Failed(_) => Status {
            details: true,
            ..Status::failure(422, "Invalid", "the server rejected our request due to an error in our request")
        },
    }
}

/// A patched object that is no object of its kind.
fn invalid_patch(shown: &str, why: &str) -> Status {
    let mut errs = FieldErrors::new();
    let root = api::errors::Path::Root;
    errs.invalid(&root.child("patch"), shown, why);
    Status::invalid("", "", "", &errs)
}

fn check_kind(new: &Value, r: &Resource, api_version: &str) -> Result<(), Status> {
    let (v, k) = (new.at(f::apiVersion).str(), new.at(f::kind).str());
    if k != r.kind || v != api_version {
        return Err(Status::bad_request(format!(
            "{k} in version {:?} cannot be handled as a {}: the kind or version of an object cannot be patched",
            v.rsplit('/').next().unwrap_or_default(),
            r.kind
        )));
    }
    Ok(())
}

/// A patch may demand a revision and a name; it cannot change them.
fn check_identity(r: &Resource, namespace: &str, name: &str, at: u64, new: &mut Value) -> Result<(), Status> {
    let m = new.entry(f::metadata).make_map();
    let given = m.get(f::resourceVersion).map(Value::str).unwrap_or_default().to_string();
    if !given.is_empty() && given != "0" {
        let v: u64 = given
            .parse()
            .map_err(|_| Status::unclassified(format!("strconv.ParseUint: parsing {given:?}: invalid syntax")))?;
        if v != at {
            return Err(Status::conflict(&r.group, &r.plural, name, Status::MODIFIED));
        }
    }
    super::write::check_place(r, namespace, name, new)
}

fn check_apply(config: &Value, r: &Resource, api_version: &str, namespace: &str, name: &str) -> Result<(), Status> {
    let (v, k) = (config.at(f::apiVersion).str(), config.at(f::kind).str());
    if v != api_version || k != r.kind {
        return Err(Status::bad_request(format!("invalid object type: {}, Kind={k}", gv(v))));
    }
    let m = config.at(f::metadata);
    if m.get(f::managedFields).is_some_and(|v| !v.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let own = m.at(f::name).str();
    if !own.is_empty() && own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let ns = m.at(f::namespace).str();
    if r.namespaced && !ns.is_empty() && ns != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn gv(v: &str) -> String {
    if v.contains('/') { v.to_string() } else { format!("/{v}") }
}

fn apply_failed(e: ApplyError, r: &Resource, config: &Value) -> Status {
    match e {
        ApplyError::Type(why) if why.starts_with("failed to merge") => Status::unclassified(why),
        ApplyError::Type(why) => {
            let gv = if r.group.is_empty() { format!("/{}", r.version) } else { r.api_version() };
            let m = config.at(f::metadata);
            Status::unclassified(format!(
                "failed to create typed patch object ({}/{}; {gv}, Kind={}): {why}",
                m.at(f::namespace).str(),
                m.at(f::name).str(),
                r.kind
            ))
        }
        ApplyError::Conflicts(found) => {
            let n = found.len();
            let mut s = Status::failure(409, "Conflict", String::new());
            s.causes = found
                .iter()
                .map(|(who, path)| Cause {
                    reason: "FieldManagerConflict".into(),
                    message: format!("conflict with {who}"),
                    field: path.clone(),
                })
                .collect();
            s.details = true;
            s.message = if n == 1 {
                format!("Apply failed with 1 conflict: conflict with {}: {}", found[0].0, found[0].1)
            } else {
                let mut managers: Vec<&String> = found.iter().map(|(w, _)| w).collect();
                managers.sort();
                managers.dedup();
                let mut lines = Vec::new();
                for m in managers {
                    lines.push(format!("conflicts with {m}:"));
                    lines.extend(found.iter().filter(|(w, _)| w == m).map(|(_, p)| format!("- {p}")));
                }
                format!("Apply failed with {n} conflicts: {}", lines.join("\n"))
            };
            s
        }
    }
}
