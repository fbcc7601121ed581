//! Tests of splicing.
use super::splice::*;
use crate::contract::Revision;
use bytes::Bytes;

#[test]
fn revisions_are_written_over_and_taken_out() {
    let text = Bytes::from_static(br#"{"a":{"rv":""},"b":1}"#);
    let at = Some(12);
    assert!(is_place(&text, 12) && !is_place(&text, 11) && !is_place(&text, 0) && !is_place(&text, 99));
    let nine = splice(&text, at, Revision(9));
    assert_eq!(&nine[..], br#"{"a":{"rv":"9"},"b":1}"#);
    let ten = resplice(&nine, at, Revision(9), Revision(1000));
    assert_eq!(&ten[..], br#"{"a":{"rv":"1000"},"b":1}"#);
    assert_eq!(unsplice(&ten, at, Revision(1000)), text);
    assert_eq!(splice(&text, None, Revision(5)), text);
}
