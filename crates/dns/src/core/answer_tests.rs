//! Tests of whole messages: flags, case, EDNS, truncation, refusals.

use super::*;
use crate::core::views::Service;
use serde_json::json;

fn index() -> Index {
    let mut index = Index::new("cluster.local");
    let mut add = |object: serde_json::Value| {
        let service: Service = serde_json::from_value(object).unwrap();
        index.set_service("default", &service.metadata.name.clone(), Some(&service));
    };
    add(
        json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}}),
    );
    add(json!({"metadata": {"name": "out"}, "spec": {"type": "ExternalName", "externalName": "example.org"}}));
    add(
        json!({"metadata": {"name": "in"}, "spec": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}}),
    );
    add(json!({"metadata": {"name": "many"}, "spec": {"clusterIP": "None"}}));
    let endpoints: Vec<_> = (0..100).map(|i| json!({"addresses": [format!("10.244.0.{i}")]})).collect();
    let slice =
        json!({"metadata": {"labels": {"kubernetes.io/service-name": "many"}}, "endpoints": endpoints, "ports": null});
    index.set_slice("default", "many-1", Some(serde_json::from_value(slice).unwrap()));
    index
}

fn ask(message: &Message, tcp: bool) -> Option<Message> {
    match decide(&index(), &message.to_vec().unwrap(), tcp, 0) {
        Decision::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        _ => None,
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    question(77, Name::from_ascii(name).unwrap(), kind)
}

#[test]
fn an_answer_is_authoritative_and_echoes_the_case() {
    let reply = ask(&query("wEb.Default.svc.Cluster.local.", RecordType::A), false).unwrap();
    assert_eq!(reply.metadata.id, 77);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
    assert_eq!(reply.queries[0].name().to_ascii(), "wEb.Default.svc.Cluster.local.");
    assert_eq!(reply.answers[0].name.to_ascii(), "wEb.Default.svc.Cluster.local.");
    assert_eq!(reply.answers[0].ttl, TTL);
    assert!(reply.edns.is_none());
}

#[test]
fn negative_answers_carry_the_authority() {
    let reply = ask(&query("web.default.svc.cluster.local.", RecordType::AAAA), false).unwrap();
    assert_eq!(
        (reply.metadata.response_code, reply.answers.len(), reply.authorities.len()),
        (ResponseCode::NoError, 0, 1)
    );
    let reply = ask(&query("web.default.svc.cluster.local.cluster.local.", RecordType::A), false).unwrap();
    assert_eq!((reply.metadata.response_code, reply.authorities.len()), (ResponseCode::NXDomain, 1));
}

#[test]
fn aliases_are_followed_inside_and_chased_outside() {
    let reply = ask(&query("in.default.svc.cluster.local.", RecordType::A), false).unwrap();
    assert_eq!(reply.answers.len(), 2);
    let bytes = query("out.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let Decision::Chase(chase) = decide(&index(), &bytes, false, 0) else { panic!("not chased") };
    assert_eq!((chase.target.to_ascii(), chase.reply.answers.len()), ("example.org.".into(), 1));
    let reply = ask(&query("out.default.svc.cluster.local.", RecordType::CNAME), false).unwrap();
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn size_decides_about_truncation() {
    let name = "many.default.svc.cluster.local.";
    let short = ask(&query(name, RecordType::A), false).unwrap();
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = ask(&query(name, RecordType::A), true).unwrap();
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 100));
    let mut with_edns = query(name, RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    with_edns.set_edns(edns);
    let cut = ask(&with_edns, false).unwrap();
    assert!(cut.metadata.truncation && cut.edns.is_some());
}

#[test]
fn the_rest_is_forwarded_refused_or_ignored() {
    let bytes = query("example.org.", RecordType::A).to_vec().unwrap();
    assert!(matches!(decide(&index(), &bytes, false, 0), Decision::Forward(_)));
    let mut answer = query("example.org.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    assert!(ask(&answer, false).is_none());
    let mut update = query("example.org.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert!(ask(&update, false).is_none_or(|r| r.metadata.response_code == ResponseCode::NotImp));
    assert!(matches!(decide(&index(), &[1], false, 0), Decision::Ignore));
    let Decision::Reply(bytes) = decide(&index(), &[0, 9, 0, 0, 0, 1, 0, 0], false, 0) else { panic!("no complaint") };
    assert_eq!(bytes[..2], [0, 9]);
    assert_eq!(bytes[3] & 15, 1);
}
