//! Templates and what they print, as a table.

use super::*;

const DATA: &str = r#"{"kind":"List","items":[
 {"kind":"None","metadata":{"name":"127.0.0.1","labels":{"kubernetes.io/hostname":"127.0.0.1"}},"status":{"capacity":{"cpu":"4"},"addresses":[{"type":"LegacyHostIP","address":"127.0.0.1"}],"n":3}},
 {"kind":"None","metadata":{"name":"127.0.0.2"},"status":{"capacity":{"cpu":"8"},"addresses":[{"type":"LegacyHostIP","address":"127.0.0.2"},{"type":"another","address":"127.0.0.3"}],"n":5}}],
 "users":[{"name":"myself","user":{}},{"name":"e2e","user":{"username":"admin","password":"secret"}}]}"#;

fn print(template: &str) -> String {
    let data = json::parse(DATA.as_bytes()).unwrap();
    Template::parse(template, false).and_then(|t| t.print(&data)).unwrap_or_else(|e| format!("error: {e}"))
}

#[test]
fn templates() {
    for (template, expected) in [
        ("kind is {.kind}", "kind is List"),
        ("{.kind}{'\\n'}{\"x\"}", "List\nx"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.items[0].metadata.name}", "127.0.0.1"),
        ("{.items[-1:].metadata.name}", "127.0.0.2"),
        ("{.items[-1].metadata.name}", "127.0.0.2"),
        ("{$.kind}", "List"),
        ("{@.kind}", "List"),
        ("{['kind']}", "List"),
        ("{.users[0]['name','user']}", "myself {}"),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        ("{.items[?(@.status.n>3)].metadata.name}", "127.0.0.2"),
        ("{.items[*].status.addresses[?(@.type!='another')].address}", "127.0.0.1 127.0.0.2"),
        ("{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}", "[127.0.0.1, 4] [127.0.0.2, 8] "),
        ("{range .items}{.metadata.name}{\"\\t\"}{end}", "127.0.0.1\t127.0.0.2\t"),
        ("{.items[0].metadata.labels.kubernetes\\.io/hostname}", "127.0.0.1"),
        ("{..password}", "secret"),
        ("{.users[*].name}", "myself e2e"),
        ("{.items[0].status.capacity}", "{\"cpu\":\"4\"}"),
        ("{.nope}", "error: nope is not found"),
        ("{.items[9]}", "error: array index out of bounds: index 9, length 2"),
        ("{.kind", "error: unclosed action"),
        ("{range .items}x", "error: unterminated range, missing {end}"),
        ("{end}", "error: not in range, nothing to end"),
    ] {
        let got = print(template);
        assert_eq!(got, expected, "{template}");
    }
}

#[test]
fn loose_forms() {
    for (text, expected) in [("metadata.name", "{.metadata.name}"), (".a", "{.a}"), ("{.a}", "{.a}"), ("{a}", "{.a}")] {
        assert_eq!(relaxed(text).unwrap(), expected);
    }
    assert!(relaxed("{a").is_err());
}
