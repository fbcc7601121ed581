//! The pure part: the work queue and the aggregation of events. No tasks, no clock.

pub mod correlate;
pub mod queue;

#[cfg(test)]
mod tests;
