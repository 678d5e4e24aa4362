//! Times of entries: the header of klog, which tells neither year nor zone, made whole.

use chrono::{Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

use crate::event::{component::TimeSource, time::Micros};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const QUARTER: i64 = 15 * 60 * SECOND;

/// A line may be taken by its wrapper this much later than it was written and still tell the zone.
const DELAY_MAX: i64 = 60 * SECOND;

/// Zones lie at most this far from UTC.
const ZONE_MAX: i64 = 14 * 3600 * SECOND;

/// What the file tells counts more than its modification time if they lie this far apart.
const CONTRADICTION: i64 = 3 * DAY;

/// Month, day and time of day of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) month: u8,
    pub(super) day: u8,
    /// Microseconds since midnight.
    pub(super) micros: i64,
}

impl Stamp {
    /// Reads `mmdd hh:mm:ss.uuuuuu`, 20 bytes.
    pub(super) fn parse(t: &[u8]) -> Option<Self> {
        let t: &[u8; 20] = t.get(..20)?.try_into().ok()?;
        if t[4] != b' ' || t[7] != b':' || t[10] != b':' || t[13] != b'.' {
            return None;
        }
        let two = |i: usize| {
            let (a, b) = (t[i].wrapping_sub(b'0'), t[i + 1].wrapping_sub(b'0'));
            (a < 10 && b < 10).then(|| a * 10 + b)
        };
        let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(5)?, two(8)?, two(11)?);
        let plausible = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !plausible || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let fraction =
            i64::from(two(14)?) * 10_000 + i64::from(two(16)?) * 100 + i64::from(two(18)?);
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Self {
            month,
            day,
            micros: seconds * SECOND + fraction,
        })
    }
}

/// Makes stamps whole.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) zone: Tz,
    pub(super) object_time: Option<Micros>,
    /// A whole time that the file itself told.
    pub(super) evidence: Option<Micros>,
    /// Offset of the zone in the hour that was asked for last.
    cached: Option<(i64, i64)>,
}

impl Clock {
    pub(super) fn new(zone: Tz, object_time: Option<Micros>, evidence: Option<Micros>) -> Self {
        Self {
            zone,
            object_time,
            evidence,
            cached: None,
        }
    }

    /// The moment that a stamp means.
    pub(super) fn resolve(
        &mut self,
        stamp: Stamp,
        wrapper: Option<Micros>,
    ) -> (Micros, TimeSource) {
        if let Some(wrapper) = wrapper {
            return self
                .closest(stamp, wrapper)
                .map_or((wrapper, TimeSource::Wrapper), |t| {
                    (without_zone(t, wrapper), TimeSource::EntryAndWrapper)
                });
        }
        let latest = self.latest(stamp);
        let time = match self.evidence.and_then(|e| self.closest(stamp, e)) {
            Some(told) if latest.is_none_or(|l| (l.0 - told.0).abs() > CONTRADICTION) => Some(told),
            _ => latest,
        };
        let time = time.or(self.object_time).unwrap_or_default();
        (time, TimeSource::EntryAndObject)
    }

    /// The moment of local time.
    pub(super) fn local(&mut self, local: i64) -> Micros {
        if self.zone == Tz::UTC {
            return Micros(local);
        }
        let hour = local.div_euclid(3600 * SECOND);
        if let Some((cached, offset)) = self.cached
            && cached == hour
        {
            return Micros(local - offset);
        }
        let offset = chrono::DateTime::from_timestamp_micros(local).map_or(0, |t| {
            let naive = t.naive_utc();
            let offset = match self.zone.offset_from_local_datetime(&naive) {
                chrono::LocalResult::Single(o) | chrono::LocalResult::Ambiguous(o, _) => o.fix(),
                // In the hour that summer time skips.
                chrono::LocalResult::None => self.zone.offset_from_utc_datetime(&naive).fix(),
            };
            i64::from(offset.local_minus_utc()) * SECOND
        });
        // Zones may change within an hour by local law, not within a quarter of it.
        if local.rem_euclid(3600 * SECOND) != 0 {
            self.cached = Some((hour, offset));
        }
        Micros(local - offset)
    }

