//! Frames there and back, in one compression context.

use super::*;

#[test]
fn dictionary_is_the_drafts() {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in DICTIONARY {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
}

#[test]
fn frames_survive() {
    let (mut sender, mut receiver) = (Codec::default(), Codec::default());
    let h = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Headers>();
    let long = "x".repeat(5000);
    let frames = [
        Frame::SynStream { stream: 1, fin: false, headers: h(&[("streamtype", "error")]) },
        Frame::SynStream {
            stream: 3,
            fin: true,
            headers: h(&[("streamtype", "data"), ("port", "80"), ("long", &long)]),
        },
        Frame::SynReply { stream: 1, fin: false, headers: h(&[]) },
        Frame::Data { stream: 3, fin: false, data: Bytes::from_static(b"hello") },
        Frame::Data { stream: 3, fin: true, data: Bytes::new() },
        Frame::Ping(7),
        Frame::Reset { stream: 5, status: 2 },
        Frame::GoAway { last: 3, status: 0 },
        Frame::Headers { stream: 1, fin: false, headers: h(&[("a", "b")]) },
    ];
    let mut wire = BytesMut::new();
    for frame in &frames {
        sender.encode(frame, &mut wire);
    }
    let mut cut = BytesMut::new();
    let mut seen = Vec::new();
    for byte in wire.iter() {
        cut.put_u8(*byte);
        while let Some(frame) = receiver.decode(&mut cut).expect("valid") {
            seen.push(frame);
        }
    }
    assert_eq!(seen, frames);
}

#[test]
fn refuses_nonsense() {
    for bytes in
        [&[0x80, 2, 0, 1, 0, 0, 0, 0][..], &[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0], &[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]]
    {
        assert!(Codec::default().decode(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
    }
}
