//! The pure part: states and their history, the record format. No clock, no tasks, no files.

pub mod codec;
pub mod committer;
pub mod record;
pub mod splice;
pub mod state;

#[cfg(test)]
mod tests;
