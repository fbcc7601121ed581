//! JSONPath templates (`k8s.io/client-go/util/jsonpath`): text with `{…}`, ranges, filters, slices, unions, descent.
//!
//! Leaves out: functions. Missing fields are errors unless the caller allows them.

use api::Value;
use api::json;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Descend,
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    Filter(Operand, Option<(String, Operand)>),
    Union(Vec<Vec<Step>>),
    Root,
    Current,
    Literal(Value),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<Node>,
    allow_missing: bool,
}

/// Makes a template of what users write loosely: `.metadata.name`, `{.metadata.name}`, `metadata.name`.
pub fn relaxed(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(text.to_string());
    }
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(|| unexpected(text))?,
        None if text.ends_with('}') => return Err(unexpected(text)),
        None => text,
    };
    let inner = inner.strip_prefix('.').unwrap_or(inner);
    if inner.is_empty() || inner.contains(['{', '}']) {
        return Err(unexpected(text));
    }
    Ok(format!("{{.{inner}}}"))
}

fn unexpected(text: &str) -> String {
    format!("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}' {text}").trim_end_matches(text).trim().to_string()
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str, allow_missing: bool) -> Result<Template, String> {
        let mut parser = Parser { text, at: 0 };
        let (nodes, ended) = parser.nodes()?;
        if ended {
            return Err("not in range, nothing to end".into());
        }
        Ok(Template { nodes, allow_missing })
    }

    /// The template's text for `value`.
    pub fn print(&self, value: &Value) -> Result<String, String> {
        let mut out = String::new();
        self.print_nodes(&self.nodes, value, value, &mut out)?;
        Ok(out)
    }

    /// All values that the template's first path names.
    pub fn find(&self, value: &Value) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        for node in &self.nodes {
            if let Node::Path(steps) = node {
                all.extend(self.walk(steps, value, value)?);
            }
        }
        Ok(all)
    }

    fn print_nodes(&self, nodes: &[Node], root: &Value, current: &Value, out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Path(steps) => {
                    let found = self.walk(steps, root, current)?;
                    out.push_str(&found.iter().map(text_of).collect::<Vec<_>>().join(" "));
                }
                Node::Range(steps, body) => {
                    for item in self.walk(steps, root, current)? {
                        let items = match &item {
                            Value::List(items) => items.clone(),
                            _ => vec![item],
                        };
                        for item in &items {
                            self.print_nodes(body, root, item, out)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn walk(&self, steps: &[Step], root: &Value, current: &Value) -> Result<Vec<Value>, String> {
        let mut now = vec![current.clone()];
        for step in steps {
            let mut next = Vec::new();
            for value in &now {
                self.step(step, root, value, &mut next)?;
            }
            if let Step::Field(name) = step
                && next.is_empty()
                && !self.allow_missing
                && !now.is_empty()
            {
                return Err(format!("{name} is not found"));
            }
            now = next;
        }
        Ok(now)
    }

    fn step(&self, step: &Step, root: &Value, value: &Value, out: &mut Vec<Value>) -> Result<(), String> {
        match step {
            Step::Root => out.push(root.clone()),
            Step::Current => out.push(value.clone()),
            Step::Literal(literal) => out.push(literal.clone()),
            Step::Field(name) => out.extend(value.get(name.as_str()).cloned()),
            Step::Wildcard => match value {
                Value::List(items) => out.extend(items.iter().cloned()),
                Value::Map(map) => out.extend(map.iter().map(|(_, v)| v.clone())),
                _ => {}
            },
            Step::Descend => descend(value, out),
            Step::Index(i) => self.slice(value, Some(*i), None, 1, true, out)?,
            Step::Slice(from, to, by) => self.slice(value, *from, *to, *by, false, out)?,
            Step::Filter(left, test) => {
                let items = value
                    .as_list()
                    .ok_or_else(|| format!("{} is not array or slice and cannot be filtered", text_of(value)))?;
                for item in items {
                    if self.passes(left, test.as_ref(), root, item)? {
                        out.push(item.clone());
                    }
                }
            }
            Step::Union(paths) => {
                for path in paths {
                    out.extend(self.walk(path, root, value)?);
                }
            }
        }
        Ok(())
    }

    fn slice(
        &self,
        value: &Value,
        from: Option<i64>,
        to: Option<i64>,
        by: i64,
        one: bool,
        out: &mut Vec<Value>,
    ) -> Result<(), String> {
        let Value::List(items) = value else {
            return if self.allow_missing && value.is_null() {
                Ok(())
            } else {
                Err(format!("{} is not array or slice", text_of(value)))
            };
        };
        let length = items.len() as i64;
        let place = |i: i64| if i < 0 { i + length } else { i };
        let start = place(from.unwrap_or(0));
        if one {
            return match usize::try_from(start).ok().and_then(|i| items.get(i)) {
                Some(item) => {
                    out.push(item.clone());
                    Ok(())
                }
                None if self.allow_missing => Ok(()),
                None => Err(format!("array index out of bounds: index {}, length {length}", from.unwrap_or(0))),
            };
        }
        let end = place(to.unwrap_or(length)).min(length);
        let mut i = start.max(0);
        while i < end && by > 0 {
            out.push(items[i as usize].clone());
            i += by;
        }
        Ok(())
    }

    fn operand(&self, operand: &Operand, root: &Value, item: &Value) -> Vec<Value> {
        match operand {
            Operand::Literal(value) => vec![value.clone()],
            // A missing field in a filter is no match, never an error.
            Operand::Path(steps) => {
                Template { nodes: Vec::new(), allow_missing: true }.walk(steps, root, item).unwrap_or_default()
            }
        }
    }

    fn passes(
        &self,
        left: &Operand,
        test: Option<&(String, Operand)>,
        root: &Value,
        item: &Value,
    ) -> Result<bool, String> {
        let lefts = self.operand(left, root, item);
        let Some((operator, right)) = test else { return Ok(!lefts.is_empty()) };
        let rights = self.operand(right, root, item);
        let ([left], [right]) = (lefts.as_slice(), rights.as_slice()) else {
            return if lefts.len() > 1 || rights.len() > 1 {
                Err("can only compare one element at a time".into())
            } else {
                Ok(false)
            };
        };
        let order = compare(left, right);
        Ok(match operator.as_str() {
            "==" => order == Some(std::cmp::Ordering::Equal),
            "!=" => order != Some(std::cmp::Ordering::Equal),
            "<" => order.is_some_and(std::cmp::Ordering::is_lt),
            ">" => order.is_some_and(std::cmp::Ordering::is_gt),
            "<=" => order.is_some_and(std::cmp::Ordering::is_le),
            ">=" => order.is_some_and(std::cmp::Ordering::is_ge),
            other => return Err(format!("unrecognized filter operator {other}")),
        })
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Str(_) | Value::Bool(_) | Value::Null | Value::Map(_) | Value::List(_) => None,
        other => json::to_string(other).parse().ok(),
    }
}

fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            (None, None) => Some(text_of(a).cmp(&text_of(b))),
            _ => None,
        },
    }
}

