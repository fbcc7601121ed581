//! Linux capabilities: names, numbers, the usual default set, and what `add` and `drop` make of it.

/// Names by number, without the `CAP_` prefix (`linux/capability.h`).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The number of a capability, with or without the `CAP_` prefix, in any case.
pub fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == bare).map(|n| n as u32)
}

/// All capabilities that this table knows.
pub fn all() -> u64 {
    (1 << NAMES.len()) - 1
}

/// The default set with `drop` taken away and `add` put in; `ALL` stands for all of them. `add` wins over `drop: [ALL]`.
pub fn effective(add: &[String], drop: &[String]) -> Result<u64, String> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let mask = |names: &[String]| -> Result<u64, String> {
        let mut mask = 0;
        for name in names.iter().filter(|n| !is_all(n)) {
            mask |= 1 << number(name).ok_or_else(|| format!("unknown capability {name:?}"))?;
        }
        Ok(mask)
    };
    let (added, dropped) = (mask(add)?, mask(drop)?);
    let mut set = DEFAULT.iter().filter_map(|n| number(n)).fold(0, |set, n| set | 1 << n);
    if add.iter().any(is_all) {
        set = all();
    }
    if drop.iter().any(is_all) {
        set = if add.iter().any(is_all) { set } else { 0 };
    }
    Ok((set & !dropped) | added)
}

/// Bits as names, for the seccomp profile.
pub fn has(set: u64, name: &str) -> bool {
    number(name).is_some_and(|n| set & (1 << n) != 0)
}

#[cfg(test)]
mod tests;
