//! CRI's log format: `<RFC 3339 time> <stdout|stderr> <F|P> <text>\n`, one record a line of output; a line longer than
//! [`MAX_LINE`] is cut into `P` records and an `F` one.
//!
//! Splits a stream of chunks into records. What the process leaves without a newline is written by [`Splitter::finish`].

/// Longest text of one record.
pub const MAX_LINE: usize = 16 * 1024;

/// Turns chunks of one stream into records.
#[derive(Default)]
pub struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// Appends the records that `chunk` completes to `out`. `time` is RFC 3339 with nanoseconds.
    pub fn push(&mut self, time: &str, stream: &str, mut chunk: &[u8], out: &mut Vec<u8>) {
        while !chunk.is_empty() {
            let room = MAX_LINE - self.rest.len();
            match chunk.iter().take(room + 1).position(|b| *b == b'\n') {
                Some(end) => {
                    self.rest.extend_from_slice(&chunk[..end]);
                    chunk = &chunk[end + 1..];
                    self.record(time, stream, b'F', out);
                }
                None if chunk.len() > room => {
                    self.rest.extend_from_slice(&chunk[..room]);
                    chunk = &chunk[room..];
                    self.record(time, stream, b'P', out);
                }
                None => {
                    self.rest.extend_from_slice(chunk);
                    return;
                }
            }
        }
    }

    /// Writes what has no newline yet as a full record: the stream has ended.
    pub fn finish(&mut self, time: &str, stream: &str, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            self.record(time, stream, b'F', out);
        }
    }

    fn record(&mut self, time: &str, stream: &str, tag: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(stream.as_bytes());
        out.extend_from_slice(&[b' ', tag, b' ']);
        out.append(&mut self.rest);
        out.push(b'\n');
    }
}

/// Nanoseconds since the epoch as RFC 3339 in UTC, with nine digits of fraction.
pub fn rfc3339_nanos(unix_nanos: i64) -> String {
    let (seconds, nanos) = (unix_nanos.div_euclid(1_000_000_000), unix_nanos.rem_euclid(1_000_000_000));
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a civil date: years begin in March, so that the leap day is last; an era has 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests;
