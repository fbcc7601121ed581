//! What can go wrong here, with the operation and the cause.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed network operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("could not {doing}: {source}")]
    Kernel {
        /// What was asked.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("could not {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Messages from the kernel were lost because they were not read fast enough.
    #[error("the kernel's messages came faster than they were read; the state must be read again")]
    Overrun,
    /// All addresses of the node's block are in use.
    #[error("no free pod address is left in {block}: delete pods on this node or give the node a larger block")]
    Full {
        /// The block.
        block: String,
    },
    /// A host port that another pod on this node has.
    #[error("host port {port}/{protocol} is already used by the pod sandbox {owner}")]
    PortTaken {
        /// The port.
        port: u16,
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
        /// Who has it.
        owner: String,
    },
    /// The configuration makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The pod's network is not as it was set up.
    #[error("the network of sandbox {sandbox} is broken: {why}")]
    Broken {
        /// Whose.
        sandbox: String,
        /// What is missing.
        why: String,
    },
}

impl Error {
    /// The kernel refused to do something.
    pub fn kernel(doing: &str, source: io::Error) -> Error {
        Error::Kernel { doing: doing.to_string(), source }
    }

    /// A file operation failed.
    pub fn file(doing: &'static str, path: &Path, source: io::Error) -> Error {
        Error::File { doing, path: path.to_path_buf(), source }
    }

    /// The kernel's error number, if it was the kernel.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Was it refused because it is not there?
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL))
    }
}