fn descend(value: &Value, out: &mut Vec<Value>) {
    out.push(value.clone());
    match value {
        Value::List(items) => items.iter().for_each(|v| descend(v, out)),
        Value::Map(map) => map.iter().for_each(|(_, v)| descend(v, out)),
        _ => {}
    }
}

/// A value as the template prints it: text bare, objects and lists as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Str(_) => value.str().to_string(),
        Value::Null => String::new(),
        other => json::to_string(other),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Nodes up to `{end}` or the end; `true` when it was `{end}`.
    fn nodes(&mut self) -> Result<(Vec<Node>, bool), String> {
        let mut nodes = Vec::new();
        loop {
            let rest = self.rest();
            let Some(open) = rest.find('{') else {
                if !rest.is_empty() {
                    nodes.push(Node::Text(rest.to_string()));
                }
                self.at = self.text.len();
                return Ok((nodes, false));
            };
            if open > 0 {
                nodes.push(Node::Text(rest[..open].to_string()));
            }
            self.at += open + 1;
            let body = self.action()?;
            let body = body.trim();
            if body == "end" {
                return Ok((nodes, true));
            }
            if let Some(path) = body.strip_prefix("range") {
                let steps = path_of(path.trim())?;
                let (inner, ended) = self.nodes()?;
                if !ended {
                    return Err("unterminated range, missing {end}".into());
                }
                nodes.push(Node::Range(steps, inner));
            } else {
                match literal(body) {
                    Some(Value::Str(text)) => nodes.push(Node::Text(text.to_string())),
                    Some(other) => nodes.push(Node::Path(vec![Step::Literal(other)])),
                    None => nodes.push(Node::Path(path_of(body)?)),
                }
            }
        }
    }

    /// The text up to the closing brace, quotes respected.
    fn action(&mut self) -> Result<&'a str, String> {
        let start = self.at;
        let mut quote = None;
        let mut escaped = false;
        for (i, c) in self.text[start..].char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(q), c) if c == q => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '}') => {
                    self.at = start + i + 1;
                    return Ok(&self.text[start..start + i]);
                }
                _ => {}
            }
        }
        Err("unclosed action".into())
    }
}

