//! Values in the forms of Go that upstream puts on the wire: a struct as the JSON of its internal twin (field names
//! without JSON tags, everything written even when empty), and the difference of two texts.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation/field/errors.go:ErrorBody`, `k8s.io/apimachinery/pkg/util/diff`.

use crate::canon;
use crate::names::{Key, Name, f};
use crate::schema::{Field, Scalar, Ty, Type};
use crate::value::{Map, Value};

/// First words that Go writes in capitals.
const INITIALISMS: &[&str] = &[
    "api", "aws", "cidr", "cpu", "csi", "dns", "fc", "fs", "gce", "grpc", "http", "id", "ip", "iscsi", "nfs", "os",
    "pd", "rbd", "se", "tcp", "tls", "ttl", "uid", "uri", "url",
];

/// Go's name of a field.
fn field_name(json: &str) -> String {
    match json {
        "cephfs" => return "CephFS".into(),
        "podCIDR" | "podCIDRs" => return format!("P{}", &json[1..]),
        _ => {}
    }
    let end = json.find(|c: char| c.is_ascii_uppercase()).unwrap_or(json.len());
    let (first, rest) = json.split_at(end);
    if INITIALISMS.contains(&first) {
        return format!("{}{rest}", first.to_ascii_uppercase());
    }
    let mut chars = first.chars();
    chars.next().map_or_else(String::new, |c| format!("{}{}{rest}", c.to_ascii_uppercase(), chars.as_str()))
}

/// Types whose internal twin has its fields in another order (the rest follows as it stands in the table).
const ORDER: &[(&str, &[Name])] = &[(
    "io.k8s.api.core.v1.PodSpec",
    &[
        f::volumes,
        f::initContainers,
        f::containers,
        f::ephemeralContainers,
        f::restartPolicy,
        f::terminationGracePeriodSeconds,
        f::activeDeadlineSeconds,
        f::dnsPolicy,
        f::nodeSelector,
        f::serviceAccountName,
        f::automountServiceAccountToken,
        f::nodeName,
        f::securityContext,
        f::imagePullSecrets,
        f::hostname,
        f::subdomain,
        f::setHostnameAsFQDN,
        f::affinity,
        f::schedulerName,
        f::tolerations,
        f::hostAliases,
        f::priorityClassName,
        f::priority,
        f::preemptionPolicy,
    ],
)];

/// Members of a pod's spec that its internal twin keeps in the security context; the deprecated account is not kept.
const MOVED: &[Name] =
    &[f::hostNetwork, f::hostPID, f::hostIPC, f::shareProcessNamespace, f::hostUsers, f::serviceAccount];

/// A value as the JSON of its internal twin.
pub fn internal(v: &Value, ty: Ty, pointer: bool) -> Value {
    match (ty, v) {
        (_, Value::Null) if pointer => Value::Null,
        (Ty::Object(id), v) => {
            let ty = Type::of(id);
            if ty.name.starts_with("io.k8s.apimachinery.") {
                let mut tagged = v.clone();
                canon::canonicalize(&mut tagged, ty);
                return tagged;
            }
            internal_struct(v, ty)
        }
        (Ty::List(item), Value::List(l)) => l.iter().map(|v| internal(v, *item, false)).collect::<Vec<_>>().into(),
        (Ty::Map(item), Value::Map(m)) => {
            let mut out: Map = m.iter().map(|(k, v)| (k.clone(), internal(v, *item, false))).collect();
            out.sort();
            Value::Map(out)
        }
        (Ty::Scalar(s), Value::Null) => match s {
            Scalar::String => "".into(),
            Scalar::Bool => false.into(),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => 0.into(),
            Scalar::Quantity => "0".into(),
            _ => Value::Null,
        },
        (_, v) => v.clone(),
    }
}

/// A struct as the JSON of its internal twin.
pub fn internal_struct(v: &Value, ty: &'static Type) -> Value {
    let order = ORDER.iter().find(|(name, _)| *name == ty.name).map_or(&[][..], |(_, order)| order);
    let pod = !order.is_empty();
    let context = Type::named("io.k8s.api.core.v1.PodSecurityContext");
    let mut out = Map::new();
    let put = |out: &mut Map, field: &Field| {
        let mut shown = internal(v.at(field.name), field.ty, field.optional);
        if pod && field.name == f::securityContext && v.has(f::securityContext) {
            let mut first = Map::new();
            for name in MOVED.iter().filter(|n| **n != f::serviceAccount) {
                if let Some((_, f)) = ty.field(*name) {
                    first.push(key(f), internal(v.at(f.name), f.ty, f.optional));
                }
            }
            let rest = context.map_or(Value::Null, |c| internal_struct(v.at(f::securityContext), c));
            rest.members().for_each(|(k, v)| first.push(k.clone(), v.clone()));
            shown = Value::Map(first);
        }
        out.push(key(field), shown);
    };
    for name in order {
        if let Some((_, field)) = ty.field(*name) {
            put(&mut out, field);
        }
    }
    for field in ty.fields.iter().filter(|f| !order.contains(&f.name) && !(pod && MOVED.contains(&f.name))) {
        put(&mut out, field);
    }
    Value::Map(out)
}

