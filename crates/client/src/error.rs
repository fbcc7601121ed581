//! What can go wrong between a component and the API server.

use bytes::Bytes;
use serde::Deserialize;
use std::fmt;

/// A `Status` reason; matched instead of messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    ServerTimeout,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    /// Anything else.
    Other(String),
}

impl From<&str> for Reason {
    fn from(text: &str) -> Reason {
        match text {
            "AlreadyExists" => Reason::AlreadyExists,
            "BadRequest" => Reason::BadRequest,
            "Conflict" => Reason::Conflict,
            "Expired" => Reason::Expired,
            "Forbidden" => Reason::Forbidden,
            "Gone" => Reason::Gone,
            "InternalError" => Reason::InternalError,
            "Invalid" => Reason::Invalid,
            "MethodNotAllowed" => Reason::MethodNotAllowed,
            "NotAcceptable" => Reason::NotAcceptable,
            "NotFound" => Reason::NotFound,
            "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
            "ServerTimeout" => Reason::ServerTimeout,
            "ServiceUnavailable" => Reason::ServiceUnavailable,
            "Timeout" => Reason::Timeout,
            "TooManyRequests" => Reason::TooManyRequests,
            "Unauthorized" => Reason::Unauthorized,
            "UnsupportedMediaType" => Reason::UnsupportedMediaType,
            other => Reason::Other(other.to_string()),
        }
    }
}

/// A refusal by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    /// HTTP status.
    pub code: u16,
    /// Reason.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
    /// Reasons of the causes (`FieldValueInvalid`, `NamespaceTerminating` ...).
    pub causes: Vec<String>,
    /// The whole `Status`.
    pub body: Bytes,
}

/// Errors of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server refused.
    Status(StatusError),
    /// The server was not reached, or the connection broke: the outcome of a write is unknown.
    Transport(String),
    /// The answer was not understood.
    Decode(String),
    /// The client's configuration is wrong.
    Config(String),
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct StatusView {
    message: String,
    reason: String,
    code: u16,
    details: Option<DetailsView>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct DetailsView {
    retry_after_seconds: Option<u64>,
    causes: Vec<CauseView>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CauseView {
    reason: String,
}

impl Error {
    /// From an answer that is not a success.
    pub fn from_status(code: u16, body: Bytes) -> Error {
        let view: StatusView = serde_json::from_slice(&body).unwrap_or_default();
        let reason = if view.reason.is_empty() { reason_of(code) } else { Reason::from(view.reason.as_str()) };
        let message = if view.message.is_empty() {
            format!("the server answered {code}: {}", String::from_utf8_lossy(&body[..body.len().min(300)]))
        } else {
            view.message
        };
        let code = if view.code > 0 { view.code } else { code };
        let details = view.details.unwrap_or_default();
        let causes = details.causes.into_iter().map(|c| c.reason).collect();
        Error::Status(StatusError { code, reason, message, retry_after: details.retry_after_seconds, causes, body })
    }

    /// The server's reason.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Error::Status(status) => Some(&status.reason),
            _ => None,
        }
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason() == Some(&Reason::NotFound)
    }

    /// A precondition did not hold.
    pub fn is_conflict(&self) -> bool {
        self.reason() == Some(&Reason::Conflict)
    }

    /// The object exists.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(&Reason::AlreadyExists)
    }

    /// The revision is gone: list again.
    pub fn is_expired(&self) -> bool {
        matches!(self, Error::Status(s) if s.code == 410 || matches!(s.reason, Reason::Expired | Reason::Gone))
    }

    /// The namespace is going away: nothing can be created in it.
    pub fn is_namespace_terminating(&self) -> bool {
        matches!(self, Error::Status(s) if s.causes.iter().any(|c| c == "NamespaceTerminating"))
    }

    /// It may work later without any change.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Transport(_) => true,
            Error::Status(s) => s.code == 429 || s.code >= 500,
            _ => false,
        }
    }
}

fn reason_of(code: u16) -> Reason {
    match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        409 => Reason::Conflict,
        410 => Reason::Expired,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::InternalError,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status(status) => f.write_str(&status.message),
            Error::Transport(why) | Error::Decode(why) | Error::Config(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
