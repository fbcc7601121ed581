//! The generated tables.
pub mod names;
pub mod types;
