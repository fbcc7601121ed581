//! The images on this node: an index in one JSON file, and layers, each unpacked once, named by chain id.
//!
//! A layer is unpacked into a temporary directory and renamed when its digest is right: a directory with a layer's name is
//! complete. The index is written by rename. What the index does not mention is swept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::unpack::{self, sha256};
use crate::core::reference::Reference;
use crate::error::{Error, Result};

/// What an image says about how to run it (the OCI image configuration's `config`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    pub user: String,
    #[serde(deserialize_with = "null_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub cmd: Vec<String>,
    pub working_dir: String,
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    #[serde(deserialize_with = "null_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

/// Go writes null for empty lists.
fn null_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// The OCI image configuration, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub architecture: String,
    pub os: String,
    #[serde(deserialize_with = "null_default")]
    pub config: RunConfig,
    pub rootfs: RootFs,
}

/// The layers of an image configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RootFs {
    pub diff_ids: Vec<String>,
}

/// One image of the index.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Digest of the configuration.
    pub id: String,
    /// `registry/repository:tag`.
    pub tags: Vec<String>,
    /// `registry/repository@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes of the unpacked layers.
    pub size: u64,
    /// Layer directory names, bottom first.
    pub layers: Vec<String>,
    pub config: RunConfig,
    pub pinned: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Index {
    version: u32,
    images: BTreeMap<String, Image>,
    /// Layer directory name to bytes.
    layer_sizes: BTreeMap<String, u64>,
}

/// The store. All methods block; call them where that is allowed.
pub struct ImageStore {
    root: PathBuf,
    index: Mutex<Index>,
}

/// Name of the directory of the layer that ends a chain of diff ids.
pub fn chain_names(diff_ids: &[String]) -> Vec<String> {
    let mut names = Vec::with_capacity(diff_ids.len());
    let mut chain = String::new();
    for id in diff_ids {
        chain = if chain.is_empty() { id.clone() } else { sha256(format!("{chain} {id}").as_bytes()) };
        // Short, because all of a container's layers must fit into one page of mount options.
        names.push(chain.trim_start_matches("sha256:").chars().take(24).collect());
    }
    names
}

impl ImageStore {
    /// Opens (or makes) the store below `root`.
    pub fn open(root: &Path) -> Result<ImageStore> {
        for dir in ["layers", "tmp"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(|e| Error::file("make directory", &dir, e))?;
        }
        let path = root.join("images.json");
        let index = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| Error::file("read", &path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Index { version: 1, ..Index::default() },
            Err(e) => return Err(Error::file("read", &path, e)),
        };
        let store = ImageStore { root: root.to_path_buf(), index: Mutex::new(index) };
        // Half-done work of an earlier life.
        for entry in fs::read_dir(store.root.join("tmp")).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
        Ok(store)
    }

    /// Where layer directories are.
    pub fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// A path for a temporary file or directory.
    pub fn temporary(&self) -> PathBuf {
        let mut random = [0; 12];
        platform::rng::secret(&mut random);
        self.root.join("tmp").join(unpack::hex(&random))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, index: &Index) -> Result<()> {
        let path = self.root.join("images.json");
        let text = serde_json::to_vec(index).map_err(|e| Error::file("encode", &path, e))?;
        crate::shim::write_atomic(&path, &text).map_err(|e| Error::file("write", &path, e))
    }

    pub fn list(&self) -> Vec<Image> {
        self.lock().images.values().cloned().collect()
    }

