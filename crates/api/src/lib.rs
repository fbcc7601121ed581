//! What an API object is: one compact untyped tree ([`Value`]), the type tables of all built-in kinds ([`schema`]), and
//! everything that can be said about objects without knowing what a kind means: codecs (JSON, YAML, protobuf),
//! canonical form, quantities, times, selectors, name formats, the three patches, server-side apply, field errors, `Status`.
//!
//! Pure: bytes and values in, bytes and values out. It knows nothing of HTTP, storage, the time of day or tokio.

pub mod apply;
pub mod canon;
pub mod check;
pub mod decode;
pub mod errors;
pub mod format;
pub mod go;
pub mod json;
pub mod names;
pub mod patch;
pub mod proto;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod status;
mod tables;
pub mod time;
pub mod value;
pub mod yaml;

pub use names::{Key, Name, f};

pub use status::Status;
pub use value::{Map, Value};

/// A document in either language: JSON where it is JSON, else YAML.
pub fn yaml_or_json(body: &[u8]) -> Result<Value, String> {
    match json::parse(body) {
        Ok(v) => Ok(v),
        Err(e) => match std::str::from_utf8(body) {
            Ok(text) => yaml::parse(text).map_err(|_| e.message),
            Err(_) => Err(e.message),
        },
    }
}