fn key(field: &Field) -> Key {
    Key::from(field_name(field.name.as_str()))
}

/// JSON over several lines, indented by one space a level.
pub fn pretty(v: &Value) -> String {
    let mut out = String::new();
    lines(v, 0, &mut out);
    out
}

fn lines(v: &Value, depth: usize, out: &mut String) {
    let (open, close) = match v {
        Value::List(l) if !l.is_empty() => ('[', ']'),
        Value::Map(m) if !m.is_empty() => ('{', '}'),
        _ => return out.push_str(&crate::json::to_string(v)),
    };
    out.push(open);
    let mut item = |i: usize, name: Option<&Key>, v: &Value| {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(depth + 1));
        if let Some(name) = name {
            out.push_str(&format!("{}: ", crate::json::to_string(&name.as_str().into())));
        }
        lines(v, depth + 1, out);
    };
    match v {
        Value::List(l) => l.iter().enumerate().for_each(|(i, v)| item(i, None, v)),
        _ => v.members().enumerate().for_each(|(i, (k, v))| item(i, Some(k), v)),
    }
    out.push('\n');
    out.push_str(&" ".repeat(depth));
    out.push(close);
}

/// The difference of two texts in unified form, three lines of context around each change.
pub fn diff(old: &str, new: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let ops = edits(&a, &b);
    const CONTEXT: usize = 3;
    let changed: Vec<usize> = (0..ops.len()).filter(|i| ops[*i].0 != ' ').collect();
    let mut out = String::new();
    let mut at = 0;
    while at < changed.len() {
        let start = changed[at].saturating_sub(CONTEXT);
        let mut end = (changed[at] + CONTEXT + 1).min(ops.len());
        while at + 1 < changed.len() && changed[at + 1] <= end + CONTEXT {
            at += 1;
            end = (changed[at] + CONTEXT + 1).min(ops.len());
        }
        at += 1;
        let before = |sign: char| ops[..start].iter().filter(|(c, _)| *c != sign).count() + 1;
        let count = |sign: char| ops[start..end].iter().filter(|(c, _)| *c != sign).count();
        out.push_str(&format!("@@ -{},{} +{},{} @@\n", before('+'), count('+'), before('-'), count('-')));
        ops[start..end].iter().for_each(|(sign, line)| out.push_str(&format!("{sign}{line}\n")));
    }
    out
}

/// Lines kept, taken away and added, by the longest common subsequence between the common ends.
fn edits<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (x, y) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut common = vec![vec![0_u32; y.len() + 1]; x.len() + 1];
    for i in (0..x.len()).rev() {
        for j in (0..y.len()).rev() {
            common[i][j] = if x[i] == y[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut out: Vec<(char, &str)> = a[..head].iter().map(|l| (' ', *l)).collect();
    let (mut i, mut j) = (0, 0);
    while i < x.len() || j < y.len() {
        if i < x.len() && j < y.len() && x[i] == y[j] {
            out.push((' ', x[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < x.len() && (j == y.len() || common[i + 1][j] >= common[i][j + 1]) {
            out.push(('-', x[i]));
            i += 1;
        } else {
            out.push(('+', y[j]));
            j += 1;
        }
    }
    out.extend(a[a.len() - tail..].iter().map(|l| (' ', *l)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gos() {
        for (json, go) in [
            ("apiGroup", "APIGroup"),
            ("clusterIP", "ClusterIP"),
            ("seLinuxOptions", "SELinuxOptions"),
            ("ttlSecondsAfterFinished", "TTLSecondsAfterFinished"),
            ("ipFamilies", "IPFamilies"),
            ("name", "Name"),
        ] {
            assert_eq!(field_name(json), go);
        }
    }

    #[test]
    fn a_struct_shows_all_its_fields() {
        let ty = Type::named("io.k8s.api.rbac.v1.RoleRef").unwrap();
        let v = crate::json::parse(br#"{"kind":"Role","name":"r"}"#).unwrap();
        assert_eq!(internal_struct(&v, ty).to_string(), r#"{"APIGroup":"","Kind":"Role","Name":"r"}"#);
    }

    #[test]
    fn differences_have_context() {
        let text = |n: usize| (0..20).map(|i| if i == n { "x".into() } else { i.to_string() }).collect::<Vec<_>>();
        assert_eq!(
            diff(&text(99).join("\n"), &text(9).join("\n")),
            "@@ -7,7 +7,7 @@\n 6\n 7\n 8\n-9\n+x\n 10\n 11\n 12\n"
        );
        assert_eq!(diff("a", "a"), "");
    }
}
