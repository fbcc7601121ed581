//! The kubelet's pure parts: values in, values out. No clock, files, sockets or tasks.

pub mod env;
pub mod files;
pub mod machine;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod resources;
pub mod status;
