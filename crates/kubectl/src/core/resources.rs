//! Which resources the server has, read from discovery, and what users' names for them mean.

use api::Value;

/// A resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// API group; empty is core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name, as in paths.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Short names.
    pub short: Vec<String>,
    /// Lives in namespaces.
    pub namespaced: bool,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Subresources.
    pub subresources: Vec<String>,
    /// The version that the server prefers for the group.
    pub preferred: bool,
}

impl Resource {
    /// `apps/v1` or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps` or `pods`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `deployment.apps` or `pod`: how changes are reported.
    pub fn label(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    /// The path of the collection or, with a name, of an object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        let middle =
            if self.namespaced && !namespace.is_empty() { format!("/namespaces/{namespace}") } else { String::new() };
        let tail = if name.is_empty() { String::new() } else { format!("/{name}") };
        format!("{root}{middle}/{}{tail}", self.plural)
    }

    /// Has it this verb?
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.items().iter().map(|v| v.str().to_string()).collect()
}

/// Reads aggregated discovery (`APIGroupDiscoveryList`).
pub fn from_aggregated(list: &Value) -> Vec<Resource> {
    let mut all = Vec::new();
    for group in list.at("items").items() {
        let name = group.at("metadata").at("name").str();
        for (i, version) in group.at("versions").items().iter().enumerate() {
            for resource in version.at("resources").items() {
                let subresources =
                    resource.at("subresources").items().iter().map(|s| s.at("subresource").str().to_string()).collect();
                all.push(Resource {
                    group: name.to_string(),
                    version: version.at("version").str().to_string(),
                    plural: resource.at("resource").str().to_string(),
                    singular: resource.at("singularResource").str().to_string(),
                    kind: resource.at("responseKind").at("kind").str().to_string(),
                    short: texts(resource.at("shortNames")),
                    namespaced: resource.at("scope").str() == "Namespaced",
                    verbs: texts(resource.at("verbs")),
                    categories: texts(resource.at("categories")),
                    subresources,
                    preferred: i == 0,
                });
            }
        }
    }
    all
}

/// Reads one group version's plain discovery (`APIResourceList`).
pub fn from_list(list: &Value, preferred: bool) -> Vec<Resource> {
    let (group, version) = split_api_version(list.at("groupVersion").str());
    let mut all: Vec<Resource> = Vec::new();
    for resource in list.at("resources").items() {
        let name = resource.at("name").str();
        if let Some((parent, sub)) = name.split_once('/') {
            if let Some(parent) = all.iter_mut().find(|r| r.plural == parent) {
                parent.subresources.push(sub.to_string());
            }
            continue;
        }
        all.push(Resource {
            group: group.clone(),
            version: version.clone(),
            plural: name.to_string(),
            singular: resource.at("singularName").str().to_string(),
            kind: resource.at("kind").str().to_string(),
            short: texts(resource.at("shortNames")),
            namespaced: resource.at("namespaced").is_true(),
            verbs: texts(resource.at("verbs")),
            categories: texts(resource.at("categories")),
            subresources: Vec::new(),
            preferred,
        });
    }
    all
}

/// `apps/v1` as group and version.
pub fn split_api_version(text: &str) -> (String, String) {
    match text.split_once('/') {
        Some((group, version)) => (group.to_string(), version.to_string()),
        None => (String::new(), text.to_string()),
    }
}

/// All that the server has, in its order.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Resources.
    pub all: Vec<Resource>,
}

impl Catalog {
    /// What a user's word means: plural, singular, short name or kind, perhaps with `.version.group` or `.group`.
    pub fn find(&self, word: &str) -> Result<&Resource, String> {
        let lower = word.to_lowercase();
        let (name, rest) = lower.split_once('.').unwrap_or((&lower, ""));
        let named = |r: &&Resource| r.plural == name || r.singular == name || r.kind.to_lowercase() == name;
        let short = |r: &&Resource| r.short.iter().any(|s| s == name);
        let fits = |r: &&Resource| {
            rest.is_empty() && r.preferred
                || !rest.is_empty() && r.preferred && (r.group == rest || r.group.starts_with(&format!("{rest}.")))
                || rest == format!("{}.{}", r.version, r.group).trim_end_matches('.')
        };
        let exact = self.all.iter().filter(fits).find(named);
        let found = exact.or_else(|| self.all.iter().filter(fits).find(short));
        found.ok_or_else(|| format!("the server doesn't have a resource type {word:?}"))
    }

    /// The resources of a category.
    pub fn category(&self, name: &str) -> Vec<&Resource> {
        self.all.iter().filter(|r| r.preferred && r.categories.iter().any(|c| c == name)).collect()
    }

    /// The resource of an object's apiVersion and kind.
    pub fn of_object(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        self.all.iter().find(|r| r.kind == kind && r.api_version() == api_version)
    }
}

/// What the user asked for: resources, and names if they were given.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The resource.
    pub resource: Resource,
    /// An object's name; `None` for all.
    pub name: Option<String>,
}

/// Reads `pods`, `pods,services`, `pod a b`, `pod/a service/b`, `all`.
pub fn read_args(catalog: &Catalog, args: &[String]) -> Result<Vec<Ask>, String> {
    if args.iter().any(|a| a.contains('/')) {
        let mut asks = Vec::new();
        for arg in args {
            let Some((kind, name)) = arg.split_once('/') else {
                return Err("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'".into());
            };
            if name.is_empty() || kind.is_empty() || name.contains('/') {
                return Err("arguments in resource/name form must have a single resource and name".into());
            }
            asks.push(Ask { resource: catalog.find(kind)?.clone(), name: Some(name.to_string()) });
        }
        return Ok(asks);
    }
    let Some((kinds, names)) = args.split_first() else { return Ok(Vec::new()) };
    let mut resources: Vec<Resource> = Vec::new();
    for word in kinds.split(',').filter(|w| !w.is_empty()) {
        let group = catalog.category(word);
        match catalog.find(word) {
            Ok(resource) => resources.push(resource.clone()),
            Err(_) if !group.is_empty() => resources.extend(group.into_iter().cloned()),
            Err(error) => return Err(error),
        }
    }
    if names.is_empty() {
        return Ok(resources.into_iter().map(|resource| Ask { resource, name: None }).collect());
    }
    let pairs = resources.iter().flat_map(|r| names.iter().map(|n| Ask { resource: r.clone(), name: Some(n.clone()) }));
    Ok(pairs.collect())
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
