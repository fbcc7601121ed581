//! Tables for capability sets.

use super::*;

fn list(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

#[test]
fn adds_and_drops() {
    for (add, drop, has_, lacks) in [
        ("", "", "CHOWN KILL NET_RAW", "SYS_ADMIN NET_ADMIN"),
        ("NET_ADMIN", "", "NET_ADMIN CHOWN", "SYS_ADMIN"),
        ("cap_sys_time", "ALL", "SYS_TIME", "CHOWN KILL"),
        ("ALL", "NET_RAW", "SYS_ADMIN BPF", "NET_RAW"),
        ("", "all", "", "CHOWN"),
    ] {
        let set = effective(&list(add), &list(drop)).expect("valid");
        for name in has_.split_whitespace() {
            assert!(has(set, name), "add {add:?} drop {drop:?} should have {name}");
        }
        for name in lacks.split_whitespace() {
            assert!(!has(set, name), "add {add:?} drop {drop:?} should lack {name}");
        }
    }
    assert!(effective(&list("FLYING"), &[]).is_err());
}
