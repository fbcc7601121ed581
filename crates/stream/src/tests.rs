//! Both ends against each other, over every protocol.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::client::{self, Target};
use crate::{Message, Protocol, Purpose, Session, Wanted, command, forward, negotiate, status};

/// A server for one connection: reads the request's head, negotiates, answers.
async fn accept(mut io: DuplexStream, purpose: Purpose) -> (DuplexStream, Protocol) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.expect("request"));
    }
    let text = String::from_utf8(head).expect("text");
    let mut headers = HeaderMap::new();
    for (name, value) in text.lines().skip(1).filter_map(|l| l.split_once(": ")) {
        headers.append(HeaderName::try_from(name).expect("name"), HeaderValue::try_from(value).expect("value"));
    }
    let method = Method::from_bytes(text.split(' ').next().expect("method").as_bytes()).expect("method");
    let upgrade = negotiate(&method, &headers, purpose).expect("upgrade");
    let mut answer = "HTTP/1.1 101 Switching Protocols\r\n".to_string();
    for (name, value) in upgrade.response.headers() {
        answer += &format!("{name}: {}\r\n", value.to_str().expect("value"));
    }
    io.write_all((answer + "\r\n").as_bytes()).await.expect("answer");
    (io, upgrade.protocol)
}

/// Says what it got and ends with 3.
async fn command_server(io: DuplexStream, wanted: Wanted) {
    let (io, protocol) = accept(io, Purpose::Command).await;
    let mut session = command::serve(io, protocol, wanted);
    let mut stdin = Vec::new();
    loop {
        match session.receive().await.expect("open") {
            Message::Stdin(data) => stdin.extend(data),
            Message::Resize { width, height } => {
                session.send(Message::Stderr(format!("{width}x{height}").into())).await.expect("send");
            }
            Message::StdinEnd => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    session.send(Message::Stdout(stdin.into())).await.expect("send");
    session.send(Message::Status(status::of(3).into())).await.expect("send");
    assert_eq!(session.receive().await, None, "the client closes");
}

async fn command_client(mut session: Session) {
    session.send(Message::Stdin(Bytes::from_static(b"hello "))).await.expect("send");
    session.send(Message::Stdin(Bytes::from(vec![b'x'; 100_000]))).await.expect("send");
    session.send(Message::Resize { width: 80, height: 25 }).await.expect("send");
    session.send(Message::StdinEnd).await.expect("send");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = loop {
        match session.receive().await.expect("open") {
            Message::Stdout(data) => out.extend(data),
            Message::Stderr(data) => err.extend(data),
            Message::Status(text) => break status::parse(&text),
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!((code, out.len(), err.as_slice()), (Ok(3), 100_006, &b"80x25"[..]));
}

#[tokio::test]
async fn commands_over_both_protocols() {
    let target = Target {
        host: "node".into(),
        path: "/exec/a/b/c?stdin=1".into(),
        headers: vec![("Authorization".into(), "Bearer x".into())],
    };
    for spdy in [false, true] {
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        // With a terminal SPDY has a stream for sizes; without one it cannot carry them.
        let server_wanted = wanted;
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(command_server(far, server_wanted));
        if spdy {
            let mut session = client::exec_spdy(near, &target, wanted).await.expect("connect");
            session.send(Message::Stdin(Bytes::from_static(b"abc"))).await.expect("send");
            session.send(Message::StdinEnd).await.expect("send");
            let mut out = Vec::new();
            let code = loop {
                match session.receive().await.expect("open") {
                    Message::Stdout(data) => out.extend(data),
                    Message::Status(text) => break status::parse(&text),
                    other => panic!("unexpected {other:?}"),
                }
            };
            assert_eq!((code, out.as_slice()), (Ok(3), &b"abc"[..]));
        } else {
            command_client(client::exec(near, &target, wanted).await.expect("connect")).await;
        }
        server.await.expect("server");
    }
}

#[tokio::test]
async fn spdy_terminals_have_sizes() {
    let wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let (io, protocol) = accept(far, Purpose::Command).await;
        let mut session = command::serve(io, protocol, wanted);
        assert_eq!(session.receive().await, Some(Message::Resize { width: 1, height: 2 }));
        assert_eq!(session.receive().await, Some(Message::Resize { width: 3, height: 4 }));
    });
    let session = client::exec_spdy(near, &Target::default(), wanted).await.expect("connect");
    session.send(Message::Resize { width: 1, height: 2 }).await.expect("send");
    session.send(Message::Resize { width: 3, height: 4 }).await.expect("send");
    server.await.expect("server");
}

#[tokio::test]
async fn forwards_ports() {
    for spdy in [false, true] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let (io, protocol) = accept(far, Purpose::PortForward).await;
            let mut connections = forward::serve(io, protocol);
            while let Some(mut connection) = connections.recv().await {
                if connection.port == 1 {
                    connection.fail.take().expect("server side").send("refused".into()).expect("told");
                    continue;
                }
                tokio::spawn(async move {
                    let mut text = String::new();
                    connection.io.read_to_string(&mut text).await.expect("read");
                    connection.io.write_all(format!("{}:{text}", connection.port).as_bytes()).await.expect("write");
                });
            }
        });
        let target = Target { host: "node".into(), path: "/portForward/a/b".into(), ..Target::default() };
        let forwarder = match spdy {
            true => client::port_forward_spdy(near, &target).await,
            false => client::port_forward(near, &target).await,
        }
        .expect("connect");
        let mut all = Vec::new();
        for port in [80, 443] {
            let mut connection = forwarder.connect(port).await.expect("open");
            connection.io.write_all(b"ping").await.expect("write");
            connection.io.shutdown().await.expect("half close");
            all.push(connection);
        }
        for mut connection in all {
            let mut text = String::new();
            connection.io.read_to_string(&mut text).await.expect("read");
            assert_eq!(text, format!("{}:ping", connection.port));
        }
        let connection = forwarder.connect(1).await.expect("open");
        assert_eq!(connection.failure.expect("client side").await.as_deref(), Ok("refused"));
    }
}

#[test]
fn negotiates() {
    let headers = |pairs: &[(&'static str, &'static str)]| {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect::<HeaderMap>()
    };
    let ws = |p: &'static str| {
        headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "a"),
            ("sec-websocket-protocol", p),
        ])
    };
    let spdy = |p: &'static str| {
        headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", p)])
    };
    for (headers, purpose, want) in [
        (
            ws("v5.channel.k8s.io,v4.channel.k8s.io"),
            Purpose::Command,
            Some(Protocol::WebSocket { version: 5, base64: false }),
        ),
        (ws("v4.base64.channel.k8s.io"), Purpose::Command, Some(Protocol::WebSocket { version: 4, base64: true })),
        (ws("nonsense"), Purpose::Command, None),
        (ws("SPDY/3.1+portforward.k8s.io"), Purpose::PortForward, Some(Protocol::ForwardWebSocket)),
        (spdy("v4.channel.k8s.io, v3.channel.k8s.io"), Purpose::Command, Some(Protocol::Spdy { version: 4 })),
        (spdy("portforward.k8s.io"), Purpose::PortForward, Some(Protocol::ForwardSpdy)),
        (spdy("v9"), Purpose::Command, None),
        (headers(&[]), Purpose::Command, None),
    ] {
        assert_eq!(negotiate(&Method::GET, &headers, purpose).ok().map(|u| u.protocol), want, "{headers:?}");
    }
}
