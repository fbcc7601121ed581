//! Writes `crates/api/src/tables/` from `facts/types.json`: field names as numbered constants, and every API type as static data.
//!
//! Inlined structs are flattened into their parent in JSON order, and stay visible in the protobuf layout.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes all generated files.
pub fn run() -> Result<(), String> {
    for (path, text) in generate()? {
        std::fs::write(&path, text).map_err(|e| format!("write {}: {e}", path.display()))?;
    }
    Ok(())
}

/// All generated files and their contents.
pub fn generate() -> Result<Vec<(PathBuf, String)>, String> {
    let path = root().join("facts/types.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    let types: Map<String, Value> = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let out = root().join("crates/api/src/tables");
    Ok(vec![(out.join("names.rs"), names(&types)), (out.join("types.rs"), Types::new(&types).write()?)])
}

const HEAD: &str = "//! Generated from `facts/types.json` by `cargo xtask codegen`; do not edit.\n\n";

fn names(types: &Map<String, Value>) -> String {
    let mut all = BTreeSet::from(["kind", "apiVersion", "items", "metadata", "status", "spec"].map(String::from));
    for t in types.values() {
        for (name, field) in fields_of(t) {
            all.insert(name.clone());
            all.extend(strings(field, "keys"));
            all.extend(field.get("mergeKey").and_then(Value::as_str).map(String::from));
        }
    }
    let mut text = format!(
        "{HEAD}/// Every field name of the type table, sorted; a [`super::super::Name`] is an index into it.\npub static NAMES: &[&str] = &[\n"
    );
    for n in &all {
        let _ = writeln!(text, "    {n:?},");
    }
    text.push_str("];\n\n/// The names as constants.\npub mod f {\n    #![allow(non_upper_case_globals)]\n    use crate::names::Name;\n");
    for (i, n) in all.iter().enumerate() {
        let _ = writeln!(text, "    pub const {}: Name = Name({i});", ident(n));
    }
    text.push_str("}\n");
    text
}

/// A field name as a Rust identifier: keywords get a trailing underscore, `$`, `-` and `.` become `_`.
fn ident(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "as", "type", "ref", "match", "for", "in", "where", "if", "else", "use", "self", "default", "continue", "enum",
        "not", "macro", "final", "override", "static", "const",
    ];
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if KEYWORDS.contains(&clean.as_str()) { format!("{clean}_") } else { clean }
}

fn fields_of(t: &Value) -> impl Iterator<Item = (&String, &Value)> {
    t.get("fields").and_then(Value::as_object).into_iter().flatten()
}

fn strings(v: &Value, key: &str) -> Vec<String> {
    v.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

/// Types of `types.json` that have no fields there because they are written in a form of their own.
const SPECIAL: &[&str] = &[
    "JSON",
    "JSONSchemaPropsOrArray",
    "JSONSchemaPropsOrBool",
    "JSONSchemaPropsOrStringArray",
    "CustomResourceSubresourceStatus",
];

struct Types<'a> {
    source: &'a Map<String, Value>,
    ids: BTreeMap<String, usize>,
}

impl<'a> Types<'a> {
    fn new(source: &'a Map<String, Value>) -> Types<'a> {
        let mut names: BTreeSet<String> = source.keys().cloned().collect();
        for t in source.values() {
            for (_, field) in fields_of(t) {
                let base = base(field["type"].as_str().unwrap_or_default());
                if base.contains('.') || SPECIAL.contains(&base) || base.starts_with(char::is_uppercase) {
                    names.insert(base.to_string());
                }
            }
        }
        Types { source, ids: names.into_iter().enumerate().map(|(i, n)| (n, i)).collect() }
    }

    fn write(&self) -> Result<String, String> {
        let mut text = format!(
            "{HEAD}use super::names::f;\nuse crate::schema::{{Field, Layout, ListKind, NO_FIELD as N, Scalar as S, Ty, Type}};\n\n"
        );
        text.push_str("/// All types, sorted by name; a `TypeId` is an index into it.\n#[rustfmt::skip]\npub static TYPES: &[Type] = &[\n");
        for name in self.ids.keys() {
            self.write_type(&mut text, name)?;
        }
        text.push_str("];\n\n/// (group, version, kind, type), sorted; kinds that every group has (ListOptions and the like) are left out.\n#[rustfmt::skip]\npub static KINDS: &[(&str, &str, &str, u16)] = &[\n");
        let mut kinds = Vec::new();
        for (name, t) in self.source {
            for gvk in strings(t, "kinds") {
                let parts: Vec<&str> = gvk.split('/').collect();
                let [group, version, kind] = parts[..] else { continue }; // "*": in every group
                kinds.push(format!("({group:?}, {version:?}, {kind:?}, {})", self.ids[name]));
            }
        }
        kinds.sort();
        for k in kinds {
            let _ = writeln!(text, "    {k},");
        }
        text.push_str("];\n");
        Ok(text)
    }

    fn write_type(&self, text: &mut String, name: &str) -> Result<(), String> {
        let empty = Value::Null;
        let t = self.source.get(name).unwrap_or(&empty);
        let atomic = t.get("map").and_then(Value::as_str) == Some("atomic");
        let mut fields = Vec::new();
        self.flatten(name, &mut fields)?;
        let mut layout = Vec::new();
        for (field, value) in fields_of(t) {
            let index = fields.iter().position(|(n, _)| *n == field).ok_or_else(|| format!("{name}.{field}"))?;
            layout.push((value["tag"].as_u64().unwrap_or(0), format!("Layout::Field({index})")));
        }
        for inline in t.get("inline").and_then(Value::as_array).into_iter().flatten() {
            let id = self.ids[inline["type"].as_str().unwrap_or_default()];
            layout.push((inline["tag"].as_u64().unwrap_or(0), format!("Layout::Inline({id})")));
        }
        layout.sort();
        let layout: Vec<String> = layout.into_iter().map(|(tag, l)| format!("({tag}, {l})")).collect();
        let _ = writeln!(
            text,
            "    Type {{ name: {name:?}, atomic: {atomic}, unions: {}, layout: &[{}], fields: &[",
            self.unions(t),
            layout.join(", ")
        );
        for (n, field) in fields {
            let _ = writeln!(text, "        {},", self.field(n, field)?);
        }
        text.push_str("    ] },\n");
        Ok(())
    }

    fn unions(&self, t: &Value) -> String {
        let mut out = Vec::new();
        for u in t.get("unions").and_then(Value::as_array).into_iter().flatten() {
            let disc = u
                .get("discriminator")
                .and_then(Value::as_str)
                .map_or("None".into(), |d| format!("Some(f::{})", ident(d)));
            let members: Vec<String> = u
                .get("fields-to-discriminateBy")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(k, v)| format!("(f::{}, {:?})", ident(k), v.as_str().unwrap_or_default()))
                .collect();
            out.push(format!("({disc}, &[{}])", members.join(", ")));
        }
        format!("&[{}]", out.join(", "))
    }

