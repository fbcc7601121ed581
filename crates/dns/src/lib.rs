//! Cluster DNS.
pub mod core;