    fn in_year(&mut self, stamp: Stamp, year: i32) -> Option<Micros> {
        let date = NaiveDate::from_ymd_opt(year, stamp.month.into(), stamp.day.into())?;
        let days = i64::from(date.num_days_from_ce()) - 719_163;
        Some(self.local(days * DAY + stamp.micros))
    }

    /// The year in which the stamp lies closest to a moment; 29 February may be years off.
    fn closest(&mut self, stamp: Stamp, moment: Micros) -> Option<Micros> {
        let year = year_of(moment);
        let near = (year - 1..=year + 1)
            .filter_map(|y| self.in_year(stamp, y))
            .min_by_key(|t| (t.0 - moment.0).abs());
        near.or_else(|| {
            (year - 8..=year + 8)
                .filter_map(|y| self.in_year(stamp, y))
                .min_by_key(|t| (t.0 - moment.0).abs())
        })
    }

    /// The latest year in which the stamp is not later than the object, give or take a day.
    /// Without a time of the object that is the year 1970, or 1972 for 29 February: visibly wrong.
    fn latest(&mut self, stamp: Stamp) -> Option<Micros> {
        let Some(object) = self.object_time else {
            return match self.evidence {
                Some(_) => None,
                None => self
                    .in_year(stamp, 1970)
                    .or_else(|| self.in_year(stamp, 1972)),
            };
        };
        let year = year_of(object) + 1;
        (year - 9..=year)
            .rev()
            .filter_map(|y| self.in_year(stamp, y))
            .find(|t| t.0 <= object.0 + DAY)
    }
}

fn year_of(time: Micros) -> i32 {
    chrono::DateTime::from_timestamp_micros(time.0).map_or(1970, |t| t.year())
}

/// Takes off the zone if the wrapper's time tells one: both differ by quarters of an hour.
fn without_zone(time: Micros, wrapper: Micros) -> Micros {
    let ahead = time.0 - wrapper.0;
    let offset = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    // The wrapper takes a line after it was written; clocks may differ by little.
    let delay = offset - ahead;
    if offset != 0 && offset.abs() <= ZONE_MAX && (-2 * SECOND..=DELAY_MAX).contains(&delay) {
        Micros(time.0 - offset)
    } else {
        time
    }
}

/// A number of seconds or milliseconds since the epoch as decimal text, to microseconds: from 1e11
/// on it counts milliseconds (1e11 s is the year 5138), from 1e14 on microseconds, from 1e17 on
/// nanoseconds.
pub(super) fn parse_epoch(text: &str) -> Option<Micros> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.strip_prefix('+').unwrap_or(e).parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty()
        || whole.len() + fraction.len() > 30
        || !digits().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let scale = i32::try_from(fraction.len()).ok()? - exponent;
    if !(-30..=30).contains(&scale) {
        return None;
    }
    let number = digits().fold(0_u128, |n, b| n * 10 + u128::from(b - b'0'));
    let scaled = |shift: i32| {
        let shift = shift - scale;
        let factor = 10_u128.checked_pow(shift.unsigned_abs())?;
        if shift >= 0 {
            number.checked_mul(factor)
        } else {
            Some(number / factor)
        }
    };
    let shift = match scaled(0)? {
        0..100_000_000_000 => 6,
        100_000_000_000..100_000_000_000_000 => 3,
        100_000_000_000_000..100_000_000_000_000_000 => 0,
        _ => -3,
    };
    i64::try_from(scaled(shift)?).ok().map(Micros)
}

/// Reads the time that begins a line of some other program: RFC 3339, or `2006/01/02 15:04:05` and
/// `2006-01-02 15:04:05.000` without a zone. The second value is the local time where there is none.
pub(super) enum Dated {
    /// A moment.
    Whole(Micros),
    /// Local time, microseconds.
    Local(i64),
}

