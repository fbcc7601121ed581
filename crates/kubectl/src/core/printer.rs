//! Output forms: `-o json|yaml|name|wide|jsonpath=…|custom-columns=…`, and tables as the server makes them.

use super::jsonpath::{self, Template};
use super::resources::Resource;
use api::Value;

/// How objects are printed.
#[derive(Clone, Debug)]
pub enum Form {
    /// Columns that the server chose; `true`: all of them.
    Table(bool),
    /// JSON with four spaces.
    Json,
    /// YAML.
    Yaml,
    /// `pod/name`.
    Name,
    /// A template.
    JsonPath(Template),
    /// Header and template per column; `true`: without headers.
    Columns(Vec<(String, Template)>, bool),
}

impl Form {
    /// Reads `-o`.
    pub fn parse(text: &str, no_headers: bool) -> Result<Form, String> {
        let (kind, argument) = text.split_once('=').unwrap_or((text, ""));
        match kind {
            "" => Ok(Form::Table(false)),
            "wide" => Ok(Form::Table(true)),
            "json" => Ok(Form::Json),
            "yaml" => Ok(Form::Yaml),
            "name" => Ok(Form::Name),
            "jsonpath" | "jsonpath-as-json" if argument.is_empty() => {
                Err("template format specified but no template given".into())
            }
            "jsonpath" => Template::parse(argument, true)
                .map(Form::JsonPath)
                .map_err(|e| format!("error parsing jsonpath {argument}, {e}")),
            "custom-columns" => columns_of(argument, no_headers),
            _ => Err(format!(
                "unable to match a printer suitable for the output format {kind:?}, allowed formats are: custom-columns,custom-columns-file,json,jsonpath,jsonpath-file,name,wide,yaml"
            )),
        }
    }

    /// The file that `-o` names, if it names one: read it and give it to [`Form::from_file`].
    pub fn file(text: &str) -> Option<(&str, &str)> {
        text.split_once('=').filter(|(kind, _)| matches!(*kind, "jsonpath-file" | "custom-columns-file"))
    }

    /// Reads the content of the file that `-o` named.
    pub fn from_file(kind: &str, content: &str, no_headers: bool) -> Result<Form, String> {
        let content = content.trim_end_matches('\n');
        if kind == "jsonpath-file" {
            Form::parse(&format!("jsonpath={content}"), no_headers)
        } else {
            columns_of_file(content, no_headers)
        }
    }

    /// Do tables of the server serve?
    pub fn is_table(&self) -> bool {
        matches!(self, Form::Table(_))
    }
}

fn columns_of(spec: &str, no_headers: bool) -> Result<Form, String> {
    if spec.is_empty() {
        return Err("custom-columns format specified but no custom columns given".into());
    }
    let column = |part: &str| {
        let (header, path) = part
            .split_once(':')
            .filter(|(h, p)| !h.is_empty() && !p.is_empty())
            .ok_or_else(|| format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"))?;
        Ok((header.to_string(), Template::parse(&jsonpath::relaxed(path)?, true)?))
    };
    spec.split(',').map(column).collect::<Result<Vec<_>, String>>().map(|columns| Form::Columns(columns, no_headers))
}

fn columns_of_file(content: &str, no_headers: bool) -> Result<Form, String> {
    let mut lines = content.lines();
    let (headers, paths) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let pairs: Vec<String> =
        headers.split_whitespace().zip(paths.split_whitespace()).map(|(h, p)| format!("{h}:{p}")).collect();
    columns_of(&pairs.join(","), no_headers)
}

/// An object without what users seldom want to see.
pub fn tidy(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// JSON as kubectl prints it: keys sorted, four spaces.
pub fn pretty(value: &Value) -> String {
    let mut sorted = value.clone();
    api::canon::sort_deep(&mut sorted);
    let mut out = String::new();
    write_pretty(&mut out, &sorted, 0);
    out.push('\n');
    out
}

fn write_pretty(out: &mut String, value: &Value, depth: usize) {
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    match value {
        Value::Map(map) if !map.is_empty() => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(out, depth + 1);
                out.push_str(&api::json::to_string(&Value::from(key.as_str())));
                out.push_str(": ");
                write_pretty(out, item, depth + 1);
            }
            newline(out, depth);
            out.push('}');
        }
        Value::List(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(out, depth + 1);
                write_pretty(out, item, depth + 1);
            }
            newline(out, depth);
            out.push(']');
        }
        other => out.push_str(&api::json::to_string(other)),
    }
}

/// Objects in a form other than the server's table. `as_list`: wrap them in a List even if there is one.
pub fn print(form: &Form, objects: &[(Option<Resource>, Value)], as_list: bool) -> Result<String, String> {
    let whole = || match objects {
        [(_, only)] if !as_list => only.clone(),
        _ => list_of(objects.iter().map(|(_, o)| o.clone()).collect()),
    };
    match form {
        Form::Json => Ok(pretty(&whole())),
        Form::Yaml => Ok(api::yaml::to_string(&whole())),
        Form::JsonPath(template) => template.print(&whole()).map_err(|e| format!("error executing jsonpath: {e}")),
        Form::Name => Ok(objects.iter().map(|(r, o)| format!("{}\n", name_of(r.as_ref(), o))).collect()),
        Form::Columns(columns, no_headers) => {
            let mut rows: Vec<Vec<String>> = Vec::new();
            if !no_headers {
                rows.push(columns.iter().map(|(header, _)| header.clone()).collect());
            }
            for (_, object) in objects {
                rows.push(columns.iter().map(|(_, template)| custom_cell(template, object)).collect());
            }
            Ok(super::table::columns(&rows))
        }
        Form::Table(_) => Err("a table is the server's".into()),
    }
}

