//! Errors of this crate, and the gRPC status each becomes.

use std::fmt::Display;
use std::path::Path;

use tonic::{Code, Status};

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Error {
    /// What a caller may decide on.
    pub code: Code,
    /// What happened, to what.
    pub message: String,
}

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The named thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Error {
        Error { code: Code::NotFound, message: message.into() }
    }

    /// The request cannot be fulfilled as it stands.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error { code: Code::InvalidArgument, message: message.into() }
    }

    /// The thing is in the wrong state for this.
    pub fn state(message: impl Into<String>) -> Error {
        Error { code: Code::FailedPrecondition, message: message.into() }
    }

    /// Something that should work did not.
    pub fn internal(message: impl Into<String>) -> Error {
        Error { code: Code::Unknown, message: message.into() }
    }

    /// An operation on a file.
    pub fn file(operation: &str, path: &Path, e: impl Display) -> Error {
        Error::internal(format!("{operation} {}: {e}", path.display()))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for Status {
    fn from(e: Error) -> Status {
        Status::new(e.code, e.message)
    }
}

impl From<String> for Error {
    fn from(message: String) -> Error {
        Error::internal(message)
    }
}
