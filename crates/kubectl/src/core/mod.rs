//! The pure part of the command line: flags, printers, templates, merges, descriptions. Values in, text out.

pub mod condition;
pub mod describe;
pub mod edit;
pub mod explain;
pub mod flags;
pub mod generate;
pub mod jsonpath;
pub mod merge;
pub mod printer;
pub mod resources;
pub mod rollout;
pub mod table;
