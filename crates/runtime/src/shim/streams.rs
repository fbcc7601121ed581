//! A container's standard streams inside the shim: the log file, and whoever is attached.
//!
//! The log never waits for an attached client: a client that does not read loses its connection after
//! [`MAX_PENDING`] bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::core::logline::{Splitter, rfc3339_nanos};
use crate::sys;

/// Bytes that wait for an attached client at most.
const MAX_PENDING: usize = 256 * 1024;

/// Now, in nanoseconds since the epoch.
pub fn unix_nanos() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Which output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    Stdout,
    Stderr,
}

/// The log file of a container.
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    stdout: Splitter,
    stderr: Splitter,
}

impl Log {
    /// Opens (appends to) the log at `path`; an empty path is no log.
    pub fn open(path: PathBuf) -> io::Result<Log> {
        let mut log = Log { path, file: None, stdout: Splitter::default(), stderr: Splitter::default() };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the file again, after somebody has moved it away.
    pub fn reopen(&mut self) -> io::Result<()> {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        use std::os::unix::fs::OpenOptionsExt;
        self.file = Some(fs::OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?);
        Ok(())
    }

    fn write(&mut self, output: Output, chunk: &[u8]) {
        let time = rfc3339_nanos(unix_nanos());
        let mut records = Vec::with_capacity(chunk.len() + 128);
        match output {
            Output::Stdout => self.stdout.push(&time, "stdout", chunk, &mut records),
            Output::Stderr => self.stderr.push(&time, "stderr", chunk, &mut records),
        }
        self.put(&records);
    }

    fn finish(&mut self) {
        let time = rfc3339_nanos(unix_nanos());
        let mut records = Vec::new();
        self.stdout.finish(&time, "stdout", &mut records);
        self.stderr.finish(&time, "stderr", &mut records);
        self.put(&records);
    }

    fn put(&mut self, records: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(records); // a full disk loses log lines, never the container
        }
    }
}

/// One output of an attached client.
struct Sink {
    fd: OwnedFd,
    pending: Vec<u8>,
}

impl Sink {
    /// False when the client is gone or too slow.
    fn push(&mut self, data: &[u8]) -> bool {
        self.pending.extend_from_slice(data);
        self.flush() && self.pending.len() <= MAX_PENDING
    }

    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match sys::write(self.fd.as_fd(), &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// A client that is attached.
struct Client {
    stdin: Option<OwnedFd>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

/// All streams of one container.
pub struct Streams {
    log: Log,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// The terminal's master; output comes as stdout.
    terminal: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdin_once: bool,
    /// Input that the container has not taken yet.
    input: Vec<u8>,
    clients: Vec<Client>,
}

/// Something to poll for, and what to do when it is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Output(Output),
    Input,
    ClientInput(usize),
    ClientOutput(usize, Output),
}

impl Streams {
    pub fn new(
        log: Log,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        stdin: Option<OwnedFd>,
        stdin_once: bool,
    ) -> Streams {
        for fd in [&stdout, &stderr, &stdin].into_iter().flatten() {
            let _ = sys::set_nonblocking(fd.as_fd(), true);
        }
        Streams { log, stdout, stderr, terminal: None, stdin, stdin_once, input: Vec::new(), clients: Vec::new() }
    }

    /// The container got a terminal.
    pub fn set_terminal(&mut self, master: OwnedFd) {
        let _ = sys::set_nonblocking(master.as_fd(), true);
        self.terminal = Some(master);
    }

    pub fn reopen_log(&mut self) -> io::Result<()> {
        self.log.reopen()
    }

    pub fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => sys::set_terminal_size(terminal.as_fd(), width, height),
            None => Ok(()),
        }
    }

    pub fn attach(&mut self, stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) {
        let sink = |fd: Option<OwnedFd>| {
            fd.inspect(|fd| drop(sys::set_nonblocking(fd.as_fd(), true))).map(|fd| Sink { fd, pending: Vec::new() })
        };
        if let Some(fd) = &stdin {
            let _ = sys::set_nonblocking(fd.as_fd(), true);
        }
        self.clients.push(Client { stdin, stdout: sink(stdout), stderr: sink(stderr) });
    }

    fn input_fd(&self) -> Option<&OwnedFd> {
        self.stdin.as_ref().or(self.terminal.as_ref())
    }

