//! GET and LIST.

use super::encode::{self, Include};
use super::{Registry, stored_of};
use crate::core::negotiate::{Form, Media, View};
use crate::core::query::Query;
use api::selector::{FieldSelector, LabelSelector};
use api::{Status, Value, f, json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use bytes::Bytes;
use cache::Object;
use kinds::Resource;
use std::sync::Arc;
use store::{At, RangeRequest, ReadError, Revision};

/// The options of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Labels.
    pub labels: LabelSelector,
    /// Fields.
    pub fields: FieldSelector,
    /// Page size; 0: all.
    pub limit: usize,
    /// Where the last page ended.
    pub continue_token: String,
    /// The revision asked for, as given.
    pub resource_version: String,
    /// How exactly it is meant.
    pub version_match: String,
    /// Watch: bookmarks are wanted.
    pub bookmarks: bool,
    /// Watch: begin with what there is.
    pub initial_events: Option<bool>,
    /// Watch: seconds until it ends.
    pub timeout: Option<i64>,
    /// What of objects table rows carry.
    pub include: Option<String>,
}

impl ListOptions {
    /// From a query string.
    pub fn parse(query: &Query, r: &Resource, watch: bool) -> Result<ListOptions, Status> {
        let labels = LabelSelector::parse(query.text("labelSelector"))
            .map_err(|e| Status::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = FieldSelector::parse(query.text("fieldSelector")).map_err(Status::bad_request)?;
        for (key, ..) in &fields.terms {
            let known =
                matches!(key.as_str(), "metadata.name" | "metadata.namespace") || r.selectable.iter().any(|s| s == key);
            if !known {
                return Err(Status::bad_request(match (r.selectable.is_empty(), r.plural.as_str()) {
                    (true, _) => {
                        format!("{key:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                    }
                    (_, "resourceslices") => {
                        format!("field label not supported for {}, Kind={}: {key}", r.api_version(), r.kind)
                    }
                    _ => format!("field label not supported: {key}"),
                }));
            }
        }
        let o = ListOptions {
            labels,
            fields,
            limit: query.int("limit").filter(|n| *n > 0).unwrap_or(0) as usize,
            continue_token: query.text("continue").into(),
            resource_version: query.text("resourceVersion").into(),
            version_match: query.text("resourceVersionMatch").into(),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.get("sendInitialEvents").map(|v| !matches!(v, "false" | "0")),
            timeout: query.int("timeoutSeconds"),
            include: query.get("includeObject").map(String::from),
        };
        o.check(watch)?;
        Ok(o)
    }

    fn check(&self, watch: bool) -> Result<(), Status> {
        use api::errors::{FieldErrors, Path};
        let mut errs = FieldErrors::new();
        static ROOT: Path<'static> = Path::Root;
        let path = ROOT.child("resourceVersionMatch");
        let initial = ROOT.child("sendInitialEvents");
        match self.initial_events {
            Some(_) if !watch => errs.forbidden(&initial, "sendInitialEvents is forbidden for list"),
            Some(_) if self.version_match.is_empty() => {
                errs.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            }
            Some(_) if self.version_match != "NotOlderThan" => {
                errs.not_supported(&path, self.version_match.as_str(), &["NotOlderThan"])
            }
            Some(_) => {}
            None if watch && !self.version_match.is_empty() => errs
                .forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
            None => {}
        }
        if !watch && !self.version_match.is_empty() {
            if self.resource_version.is_empty() {
                errs.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_token.is_empty() {
                errs.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if !matches!(self.version_match.as_str(), "Exact" | "NotOlderThan") {
                errs.not_supported(&path, self.version_match.as_str(), &["Exact", "NotOlderThan", ""]);
            }
            if self.version_match == "Exact" && self.resource_version == "0" {
                errs.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if errs.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errs)) }
    }

    /// Whether an object is selected.
    pub fn selects(&self, o: &Object, r: &Resource) -> bool {
        self.labels.matches_with(|k| o.index.label(k)) && self.fields.matches_with(|k| field(o, r, k))
    }

    /// Whether everything is selected.
    pub fn selects_all(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

fn field<'a>(o: &'a Object, r: &Resource, key: &str) -> &'a str {
    match key {
        "metadata.name" => &o.index.name,
        "metadata.namespace" => &o.index.namespace,
        _ => r.selectable.iter().position(|s| s == key).and_then(|i| o.index.fields.get(i)).map_or("", |s| s),
    }
}

/// 504 for a revision that has not come yet.
fn too_large(asked: u64, current: u64) -> Status {
    let mut s = Status::failure(504, "Timeout", format!("Too large resource version: {asked}, current: {current}"));
    s.causes.push(api::status::Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    });
    s.retry_after = 1;
    s.details = true;
    s
}

/// What a revision that is gone is answered with.
pub(crate) fn gone(what: &str) -> Status {
    Status::expired(what)
}

impl Registry {
    /// Waits until the caches are as new as a request needs.
    async fn fresh_enough(&self, version: &str) -> Result<(), Status> {
        match version {
            "" => {
                self.catch_up().await;
                Ok(())
            }
            "0" => Ok(()),
            v => {
                let asked = parse_version(v)?;
                match platform::time::timeout(self.env.limits().server.patience, self.wait_for(asked)).await {
                    Ok(()) => Ok(()),
                    Err(_) => Err(too_large(asked, self.revision())),
                }
            }
        }
    }

    /// GET of one object.
    pub async fn get(&self, r: &'static Resource, namespace: &str, name: &str, version: &str) -> Result<Bytes, Status> {
        if !version.is_empty() && version != "0" && version.parse::<u64>().is_err() {
            return Err(Status::unclassified(format!(
                "invalid resource version {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
            )));
        }
        self.fresh_enough(version).await?;
        let found = self.cache(r).and_then(|c| c.get(&r.key(namespace, name)));
        found.map(|o| o.text()).ok_or_else(|| Status::not_found(&r.group, &r.plural, name))
    }

    /// LIST in a form.
    pub async fn list(
        &self,
        r: &'static Resource,
        namespace: &str,
        o: &ListOptions,
        form: Form,
    ) -> Result<Bytes, Status> {
        let page = self.page(r, namespace, o).await?;
        Ok(self.assemble(r, &page, form, o))
    }

    /// The objects of one page.
    pub async fn page(&self, r: &'static Resource, namespace: &str, o: &ListOptions) -> Result<Page, Status> {
        if !o.resource_version.is_empty() {
            parse_version(&o.resource_version)?;
        }
        if !o.continue_token.is_empty() {
            if !matches!(o.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            let token = Continue::decode(&o.continue_token)
                .ok_or_else(|| Status::bad_request("continue key is not valid: illegal base64 data at input byte 0"))?;
            return self.continued(r, namespace, o, token).await;
        }
        let exact = o.version_match == "Exact";
        if exact {
            let at = parse_version(&o.resource_version)?;
            return self.continued(r, namespace, o, Continue { revision: at, start: String::new() }).await;
        }
        self.fresh_enough(&o.resource_version).await?;
        let Some(cache) = self.cache(r) else { return Ok(Page::default()) };
        let prefix = r.key_prefix(namespace);
        let mut page = Page { revision: self.revision(), ..Page::default() };
        let mut remaining = 0;
        cache.scan(&prefix, None, |object| {
            if o.limit > 0 && page.objects.len() >= o.limit {
                remaining += 1;
                return true;
            }
            if o.selects(object, stored_of(r)) {
                page.objects.push(object.clone());
                page.last = object.key.to_string();
            }
            true
        });
        page.more(remaining, o, &prefix);
        Ok(page)
    }

    /// A page at an exact revision, read from the store.
    async fn continued(
        &self,
        r: &'static Resource,
        namespace: &str,
        o: &ListOptions,
        token: Continue,
    ) -> Result<Page, Status> {
        let prefix = r.key_prefix(namespace);
        let current = self.revision();
        let at = if token.revision == 0 { current } else { token.revision };
        if at > current {
            return Err(too_large(at, current));
        }
        let start = if token.start.is_empty() { None } else { Some(format!("{prefix}{}", token.start).into()) };
        // What is not selected does not count: then all of it has to be looked at.
        let limit = if o.selects_all() { o.limit } else { 0 };
        let request = RangeRequest { prefix: prefix.clone().into(), start, limit, at: At::Revision(Revision(at)) };
        let range = self.store.range(request).await.map_err(|e| match e {
            ReadError::Compacted { .. } => gone("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."),
            ReadError::Future { current } => too_large(at, current.0),
            ReadError::Unavailable(e) => Status::internal(e),
        })?;
        let mut page = Page { revision: at, ..Page::default() };
        let mut remaining = range.remaining;
        for entry in &range.entries {
            if o.limit > 0 && page.objects.len() >= o.limit {
                remaining += 1;
                continue;
            }
            let object = Arc::new(super::object_of(entry, stored_of(r)));
            page.last = object.key.to_string();
            if o.selects(&object, stored_of(r)) {
                page.objects.push(object);
            }
        }
        page.more(remaining, o, &prefix);
        Ok(page)
    }

    /// A page as bytes.
    pub fn assemble(&self, r: &'static Resource, page: &Page, form: Form, o: &ListOptions) -> Bytes {
        let now = self.env.wall().unix_seconds();
        let meta = page.metadata();
        match (form.view, form.media) {
            (View::Full, Media::Json | Media::Yaml) => {
                let size: usize = page.objects.iter().map(|o| o.text().len() + 1).sum();
                let mut out = list_head(&format!("{}List", r.kind), &r.api_version(), &meta);
                out.reserve(size + 2);
                for (i, object) in page.objects.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(&encode::served(&object.text(), r));
                }
                out.extend_from_slice(b"]}");
                in_text_form(out, form)
            }
            (View::Full, Media::Protobuf) => {
                let mut raw = Vec::new();
                if let Some(ty) = api::schema::Type::named("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta") {
                    api::proto::put_bytes(&mut raw, 1, &api::proto::encode(&meta, ty));
                }
                for object in &page.objects {
                    let make = || api::proto::encode(&encode::tree(&encode::served(&object.text(), r)), r.ty).into();
                    api::proto::put_bytes(&mut raw, 2, &self.forms.get(&object.forms, form_id(r, form), make));
                }
                Bytes::from(api::proto::envelope(&r.api_version(), &format!("{}List", r.kind), &raw))
            }
            (View::Metadata, Media::Json | Media::Yaml) => {
                let mut out = list_head("PartialObjectMetadataList", "meta.k8s.io/v1", &meta);
                for (i, object) in page.objects.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(
                        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
                    );
                    out.extend_from_slice(metadata_span(&object.text()).unwrap_or(b"{}"));
                    out.push(b'}');
                }
                out.extend_from_slice(b"]}");
                in_text_form(out, form)
            }
            (View::Metadata, Media::Protobuf) => {
                let items: Vec<Value> =
                    page.objects.iter().map(|o| encode::partial(&encode::tree(&o.text()))).collect();
                let mut v = Value::object();
                for (k, x) in [
                    (f::kind, Value::from("PartialObjectMetadataList")),
                    (f::apiVersion, "meta.k8s.io/v1".into()),
                    (f::metadata, meta),
                    (f::items, items.into()),
                ] {
                    v.set(k, x);
                }
                encode::value_form(&v, form)
            }
            (View::Table, _) => {
                let include = include_of(o);
                let rows = page.objects.iter().map(|o| {
                    let bytes = encode::served(&o.text(), r);
                    encode::row(r, &encode::tree(&bytes), &bytes, now, include)
                });
                encode::value_form(&encode::table(r, meta, rows.collect(), true), form)
            }
        }
    }
}

/// A list up to its first item.
fn list_head(kind: &str, api_version: &str, meta: &Value) -> Vec<u8> {
    let mut out = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":").into_bytes();
    json::write(&mut out, meta);
    out.extend_from_slice(b",\"items\":[");
    out
}

/// JSON text as it is asked for.
fn in_text_form(text: Vec<u8>, form: Form) -> Bytes {
    match (form.media, form.pretty) {
        (Media::Yaml, _) => encode::value_form(&json::parse(&text).unwrap_or_default(), form),
        (_, true) => encode::pretty(&text),
        _ => Bytes::from(text),
    }
}

/// The text of `metadata`, which stands first in stored text.
fn metadata_span(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"{\"metadata\":")?;
    let (mut depth, mut quoted, mut i) = (0_usize, false, 0);
    while i < rest.len() {
        match rest[i] {
            b'\\' if quoted => i += 1,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(&rest[..=i]);
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// Set in the id of a form that is a watch's frame.
pub(super) const FRAME: u64 = 1 << 7;

/// Names a form of an object or event among its others.
pub(super) fn form_id(r: &Resource, form: Form) -> u64 {
    let media = form.media as u64;
    let view = form.view as u64;
    // Versions of one stored resource have different texts.
    let version = r.api_version().bytes().fold(0_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    version << 8 | media << 4 | view
}

/// What table rows carry.
pub fn include_of(o: &ListOptions) -> Include {
    match o.include.as_deref() {
        Some("None") => Include::None,
        Some("Object") => Include::Object,
        _ => Include::Metadata,
    }
}

fn parse_version(v: &str) -> Result<u64, Status> {
    v.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: Invalid value: {v:?}: strconv.ParseUint: parsing {v:?}: invalid syntax"
        ))
    })
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// What was selected.
    pub objects: Vec<Arc<Object>>,
    /// The revision of the state.
    pub revision: u64,
    last: String,
    token: String,
    remaining: Option<usize>,
}

