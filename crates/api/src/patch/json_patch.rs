//! JSON patch, with the leniences and messages of upstream's library (`evanphx/json-patch`).

use crate::names::Key;
use crate::value::Value;

/// More operations are refused.
pub const OPERATIONS_MAX: usize = 10_000;

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// The patch itself is no patch (400).
    Malformed(String),
    /// Too many operations (413).
    TooLarge(String),
    /// It does not fit the object (422 with this cause, which upstream hides).
    Failed(String),
}

/// Applies the operations in order.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if patch.is_null() {
        return Ok(());
    }
    let Value::List(ops) = patch else {
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
            patch.go_kind()
        )));
    };
    if ops.len() > OPERATIONS_MAX {
        return Err(PatchError::TooLarge(format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            ops.len()
        )));
    }
    for op in ops {
        if op.as_map().is_none() {
            return Err(PatchError::Malformed(format!(
                "json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
                op.go_kind()
            )));
        }
    }
    for op in ops {
        operation(target, op).map_err(PatchError::Failed)?;
    }
    Ok(())
}

fn operation(target: &mut Value, op: &Value) -> Result<(), String> {
    let kind = op.at("op").str();
    let Some(path) = op.at("path").as_str() else { return Err(format!("unable to decode path for operation {kind}")) };
    let value = || op.get("value").cloned().unwrap_or_default(); // as upstream: none given is null
    match kind {
        "add" => add(target, path, value()),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            let value = value();
            if path.is_empty() {
                *target = value;
                return Ok(());
            }
            let slot = find(target, path)
                .ok_or_else(|| format!("replace operation does not apply: doc is missing key: {path}"))?;
            *slot = value;
            Ok(())
        }
        "move" => {
            let from = op.at("from").as_str().ok_or("move operation has no from")?;
            let value = remove(target, from)?;
            add(target, path, value)
        }
        "copy" => {
            let from = op.at("from").as_str().ok_or("copy operation has no from")?;
            let value = find(target, from)
                .cloned()
                .ok_or_else(|| format!("copy operation does not apply: doc is missing from path: {from}"))?;
            add(target, path, value)
        }
        "test" => {
            let want = op.get("value").cloned().unwrap_or_default();
            let have = find(target, path).cloned().unwrap_or_default();
            if have == want { Ok(()) } else { Err(format!("testing value {path} failed: test failed")) }
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The path of the container, and the last step.
fn split(path: &str) -> Option<(&str, String)> {
    path.rsplit_once('/').map(|(parent, last)| (parent, unescape(last)))
}

fn list_index(text: &str, len: usize, end: bool) -> Option<usize> {
    if end && text == "-" {
        return Some(len);
    }
    let n: i64 = text.parse().ok()?;
    let n = if n < 0 { n + len as i64 + i64::from(end) } else { n };
    let n = usize::try_from(n).ok()?;
    (n < len + usize::from(end)).then_some(n)
}

fn find<'a>(target: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut here = target;
    for part in path.split('/').skip(1) {
        let part = unescape(part);
        here = match here {
            Value::Map(m) => m.get_mut(part.as_str())?,
            Value::List(l) => {
                let i = list_index(&part, l.len(), false)?;
                l.get_mut(i)?
            }
            _ => return None,
        };
    }
    Some(here)
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let Some((parent, last)) = split(path) else {
        *target = value;
        return Ok(());
    };
    let missing = || format!("add operation does not apply: doc is missing path: \"{path}\": missing value");
    match find(target, parent).ok_or_else(missing)? {
        Value::Map(m) => m.set(&Key::from(last), value),
        Value::List(l) => {
            let i = list_index(&last, l.len(), true)
                .ok_or_else(|| format!("add operation does not apply: invalid array index: {last}"))?;
            l.insert(i, value);
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || format!("remove operation does not apply: doc is missing path: \"{path}\": missing value");
    let (parent, last) = split(path).ok_or_else(missing)?;
    match find(target, parent).ok_or_else(missing)? {
        Value::Map(m) => m.remove(last.as_str()).ok_or_else(missing),
        Value::List(l) => {
            let i = list_index(&last, l.len(), false).ok_or_else(missing)?;
            Ok(l.remove(i))
        }
        _ => Err(missing()),
    }
}
