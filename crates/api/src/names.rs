//! Field names: those of the type table are numbers ([`Name`]), so that a rule that names one cannot be misspelt and a
//! look-up compares integers; any other key is its text.
//!
//! Invariant: a [`Key`] made from text is `Known` if the text is a name of the table; equality relies on it.

use crate::tables::names::NAMES;
pub use crate::tables::names::f;
use std::fmt;

/// A field name of the type table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub(crate) u16);

impl Name {
    /// The name's text.
    pub fn as_str(self) -> &'static str {
        NAMES[self.0 as usize]
    }

    /// Looks a text up.
    pub fn find(text: &str) -> Option<Name> {
        let mut slot = hash(text.as_bytes()) & MASK;
        loop {
            match SLOTS[slot] {
                EMPTY => return None,
                n if NAMES[n as usize] == text => return Some(Name(n)),
                _ => slot = (slot + 1) & MASK,
            }
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

const SIZE: usize = 4096;
const MASK: usize = SIZE - 1;
const EMPTY: u16 = u16::MAX;

const fn hash(text: &[u8]) -> usize {
    let mut h = 0x811c_9dc5_u32;
    let mut i = 0;
    while i < text.len() {
        h = (h ^ text[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (h ^ (h >> 15)) as usize
}

/// An open-addressed hash table over the names, made by the compiler.
static SLOTS: [u16; SIZE] = {
    let mut slots = [EMPTY; SIZE];
    let mut i = 0;
    while i < NAMES.len() {
        let mut slot = hash(NAMES[i].as_bytes()) & MASK;
        while slots[slot] != EMPTY {
            slot = (slot + 1) & MASK;
        }
        slots[slot] = i as u16;
        i += 1;
    }
    slots
};

/// A key of an object.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A name of the type table.
    Known(Name),
    /// Any other text.
    Other(Box<str>),
}

impl Key {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        match self {
            Key::Known(name) => name.as_str(),
            Key::Other(text) => text,
        }
    }

    /// The name, if it is one of the type table.
    pub fn name(&self) -> Option<Name> {
        match self {
            Key::Known(name) => Some(*name),
            Key::Other(_) => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Name::find(text).map_or_else(|| Key::Other(text.into()), Key::Known)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Name::find(&text).map_or_else(|| Key::Other(text.into()), Key::Known)
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Key {
        text.as_str().into()
    }
}

impl From<Name> for Key {
    fn from(name: Name) -> Key {
        Key::Known(name)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        match (self, other) {
            (Key::Known(a), Key::Known(b)) => a.cmp(b), // the table is sorted by text
            _ => self.as_str().cmp(other.as_str()),
        }
    }
}

/// What a value can be looked up by: a [`Name`] or a text.
pub trait Lookup {
    /// Whether `key` is the one looked for.
    fn is(&self, key: &Key) -> bool;
    /// The key itself.
    fn key(&self) -> Key;
}

impl Lookup for Name {
    fn is(&self, key: &Key) -> bool {
        matches!(key, Key::Known(n) if n == self)
    }
    fn key(&self) -> Key {
        Key::Known(*self)
    }
}

impl Lookup for &str {
    fn is(&self, key: &Key) -> bool {
        key.as_str() == *self
    }
    fn key(&self) -> Key {
        Key::from(*self)
    }
}

impl Lookup for &String {
    fn is(&self, key: &Key) -> bool {
        key.as_str() == self.as_str()
    }
    fn key(&self) -> Key {
        Key::from(self.as_str())
    }
}

impl Lookup for &Key {
    fn is(&self, key: &Key) -> bool {
        *self == key
    }
    fn key(&self) -> Key {
        (*self).clone()
    }
}
