//! Images: names, the store, archives, registries.

pub mod archive;
pub mod registry;
pub mod resolve;
pub mod store;
pub mod unpack;
