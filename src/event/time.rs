//! Time text of Kubernetes: RFC 3339 with any number of fraction digits (`metav1.MicroTime` has six,
//! `metav1.Time` none) to microseconds since the epoch, and back.
//! Written by hand because it runs several times an event; checked against chrono in its tests.

use chrono::{DateTime, SecondsFormat};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Micros {
    /// Parses RFC 3339 text; digits beyond microseconds are cut off. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let t = text.as_bytes();
        if t.len() < 20 || t[4] != b'-' || t[7] != b'-' || t[13] != b':' || t[16] != b':' {
            return None;
        }
        if !matches!(t[10], b'T' | b't' | b' ') {
            return None;
        }
        let (year, month, day) = (number(&t[0..4])?, number(&t[5..7])?, number(&t[8..10])?);
        let (hour, minute, second) = (
            number(&t[11..13])?,
            number(&t[14..16])?,
            number(&t[17..19])?,
        );
        // A leap second (60) counts as the next second, as chrono and Go read it.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_from_civil(year, month, day)?;
        let (fraction, rest) = fraction_micros(&t[19..])?;
        let offset = offset_seconds(rest)?;
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        Some(Self(seconds * MICROS_PER_SECOND + fraction))
    }

    /// Parses text only if [`Micros::to_micro_time`] gives the same text again.
    pub fn parse_exact(text: &str) -> Option<Self> {
        let canonical = text.len() == 27 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
        let parsed = Self::parse(text).filter(|_| canonical)?;
        // Second 60 would come back as second 0 of the next minute.
        (text.as_bytes()[17] != b'6').then_some(parsed)
    }

    /// The text of a `metav1.MicroTime`: `2026-11-20T11:21:03.000000Z`.
    pub fn to_micro_time(self) -> String {
        DateTime::from_timestamp_micros(self.0)
            .map(|t| t.to_rfc3339_opts(SecondsFormat::Micros, true))
            .unwrap_or_default()
    }

    /// Days since the epoch of the UTC day this moment lies in.
    pub fn utc_day(self) -> i32 {
        i32::try_from(self.0.div_euclid(MICROS_PER_SECOND * SECONDS_PER_DAY)).unwrap_or(i32::MAX)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, d| {
        d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0'))
    })
}

/// Days since the epoch of a civil date; `None` if there is no such date.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = *DAYS.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let last = if month == 2 && leap { 29 } else { month_days };
    if day < 1 || day > last {
        return None;
    }
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after_dot) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let digits = after_dot.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let mut micros = number(&after_dot[..digits.min(6)])?;
    for _ in digits..6 {
        micros *= 10;
    }
    Some((micros, &after_dot[digits..]))
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fraction_digits_beyond_microseconds_are_cut() {
        assert_eq!(
            Micros::parse("2024-11-15T21:00:00.154534959Z"),
            Micros::parse("2024-11-15T21:00:00.154534Z")
        );
        assert_eq!(
            Micros::parse("1970-01-01T00:00:00.1Z"),
            Some(Micros(100_000))
        );
    }

    #[test]
    fn offsets_and_edges_of_the_calendar_are_read() {
        assert_eq!(
            Micros::parse("2026-11-20T21:47:00+09:00"),
            Micros::parse("2026-11-20T12:47:00Z")
        );
        assert_eq!(
            Micros::parse("2000-02-29T00:00:00Z").map(Micros::utc_day),
            Some(11_016)
        );
        assert_eq!(
            Micros::parse("2099-12-31T23:59:59.999999Z").map(Micros::utc_day),
            Some(47_481)
        );
        for bad in [
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20",
            "x",
            "2026-11-20T24:00:00Z",
            "2026-11-20T11:00:00.Z",
            "2026-11-20T11:00:00",
        ] {
            assert_eq!(Micros::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_text_that_comes_back_is_exact() {
        assert!(Micros::parse_exact("2026-11-20T11:21:03.000000Z").is_some());
        for other in [
            "2026-11-20T11:21:03Z",
            "2026-11-20T11:21:03.0000000Z",
            "2026-11-20t11:21:03.000000Z",
            "2016-12-31T23:59:60.000000Z",
        ] {
            assert!(Micros::parse_exact(other).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn micro_time_text_comes_back(micros in -62_135_596_800_000_000i64..253_402_300_799_999_999) {
            let text = Micros(micros).to_micro_time();
            prop_assert_eq!(Micros::parse_exact(&text), Some(Micros(micros)));
        }

        #[test]
        fn any_text_gives_no_panic(text in ".{0,40}") {
            let ours = Micros::parse(&text);
            if let Ok(theirs) = DateTime::parse_from_rfc3339(&text) {
                prop_assert_eq!(ours.map(|m| m.0), Some(theirs.timestamp_micros()));
            }
        }
    }
}
