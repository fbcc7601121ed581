//! Nobody gives away rights that they do not have: roles and bindings are checked against the writer's own rules.
//!
//! Who may `escalate` roles or `bind` a role is exempt. Source: `pkg/registry/rbac/{role,rolebinding}/policybased`.

use super::{Attrs, Operation};
use crate::core::rbac::{Attributes, Rule, covers};
use crate::registry::Registry;
use api::{Status, Value, f};
use std::collections::BTreeMap;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a write of a role or binding.
pub fn check(registry: &Registry, a: &Attrs, new: &Value) -> Result<(), Status> {
    if a.resource.group != GROUP || a.operation == Operation::Delete || a.user.in_group("system:masters") {
        return Ok(());
    }
    let may = |verb: &str, resource: &str, name: &str| {
        let asked = Attributes {
            verb,
            namespace: a.namespace,
            group: GROUP,
            resource,
            name,
            is_resource: true,
            ..Attributes::default()
        };
        registry.authorize(a.user, &asked).is_ok()
    };
    let (rules, exempt) = match a.resource.plural.as_str() {
        "roles" | "clusterroles" => {
            let unchanged = a.old.is_some_and(|o| {
                o.at(f::rules) == new.at(f::rules) && o.at(f::aggregationRule) == new.at(f::aggregationRule)
            });
            let rules: Vec<Rule> = new.at(f::rules).items().iter().map(Rule::from_value).collect();
            (rules, unchanged || may("escalate", &a.resource.plural, a.name))
        }
        _ => {
            let unchanged = a
                .old
                .is_some_and(|o| o.at(f::roleRef) == new.at(f::roleRef) && o.at(f::subjects) == new.at(f::subjects));
            let role = new.at(f::roleRef);
            let (kind, name) = (role.at(f::kind).str(), role.at(f::name).str());
            let resource = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
            if unchanged || may("bind", resource, name) {
                (Vec::new(), true)
            } else {
                let policy = registry.policy();
                let rules = policy
                    .role_rules(kind, a.namespace, name)
                    .ok_or_else(|| Status::not_found(GROUP, resource, name))?;
                (rules.to_vec(), false)
            }
        }
    };
    if exempt {
        return Ok(());
    }
    let own = registry.policy().rules_for(a.user, a.namespace);
    if a.resource.plural == "clusterroles" && !new.at(f::aggregationRule).is_null() {
        let all = || vec!["*".to_string()];
        let everything = Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() };
        if !covers(&own, &everything) {
            return Err(a.forbid("must have cluster-admin privileges to use the aggregationRule"));
        }
    }
    let missing = missing(&own, &rules);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = a.user.groups.iter().map(|g| format!("{g:?}")).collect();
    Err(a.forbid(format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        a.user.name,
        groups.join(" "),
        missing.join("\n")
    )))
}

/// The rules that `own` does not cover, taken apart and put together again by verb.
fn missing(own: &[Rule], rules: &[Rule]) -> Vec<String> {
    let mut lost: BTreeMap<(String, String, Vec<String>), Vec<String>> = BTreeMap::new();
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for r in rules {
        for verb in &r.verbs {
            for (group, resource) in r.groups.iter().flat_map(|g| r.resources.iter().map(move |x| (g, x))) {
                let one = Rule {
                    verbs: vec![verb.clone()],
                    groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    names: r.names.clone(),
                    paths: Vec::new(),
                };
                if !covers(own, &one) {
                    lost.entry((group.clone(), resource.clone(), r.names.clone())).or_default().push(verb.clone());
                }
            }
            for path in &r.paths {
                let one = Rule { verbs: vec![verb.clone()], paths: vec![path.clone()], ..Rule::default() };
                if !covers(own, &one) {
                    paths.entry(path.clone()).or_default().push(verb.clone());
                }
            }
        }
    }
    let list = |items: &[String]| items.iter().map(|i| format!("{i:?}")).collect::<Vec<_>>().join(" ");
    let mut out: Vec<String> = lost
        .iter()
        .map(|((group, resource, names), verbs)| {
            let names = if names.is_empty() { String::new() } else { format!(", ResourceNames:[{}]", list(names)) };
            format!("{{APIGroups:[{group:?}], Resources:[{resource:?}]{names}, Verbs:[{}]}}", list(verbs))
        })
        .collect();
    out.extend(paths.iter().map(|(path, verbs)| format!("{{NonResourceURLs:[{path:?}], Verbs:[{}]}}", list(verbs))));
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_held_is_named() {
        let rule = |verbs: &[&str], resources: &[&str]| Rule {
            verbs: verbs.iter().map(|v| v.to_string()).collect(),
            groups: vec![String::new()],
            resources: resources.iter().map(|v| v.to_string()).collect(),
            ..Rule::default()
        };
        let own = [rule(&["get", "list"], &["pods"])];
        assert!(missing(&own, &[rule(&["get"], &["pods"])]).is_empty());
        assert_eq!(
            missing(&own, &[rule(&["get", "delete"], &["pods", "secrets"])]),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}"#,
            ]
        );
        assert_eq!(missing(&own, &[rule(&["*"], &["*"])]).len(), 1);
    }
}
