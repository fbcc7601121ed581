//! The pure part: what is written under which keys, and what a revision's events mean.

pub mod layout;
pub mod place;