    /// The fields of a type with those of its inlined structs at their places.
    fn flatten(&self, name: &str, out: &mut Vec<(&'a String, &'a Value)>) -> Result<(), String> {
        let Some(t) = self.source.get(name) else { return Ok(()) };
        let inlines: Vec<&Value> = t.get("inline").and_then(Value::as_array).into_iter().flatten().collect();
        let mut own = fields_of(t);
        let mut position = 0;
        loop {
            let inline = inlines.iter().find(|i| i["at"].as_u64() == Some(position));
            if let Some(i) = inline {
                self.flatten(i["type"].as_str().unwrap_or_default(), out)?;
            } else {
                match own.next() {
                    Some(f) => out.push(f),
                    None => return Ok(()),
                }
            }
            position += 1;
        }
    }

    fn field(&self, name: &str, v: &Value) -> Result<String, String> {
        let mut s = format!(
            "Field {{ name: f::{}, ty: {}, tag: {}",
            ident(name),
            self.ty(v["type"].as_str().unwrap_or_default())?,
            v["tag"].as_u64().unwrap_or(0)
        );
        for flag in ["always", "optional", "required"] {
            if v.get(flag) == Some(&Value::Bool(true)) {
                let _ = write!(s, ", {flag}: true");
            }
        }
        match v.get("list").and_then(Value::as_str) {
            Some("map") => {
                let keys: Vec<String> = strings(v, "keys").iter().map(|k| format!("f::{}", ident(k))).collect();
                let _ = write!(s, ", list: ListKind::Map(&[{}])", keys.join(", "));
            }
            Some("set") => s.push_str(", list: ListKind::Set"),
            _ => {}
        }
        if v.get("map").and_then(Value::as_str) == Some("atomic") {
            s.push_str(", atomic: true");
        }
        let patch = v.get("patch").and_then(Value::as_str).unwrap_or_default();
        if patch.contains("merge") {
            s.push_str(", patch_merge: true");
        }
        if patch.contains("retainKeys") {
            s.push_str(", retain_keys: true");
        }
        if let Some(k) = v.get("mergeKey").and_then(Value::as_str) {
            let _ = write!(s, ", merge_key: Some(f::{})", ident(k));
        }
        if let Some(d) = v.get("default") {
            let _ = write!(s, ", default: Some({:?})", d.to_string());
        }
        let values = strings(v, "enum");
        if !values.is_empty() {
            let _ = write!(s, ", values: &{values:?}");
        }
        if let Some(g) = v.get("gate").and_then(Value::as_str) {
            let _ = write!(s, ", gate: Some({g:?})");
        }
        s.push_str(", ..N }");
        Ok(s)
    }

    fn ty(&self, text: &str) -> Result<String, String> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return Ok(format!("Ty::List(&{})", self.ty(inner)?));
        }
        if let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            return Ok(format!("Ty::Map(&{})", self.ty(inner)?));
        }
        Ok(match text {
            "string" => "Ty::Scalar(S::String)".into(),
            "bool" => "Ty::Scalar(S::Bool)".into(),
            "int32" => "Ty::Scalar(S::Int32)".into(),
            "int64" => "Ty::Scalar(S::Int64)".into(),
            "double" => "Ty::Scalar(S::Double)".into(),
            "bytes" => "Ty::Scalar(S::Bytes)".into(),
            "time" => "Ty::Scalar(S::Time)".into(),
            "micro-time" => "Ty::Scalar(S::MicroTime)".into(),
            "duration" => "Ty::Scalar(S::Duration)".into(),
            "quantity" => "Ty::Scalar(S::Quantity)".into(),
            "int-or-string" => "Ty::Scalar(S::IntOrString)".into(),
            "raw" => "Ty::Scalar(S::Raw)".into(),
            "fields" => "Ty::Scalar(S::Fields)".into(),
            name => match short(name) {
                "JSON" => "Ty::Scalar(S::Json)".into(),
                "JSONSchemaPropsOrBool" => "Ty::Scalar(S::SchemaOrBool)".into(),
                "JSONSchemaPropsOrArray" => "Ty::Scalar(S::SchemaOrArray)".into(),
                "JSONSchemaPropsOrStringArray" => "Ty::Scalar(S::SchemaOrStringArray)".into(),
                _ => format!("Ty::Object({})", self.ids.get(name).ok_or_else(|| format!("unknown type {name}"))?),
            },
        })
    }
}

fn base(ty: &str) -> &str {
    ty.trim_matches(|c| "[]{}".contains(c))
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
