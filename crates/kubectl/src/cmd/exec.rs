//! `exec`, `attach`, `port-forward`: over WebSocket, as upstream's kubectl since 1.31.

use super::logs::{Several, default_container, pod_for};
use crate::Ctx;
use crate::failure::{Failure, Outcome};
use crate::files::targets;
use crate::out;
use crate::terminal::{self, Raw};
use api::Value;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use stream::client::{ConnectError, Target};
use stream::command::Sender;
use stream::{Message, Session, Wanted};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

async fn pod_of(ctx: &Ctx, word: Option<&String>, usage: &str) -> Outcome<Value> {
    let word = word.ok_or_else(|| Failure::error(usage))?;
    let pods = ctx.session.resource("pods").await?;
    let found = pod_for(ctx, &pods, word, Several::First).await?;
    found.into_iter().next().ok_or_else(|| Failure::error("no pod was found"))
}

fn container_of(ctx: &Ctx, pod: &Value) -> Outcome<String> {
    let name = ctx.given.text("container");
    if name.is_empty() { default_container(pod) } else { Ok(name.to_string()) } // the server knows which there are
}

/// `exec`.
pub async fn exec(ctx: &Ctx) -> Outcome {
    let given = &ctx.given;
    let Some(dash) = given.dash.filter(|d| *d <= 1) else {
        let text = if given.args.len() > 1 {
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples"
        } else {
            "you must specify at least one command for the container"
        };
        return Err(Failure::error(text));
    };
    let command = &given.args[dash..];
    if command.is_empty() {
        return Err(Failure::error("you must specify at least one command for the container"));
    }
    let word = given.args.first().filter(|_| dash == 1);
    let pod = pod_of(ctx, word, "pod, type/name or --filename must be specified").await?;
    let phase = pod.at("status").at("phase").str();
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(Failure::error(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = container_of(ctx, &pod)?;
    let wanted = wanted(given.on("stdin"), given.on("tty"));
    let mut query: Vec<(&str, String)> = command.iter().map(|c| ("command", c.clone())).collect();
    query.push(("container", container));
    let code = remote(ctx, &pod, "exec", query, wanted).await?;
    if code != 0 {
        return Err(Failure {
            text: format!("command terminated with exit code {code}"),
            code: u8::try_from(code).unwrap_or(255),
            reason: None,
        });
    }
    Ok(())
}

/// Which streams; a terminal only if there is one.
pub fn wanted(stdin: bool, tty: bool) -> Wanted {
    let tty = tty
        && (!stdin || terminal::is_terminal() || {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
            false
        });
    Wanted { stdin, stdout: true, stderr: !tty, tty }
}

/// `attach`.
pub async fn attach(ctx: &Ctx) -> Outcome {
    let pod = pod_of(ctx, ctx.given.args.first(), "at least 1 argument is required for attach").await?;
    attach_to(ctx, &pod, ctx.given.on("stdin"), ctx.given.on("tty")).await.map(|_| ())
}

/// Attaches to a pod's container; answers its exit code if the server tells it.
pub async fn attach_to(ctx: &Ctx, pod: &Value, stdin: bool, tty: bool) -> Outcome<i32> {
    let container = container_of(ctx, pod)?;
    if !ctx.given.on("quiet") && stdin {
        eprintln!("If you don't see a command prompt, try pressing enter.");
    }
    remote(ctx, pod, "attach", vec![("container", container)], wanted(stdin, tty)).await
}

fn target(dialed: &client::Dialed, path: &str) -> Target {
    let mut headers = dialed.headers.clone();
    headers.push(("User-Agent".into(), concat!("kubectl/corten-", env!("CARGO_PKG_VERSION")).into()));
    Target { host: dialed.host.clone(), path: format!("{}{path}", dialed.base_path), headers }
}

fn refused(error: ConnectError) -> Failure {
    match error {
        ConnectError::Refused { status, body } => client::Error::from_status(status, body.into()).into(),
        other => Failure::error(other),
    }
}

async fn remote(ctx: &Ctx, pod: &Value, verb: &str, mut query: Vec<(&str, String)>, wanted: Wanted) -> Outcome<i32> {
    for (name, on) in
        [("stdin", wanted.stdin), ("stdout", wanted.stdout), ("stderr", wanted.stderr), ("tty", wanted.tty)]
    {
        if on {
            query.push((name, "true".into()));
        }
    }
    let (namespace, name) = (pod.at("metadata").at("namespace").str(), pod.at("metadata").at("name").str());
    let path = client::with_query(&format!("/api/v1/namespaces/{namespace}/pods/{name}/{verb}"), &query);
    let dialed = ctx.session.https.connect().await?;
    let target = target(&dialed, &path);
    let session = stream::client::exec(dialed.io, &target, wanted).await.map_err(refused)?;
    let raw = if wanted.tty && wanted.stdin { Raw::enter() } else { None };
    let result = talk(ctx, session, wanted).await;
    drop(raw);
    result
}

async fn talk(ctx: &Ctx, session: Session, wanted: Wanted) -> Outcome<i32> {
    let (sender, mut incoming) = session.split();
    if wanted.stdin {
        let sender = sender.clone();
        ctx.session.env.spawn("stdin", async move {
            let mut input = terminal::input();
            while let Some(piece) = input.recv().await {
                if sender.send(Message::Stdin(piece)).await.is_err() {
                    return;
                }
            }
            let _ = sender.send(Message::StdinEnd).await; // the connection may be gone, which the reader reports
        });
    }
    if wanted.tty {
        ctx.session.env.spawn("resize", resizes(sender.clone()));
    }
    while let Some(message) = incoming.recv().await {
        match message {
            Message::Stdout(bytes) => out::bytes(&bytes),
            Message::Stderr(bytes) => {
                let mut err = std::io::stderr().lock();
                err.write_all(&bytes)
                    .and_then(|()| err.flush())
                    .map_err(|e| Failure::error(format!("standard error: {e}")))?;
            }
            Message::Status(status) => return stream::status::parse(&status).map_err(Failure::error),
            Message::Stdin(_) | Message::StdinEnd | Message::Resize { .. } => {}
        }
    }
    drop(sender);
    Err(Failure::error("the connection ended before the command did"))
}

/// Tells the terminal's size now and whenever it changes.
async fn resizes(sender: Sender) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = terminal::size()
            && sender.send(Message::Resize { width, height }).await.is_err()
        {
            return;
        }
        changes.recv().await;
    }
}

