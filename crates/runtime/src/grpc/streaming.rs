//! The HTTP server behind the URLs of Exec, Attach and PortForward.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stream::{Purpose, Wanted, command, forward, negotiate, relay};
use tokio::net::TcpListener;
use wire::Cri;
use wire::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use wire::service::{Process, TerminalSize};

use crate::Runtime;
use crate::state::lock;

const LIFETIME: Duration = Duration::from_secs(60);

/// What a URL stands for.
pub enum Ticket {
    Exec(ExecRequest),
    Attach(AttachRequest),
    Forward(PortForwardRequest),
}

/// The server and its open tickets.
pub struct Streaming {
    runtime: Runtime,
    address: SocketAddr,
    tickets: Mutex<HashMap<String, (Ticket, Instant)>>,
}

impl Streaming {
    /// Binds to a free port of loopback and serves.
    pub async fn start(runtime: Runtime) -> std::io::Result<Arc<Streaming>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let streaming = Arc::new(Streaming { runtime, address: listener.local_addr()?, tickets: Mutex::default() });
        tokio::spawn(accept(streaming.clone(), listener));
        Ok(streaming)
    }

    /// A URL that works once.
    pub fn url(&self, ticket: Ticket) -> String {
        let mut secret = [0; 16];
        platform::rng::secret(&mut secret);
        let token = crate::image::unpack::hex(&secret);
        let word = match ticket {
            Ticket::Exec(_) => "exec",
            Ticket::Attach(_) => "attach",
            Ticket::Forward(_) => "portforward",
        };
        let mut tickets = lock(&self.tickets);
        tickets.retain(|_, (_, made)| made.elapsed() < LIFETIME);
        tickets.insert(token.clone(), (ticket, Instant::now()));
        format!("http://{}/{word}/{token}", self.address)
    }

    fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let token = request.uri().path().rsplit('/').next().unwrap_or("").to_string();
        let ticket = lock(&self.tickets).remove(&token).filter(|(_, made)| made.elapsed() < LIFETIME);
        let Some((ticket, _)) = ticket else { return plain(StatusCode::NOT_FOUND, "unknown or used URL".into()) };
        let purpose = if matches!(ticket, Ticket::Forward(_)) { Purpose::PortForward } else { Purpose::Command };
        let upgrade = match negotiate(request.method(), request.headers(), purpose) {
            Ok(upgrade) => upgrade,
            Err(refused) => return plain(refused.0, refused.1),
        };
        let (runtime, protocol) = (self.runtime.clone(), upgrade.protocol);
        tokio::spawn(async move {
            let Ok(io) = hyper::upgrade::on(request).await else { return };
            let io = TokioIo::new(io);
            match ticket {
                Ticket::Exec(r) => {
                    let wanted = Wanted { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty };
                    join(command::serve(io, protocol, wanted), runtime.exec_stream(r).await).await;
                }
                Ticket::Attach(r) => {
                    let wanted = Wanted { stdin: r.stdin, stdout: r.stdout, stderr: r.stderr, tty: r.tty };
                    join(command::serve(io, protocol, wanted), runtime.attach_stream(r).await).await;
                }
                Ticket::Forward(r) => forward_ports(forward::serve(io, protocol), runtime, r.pod_sandbox_id).await,
            }
        });
        upgrade.response.map(|()| Full::default())
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

async fn accept(streaming: Arc<Streaming>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let streaming = streaming.clone();
        let service = service_fn(move |request| {
            let streaming = streaming.clone();
            async move { Ok::<_, Infallible>(streaming.handle(request)) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades(),
        );
    }
}

async fn join(session: stream::Session, process: Result<Process, wire::Status>) {
    let process = match process {
        Ok(process) => process,
        Err(e) => return relay::fail(session, e.message()).await,
    };
    let Process { stdin, stdout, stderr, resize, exit } = process;
    let resize = Box::new(move |width, height| {
        let _ = resize.try_send(TerminalSize { width, height });
    });
    let exit = Box::pin(async move { exit.await.map_err(|e| e.message().to_string()) });
    relay::run(session, relay::Streams { stdin, stdout, stderr, resize, exit }).await;
}

async fn forward_ports(
    mut connections: tokio::sync::mpsc::Receiver<forward::Connection>,
    runtime: Runtime,
    sandbox: String,
) {
    while let Some(mut connection) = connections.recv().await {
        let (runtime, sandbox) = (runtime.clone(), sandbox.clone());
        tokio::spawn(async move {
            match runtime.port_forward_stream(&sandbox, connection.port).await {
                Ok(mut io) => drop(tokio::io::copy_bidirectional(&mut connection.io, &mut io).await),
                Err(e) => {
                    if let Some(fail) = connection.fail.take() {
                        let _ = fail.send(e.message().to_string());
                    }
                }
            }
        });
    }
}
