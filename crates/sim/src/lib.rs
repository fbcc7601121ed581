//! A whole cluster as one program in virtual time, from one seed: the log store on a simulated disk, the real API server,
//! controllers and scheduler behind a simulated network, and nodes: some with the real kubelet over a simulated CRI runtime, some hollow. Faults come and go; safety is
//! checked all the time, convergence once the faults have stopped.
//!
//! [`run`]`(seed)` plays one seed to its end and answers what happened, with a hash of everything that crossed the network:
//! the same seed gives the same hash. `cargo run -p sim -- --seeds 200` plays many, each twice.
//!
//! Checked by name ([`checks`]): no acknowledged write is lost; no revision is given out twice; watches are ordered, unique
//! and complete; a pod runs on one node at a time, a stateful pod once; everything converges.

mod checks;
mod cluster;
mod net;
mod node;
mod runtime;
mod scenario;
mod trace;

pub use scenario::{Outcome, run};

#[cfg(test)]
mod tests;
