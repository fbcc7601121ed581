//! Asks the host's servers what is not the cluster's, and keeps answers for a short while.
//!
//! Every question goes out from a socket of its own with a random port and identifier; an answer must repeat both the
//! identifier and the question. Servers are tried in order, beginning with the last that answered. The cache holds at
//! most [`CAPACITY`] answers for at most [`LONGEST`] and serves them with what is left of their TTL.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use platform::time::{Duration, Instant, timeout};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Most answers that are kept.
pub const CAPACITY: usize = 4096;
/// How long an answer is kept at most.
pub const LONGEST: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    name: String,
    kind: RecordType,
    dnssec: bool,
    tcp: bool,
}

struct Kept {
    answer: Message,
    since: Instant,
    until: Instant,
}

/// The way to the upstream servers.
pub struct Forwarder {
    servers: Vec<SocketAddr>,
    preferred: AtomicUsize,
    cache: Mutex<HashMap<Question, Kept>>,
}

impl Forwarder {
    /// Forwards to `servers`; with none, everything fails with SERVFAIL.
    pub fn new(servers: Vec<SocketAddr>) -> Forwarder {
        Forwarder { servers, preferred: AtomicUsize::new(0), cache: Mutex::new(HashMap::new()) }
    }

    /// The upstream answer to `query`, with the query's identifier; `None` when no server answered.
    pub async fn ask(&self, query: &Message, tcp: bool) -> Option<Message> {
        let question = question_of(query, tcp)?;
        if let Some(mut kept) = self.cached(&question) {
            kept.metadata.id = query.metadata.id;
            kept.queries.clone_from(&query.queries);
            return Some(kept);
        }
        for round in 0..ROUNDS * self.servers.len() {
            let turn = self.preferred.load(Ordering::Relaxed) + round;
            let server = self.servers[turn % self.servers.len()];
            let attempt = timeout(PATIENCE, exchange(server, query, tcp)).await;
            match attempt {
                Ok(Ok(answer)) => {
                    self.preferred.store(turn % self.servers.len(), Ordering::Relaxed);
                    self.keep(question, &answer);
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%server, "upstream DNS server: {error}"),
                Err(_) => tracing::debug!(%server, "upstream DNS server: no answer within {PATIENCE:?}"),
            }
        }
        None
    }

    fn cached(&self, question: &Question) -> Option<Message> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cache.get(question).filter(|k| k.until > Instant::now())?;
        let mut answer = kept.answer.clone();
        let age = u32::try_from(kept.since.elapsed().as_secs()).unwrap_or(u32::MAX);
        let records = answer.answers.iter_mut().chain(&mut answer.authorities).chain(&mut answer.additionals);
        records.for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        Some(answer)
    }

    fn keep(&self, question: Question, answer: &Message) {
        if answer.metadata.truncation
            || !matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        {
            return;
        }
        let records = answer.answers.iter().chain(&answer.authorities);
        let Some(ttl) = records.map(|r| r.ttl).min().filter(|ttl| *ttl > 0) else { return };
        let since = Instant::now();
        let until = since + Duration::from_secs(u64::from(ttl)).min(LONGEST);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CAPACITY {
            cache.retain(|_, kept| kept.until > since);
            if cache.len() >= CAPACITY {
                cache.clear(); // full of fresh answers: beginning anew is cheaper than bookkeeping
            }
        }
        cache.insert(question, Kept { answer: answer.clone(), since, until });
    }
}

fn question_of(query: &Message, tcp: bool) -> Option<Question> {
    let [question] = query.queries.as_slice() else { return None };
    let dnssec = query.edns.as_ref().is_some_and(|e| e.flags().dnssec_ok);
    Some(Question { name: question.name().to_lowercase().to_ascii(), kind: question.query_type(), dnssec, tcp })
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    platform::rng::secret(&mut bytes);
    u16::from_ne_bytes(bytes)
}

/// One question to one server.
async fn exchange(server: SocketAddr, query: &Message, tcp: bool) -> io::Result<Message> {
    let mut sent = query.clone();
    sent.metadata.id = random_id();
    let bytes = sent.to_vec().map_err(io::Error::other)?;
    let mut answer = if tcp { ask_tcp(server, &bytes, &sent).await? } else { ask_udp(server, &bytes, &sent).await? };
    answer.metadata.id = query.metadata.id;
    answer.queries.clone_from(&query.queries); // the case as the client wrote it
    Ok(answer)
}

async fn ask_udp(server: SocketAddr, bytes: &[u8], sent: &Message) -> io::Result<Message> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if let Some(answer) = matching(&buffer[..n], sent) {
            return Ok(answer);
        } // else forged or late: wait for the right one
    }
}

async fn ask_tcp(server: SocketAddr, bytes: &[u8], sent: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    matching(&buffer, sent).ok_or_else(|| io::Error::other("the answer does not belong to the question"))
}

fn matching(bytes: &[u8], sent: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    (answer.metadata.id == sent.metadata.id && answer.queries == sent.queries).then_some(answer)
}
