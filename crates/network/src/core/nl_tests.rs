//! Tests of netlink framing: what is written can be read back, and rubbish is refused quietly.

use super::*;

#[test]
fn what_is_written_is_read_back() {
    let mut batch = Batch::new(7);
    batch.message(16, flag::CREATE, &[1, 2], |m| {
        m.attr_str(3, "eth0");
        m.nest(18, |m| m.attr_u32(1, 99));
    });
    batch.message(17, 0, &[0; 4], |m| m.attr(5, &[1, 2, 3]));
    batch.acknowledge_last();
    let all: Vec<_> = messages(batch.bytes()).collect();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].kind, all[0].seq, all[0].flags), (16, 8, flag::CREATE | flag::REQUEST));
    assert_eq!(attr(&all[0].body[4..], 3).map(text), Some("eth0"));
    let nested = attr(&all[0].body[4..], 18).expect("the nest is there");
    assert_eq!(attr(nested, 1).and_then(|v| u32_at(v, 0)), Some(99));
    assert_eq!(all[1].flags, flag::ACK | flag::REQUEST);
    assert_eq!(attr(&all[1].body[4..], 5), Some(&[1_u8, 2, 3][..]));
}

#[test]
fn rubbish_ends_the_iteration() {
    for bytes in [
        &[][..],
        &[1],
        &[0; 16],
        &[200, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
    }
    for bytes in [&[][..], &[1, 0], &[2, 0, 1, 0], &[9, 0, 1, 0, 5]] {
        assert_eq!(attrs(bytes).count(), 0, "{bytes:?}");
    }
}
