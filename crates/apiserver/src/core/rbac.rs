//! Role-based access control: whether rules allow a request.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`.

use api::selector::FieldSelector;
use api::{Value, f};
use std::collections::HashMap;
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// More about it.
    pub extra: Vec<(String, Vec<String>)>,
}

impl User {
    /// Nobody in particular.
    pub fn anonymous() -> User {
        User { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..User::default() }
    }

    /// Whether the user is in a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What is to be allowed.
#[derive(Clone, Debug, Default)]
pub struct Attributes<'a> {
    /// Verb.
    pub verb: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Group.
    pub group: &'a str,
    /// Resource.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Name.
    pub name: &'a str,
    /// Path, for requests that are not about objects.
    pub path: &'a str,
    /// Whether it is about objects.
    pub is_resource: bool,
    /// What a list or watch is narrowed to.
    pub fields: Option<&'a FieldSelector>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs, `*` for all.
    pub verbs: Vec<String>,
    /// Groups, `*` for all.
    pub groups: Vec<String>,
    /// Resources (`pods`, `pods/log`, `*`, `*/status`).
    pub resources: Vec<String>,
    /// Names; none: all.
    pub names: Vec<String>,
    /// Paths, a trailing `*` matches any rest.
    pub paths: Vec<String>,
}

impl Rule {
    /// From its object.
    pub fn from_value(v: &Value) -> Rule {
        let texts = |key: api::Name| v.at(key).items().iter().map(|v| v.str().to_string()).collect();
        Rule {
            verbs: texts(f::verbs),
            groups: texts(f::apiGroups),
            resources: texts(f::resources),
            names: texts(f::resourceNames),
            paths: texts(f::nonResourceURLs),
        }
    }

    /// Whether it allows something.
    pub fn allows(&self, a: &Attributes) -> bool {
        let any = |list: &[String], want: &str| list.iter().any(|x| x == "*" || x == want);
        if !any(&self.verbs, a.verb) {
            return false;
        }
        if !a.is_resource {
            return self
                .paths
                .iter()
                .any(|p| p == "*" || p == a.path || p.strip_suffix('*').is_some_and(|p| a.path.starts_with(p)));
        }
        let resource = |x: &String| match (x.as_str(), a.subresource) {
            ("*", _) => true,
            (x, "") => x == a.resource,
            (x, sub) => x.split_once('/').is_some_and(|(r, s)| s == sub && (r == "*" || r == a.resource)),
        };
        any(&self.groups, a.group)
            && self.resources.iter().any(resource)
            && (self.names.is_empty() || self.names.iter().any(|n| n == a.name))
    }
}

/// Who has a role.
#[derive(Clone, Debug)]
pub struct Binding {
    name: String,
    namespace: String,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount(String),
}

/// What a role or a binding says, decoded.
#[derive(Clone, Debug)]
pub enum Part {
    /// A role's rules.
    Rules(Arc<[Rule]>),
    /// A binding.
    Binding(Arc<Binding>),
}

impl Part {
    /// From an object of the four kinds: bindings are the ones that refer to a role.
    pub fn from_value(v: &Value) -> Part {
        if v.has(f::roleRef) {
            Part::Binding(Arc::new(Binding::from_value(v)))
        } else {
            Part::Rules(v.at(f::rules).items().iter().map(Rule::from_value).collect())
        }
    }
}

/// All roles and bindings, decoded.
#[derive(Debug, Default)]
pub struct Policy {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    roles: HashMap<(String, String), Arc<[Rule]>>,
    cluster_bindings: Vec<Arc<Binding>>,
    bindings: HashMap<String, Vec<Arc<Binding>>>,
}

fn meta(v: &Value, key: api::Name) -> String {
    v.at(f::metadata).at(key).str().to_string()
}

