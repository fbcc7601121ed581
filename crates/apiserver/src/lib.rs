//! The API server: a request's way in and out.
//!
//! [`Server::start`] opens the registry over a store; [`http::serve`] lets it answer on TLS connections;
//! [`local::Local`] is the in-process door, through the same authorization and admission.
//!
//! `core/` is pure: what a request asks for, who may, what metadata becomes. `registry/` holds every verb once for all
//! resources, `admission/` the plugins, `http/` the wire.

pub mod admission;
pub mod bootstrap;
pub mod convert;
pub mod core;
pub mod http;
pub mod registry;

pub use crate::core::token::Signer;
pub use http::{Server, ServerConfig};
pub use registry::{Registry, Settings, User};
