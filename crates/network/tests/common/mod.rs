//! Network namespaces for tests: made with unshare(2), held open by a descriptor, gone with it.
#![allow(dead_code)]

use network::netns;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Root tests run only when asked for, and then fail, not skip, without root.
pub fn wanted() -> bool {
    if std::env::var_os("CORTEN_ROOT_TESTS").is_none() {
        return false;
    }
    // SAFETY: geteuid(2) cannot fail.
    assert_eq!(unsafe { libc::geteuid() }, 0, "CORTEN_ROOT_TESTS is set, but this is not root");
    true
}

pub struct Ns {
    pub file: File,
}

impl Ns {
    pub fn new() -> Ns {
        let thread = std::thread::spawn(|| {
            // SAFETY: changes this thread only, which ends here.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
            File::open("/proc/thread-self/ns/net").expect("own namespace")
        });
        let ns = Ns { file: thread.join().expect("namespace thread") };
        ns.run(|| {
            let socket = network::netlink::Socket::open(network::netlink::Protocol::Route)?;
            let lo = network::links::find(&socket, "lo")?.expect("lo").index;
            socket.request("up", |b| network::core::rt::set_up(b, lo))
        });
        ns
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> network::Result<T> + Send + 'static) -> T {
        netns::inside(&self.file, work).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs a command of the system inside (tests only).
    pub fn sh(&self, command: &str) -> String {
        let command = command.to_string();
        self.run(move || {
            let out = std::process::Command::new("sh").arg("-c").arg(&command).output().expect("sh");
            let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(out.status.success(), "{command}: {text}");
            Ok(text)
        })
    }

    /// A TCP server that answers each connection with `name` and the client's address; UDP on the same port.
    pub fn serve(&self, name: &str, port: u16) {
        let name = name.to_string();
        let (tcp, udp) = self.run(move || {
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            Ok((TcpListener::bind(any).expect("listen"), UdpSocket::bind(any).expect("bind")))
        });
        let tcp_name = name.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { return };
                let from = stream.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
                let _ = write!(stream, "{tcp_name} {from}");
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(format!("{name} {}", from.ip()).as_bytes(), from);
            }
        });
    }

    /// Connects; the answer ("name client-address") or the error.
    pub fn tcp(&self, to: &str) -> Result<String, std::io::ErrorKind> {
        let to: SocketAddr = to.parse().expect("address");
        self.run(move || {
            Ok((|| {
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
                stream.set_read_timeout(Some(Duration::from_secs(3)))?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text)
            })()
            .map_err(|e: std::io::Error| e.kind()))
        })
    }

    pub fn udp_socket(&self) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind");
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
            Ok(socket)
        })
    }

    pub fn udp(&self, to: &str) -> Result<String, std::io::ErrorKind> {
        udp_ask(&self.udp_socket(), to)
    }
}

pub fn udp_ask(socket: &UdpSocket, to: &str) -> Result<String, std::io::ErrorKind> {
    let to: SocketAddr = to.parse().expect("address");
    let ask = || {
        socket.connect(to)?;
        socket.send(b"?")?;
        let mut buffer = [0; 64];
        let n = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..n]).to_string())
    };
    ask().map_err(|e: std::io::Error| e.kind())
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// A directory of its own under /work/tmp/edge or the system's.
pub fn dir(name: &str) -> PathBuf {
    let base =
        if std::path::Path::new("/work/tmp").is_dir() { PathBuf::from("/work/tmp/edge") } else { std::env::temp_dir() };
    let dir = base.join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("test directory");
    dir
}
