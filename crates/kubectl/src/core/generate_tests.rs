//! Tests of objects from flags.

use super::*;
use crate::core::flags::{Takes, flag, parse};

fn given(line: &str) -> Given {
    let known = ["image", "port", "replicas", "type", "target-port", "selector", "name", "env", "labels", "restart"]
        .map(|n| match n {
            "image" | "env" | "labels" => flag(n, Takes::Array, "", ""),
            n => flag(n, Takes::Text, "", ""),
        });
    let args: Vec<String> = line.split(' ').filter(|a| !a.is_empty()).map(String::from).collect();
    parse(&args, &[&known]).unwrap()
}

fn text(value: &Value) -> String {
    api::json::to_string(value)
}

#[test]
fn deployments() {
    let made = deployment("web", &given("--image=reg.io:5000/a/nginx:1 --port=80 --replicas=3"), &[]).unwrap();
    assert_eq!(
        text(&made),
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"nginx","image":"reg.io:5000/a/nginx:1","ports":[{"containerPort":80}]}]}}}}"#
    );
    assert!(deployment("web", &given(""), &[]).is_err());
}

#[test]
fn data_of_config_maps_and_secrets() {
    let literals = ["a=1=2".to_string()];
    let files = [("f".to_string(), vec![0xff])];
    assert_eq!(
        text(&data("ConfigMap", "c", &literals, &files, "").unwrap()),
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1=2"},"binaryData":{"f":"/w=="}}"#
    );
    assert_eq!(
        text(&data("Secret", "s", &literals, &[], "").unwrap()),
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"a":"MT0y"}}"#
    );
    assert!(data("Secret", "s", &["x".to_string()], &[], "").is_err());
}

#[test]
fn pods_and_services() {
    let made = pod("p", &given("--image=busybox --restart=Never --env=A=b"), &["sleep".into(), "1".into()]).unwrap();
    assert_eq!(
        text(&made),
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"run":"p"}},"spec":{"containers":[{"image":"busybox","name":"p","args":["sleep","1"],"env":[{"name":"A","value":"b"}]}],"dnsPolicy":"ClusterFirst","restartPolicy":"Never"}}"#
    );
    let owner = deployment("web", &given("--image=nginx --port=80"), &[]).unwrap();
    let service = expose(&owner, &given("--type=NodePort --target-port=http")).unwrap();
    assert_eq!(
        text(&service),
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":"http"}],"selector":{"app":"web"},"type":"NodePort"}}"#
    );
}
