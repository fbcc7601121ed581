//! Signals.

use super::*;

#[test]
fn knows_signals() {
    for (text, want) in [
        ("SIGTERM", Some(15)),
        ("term", Some(15)),
        ("9", Some(9)),
        ("SIGRTMIN+3", Some(37)),
        ("RTMAX-1", Some(63)),
        ("SIGSYS", Some(31)),
        ("SIGNOPE", None),
    ] {
        assert_eq!(signal_number(text), want, "{text}");
    }
    assert_eq!(stop_signal(0, ""), "SIGTERM");
    assert_eq!(stop_signal(0, "SIGQUIT"), "SIGQUIT");
    assert_eq!(signal_number(&stop_signal(Signal::Sigusr1 as i32, "SIGQUIT")), Some(10));
    assert_eq!(signal_number(&stop_signal(Signal::Sigrtminplus3 as i32, "")), Some(37));
}
