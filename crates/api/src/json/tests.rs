//! Syntax, escapes, duplicates.
use super::*;

fn round(text: &str) -> String {
    to_string(&parse(text.as_bytes()).expect(text))
}

#[test]
fn values_survive() {
    for text in [
        "null",
        "true",
        "[1,-2,0.5,1e+21,9223372036854775807]",
        r#"{"a":{"b":[]},"metadata":{}}"#,
        r#""\u003ca\u0026\u2028""#,
    ] {
        assert_eq!(round(text), text);
    }
    assert_eq!(round("[1e2, 1E-7, 18446744073709551616]"), "[100,1e-7,18446744073709552000]");
    assert_eq!(round(r#""\ud83d\ude00\ud800x\/""#), "\"\u{1f600}\u{fffd}x/\"");
}

#[test]
fn errors_are_gos() {
    for (text, want) in [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("{a", "invalid character 'a' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("tru3", "invalid character '3' in literal true (expecting 'e')"),
        (r#"{"a" 1}"#, "invalid character '1' after object key"),
        (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
    ] {
        assert_eq!(parse(text.as_bytes()).expect_err(text).message, want, "{text}");
    }
    assert!(parse("[".repeat(2_000).as_bytes()).is_err());
}

#[test]
fn duplicates_are_noted_and_the_last_wins() {
    let mut noted = Vec::new();
    let v = parse_object(br#"{"spec":{"x":[{"a":1,"a":2}]},"spec":{"b":3}}"#, Some(&mut noted)).expect("valid");
    assert_eq!(noted, ["spec.x[0].a", "spec"]);
    assert_eq!(to_string(&v), r#"{"spec":{"b":3}}"#);
}

#[test]
fn what_is_owned_stays_text_and_is_checked() {
    let object =
        |fields: &str| format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{fields},"manager":"m"}}]}}}}"#);
    let read = |fields: &str| parse_object(object(fields).as_bytes(), None);
    let raw = |v: &Value| v.at("metadata").at("managedFields").items()[0].at("fieldsV1").clone();
    let text = r#"{"f:a":{".":{},"k:{\"x\":1}":{}}}"#;
    let v = read(text).unwrap();
    assert!(matches!(raw(&v), Value::Raw(t) if &*t == text));
    assert_eq!(to_string(&v), object(text));
    let spaced = read("{ \"f:a\" : {\n} ,\"f:b\":[1, 2]}").unwrap();
    assert!(matches!(raw(&spaced), Value::Raw(t) if &*t == r#"{"f:a":{},"f:b":[1,2]}"#));
    assert!(matches!(raw(&read("null").unwrap()), Value::Null));
    let same = parse(object(text).as_bytes()).unwrap();
    assert_eq!(v, same);
    assert_ne!(spaced, same);
    for bad in
        ["{", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a":[1 2]}"#, "{\"\u{1}\":1}", r#"{"a":tru}"#]
    {
        let (ours, plain) = (read(bad).unwrap_err(), parse(object(bad).as_bytes()).unwrap_err());
        assert_eq!(ours, plain, "{bad}");
    }
    let deep = format!("{}{}", r#"{"a":"#.repeat(2_000), "1");
    assert_eq!(read(&deep).unwrap_err().message, "exceeded max depth");
    assert!(parse_raw(br#"{"a":1} "#).is_err());
    assert_eq!(parse_raw(b"{}").unwrap(), Value::object());
}
