//! Commands in containers: exec, attach, port-forward. The streams go to the process itself, not through the shim.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use wire::cri::{AttachRequest, ExecRequest, ExecSyncRequest, ExecSyncResponse};
use wire::service::{Io, Process, TerminalSize};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::namespaces;
use crate::shim::client::ShimClient;
use crate::shim::proto::Call;
use crate::state::Container;
use crate::sys;

/// Output of ExecSync that is kept per stream; the rest is read and dropped.
const MAX_SYNC_OUTPUT: usize = 16 << 20;

/// A terminal's master, as tokio reads and writes it. The end of the other side is end of file.
#[derive(Clone)]
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = buffer.initialize_unfilled();
            match guard.try_io(|fd| sys::read(fd.as_fd(), space)) {
                Ok(Ok(n)) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(e)) if e.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(e)) => return Poll::Ready(Err(e)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| sys::write(fd.as_fd(), data)) {
                Ok(result) => return Poll::Ready(result),
                Err(_) => {}
            }
        }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // a terminal has no half-close
    }
}

/// Pipes for the streams that are wanted: our ends, and theirs in order.
struct Pipes {
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    theirs: Vec<OwnedFd>,
}

fn pipes(stdin: bool, stdout: bool, stderr: bool) -> io::Result<Pipes> {
    let mut out = Pipes { stdin: None, stdout: None, stderr: None, theirs: Vec::new() };
    if stdin {
        let (read, write) = sys::pipe()?;
        sys::set_nonblocking(write.as_fd(), true)?;
        out.stdin = Some(pipe::Sender::from_owned_fd(write)?);
        out.theirs.push(read);
    }
    for (wanted, slot) in [(stdout, &mut out.stdout), (stderr, &mut out.stderr)] {
        if wanted {
            let (read, write) = sys::pipe()?;
            sys::set_nonblocking(read.as_fd(), true)?;
            *slot = Some(pipe::Receiver::from_owned_fd(read)?);
            out.theirs.push(write);
        }
    }
    Ok(out)
}

impl Engine {
    fn running(&self, id: &str) -> Result<(Arc<Container>, Arc<ShimClient>)> {
        let container = self.container(id)?;
        if !container.is_running() {
            return Err(Error::state(format!("container {:?} is not running", container.record.id)));
        }
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        Ok((container, shim))
    }

    /// Starts a command and hands out its streams.
    pub async fn exec(&self, request: ExecRequest) -> Result<Process> {
        let (container, shim) = self.running(&request.container_id)?;
        let tty = request.tty;
        let io = pipes(request.stdin && !tty, request.stdout && !tty, request.stderr && !tty)
            .map_err(|e| Error::internal(e.to_string()))?;
        let exec = shim.new_exec();
        let exited = shim.expect_exec(exec);
        let call = Call::Exec {
            exec,
            container: container.record.id.clone(),
            args: request.cmd.clone(),
            tty,
            stdin: io.stdin.is_some(),
            stdout: io.stdout.is_some(),
            stderr: io.stderr.is_some(),
        };
        let fds: Vec<&OwnedFd> = io.theirs.iter().collect();
        let (_, terminal) = match shim.call(call, &fds).await {
            Ok(answer) => answer,
            Err(e) => {
                shim.forget_exec(exec);
                return Err(Error { code: e.code, message: format!("failed to exec in container: {}", e.message) });
            }
        };
        drop(io.theirs);
        let (resize, sizes) = mpsc::channel(4);
        let mut process = Process {
            stdin: io.stdin.map(|w| Box::new(w) as _),
            stdout: io.stdout.map(|r| Box::new(r) as _),
            stderr: io.stderr.map(|r| Box::new(r) as _),
            resize,
            exit: Box::pin(async move { exited.await.map_err(|_| Status::unavailable("the container's shim died")) }),
        };
        if let Some(master) = terminal {
            sys::set_nonblocking(master.as_fd(), true).map_err(|e| Error::internal(e.to_string()))?;
            // SAFETY: AsyncFd owns the descriptor, which stays open and the same until AsyncFd is dropped.
            let master = unsafe { AsyncFd::register(master) }.map_err(|e| Error::internal(e.to_string()))?;
            let terminal = Terminal(Arc::new(master));
            tokio::spawn(follow_size(terminal.clone(), sizes));
            process.stdin = request.stdin.then(|| Box::new(terminal.clone()) as _);
            process.stdout = Some(Box::new(terminal));
        }
        Ok(process)
    }

