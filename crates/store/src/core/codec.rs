//! Little-endian fields in a row: the alphabet of the record format. Reading checks every length.

/// Appends fields.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    /// Four bytes.
    pub fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// Eight bytes.
    pub fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// Eight bytes, signed.
    pub fn i64(&mut self, v: i64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// A length and bytes.
    pub fn bytes(&mut self, v: &[u8]) {
        self.u32(u32::try_from(v.len()).unwrap_or(u32::MAX)); // commits are limited far below
        self.0.extend_from_slice(v);
    }
    /// A flag, and the number if there is one.
    pub fn option(&mut self, v: Option<u64>) {
        self.u8(u8::from(v.is_some()));
        if let Some(v) = v {
            self.u64(v);
        }
    }
}

/// A record that does not follow the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// Reads fields.
pub struct Reader<'a>(pub &'a [u8]);

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        match self.0.split_at_checked(n) {
            Some((head, tail)) => {
                self.0 = tail;
                Ok(head)
            }
            None => Err(Malformed(format!("{n} bytes wanted, {} left", self.0.len()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }
    /// Four bytes.
    pub fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// Eight bytes.
    pub fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }
    /// A length and bytes.
    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let n = self.u32()?;
        self.take(n as usize)
    }
    /// A length and text.
    pub fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|e| Malformed(e.to_string()))
    }
    /// A flag, and the number if there is one.
    pub fn option(&mut self) -> Read<Option<u64>> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(self.u64()?)),
            other => Err(Malformed(format!("flag {other}"))),
        }
    }
}
