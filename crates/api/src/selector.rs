//! Label and field selectors: their text form, their object form, and whether they match.
//!
//! Source: `k8s.io/apimachinery/pkg/labels/selector.go`, `…/fields/selector.go`.

use crate::format;
use crate::names::f;
use crate::value::{Map, Value};

/// What a requirement asks of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `k in (…)`, `k=v`, `k==v`.
    In,
    /// `k notin (…)`, `k!=v`; true for an absent label.
    NotIn,
    /// `k`.
    Exists,
    /// `!k`.
    Absent,
    /// `k>n`.
    Greater,
    /// `k<n`.
    Less,
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// The relation.
    pub operator: Operator,
    /// The values, sorted.
    pub values: Vec<String>,
}

/// A label selector: all requirements must hold; none: everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// The requirements.
    pub requirements: Vec<Requirement>,
    /// Set for a selector that matches nothing (a null object form).
    pub nothing: bool,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |v: &str| self.values.iter().any(|x| x == v);
        let number = |text: &str| text.parse::<i64>().ok();
        match self.operator {
            Operator::In => value.is_some_and(among),
            Operator::NotIn => !value.is_some_and(among),
            Operator::Exists => value.is_some(),
            Operator::Absent => value.is_none(),
            Operator::Greater | Operator::Less => {
                let (Some(have), Some(want)) = (value.and_then(number), self.values.first().and_then(|v| number(v)))
                else {
                    return false;
                };
                if self.operator == Operator::Greater { have > want } else { have < want }
            }
        }
    }
}

impl LabelSelector {
    /// Matches everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Matches nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { nothing: true, ..LabelSelector::default() }
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether labels given by a look-up match.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.holds(label(&r.key)))
    }

    /// Whether an object of labels matches.
    pub fn matches(&self, labels: &Value) -> bool {
        self.matches_with(|k| labels.get(k).and_then(Value::as_str))
    }

    /// From a map of equalities (`spec.selector` of Services and replication controllers).
    pub fn from_map(map: &Map) -> LabelSelector {
        let requirements = map.iter().map(|(k, v)| Requirement {
            key: k.as_str().into(),
            operator: Operator::In,
            values: vec![v.str().into()],
        });
        LabelSelector { requirements: requirements.collect(), nothing: false }
    }

    /// From the object form (`matchLabels`, `matchExpressions`); null matches nothing.
    pub fn from_object(v: &Value) -> Result<LabelSelector, String> {
        if v.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let mut out = v.at(f::matchLabels).as_map().map(LabelSelector::from_map).unwrap_or_default();
        for e in v.at(f::matchExpressions).items() {
            let operator = match e.at(f::operator).str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Absent,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let mut values: Vec<String> = e.at(f::values).items().iter().map(|v| v.str().to_string()).collect();
            values.sort();
            out.requirements.push(Requirement { key: e.at(f::key).str().into(), operator, values });
        }
        Ok(out)
    }

    /// From the text form.
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut p = LabelParser { lexer: Lexer { rest: text }, peeked: None };
        let mut out = LabelSelector::default();
        loop {
            match p.peek() {
                Token::Ident(_) | Token::Bang => out.requirements.push(p.requirement()?),
                Token::End => break,
                t => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", t.literal())),
            }
            match p.next() {
                Token::End => break,
                Token::Comma => match p.peek() {
                    Token::Ident(_) | Token::Bang => {}
                    t => return Err(format!("found '{}', expected: identifier after ','", t.literal())),
                },
                t => return Err(format!("found '{}', expected: ',' or 'end of string'", t.literal())),
            }
        }
        out.requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(out)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Ident(String),
    Bang,
    Equals(&'static str),
    NotEquals,
    Open,
    Close,
    Comma,
    Less,
    Greater,
    End,
}

impl Token {
    fn literal(&self) -> &str {
        match self {
            Token::Ident(s) => s,
            Token::Bang => "!",
            Token::Equals(s) => s,
            Token::NotEquals => "!=",
            Token::Open => "(",
            Token::Close => ")",
            Token::Comma => ",",
            Token::Less => "<",
            Token::Greater => ">",
            Token::End => "",
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
}

impl Lexer<'_> {
    fn next(&mut self) -> Token {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        const SYMBOLS: &[(&str, Token)] = &[
            ("!=", Token::NotEquals),
            ("==", Token::Equals("==")),
            ("=", Token::Equals("=")),
            ("!", Token::Bang),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            ("<", Token::Less),
            (">", Token::Greater),
        ];
        if self.rest.is_empty() {
            return Token::End;
        }
        for (text, token) in SYMBOLS {
            if let Some(rest) = self.rest.strip_prefix(text) {
                self.rest = rest;
                return token.clone();
            }
        }
        let end = self.rest.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Ident(word.to_string())
    }
}

struct LabelParser<'a> {
    lexer: Lexer<'a>,
    peeked: Option<Token>,
}

