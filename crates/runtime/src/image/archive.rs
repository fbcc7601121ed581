//! Images from files: `docker save` archives and OCI layouts, as a tar (compressed or not) or a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::store::{Image, ImageConfig, ImageStore, chain_names};
use super::unpack::{decompress, sha256};
use crate::core::reference::Reference;
use crate::error::{Error, Result};

/// Largest manifest or configuration that is read into memory.
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// Something with files in it.
enum Source {
    Directory(PathBuf),
    /// Name to offset and size of an uncompressed tar.
    Tar(PathBuf, BTreeMap<String, (u64, u64)>),
}

impl Source {
    fn open(path: &Path, store: &ImageStore) -> Result<(Source, Option<PathBuf>)> {
        if path.is_dir() {
            return Ok((Source::Directory(path.to_path_buf()), None));
        }
        let fail = |e: io::Error| Error::file("read image archive", path, e);
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = [0; 2];
        let compressed = file.read_exact(&mut magic).is_ok() && matches!(magic, [0x1f, 0x8b] | [0x28, 0xb5]);
        let mut temporary = None;
        let mut plain = path.to_path_buf();
        if compressed {
            plain = store.temporary();
            file.seek(SeekFrom::Start(0)).map_err(fail)?;
            let mut out = File::create(&plain).map_err(fail)?;
            io::copy(&mut decompress(file).map_err(fail)?, &mut out).map_err(fail)?;
            temporary = Some(plain.clone());
        }
        let mut archive = tar::Archive::new(File::open(&plain).map_err(fail)?);
        let mut names = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.path().map_err(fail)?.to_string_lossy().trim_start_matches("./").to_string();
            if let (true, Ok(Some(link))) = (entry.header().entry_type().is_symlink(), entry.link_name()) {
                // Old docker versions link equal layers: "../<id>/layer.tar".
                let target = link.to_string_lossy().trim_start_matches("../").to_string();
                if let Some(at) = names.get(&target).copied() {
                    names.insert(name, at);
                }
                continue;
            }
            names.insert(name, (entry.raw_file_position(), entry.size()));
        }
        Ok((Source::Tar(plain, names), temporary))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Source::Directory(dir) => dir.join(name).is_file(),
            Source::Tar(_, names) => names.contains_key(name),
        }
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Read>> {
        let fail = |e: io::Error| Error::internal(format!("image archive: read {name}: {e}"));
        match self {
            Source::Directory(dir) => {
                if Path::new(name).components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
                    return Err(Error::invalid(format!("image archive: {name:?} is not a plain name")));
                }
                Ok(Box::new(File::open(dir.join(name)).map_err(fail)?))
            }
            Source::Tar(path, names) => {
                let (offset, size) =
                    names.get(name).ok_or_else(|| Error::invalid(format!("image archive has no file {name:?}")))?;
                let mut file = File::open(path).map_err(fail)?;
                file.seek(SeekFrom::Start(*offset)).map_err(fail)?;
                Ok(Box::new(file.take(*size)))
            }
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let read = self.reader(name)?.take(MAX_DOCUMENT + 1).read_to_end(&mut out);
        match read {
            Ok(n) if n as u64 > MAX_DOCUMENT => Err(Error::invalid(format!("image archive: {name} is too large"))),
            Ok(_) => Ok(out),
            Err(e) => Err(Error::internal(format!("image archive: read {name}: {e}"))),
        }
    }

    /// A blob of an OCI layout, verified.
    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = self.document(&blob_name(digest)?)?;
        if sha256(&bytes) != digest {
            return Err(Error::invalid(format!("image archive: blob {digest} is damaged")));
        }
        Ok(bytes)
    }
}

