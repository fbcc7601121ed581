//! Seccomp without libseccomp: OCI profiles (JSON) and the default profile, compiled to classic BPF.
//!
//! Rules: unknown names are skipped (as libseccomp does); an unconditional rule for a call beats conditional ones; x32
//! numbers get ENOSYS; a number above the table's last gets ENOSYS, so that a program falls back as on an older kernel.
//! Arguments are 64 bits wide: both halves are compared.
//! Only the x86 family has tables so far; [`compile`] refuses elsewhere, it never runs a container unfiltered.

mod compile;
mod profile;
mod table;

use serde::{Deserialize, Serialize};

pub use compile::compile;
pub use profile::default_profile;

/// A profile as in the OCI runtime specification (the fields that a kubelet's local profiles use).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    pub default_action: Action,
    pub default_errno_ret: Option<u32>,
    pub syscalls: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_*`; only the empty list is accepted.
    pub flags: Vec<String>,
    /// Set for a notification agent; refused.
    pub listener_path: Option<String>,
}

/// Calls and what to do about them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub errno_ret: Option<u32>,
    pub args: Vec<Arg>,
}

/// A condition on one argument.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Arg {
    pub index: u32,
    pub value: u64,
    pub value_two: u64,
    pub op: Op,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    #[default]
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    #[default]
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

#[cfg(test)]
mod tests;
