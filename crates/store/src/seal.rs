//! Encryption at rest: the [`Seal`] the engine is given, and AES-256-GCM.
//!
//! The additional data is the store's key, so that a sealed value cannot be moved to another object. Keys come from the
//! caller (they live outside the data directory); this file neither makes nor keeps files.

use bytes::Bytes;
use ring::aead;
use std::fmt;

/// An encrypted value and the name of the key that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The key's id.
    pub key_id: u32,
    /// Nonce, cipher text, tag.
    pub bytes: Bytes,
}

/// Why sealing or unsealing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealError(pub String);

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SealError {}

/// Encrypts values before they reach the disk.
pub trait Seal: Send + Sync + 'static {
    /// Encrypts with the newest key.
    fn seal(&self, key: &str, plain: &[u8]) -> Result<Sealed, SealError>;
    /// Decrypts with the key that `sealed` names.
    fn unseal(&self, key: &str, sealed: &Sealed) -> Result<Bytes, SealError>;
}

const NONCE_BYTES: usize = 12;

/// AES-256-GCM with random nonces and any number of keys; the first seals.
pub struct AesGcm {
    keys: Vec<(u32, aead::LessSafeKey)>,
}

impl AesGcm {
    /// From (id, key) pairs: the first is used for writing, all for reading.
    pub fn new(keys: &[(u32, [u8; 32])]) -> Result<AesGcm, SealError> {
        if keys.is_empty() {
            return Err(SealError("no encryption key was given".into()));
        }
        let mut made = Vec::with_capacity(keys.len());
        for (id, key) in keys {
            let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, key)
                .map_err(|_| SealError(format!("encryption key {id} was refused")))?;
            made.push((*id, aead::LessSafeKey::new(unbound)));
        }
        Ok(AesGcm { keys: made })
    }
}

impl Seal for AesGcm {
    fn seal(&self, key: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        let (key_id, cipher) = &self.keys[0];
        let mut nonce = [0_u8; NONCE_BYTES];
        platform::rng::secret(&mut nonce);
        let mut out = Vec::with_capacity(NONCE_BYTES + plain.len() + aead::AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = cipher
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(key),
                &mut out[NONCE_BYTES..],
            )
            .map_err(|_| SealError(format!("{key}: encryption failed")))?;
        out.extend_from_slice(tag.as_ref());
        Ok(Sealed { key_id: *key_id, bytes: out.into() })
    }

    fn unseal(&self, key: &str, sealed: &Sealed) -> Result<Bytes, SealError> {
        let cipher =
            self.keys.iter().find(|(id, _)| *id == sealed.key_id).map(|(_, cipher)| cipher).ok_or_else(|| {
                SealError(format!(
                    "{key} is encrypted with key {}, which was not given; add that key for reading",
                    sealed.key_id
                ))
            })?;
        let (nonce, text) = sealed
            .bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(|| SealError(format!("{key}: the encrypted value is too short")))?;
        let mut text = text.to_vec();
        let plain = cipher
            .open_in_place(aead::Nonce::assume_unique_for_key(*nonce), aead::Aad::from(key), &mut text)
            .map_err(|_| SealError(format!("{key}: the encrypted value does not open with key {}", sealed.key_id)))?
            .len();
        text.truncate(plain);
        Ok(text.into())
    }
}