fn blob_name(digest: &str) -> Result<String> {
    match digest.split_once(':') {
        Some((algorithm, hex)) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(format!("blobs/{algorithm}/{hex}")),
        _ => Err(Error::invalid(format!("image archive: invalid digest {digest:?}"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A descriptor of the OCI image specification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub platform: Option<Platform>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest of a list runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    pub variant: String,
}

/// An image manifest or a list of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Manifest {
    pub media_type: String,
    pub config: Option<Descriptor>,
    pub layers: Vec<Descriptor>,
    pub manifests: Vec<Descriptor>,
}

/// This machine's architecture in Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The manifest of a list that this machine can run.
pub fn choose(manifests: &[Descriptor]) -> Option<&Descriptor> {
    let fits =
        |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture());
    manifests.iter().find(fits).or_else(|| manifests.iter().find(|d| d.platform.is_none()))
}

/// Loads every image of an archive. `name` overrides the name of a single image.
pub fn load(store: &ImageStore, path: &Path, name: Option<&str>) -> Result<Vec<Image>> {
    let (source, temporary) = Source::open(path, store)?;
    let result =
        if source.has("manifest.json") { load_docker(store, &source, name) } else { load_oci(store, &source, name) };
    if let Some(temporary) = temporary {
        let _ = fs::remove_file(temporary);
    }
    result
}

fn parse_name(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(Error::invalid)
}

fn load_docker(store: &ImageStore, source: &Source, name: Option<&str>) -> Result<Vec<Image>> {
    let invalid = |e: serde_json::Error| Error::invalid(format!("image archive: manifest.json: {e}"));
    let entries: Vec<DockerEntry> = serde_json::from_slice(&source.document("manifest.json")?).map_err(invalid)?;
    let mut out = Vec::new();
    for entry in entries {
        let config = source.document(&entry.config)?;
        add_layers(store, &config, entry.layers.len(), |i| source.reader(&entry.layers[i]))?;
        let tags = match name {
            Some(name) => vec![name.to_string()],
            None => entry.repo_tags.unwrap_or_default(),
        };
        out.push(name_image(store, &config, &tags, None)?);
    }
    Ok(out)
}

fn name_image(store: &ImageStore, config: &[u8], tags: &[String], digest: Option<&str>) -> Result<Image> {
    let mut image = None;
    for tag in tags {
        image = Some(store.add_image(config, Some(&parse_name(tag)?), digest)?);
    }
    match image {
        Some(image) => Ok(image),
        None => store.add_image(config, None, None),
    }
}

fn add_layers(
    store: &ImageStore,
    config: &[u8],
    count: usize,
    open: impl Fn(usize) -> Result<Box<dyn Read>>,
) -> Result<()> {
    let parsed: ImageConfig =
        serde_json::from_slice(config).map_err(|e| Error::invalid(format!("image configuration: {e}")))?;
    let diff_ids = &parsed.rootfs.diff_ids;
    if diff_ids.len() != count {
        return Err(Error::invalid(format!("image has {count} layers, its configuration names {}", diff_ids.len())));
    }
    for (i, (name, diff_id)) in chain_names(diff_ids).iter().zip(diff_ids).enumerate() {
        store.add_layer(name, diff_id, open(i)?)?;
    }
    Ok(())
}

fn load_oci(store: &ImageStore, source: &Source, name: Option<&str>) -> Result<Vec<Image>> {
    if !source.has("index.json") {
        return Err(Error::invalid("neither a docker archive (manifest.json) nor an OCI layout (index.json)"));
    }
    let invalid = |e: serde_json::Error| Error::invalid(format!("image archive: manifest: {e}"));
    let index: Manifest = serde_json::from_slice(&source.document("index.json")?).map_err(invalid)?;
    let mut out = Vec::new();
    for descriptor in &index.manifests {
        let mut manifest: Manifest = serde_json::from_slice(&source.blob(&descriptor.digest)?).map_err(invalid)?;
        while manifest.config.is_none() {
            let chosen = choose(&manifest.manifests)
                .ok_or_else(|| Error::invalid(format!("image archive has no image for linux/{}", architecture())))?;
            manifest = serde_json::from_slice(&source.blob(&chosen.digest)?).map_err(invalid)?;
        }
        let Some(config) = &manifest.config else { continue };
        let config = source.blob(&config.digest)?;
        add_layers(store, &config, manifest.layers.len(), |i| source.reader(&blob_name(&manifest.layers[i].digest)?))?;
        let annotation = |key: &str| descriptor.annotations.get(key).cloned();
        let found = annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"));
        let tags: Vec<String> = name.map(String::from).or(found).into_iter().collect();
        out.push(name_image(store, &config, &tags, Some(&descriptor.digest))?);
    }
    Ok(out)
}
