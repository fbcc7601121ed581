//! One object as it changes: what `wait`, `rollout status` and `delete` look at.

use crate::Ctx;
use crate::failure::{Failure, Outcome};
use crate::files::Target;
use crate::lines::Lines;
use api::Value;

/// Follows one object.
pub struct Watching<'a> {
    ctx: &'a Ctx,
    target: &'a Target,
    lines: Option<Lines>,
}

impl<'a> Watching<'a> {
    /// Begins with the state that is there.
    pub fn new(ctx: &'a Ctx, target: &'a Target) -> Watching<'a> {
        Watching { ctx, target, lines: None }
    }

    /// The object's next state; `None` when it is not there. The first call answers at once. After `None`, the next call
    /// waits until it appears.
    pub async fn next(&mut self) -> Outcome<Option<Value>> {
        loop {
            if let Some(lines) = &mut self.lines {
                while let Ok(Some(line)) = lines.next().await {
                    let mut event = api::json::parse(&line).map_err(|e| Failure::error(e.message))?;
                    match event.at("type").str() {
                        "ADDED" | "MODIFIED" => return Ok(event.remove("object")),
                        "DELETED" => return Ok(None),
                        "ERROR" => break, // expired: begin anew
                        _ => {}
                    }
                }
            }
            // The watch ended, or there was none: read, then watch from there.
            let first = self.lines.is_none();
            let query = [("fieldSelector", format!("metadata.name={}", self.target.name))];
            let path = self.target.resource.path(&self.target.namespace, "");
            let list = self.ctx.session.get(&client::with_query(&path, &query)).await?;
            let revision = list.at("metadata").at("resourceVersion").str().to_string();
            let watch = [query[0].clone(), ("watch", "true".to_string()), ("resourceVersion", revision)];
            let pieces = self.ctx.session.open(&client::with_query(&path, &watch), "application/json").await?;
            self.lines = Some(Lines::new(pieces));
            let found = list.at("items").items().first().cloned();
            if found.is_some() || first {
                return Ok(found.map(|o| crate::files::complete(&self.target.resource, o)));
            }
        }
    }
}
