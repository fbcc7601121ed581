//! The pure part of cluster DNS: what a name means ([`index`]) and how queries become answers ([`answer`]).

pub mod answer;
pub mod index;
pub mod publish;
pub mod resolv;
pub mod views;
