//! Sets of paths against the plainest model of them, a list of paths; and what a comparison finds.

use super::set::{Element, Place, Scalar, Set};
use super::walk;
use crate::json;
use crate::schema::Type;
use crate::value::Value;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Paths = BTreeSet<Vec<Element>>;

fn element() -> impl Strategy<Value = Element> {
    let scalar = prop_oneof![(0..3_i64).prop_map(Value::Int), "[a-c\"<é]{0,2}".prop_map(Value::from)].prop_map(Scalar);
    prop_oneof![
        4 => prop_oneof!["spec", "name", "x", "app.io/a\"b", "."].prop_map(|k| Element::Field(k.as_str().into())),
        1 => (scalar.clone(), scalar.clone()).prop_map(|(a, b)| Element::Item(vec![("name".into(), a), ("port".into(), b)])),
        1 => scalar.prop_map(Element::Value),
        1 => (-1..3_i64).prop_map(Element::Index),
    ]
}

fn paths() -> impl Strategy<Value = Paths> {
    prop::collection::btree_set(prop::collection::vec(element(), 1..4), 0..12)
}

fn set(paths: &Paths) -> Set {
    let mut out = Set::new();
    paths.iter().for_each(|p| out.insert(p));
    out
}

fn listed(set: &Set) -> Paths {
    set.paths().into_iter().collect()
}

proptest! {
    #[test]
    fn sets_survive_their_text(paths in paths()) {
        let set = set(&paths);
        let text = set.to_value();
        prop_assert_eq!(&Set::from_value(&text).unwrap(), &set);
        let mut tree = text.clone();
        tree.expand();
        prop_assert_eq!(&tree, &text);
        prop_assert_eq!(Set::from_value(&tree).unwrap(), set);
    }

    #[test]
    fn sets_are_what_their_paths_are(a in paths(), b in paths()) {
        let (x, y) = (set(&a), set(&b));
        prop_assert_eq!(listed(&x), a.clone());
        let mut sum = x.clone();
        sum.add(y.clone());
        prop_assert_eq!(listed(&sum), a.union(&b).cloned().collect::<Paths>());
        let mut less = x.clone();
        less.subtract(&y);
        prop_assert_eq!(listed(&less), a.difference(&b).cloned().collect::<Paths>());
        let mut deep = x.clone();
        deep.subtract_deep(&y);
        let outside = |p: &&Vec<Element>| (1..=p.len()).all(|n| !b.contains(&p[..n]));
        prop_assert_eq!(listed(&deep), a.iter().filter(outside).cloned().collect::<Paths>());
        prop_assert_eq!(listed(&x.intersection(&y)), a.intersection(&b).cloned().collect::<Paths>());
        prop_assert_eq!(x.within(&y), a.is_subset(&b));
        prop_assert!(less.within(&x) && x.within(&sum));
    }
}

fn service(ports: &str) -> Value {
    let text = format!(
        r#"{{"metadata":{{"name":"s","labels":{{"a":"1"}}}},"spec":{{"type":"ClusterIP","ports":[{ports}],"externalIPs":["1.2.3.4"]}},"status":{{}}}}"#
    );
    json::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_comparison_names_every_step_of_what_came_and_went() {
    let at = Place::root(Type::of_kind("", "v1", "Service").unwrap());
    let show = |s: &Set| s.to_value().to_string();
    let old = service(r#"{"port":80,"protocol":"TCP","targetPort":80}"#);
    let new = service(r#"{"port":80,"protocol":"TCP","targetPort":8080},{"port":9,"protocol":"UDP"}"#);
    let diff = walk::compare(&old, &new, at);
    let key = |port, protocol| format!(r#"k:{{\"port\":{port},\"protocol\":\"{protocol}\"}}"#);
    let one =
        format!(r#"{{"f:spec":{{"f:ports":{{"{}":{{".":{{}},"f:port":{{}},"f:protocol":{{}}}}}}}}}}"#, key(9, "UDP"));
    assert_eq!(show(&diff.added), one);
    assert_eq!(
        show(&diff.modified),
        format!(r#"{{"f:spec":{{"f:ports":{{"{}":{{"f:targetPort":{{}}}}}}}}}}"#, key(80, "TCP"))
    );
    assert!(diff.removed.is_empty());
    let back = walk::compare(&new, &old, at);
    assert_eq!((show(&back.removed), show(&back.modified)), (one, show(&diff.modified)));
    assert!(back.added.is_empty());
    // Of two elements with one key nobody can say which is which: they are one value, gone as a whole.
    let twice = service(r#"{"port":80,"protocol":"TCP","name":"x"},{"port":80,"protocol":"TCP","name":"y"}"#);
    let diff = walk::compare(&twice, &old, at);
    let gone = format!(r#"{{"f:spec":{{"f:ports":{{"{}":{{}}}}}}}}"#, key(80, "TCP"));
    assert_eq!(show(&diff.removed), gone);
    assert_eq!(show(&walk::compare(&old, &twice, at).added), gone);
    assert!(walk::compare(&twice, &twice, at).modified.is_empty());
}

#[test]
fn a_set_of_an_object_has_its_leaves_its_items_and_its_free_keys() {
    let at = Place::root(Type::of_kind("", "v1", "Service").unwrap());
    let set = walk::to_set(&service(r#"{"port":80,"protocol":"TCP"}"#), at);
    let want = r#"{"f:metadata":{"f:labels":{"f:a":{}},"f:name":{}},"f:spec":{"f:externalIPs":{},"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:protocol":{}}},"f:type":{}},"f:status":{}}"#;
    assert_eq!(set.to_value().to_string(), want);
}
