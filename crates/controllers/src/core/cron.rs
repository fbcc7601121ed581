//! Schedules: five fields or a descriptor, in UTC, and the next time after a given one.
//! Source of the rules: `github.com/robfig/cron/v3` as `ParseStandard` reads it.

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY: i64 = 86_400;
/// A schedule that has no time in so many years has none.
const YEARS_AHEAD: i64 = 5;

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the times that match.
    Fields(Fields),
    /// Every so many seconds.
    Every(i64),
}

/// Allowed values as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the field of days, or of weekdays, is `*`: then both must match, else one of them.
    any_day: bool,
}

struct Bounds {
    least: u64,
    most: u64,
    names: &'static [&'static str],
}

const fn bounds(least: u64, most: u64, names: &'static [&'static str]) -> Bounds {
    Bounds { least, most, names }
}

/// Reads a schedule.
pub fn parse(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    if let Some(every) = text.strip_prefix("@every ") {
        let nanos = api::time::parse_duration(every.trim())
            .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {every:?}"))?;
        return Ok(Schedule::Every((nanos / 1_000_000_000).max(1)));
    }
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        "" => return Err("empty spec string".into()),
        other if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
        other => other,
    };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    let (days, any) = field(days, &bounds(1, 31, &[]))?;
    let (weekdays, any_weekday) = field(weekdays, &bounds(0, 6, DAYS))?;
    Ok(Schedule::Fields(Fields {
        minutes: field(minutes, &bounds(0, 59, &[]))?.0,
        hours: field(hours, &bounds(0, 23, &[]))?.0,
        days,
        months: field(months, &bounds(1, 12, MONTHS))?.0,
        weekdays,
        any_day: any || any_weekday,
    }))
}

/// A field's bits, and whether it has a plain `*` in it.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let (mut bits, mut any) = (0, false);
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (more, star) = range(part, bounds)?;
        (bits, any) = (bits | more, any | star);
    }
    Ok((bits, any))
}

fn range(text: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
    let (low, high) = span.split_once('-').map_or((span, None), |(low, high)| (low, Some(high)));
    let star = matches!(low, "*" | "?");
    let (start, mut end) = if star {
        (bounds.least, bounds.most)
    } else {
        let start = value(low, bounds)?;
        (start, high.map_or(Ok(start), |high| value(high, bounds))?)
    };
    let step = match step {
        None => 1,
        Some(step) => {
            if !star && high.is_none() {
                end = bounds.most; // `N/step` means from N on
            }
            step.parse().map_err(|_| format!("failed to parse int from {step}"))?
        }
    };
    let out_of_range =
        |n: u64, how: &str, limit: u64, what: &str| format!("{what} of range ({n}) {how} ({limit}): {text}");
    if start < bounds.least {
        return Err(out_of_range(start, "below minimum", bounds.least, "beginning"));
    }
    if end > bounds.most {
        return Err(out_of_range(end, "above maximum", bounds.most, "end"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (start..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).fold(0, |bits, n| bits | 1 << n);
    Ok((bits, star && step == 1))
}

fn value(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let named = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match named {
        Some(at) => Ok(at as u64 + bounds.least),
        None => text.parse().map_err(|_| format!("failed to parse int from {text}: invalid syntax")),
    }
}

impl Schedule {
    /// The first time after `after` (both in seconds since 1970), if there is one within five years.
    pub fn next(&self, after: i64) -> Option<i64> {
        match self {
            Schedule::Every(seconds) => Some(after + seconds),
            Schedule::Fields(fields) => fields.next(after),
        }
    }
}

impl Fields {
    fn next(&self, after: i64) -> Option<i64> {
        let start = after.div_euclid(60) * 60 + 60;
        let first = start.div_euclid(DAY);
        let mut second = start.rem_euclid(DAY);
        for day in first..first + YEARS_AHEAD * 366 {
            if self.day(day) {
                let mut minutes = second.div_euclid(60)..24 * 60;
                if let Some(minute) = minutes.find(|m| has(self.hours, m / 60) && has(self.minutes, m % 60)) {
                    return Some(day * DAY + minute * 60);
                }
            }
            second = 0;
        }
        None
    }

    fn day(&self, day: i64) -> bool {
        let (month, of_month) = month_and_day(day);
        if !has(self.months, month) {
            return false;
        }
        let weekday = has(self.weekdays, (day + 4).rem_euclid(7)); // 1970 began on a Thursday
        let of_month = has(self.days, of_month);
        if self.any_day { of_month && weekday } else { of_month || weekday }
    }
}

fn has(bits: u64, n: i64) -> bool {
    bits >> n & 1 == 1
}

/// Month and day of the month of a day since 1970, by counting in years that begin in March.
fn month_and_day(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (if month < 10 { month + 3 } else { month - 9 }, of_year - (153 * month + 2) / 5 + 1)
}
