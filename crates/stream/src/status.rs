//! The last message of a remote command: a `Status`, with the exit code as a cause.

use serde::Deserialize;
use serde_json::json;

/// The command ended with 0.
pub fn success() -> Vec<u8> {
    json!({"metadata": {}, "status": "Success"}).to_string().into_bytes()
}

/// The command ended with another code.
pub fn exit_code(code: i32) -> Vec<u8> {
    let message = format!("command terminated with non-zero exit code: error executing command, exit code {code}");
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
    .to_string()
    .into_bytes()
}

/// The command could not be run.
pub fn failure(message: &str) -> Vec<u8> {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500,
           "details": {"causes": [{"message": message}]}})
    .to_string()
    .into_bytes()
}

/// For the code of a finished command.
pub fn of(code: i32) -> Vec<u8> {
    if code == 0 { success() } else { exit_code(code) }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct View {
    status: String,
    reason: String,
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

/// The exit code a `Status` tells, or why there is none.
pub fn parse(text: &[u8]) -> Result<i32, String> {
    let Ok(view) = serde_json::from_slice::<View>(text) else {
        return Err(String::from_utf8_lossy(text).into_owned()); // before v4 the error is plain text
    };
    if view.status == "Success" {
        return Ok(0);
    }
    let code = view.details.causes.iter().find(|c| c.reason == "ExitCode").and_then(|c| c.message.parse().ok());
    match (view.reason.as_str(), code) {
        ("NonZeroExitCode", Some(code)) => Ok(code),
        _ => Err(view.message),
    }
}
