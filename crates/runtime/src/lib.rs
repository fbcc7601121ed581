//! x
pub mod cgroup;
pub mod core;
pub mod devices;
pub mod shim;
pub mod spec;
mod sys;
