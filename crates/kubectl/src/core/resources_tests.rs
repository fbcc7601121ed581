//! Tests of names for resources.

use super::*;

fn resource(group: &str, version: &str, plural: &str, kind: &str, short: &[&str], preferred: bool) -> Resource {
    Resource {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        kind: kind.into(),
        short: short.iter().map(|s| (*s).into()).collect(),
        namespaced: true,
        categories: if kind == "Pod" { vec!["all".into()] } else { vec![] },
        preferred,
        ..Resource::default()
    }
}

fn catalog() -> Catalog {
    Catalog {
        all: vec![
            resource("", "v1", "pods", "Pod", &["po"], true),
            resource("", "v1", "events", "Event", &["ev"], true),
            resource("events.k8s.io", "v1", "events", "Event", &["ev"], true),
            resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], true),
            resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], false),
        ],
    }
}

#[test]
fn words() {
    let catalog = catalog();
    for (word, path) in [
        ("pods", "/api/v1/namespaces/n/pods"),
        ("Pod", "/api/v1/namespaces/n/pods"),
        ("po", "/api/v1/namespaces/n/pods"),
        ("pods.v1.", "/api/v1/namespaces/n/pods"),
        ("events", "/api/v1/namespaces/n/events"),
        ("events.events.k8s.io", "/apis/events.k8s.io/v1/namespaces/n/events"),
        ("events.events", "/apis/events.k8s.io/v1/namespaces/n/events"),
        ("hpa", "/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers"),
        ("hpa.v1.autoscaling", "/apis/autoscaling/v1/namespaces/n/horizontalpodautoscalers"),
    ] {
        assert_eq!(
            catalog.find(word.trim_end_matches('.')).map(|r| r.path("n", "")).unwrap_or_default(),
            path,
            "{word}"
        );
    }
    assert_eq!(catalog.find("foo").unwrap_err(), "the server doesn't have a resource type \"foo\"");
}

#[test]
fn arguments() {
    let read = |line: &str| read_args(&catalog(), &line.split(' ').map(String::from).collect::<Vec<_>>());
    let short = |line: &str| {
        let asks = read(line).unwrap();
        asks.iter()
            .map(|a| format!("{}/{}", a.resource.plural, a.name.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(short("pods"), "pods/");
    assert_eq!(short("pods,hpa"), "pods/ horizontalpodautoscalers/");
    assert_eq!(short("po a b"), "pods/a pods/b");
    assert_eq!(short("pod/a hpa/b"), "pods/a horizontalpodautoscalers/b");
    assert_eq!(short("all"), "pods/");
    assert!(read("pods pod/a").is_err());
}