impl LabelParser<'_> {
    fn peek(&mut self) -> Token {
        let t = self.peeked.take().unwrap_or_else(|| self.lexer.next());
        self.peeked = Some(t.clone());
        t
    }

    fn next(&mut self) -> Token {
        self.peeked.take().unwrap_or_else(|| self.lexer.next())
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let absent = token == Token::Bang;
        if absent {
            token = self.next();
        }
        let Token::Ident(key) = token else {
            return Err(format!("unable to parse requirement: found '{}', expected: identifier", token.literal()));
        };
        check_key(&key)?;
        let plain = |operator| Ok(Requirement { key: key.clone(), operator, values: Vec::new() });
        if absent {
            return plain(Operator::Absent);
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return plain(Operator::Exists);
        }
        let operator = match self.next() {
            Token::Ident(w) if w == "in" => Operator::In,
            Token::Ident(w) if w == "notin" => Operator::NotIn,
            Token::Equals(_) => return self.single(key, Operator::In),
            Token::NotEquals => return self.single(key, Operator::NotIn),
            Token::Greater => return self.single(key, Operator::Greater),
            Token::Less => return self.single(key, Operator::Less),
            t => {
                return Err(format!(
                    "unable to parse requirement: found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    t.literal()
                ));
            }
        };
        let values = self.values()?;
        for v in &values {
            check_value(&key, v)?;
        }
        Ok(Requirement { key, operator, values })
    }

    fn single(&mut self, key: String, operator: Operator) -> Result<Requirement, String> {
        let value = match self.peek() {
            Token::Ident(v) => {
                self.next();
                v
            }
            Token::End | Token::Comma => String::new(),
            t => return Err(format!("unable to parse requirement: found '{}', expected: identifier", t.literal())),
        };
        if matches!(operator, Operator::Greater | Operator::Less) && value.parse::<i64>().is_err() {
            return Err(format!(
                "unable to parse requirement: values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            ));
        }
        check_value(&key, &value)?;
        Ok(Requirement { key, operator, values: vec![value] })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Open => {}
            t => return Err(format!("unable to parse requirement: found '{}' expected: '('", t.literal())),
        }
        let mut out = Vec::new();
        loop {
            match self.next() {
                Token::Ident(v) => {
                    out.push(v);
                    match self.next() {
                        Token::Comma => {}
                        Token::Close => break,
                        t => {
                            return Err(format!(
                                "unable to parse requirement: found '{}', expected: ',' or ')'",
                                t.literal()
                            ));
                        }
                    }
                }
                Token::Comma => out.push(String::new()),
                Token::Close => {
                    out.push(String::new());
                    break;
                }
                t => {
                    return Err(format!(
                        "unable to parse requirement: found '{}', expected: ',', ')' or identifier",
                        t.literal()
                    ));
                }
            }
        }
        out.sort();
        out.dedup();
        Ok(out)
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let wrong = format::is_qualified_name(key);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("unable to parse requirement: <nil>: Invalid value: {key:?}: {}", wrong.join("; ")))
    }
}

fn check_value(key: &str, value: &str) -> Result<(), String> {
    let wrong = format::is_label_value(value);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("unable to parse requirement: values[0][{key}]: Invalid value: {value:?}: {}", wrong.join("; ")))
    }
}

/// A field selector: (path, equal or not, value).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms; all must hold.
    pub terms: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// From the text form.
    pub fn parse(text: &str) -> Result<FieldSelector, String> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let (key, equal, value) = part
                .find(['=', '!'])
                .and_then(|at| {
                    let (key, rest) = part.split_at(at);
                    [("!=", false), ("==", true), ("=", true)]
                        .iter()
                        .find_map(|(op, eq)| rest.strip_prefix(op).map(|v| (key, *eq, v)))
                })
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            terms.push((key.to_string(), equal, unescape(value)?));
        }
        Ok(FieldSelector { terms })
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether fields given by a look-up match (an absent field is empty).
    pub fn matches_with<'a>(&self, field: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|(k, equal, v)| (field(k) == v) == *equal)
    }

    /// The value that a field must have, if the selector fixes it.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(k, equal, _)| *equal && k == field).map(|(_, _, v)| v.as_str())
    }
}

fn split_terms(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = out.len() - 1;
        match c {
            ',' if !escaped => out.push(String::new()),
            _ => out[last].push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    out
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(e @ ('\\' | ',' | '=')) => out.push(e),
                Some(e) => return Err(format!("invalid field selector: invalid escape sequence: \\{e}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".into()),
            },
            '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::object;

    #[test]
    fn label_selectors_match() {
        let labels = object([("app", "web".into()), ("tier", "3".into())]);
        for (text, want) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app notin (db)", true),
            ("x notin (y)", true),
            ("tier>2", true),
            ("tier<2", false),
            ("app=", false),
            ("x!=y", true),
        ] {
            assert_eq!(LabelSelector::parse(text).map(|s| s.matches(&labels)), Ok(want), "{text}");
        }
        for bad in ["app in web", "app=web,", "=x", "app in (a", "a b", "-a"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_match() {
        let s = FieldSelector::parse(r"metadata.name=a,status.phase!=Running,x=b\,c").expect("valid");
        assert_eq!(s.terms.len(), 3);
        assert_eq!(s.required("metadata.name"), Some("a"));
        assert!(s.matches_with(|k| match k {
            "metadata.name" => "a",
            "x" => "b,c",
            _ => "",
        }));
        assert!(FieldSelector::parse("abc").is_err());
    }
}
