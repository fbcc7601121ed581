//! Profile to BPF.

use std::collections::BTreeMap;

use super::table::{I386, X86_64};
use super::{Action, Arg, Op, Profile};
use crate::sys::Bpf;

const LD_ABS: u16 = 0x20;
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const AND: u16 = 0x54;
const RET: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;
const ARCH_X86_64: u32 = 0xC000_003E;
const ARCH_I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
/// The kernel's limit.
const MAX_INSTRUCTIONS: usize = 4096;

/// What happens to one call number.
#[derive(Clone, Default)]
struct Verdict {
    always: Option<u32>,
    when: Vec<(Vec<Arg>, u32)>,
}

/// Compiles a profile for this machine, or says why it cannot be.
pub fn compile(profile: &Profile) -> Result<Vec<Bpf>, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("seccomp profiles are only supported on x86-64 so far: run the container as Unconfined".into());
    }
    if let Some(flag) = profile.flags.first() {
        return Err(format!("seccomp profile: flag {flag:?} is not supported"));
    }
    if profile.listener_path.is_some() {
        return Err("seccomp profile: listenerPath is not supported".into());
    }
    let mut out: Vec<Bpf> = vec![(LD_ABS, 0, 0, OFFSET_ARCH)];
    for (arch, table) in [(ARCH_X86_64, X86_64), (ARCH_I386, I386)] {
        let body = section(profile, arch, table)?;
        out.push((JEQ, 1, 0, arch));
        out.push((JA, 0, 0, body.len() as u32));
        out.extend(body);
    }
    out.push((RET, 0, 0, 0x8000_0000)); // an architecture that this machine does not have: kill the process
    if out.len() > MAX_INSTRUCTIONS {
        return Err(format!("seccomp profile is too large: {} of {MAX_INSTRUCTIONS} instructions", out.len()));
    }
    Ok(out)
}

fn action(action: Action, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1) & 0xffff;
    match action {
        Action::Errno => 0x0005_0000 | data,
        Action::Allow => 0x7fff_0000,
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Trace => 0x7ff0_0000 | data,
        Action::Log => 0x7ffc_0000,
    }
}

fn section(profile: &Profile, arch: u32, table: &[(u32, &str)]) -> Result<Vec<Bpf>, String> {
    let default = action(profile.default_action, profile.default_errno_ret);
    let verdicts = verdicts(profile, table)?;
    let mut out: Vec<Bpf> = vec![(LD_ABS, 0, 0, OFFSET_NUMBER)];
    let enosys = action(Action::Errno, Some(libc::ENOSYS as u32));
    if arch == ARCH_X86_64 {
        out.extend([(JGE, 0, 1, X32_BIT), (RET, 0, 0, enosys)]);
    }
    let last = table.iter().map(|(n, _)| *n).max().unwrap_or(0);
    if profile.default_action == Action::Errno {
        out.extend([(JGT, 0, 1, last), (RET, 0, 0, enosys)]);
    }
    for (low, high, verdict) in ranges(&verdicts) {
        out.extend([(JGE, 0, 2, low), (JGT, 1, 0, high), (RET, 0, 0, verdict)]);
    }
    for (number, verdict) in verdicts.iter().filter(|(_, v)| v.always.is_none()) {
        let mut block = Vec::new();
        for (args, verdict) in &verdict.when {
            block.extend(conditions(args, *verdict)?);
        }
        block.push((RET, 0, 0, default));
        out.push((JEQ, 1, 0, *number));
        out.push((JA, 0, 0, block.len() as u32));
        out.extend(block);
    }
    out.push((RET, 0, 0, default));
    Ok(out)
}

