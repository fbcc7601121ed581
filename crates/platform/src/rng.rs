//! Randomness: SplitMix64, seeded once per process and split by component name.
//!
//! Not for secrets: keys and tokens come from `ring`'s system generator ([`secret`]).

/// A small deterministic generator.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    pub fn from_seed(seed: u64) -> Rng {
        Rng { seed, state: seed }
    }

    /// A generator seeded by the operating system.
    pub fn from_system() -> Rng {
        let mut seed = [0_u8; 8];
        secret(&mut seed);
        Rng::from_seed(u64::from_le_bytes(seed))
    }

    /// A generator for the part called `name`; depends on the seed and the name only, not on what was drawn before.
    pub fn split(&self, name: &str) -> Rng {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.seed;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Rng::from_seed(hash)
    }

    /// The next 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.u64() % n }
    }

    /// True with a probability of `percent` in 100.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// `n` characters of the alphabet that Kubernetes uses in generated names (no vowels, no look-alikes).
    /// Source: `k8s.io/apimachinery/pkg/util/rand`.
    pub fn name_suffix(&mut self, n: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..n).map(|_| char::from(ALPHABET[self.below(ALPHABET.len() as u64) as usize])).collect()
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> String {
        let hi = (self.u64() & 0xffff_ffff_ffff_0fff) | 0x4000;
        let lo = (self.u64() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            hi >> 32,
            (hi >> 16) & 0xffff,
            hi & 0xffff,
            lo >> 48,
            lo & 0xffff_ffff_ffff
        )
    }
}

/// Fills `out` with random bytes fit for keys.
pub fn secret(out: &mut [u8]) {
    use ring::rand::SecureRandom;
    if ring::rand::SystemRandom::new().fill(out).is_err() {
        // The kernel's generator cannot fail once booted; going on with predictable keys would be worse than stopping.
        panic!("the operating system gave no random bytes");
    }
}