impl Policy {
    /// Adds what the object of a name says; of the cluster's objects the namespace is empty.
    pub fn add(&mut self, namespace: &str, name: &str, part: Part) {
        match part {
            Part::Rules(rules) if namespace.is_empty() => drop(self.cluster_roles.insert(name.into(), rules)),
            Part::Rules(rules) => drop(self.roles.insert((namespace.into(), name.into()), rules)),
            Part::Binding(b) if namespace.is_empty() => self.cluster_bindings.push(b),
            Part::Binding(b) => self.bindings.entry(namespace.into()).or_default().push(b),
        }
    }

    fn rules_of(&self, b: &Binding) -> Result<&[Rule], String> {
        let found = if b.role_kind == "ClusterRole" {
            self.cluster_roles.get(&b.role)
        } else {
            self.roles.get(&(b.namespace.clone(), b.role.clone()))
        };
        found.map(|rules| &**rules).ok_or_else(|| {
            let resource = if b.role_kind == "ClusterRole" { "clusterrole" } else { "role" };
            format!("{resource}.rbac.authorization.k8s.io {:?} not found", b.role)
        })
    }

    /// Whether `user` may; the reason, or why not (missing roles).
    pub fn authorize(&self, user: &User, a: &Attributes) -> Result<String, String> {
        let mut missing = Vec::new();
        for (b, subject) in self.bindings_of(user, a.namespace) {
            match self.rules_of(b) {
                Ok(rules) if rules.iter().any(|r| r.allows(a)) => return Ok(b.explain(subject)),
                Ok(_) => {}
                Err(e) => missing.push(e),
            }
        }
        Err(match &missing[..] {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        })
    }

    /// All rules that hold for a user in a namespace.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.bindings_of(user, namespace).filter_map(|(b, _)| self.rules_of(b).ok()).flatten().cloned().collect()
    }

    /// The rules of a role, for those who want to bind it.
    pub fn role_rules(&self, kind: &str, namespace: &str, name: &str) -> Option<&[Rule]> {
        if kind == "ClusterRole" {
            self.cluster_roles.get(name)
        } else {
            self.roles.get(&(namespace.to_string(), name.to_string()))
        }
        .map(|rules| &**rules)
    }

    fn bindings_of<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Binding, &'a Subject)> {
        let local = if namespace.is_empty() { None } else { self.bindings.get(namespace) };
        self.cluster_bindings
            .iter()
            .chain(local.into_iter().flatten())
            .map(|b| &**b)
            .filter_map(move |b| b.subjects.iter().find(|s| s.is(user)).map(|s| (b, s)))
    }
}

impl Binding {
    fn from_value(v: &Value) -> Binding {
        let namespace = meta(v, f::namespace);
        let subjects = v.at(f::subjects).items().iter().filter_map(|s| {
            let name = s.at(f::name).str().to_string();
            Some(match s.at(f::kind).str() {
                "User" => Subject::User(name),
                "Group" => Subject::Group(name),
                "ServiceAccount" => {
                    let ns = if s.at(f::namespace).str().is_empty() { &namespace } else { s.at(f::namespace).str() };
                    Subject::ServiceAccount(format!("system:serviceaccount:{ns}:{name}"))
                }
                _ => return None,
            })
        });
        let role = v.at(f::roleRef);
        Binding {
            name: meta(v, f::name),
            subjects: subjects.collect(),
            namespace,
            role_kind: role.at(f::kind).str().into(),
            role: role.at(f::name).str().into(),
        }
    }

    fn explain(&self, subject: &Subject) -> String {
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        let who = match subject {
            Subject::User(u) => format!("User {u:?}"),
            Subject::Group(g) => format!("Group {g:?}"),
            Subject::ServiceAccount(s) => {
                let mut parts = s.rsplitn(3, ':');
                let (name, ns) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                format!("ServiceAccount \"{name}/{ns}\"")
            }
        };
        format!("RBAC: allowed by {kind} {name:?} of {} {:?} to {who}", self.role_kind, self.role)
    }
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self {
            Subject::User(n) | Subject::ServiceAccount(n) => *n == user.name,
            Subject::Group(g) => user.in_group(g),
        }
    }
}

