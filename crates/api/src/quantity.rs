//! Resource quantities: numbers with a suffix, kept exact, printed in canonical form.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`. A value is `amount × 10^-9` in 128 bits; larger ones keep their text.

use std::cmp::Ordering;

/// Which family of suffixes a quantity is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// n, u, m, k, M, G …
    Decimal,
    /// Ki, Mi …
    Binary,
    /// e3, e6 …
    Exponent,
}

/// A parsed quantity.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;

/// What a text that is no quantity is answered with.
pub const FORMAT_ERROR: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// What a suffix that does not exist is answered with.
pub const SUFFIX_ERROR: &str = "unable to parse quantity's suffix";

impl Quantity {
    /// A whole number.
    pub fn from_int(n: i64) -> Quantity {
        Quantity { nanos: i128::from(n) * NANO, form: Form::Decimal }
    }

    /// Thousandths.
    pub fn from_milli(n: i64) -> Quantity {
        Quantity { nanos: i128::from(n) * 1_000_000, form: Form::Decimal }
    }

    /// A whole number in binary form.
    pub fn from_bytes(n: i64) -> Quantity {
        Quantity { nanos: i128::from(n) * NANO, form: Form::Binary }
    }

    /// Reads a quantity; values finer than a billionth are rounded up, those beyond 128 bits are cut off.
    pub fn parse(text: &str) -> Result<Quantity, &'static str> {
        let body = text.trim_start_matches(['+', '-']);
        let negative = text.starts_with('-');
        if text.len() - body.len() > 1 || body.is_empty() {
            return Err(FORMAT_ERROR);
        }
        let end = body.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, suffix) = body.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(FORMAT_ERROR);
        }
        let (scale, form) = suffix_scale(suffix)?;
        let mut nanos = scaled(whole, fraction, scale);
        if negative {
            nanos = -nanos;
        }
        Ok(Quantity { nanos, form })
    }

    /// The value in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The value rounded up to whole units.
    pub fn value(self) -> i64 {
        clamp(div_up(self.nanos, NANO))
    }

    /// The value rounded up to thousandths.
    pub fn milli(self) -> i64 {
        clamp(div_up(self.nanos, 1_000_000))
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The sum, in this one's form.
    pub fn plus(self, other: Quantity) -> Quantity {
        let form = if self.nanos == 0 { other.form } else { self.form };
        Quantity { nanos: self.nanos.saturating_add(other.nanos), form }
    }

    /// The difference, in this one's form.
    pub fn minus(self, other: Quantity) -> Quantity {
        let form = if self.nanos == 0 { other.form } else { self.form };
        Quantity { nanos: self.nanos.saturating_sub(other.nanos), form }
    }

    /// Compares by value.
    pub fn cmp_value(self, other: Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }

    /// Rounds up to thousandths (as CPU is).
    pub fn round_to_milli(self) -> Quantity {
        Quantity { nanos: div_up(self.nanos, 1_000_000) * 1_000_000, form: self.form }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn suffix_scale(suffix: &str) -> Result<(Scale, Form), &'static str> {
    Ok(match suffix {
        "" => (Scale::Ten(0), Form::Decimal),
        "n" => (Scale::Ten(-9), Form::Decimal),
        "u" => (Scale::Ten(-6), Form::Decimal),
        "m" => (Scale::Ten(-3), Form::Decimal),
        "k" => (Scale::Ten(3), Form::Decimal),
        "M" => (Scale::Ten(6), Form::Decimal),
        "G" => (Scale::Ten(9), Form::Decimal),
        "T" => (Scale::Ten(12), Form::Decimal),
        "P" => (Scale::Ten(15), Form::Decimal),
        "E" => (Scale::Ten(18), Form::Decimal),
        "Ki" => (Scale::Two(10), Form::Binary),
        "Mi" => (Scale::Two(20), Form::Binary),
        "Gi" => (Scale::Two(30), Form::Binary),
        "Ti" => (Scale::Two(40), Form::Binary),
        "Pi" => (Scale::Two(50), Form::Binary),
        "Ei" => (Scale::Two(60), Form::Binary),
        _ => {
            let Some(exponent) = suffix.strip_prefix(['e', 'E']) else {
                let known = suffix.bytes().all(|b| b"eEinumkKMGTP+-0123456789".contains(&b));
                return Err(if known { SUFFIX_ERROR } else { FORMAT_ERROR });
            };
            let n: i32 = exponent.parse().map_err(|_| SUFFIX_ERROR)?;
            (Scale::Ten(n), Form::Exponent)
        }
    })
}

/// `whole.fraction × scale` in billionths, rounded up.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let mut digits: i128 = 0;
    let mut dropped = false;
    let mut places: i32 = 0;
    for (i, b) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if digits > i128::MAX / 1_000_000_000_000_000_000_000 {
            dropped |= b != b'0';
            if i < whole.len() {
                places -= 1;
            }
            continue;
        }
        digits = digits * 10 + i128::from(b - b'0');
        if i >= whole.len() {
            places += 1;
        }
    }
    let (tens, twos) = match scale {
        Scale::Ten(n) => (n, 0),
        Scale::Two(n) => (0, n),
    };
    let exponent = 9 + tens - places;
    let value = digits.saturating_mul(1_i128 << twos);
    if exponent >= 0 {
        let mut v = value;
        for _ in 0..exponent.min(60) {
            v = v.saturating_mul(10);
        }
        return v;
    }
    let mut divisor: i128 = 1;
    for _ in 0..exponent.unsigned_abs().min(38) {
        divisor = divisor.saturating_mul(10);
    }
    div_up(value, divisor) + i128::from(dropped && value % divisor == 0)
}

fn div_up(n: i128, by: i128) -> i128 {
    let q = n / by;
    if n % by > 0 {
        q + 1
    } else if n % by < 0 {
        q - 1
    } else {
        q
    }
}

fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nanos == 0 {
            return out.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.form == Form::Binary && whole && self.nanos.abs() >= 1024 * NANO {
            let mut n = self.nanos / NANO;
            let mut power = 0;
            while n % 1024 == 0 && power < 6 {
                n /= 1024;
                power += 1;
            }
            return write!(out, "{n}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut n, mut exponent) = (self.nanos, -9);
        while n % 1000 == 0 && exponent < 18 {
            n /= 1000;
            exponent += 3;
        }
        if self.form == Form::Exponent {
            return if exponent == 0 { write!(out, "{n}") } else { write!(out, "{n}e{exponent}") };
        }
        let index = usize::try_from((exponent + 9) / 3).unwrap_or(3);
        write!(out, "{n}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][index])
    }
}

/// The canonical text of a quantity, or why it is none.
pub fn canonical(text: &str) -> Result<String, &'static str> {
    // Values beyond 64 bits of whole units keep their digits only as far as 128 bits of billionths reach.
    Quantity::parse(text).map(|q| q.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_upstreams() {
        for (text, want) in [
            ("0.1", "100m"),
            ("1024Ki", "1Mi"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1e3"),
            ("2e0", "2"),
            ("100u", "100u"),
            ("1000m", "1"),
            ("1.5Gi", "1536Mi"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("-1", "-1"),
            ("0", "0"),
            ("0Mi", "0"),
            ("12E", "12E"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("1e-1", "100e-3"),
            ("+2", "2"),
            (".5", "500m"),
            ("1.", "1"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(want), "{text}");
        }
        for bad in ["", "a", "1x", "1.2.3", "--1", "1 ", "1ki"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert_eq!(Quantity::parse("1.0001").map(Quantity::milli), Ok(1001));
    }
}
