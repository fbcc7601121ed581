//! exec, attach, port-forward: upgrades, and bytes between client and runtime.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use stream::{Purpose, Wanted, command, forward, negotiate, relay};
use wire::Status;
use wire::cri::{AttachRequest, ExecRequest};
use wire::service::{Process, TerminalSize};

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
pub fn exec(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    ns: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Response<Body> {
    let (wanted, cmd) = (wanted(query), query.all("command"));
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let container_id = match running(shared, ns, pod, container) {
        Ok(id) => id,
        Err(answer) => return answer,
    };
    let request_to = ExecRequest {
        container_id,
        cmd,
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let cri = shared.cri.clone();
    command(shared, request, wanted, async move { cri.exec_stream(request_to).await })
}

/// Joins the streams of a container.
pub fn attach(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    ns: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Response<Body> {
    let mut wanted = wanted(query);
    let container_id = match running(shared, ns, pod, container) {
        Ok(id) => id,
        Err(answer) => return answer,
    };
    let spec = find(shared, ns, pod).and_then(|f| f.pod.container(container).cloned()).unwrap_or_default();
    wanted.tty = spec.tty;
    wanted.stderr &= !spec.tty;
    let request_to = AttachRequest {
        container_id,
        stdin: wanted.stdin,
        tty: wanted.tty,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
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
            Ok(process) => relay::run(session, streams(process)).await,
            Err(e) => relay::fail(session, &format!("error executing command in container: {}", e.message())).await,
        }
    }));
    switch(upgrade.response)
}

fn streams(process: Process) -> relay::Streams {
    let Process { stdin, stdout, stderr, resize, exit } = process;
    // Sizes are told often; one that finds no room is followed by a newer one.
    let resize = Box::new(move |width, height| {
        let _ = resize.try_send(TerminalSize { width, height });
    });
    relay::Streams {
        stdin,
        stdout,
        stderr,
        resize,
        exit: Box::pin(async move { exit.await.map_err(|e| e.message().to_string()) }),
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
                            let _ = fail.send(format!(
                                "error forwarding port {} to pod {sandbox}: {}",
                                connection.port,
                                e.message()
                            ));
                        }
                    }
                }
            }));
        }
    }));
    switch(upgrade.response)
}
