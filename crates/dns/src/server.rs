//! The server's sockets: UDP and TCP on one address. What the cluster knows is answered at once; what must be asked
//! elsewhere gets a task of its own, at most [`MOST_FORWARDED`] at a time, beyond which queries fail with SERVFAIL.

use crate::core::answer::{self, Chase, Decision};
use crate::core::index::Index;
use crate::forward::Forwarder;
use hickory_proto::op::{Message, ResponseCode};
use platform::Env;
use platform::time::{Duration, sleep, timeout};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// Most queries that wait for upstream servers at one time.
pub const MOST_FORWARDED: usize = 1000;
/// Most TCP connections at one time.
pub const MOST_CONNECTIONS: usize = 500;
const IDLE: Duration = Duration::from_secs(10);

/// What all sockets share.
pub struct Shared {
    /// The cluster's names.
    pub index: RwLock<Index>,
    forwarder: Forwarder,
    forwarding: Arc<Semaphore>,
    turn: AtomicUsize,
}

impl Shared {
    /// Answers from `index`, the rest by `forwarder`.
    pub fn new(index: Index, forwarder: Forwarder) -> Arc<Shared> {
        let forwarding = Arc::new(Semaphore::new(MOST_FORWARDED));
        Arc::new(Shared { index: RwLock::new(index), forwarder, forwarding, turn: AtomicUsize::new(0) })
    }

    fn decide(&self, bytes: &[u8], tcp: bool) -> Decision {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        answer::decide(&self.index.read().unwrap_or_else(PoisonError::into_inner), bytes, tcp, turn)
    }

    async fn forward(&self, query: &Message, tcp: bool) -> Option<Vec<u8>> {
        let Ok(_permit) = self.forwarding.try_acquire() else { return answer::failure(query, ResponseCode::ServFail) };
        match self.forwarder.ask(query, tcp).await {
            Some(mut reply) => {
                reply.metadata.recursion_available = true;
                answer::encode(&reply, query, tcp)
            }
            None => answer::failure(query, ResponseCode::ServFail),
        }
    }

    /// Completes an answer whose alias leads out of the cluster; what cannot be had upstream is left out.
    async fn chase(&self, chase: Chase, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let mut reply = chase.reply;
        if let Ok(_permit) = self.forwarding.try_acquire() {
            let question = answer::question(reply.metadata.id, chase.target, chase.kind);
            if let Some(more) = self.forwarder.ask(&question, tcp).await {
                reply.add_answers(more.answers);
            }
        }
        let query = Message::from_vec(bytes).ok()?;
        answer::encode(&reply, &query, tcp)
    }

    /// The answer to one query, wherever it comes from.
    async fn respond(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        match self.decide(bytes, tcp) {
            Decision::Reply(reply) => Some(reply),
            Decision::Forward(query) => self.forward(&query, tcp).await,
            Decision::Chase(chase) => self.chase(*chase, bytes, tcp).await,
            Decision::Ignore => None,
        }
    }
}

/// Binds both sockets; `port` 0 takes one that is free for both.
pub async fn bind(address: SocketAddr) -> io::Result<(Arc<UdpSocket>, TcpListener)> {
    let tcp = TcpListener::bind(address).await?;
    let udp = UdpSocket::bind(tcp.local_addr()?).await?;
    Ok((Arc::new(udp), tcp))
}

/// Serves until the process ends.
pub fn serve(env: &Env, shared: &Arc<Shared>, udp: Arc<UdpSocket>, tcp: TcpListener) {
    env.spawn("dns-udp", serve_udp(env.clone(), shared.clone(), udp));
    env.spawn("dns-tcp", serve_tcp(env.clone(), shared.clone(), tcp));
}

async fn serve_udp(env: Env, shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(got) => got,
            Err(error) => {
                // An ICMP error of an earlier answer; anything worse would repeat, so do not spin.
                tracing::debug!("DNS socket: {error}");
                sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let bytes = &buffer[..length];
        match shared.decide(bytes, false) {
            Decision::Reply(reply) => send(&socket, &reply, client).await,
            Decision::Ignore => {}
            Decision::Forward(_) | Decision::Chase(_) => {
                let (shared, socket, bytes) = (shared.clone(), socket.clone(), bytes.to_vec());
                env.spawn("dns-forward", async move {
                    if let Some(reply) = shared.respond(&bytes, false).await {
                        send(&socket, &reply, client).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, "could not send a DNS answer: {error}");
    }
}

async fn serve_tcp(env: Env, shared: Arc<Shared>, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let shared = shared.clone();
                env.spawn("dns-connection", async move {
                    let _permit = permit;
                    if let Err(error) = serve_connection(&shared, stream).await {
                        tracing::debug!(%client, "DNS over TCP: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("DNS over TCP cannot accept connections: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let Ok(length) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
        let length = match length {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let mut bytes = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let Some(reply) = shared.respond(&bytes, true).await else { return Ok(()) };
        let size = u16::try_from(reply.len()).map_err(io::Error::other)?;
        timeout(IDLE, stream.write_all(&[&size.to_be_bytes(), reply.as_slice()].concat())).await??;
    }
}
