//! The pure part of the server: what a request asks for, who may, what metadata becomes. Values in, values out.

pub mod csr;
pub mod info;
pub mod meta;
pub mod negotiate;
pub mod node_auth;
pub mod pod_security;
pub mod query;
pub mod rbac;
pub mod token;
