//! Tests of output forms.

use super::*;

fn json(text: &str) -> Value {
    api::json::parse(text.as_bytes()).unwrap()
}

fn pods() -> Vec<(Option<Resource>, Value)> {
    let resource = Resource { plural: "pods".into(), kind: "Pod".into(), version: "v1".into(), ..Resource::default() };
    [
        r#"{"kind":"Pod","metadata":{"name":"a","labels":{"x":"1"}},"spec":{"nodeName":"n1"}}"#,
        r#"{"kind":"Pod","metadata":{"name":"b"}}"#,
    ]
    .map(|t| (Some(resource.clone()), json(t)))
    .into()
}

fn printed(form: &str) -> String {
    Form::parse(form, false).and_then(|f| print(&f, &pods(), true)).unwrap_or_else(|e| format!("error: {e}"))
}

#[test]
fn forms() {
    assert_eq!(printed("name"), "pod/a\npod/b\n");
    assert_eq!(printed("jsonpath={.items[*].metadata.name}"), "a b");
    assert_eq!(
        printed("custom-columns=NAME:.metadata.name,NODE:.spec.nodeName"),
        "NAME   NODE\na      n1\nb      <none>\n"
    );
    assert_eq!(printed("custom-columns=L:.metadata.labels"), "L\nmap[x:1]\n<none>\n");
    assert!(printed("foo").starts_with("error: unable to match a printer suitable for the output format \"foo\""));
    assert_eq!(
        printed("custom-columns=A"),
        "error: unexpected custom-columns spec: A, expected <header>:<json-path-expr>"
    );
}

#[test]
fn json_is_sorted_and_indented() {
    assert_eq!(
        pretty(&json(r#"{"b":[1,{"c":"<"}],"a":{}}"#)),
        "{\n    \"a\": {},\n    \"b\": [\n        1,\n        {\n            \"c\": \"\\u003c\"\n        }\n    ]\n}\n"
    );
}

#[test]
fn tables() {
    let table = json(
        r#"{"columnDefinitions":[{"name":"Name","priority":0},{"name":"Age","priority":0},{"name":"IP","priority":1}],
        "rows":[{"cells":["a",3,null],"object":{"metadata":{"namespace":"n","labels":{"b":"2","a/app":"1"}}}}]}"#,
    );
    let both = |style: &TableStyle| (header(&table, style).join(" "), rows(&table, style, "ADDED")[0].join(" "));
    assert_eq!(both(&TableStyle::default()), ("NAME AGE".into(), "a 3".into()));
    let style = TableStyle {
        wide: true,
        namespace: true,
        labels: true,
        label_columns: vec!["a/app".into()],
        prefix: Some("pod".into()),
        event: true,
        no_headers: false,
    };
    assert_eq!(
        both(&style),
        ("EVENT NAMESPACE NAME AGE IP APP LABELS".into(), "ADDED n pod/a 3 <none> 1 a/app=1,b=2".into())
    );
}
