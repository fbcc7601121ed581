//! Hashes of templates, as they appear in names and labels. The label's form is upstream's; the hashed text is not (upstream
//! hashes a dump of Go's memory layout), so hashes differ from those of an upstream control plane, which only costs one
//! comparison: sets are found by comparing templates, never by the hash.

use serde_json::Value;

/// FNV-1a over the value's text with sorted keys, and a count of collisions, as a name's suffix.
pub fn template_hash(template: &Value, collisions: Option<i64>) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    canonical(template, &mut eat);
    if let Some(count) = collisions {
        eat(&count.to_le_bytes());
    }
    safe(&hash.to_string())
}

/// Digits as letters that make no words. Source: `apimachinery/pkg/util/rand:SafeEncodeString`.
fn safe(text: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect()
}

fn canonical(value: &Value, eat: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            eat(b"{");
            for key in keys {
                eat(key.as_bytes());
                eat(b":");
                canonical(&map[key.as_str()], eat);
            }
            eat(b"}");
        }
        Value::Array(items) => {
            eat(b"[");
            for item in items {
                canonical(item, eat);
                eat(b",");
            }
            eat(b"]");
        }
        other => eat(other.to_string().as_bytes()),
    }
}
