//! Programs are run by a small interpreter of classic BPF.

use super::*;
use crate::core::capabilities;
use crate::sys::Bpf;

fn run(program: &[Bpf], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => number,
        4 => arch,
        o => {
            let value = args[((o - 16) / 8) as usize];
            if (o - 16) % 8 == 0 { value as u32 } else { (value >> 32) as u32 }
        }
    };
    let (mut pc, mut a) = (0, 0);
    loop {
        let (code, jt, jf, k) = program[pc];
        pc += 1;
        let mut jump = |yes: bool| pc += usize::from(if yes { jt } else { jf });
        match code {
            0x20 => a = load(k),
            0x05 => pc += k as usize,
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x54 => a &= k,
            0x06 => return k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

const X64: u32 = 0xC000_003E;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn nr(name: &str) -> u32 {
    super::table::X86_64.iter().find(|(_, n)| *n == name).expect(name).0
}

#[test]
fn default_profile_decides() {
    let plain = capabilities::effective(&[], &[]).expect("set");
    let program = compile(&default_profile(plain)).expect("compiles");
    assert!(program.len() < 700, "{}", program.len());
    for (name, arg0, want) in [
        ("read", 0, ALLOW),
        ("openat", 0, ALLOW),
        ("futex", 0, ALLOW),
        ("keyctl", 0, EPERM),
        ("mount", 0, EPERM),
        ("unshare", 0x2000_0000, EPERM),
        ("clone", 0x0001_1000, ALLOW),
        ("clone", 0x1000_0000, EPERM),
        ("clone3", 0, ENOSYS),
        ("personality", 8, ALLOW),
        ("personality", 8 | 1 << 32, EPERM),
        ("socket", 2, ALLOW),
        ("socket", 40, EPERM),
        ("io_uring_setup", 0, EPERM),
    ] {
        assert_eq!(run(&program, X64, nr(name), [arg0, 0, 0, 0, 0, 0]), want, "{name}({arg0:#x})");
    }
    assert_eq!(run(&program, X64, 100_000, [0; 6]), ENOSYS);
    assert_eq!(run(&program, X64, 0x4000_0001, [0; 6]), ENOSYS);
    assert_eq!(run(&program, 0x4000_0003, 3, [0; 6]), ALLOW, "32-bit read");
    assert_eq!(run(&program, 0xC000_00B7, 3, [0; 6]), 0x8000_0000, "foreign architecture");
    let admin = compile(&default_profile(capabilities::all())).expect("compiles");
    assert_eq!(run(&admin, X64, nr("mount"), [0; 6]), ALLOW);
    assert_eq!(run(&admin, X64, nr("clone3"), [0; 6]), ALLOW);
}

#[test]
fn local_profiles_compare_arguments() {
    for (op, value, two, yes, no) in [
        ("SCMP_CMP_EQ", 5_u64, 0, 5_u64, 5_u64 | 1 << 40),
        ("SCMP_CMP_NE", 5, 0, 5 | 1 << 40, 5),
        ("SCMP_CMP_GT", 1 << 33, 0, (1 << 33) + 1, 1 << 33),
        ("SCMP_CMP_GE", 1 << 33, 0, 1 << 33, (1 << 33) - 1),
        ("SCMP_CMP_LT", 1 << 33, 0, 7, 1 << 33),
        ("SCMP_CMP_LE", 1 << 33, 0, 1 << 33, 1 << 34),
        ("SCMP_CMP_MASKED_EQ", 0xf0, 0x10, 0x1f, 0x2f),
    ] {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["kill","no_such_call"],"action":"SCMP_ACT_ERRNO",
            "errnoRet":13,"args":[{{"index":1,"op":"{op}","value":{value},"valueTwo":{two}}}]}}]}}"#
        );
        let profile: Profile = serde_json::from_str(&text).expect("profile");
        let program = compile(&profile).expect("compiles");
        assert_eq!(run(&program, X64, nr("kill"), [0, yes, 0, 0, 0, 0]), 0x0005_000d, "{op} {yes:#x}");
        assert_eq!(run(&program, X64, nr("kill"), [0, no, 0, 0, 0, 0]), ALLOW, "{op} {no:#x}");
    }
}
