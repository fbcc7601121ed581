//! The commands: each reads the server through the session, decides with `core`, prints.

pub mod apply;
pub mod change;
pub mod delete;
pub mod describe;
pub mod exec;
pub mod get;
pub mod logs;
pub mod make;
pub mod meta;
pub mod node;
pub mod rollout;
