//! Which form an answer takes, and which a body has.

use super::query::Query;

/// A media type of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf.
    Protobuf,
}

/// What of an object is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// All of it.
    Full,
    /// Its metadata.
    Metadata,
    /// A row of a table.
    Table,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// Encoding.
    pub media: Media,
    /// Part.
    pub view: View,
    /// Indented.
    pub pretty: bool,
}

impl Form {
    /// Plain JSON.
    pub const JSON: Form = Form { media: Media::Json, view: View::Full, pretty: false };

    /// The Content-Type of a single answer.
    pub fn content_type(self) -> &'static str {
        match self.media {
            Media::Json => "application/json",
            Media::Yaml => "application/yaml",
            Media::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What a server cannot send.
pub const NOT_ACCEPTABLE: &str = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// The refusal of media types that are not known at all.
pub const UNKNOWN_MEDIA: &str = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";

struct Clause<'a> {
    media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause> = accept
        .split(',')
        .filter(|c| !c.trim().is_empty())
        .map(|c| {
            let mut parts = c.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let params: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
            let quality = params.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Clause { media, params, quality }
        })
        .collect();
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

/// Whether a client accepts one of our media types, in whatever form.
pub fn knows_media(header: &str) -> bool {
    const KNOWN: &[&str] =
        &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "*/*", "application/*"];
    header.is_empty() || clauses(header).iter().any(|c| KNOWN.contains(&c.media))
}

/// Chooses the form that a client accepts; `None`: none of ours.
pub fn accept(header: Option<&str>, query: &Query, agent: &str, list: bool) -> Option<Form> {
    let header = header.map(str::trim).filter(|h| !h.is_empty()).unwrap_or("*/*");
    for clause in clauses(header) {
        let media = match clause.media {
            "application/json" | "*/*" | "application/*" => Media::Json,
            "application/yaml" => Media::Yaml,
            "application/vnd.kubernetes.protobuf" => Media::Protobuf,
            _ => continue,
        };
        let param = |key: &str| clause.params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        let view = match (param("as"), param("g"), param("v")) {
            (None, None, None) => View::Full,
            (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => View::Table,
            (Some("PartialObjectMetadata"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) if !list => View::Metadata,
            (Some("PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) if list => View::Metadata,
            _ => continue,
        };
        if view == View::Table && media == Media::Protobuf {
            continue;
        }
        let pretty = media == Media::Json && wants_pretty(query, agent, param("pretty"));
        return Some(Form { media, view, pretty });
    }
    None
}

/// JSON is indented for people: on request, and for browsers and curl.
fn wants_pretty(query: &Query, agent: &str, param: Option<&str>) -> bool {
    if let Some(p) = query.get("pretty") {
        return !matches!(p, "false" | "0");
    }
    if let Some(p) = param {
        return p == "1" || p == "true";
    }
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|a| agent.starts_with(a))
}

/// The form of a body.
pub fn content_type(header: Option<&str>) -> Result<Media, String> {
    let media = header.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        other => Err(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf{}",
            if other.is_empty() { " " } else { "" }
        )),
    }
}
