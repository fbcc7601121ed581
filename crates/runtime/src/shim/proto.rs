//! What daemon and shim say to each other: JSON packets over a unix SEQPACKET socket, descriptors beside them.
//!
//! The first call is `Hello` with the caller's version; the shim answers with its own. The protocol only grows: a newer
//! daemon may find an older shim after an upgrade and must make do with what that one knows.

use serde::{Deserialize, Serialize};

use crate::core::passwd::User;

/// Version of this protocol.
pub const VERSION: u32 = 1;
/// Largest packet.
pub const MAX_PACKET: usize = 128 * 1024;

/// Daemon to shim.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    pub call: Call,
}

/// The calls. Containers are named by id.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    Hello {
        version: u32,
    },
    /// Runs the container whose `spec.json` is in its directory.
    Start {
        container: String,
    },
    /// Signals the first process, or all of the container's.
    Signal {
        container: String,
        signal: i32,
        all: bool,
    },
    /// Runs another process in a container. Descriptors: those of stdin, stdout, stderr that are true, in this order.
    Exec {
        exec: u64,
        container: String,
        args: Vec<String>,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    KillExec {
        exec: u64,
    },
    /// Copies output to, and takes input from, the descriptors that are true, in this order.
    Attach {
        container: String,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    Resize {
        container: String,
        width: u16,
        height: u16,
    },
    ReopenLog {
        container: String,
    },
    /// Forgets a container that has ended.
    Forget {
        container: String,
    },
    /// Ends the shim. Containers that still run are killed.
    Shutdown,
}

/// Shim to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    Reply {
        id: u64,
        result: Result<Answer, String>,
    },
    /// A container has ended; the same is in its `exit.json`.
    Exited {
        container: String,
        exit: Exit,
    },
    ExecExited {
        exec: u64,
        code: i32,
    },
}

/// What a call gives.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub version: u32,
    pub pid: i32,
    pub user: Option<User>,
    /// A descriptor comes with the answer: the terminal.
    pub terminal: bool,
    /// Containers that run (Hello).
    pub running: Vec<(String, i32)>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Exit {
    /// Exit code; 128 + number for a signal.
    pub code: i32,
    /// The signal, 0 for none.
    pub signal: i32,
    pub oom: bool,
    /// Unix time in nanoseconds.
    pub finished_at: i64,
}

/// The shim's own configuration, `shim.json` in its directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShimConfig {
    pub version: u32,
    pub sandbox: String,
    /// Directory that holds one directory a container.
    pub containers: std::path::PathBuf,
    /// The shim's own group; empty to stay where it was started.
    pub cgroup: String,
    /// Keep a pid namespace for the whole pod.
    pub pause: bool,
    /// Group of the pause process.
    pub pause_cgroup: String,
    /// Namespaces of the pause process (so that /proc/<pid>/ns shows the pod's).
    pub net: Option<std::path::PathBuf>,
    pub ipc: Option<std::path::PathBuf>,
    pub uts: Option<std::path::PathBuf>,
}