fn custom_cell(template: &Template, object: &Value) -> String {
    let found = template.find(object).unwrap_or_default();
    if found.is_empty() {
        return "<none>".to_string();
    }
    let text = |v: &Value| match v {
        Value::Null => "<nil>".to_string(),
        Value::Map(_) | Value::List(_) => go_text(v),
        other => jsonpath::text_of(other),
    };
    found.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Objects and lists as Go's `%v` writes them.
fn go_text(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let mut parts: Vec<String> = map.iter().map(|(k, v)| format!("{}:{}", k.as_str(), go_text(v))).collect();
            parts.sort();
            format!("map[{}]", parts.join(" "))
        }
        other => jsonpath::text_of(other),
    }
}

fn list_of(items: Vec<Value>) -> Value {
    api::value::object([
        ("apiVersion", Value::from("v1")),
        ("items", Value::List(items)),
        ("kind", Value::from("List")),
        ("metadata", api::value::object([("resourceVersion", Value::from(""))])),
    ])
}

/// `deployment.apps/web`.
pub fn name_of(resource: Option<&Resource>, object: &Value) -> String {
    let kind = match resource {
        Some(resource) => resource.label(),
        None => {
            let (group, _) = super::resources::split_api_version(object.at("apiVersion").str());
            let kind = object.at("kind").str().to_lowercase();
            if group.is_empty() { kind } else { format!("{kind}.{group}") }
        }
    };
    format!("{kind}/{}", object.at("metadata").at("name").str())
}

/// What a server's table is to show.
#[derive(Clone, Debug, Default)]
pub struct TableStyle {
    /// All columns.
    pub wide: bool,
    /// A column with the namespace.
    pub namespace: bool,
    /// A column with the labels.
    pub labels: bool,
    /// Columns with these labels.
    pub label_columns: Vec<String>,
    /// `pod/` before names.
    pub prefix: Option<String>,
    /// No first line.
    pub no_headers: bool,
    /// A column with the watch event's type.
    pub event: bool,
}

/// Header of a server's table.
pub fn header(table: &Value, style: &TableStyle) -> Vec<String> {
    let mut cells = Vec::new();
    if style.event {
        cells.push("EVENT".to_string());
    }
    if style.namespace {
        cells.push("NAMESPACE".to_string());
    }
    cells.extend(shown(table, style).map(|(_, c)| c.at("name").str().to_uppercase()));
    cells.extend(style.label_columns.iter().map(|l| l.rsplit('/').next().unwrap_or(l).to_uppercase()));
    if style.labels {
        cells.push("LABELS".to_string());
    }
    cells
}

fn shown<'a>(table: &'a Value, style: &TableStyle) -> impl Iterator<Item = (usize, &'a Value)> {
    let wide = style.wide;
    let columns = table.at("columnDefinitions").items().iter().enumerate();
    columns.filter(move |(_, c)| wide || c.at("priority").int() == 0)
}

/// Rows of a server's table.
pub fn rows(table: &Value, style: &TableStyle, event: &str) -> Vec<Vec<String>> {
    let columns: Vec<usize> = shown(table, style).map(|(i, _)| i).collect();
    let row = |row: &Value| {
        let metadata = row.at("object").at("metadata");
        let labels = metadata.at("labels");
        let mut cells = Vec::new();
        if style.event {
            cells.push(event.to_string());
        }
        if style.namespace {
            cells.push(metadata.at("namespace").str().to_string());
        }
        for (place, i) in columns.iter().enumerate() {
            let text = match row.at("cells").items().get(*i) {
                Some(Value::Null) | None => "<none>".to_string(),
                Some(cell) => cell_text(cell),
            };
            match &style.prefix {
                Some(prefix) if place == 0 => cells.push(format!("{prefix}/{text}")),
                _ => cells.push(text),
            }
        }
        let or_none = |text: String| if text.is_empty() { "<none>".to_string() } else { text };
        cells.extend(style.label_columns.iter().map(|l| labels.at(l.as_str()).str().to_string()));
        if style.labels {
            let mut all: Vec<String> = labels.members().map(|(k, v)| format!("{}={}", k.as_str(), v.str())).collect();
            all.sort();
            cells.push(or_none(all.join(",")));
        }
        cells
    };
    table.at("rows").items().iter().map(row).collect()
}

fn cell_text(cell: &Value) -> String {
    jsonpath::text_of(cell).lines().next().map(str::to_string).unwrap_or_default()
}

#[cfg(test)]
#[path = "printer_tests.rs"]
mod tests;
