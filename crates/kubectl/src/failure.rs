//! What a failed command says on standard error, and its exit code. Texts are kubectl's.

use api::Value;
use client::{Error, Reason};

/// A failed command.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The whole text, without a final newline; empty says nothing.
    pub text: String,
    /// Exit code.
    pub code: u8,
    /// The server's reason, if it was the server.
    pub reason: Option<Reason>,
}

/// A command's answer.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// `error: …`.
    pub fn error(text: impl std::fmt::Display) -> Failure {
        Failure { text: format!("error: {text}"), code: 1, reason: None }
    }

    /// Ends with this code and says nothing.
    pub fn silent(code: u8) -> Failure {
        Failure { text: String::new(), code, reason: None }
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason == Some(Reason::NotFound)
    }

    /// It is there already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Some(Reason::AlreadyExists)
    }

    /// Somebody else changed it meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.reason == Some(Reason::Conflict)
    }

    /// The same, saying what was done with which file.
    pub fn while_doing(mut self, doing: &str) -> Failure {
        if let Some((head, tail)) = self.text.split_once("): ")
            && head.starts_with("Error from server (")
        {
            self.text = format!("{head}): {doing}: {tail}");
        }
        self
    }
}

fn reason_name(reason: &Reason) -> String {
    match reason {
        Reason::Other(text) => text.clone(),
        known => format!("{known:?}"),
    }
}

/// The causes in a `Status`, as kubectl lists them.
fn causes(status: &Value) -> Vec<String> {
    let details = status.at("details");
    let one = |cause: &Value| {
        let (field, message) = (cause.at("field").str(), cause.at("message").str());
        if field.is_empty() { message.to_string() } else { format!("{field}: {message}") }
    };
    details.at("causes").items().iter().map(one).collect()
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Status(status) => {
                let body = api::json::parse(&status.body).unwrap_or_default();
                let details = body.at("details");
                let kind = details.at("kind").str();
                let text = match &status.reason {
                    Reason::Unauthorized => "error: You must be logged in to the server (Unauthorized)".to_string(),
                    Reason::Invalid if !kind.is_empty() => {
                        let head = format!("The {kind} {:?} is invalid", details.at("name").str());
                        match causes(&body).as_slice() {
                            [] => format!("{head}: {}", status.message),
                            [one] => format!("{head}: {one}"),
                            many => format!(
                                "{head}: \n{}",
                                many.iter().map(|c| format!("* {c}")).collect::<Vec<_>>().join("\n")
                            ),
                        }
                    }
                    reason => format!("Error from server ({}): {}", reason_name(reason), status.message),
                };
                Failure { text, code: 1, reason: Some(status.reason) }
            }
            Error::Transport(text) => Failure::error(text),
            Error::Decode(text) | Error::Config(text) => Failure::error(text),
        }
    }
}
