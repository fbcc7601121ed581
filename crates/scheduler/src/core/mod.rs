//! The pure part: what is where ([`snapshot`]), what a plugin is ([`framework`]), the plugins, the decision ([`decide`]), and
//! which pod is next ([`queue`]). No tasks, no clock.

pub mod decide;
pub mod framework;
pub mod plugins;
pub mod preempt;
pub mod queue;
pub mod resources;
pub mod snapshot;

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod tests;
