//! exec, attach, port-forward: upgrades, and bytes between client and runtime.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stream::{Message, Purpose, Wanted, command, forward, negotiate, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::Status;
use wire::cri::{AttachRequest, ExecRequest};
use wire::service::{BoxRead, Process, TerminalSize};

use super::routes::{Query, find};
use super::{Body, text};
use crate::shared::Shared;

fn wanted(query: &Query) -> Wanted {
    let tty = query.flag(&["tty"]);
    Wanted {
        stdin: query.flag(&["input", "stdin"]),
        stdout: query.flag(&["output", "stdout"]),
        stderr: query.flag(&["error", "stderr"]) && !tty,
        tty,
    }
}

/// Runs a command in a container.
pub fn exec(shared: &Arc<Shared>, request: Request<Incoming>, ns: &str, pod: &str, container: &str, query: &Query) -> Response<Body> {
    let (wanted, cmd) = (wanted(query), query.all("command"));
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let container_id = match running(shared, ns, pod, container) {
        Ok(id) => id,
        Err(answer) => return answer,
    };
    let request_to = ExecRequest { container_id, cmd, tty: wanted.tty, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    let cri = shared.cri.clone();
    command(shared, request, wanted, async move { cri.exec_stream(request_to).await })
}

/// Joins the streams of a container.
pub fn attach(shared: &Arc<Shared>, request: Request<Incoming>, ns: &str, pod: &str, container: &str, query: &Query) -> Response<Body> {
    let mut wanted = wanted(query);
    let container_id = match running(shared, ns, pod, container) {
        Ok(id) => id,
        Err(answer) => return answer,
    };
    let spec = find(shared, ns, pod).and_then(|f| f.pod.container(container).cloned()).unwrap_or_default();
    wanted.tty = spec.tty;
    wanted.stderr &= !spec.tty;
    let request_to = AttachRequest { container_id, stdin: wanted.stdin, tty: wanted.tty, stdout: wanted.stdout, stderr: wanted.stderr };
    let cri = shared.cri.clone();
    command(shared, request, wanted, async move { cri.attach_stream(request_to).await })
}

fn running(shared: &Shared, ns: &str, pod: &str, container: &str) -> Result<String, Response<Body>> {
    let found = find(shared, ns, pod).ok_or_else(|| text(StatusCode::NOT_FOUND, "pod does not exist"))?;
    found.running(container).map(|c| c.id.clone())
}

fn switch(response: Response<()>) -> Response<Body> {
    response.map(|()| Empty::new().boxed())
}

fn command<F>(shared: &Arc<Shared>, request: Request<Incoming>, wanted: Wanted, start: F) -> Response<Body>
where
    F: Future<Output = Result<Process, Status>> + Send + 'static,
{
    let upgrade = match negotiate(request.method(), request.headers(), Purpose::Command) {
        Ok(upgrade) => upgrade,
        Err(refused) => return text(refused.0, refused.1),
    };
    let protocol = upgrade.protocol;
    drop(shared.env.spawn("remote-command", async move {
        let Ok(io) = hyper::upgrade::on(request).await else { return };
        let session = command::serve(TokioIo::new(io), protocol, wanted);
        match start.await {
            Ok(process) => relay(session, process).await,
            Err(e) => {
                let message = format!("error executing command in container: {}", e.message());
                let _ = session.send(Message::Status(status::failure(&message).into())).await;
                drain(session).await;
            }
        }
    }));
    switch(upgrade.response)
}

/// Until the client closes: it must get to read the status.
async fn drain(mut session: stream::Session) {
    while session.receive().await.is_some() {}
}

/// Carries bytes both ways until the process has ended and its output is out.
async fn relay(session: stream::Session, process: Process) {
    let (sender, mut messages) = session.split();
    let Process { mut stdin, stdout, stderr, resize, exit } = process;
    let input = async {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Stdin(data) => {
                    if let Some(to) = &mut stdin
                        && (to.write_all(&data).await.is_err() || to.flush().await.is_err())
                    {
                        stdin = None;
                    }
                }
                Message::StdinEnd => {
                    if let Some(mut to) = stdin.take() {
                        let _ = to.shutdown().await;
                    }
                }
                Message::Resize { width, height } => drop(resize.send(TerminalSize { width, height }).await),
                Message::Stdout(_) | Message::Stderr(_) | Message::Status(_) => {}
            }
        }
    };
    let output = async {
        tokio::join!(pump(stdout, &sender, Message::Stdout), pump(stderr, &sender, Message::Stderr));
    };
    let work = async {
        // A child that the command left behind may keep the streams open: half a second is for what is on its way.
        tokio::pin!(output, exit);
        let code = tokio::select! { biased;
            () = &mut output => exit.await,
            code = &mut exit => {
                let _ = platform::time::timeout(platform::time::Duration::from_millis(500), &mut output).await;
                code
            }
        };
        let last = match code {
            Ok(code) => status::of(code),
            Err(e) => status::failure(e.message()),
        };
        let _ = sender.send(Message::Status(last.into())).await;
    };
    tokio::select! { biased;
        () = work => {}
        () = input => return, // the client is gone: dropping the process' streams ends what depends on them
    }
    while messages.recv().await.is_some() {}
}

async fn pump(from: Option<BoxRead>, to: &command::Sender, wrap: fn(Bytes) -> Message) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.send(wrap(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
            return;
        }
    }
}

/// Forwards connections to ports of a pod.
pub fn port_forward(shared: &Arc<Shared>, request: Request<Incoming>, ns: &str, pod: &str) -> Response<Body> {
    let Some(found) = find(shared, ns, pod) else { return text(StatusCode::NOT_FOUND, "pod does not exist") };
    let Some(sandbox) = found.seen.sandboxes.iter().find(|s| s.ready).map(|s| s.id.clone()) else {
        return text(StatusCode::BAD_REQUEST, "the pod has no running sandbox");
    };
    let upgrade = match negotiate(request.method(), request.headers(), Purpose::PortForward) {
        Ok(upgrade) => upgrade,
        Err(refused) => return text(refused.0, refused.1),
    };
    let (protocol, cri, env) = (upgrade.protocol, shared.cri.clone(), shared.env.clone());
    drop(shared.env.spawn("port-forward", async move {
        let Ok(io) = hyper::upgrade::on(request).await else { return };
        let mut connections = forward::serve(TokioIo::new(io), protocol);
        while let Some(mut connection) = connections.recv().await {
            let (cri, sandbox) = (cri.clone(), sandbox.clone());
            drop(env.spawn("forwarded-connection", async move {
                match cri.port_forward_stream(&sandbox, connection.port).await {
                    Ok(mut io) => drop(tokio::io::copy_bidirectional(&mut connection.io, &mut io).await),
                    Err(e) => {
                        if let Some(fail) = connection.fail.take() {
                            let _ = fail.send(format!("error forwarding port {} to pod {sandbox}: {}", connection.port, e.message()));
                        }
                    }
                }
            }));
        }
    }));
    switch(upgrade.response)
}