impl Page {
    fn more(&mut self, remaining: usize, o: &ListOptions, prefix: &str) {
        if o.limit == 0 || remaining == 0 {
            return;
        }
        let start = self.last.strip_prefix(prefix).unwrap_or(&self.last).to_string();
        self.token = Continue { revision: self.revision, start }.encode();
        if o.selects_all() {
            self.remaining = Some(remaining);
        }
    }

    /// The list's metadata.
    pub fn metadata(&self) -> Value {
        let mut m = Value::object();
        m.set(f::resourceVersion, self.revision.to_string());
        if !self.token.is_empty() {
            m.set(f::continue_, self.token.as_str());
        }
        if let Some(n) = self.remaining {
            m.set(f::remainingItemCount, n as i64);
        }
        m
    }
}

/// Where a list goes on: behind a key, at a revision.
struct Continue {
    revision: u64,
    start: String,
}

impl Continue {
    fn encode(&self) -> String {
        B64.encode(format!(
            "{{\"v\":\"meta.k8s.io/v1\",\"rv\":{},\"start\":{}}}",
            self.revision,
            api::status::quoted(&format!("{}\0", self.start))
        ))
    }

    fn decode(token: &str) -> Option<Continue> {
        let v = json::parse(&B64.decode(token).ok()?).ok()?;
        (v.at("v").str() == "meta.k8s.io/v1")
            .then(|| Continue { revision: v.at("rv").int().max(0) as u64, start: v.at("start").str().to_string() })
    }
}
