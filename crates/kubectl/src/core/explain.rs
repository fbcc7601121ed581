//! `explain`: a resource's fields from the server's OpenAPI v3 document. Pure.

use api::Value;

const WIDTH: usize = 76;

/// The text, and the complaint when the path leads nowhere.
pub fn explain(
    document: &Value,
    group: &str,
    version: &str,
    kind: &str,
    path: &[&str],
    recursive: bool,
) -> (String, Option<String>) {
    let schemas = document.at("components").at("schemas");
    let is_it =
        |v: &Value| v.at("group").str() == group && v.at("version").str() == version && v.at("kind").str() == kind;
    let root =
        schemas.members().map(|(_, s)| s).find(|s| s.at("x-kubernetes-group-version-kind").items().iter().any(is_it));
    let mut out = String::new();
    if !group.is_empty() {
        out.push_str(&format!("GROUP:      {group}\n"));
    }
    out.push_str(&format!("KIND:       {kind}\nVERSION:    {version}\n\n"));
    let Some(root) = root else {
        return (String::new(), Some(format!("couldn't find resource for {group}/{version}, Kind={kind}")));
    };
    let reader = Reader { schemas };
    let mut field = root;
    for name in path {
        match reader.properties(reader.inner(field)).get(*name) {
            Some(found) => field = found,
            None => return (out, Some(format!("field {name:?} does not exist"))),
        }
    }
    let target = reader.inner(field);
    if let Some(name) = path.last() {
        out.push_str(&format!("FIELD: {name} <{}>\n", reader.type_of(field)));
        let values = enum_values(field).or_else(|| enum_values(target));
        match values {
            Some(values) => {
                out.push_str(&format!("ENUM:\n{}\n", values.iter().map(|v| format!("    {v}\n")).collect::<String>()))
            }
            None => out.push_str("\n\n"),
        }
    }
    out.push_str("DESCRIPTION:\n");
    let own = if path.is_empty() { "" } else { field.at("description").str() };
    let texts: Vec<&str> = [own, target.at("description").str()].into_iter().filter(|t| !t.is_empty()).collect();
    let mut seen = "";
    if texts.is_empty() {
        out.push_str("    <empty>\n");
    }
    for text in texts {
        if text != seen {
            out.push_str(&wrapped(text));
        }
        seen = text;
    }
    out.push_str("    \n");
    if reader.properties(target).as_map().is_some_and(|m| !m.is_empty()) {
        out.push_str("FIELDS:\n");
        reader.fields(&mut out, target, 1, recursive, &mut Vec::new());
    }
    out.push('\n');
    (out, None)
}

struct Reader<'a> {
    schemas: &'a Value,
}

