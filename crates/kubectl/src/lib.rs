//! The command line.
pub mod core;
pub mod failure;
pub mod out;
pub mod session;
