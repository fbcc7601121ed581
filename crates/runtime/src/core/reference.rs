//! Image references: `[registry/]repository[:tag][@digest]`, with the defaults that every tool shares (`docker.io`,
//! `library/`, `latest`).

use std::fmt;

/// A reference with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host and optional port.
    pub registry: String,
    /// Path of the repository.
    pub repository: String,
    /// The tag; none if only a digest was given.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference as people write it.
    pub fn parse(text: &str) -> Result<Reference, String> {
        let fail = |why: &str| format!("couldn't parse image name {text:?}: {why}");
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let hex = digest.strip_prefix("sha256:").ok_or_else(|| fail("only sha256 digests are known"))?;
                if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(fail("invalid digest"));
                }
                (name, Some(digest.to_string()))
            }
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((n, tag)) if !tag.contains('/') => (n, Some(tag.to_string())),
            _ => (name, None),
        };
        if let Some(tag) = &tag {
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(ok) || tag.starts_with(['.', '-']) {
                return Err(fail("invalid tag"));
            }
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let ok = |part: &str| {
            let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
            edge(part.bytes().next())
                && edge(part.bytes().last())
                && part.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b'.' | b'_' | b'-'))
        };
        if path.is_empty() || !path.split('/').all(ok) {
            return Err(fail("invalid reference format"));
        }
        let repository =
            if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.to_string() };
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_string()) } else { tag };
        Ok(Reference { registry: registry.to_string(), repository, tag, digest })
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What to ask the registry for: the digest if there is one, else the tag.
    pub fn target(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The name under which `RepoTags` lists the image: `registry/repository:tag`.
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.name()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
