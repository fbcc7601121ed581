//! The table of resources is whole.
use super::*;

#[test]
fn all_68_resources_have_types_and_rules_that_fit_their_columns() {
    assert_eq!(resources().len(), 68);
    let mut wrong = Vec::new();
    for r in resources() {
        let mut object = api::Value::object();
        api::canon::canonicalize(&mut object, r.ty);
        if r.columns.is_empty() {
            continue;
        }
        let cells = (r.rules.cells)(&object, 0);
        if cells.len() != r.columns.len() {
            let names: Vec<&str> = r.columns.iter().map(|c| c.name.as_str()).collect();
            wrong.push(format!("{} {}: {} cells for {names:?}", r.group, r.plural, cells.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_are_upstreams() {
    let key = |group, version, plural, ns, name| by_path(group, version, plural).map(|r| r.key(ns, name));
    assert_eq!(key("", "v1", "pods", "default", "a").as_deref(), Some("/registry/pods/default/a"));
    assert_eq!(key("", "v1", "nodes", "", "n").as_deref(), Some("/registry/minions/n"));
    assert_eq!(key("", "v1", "services", "d", "s").as_deref(), Some("/registry/services/specs/d/s"));
}