/// A quoted text, number or boolean.
fn literal(text: &str) -> Option<Value> {
    let first = text.chars().next()?;
    if (first == '"' || first == '\'') && text.len() >= 2 && text.ends_with(first) {
        let inner = &text[1..text.len() - 1];
        let mut out = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match (c, c == '\\') {
                (_, true) => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(other) => out.push(other),
                    None => {}
                },
                (c, _) => out.push(c),
            }
        }
        return Some(Value::from(out.as_str()));
    }
    match text {
        "true" => Some(Value::from(true)),
        "false" => Some(Value::from(false)),
        _ if first.is_ascii_digit() || first == '-' => json::parse(text.as_bytes()).ok(),
        _ => None,
    }
}

fn path_of(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('$') {
            steps.push(Step::Root);
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('@') {
            steps.push(Step::Current);
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("..") {
            steps.push(Step::Descend);
            rest = field(tail, &mut steps);
        } else if let Some(tail) = rest.strip_prefix('.') {
            rest = if tail.starts_with('[') { tail } else { field(tail, &mut steps) };
        } else if let Some(tail) = rest.strip_prefix('[') {
            let end = closing(tail).ok_or_else(|| "unterminated array".to_string())?;
            steps.push(bracket(tail[..end].trim())?);
            rest = &tail[end + 1..];
        } else if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(format!("unrecognized identifier {rest}"));
        } else {
            return Err(format!("unrecognized character in action: {rest:?}"));
        }
    }
    Ok(steps)
}

/// Reads a field name, in which `\.` is a dot.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' | ' ' | '(' | ')' => {
                end = i;
                break;
            }
            c => name.push(c),
        }
    }
    match name.as_str() {
        "" => {}
        "*" => steps.push(Step::Wildcard),
        _ => steps.push(Step::Field(name)),
    }
    text[end..].trim_start()
}

/// Where the bracket that is open before `text` closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(i),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::Wildcard);
    }
    if let Some(filter) = text.strip_prefix("?(") {
        let inner = filter.strip_suffix(')').ok_or_else(|| "unterminated filter".to_string())?;
        return filter_of(inner.trim());
    }
    if let Some(Value::Str(name)) = literal(text)
        && !text.contains(',')
    {
        return Ok(Step::Field(name.to_string()));
    }
    if text.contains(',') {
        let parts: Result<Vec<_>, String> = text.split(',').map(|p| bracket(p.trim()).map(|s| vec![s])).collect();
        return Ok(Step::Union(parts?));
    }
    let bad = || format!("invalid array index {text}");
    let int =
        |part: &str| if part.is_empty() { Ok(None) } else { part.trim().parse::<i64>().map(Some).map_err(|_| bad()) };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [one] => Ok(Step::Index(one.parse().map_err(|_| bad())?)),
        [from, to] => Ok(Step::Slice(int(from)?, int(to)?, 1)),
        [from, to, by] => Ok(Step::Slice(int(from)?, int(to)?, int(by)?.unwrap_or(1))),
        _ => Err(bad()),
    }
}

fn filter_of(text: &str) -> Result<Step, String> {
    let operand = |text: &str| -> Result<Operand, String> {
        let text = text.trim();
        Ok(literal(text).map_or(Operand::Path(path_of(text)?), Operand::Literal))
    };
    let (mut quote, mut found) = (None, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '=' | '!' | '<' | '>') => {
                found = Some(i);
                break;
            }
            _ => {}
        }
    }
    let Some(at) = found else { return Ok(Step::Filter(operand(text)?, None)) };
    let length = if text[at + 1..].starts_with('=') { 2 } else { 1 };
    let right = &text[at + length..];
    let right = match literal(right.trim()) {
        Some(value) => Operand::Literal(value),
        None => operand(right)?,
    };
    let left = text[..at].trim();
    let left = match literal(left) {
        Some(value) => Operand::Literal(value),
        None => operand(left)?,
    };
    Ok(Step::Filter(left, Some((text[at..at + length].to_string(), right))))
}

#[cfg(test)]
#[path = "jsonpath_tests.rs"]
mod tests;