/// `8080:80`, `:80`, `80`, `8080:http` as (local, remote).
fn port_pair(text: &str) -> Outcome<(u16, String)> {
    let bad = || Failure::error(format!("invalid port format '{text}'"));
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let local = match local {
        "" => 0,
        number => number.parse().map_err(|_| bad())?,
    };
    if remote.is_empty() {
        return Err(bad());
    }
    Ok((local, remote.to_string()))
}

/// A port's number in the pod: a number, a name, or a service's port.
fn pod_port(pod: &Value, service: Option<&Value>, text: &str) -> Outcome<u16> {
    let containers = || pod.at("spec").at("containers").items().iter().flat_map(|c| c.at("ports").items());
    let by_name = |name: &str| containers().find(|p| p.at("name").str() == name).map(|p| p.at("containerPort").int());
    let port = match service {
        Some(service) => {
            let wanted = |p: &&Value| p.at("name").str() == text || p.at("port").int().to_string() == text;
            let port = service.at("spec").at("ports").items().iter().find(wanted);
            let port = port.ok_or_else(|| {
                Failure::error(format!(
                    "Service {} does not have a service port {text}",
                    service.at("metadata").at("name").str()
                ))
            })?;
            if service.at("spec").at("clusterIP").str() == "None" {
                port.at("port").as_int()
            } else {
                match port.at("targetPort") {
                    Value::Str(_) => by_name(port.at("targetPort").str()),
                    target => target.as_int().filter(|n| *n > 0).or(port.at("port").as_int()),
                }
            }
        }
        None => text.parse::<i64>().ok().or_else(|| by_name(text)),
    };
    port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
        Failure::error(format!("Pod '{}' does not have a named port '{text}'", pod.at("metadata").at("name").str()))
    })
}

