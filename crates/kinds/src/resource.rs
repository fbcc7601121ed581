//! The table of resources, read once from `facts/resources.json` and `facts/table-columns.json`.

use crate::rules::{self, Rules};
use api::schema::Type;
use api::{Value, json};
use std::sync::LazyLock;

/// A subresource.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Its name.
    pub name: String,
    /// Group, version and kind of its objects.
    pub gvk: (String, String, String),
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A column of a resource's table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type.
    pub ty: String,
    /// OpenAPI format.
    pub format: String,
    /// 0: always shown; 1: in wide output.
    pub priority: i64,
}

/// How a resource is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// PUT of a missing object creates it.
    pub create_on_update: bool,
    /// An update without resourceVersion is allowed.
    pub unconditional_update: bool,
    /// DELETE answers with the object.
    pub delete_returns_object: bool,
    /// Deletion waits for a grace period.
    pub graceful_delete: bool,
}

/// One served resource.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Served version.
    pub version: String,
    /// Path segment.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Lives in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// Start of its store keys; empty if nothing is stored.
    pub prefix: String,
    /// How it is written.
    pub policy: Policy,
    /// Fields that selectors may name, besides name and namespace.
    pub selectable: Vec<String>,
    /// Table columns.
    pub columns: Vec<Column>,
    /// Its type.
    pub ty: &'static Type,
    /// The resource whose form is stored: itself, or another version of the same kind.
    pub stored: Option<(String, String)>,
    /// What it means.
    pub rules: &'static Rules,
}

impl Resource {
    /// `group/version`, or `version` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The group that errors of an object name: events are the core group's, whichever way they came.
    pub fn error_group(&self) -> &str {
        if self.kind == "Event" { "" } else { &self.group }
    }

    /// Whether a verb is served.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The key of an object in the store.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{}/{namespace}/{name}", self.prefix) } else { format!("{}/{name}", self.prefix) }
    }

    /// The start of the keys of a namespace (all namespaces if it is empty), with the closing slash.
    pub fn key_prefix(&self, namespace: &str) -> String {
        if self.namespaced && !namespace.is_empty() {
            format!("{}/{namespace}/", self.prefix)
        } else {
            format!("{}/", self.prefix)
        }
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether it has a status of its own.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

/// All resources, in discovery's order.
pub fn resources() -> &'static [Resource] {
    static ALL: LazyLock<Vec<Resource>> = LazyLock::new(load);
    &ALL
}

/// The resource behind a path.
pub fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources().iter().find(|r| r.plural == plural && r.version == version && r.group == group)
}

fn load() -> Vec<Resource> {
    let facts = json::parse(include_bytes!("../../../facts/resources.json")).expect("facts/resources.json is JSON");
    let columns =
        json::parse(include_bytes!("../../../facts/table-columns.json")).expect("facts/table-columns.json is JSON");
    facts.items().iter().map(|v| row(v, &columns)).collect()
}

fn text(v: &Value, key: &str) -> String {
    v.at(key).str().to_string()
}

fn texts(v: &Value, key: &str) -> Vec<String> {
    v.at(key).items().iter().map(|v| v.str().to_string()).collect()
}

fn gvk(text: &str) -> (String, String, String) {
    let mut parts = text.rsplitn(3, '/');
    let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (parts.next().unwrap_or_default().into(), version.into(), kind.into())
}

fn row(v: &Value, columns: &Value) -> Resource {
    let (group, version, plural, kind) = (text(v, "group"), text(v, "version"), text(v, "plural"), text(v, "kind"));
    let ty = Type::of_kind(&group, &version, &kind)
        .unwrap_or_else(|| panic!("{group}/{version} {kind} is in the type table"));
    let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let columns = columns.at(format!("{api_version}/{plural}").as_str()).items().iter().map(|c| Column {
        name: text(c, "name"),
        ty: text(c, "type"),
        format: text(c, "format"),
        priority: c.at("priority").int(),
    });
    let subresources = v.at("subresources").items().iter().map(|s| Subresource {
        name: text(s, "name"),
        gvk: gvk(s.at("kind").str()),
        verbs: texts(s, "verbs"),
    });
    let stored = match (group.as_str(), v.at("storedAs").str()) {
        ("events.k8s.io", _) => Some((String::new(), "v1".to_string())),
        ("autoscaling", "autoscaling/v2") => Some(("autoscaling".to_string(), "v2".to_string())),
        _ => None, // the other rows only name the version they are served in
    };
    let prefix = match (group.as_str(), plural.as_str()) {
        ("events.k8s.io", _) => "/registry/events".to_string(),
        _ => text(v, "etcdPrefix"),
    };
    Resource {
        rules: rules::of(&group, &version, &kind),
        singular: text(v, "singular"),
        namespaced: v.at("namespaced").is_true(),
        verbs: texts(v, "verbs"),
        short_names: texts(v, "shortNames"),
        categories: texts(v, "categories"),
        subresources: subresources.collect(),
        prefix,
        policy: Policy {
            create_on_update: v.at("createOnUpdate").is_true(),
            unconditional_update: v.at("unconditionalUpdate").is_true(),
            delete_returns_object: v.at("deleteReturnsObject").is_true(),
            graceful_delete: v.at("gracefulDelete").is_true(),
        },
        selectable: texts(v, "selectableFields"),
        columns: columns.collect(),
        ty,
        stored,
        group,
        version,
        plural,
        kind,
    }
}
