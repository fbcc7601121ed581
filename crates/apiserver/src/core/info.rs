//! What a request asks for, read from its method and path.
//!
//! Source: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use super::query::Query;

/// A request's meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Whether it is about API objects.
    pub is_resource: bool,
    /// get, list, watch, create, update, patch, delete, deletecollection; the method in lower case otherwise.
    pub verb: String,
    /// The path.
    pub path: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace.
    pub namespace: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Name.
    pub name: String,
    /// Everything behind the subresource.
    pub rest: String,
}

/// Subresources of the resource `namespaces`; anything else behind a namespace's name is a resource in it.
const NAMESPACE_SUBRESOURCES: &[&str] = &["status", "finalize"];

/// Reads method, path and query.
pub fn parse(method: &str, path: &str, query: &Query) -> Info {
    let mut info = Info { verb: method.to_ascii_lowercase(), path: path.to_string(), ..Info::default() };
    let parts: Vec<String> = path.trim_matches('/').split('/').map(super::query::decode).collect();
    let mut rest: &[String] = match parts.first().map(String::as_str) {
        Some("api") if parts.len() > 2 => {
            info.version = parts[1].clone();
            &parts[2..]
        }
        Some("apis") if parts.len() > 3 => {
            (info.group, info.version) = (parts[1].clone(), parts[2].clone());
            &parts[3..]
        }
        _ => return info,
    };
    info.is_resource = true;
    info.verb = match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
    .into();
    if rest[0] == "watch" && rest.len() > 1 {
        info.verb = "watch".into();
        rest = &rest[1..];
    }
    if rest[0] == "namespaces" {
        if rest.len() > 1 {
            info.namespace = rest[1].clone();
            if rest.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&rest[2].as_str()) {
                rest = &rest[2..];
            }
        }
    }
    info.resource = rest[0].clone();
    info.name = rest.get(1).cloned().unwrap_or_default();
    info.subresource = rest.get(2).cloned().unwrap_or_default();
    info.rest = rest.get(3..).unwrap_or_default().join("/");
    if info.name.is_empty() && info.verb == "get" {
        info.verb = "list".into();
    }
    if info.verb == "list"
        && query.get("watch").is_some_and(|w| !matches!(w, "false" | "0" | "False" | "FALSE" | "f" | "F"))
    {
        info.verb = "watch".into();
    }
    if info.name.is_empty() && info.verb == "delete" {
        info.verb = "deletecollection".into();
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood() {
        let show = |method: &str, target: &str| {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let i = parse(method, path, &Query::parse(query));
            format!(
                "{} {}/{} ns={} {}/{} {}",
                i.verb, i.group, i.version, i.namespace, i.resource, i.name, i.subresource
            )
        };
        for (method, target, want) in [
            ("GET", "/api/v1/namespaces/d/pods/a/log", "get /v1 ns=d pods/a log"),
            ("GET", "/api/v1/namespaces/d", "get /v1 ns=d namespaces/d "),
            ("PUT", "/api/v1/namespaces/d/finalize", "update /v1 ns=d namespaces/d finalize"),
            ("GET", "/apis/apps/v1/deployments?watch=1", "watch apps/v1 ns= deployments/ "),
            ("GET", "/api/v1/pods?watch=false", "list /v1 ns= pods/ "),
            ("DELETE", "/api/v1/namespaces/d/pods", "deletecollection /v1 ns=d pods/ "),
            ("POST", "/api/v1/namespaces", "create /v1 ns= namespaces/ "),
        ] {
            assert_eq!(show(method, target), want);
        }
        assert!(!parse("GET", "/apis/apps/v1", &Query::default()).is_resource);
    }
}
