//! Checks that several kinds share.

use api::errors::{FieldErrors, Path};
use api::{Value, f, format};

/// Not below zero.
pub fn non_negative(v: &Value, path: &Path, errs: &mut FieldErrors) {
    if v.as_int().is_some_and(|n| n < 0) {
        errs.invalid(path, v, "must be greater than or equal to 0");
    }
}

/// A count or a percentage, not negative.
pub fn int_or_percent(v: &Value, path: &Path, errs: &mut FieldErrors) {
    match v {
        Value::Str(s) => {
            let ok = s.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if !ok {
                errs.invalid(path, v, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
            }
        }
        _ => non_negative(v, path, errs),
    }
}

/// Zero, as a count or a percentage.
pub fn is_nothing(v: &Value) -> bool {
    match v {
        Value::Str(s) => s.strip_suffix('%').and_then(|n| n.parse::<i64>().ok()) == Some(0),
        v => v.int() == 0,
    }
}

/// A percentage of at most 100.
pub fn at_most_all(v: &Value, path: &Path, errs: &mut FieldErrors) {
    if v.as_str().and_then(|s| s.strip_suffix('%')).and_then(|n| n.parse::<i64>().ok()).is_some_and(|n| n > 100) {
        errs.invalid(path, v, "must not be greater than 100%");
    }
}

/// A label selector's form.
pub fn label_selector(s: &Value, path: &Path, errs: &mut FieldErrors) {
    labels(s.at(f::matchLabels), &path.child("matchLabels"), errs);
    let list = path.child("matchExpressions");
    for (i, e) in s.at(f::matchExpressions).items().iter().enumerate() {
        let at = list.index(i);
        match e.at(f::operator).str() {
            "In" | "NotIn" if e.at(f::values).is_zero() => {
                errs.required(&at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
            }
            "Exists" | "DoesNotExist" if !e.at(f::values).is_zero() => errs
                .forbidden(&at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errs.invalid(&at.child("operator"), other, "not a valid selector operator"),
        }
        let key = e.at(f::key).str();
        for m in format::is_qualified_name(key) {
            errs.invalid(&at.child("key"), key, m);
        }
        let values = at.child("values");
        for (j, v) in e.at(f::values).items().iter().enumerate() {
            for m in format::is_label_value(v.str()) {
                errs.invalid(&values.index(j), v, m);
            }
        }
    }
}

/// A map of labels.
pub fn labels(map: &Value, path: &Path, errs: &mut FieldErrors) {
    let mut entries: Vec<_> = map.members().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    for (k, v) in entries {
        for m in format::is_qualified_name(k.as_str()) {
            errs.invalid(path, k.as_str(), m);
        }
        for m in format::is_label_value(v.str()) {
            errs.invalid(path, v, m);
        }
    }
}

/// A map of annotations: keys and total size.
pub fn annotations(map: &Value, path: &Path, errs: &mut FieldErrors) {
    const SIZE_MAX: usize = 256 * 1024;
    let mut size = 0;
    let mut entries: Vec<_> = map.members().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    for (k, v) in entries {
        size += k.as_str().len() + v.str().len();
        for m in format::is_qualified_name(&k.as_str().to_lowercase()) {
            errs.invalid(path, k.as_str(), m);
        }
    }
    if size > SIZE_MAX {
        errs.too_long(path, SIZE_MAX);
    }
}

/// One of some values.
pub fn one_of(v: &Value, path: &Path, allowed: &[&str], errs: &mut FieldErrors) {
    if v.str().is_empty() {
        errs.required(path, "");
    } else if !allowed.contains(&v.str()) {
        errs.not_supported(path, v, allowed);
    }
}

/// A name of the form that `check` asks for.
pub fn named(v: &Value, path: &Path, check: format::Check, errs: &mut FieldErrors) {
    if v.str().is_empty() {
        errs.required(path, "");
        return;
    }
    for m in check(v.str()) {
        errs.invalid(path, v, m);
    }
}