/// The union of the rules that aggregation selects, for a ClusterRole with an aggregation rule.
pub fn covers(owner: &[Rule], asked: &Rule) -> bool {
    // Every single (verb, group, resource, name) or (verb, path) must be allowed by one of the owner's rules.
    let one = |a: &Attributes| owner.iter().any(|r| r.allows(a));
    for verb in &asked.verbs {
        for path in &asked.paths {
            let ok = owner.iter().any(|r| {
                (r.verbs.iter().any(|v| v == "*" || v == verb))
                    && r.paths
                        .iter()
                        .any(|p| p == path || p == "*" || p.strip_suffix('*').is_some_and(|p| path.starts_with(p)))
            });
            if !ok {
                return false;
            }
        }
        for group in &asked.groups {
            for resource in &asked.resources {
                let (r, sub) = resource.split_once('/').unwrap_or((resource, ""));
                let names: Vec<&str> =
                    if asked.names.is_empty() { vec![""] } else { asked.names.iter().map(String::as_str).collect() };
                for name in names {
                    let a = Attributes {
                        verb,
                        group,
                        resource: r,
                        subresource: sub,
                        name,
                        is_resource: true,
                        ..Attributes::default()
                    };
                    let unnamed_ok =
                        !asked.names.is_empty() || owner.iter().any(|o| o.names.is_empty() && o.allows(&a));
                    if !one(&a) || !unnamed_ok {
                        return false;
                    }
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::json;

    #[test]
    fn rules_allow_what_they_say() {
        let mut p = Policy::default();
        for text in [
            r#"{"metadata":{"name":"r","namespace":"d"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods","pods/log"],"resourceNames":["a"]}]}"#,
            r#"{"metadata":{"name":"c"},"rules":[{"verbs":["*"],"apiGroups":["apps"],"resources":["*"]},{"verbs":["get"],"nonResourceURLs":["/healthz","/x/*"]}]}"#,
            r#"{"metadata":{"name":"b","namespace":"d"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"sa"}]}"#,
            r#"{"metadata":{"name":"cb"},"roleRef":{"kind":"ClusterRole","name":"c"},"subjects":[{"kind":"Group","name":"dev"}]}"#,
        ] {
            let v = json::parse(text.as_bytes()).expect("JSON");
            p.add(&meta(&v, f::namespace), &meta(&v, f::name), Part::from_value(&v));
        }
        let dev = User { name: "x".into(), groups: vec!["dev".into()], ..User::default() };
        let sa = User { name: "system:serviceaccount:d:sa".into(), ..User::default() };
        let a = |verb, group, resource, sub, ns, name| Attributes {
            verb,
            group,
            resource,
            subresource: sub,
            namespace: ns,
            name,
            path: "",
            is_resource: true,
            fields: None,
        };
        let path = |p| Attributes { verb: "get", path: p, ..Attributes::default() };
        assert!(p.authorize(&dev, &a("delete", "apps", "deployments", "scale", "z", "")).is_ok());
        assert!(p.authorize(&dev, &a("get", "", "pods", "", "d", "a")).is_err());
        assert_eq!(
            p.authorize(&sa, &a("get", "", "pods", "log", "d", "a")).as_deref(),
            Ok("RBAC: allowed by RoleBinding \"b/d\" of Role \"r\" to ServiceAccount \"sa/d\"")
        );
        assert!(p.authorize(&sa, &a("get", "", "pods", "", "e", "a")).is_err());
        assert!(p.authorize(&sa, &a("get", "", "pods", "", "d", "b")).is_err());
        assert!(p.authorize(&dev, &path("/x/y")).is_ok() && p.authorize(&dev, &path("/y")).is_err());
    }
}
