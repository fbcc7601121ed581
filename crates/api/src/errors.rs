//! Field errors: what is wrong with an object and where, in the words that clients read.
//!
//! Source of the wording: `k8s.io/apimachinery/pkg/util/validation/field/errors.go`.

use crate::value::Value;
use std::fmt;

/// A place in an object; children borrow their parent, so that a path costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The object itself.
    Root,
    /// A member.
    Child(&'a Path<'a>, &'a str),
    /// A list element.
    Index(&'a Path<'a>, usize),
    /// A member with a free key.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// The path of a member.
    pub fn child(&'a self, name: &'a str) -> Path<'a> {
        Path::Child(self, name)
    }
    /// The path of a list element.
    pub fn index(&'a self, i: usize) -> Path<'a> {
        Path::Index(self, i)
    }
    /// The path of a member with a free key.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Child(Path::Root, name) => out.write_str(name),
            Path::Child(parent, name) => write!(out, "{parent}.{name}"),
            Path::Index(parent, i) => write!(out, "{parent}[{i}]"),
            Path::Key(parent, key) => write!(out, "{parent}[{key}]"),
        }
    }
}

/// What kind of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A referenced thing is missing.
    NotFound,
    /// A needed value is missing.
    Required,
    /// A value that must be unique occurs twice.
    Duplicate,
    /// A malformed value.
    Invalid,
    /// A value outside an enumeration.
    NotSupported,
    /// Not allowed here.
    Forbidden,
    /// Text too long.
    TooLong,
    /// List too long.
    TooMany,
    /// Our fault.
    Internal,
    /// A value of the wrong type.
    TypeInvalid,
}

impl Reason {
    /// The reason in a `Status` cause.
    pub fn cause(self) -> &'static str {
        match self {
            Reason::NotFound => "FieldValueNotFound",
            Reason::Required => "FieldValueRequired",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::Internal => "InternalError",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Reason::NotFound => "Not found",
            Reason::Required => "Required value",
            Reason::Duplicate => "Duplicate value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Forbidden => "Forbidden",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
            Reason::Internal => "Internal error",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its kind.
    pub reason: Reason,
    /// Its place.
    pub field: String,
    /// Everything after the place.
    pub body: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { write!(out, "{}", self.body) } else { write!(out, "{}: {}", self.field, self.body) }
    }
}

/// The mistakes of an object, in the order of finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// None yet.
    pub fn new() -> FieldErrors {
        FieldErrors::default()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A mistake of a kind, with the printed value if it shows one.
    pub fn push(&mut self, reason: Reason, path: &Path, value: Option<String>, detail: &str) {
        let mut body = reason.words().to_string();
        if let Some(value) = value {
            body.push_str(": ");
            body.push_str(&value);
        }
        if !detail.is_empty() {
            body.push_str(": ");
            body.push_str(detail);
        }
        self.0.push(FieldError { reason, field: path.to_string(), body });
    }

    /// A needed value is missing.
    pub fn required(&mut self, path: &Path, detail: impl AsRef<str>) {
        self.push(Reason::Required, path, None, detail.as_ref());
    }

    /// A malformed value.
    pub fn invalid(&mut self, path: &Path, value: impl Shown, detail: impl AsRef<str>) {
        self.push(Reason::Invalid, path, Some(value.shown()), detail.as_ref());
    }

    /// A value outside `supported` (which is printed in the given order).
    pub fn not_supported(&mut self, path: &Path, value: impl Shown, supported: &[&str]) {
        self.push(Reason::NotSupported, path, Some(value.shown()), &supported_values(supported));
    }

    /// A value that must be unique occurs twice.
    pub fn duplicate(&mut self, path: &Path, value: impl Shown) {
        self.push(Reason::Duplicate, path, Some(value.shown()), "");
    }

    /// Not allowed here.
    pub fn forbidden(&mut self, path: &Path, detail: impl AsRef<str>) {
        self.push(Reason::Forbidden, path, None, detail.as_ref());
    }

    /// A referenced thing is missing.
    pub fn not_found(&mut self, path: &Path, value: impl Shown) {
        self.push(Reason::NotFound, path, Some(value.shown()), "");
    }

    /// Text of more than `max` bytes.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(Reason::TooLong, path, None, &format!("may not be more than {max} bytes"));
    }

    /// A list of `n`, more than `max`.
    pub fn too_many(&mut self, path: &Path, n: usize, max: usize) {
        self.push(Reason::TooMany, path, Some(n.to_string()), &format!("must have at most {max} items"));
    }

    /// Something failed that is not the caller's fault.
    pub fn internal(&mut self, path: &Path, detail: impl AsRef<str>) {
        self.push(Reason::Internal, path, None, detail.as_ref());
    }

    /// All of them as one text: alone as it is, several in brackets, equal ones once.
    pub fn aggregate(&self) -> String {
        let mut texts: Vec<String> = Vec::new();
        for e in &self.0 {
            let text = e.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) }
    }
}

/// What would be supported, in the given order.
pub fn supported_values(supported: &[&str]) -> String {
    let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
    if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) }
}

/// How a bad value is printed: text quoted as Go does, numbers and booleans bare, anything else as JSON.
pub trait Shown {
    /// The printed form.
    fn shown(&self) -> String;
}

impl Shown for &str {
    fn shown(&self) -> String {
        go_quote(self)
    }
}
impl Shown for String {
    fn shown(&self) -> String {
        go_quote(self)
    }
}
impl Shown for &String {
    fn shown(&self) -> String {
        go_quote(self)
    }
}
impl Shown for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}
impl Shown for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}
impl Shown for &Value {
    fn shown(&self) -> String {
        match self {
            Value::Str(s) => go_quote(s),
            other => crate::json::to_string(other),
        }
    }
}

/// Go's `%q`.
pub fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