    /// Finds an image by id (whole, or hex without prefix), tag or digest.
    pub fn find(&self, name: &str) -> Option<Image> {
        let index = self.lock();
        let bare = name.strip_prefix("sha256:").unwrap_or(name);
        if let Some(image) = index.images.get(&format!("sha256:{bare}")) {
            return Some(image.clone());
        }
        if bare.len() >= 12 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
            let mut hits = index.images.values().filter(|i| i.id.trim_start_matches("sha256:").starts_with(bare));
            if let (Some(image), None) = (hits.next(), hits.next()) {
                return Some(image.clone());
            }
        }
        let reference = Reference::parse(name).ok()?;
        let by_digest = reference.digest.as_ref().map(|d| format!("{}@{d}", reference.name()));
        let tagged = reference.tagged();
        index
            .images
            .values()
            .find(|i| match &by_digest {
                Some(digest) => i.digests.contains(digest),
                None => tagged.as_ref().is_some_and(|t| i.tags.contains(t)),
            })
            .cloned()
    }

    /// Whether a layer is here.
    pub fn has_layer(&self, name: &str) -> bool {
        self.root.join("layers").join(name).is_dir()
    }

    /// Unpacks a layer, unless it is here. `diff_id` must match the content.
    pub fn add_layer(&self, name: &str, diff_id: &str, reader: impl Read) -> Result<()> {
        if self.has_layer(name) {
            return Ok(());
        }
        let temporary = self.temporary();
        fs::create_dir(&temporary).map_err(|e| Error::file("make directory", &temporary, e))?;
        let result =
            unpack::unpack(reader, &temporary).map_err(|e| Error::internal(format!("unpack layer {diff_id}: {e}")));
        let done = result.and_then(|unpacked| {
            if unpacked.diff_id != diff_id {
                return Err(Error::internal(format!(
                    "layer has digest {} instead of {diff_id}: the image is damaged",
                    unpacked.diff_id
                )));
            }
            let home = self.root.join("layers").join(name);
            match fs::rename(&temporary, &home) {
                Ok(()) => {}
                Err(_) if home.is_dir() => return Ok(()), // another pull was faster
                Err(e) => return Err(Error::file("rename to", &home, e)),
            }
            let mut index = self.lock();
            index.layer_sizes.insert(name.to_string(), unpacked.size);
            Ok(())
        });
        let _ = fs::remove_dir_all(&temporary);
        done
    }

    /// Records an image whose layers are all here. Tags move away from other images.
    pub fn add_image(&self, config: &[u8], reference: Option<&Reference>, digest: Option<&str>) -> Result<Image> {
        let parsed: ImageConfig =
            serde_json::from_slice(config).map_err(|e| Error::invalid(format!("image configuration: {e}")))?;
        let id = sha256(config);
        let layers = chain_names(&parsed.rootfs.diff_ids);
        if let Some(missing) = layers.iter().find(|l| !self.has_layer(l)) {
            return Err(Error::internal(format!("layer {missing} of image {id} is missing")));
        }
        let mut index = self.lock();
        let tag = reference.and_then(Reference::tagged);
        if let Some(tag) = &tag {
            for image in index.images.values_mut() {
                image.tags.retain(|t| t != tag);
            }
        }
        let size = layers.iter().map(|l| index.layer_sizes.get(l).copied().unwrap_or(0)).sum();
        let image = index.images.entry(id.clone()).or_insert_with(|| Image { id, layers, size, ..Image::default() });
        image.config = parsed.config;
        image.tags.extend(tag);
        if let (Some(reference), Some(digest)) = (reference, digest) {
            let name = format!("{}@{digest}", reference.name());
            if !image.digests.contains(&name) {
                image.digests.push(name);
            }
        }
        let image = image.clone();
        self.save(&index)?;
        Ok(image)
    }

    /// Removes a name, or with an id the whole image. Unknown images are fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        let Some(image) = self.find(name) else { return Ok(()) };
        let mut index = self.lock();
        index.images.remove(&image.id);
        self.save(&index)
    }

    /// Deletes layers that no image and nothing in `used` names.
    pub fn sweep(&self, used: &BTreeSet<String>) -> Result<()> {
        let mut index = self.lock();
        let wanted: BTreeSet<&String> = index.images.values().flat_map(|i| &i.layers).chain(used).collect();
        let mut gone = Vec::new();
        for entry in fs::read_dir(self.layers_dir()).map_err(|e| Error::file("list", &self.layers_dir(), e))?.flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted.contains(&name) {
                gone.push(name);
            }
        }
        for name in &gone {
            // Renamed first, so that a half-deleted layer never looks like one.
            let grave = self.temporary();
            let home = self.layers_dir().join(name);
            fs::rename(&home, &grave).map_err(|e| Error::file("remove", &home, e))?;
            let _ = fs::remove_dir_all(&grave);
            index.layer_sizes.remove(name);
        }
        if gone.is_empty() { Ok(()) } else { self.save(&index) }
    }

    /// Bytes and files of all layers.
    pub fn usage(&self) -> u64 {
        self.lock().layer_sizes.values().sum()
    }
}
