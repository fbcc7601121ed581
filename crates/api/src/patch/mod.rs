//! The three patches of the API besides apply: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch.

pub mod json_patch;
pub mod merge;
pub mod strategic;

pub use json_patch::{PatchError, json_patch};
pub use merge::{create_merge, merge};
pub use strategic::{go_plain, strategic};
