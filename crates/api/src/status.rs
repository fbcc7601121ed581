//! `Status`: the answer to a request that yields no object, failures above all.
//!
//! Source of codes, reasons and messages: `k8s.io/apimachinery/pkg/api/errors/errors.go`.

use crate::errors::FieldErrors;
use crate::json::write_str;
use crate::names::f;
use crate::value::{Value, object};

/// One cause in a status' details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub field: String,
}

/// The answer to a request that yields no object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// Machine-readable reason; empty when there is none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Name of the object meant.
    pub name: String,
    /// Group of the resource meant.
    pub group: String,
    /// Kind (or resource) meant.
    pub kind: String,
    /// Uid of the object meant.
    pub uid: String,
    /// Causes.
    pub causes: Vec<Cause>,
    /// Seconds after which to try again; 0: unsaid.
    pub retry_after: u32,
    /// `status: Success`.
    pub success: bool,
    /// Whether details are written even when empty.
    pub details: bool,
}

impl Status {
    /// A failure without details.
    pub fn failure(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), ..Status::default() }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Status {
        (self.group, self.kind, self.name, self.details) = (group.into(), kind.into(), name.into(), true);
        self
    }

    /// 404.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Status {
        Status::failure(404, "NotFound", format!("{} {name:?} not found", qualified(resource, group)))
            .about(group, resource, name)
    }

    /// 409 for a create.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Status {
        Status::failure(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(resource, group)))
            .about(group, resource, name)
    }

    /// 409 for a write.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource, group));
        Status::failure(409, "Conflict", message).about(group, resource, name)
    }

    /// The usual reason of a conflict.
    pub const MODIFIED: &str =
        "the object has been modified; please apply your changes to the latest version and try again";

    /// 403.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{} is forbidden: {why}", qualified(resource, group)),
            _ => format!("{} {name:?} is forbidden: {why}", qualified(resource, group)),
        };
        Status::failure(403, "Forbidden", message).about(group, resource, name)
    }

    /// 422.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Status {
        let message = format!("{} {name:?} is invalid: {}", qualified(kind, group), errors.aggregate());
        let mut status = Status::failure(422, "Invalid", message).about(group, kind, name);
        status.causes = errors
            .0
            .iter()
            .map(|e| Cause { reason: e.reason.cause().into(), message: e.body.clone(), field: e.field.clone() })
            .collect();
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::failure(400, "BadRequest", message)
    }

    /// 500 with reason.
    pub fn internal(message: impl std::fmt::Display) -> Status {
        let message = message.to_string();
        let mut status = Status::failure(500, "InternalError", format!("Internal error occurred: {message}"));
        status.causes.push(Cause { message, ..Cause::default() });
        status.details = true;
        status
    }

    /// 500 without reason: upstream's answer to errors that no one classified.
    pub fn unclassified(message: impl Into<String>) -> Status {
        Status::failure(500, "", message)
    }

    /// 405.
    pub fn method_not_supported(group: &str, resource: &str, action: &str) -> Status {
        let message = format!("{action} is not supported on resources of kind \"{}\"", qualified(resource, group));
        Status::failure(405, "MethodNotAllowed", message).about(group, resource, "")
    }

    /// 410 for a revision that is gone.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::failure(410, "Expired", message)
    }

    /// 401.
    pub fn unauthorized() -> Status {
        Status::failure(401, "Unauthorized", "Unauthorized")
    }

    /// The object as a tree.
    pub fn to_value(&self) -> Value {
        let mut v = object([
            (f::kind, "Status".into()),
            (f::apiVersion, "v1".into()),
            (f::metadata, Value::object()),
            (f::status, if self.success { "Success" } else { "Failure" }.into()),
        ]);
        for (name, text) in [(f::message, &*self.message), (f::reason, self.reason)] {
            if !text.is_empty() {
                v.set(name, text);
            }
        }
        if self.details || !self.causes.is_empty() || self.retry_after > 0 {
            v.set(f::details, self.details_value());
        }
        if self.code > 0 {
            v.set(f::code, i64::from(self.code));
        }
        v
    }

    fn details_value(&self) -> Value {
        let mut d = Value::object();
        for (name, text) in [(f::name, &self.name), (f::group, &self.group), (f::kind, &self.kind), (f::uid, &self.uid)]
        {
            if !text.is_empty() {
                d.set(name, text.as_str());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|c| {
                let mut v = Value::object();
                for (name, text) in [(f::reason, &c.reason), (f::message, &c.message), (f::field, &c.field)] {
                    if !text.is_empty() {
                        v.set(name, text.as_str());
                    }
                }
                v
            });
            d.set(f::causes, causes.collect::<Vec<_>>());
        }
        if self.retry_after > 0 {
            d.set(f::retryAfterSeconds, i64::from(self.retry_after));
        }
        d
    }

    /// The object as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        crate::json::write(&mut out, &self.to_value());
        out
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `resource.group`, or just `resource` in the core group.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") }
}

/// A JSON string literal.
pub fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    write_str(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}