    /// Runs a command to its end, with a time limit.
    pub async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse> {
        let (container, shim) = self.running(&request.container_id)?;
        let io = pipes(false, true, true).map_err(|e| Error::internal(e.to_string()))?;
        let exec = shim.new_exec();
        let exited = shim.expect_exec(exec);
        let call = Call::Exec {
            exec,
            container: container.record.id.clone(),
            args: request.cmd,
            tty: false,
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let fds: Vec<&OwnedFd> = io.theirs.iter().collect();
        let started = shim.call(call, &fds).await;
        drop(io.theirs);
        if let Err(e) = started {
            shim.forget_exec(exec);
            return Err(Error { code: e.code, message: format!("failed to exec in container: {}", e.message) });
        }
        let (mut stdout, mut stderr) = (Collector::new(io.stdout), Collector::new(io.stderr));
        let work = async {
            tokio::pin!(exited);
            loop {
                tokio::select! { biased;
                    code = &mut exited => return code,
                    () = stdout.more(), if stdout.open() => {}
                    () = stderr.more(), if stderr.open() => {}
                }
            }
        };
        let limit = if request.timeout > 0 { Duration::from_secs(request.timeout as u64) } else { Duration::MAX / 4 };
        let code = match tokio::time::timeout(limit, work).await {
            Ok(Ok(code)) => code,
            Ok(Err(_)) => return Err(Error { code: Code::Unavailable, message: "the container's shim died".into() }),
            Err(_) => {
                let _ = shim.call(Call::KillExec { exec }, &[]).await;
                shim.forget_exec(exec);
                return Err(Error {
                    code: Code::DeadlineExceeded,
                    message: format!(
                        "command timed out: context deadline exceeded: timeout {}s exceeded",
                        request.timeout
                    ),
                });
            }
        };
        Ok(ExecSyncResponse { stdout: stdout.rest(), stderr: stderr.rest(), exit_code: code })
    }

    /// Joins the streams of a container's first process.
    pub async fn attach(&self, request: AttachRequest) -> Result<Process> {
        let (container, shim) = self.running(&request.container_id)?;
        let config = &container.record.config;
        let stdin = request.stdin && config.stdin;
        let stderr = request.stderr && !config.tty;
        let io = pipes(stdin, request.stdout, stderr).map_err(|e| Error::internal(e.to_string()))?;
        let call = Call::Attach { container: container.record.id.clone(), stdin, stdout: request.stdout, stderr };
        let fds: Vec<&OwnedFd> = io.theirs.iter().collect();
        shim.call(call, &fds).await?;
        drop(io.theirs);
        let (resize, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let mut live = container.live.subscribe();
        let id = container.record.id.clone();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let call = Call::Resize { container: id.clone(), width: size.width, height: size.height };
                if shim.call(call, &[]).await.is_err() {
                    return;
                }
            }
        });
        Ok(Process {
            stdin: io.stdin.map(|w| Box::new(w) as _),
            stdout: io.stdout.map(|r| Box::new(r) as _),
            stderr: io.stderr.map(|r| Box::new(r) as _),
            resize,
            exit: Box::pin(async move {
                let _ = live.wait_for(|l| l.ended.is_some()).await;
                Ok(0)
            }),
        })
    }

    /// Connects to a port of the pod's loopback, from inside its network namespace.
    pub async fn port_forward(&self, sandbox: &str, port: u16) -> Result<Box<dyn Io>> {
        let sandbox = self.sandbox(sandbox)?;
        if !sandbox.is_ready() {
            return Err(Error::state(format!("sandbox container {:?} is not running", sandbox.id)));
        }
        let netns = self.run_dir(&sandbox.id).join(namespaces::NET);
        let stream = tokio::task::spawn_blocking(move || {
            namespaces::in_thread(move || {
                if netns.exists() {
                    namespaces::enter_network(&netns)?;
                }
                let refused = |e: io::Error| {
                    Error::internal(format!("failed to connect to localhost:{port} inside namespace: {e}"))
                };
                let v4 = std::net::TcpStream::connect(("127.0.0.1", port));
                let stream =
                    v4.or_else(|e| std::net::TcpStream::connect(("::1", port)).map_err(|_| e)).map_err(refused)?;
                stream.set_nonblocking(true).map_err(refused)?;
                Ok(stream)
            })
        });
        let stream = stream.await.map_err(|e| Error::internal(e.to_string()))??;
        let stream = tokio::net::TcpStream::from_std(stream).map_err(|e| Error::internal(e.to_string()))?;
        Ok(Box::new(stream))
    }
}

async fn follow_size(terminal: Terminal, mut sizes: mpsc::Receiver<TerminalSize>) {
    while let Some(size) = sizes.recv().await {
        if sys::set_terminal_size(terminal.0.get_ref().as_fd(), size.width, size.height).is_err() {
            return;
        }
    }
}

/// Reads one stream up to a bound.
struct Collector {
    pipe: Option<pipe::Receiver>,
    data: Vec<u8>,
}

impl Collector {
    fn new(pipe: Option<pipe::Receiver>) -> Collector {
        Collector { pipe, data: Vec::new() }
    }

    fn open(&self) -> bool {
        self.pipe.is_some()
    }

    fn keep(&mut self, data: &[u8]) {
        let room = MAX_SYNC_OUTPUT - self.data.len();
        self.data.extend_from_slice(&data[..data.len().min(room)]);
    }

    async fn more(&mut self) {
        let mut buffer = [0; 16 * 1024];
        if let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer).await {
                Ok(n) if n > 0 => self.keep(&buffer[..n]),
                _ => self.pipe = None,
            }
        }
    }

    /// What is in the pipe now: a child that the command left behind may hold it open for ever.
    fn rest(mut self) -> Vec<u8> {
        let mut buffer = [0; 16 * 1024];
        while let Some(pipe) = &self.pipe {
            match pipe.try_read(&mut buffer) {
                Ok(n) if n > 0 => self.keep(&buffer[..n]),
                _ => self.pipe = None,
            }
        }
        self.data
    }
}
