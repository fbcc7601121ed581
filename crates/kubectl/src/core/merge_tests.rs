//! Three-way patches: what they contain, and that they do what they should when the server applies them.

use super::*;

fn json(text: &str) -> Value {
    api::json::parse(text.as_bytes()).unwrap()
}

fn deployment() -> &'static Type {
    Type::of_kind("apps", "v1", "Deployment").unwrap()
}

fn check(original: &str, modified: &str, current: &str, patch: &str, result: &str) {
    let (original, modified, mut current) = (json(original), json(modified), json(current));
    let mut made = three_way(&original, &modified, &current, Some(deployment()));
    let merged = api::patch::strategic::strategic(&mut current, &made, deployment());
    api::canon::sort_deep(&mut made);
    assert_eq!(api::json::to_string(&made), patch);
    merged.unwrap();
    api::canon::sort_deep(&mut current);
    assert_eq!(api::json::to_string(&current), result);
}

#[test]
fn nothing_changed() {
    check(
        r#"{"spec":{"replicas":2}}"#,
        r#"{"spec":{"replicas":2}}"#,
        r#"{"spec":{"replicas":2,"paused":true}}"#,
        "{}",
        r#"{"spec":{"paused":true,"replicas":2}}"#,
    );
}

#[test]
fn what_others_set_stays_and_what_was_ours_goes() {
    check(
        r#"{"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"replicas":2}}"#,
        r#"{"metadata":{"labels":{"a":"9"}},"spec":{}}"#,
        r#"{"metadata":{"labels":{"a":"1","b":"2","c":"3"}},"spec":{"replicas":5}}"#,
        r#"{"metadata":{"labels":{"a":"9","b":null}},"spec":{"replicas":null}}"#,
        r#"{"metadata":{"labels":{"a":"9","c":"3"}},"spec":{}}"#,
    );
}

#[test]
fn lists_are_merged_by_key() {
    let with = |containers: &str| format!(r#"{{"spec":{{"template":{{"spec":{{"containers":[{containers}]}}}}}}}}"#);
    check(
        &with(r#"{"name":"a","image":"x:1"},{"name":"b","image":"y:1"}"#),
        &with(r#"{"name":"c","image":"z:1"},{"name":"a","image":"x:2"}"#),
        &with(r#"{"name":"a","image":"x:1","tty":true},{"name":"b","image":"y:1"},{"name":"injected","image":"i"}"#),
        &with(r#"{"$patch":"delete","name":"b"},{"image":"z:1","name":"c"},{"image":"x:2","name":"a"}"#)
            .replace(r#"{"containers"#, r#"{"$setElementOrder/containers":[{"name":"c"},{"name":"a"}],"containers"#),
        &with(r#"{"image":"z:1","name":"c"},{"image":"x:2","name":"a","tty":true},{"image":"i","name":"injected"}"#),
    );
}

#[test]
fn retained_keys_and_plain_lists() {
    check(
        r#"{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}}"#,
        r#"{"spec":{"strategy":{"type":"Recreate"}}}"#,
        r#"{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":1}}}}"#,
        r#"{"spec":{"strategy":{"$retainKeys":["type"],"rollingUpdate":null,"type":"Recreate"}}}"#,
        r#"{"spec":{"strategy":{"type":"Recreate"}}}"#,
    );
    check(
        r#"{"metadata":{"finalizers":["a","b"]}}"#,
        r#"{"metadata":{"finalizers":["b","c"]}}"#,
        r#"{"metadata":{"finalizers":["a","b","x"]}}"#,
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"$setElementOrder/finalizers":["b","c"],"finalizers":["c"]}}"#,
        r#"{"metadata":{"finalizers":["b","c","x"]}}"#,
    );
}

#[test]
fn unknown_types_are_merged_as_json() {
    let patch = three_way(
        &json(r#"{"spec":{"a":[1],"b":1}}"#),
        &json(r#"{"spec":{"a":[2]}}"#),
        &json(r#"{"spec":{"a":[1],"b":1,"c":1}}"#),
        None,
    );
    assert_eq!(api::json::to_string(&patch), r#"{"spec":{"b":null,"a":[2]}}"#);
}

#[test]
fn memory() {
    let object = json(r#"{"kind":"A","apiVersion":"v1","metadata":{"name":"x"}}"#);
    assert_eq!(
        remembered(&object),
        "{\"apiVersion\":\"v1\",\"kind\":\"A\",\"metadata\":{\"annotations\":{},\"name\":\"x\"}}\n"
    );
    assert_eq!(remembered(&with_memory(&object)), remembered(&object));
}
