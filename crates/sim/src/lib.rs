//! A whole cluster as one program in virtual time, from one seed: the log store on a simulated disk, the real API server,
//! controllers and scheduler behind a simulated network, and nodes: some with the real kubelet over a simulated CRI runtime, some hollow. Faults come and go; safety is
//! checked all the time, convergence once the faults have stopped.
//!
//! [`run`]`(seed)` plays one seed to its end and answers what happened, with a hash of everything that crossed the network:
//! the same seed gives the same hash. `cargo run -p sim -- --seeds 200` plays many, each twice.
//!
//! Checked by name ([`NAMES`]) with every message and every change of the store, and at the end that everything converges and
//! that, without faults, controllers and scheduler do what is asked for and no more.

mod checks;
mod cluster;
mod judge;
mod net;
mod node;
mod objects;
mod runtime;
mod scenario;
mod trace;
mod users;
mod wire;

pub use checks::NAMES;
pub use scenario::{Outcome, run};

#[cfg(test)]
mod tests;
