//! Protocols that others define: CRI v1 as plain structs (prost) with a gRPC client and server (tonic).
//!
//! `wire::cri` is the boundary between `kubelet` and `runtime`. The structs are the same in process and on a socket; they
//! also implement serde (field names as in the proto, every field optional on reading), which the runtime uses for its
//! state files.
//!
//! The Rust code in `generated/` is made from `proto/cri.proto` (the message names and field numbers of CRI v1) by
//! `tonic-prost-build` with the attributes `serde::Serialize, serde::Deserialize` on every type and `#[serde(default)]` on
//! every message, and checked in, so that a build needs neither protoc nor a code generator.

#[rustfmt::skip]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, rustdoc::all)]
#[path = "generated/runtime_v1.rs"]
pub mod cri;
pub mod service;

pub use service::Cri;
pub use tonic::{Code, Status};
