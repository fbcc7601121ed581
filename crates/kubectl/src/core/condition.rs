//! What `wait --for` waits for.

use super::jsonpath::{self, Template};
use api::Value;

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// It is gone.
    Gone,
    /// It is there.
    There,
    /// A condition has this status (both compared without case).
    Condition(String, String),
    /// A template's text; `None`: it has any.
    JsonPath(Template, Option<String>),
}

impl Goal {
    /// Reads `--for`.
    pub fn parse(text: &str) -> Result<Goal, String> {
        let lower = text.to_lowercase();
        if lower == "delete" {
            return Ok(Goal::Gone);
        }
        if lower == "create" {
            return Ok(Goal::There);
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Goal::Condition(name.to_string(), value.to_string()));
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let (path, value) = match rest.strip_prefix('{').and_then(|r| r.find('}').map(|i| i + 2)) {
                Some(end) => {
                    let tail = &rest[end..];
                    match tail.strip_prefix('=') {
                        Some("") => return Err("jsonpath wait value cannot be empty".into()),
                        Some(value) => (&rest[..end], Some(value.trim_matches(['\'', '"']).to_string())),
                        None if tail.is_empty() => (rest, None),
                        None => return Err("jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'".into()),
                    }
                }
                None => match rest.split_once('=') {
                    Some((path, value)) => (path, Some(value.to_string())),
                    None => (rest, None),
                },
            };
            return Ok(Goal::JsonPath(Template::parse(&jsonpath::relaxed(path)?, true)?, value));
        }
        Err(format!("unrecognized condition: {text:?}"))
    }

    /// Is it reached? `None` is an object that is not there.
    pub fn reached(&self, object: Option<&Value>) -> Result<bool, String> {
        let Some(object) = object else { return Ok(matches!(self, Goal::Gone)) };
        match self {
            Goal::Gone => Ok(false),
            Goal::There => Ok(true),
            Goal::Condition(name, value) => {
                let all = object.at("status").at("conditions").items();
                let Some(found) = all.iter().find(|c| c.at("type").str().eq_ignore_ascii_case(name)) else {
                    return Ok(false);
                };
                let generation = object.at("metadata").at("generation").int();
                let stale = found.at("observedGeneration").as_int().is_some_and(|seen| seen < generation);
                Ok(!stale && found.at("status").str().eq_ignore_ascii_case(value))
            }
            Goal::JsonPath(template, wanted) => {
                let found = template.find(object)?;
                match (found.as_slice(), wanted) {
                    ([], _) => Ok(false),
                    (_, None) => Ok(true),
                    ([Value::Map(_) | Value::List(_)], Some(_)) => {
                        Err("jsonpath leads to a nested object or list which is not supported".into())
                    }
                    ([one], Some(wanted)) => Ok(jsonpath::text_of(one).trim() == wanted.trim()),
                    _ => Err("given jsonpath expression matches more than one value".into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of goals.
    use super::*;

    #[test]
    fn goals() {
        let pod = r#"{"metadata":{"generation":2},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"},{"type":"Old","status":"True","observedGeneration":1}]}}"#;
        let pod = api::json::parse(pod.as_bytes()).unwrap();
        for (text, expected) in [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("condition=Old", false),
            ("condition=Missing", false),
            ("delete", false),
            ("create", true),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath='{.status.phase}'=Running", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath=.status.phase=Pending", false),
            ("jsonpath={.status.nope}", false),
        ] {
            let reached = Goal::parse(text).and_then(|g| g.reached(Some(&pod)));
            assert_eq!(reached.unwrap_or(false), expected, "{text}");
        }
        assert!(Goal::parse("delete").unwrap().reached(None).unwrap());
        assert!(!Goal::parse("condition=Ready").unwrap().reached(None).unwrap());
        assert_eq!(Goal::parse("foo").unwrap_err(), "unrecognized condition: \"foo\"");
    }
}
