//! Checks that several kinds share.

use api::check::At;
use api::quantity::Quantity;
use api::{Value, f, format};

/// A count or a percentage, not negative.
pub fn int_or_percent(at: At) {
    match at.v {
        Value::Str(s) => {
            let ok = s.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if !ok {
                at.invalid("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
            }
        }
        _ => at.non_negative(),
    }
}

/// Zero, as a count or a percentage.
pub fn is_nothing(v: &Value) -> bool {
    match v {
        Value::Str(s) => s.strip_suffix('%').and_then(|n| n.parse::<i64>().ok()).unwrap_or_default() == 0,
        v => v.int() == 0,
    }
}

/// A percentage of at most 100.
pub fn at_most_all(at: At) {
    if at.v.as_str().and_then(|s| s.strip_suffix('%')).and_then(|n| n.parse::<i64>().ok()).is_some_and(|n| n > 100) {
        at.invalid("must not be greater than 100%");
    }
}

/// A port by number or name.
pub fn port(at: At) {
    match at.v {
        Value::Str(s) => format::is_port_name(s).iter().for_each(|m| at.invalid(m)),
        _ => format::is_port_number(at.v.int()).iter().for_each(|m| at.invalid(m)),
    }
}

/// A port's number.
pub fn port_number(at: At) {
    for m in format::is_port_number(at.v.int()) {
        at.invalid_as(at.v.int(), m);
    }
}

/// A label selector's form; answers whether it is one.
pub fn label_selector(at: At) -> bool {
    let before = at.found();
    labels(at.at(f::matchLabels));
    for e in at.at(f::matchExpressions).items() {
        match e.str(f::operator) {
            "In" | "NotIn" if e.get(f::values).is_zero() => {
                e.at(f::values).required("must be specified when `operator` is 'In' or 'NotIn'")
            }
            "Exists" | "DoesNotExist" if !e.get(f::values).is_zero() => {
                e.at(f::values).forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => e.at(f::operator).invalid_as(e.str(f::operator), "not a valid selector operator"),
        }
        e.at(f::key).format_as(format::is_qualified_name);
        for v in e.at(f::values).items() {
            v.format(format::is_label_value);
        }
    }
    at.found() == before
}

/// A map of labels.
pub fn labels(at: At) {
    if at.v.as_map().is_none_or(|m| m.iter().all(|(k, v)| label_ok(k.as_str(), v.str()))) {
        return;
    }
    for (k, v) in at.entries() {
        for m in format::is_qualified_name(k) {
            at.invalid_as(k, m);
        }
        for m in format::is_label_value(v.str()) {
            at.invalid_as(v, m);
        }
    }
}

fn label_ok(key: &str, value: &str) -> bool {
    format::is_qualified_name(key).is_empty() && format::is_label_value(value).is_empty()
}

/// A map of annotations: keys and total size.
pub fn annotations(at: At) {
    const SIZE_MAX: usize = 256 * 1024;
    let mut size = 0;
    for (k, v) in at.entries() {
        size += k.len() + v.str().len();
        for m in format::is_qualified_name(&k.to_lowercase()) {
            at.invalid_as(k, m);
        }
    }
    if size > SIZE_MAX {
        at.too_long(SIZE_MAX);
    }
}

/// A choice of nodes: at least one term.
pub fn node_selector(at: At) {
    let terms = at.at(f::nodeSelectorTerms);
    if terms.v.is_zero() {
        terms.required("must have at least one node selector term");
    }
    terms.items().for_each(node_selector_term);
}

/// A term of a choice of nodes.
pub fn node_selector_term(term: At) {
    for e in term.at(f::matchExpressions).items() {
        let values = e.at(f::values);
        match e.str(f::operator) {
            "In" | "NotIn" => {
                if values.v.is_zero() {
                    values.required("must be specified when `operator` is 'In' or 'NotIn'");
                }
                values.items().for_each(|v| v.form(format::is_label_value));
            }
            "Exists" | "DoesNotExist" if !values.v.is_zero() => {
                values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            }
            "Exists" | "DoesNotExist" => {}
            "Gt" | "Lt" if values.v.items().len() != 1 => {
                values.required("must be specified single value when `operator` is 'Lt' or 'Gt'")
            }
            "Gt" | "Lt" => {}
            other => e.at(f::operator).invalid_as(other, "not a valid selector operator"),
        }
        e.at(f::key).format_as(format::is_qualified_name);
    }
    for e in term.at(f::matchFields).items() {
        match e.str(f::operator) {
            "In" | "NotIn" => {
                if e.get(f::values).items().len() != 1 {
                    e.at(f::values)
                        .required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
                }
            }
            other => e.at(f::operator).invalid_as(other, "not a valid selector operator"),
        }
        if e.str(f::key) == "metadata.name" {
            for v in e.at(f::values).items() {
                v.format(format::is_dns1123_subdomain);
            }
        } else {
            e.at(f::key).invalid_as(e.str(f::key), "not a valid field selector key");
        }
    }
}

/// A named kind of object, found by group: what `kind`, `name` and `apiGroup` must be.
pub fn typed_reference(at: At) {
    if let Some(group) = at.at(f::apiGroup).some() {
        group.format_as(format::is_dns1123_subdomain);
    }
    for key in [f::kind, f::name] {
        at.at(key).named(format::is_path_segment);
    }
}

/// An amount.
pub fn quantity(v: &Value) -> Option<Quantity> {
    Quantity::parse(v.str()).ok()
}

/// An amount, not negative.
pub fn quantity_not_negative(at: At) {
    if quantity(at.v).is_some_and(Quantity::is_negative) {
        at.invalid("must be greater than or equal to 0");
    }
}

/// `[prefix/]name`, and a name without prefix is one of upstream's own.
pub fn resource_name(at: At, name: &str) -> bool {
    let wrong = format::is_qualified_name(name);
    for m in &wrong {
        at.invalid_as(name, m);
    }
    if wrong.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        at.invalid_as(name, "must be a standard resource type or fully qualified");
        return false;
    }
    wrong.is_empty()
}

/// Resources without a domain that containers, quotas and limits know.
pub const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// Amounts of which only whole ones make sense.
pub fn whole_if_counted(at: At, name: &str) {
    let counted = name.contains('/') && !name.starts_with("kubernetes.io/")
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        )
        || name.starts_with("count/");
    if counted && quantity(at.v).is_some_and(|q| q.milli() % 1000 != 0) {
        at.invalid("must be an integer");
    }
}

/// Conditions of a status, in the form that most kinds share: type, status, reason.
pub fn conditions(at: At) {
    for c in at.items() {
        if c.at(f::type_).needed() {
            c.at(f::type_).format(format::is_qualified_name);
        }
        c.at(f::status).one_of(&["False", "True", "Unknown"]);
        if c.int(f::observedGeneration) < 0 {
            c.at(f::observedGeneration).invalid("must be greater than or equal to zero");
        }
        if c.get(f::lastTransitionTime).is_null() {
            c.at(f::lastTransitionTime).required("must be set");
        }
        if c.str(f::reason).is_empty() {
            c.at(f::reason).required("must be set");
        } else if !reason_ok(c.str(f::reason)) {
            c.at(f::reason).invalid("a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
        }
    }
    at.unique(|c| c.at(f::type_), |c| c.at(f::type_).duplicate());
}

fn reason_ok(s: &str) -> bool {
    let b = s.as_bytes();
    b[0].is_ascii_alphabetic()
        && b.iter().all(|c| c.is_ascii_alphanumeric() || b"_,:".contains(c))
        && (b[b.len() - 1].is_ascii_alphanumeric() || b[b.len() - 1] == b'_')
}
