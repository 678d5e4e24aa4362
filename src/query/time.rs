//! Times and spans as people type them. In: text, the zone in which times without an offset are
//! read, and the present. Out: an instant in UTC. A local time that a clock change skips or repeats
//! is refused with the instants it could mean, never guessed.

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::error::{Error, ErrorKind, Result};

/// Reads times as typed.
#[derive(Debug, Clone, Copy)]
pub struct TimeReader {
    /// Zone of times without an offset.
    pub zone: Tz,
    /// The present, from which relative times count.
    pub now: DateTime<Utc>,
}

/// The forms of a time, for messages and help.
pub const TIME_FORMS: &str =
    "2026-11-20T11:21:00Z, 2026-11-20, '2026-11-20 11:21', 11:21 (today), or 30d, 12h, 15m, 2w ago";

impl TimeReader {
    /// The instant that `text` means.
    ///
    /// # Errors
    /// `Usage` when it is no time, or a local time that does not exist or exists twice.
    pub fn parse(&self, text: &str) -> Result<DateTime<Utc>> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Ok(self.now);
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.with_timezone(&Utc));
        }
        if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
            return Ok(time.with_timezone(&Utc));
        }
        if let Some(utc) = text.strip_suffix(['Z', 'z'])
            && let Some(naive) = naive_time(utc)
        {
            return Ok(naive.and_utc());
        }
        if let Some(naive) = naive_time(text) {
            return self.local(text, naive);
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return self.start_of(date);
        }
        for form in ["%H:%M", "%H:%M:%S"] {
            if let Ok(time) = NaiveTime::parse_from_str(text, form) {
                let today = self.now.with_timezone(&self.zone).date_naive();
                return self.local(text, today.and_time(time));
            }
        }
        if let Some(span) = span(text) {
            return self
                .now
                .checked_sub_signed(span)
                .ok_or_else(|| not_a_time(text));
        }
        Err(not_a_time(text))
    }

    /// The first instant of a day: midnight, or the first moment after a clock change that skips it.
    fn start_of(&self, date: NaiveDate) -> Result<DateTime<Utc>> {
        for minutes in (0..=180).step_by(15) {
            let naive = date.and_time(NaiveTime::MIN) + Duration::minutes(minutes);
            if let Some(time) = self.zone.from_local_datetime(&naive).earliest() {
                return Ok(time.with_timezone(&Utc));
            }
        }
        Err(not_a_time(&date.to_string()))
    }

    fn local(&self, text: &str, naive: NaiveDateTime) -> Result<DateTime<Utc>> {
        match self.zone.from_local_datetime(&naive) {
            LocalResult::Single(time) => Ok(time.with_timezone(&Utc)),
            LocalResult::Ambiguous(first, second) => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the time {text} came twice in {}: clocks were set back",
                    self.zone
                ),
            )
            .hint(format!(
                "write {} or {}",
                first.to_rfc3339(),
                second.to_rfc3339()
            ))),
            LocalResult::None => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the time {text} did not exist in {}: clocks were set forward",
                    self.zone
                ),
            )
            .hint("write a time with its offset, such as 2026-03-29T01:30:00Z")),
        }
    }
}

fn naive_time(text: &str) -> Option<NaiveDateTime> {
    [
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%dT%H:%M:%S%.f",
    ]
    .iter()
    .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

fn not_a_time(text: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("'{text}' is not a time"))
        .hint(format!("times look like {TIME_FORMS}"))
}

/// A span such as `15m`, `1h30m`, `2w`, `90s`, `250ms`.
///
/// # Errors
/// `Usage` when it is no span.
pub fn parse_duration(text: &str) -> Result<Duration> {
    span(text.trim()).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("'{text}' is not a duration"))
            .hint("durations look like 30s, 15m, 1h30m, 12h, 30d, 2w")
    })
}

fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::zero();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| digits + at);
        let part = match &rest[digits..unit_end] {
            "ms" => Duration::try_milliseconds(count),
            "s" => Duration::try_seconds(count),
            "m" | "min" => Duration::try_minutes(count),
            "h" => Duration::try_hours(count),
            "d" => Duration::try_days(count),
            "w" => Duration::try_weeks(count),
            _ => None,
        }?;
        sum = sum.checked_add(&part)?;
        rest = &rest[unit_end..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(zone: Tz) -> TimeReader {
        let now = DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").unwrap();
        TimeReader {
            zone,
            now: now.with_timezone(&Utc),
        }
    }

    fn parsed(zone: Tz, text: &str) -> String {
        reader(zone)
            .parse(text)
            .unwrap()
            .format("%Y-%m-%dT%H:%M:%S%.fZ")
            .to_string()
    }

    #[test]
    fn every_form_of_a_time_is_read_in_the_zone() {
        let tokyo = chrono_tz::Asia::Tokyo;
        for (text, utc) in [
            ("2026-11-20T21:47:00+09:00", "2026-11-20T12:47:00Z"),
            ("2026-11-20 21:47", "2026-11-20T12:47:00Z"),
            ("2026-11-20 21:47:30.5", "2026-11-20T12:47:30.500Z"),
            ("2026-11-20T21:47", "2026-11-20T12:47:00Z"),
            ("2026-11-20T12:47Z", "2026-11-20T12:47:00Z"),
            ("2026-11-20 12:47:00Z", "2026-11-20T12:47:00Z"),
            ("2026-11-20", "2026-11-19T15:00:00Z"),
            ("20:00", "2026-11-20T11:00:00Z"),
            ("30d", "2026-10-21T12:00:00Z"),
            ("1h30m", "2026-11-20T10:30:00Z"),
            ("2w", "2026-11-06T12:00:00Z"),
            ("now", "2026-11-20T12:00:00Z"),
        ] {
            assert_eq!(parsed(tokyo, text), utc, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for text in [
            "",
            "yesterday",
            "12x",
            "d",
            "2026-13-01",
            "25:00",
            "1",
            "99999999999999d",
        ] {
            let e = reader(Tz::UTC).parse(text).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage, "{text}");
            assert!(e.hint_text().unwrap().contains("30d"));
        }
    }

    #[test]
    fn skipped_and_repeated_local_times_are_refused() {
        let berlin = chrono_tz::Europe::Berlin;
        let skipped = reader(berlin).parse("2026-03-29 02:30").unwrap_err();
        assert!(skipped.to_string().contains("did not exist"));
        let repeated = reader(berlin).parse("2026-10-25 02:30").unwrap_err();
        assert!(repeated.to_string().contains("came twice"));
        assert!(
            repeated
                .hint_text()
                .unwrap()
                .contains("2026-10-25T02:30:00+02:00")
        );
        assert_eq!(parsed(berlin, "2026-10-25 03:30"), "2026-10-25T02:30:00Z");
        // Midnight of this day does not exist in Cairo: the day starts at one o'clock.
        assert_eq!(
            parsed(chrono_tz::Africa::Cairo, "2026-04-24"),
            "2026-04-23T22:00:00Z"
        );
    }
}