/// `port-forward`.
pub async fn port_forward(ctx: &Ctx) -> Outcome {
    let Some((word, ports)) = ctx.given.args.split_first().filter(|(_, ports)| !ports.is_empty()) else {
        return Err(Failure::error("TYPE/NAME and list of ports are required for port-forward"));
    };
    let service = match word.split_once('/') {
        Some((kind, _)) if ctx.session.resource(kind).await?.kind == "Service" => {
            let target = targets(ctx, std::slice::from_ref(word)).await?.into_iter().next();
            match target {
                Some(target) => Some(ctx.session.get(&target.path()).await?),
                None => None,
            }
        }
        _ => None,
    };
    let pod = pod_of(ctx, Some(word), "").await?;
    if pod.at("status").at("phase").str() != "Running" {
        return Err(Failure::error(format!(
            "unable to forward port because pod is not running. Current status={}",
            pod.at("status").at("phase").str()
        )));
    }
    let (namespace, name) = (pod.at("metadata").at("namespace").str(), pod.at("metadata").at("name").str());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/portforward");
    let dialed = ctx.session.https.connect().await?;
    let target = target(&dialed, &path);
    let forwarder = Arc::new(stream::client::port_forward(dialed.io, &target).await.map_err(refused)?);
    let (lost, mut is_lost) = tokio::sync::mpsc::channel::<()>(1);
    for text in ports {
        let (local, remote) = port_pair(text)?;
        let remote = pod_port(&pod, service.as_ref(), &remote)?;
        let mut listening = 0;
        for address in addresses(ctx.given.text("address"))? {
            match TcpListener::bind(SocketAddr::new(address, local)).await {
                Ok(listener) => {
                    let bound = listener.local_addr().map_err(Failure::error)?;
                    out::line(&format!("Forwarding from {bound} -> {remote}"));
                    ctx.session.env.spawn(
                        "forward",
                        accept(
                            listener,
                            bound.port(),
                            remote,
                            forwarder.clone(),
                            lost.clone(),
                            ctx.session.env.clone(),
                        ),
                    );
                    listening += 1;
                }
                Err(error) => eprintln!(
                    "Unable to listen on port {local}: listeners failed to create with the following errors: [unable to create listener: Error listen tcp {}: {error}]",
                    SocketAddr::new(address, local)
                ),
            }
        }
        if listening == 0 {
            return Err(Failure::error(format!(
                "unable to listen on any of the requested ports: [{{{local} {remote}}}]"
            )));
        }
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::error)?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = is_lost.recv() => Err(Failure::error("lost connection to pod")),
    }
}

fn addresses(text: &str) -> Outcome<Vec<IpAddr>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        match part {
            "" | "localhost" => all.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)]),
            other => all.push(other.parse().map_err(|_| Failure::error(format!("{other} is not a valid IP")))?),
        }
    }
    Ok(all)
}

async fn accept(
    listener: TcpListener,
    local: u16,
    remote: u16,
    forwarder: Arc<stream::forward::Forwarder>,
    lost: tokio::sync::mpsc::Sender<()>,
    env: platform::Env,
) {
    while let Ok((client, _)) = listener.accept().await {
        out::line(&format!("Handling connection for {local}"));
        match forwarder.connect(remote).await {
            Some(connection) => drop(env.spawn("forwarded", copy(client, connection, local, remote))), // detached: it ends with the connection
            None => {
                let _ = lost.try_send(()); // one message is enough
                return;
            }
        }
    }
}

async fn copy(mut client: TcpStream, mut connection: stream::forward::Connection, local: u16, remote: u16) {
    let _ = tokio::io::copy_bidirectional(&mut client, &mut connection.io).await; // either side may go at any time
    if let Some(failure) = connection.failure.take()
        && let Ok(text) = failure.await
    {
        eprintln!("error: an error occurred forwarding {local} -> {remote}: {text}");
    }
}