impl<'a> Reader<'a> {
    /// What a schema refers to, itself if nothing.
    fn target(&self, schema: &'a Value) -> &'a Value {
        match reference(schema) {
            Some(name) => self.schemas.at(name),
            None => schema,
        }
    }

    /// The schema of a value's elements: through lists and maps.
    fn inner(&self, schema: &'a Value) -> &'a Value {
        let schema = self.target(schema);
        if schema.has("items") {
            return self.inner(schema.at("items"));
        }
        if schema.at("additionalProperties").as_map().is_some() {
            return self.inner(schema.at("additionalProperties"));
        }
        schema
    }

    fn properties(&self, schema: &'a Value) -> &'a Value {
        schema.at("properties")
    }

    fn type_of(&self, schema: &'a Value) -> String {
        if let Some(name) = reference(schema) {
            let target = self.schemas.at(name);
            let is_object = target.at("type").str() == "object" || target.has("properties") || !target.has("type");
            return if is_object || target.has("format") { last(name).to_string() } else { self.type_of(target) };
        }
        if schema.has("items") {
            return format!("[]{}", self.type_of(schema.at("items")));
        }
        if schema.at("additionalProperties").as_map().is_some() {
            return format!("map[string]{}", self.type_of(schema.at("additionalProperties")));
        }
        match schema.at("type").str() {
            "" | "object" => "Object".to_string(),
            other => other.to_string(),
        }
    }

    fn fields(&self, out: &mut String, schema: &'a Value, depth: usize, recursive: bool, above: &mut Vec<&'a str>) {
        let mut all: Vec<_> = self.properties(schema).members().collect();
        all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        let pad = "  ".repeat(depth);
        for (name, field) in all {
            let required = schema.at("required").items().iter().any(|r| r.str() == name.as_str());
            out.push_str(&format!(
                "{pad}{}\t<{}>{}\n",
                name.as_str(),
                self.type_of(field),
                if required { " -required-" } else { "" }
            ));
            if let Some(values) = enum_values(field).or_else(|| enum_values(self.inner(field))) {
                out.push_str(&format!("{pad}enum: {}\n", shortened(&values)));
            }
            if recursive {
                // A type inside itself (JSON schemas) is shown once.
                let named = named(field);
                if named.is_empty() || !above.contains(&named) {
                    above.push(named);
                    self.fields(out, self.inner(field), depth + 1, true, above);
                    above.pop();
                }
                continue;
            }
            let text = match field.at("description").str() {
                "" => self.target(field).at("description").str(),
                text => text,
            };
            out.push_str(&if text.is_empty() { "    <no description>\n".to_string() } else { wrapped(text) });
            out.push('\n');
        }
    }
}

/// The type that a field's elements are of, through lists and maps; empty if it has no name.
fn named(schema: &Value) -> &str {
    if let Some(name) = reference(schema) {
        return name;
    }
    let inner = if schema.has("items") { schema.at("items") } else { schema.at("additionalProperties") };
    if inner.as_map().is_some() { named(inner) } else { "" }
}

/// At most four values, then an ellipsis.
fn shortened(values: &[String]) -> String {
    if values.len() > 4 { format!("{}, ....", values[..4].join(", ")) } else { values.join(", ") }
}

fn enum_values(schema: &Value) -> Option<Vec<String>> {
    let schema = if schema.has("items") && !schema.has("enum") { schema.at("items") } else { schema };
    let mut values: Vec<String> = schema
        .at("enum")
        .items()
        .iter()
        .map(|v| if v.str().is_empty() { "\"\"".to_string() } else { v.str().to_string() })
        .collect();
    values.sort();
    (!values.is_empty()).then_some(values)
}

fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.at("$ref").str();
    let found =
        if direct.is_empty() { schema.at("allOf").items().first().map_or("", |s| s.at("$ref").str()) } else { direct };
    found.strip_prefix("#/components/schemas/")
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Paragraphs broken at the width, four spaces in.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                out.push_str(&format!("    {line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(&format!("    {line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    //! Tests of explanations.
    use super::*;

    #[test]
    fn fields_and_types() {
        let document = r##"{"components":{"schemas":{
            "x.v1.Thing":{"description":"A thing.","required":["spec"],"x-kubernetes-group-version-kind":[{"group":"x","version":"v1","kind":"Thing"}],
              "properties":{"spec":{"allOf":[{"$ref":"#/components/schemas/x.v1.ThingSpec"}],"description":"The spec."},"labels":{"type":"object","additionalProperties":{"type":"string"}}}},
            "x.v1.ThingSpec":{"type":"object","description":"A spec.","properties":{"mode":{"type":"string","enum":["B","A"],"description":"How."},
              "parts":{"type":"array","items":{"$ref":"#/components/schemas/x.v1.ThingSpec"}}}}}}}"##;
        let document = api::json::parse(document.as_bytes()).unwrap();
        let (text, error) = explain(&document, "x", "v1", "Thing", &[], false);
        assert_eq!(error, None);
        assert_eq!(
            text,
            "GROUP:      x\nKIND:       Thing\nVERSION:    v1\n\nDESCRIPTION:\n    A thing.\n    \nFIELDS:\n  labels\t<map[string]string>\n    <no description>\n\n  spec\t<ThingSpec> -required-\n    The spec.\n\n\n"
        );
        let (text, _) = explain(&document, "x", "v1", "Thing", &["spec", "parts", "mode"], false);
        assert!(
            text.ends_with("FIELD: mode <string>\nENUM:\n    A\n    B\n\nDESCRIPTION:\n    How.\n    \n\n"),
            "{text}"
        );
        let (_, error) = explain(&document, "x", "v1", "Thing", &["nope"], false);
        assert_eq!(error.as_deref(), Some("field \"nope\" does not exist"));
        let (text, _) = explain(&document, "x", "v1", "Thing", &["spec"], true);
        assert!(
            text.contains("  mode\t<string>\n  enum: A, B\n  parts\t<[]ThingSpec>\n    mode\t<string>\n"),
            "{text}"
        );
    }
}
