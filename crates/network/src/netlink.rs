//! A netlink socket: sends the requests that [`crate::core`] builds and reads the kernel's answers.
//!
//! Calls block, but only for the kernel's own work (10 µs to some milliseconds; deleting a link waits for a grace period
//! of about 30 ms). The kernel handles a request inside `sendmsg`, so when it returns, the answers are queued. A socket
//! belongs to the network namespace of the thread that opened it.

use crate::core::nl::{self, Batch};
use crate::error::{Error, Result};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which part of the kernel is spoken to.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// One message of an answer: its type and what follows its header.
pub struct Answer {
    /// `nlmsg_type`.
    pub kind: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// A multicast message: sender's port, type, body.
pub type Heard = (u32, u16, Vec<u8>);

/// A netlink socket.
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    seq: AtomicU32,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

const BUFFER: usize = 256 * 1024;

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Socket> {
        let number = match protocol {
            Protocol::Route => libc::NETLINK_ROUTE,
            Protocol::Netfilter => libc::NETLINK_NETFILTER,
        };
        // SAFETY: socket(2) takes no pointers; the descriptor is ours alone.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, number);
            if fd < 0 {
                return Err(Error::kernel("open a netlink socket", io::Error::last_os_error()));
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: all-zero is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: `address` and `length` live across the calls and have the sizes that are given.
        unsafe {
            if libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) < 0
                || libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length) < 0
            {
                return Err(Error::kernel("bind a netlink socket", io::Error::last_os_error()));
            }
        }
        let socket = Socket { fd, port: address.nl_pid, seq: AtomicU32::new(1) };
        socket.option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        socket.option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        socket.option(libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 0);
        socket.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20);
        Ok(socket)
    }

    /// Joins a multicast group (`linux/netfilter/nfnetlink.h`).
    pub fn join(&self, group: libc::c_int) -> Result<()> {
        if self.option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group) {
            return Ok(());
        }
        Err(Error::kernel("listen to changes of nftables", io::Error::last_os_error()))
    }

    fn option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> bool {
        // SAFETY: `value` lives across the call and its size is given.
        let answer = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        answer == 0
    }

    /// The number under which the kernel knows this socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends what `build` adds and reads all answers. Every message must ask for an acknowledgement or be a dump.
    ///
    /// Errors name the first refused message; the messages after it have been carried out all the same.
    pub fn request(&self, doing: &str, build: impl FnOnce(&mut Batch)) -> Result<Vec<Answer>> {
        let mut batch = Batch::new(self.seq.load(Ordering::Relaxed));
        build(&mut batch);
        self.seq.fetch_add(batch.messages(), Ordering::Relaxed);
        self.send(doing, batch.bytes())?;
        let mut answers = Vec::new();
        let mut open = batch.messages();
        let mut first_error = None;
        while open > 0 {
            for (kind, body) in self.receive(doing, 0)?.unwrap_or_default() {
                match kind {
                    nl::NLMSG_DONE => open -= 1,
                    nl::NLMSG_ERROR => {
                        open = open.saturating_sub(1);
                        if let Some(error) = refusal(doing, &body) {
                            first_error.get_or_insert(error);
                        }
                    }
                    kind => answers.push(Answer { kind, body }),
                }
            }
        }
        first_error.map_or(Ok(answers), Err)
    }

    /// Sends a finished nftables transaction; all of it has happened when this answers `Ok`, nothing when it does not.
    pub fn transact(&self, doing: &str, batch: &Batch) -> Result<()> {
        self.seq.fetch_add(batch.messages(), Ordering::Relaxed);
        self.option(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, (batch.bytes().len() as libc::c_int).max(1 << 20) * 2);
        self.send(doing, batch.bytes())?;
        let mut first_error = None;
        while let Some(messages) = self.receive(doing, libc::MSG_DONTWAIT)? {
            for (kind, body) in messages {
                if kind == nl::NLMSG_ERROR
                    && let Some(error) = refusal(doing, &body)
                {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// A sequence number for a batch that is built before it is sent.
    pub fn next_seq(&self) -> u32 {
        self.seq.load(Ordering::Relaxed)
    }

    /// Reads the multicast datagrams that are waiting, as (sender's port, message type, body); `Overrun` when some were lost.
    pub fn multicast(&self) -> Result<Vec<Heard>> {
        let mut all = Vec::new();
        while let Some(bytes) = self.datagram("read changes of nftables", libc::MSG_DONTWAIT)? {
            let mut at = 0;
            for message in nl::messages(&bytes) {
                let sender = nl::u32_at(&bytes, at + 12).unwrap_or(0);
                at += (message.body.len() + 16).div_ceil(4) * 4;
                all.push((sender, message.kind, message.body.to_vec()));
            }
        }
        Ok(all)
    }

    fn send(&self, doing: &str, bytes: &[u8]) -> Result<()> {
        // SAFETY: the buffer is valid for its length.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(Error::kernel(doing, io::Error::last_os_error()));
        }
        Ok(())
    }

    fn receive(&self, doing: &str, flags: libc::c_int) -> Result<Option<Vec<(u16, Vec<u8>)>>> {
        let Some(bytes) = self.datagram(doing, flags)? else { return Ok(None) };
        Ok(Some(nl::messages(&bytes).map(|m| (m.kind, m.body.to_vec())).collect()))
    }

    fn datagram(&self, doing: &str, flags: libc::c_int) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0_u8; BUFFER];
        loop {
            // SAFETY: the buffer is valid for its length.
            let got = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
            if got >= 0 {
                buffer.truncate(got as usize);
                return Ok(Some(buffer));
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(None),
                Some(libc::ENOBUFS) => return Err(Error::Overrun),
                _ => return Err(Error::kernel(doing, error)),
            }
        }
    }
}

/// The refusal in an `NLMSG_ERROR`, with the kernel's own explanation if it has one; `None` for an acknowledgement.
fn refusal(doing: &str, body: &[u8]) -> Option<Error> {
    let code = nl::u32_at(body, 0).map_or(0, |c| c as i32);
    if code == 0 {
        return None;
    }
    // With CAP_ACK only the header of the request is echoed, then attributes follow.
    let explanation = body.get(20..).and_then(|attrs| nl::attr(attrs, 1)).map(nl::text).unwrap_or_default();
    let what = if explanation.is_empty() { doing.to_string() } else { format!("{doing} ({explanation})") };
    Some(Error::kernel(&what, io::Error::from_raw_os_error(-code)))
}
