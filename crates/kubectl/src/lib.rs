//! The command line.
pub mod core;
