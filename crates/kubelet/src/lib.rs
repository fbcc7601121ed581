//! x
pub mod core;
