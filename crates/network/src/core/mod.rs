//! The pure part of `network`: netlink messages as bytes, address allocation, service rules as values and their differences.
//!
//! Nothing here opens a socket, reads a clock or touches a file; every decision is a function of its arguments.

pub mod addresses;
pub mod nft;
pub mod nl;
pub mod overlay;
pub mod pods;
pub mod proxy;
pub mod rt;
pub mod views;
