//! Which devices a container may use: rules, their v1 text, and the eBPF program that enforces them on cgroup v2.

use std::fmt;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Allows some devices.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct DeviceRule {
    /// `b`, `c` or `a` (both).
    pub kind: char,
    /// None is every number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Some of `rwm`.
    pub access: String,
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == 'a' {
            return f.write_str("a");
        }
        let show = |n: Option<u32>| n.map_or_else(|| "*".to_string(), |n| n.to_string());
        write!(f, "{} {}:{} {}", self.kind, show(self.major), show(self.minor), self.access)
    }
}

/// What every container may use: making nodes, the usual character devices, terminals.
pub fn defaults() -> Vec<DeviceRule> {
    let rule = |kind, major, minor, access: &str| DeviceRule { kind, major, minor, access: access.into() };
    let mut rules = vec![rule('c', None, None, "m"), rule('b', None, None, "m")];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        rules.push(rule('c', Some(major), Some(minor), "rwm"));
    }
    rules.push(rule('c', Some(136), None, "rwm"));
    rules
}

/// Everything: privileged containers.
pub fn everything() -> Vec<DeviceRule> {
    vec![DeviceRule { kind: 'a', major: None, minor: None, access: "rwm".into() }]
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// One eBPF instruction: code, registers (destination low), offset, constant.
type Insn = (u8, u8, i16, i32);

/// Answers 1 when a rule matches, else 0. The context holds access type and device kind, major, minor.
fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let load = |register: u8, offset: i16| -> Insn { (0x61, 0x10 | register, offset, 0) };
    let mut code = vec![
        load(2, 0),              // r2 = access << 16 | kind
        (0xbc, 0x23, 0, 0),      // w3 = w2
        (0x54, 0x02, 0, 0xffff), // w2 &= 0xffff: the kind
        (0x74, 0x03, 0, 16),     // w3 >>= 16: the access
        load(4, 4),              // r4 = major
        load(5, 8),              // r5 = minor
    ];
    for rule in rules {
        let mut tests: Vec<Insn> = Vec::new();
        // A test that fails jumps behind the block; offsets are filled in below.
        if rule.kind != 'a' {
            tests.push((0x55, 0x02, 0, if rule.kind == 'b' { 1 } else { 2 }));
            let mask = rule.access.chars().fold(0, |m, c| {
                m | match c {
                    'm' => 1,
                    'r' => 2,
                    'w' => 4,
                    _ => 0,
                }
            });
            if mask != 7 {
                tests.push((0xbc, 0x31, 0, 0)); // w1 = w3
                tests.push((0x54, 0x01, 0, !mask & 7)); // what is asked for beyond the rule
                tests.push((0x55, 0x01, 0, 0));
            }
            if let Some(major) = rule.major {
                tests.push((0x55, 0x04, 0, major as i32));
            }
            if let Some(minor) = rule.minor {
                tests.push((0x55, 0x05, 0, minor as i32));
            }
        }
        let block = tests.len() + 2;
        for (i, test) in tests.iter_mut().enumerate() {
            if test.0 == 0x55 {
                test.2 = (block - i - 1) as i16;
            }
        }
        code.extend(tests);
        code.extend([(0xb7, 0x00, 0, 1), (0x95, 0, 0, 0)]);
    }
    code.extend([(0xb7, 0x00, 0, 0), (0x95, 0, 0, 0)]);
    code
}

/// Loads the program for `rules` and attaches it to the v2 group at `dir`.
pub fn attach(dir: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
        zero: [u64; 13],
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
        zero: [u64; 14],
    }
    let bytes: Vec<u8> = program(rules)
        .into_iter()
        .flat_map(|(code, registers, offset, constant)| {
            let mut insn = vec![code, registers];
            insn.extend(offset.to_ne_bytes());
            insn.extend(constant.to_ne_bytes());
            insn
        })
        .collect();
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: (bytes.len() / 8) as u32,
        code: bytes.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        zero: [0; 13],
    };
    // SAFETY: load and what it points to outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &load, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it.
    let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let group = std::fs::File::open(dir)?;
    let attach = Attach {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        zero: [0; 14],
    };
    // SAFETY: attach outlives the call.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
