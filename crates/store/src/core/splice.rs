//! Writing a revision's digits into a value, and over older ones.

use crate::contract::Revision;
use bytes::Bytes;

/// `text` with `revision` written at `at`, as one contiguous allocation.
pub fn splice(text: &Bytes, at: Option<u32>, revision: Revision) -> Bytes {
    match at {
        None => text.clone(),
        Some(at) => join(text, at as usize, at as usize, revision),
    }
}

/// `value`, which carries the digits of `old` at `at`, with those of `new` instead.
pub fn resplice(value: &Bytes, at: Option<u32>, old: Revision, new: Revision) -> Bytes {
    match at {
        None => value.clone(),
        Some(at) => join(value, at as usize, at as usize + digits(old), new),
    }
}

/// `value` without the digits of `revision` at `at`.
pub fn unsplice(value: &Bytes, at: Option<u32>, revision: Revision) -> Bytes {
    match at {
        None => value.clone(),
        Some(at) => {
            let at = at as usize;
            let mut out = Vec::with_capacity(value.len());
            out.extend_from_slice(&value[..at]);
            out.extend_from_slice(&value[at + digits(revision)..]);
            out.into()
        }
    }
}

/// Whether `at` lies between two adjacent quotes of `text`.
pub fn is_place(text: &[u8], at: u32) -> bool {
    let at = at as usize;
    at > 0 && text.get(at - 1) == Some(&b'"') && text.get(at) == Some(&b'"')
}

fn digits(revision: Revision) -> usize {
    revision.0.checked_ilog10().unwrap_or(0) as usize + 1
}

fn join(text: &[u8], head_end: usize, tail_start: usize, revision: Revision) -> Bytes {
    let mut buffer = itoa::Buffer::new();
    let number = buffer.format(revision.0).as_bytes();
    let mut out = Vec::with_capacity(head_end + number.len() + text.len() - tail_start);
    out.extend_from_slice(&text[..head_end]);
    out.extend_from_slice(number);
    out.extend_from_slice(&text[tail_start..]);
    out.into()
}