/// The time at the beginning of a line, and its length.
pub(super) fn dated(line: &[u8]) -> Option<(Dated, usize)> {
    let t = line.get(..19)?;
    let shape = |i: usize, set: &[u8]| set.contains(&t[i]);
    if !(t[0].is_ascii_digit() && shape(4, b"-/") && t[7] == t[4] && shape(10, b"T ")) {
        return None;
    }
    let fraction = line[19..].iter().take(36);
    let mut length = 19;
    for (i, byte) in fraction.enumerate() {
        match byte {
            b'.' | b',' if i == 0 => length += 1,
            b'0'..=b'9' if i > 0 && line[19] != b' ' => length += 1,
            _ => break,
        }
    }
    let end = match line.get(length) {
        Some(b'Z') => length + 1,
        Some(b'+' | b'-') if t[10] == b'T' => length + 6,
        _ => length,
    };
    let text = std::str::from_utf8(line.get(..end)?).ok()?;
    let text = text.replace(',', ".").replace('/', "-");
    if !matches!(line.get(end), None | Some(b' ' | b'\t' | b'\r' | b']')) {
        return None;
    }
    if end > length {
        return Some((Dated::Whole(Micros::parse(&text)?), end));
    }
    Some((Dated::Local(Micros::parse(&format!("{text}Z"))?.0), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    fn stamp(text: &str) -> Stamp {
        Stamp::parse(text.as_bytes()).unwrap()
    }

    fn object(time: &str) -> Clock {
        Clock::new(Tz::UTC, Some(at(time)), None)
    }

    #[test]
    fn the_year_comes_from_the_object() {
        let mut clock = object("2027-01-05T00:00:00Z");
        let mut year = |text: &str| clock.resolve(stamp(text), None);
        let source = TimeSource::EntryAndObject;
        assert_eq!(
            year("1231 23:59:59.999999"),
            (at("2026-12-31T23:59:59.999999Z"), source)
        );
        assert_eq!(
            year("0101 00:00:00.000001"),
            (at("2027-01-01T00:00:00.000001Z"), source)
        );
        assert_eq!(year("0105 23:00:00.000000").0, at("2027-01-05T23:00:00Z"));
        assert_eq!(year("0107 00:00:00.000000").0, at("2026-01-07T00:00:00Z"));
        assert_eq!(year("0229 00:00:00.000000").0, at("2024-02-29T00:00:00Z"));
        for (moment, want) in [
            ("2000-01-01T00:00:05Z", "1999-12-31T23:59:58Z"),
            ("2099-12-31T23:59:59Z", "2099-12-31T23:59:58Z"),
            ("2100-01-01T00:00:00Z", "2099-12-31T23:59:58Z"),
        ] {
            let time = object(moment)
                .resolve(stamp("1231 23:59:58.000000"), None)
                .0;
            assert_eq!(time, at(want));
        }
        let feb = stamp("0229 10:00:00.000000");
        assert_eq!(
            object("2000-03-01T00:00:00Z").resolve(feb, None).0,
            at("2000-02-29T10:00:00Z")
        );
        assert_eq!(
            object("2103-03-01T00:00:00Z").resolve(feb, None).0,
            at("2096-02-29T10:00:00Z")
        );
        assert_eq!(
            Clock::new(Tz::UTC, None, None).resolve(feb, None).0,
            at("1972-02-29T10:00:00Z")
        );
    }

    #[test]
    fn what_the_file_tells_counts_more_than_its_modification() {
        let mut clock = object("2026-11-20T00:00:00Z");
        clock.evidence = Some(at("2019-12-31T23:00:00Z"));
        assert_eq!(
            clock.resolve(stamp("0101 00:00:01.000000"), None).0,
            at("2020-01-01T00:00:01Z")
        );
        assert_eq!(
            clock.resolve(stamp("1231 00:00:01.000000"), None).0,
            at("2019-12-31T00:00:01Z")
        );
        clock.evidence = Some(at("2026-11-18T00:00:00Z"));
        assert_eq!(
            clock.resolve(stamp("1119 00:00:01.000000"), None).0,
            at("2026-11-19T00:00:01Z")
        );
    }

    #[test]
    fn the_wrapper_tells_year_and_zone() {
        let mut clock = object("2001-01-01T00:00:00Z");
        let mut wrapped = |text: &str, w: &str| clock.resolve(stamp(text), Some(at(w))).0;
        assert_eq!(
            wrapped("1231 23:59:59.500000", "2027-01-01T00:00:00Z"),
            at("2026-12-31T23:59:59.5Z")
        );
        // UTC+05:30, on the next day already; UTC-8.
        assert_eq!(
            wrapped("0101 01:30:00.000001", "2026-12-31T20:00:00.2Z"),
            at("2026-12-31T20:00:00.000001Z")
        );
        assert_eq!(
            wrapped("1120 03:00:00.000000", "2026-11-20T11:00:01Z"),
            at("2026-11-20T11:00:00Z")
        );
        // Late by seven minutes: no zone.
        assert_eq!(
            wrapped("1120 10:53:00.000000", "2026-11-20T11:00:00Z"),
            at("2026-11-20T10:53:00Z")
        );
    }

    #[test]
    fn a_zone_that_is_set_counts() {
        let mut clock = Clock::new(
            chrono_tz::Europe::Berlin,
            Some(at("2026-12-01T00:00:00Z")),
            None,
        );
        let mut time = |text: &str| clock.resolve(stamp(text), None).0;
        assert_eq!(time("1120 12:00:00.000000"), at("2026-11-20T11:00:00Z"));
        assert_eq!(time("0720 12:00:00.000000"), at("2026-07-20T10:00:00Z"));
        assert_eq!(time("0329 02:30:00.000000"), at("2026-03-29T00:30:00Z"));
    }

    #[test]
    fn epochs_are_told_by_magnitude_and_keep_microseconds() {
        assert_eq!(
            parse_epoch("1795174978950.7725"),
            Some(Micros(1_795_174_978_950_772))
        );
        assert_eq!(
            parse_epoch("1795174978950"),
            Some(Micros(1_795_174_978_950_000))
        );
        assert_eq!(
            parse_epoch("1580306777.04728"),
            Some(Micros(1_580_306_777_047_280))
        );
        assert_eq!(
            parse_epoch("1.58030677704728e+09"),
            Some(Micros(1_580_306_777_047_280))
        );
        assert_eq!(
            parse_epoch("1795174978950772123"),
            Some(Micros(1_795_174_978_950_772))
        );
        for bad in ["", "-1", "x", "1e999", ".5", "1.2.3"] {
            assert_eq!(parse_epoch(bad), None, "{bad}");
        }
    }

    #[test]
    fn dated_lines_are_read() {
        let time = |line: &str| match dated(line.as_bytes()) {
            Some((Dated::Whole(t), n)) => Some((t, n)),
            Some((Dated::Local(t), n)) => Some((Micros(t), n)),
            None => None,
        };
        let t = at("2026-11-20T11:00:00.5Z");
        assert_eq!(time("2026-11-20T11:00:00.5Z\tINFO\tx"), Some((t, 22)));
        assert_eq!(time("2026-11-20T11:00:00.5+00:00 x"), Some((t, 27)));
        assert_eq!(time("2026-11-20 11:00:00.500 I | etcdmain"), Some((t, 23)));
        assert_eq!(
            time("2026/11/20 11:00:00 http: x"),
            Some((at("2026-11-20T11:00:00Z"), 19))
        );
        for bad in [
            "2026-11-20",
            "2026-13-20T11:00:00Z x",
            "2026-11-20T11:00:00Zx",
            "\u{e9}026-11-20 11:00:00 x",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
