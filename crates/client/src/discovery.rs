//! What the server serves: for components that work on every resource.

use crate::client::{Client, decode};
use crate::error::Error;
use crate::resource::Resource;
use bytes::Bytes;
use serde::Deserialize;

/// A served resource and what can be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The resource.
    pub resource: Resource,
    /// Its verbs.
    pub verbs: Vec<String>,
}

impl Served {
    /// Whether all these verbs are served.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|v| v == verb))
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Group {
    preferred_version: Version,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    group_version: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResourceList {
    resources: Vec<ApiResource>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ApiResource {
    name: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
}

/// What was discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Every resource in its preferred version, without subresources.
    pub served: Vec<Served>,
    /// Groups that did not answer, and why: what they serve is not known. Who deletes must not take it for nothing.
    pub missing: Vec<String>,
}

/// Asks for everything that is served.
pub async fn discover(client: &Client) -> Result<Discovered, Error> {
    let get = |path: String| async move { client.request(http::Method::GET, &path, "", Bytes::new()).await };
    let groups: GroupList = decode(&get("/apis".into()).await?)?;
    let mut paths = vec![("/api/v1".to_string(), String::new(), "v1".to_string())];
    for group in groups.groups {
        if let Some((name, version)) = group.preferred_version.group_version.split_once('/') {
            paths.push((format!("/apis/{name}/{version}"), name.to_string(), version.to_string()));
        }
    }
    let mut out = Discovered::default();
    for (path, group, version) in paths {
        let list: ResourceList = match get(path).await {
            Ok(bytes) => decode(&bytes)?,
            Err(error) if error.is_not_found() => continue, // it went away meanwhile
            Err(error) if error.is_temporary() => {
                out.missing.push(format!("{group}: {error}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        for found in list.resources.into_iter().filter(|r| !r.name.contains('/')) {
            let resource = Resource::new(&group, &version, &found.name, &found.kind, found.namespaced);
            out.served.push(Served { resource, verbs: found.verbs });
        }
    }
    Ok(out)
}
