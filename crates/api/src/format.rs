//! Formats of names: DNS labels and subdomains, label keys and values, and so on, with upstream's messages.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation/validation.go`. Each check returns what is wrong, in order.

/// A check of a text.
pub type Check = fn(&str) -> Vec<String>;

fn alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn max_len(n: usize) -> String {
    format!("must be no more than {n} characters")
}

fn max_bytes(n: usize) -> String {
    format!("must be no more than {n} bytes")
}

fn regex_error(message: &str, pattern: &str, examples: &[&str]) -> String {
    let mut text = format!("{message} (");
    for (i, e) in examples.iter().enumerate() {
        if i > 0 {
            text.push_str(" or ");
        }
        text.push_str(&format!("{}'{e}', ", if i == 0 { "e.g. " } else { "" }));
    }
    text.push_str(&format!("regex used for validation is '{pattern}')"));
    text
}

/// RFC 1123 label: at most 63 of `[a-z0-9-]`, alphanumeric at both ends.
pub fn is_dns1123_label(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 63 {
        out.push(max_len(63));
    }
    if !label_ok(s) {
        let message = if subdomain_ok(s) { "must not contain dots" } else { LABEL_MESSAGE };
        out.push(if message == LABEL_MESSAGE { label_error() } else { message.to_string() });
    }
    out
}

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";

fn label_error() -> String {
    regex_error(LABEL_MESSAGE, "[a-z0-9]([-a-z0-9]*[a-z0-9])?", &["my-name", "123-abc"])
}

fn label_ok(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty() && alnum(b[0]) && alnum(b[b.len() - 1]) && b.iter().all(|&c| alnum(c) || c == b'-')
}

fn subdomain_ok(s: &str) -> bool {
    s.split('.').all(label_ok)
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub fn is_dns1123_subdomain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 253 {
        out.push(max_len(253));
    }
    if !subdomain_ok(s) {
        out.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    out
}

/// RFC 1035 label: as RFC 1123, but it starts with a letter.
pub fn is_dns1035_label(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 63 {
        out.push(max_len(63));
    }
    if !(label_ok(s) && s.as_bytes()[0].is_ascii_lowercase()) {
        out.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    out
}

fn qualified_name_ok(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// A qualified name: `[prefix/]name`.
pub fn is_qualified_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    let parts: Vec<&str> = s.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".into());
            } else {
                out.extend(is_dns1123_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            let text = regex_error(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
            return vec![format!(
                "a valid label key {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        out.push(format!("name part {}", max_bytes(63)));
    }
    if !qualified_name_ok(name) {
        out.push(format!("name part {}", regex_error(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"])));
    }
    out
}

const QUALIFIED_MESSAGE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// A label's value.
pub fn is_label_value(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 63 {
        out.push(max_bytes(63));
    }
    if !s.is_empty() && !qualified_name_ok(s) {
        out.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    out
}

/// A key of a ConfigMap or Secret.
pub fn is_config_map_key(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 253 {
        out.push(max_len(253));
    }
    if s.is_empty() || !s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        out.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match s {
        "." => out.push("must not be '.'".into()),
        ".." => out.push("must not be '..'".into()),
        _ if s.starts_with("..") => out.push("must not start with '..'".into()),
        _ => {}
    }
    out
}

/// The name of a port.
pub fn is_port_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 15 {
        out.push("must be no more than 15 characters".into());
    }
    if !s.bytes().all(|b| alnum(b) || b == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !s.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        out.push("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        out.push("must not begin or end with a hyphen".into());
    }
    out
}

/// A name used as a path segment (RBAC objects).
pub fn is_path_segment(s: &str) -> Vec<String> {
    match s {
        "." => vec!["may not be '.'".into()],
        ".." => vec!["may not be '..'".into()],
        _ => ["/", "%"].iter().filter(|c| s.contains(**c)).map(|c| format!("may not contain '{c}'")).collect(),
    }
}

/// A port number.
pub fn is_port_number(n: i64) -> Vec<String> {
    if (1..=65535).contains(&n) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// An environment variable's name.
pub fn is_env_var_name(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.is_empty() || !s.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        out.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".into(),
        );
    }
    out
}

/// What a pod's hostname may look like in a DNS search path: labels with underscores.
pub fn is_dns1123_with_underscore(s: &str) -> Vec<String> {
    let label = |l: &str| {
        let rest = l.strip_prefix('_').unwrap_or(l).as_bytes();
        !rest.is_empty()
            && alnum(rest[0])
            && alnum(rest[rest.len() - 1])
            && rest.iter().all(|&c| alnum(c) || c == b'-' || c == b'_')
    };
    let mut out = Vec::new();
    if s.len() > 253 {
        out.push(max_len(253));
    }
    if !s.split('.').all(label) {
        out.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    out
}

/// A subdomain behind `*.`.
pub fn is_wildcard_subdomain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > 253 {
        out.push(max_len(253));
    }
    if !s.strip_prefix("*.").is_some_and(subdomain_ok) {
        out.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    out
}

/// The name of an HTTP header.
pub fn is_http_header_name(s: &str) -> Vec<String> {
    if !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// An IP address in canonical form: what names an IPAddress, what new objects use.
pub fn is_ip(s: &str) -> Vec<String> {
    match s.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.to_string() == s => Vec::new(),
        Ok(ip) => vec![format!("must be in canonical form ({:?})", ip.to_string())],
        Err(_) if leading_zeros(s) => vec!["must not have leading 0s".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// Whether it is an IPv4 address but for zeros in front of numbers.
fn leading_zeros(s: &str) -> bool {
    let parts: Vec<&str> = s.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|p| {
            let n = p.trim_start_matches('0');
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (n.is_empty() || n.parse::<u8>().is_ok())
        })
}

/// A block of addresses in canonical form.
pub fn is_cidr(s: &str) -> Vec<String> {
    let bad = || vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_string()];
    let Some((ip, bits)) = s.split_once('/') else { return bad() };
    let Ok(n) = bits.parse::<u8>() else { return bad() };
    match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) if n <= 32 => {
            let host = if n == 32 { 0 } else { u32::MAX >> n };
            masked(u32::from(v4) & host == 0, ip, v4.to_string(), bits)
        }
        Ok(std::net::IpAddr::V6(v6)) if n <= 128 => {
            let host = if n == 128 { 0 } else { u128::MAX >> n };
            masked(u128::from(v6) & host == 0, ip, v6.to_string(), bits)
        }
        Err(_) if leading_zeros(ip) && n <= 32 => vec!["must not have leading 0s in IP".into()],
        _ => bad(),
    }
}

fn masked(clean: bool, ip: &str, canonical: String, bits: &str) -> Vec<String> {
    if !clean {
        vec!["must not have bits set beyond the prefix length".into()]
    } else if ip != canonical || (bits.len() > 1 && bits.starts_with('0')) {
        vec![format!("must be in canonical form ({:?})", format!("{canonical}/{}", bits.trim_start_matches('0')))]
    } else {
        Vec::new()
    }
}

/// A name that `generateName` will still lengthen: a trailing dash counts as a letter.
pub fn mask_trailing_dash(s: &str) -> String {
    match s.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => s.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        assert!(is_dns1123_label("a-1").is_empty());
        assert_eq!(
            is_dns1123_label("A")[0],
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert!(is_dns1123_subdomain("a.b-c.d").is_empty());
        assert_eq!(
            is_dns1123_subdomain("-a")[0],
            r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        );
        assert!(is_qualified_name("example.com/My_Name").is_empty());
        assert_eq!(is_qualified_name("a/").len(), 2);
        assert!(!is_port_name("http--x").is_empty());
    }
}