    /// What to wait for: descriptor, poll events, meaning.
    pub fn interests(&self) -> Vec<(BorrowedFd<'_>, i16, Interest)> {
        let mut out = Vec::new();
        for (fd, output) in
            [(&self.stdout, Output::Stdout), (&self.stderr, Output::Stderr), (&self.terminal, Output::Stdout)]
        {
            if let Some(fd) = fd {
                out.push((fd.as_fd(), libc::POLLIN, Interest::Output(output)));
            }
        }
        if let (false, Some(fd)) = (self.input.is_empty(), self.input_fd()) {
            out.push((fd.as_fd(), libc::POLLOUT, Interest::Input));
        }
        for (i, client) in self.clients.iter().enumerate() {
            if let (Some(fd), true) = (&client.stdin, self.input.is_empty()) {
                out.push((fd.as_fd(), libc::POLLIN, Interest::ClientInput(i)));
            }
            for (sink, output) in [(&client.stdout, Output::Stdout), (&client.stderr, Output::Stderr)] {
                if let Some(sink) = sink {
                    // Without events poll still tells when the reader has gone.
                    let events = if sink.pending.is_empty() { 0 } else { libc::POLLOUT };
                    out.push((sink.fd.as_fd(), events, Interest::ClientOutput(i, output)));
                }
            }
        }
        out
    }

    /// Does what an interest calls for. Client numbers stay valid until [`Streams::sweep`].
    pub fn ready(&mut self, interest: Interest) {
        match interest {
            Interest::Output(output) => drop(self.pump(output)),
            Interest::Input => self.feed(),
            Interest::ClientInput(i) => self.client_input(i),
            Interest::ClientOutput(i, output) => {
                if let Some(client) = self.clients.get_mut(i) {
                    let slot = if output == Output::Stdout { &mut client.stdout } else { &mut client.stderr };
                    if slot.as_mut().is_some_and(|s| s.pending.is_empty() || !s.flush()) {
                        *slot = None;
                    }
                }
            }
        }
    }

    /// Forgets clients that have left.
    pub fn sweep(&mut self) {
        self.clients.retain(|c| c.stdin.is_some() || c.stdout.is_some() || c.stderr.is_some());
    }

    /// Reads once; true if there may be more.
    fn pump(&mut self, output: Output) -> bool {
        let mut buffer = [0; 32 * 1024];
        let slot = match output {
            Output::Stdout if self.terminal.is_some() => &mut self.terminal,
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        let Some(fd) = slot else { return false };
        match sys::read(fd.as_fd(), &mut buffer) {
            Ok(0) => {
                *slot = None;
                false
            }
            Ok(n) => {
                self.deliver(output, &buffer[..n]);
                true
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                *slot = None; // EIO is a terminal's end of file
                false
            }
        }
    }

    fn deliver(&mut self, output: Output, data: &[u8]) {
        self.log.write(output, data);
        for client in &mut self.clients {
            let slot = if output == Output::Stdout { &mut client.stdout } else { &mut client.stderr };
            if slot.as_mut().is_some_and(|sink| !sink.push(data)) {
                *slot = None;
            }
        }
    }

    fn client_input(&mut self, i: usize) {
        let mut buffer = [0; 16 * 1024];
        let Some(client) = self.clients.get_mut(i) else { return };
        let Some(fd) = &client.stdin else { return };
        match sys::read(fd.as_fd(), &mut buffer) {
            Ok(n) if n > 0 => {
                self.input.extend_from_slice(&buffer[..n]);
                self.feed();
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            _ => {
                client.stdin = None;
                if self.stdin_once {
                    self.stdin = None;
                }
            }
        }
    }

    fn feed(&mut self) {
        while !self.input.is_empty() {
            let Some(fd) = self.stdin.as_ref().or(self.terminal.as_ref()) else {
                self.input.clear();
                return;
            };
            match sys::write(fd.as_fd(), &self.input) {
                Ok(n) => drop(self.input.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.input.clear();
                    self.stdin = None;
                }
            }
        }
    }

    /// Takes everything that is in the pipes now, ends the log, and lets every client go. What a process that outlived
    /// its container holds open is not waited for.
    pub fn finish(&mut self) {
        while self.pump(Output::Stdout) {}
        while self.pump(Output::Stderr) {}
        self.log.finish();
        self.clients.clear();
        (self.stdout, self.stderr, self.terminal, self.stdin) = (None, None, None, None);
    }
}
