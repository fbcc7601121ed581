//! Looking through strings eight bytes at a time.

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The high bit of each byte that is zero; above the lowest such byte there can be more.
const fn zero(x: u64) -> u64 {
    x.wrapping_sub(ONES) & !x & HIGH
}

/// The high bit of each byte that is `byte`, with the same caution.
const fn equal(x: u64, byte: u8) -> u64 {
    zero(x ^ (ONES * byte as u64))
}

/// The high bit of each control character, with the same caution.
const fn control(x: u64) -> u64 {
    x.wrapping_sub(ONES * 0x20) & !x & HIGH
}

/// The first place from `at` on whose byte `found` marks; the last bytes, which make no eight, are passed over one by one.
fn first(bytes: &[u8], mut at: usize, found: impl Fn(u64) -> u64) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        match found(u64::from_le_bytes(*chunk)) {
            0 => at += 8,
            marks => return at + marks.trailing_zeros() as usize / 8,
        }
    }
    while bytes.get(at).is_some_and(|b| found(u64::from(*b) | PAD) & 0x80 == 0) {
        at += 1;
    }
    at
}

/// Seven bytes that nothing looks for.
const PAD: u64 = 0x4141_4141_4141_4100;

/// Where a string being read ends or is not plain: at a quote, a backslash or a control character.
pub fn ends_string(bytes: &[u8], at: usize) -> usize {
    first(bytes, at, |x| equal(x, b'"') | equal(x, b'\\') | control(x))
}

/// Where a string being written may need an escape.
pub fn is_escaped(bytes: &[u8], at: usize) -> usize {
    first(bytes, at, |x| {
        let angle = equal(x | (ONES * 2), b'>'); // `<` and `>` differ in this bit
        equal(x, b'"') | equal(x, b'\\') | control(x) | angle | equal(x, b'&') | equal(x, 0xe2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = [b'a'; 20];
                text[at] = byte;
                let ends = matches!(byte, b'"' | b'\\' | 0..0x20);
                let escaped = ends || matches!(byte, b'<' | b'>' | b'&' | 0xe2);
                assert_eq!(ends_string(&text, 0), if ends { at } else { 20 }, "{byte:#x} at {at}");
                assert_eq!(is_escaped(&text, 0), if escaped { at } else { 20 }, "{byte:#x} at {at}");
            }
        }
        assert_eq!(ends_string(b"ab\"c\"", 3), 4);
        assert_eq!(is_escaped(b"", 0), 0);
    }
}