fn verdicts(profile: &Profile, table: &[(u32, &str)]) -> Result<BTreeMap<u32, Verdict>, String> {
    let numbers: BTreeMap<&str, u32> = table.iter().map(|(n, name)| (*name, *n)).collect();
    let mut out: BTreeMap<u32, Verdict> = BTreeMap::new();
    for rule in &profile.syscalls {
        let verdict = action(rule.action, rule.errno_ret);
        for name in &rule.names {
            let Some(number) = numbers.get(name.as_str()) else { continue };
            let entry = out.entry(*number).or_default();
            if rule.args.is_empty() {
                entry.always.get_or_insert(verdict);
            } else {
                entry.when.push((rule.args.clone(), verdict));
            }
        }
    }
    Ok(out)
}

/// Runs of consecutive numbers with the same unconditional verdict.
fn ranges(verdicts: &BTreeMap<u32, Verdict>) -> Vec<(u32, u32, u32)> {
    let mut out: Vec<(u32, u32, u32)> = Vec::new();
    for (number, verdict) in verdicts.iter().filter_map(|(n, v)| v.always.map(|a| (*n, a))) {
        match out.last_mut() {
            Some((_, high, v)) if *v == verdict && *high + 1 == number => *high = number,
            _ => out.push((number, number, verdict)),
        }
    }
    out
}

/// Where a comparison goes when it does not simply fall through.
enum Jump {
    Next,
    Fail,
    /// The condition holds already: skip this many instructions.
    Pass(u8),
}

/// All conditions of one rule, then its verdict; a failed condition jumps behind the block.
fn conditions(args: &[Arg], verdict: u32) -> Result<Vec<Bpf>, String> {
    let mut code: Vec<(u16, Jump, Jump, u32)> = Vec::new();
    for arg in args {
        if arg.index > 5 {
            return Err(format!("seccomp profile: argument index {} is not between 0 and 5", arg.index));
        }
        condition(arg, &mut code);
    }
    let total = code.len() + 1;
    let mut out = Vec::with_capacity(total);
    for (i, (op, yes, no, k)) in code.into_iter().enumerate() {
        let distance = |jump: Jump| -> Result<u8, String> {
            match jump {
                Jump::Next => Ok(0),
                Jump::Pass(n) => Ok(n),
                Jump::Fail => {
                    u8::try_from(total - i - 1).map_err(|_| "seccomp rule has too many conditions".to_string())
                }
            }
        };
        out.push((op, distance(yes)?, distance(no)?, k));
    }
    out.push((RET, 0, 0, verdict));
    Ok(out)
}

fn condition(arg: &Arg, code: &mut Vec<(u16, Jump, Jump, u32)>) {
    use Jump::{Fail, Next, Pass};
    let low = OFFSET_ARGS + 8 * arg.index;
    let load = |offset| (LD_ABS, Next, Next, offset);
    let halves = |v: u64| ((v >> 32) as u32, v as u32);
    let (vh, vl) = halves(arg.value);
    code.push(load(low + 4));
    match arg.op {
        Op::Eq => {
            code.push((JEQ, Next, Fail, vh));
            code.push(load(low));
            code.push((JEQ, Next, Fail, vl));
        }
        Op::Ne => {
            code.push((JEQ, Next, Pass(2), vh));
            code.push(load(low));
            code.push((JEQ, Fail, Next, vl));
        }
        Op::MaskedEq => {
            let (wh, wl) = halves(arg.value_two);
            code.push((AND, Next, Next, vh));
            code.push((JEQ, Next, Fail, wh));
            code.push(load(low));
            code.push((AND, Next, Next, vl));
            code.push((JEQ, Next, Fail, wl));
        }
        Op::Gt | Op::Ge => {
            code.push((JGT, Pass(3), Next, vh));
            code.push((JEQ, Next, Fail, vh));
            code.push(load(low));
            code.push((if arg.op == Op::Gt { JGT } else { JGE }, Next, Fail, vl));
        }
        Op::Lt | Op::Le => {
            code.push((JGT, Fail, Next, vh));
            code.push((JEQ, Next, Pass(2), vh));
            code.push(load(low));
            code.push((if arg.op == Op::Lt { JGE } else { JGT }, Fail, Next, vl));
        }
    }
}
