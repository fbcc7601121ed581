//! The pure part: one plan per controller. Values in, values out.

pub mod cron;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
pub mod hash;
pub mod job;
pub mod job_policy;
pub mod namespace;
pub mod nodes;
pub mod pods;
pub mod quota;
pub mod replicaset;
pub mod revisions;
pub mod statefulset;

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod tests;
