//! Frames there and back, cut anywhere.

use super::*;

#[test]
fn answers_the_rfcs_key() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn messages_survive() {
    let packets = [
        Packet::Binary(Bytes::from(vec![7; 10])),
        Packet::Text(Bytes::from_static(b"text")),
        Packet::Binary(Bytes::from(vec![1; 200])),
        Packet::Binary(Bytes::from(vec![2; 70_000])),
        Packet::Ping(Bytes::from_static(b"p")),
        Packet::Close(1000, "bye".into()),
    ];
    for (from, to) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let (sender, mut receiver) = (Codec::new(from), Codec::new(to));
        let mut wire = BytesMut::new();
        for packet in &packets {
            sender.encode(packet, [1, 2, 3, 4], &mut wire);
        }
        let (mut cut, mut seen) = (BytesMut::new(), Vec::new());
        for chunk in wire.chunks(13) {
            cut.put_slice(chunk);
            while let Some(packet) = receiver.decode(&mut cut).expect("valid") {
                seen.push(packet);
            }
        }
        assert_eq!(seen, packets);
    }
}

#[test]
fn puts_fragments_together() {
    let mut wire = BytesMut::from(&[0x02, 2, b'a', b'b', 0x89, 1, b'p', 0x80, 1, b'c'][..]);
    let mut codec = Codec::new(Role::Client);
    assert_eq!(codec.decode(&mut wire), Ok(Some(Packet::Ping(Bytes::from_static(b"p")))));
    assert_eq!(codec.decode(&mut wire), Ok(Some(Packet::Binary(Bytes::from_static(b"abc")))));
    for bad in [&[0x82, 0x81, 0, 0, 0, 0, 1][..], &[0x80, 0], &[0xf2, 0], &[0x83, 0]] {
        assert!(Codec::new(Role::Client).decode(&mut BytesMut::from(bad)).is_err(), "{bad:?}");
    }
}
