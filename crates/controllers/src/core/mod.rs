//! The pure part: one plan per controller. Values in, values out.

pub mod deployment;
pub mod endpoints;
pub mod garbage;
pub mod hash;
pub mod namespace;
pub mod nodes;
pub mod pods;
pub mod replicaset;

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod tests;
