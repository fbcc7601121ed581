//! The default profile ("RuntimeDefault"): every call that the tables know, but the ones listed here.
//!
//! The list says what the usual container profiles withhold, and which capability gives a call back.

use super::table::{I386, X86_64};
use super::{Action, Arg, Op, Profile, Rule};
use crate::core::capabilities;

/// Never allowed: keys are not namespaced, io_uring walks around filters, the rest is obsolete or global.
const NEVER: &str = "_sysctl add_key afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle \
    io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl lock migrate_pages move_pages mpx \
    nfsservctl oldfstat oldlstat oldolduname oldstat olduname pivot_root prof profil putpmsg query_module request_key \
    security stty swapoff swapon sysfs tuxcall ulimit uselib userfaultfd ustat vm86 vm86old vserver";

/// Allowed with one of the capabilities.
const WITH: &[(&str, &str)] = &[
    ("SYS_ADMIN BPF", "bpf"),
    ("SYS_ADMIN PERFMON", "perf_event_open"),
    ("SYS_ADMIN SYSLOG", "syslog"),
    (
        "SYS_ADMIN",
        "clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree open_tree_attr quotactl quotactl_fd setdomainname sethostname setns umount umount2 unshare",
    ),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
];

/// Argument 0 of clone may name none of these (CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET).
const NEW_NAMESPACES: u64 = 0x7E02_0000;

/// The default profile for a process with these bounding capabilities.
pub fn default_profile(bounding: u64) -> Profile {
    let mut withheld: Vec<&str> = NEVER.split_whitespace().collect();
    for (capabilities, names) in WITH {
        if !capabilities.split_whitespace().any(|c| capabilities::has(bounding, c)) {
            withheld.extend(names.split_whitespace());
        }
    }
    withheld.extend(["personality", "socket"]); // conditional, below
    let mut names: Vec<String> = X86_64
        .iter()
        .chain(I386)
        .map(|(_, name)| *name)
        .filter(|name| !withheld.contains(name))
        .map(String::from)
        .collect();
    names.sort();
    names.dedup();
    let allow = |names: Vec<String>, args| Rule { names, action: Action::Allow, errno_ret: None, args };
    let when = |name: &str, index, op, value, value_two| {
        allow(vec![name.to_string()], vec![Arg { index, value, value_two, op }])
    };
    let mut syscalls = vec![allow(names, Vec::new())];
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        syscalls.push(when("personality", 0, Op::Eq, persona, 0));
    }
    syscalls.push(when("socket", 0, Op::Ne, 40, 0)); // AF_VSOCK is not namespaced
    if !capabilities::has(bounding, "SYS_ADMIN") {
        syscalls.push(when("clone", 0, Op::MaskedEq, NEW_NAMESPACES, 0));
        // The C library falls back to clone, whose flags can be looked at.
        syscalls.push(Rule {
            names: vec!["clone3".into()],
            action: Action::Errno,
            errno_ret: Some(libc::ENOSYS as u32),
            args: Vec::new(),
        });
    }
    Profile { default_action: Action::Errno, default_errno_ret: Some(1), syscalls, ..Profile::default() }
}
