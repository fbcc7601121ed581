//! The daemon's end of the shim protocol.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::proto::{Answer, Call, Exit, MAX_PACKET, Message, Request, ShimConfig, VERSION};
use super::{CONFIG, SOCKET, write_atomic};
use crate::error::{Error, Result};
use crate::sys;

/// What a shim reports on its own.
#[derive(Debug)]
pub enum Event {
    Exited {
        container: String,
        exit: Exit,
    },
    /// The connection is gone: the shim has ended, or its end has begun.
    Gone {
        sandbox: String,
    },
}

type Reply = oneshot::Sender<std::result::Result<(Answer, Option<OwnedFd>), String>>;

#[derive(Default)]
struct Waiting {
    replies: HashMap<u64, Reply>,
    execs: HashMap<u64, oneshot::Sender<i32>>,
}

/// A connection to one shim.
pub struct ShimClient {
    sandbox: String,
    socket: Arc<AsyncFd<OwnedFd>>,
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
    closed: Arc<AtomicBool>,
}

/// Starts the shim of a sandbox and waits until it listens. Blocks; the child is reaped by whoever sees it go.
pub fn spawn(command: &[String], dir: &Path, config: &ShimConfig) -> Result<Child> {
    let text = serde_json::to_vec(config).map_err(|e| Error::internal(e.to_string()))?;
    write_atomic(&dir.join(CONFIG), &text).map_err(|e| Error::file("write", &dir.join(CONFIG), e))?;
    let (program, arguments) = command.split_first().ok_or_else(|| Error::internal("no shim command is configured"))?;
    let log =
        std::fs::File::create(dir.join("shim.log")).map_err(|e| Error::file("create", &dir.join("shim.log"), e))?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg("--dir")
        .arg(dir)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .map_err(|e| Error::internal(format!("start the shim {program}: {e}")))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line);
    }
    if line.trim() != "ready" {
        let _ = child.kill();
        let _ = child.wait();
        let said = std::fs::read_to_string(dir.join("shim.log")).unwrap_or_default();
        return Err(Error::internal(format!("the shim did not start: {}", said.trim())));
    }
    Ok(child)
}

impl ShimClient {
    /// Connects to the shim that listens in `dir`. What it reports goes to `events`.
    pub fn connect(sandbox: &str, dir: &Path, events: mpsc::UnboundedSender<Event>) -> io::Result<ShimClient> {
        let handle = std::fs::File::open(dir)?;
        let socket = sys::packet_socket(handle.as_fd(), SOCKET, false)?;
        sys::set_nonblocking(socket.as_fd(), true)?;
        let client = ShimClient {
            sandbox: sandbox.to_string(),
            // SAFETY: AsyncFd owns the descriptor, which stays open and the same until AsyncFd is dropped.
            socket: Arc::new(unsafe { AsyncFd::register(socket) }?),
            next: AtomicU64::new(1),
            waiting: Arc::default(),
            closed: Arc::default(),
        };
        let listen =
            listen(client.socket.clone(), client.waiting.clone(), client.closed.clone(), sandbox.to_string(), events);
        tokio::spawn(listen);
        Ok(client)
    }

    /// Introduces the daemon; the answer lists what runs.
    pub async fn hello(&self) -> Result<Answer> {
        self.call(Call::Hello { version: VERSION }, &[]).await.map(|(answer, _)| answer)
    }

    /// Whether the shim is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A number for a new exec, unique in this connection and unlikely to meet those of an earlier one.
    pub fn new_exec(&self) -> u64 {
        let mut random = [0; 8];
        platform::rng::secret(&mut random);
        u64::from_le_bytes(random) >> 1
    }

    /// Asks and waits for the answer.
    pub async fn call(&self, call: Call, fds: &[&OwnedFd]) -> Result<(Answer, Option<OwnedFd>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let gone = || Error {
            code: tonic::Code::Unavailable,
            message: format!("the shim of sandbox {} is gone", self.sandbox),
        };
        lock(&self.waiting).replies.insert(id, sender);
        if self.is_closed() {
            lock(&self.waiting).replies.remove(&id);
            return Err(gone());
        }
        let text = serde_json::to_vec(&Request { id, call }).map_err(|e| Error::internal(e.to_string()))?;
        if text.len() > MAX_PACKET {
            return Err(Error::invalid("the command line is too long"));
        }
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        loop {
            let mut ready = self.socket.writable().await.map_err(|e| Error::internal(e.to_string()))?;
            match ready.try_io(|socket| sys::send_with_fds(socket.as_fd(), &text, &fds)) {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return Err(gone()),
                Err(_) => {}
            }
        }
        drop(fds);
        match receiver.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(Error::internal(message)),
            Err(_) => Err(gone()),
        }
    }

    /// Registers for the exit of an exec; call it before the exec itself.
    pub fn expect_exec(&self, exec: u64) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).execs.insert(exec, sender);
        receiver
    }

    /// Nobody waits for this exec any more.
    pub fn forget_exec(&self, exec: u64) {
        lock(&self.waiting).execs.remove(&exec);
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(
    socket: Arc<AsyncFd<OwnedFd>>,
    waiting: Arc<Mutex<Waiting>>,
    closed: Arc<AtomicBool>,
    sandbox: String,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut buffer = vec![0; MAX_PACKET];
    while let Ok(mut ready) = socket.readable().await {
        let (n, fds) = match ready.try_io(|socket| sys::receive_with_fds(socket.as_fd(), &mut buffer)) {
            Ok(Ok((n, fds))) if n > 0 => (n, fds),
            Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(_) => break,
            Err(_) => continue,
        };
        match serde_json::from_slice(&buffer[..n]) {
            Ok(Message::Reply { id, result }) => {
                if let Some(reply) = lock(&waiting).replies.remove(&id) {
                    let _ = reply.send(result.map(|answer| (answer, fds.into_iter().next())));
                }
            }
            Ok(Message::Exited { container, exit }) => drop(events.send(Event::Exited { container, exit })),
            Ok(Message::ExecExited { exec, code }) => {
                if let Some(waiter) = lock(&waiting).execs.remove(&exec) {
                    let _ = waiter.send(code);
                }
            }
            Err(e) => {
                tracing::warn!(sandbox, error = %e, "a shim's message cannot be read; its protocol is newer than this daemon")
            }
        }
    }
    closed.store(true, Ordering::Release);
    *lock(&waiting) = Waiting::default();
    let _ = events.send(Event::Gone { sandbox });
}

/// Pid of the process at the other end of the shim's socket in `dir`; used to end what nobody knows any more.
pub fn shut_down_unknown(dir: &Path) {
    let Ok(handle) = std::fs::File::open(dir) else { return };
    let Ok(socket) = sys::packet_socket(handle.as_fd(), SOCKET, false) else { return };
    if let Ok(text) = serde_json::to_vec(&Request { id: 1, call: Call::Shutdown }) {
        let _ = sys::send_with_fds(socket.as_fd(), &text, &[]);
    }
    // The shim closes the connection when it ends.
    let mut poll = [libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 }];
    let _ = sys::poll(&mut poll, Duration::from_secs(5).as_millis() as i32);
}

/// Where a sandbox' run-time files are.
pub fn run_dir(root: &Path, sandbox: &str) -> PathBuf {
    root.join("s").join(sandbox)
}
