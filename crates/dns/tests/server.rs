//! The server on loopback, asked over UDP and TCP, with an upstream server of the test's own.

use dns::core::answer::question;
use dns::core::index::Index;
use dns::forward::Forwarder;
use dns::server::{Shared, bind, serve};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use platform::Env;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// A server that gives every name one address, and counts.
async fn upstream(env: &Env) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    env.spawn("upstream", async move {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut answer = Message::from_vec(&buffer[..n]).unwrap().into_response();
            let name = answer.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 300, RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, count)
}

async fn start(env: &Env, upstreams: Vec<SocketAddr>) -> SocketAddr {
    let mut index = Index::new("cluster.local");
    for object in [
        json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7"}}),
        json!({"metadata": {"name": "out"}, "spec": {"type": "ExternalName", "externalName": "example.org"}}),
    ] {
        let service: dns::core::views::Service = serde_json::from_value(object).unwrap();
        index.set_service("default", &service.metadata.name.clone(), Some(&service));
    }
    let shared = Shared::new(index, Forwarder::new(upstreams));
    let (udp, tcp) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = udp.local_addr().unwrap();
    serve(env, &shared, udp, tcp);
    address
}

async fn ask_udp(server: SocketAddr, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bytes = question(5, Name::from_ascii(name).unwrap(), RecordType::A).to_vec().unwrap();
    socket.send_to(&bytes, server).await.unwrap();
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..n]).unwrap()
}

async fn ask_tcp(server: SocketAddr, names: &[&str]) -> Vec<Message> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut answers = Vec::new();
    for name in names {
        let bytes = question(6, Name::from_ascii(name).unwrap(), RecordType::A).to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut buffer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut buffer).await.unwrap();
        answers.push(Message::from_vec(&buffer).unwrap());
    }
    answers
}

#[tokio::test]
async fn ours_and_theirs() {
    let env = Env::system("test");
    let (upstream, count) = upstream(&env).await;
    let server = start(&env, vec![upstream]).await;
    let ours = ask_udp(server, "web.default.svc.cluster.local.").await;
    assert_eq!((ours.metadata.id, ours.answers.len(), ours.metadata.authoritative), (5, 1, true));
    let tcp = ask_tcp(server, &["web.default.svc.cluster.local.", "nope.default.svc.cluster.local."]).await;
    assert_eq!(tcp[0].answers.len(), 1);
    assert_eq!(tcp[1].metadata.response_code, ResponseCode::NXDomain);
    let theirs = ask_udp(server, "eXample.com.").await;
    assert_eq!((theirs.metadata.id, theirs.answers.len()), (5, 1));
    assert_eq!(theirs.queries[0].name().to_ascii(), "eXample.com.");
    assert_eq!(ask_udp(server, "example.com.").await.answers.len(), 1);
    assert_eq!(count.load(Ordering::SeqCst), 1, "the second came from the cache");
    let chased = ask_udp(server, "out.default.svc.cluster.local.").await;
    assert_eq!(chased.answers.len(), 2, "alias and address");
    env.kill();
}

#[tokio::test]
async fn without_upstream_servers_the_rest_fails() {
    let env = Env::system("test");
    let server = start(&env, Vec::new()).await;
    assert_eq!(ask_udp(server, "example.com.").await.metadata.response_code, ResponseCode::ServFail);
    let chased = ask_udp(server, "out.default.svc.cluster.local.").await;
    assert_eq!((chased.metadata.response_code, chased.answers.len()), (ResponseCode::NoError, 1));
    env.kill();
}
