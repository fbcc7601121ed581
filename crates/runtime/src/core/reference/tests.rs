//! A table of references.

use super::*;

#[test]
fn parses_references() {
    let d = format!("sha256:{}", "a".repeat(64));
    for (text, want) in [
        ("busybox".to_string(), Some("docker.io/library/busybox:latest".to_string())),
        ("busybox:1.36".into(), Some("docker.io/library/busybox:1.36".into())),
        ("me/app".into(), Some("docker.io/me/app:latest".into())),
        ("registry.k8s.io/pause:3.10".into(), Some("registry.k8s.io/pause:3.10".into())),
        ("localhost:5000/a/b".into(), Some("localhost:5000/a/b:latest".into())),
        (format!("quay.io/x@{d}"), Some(format!("quay.io/x@{d}"))),
        (format!("quay.io/x:v1@{d}"), Some(format!("quay.io/x:v1@{d}"))),
        ("Upper/case".into(), None),
        ("a/../b".into(), None),
        ("".into(), None),
        ("x:".into(), None),
        ("x@sha256:12".into(), None),
    ] {
        assert_eq!(Reference::parse(&text).ok().map(|r| r.to_string()), want, "{text}");
    }
}
