//! The runtime's pure parts: values in, values out. No clock, no files, no processes.

pub mod capabilities;
pub mod logline;
pub mod passwd;
pub mod reference;
pub mod seccomp;
