//! Dates in the names of folders and files, to skip what cannot hold the time that is asked for.
//!
//! They are times of ARRIVAL, by the hour or the day: an event is written after it happened, so what
//! arrived before a time holds nothing of after it; but late data come hours after, so what arrived
//! after a time is skipped only two days on. Azure writes UTC; other tools may write local time.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};

/// Clocks differ, and an hour's folder is begun early.
const SLACK_UTC: TimeDelta = TimeDelta::hours(1);
/// Zones lie between UTC-12 and UTC+14.
const SLACK_LOCAL: TimeDelta = TimeDelta::hours(15);
/// Data may come so late.
const LATE: TimeDelta = TimeDelta::hours(48);

/// The time that is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Nothing of before is needed.
    pub since: Option<DateTime<Utc>>,
    /// Nothing of after is needed.
    pub until: Option<DateTime<Utc>>,
}

impl Window {
    /// True if everything is asked for.
    pub fn is_open(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    /// True if something that arrived in the period may be asked for.
    fn may_hold(&self, period: &Period) -> bool {
        let slack = if period.is_utc {
            SLACK_UTC
        } else {
            SLACK_LOCAL
        };
        let too_old = self.since.is_some_and(|since| period.end + slack <= since);
        let too_new = self
            .until
            .is_some_and(|until| period.start - slack > until + LATE);
        !(too_old || too_new)
    }

    /// True if a file of this name may be asked for; `name` is its last part. The time in a name is
    /// about when the file was closed, and nothing tells when it was begun.
    pub fn may_hold_file(&self, name: &str) -> bool {
        let Some((_, day)) = dated_name(name) else {
            return true;
        };
        let end = day.checked_add_days(Days::new(1)).map(midnight);
        self.since
            .zip(end)
            .is_none_or(|(since, end)| end + SLACK_LOCAL > since)
    }

    /// The first day, as a name would tell it, of which files are needed.
    pub fn first_day(&self) -> Option<NaiveDate> {
        // The last day that `may_hold_file` refuses is before.
        self.since.map(|since| (since - SLACK_LOCAL).date_naive())
    }

    /// True if an object with this key may be asked for.
    pub fn may_hold_key(&self, key: &str) -> bool {
        if self.is_open() {
            return true;
        }
        let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
        FolderDate::of(folders)
            .period()
            .is_none_or(|p| self.may_hold(&p))
            && self.may_hold_file(name)
    }

    /// True if all that is below a folder is asked for.
    pub(crate) fn holds_folder(&self, folder: &str) -> bool {
        FolderDate::of(folder).period().is_some_and(|period| {
            self.since.is_none_or(|since| period.start >= since)
                && self.until.is_none_or(|until| period.end <= until)
        })
    }

    /// True if something below a folder may be asked for.
    pub fn may_hold_folder(&self, folder: &str) -> bool {
        FolderDate::of(folder)
            .period()
            .is_none_or(|p| self.may_hold(&p))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Period {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    is_utc: bool,
}

/// What the folders of a key tell of its date, from year to hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FolderDate {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    hour: Option<u32>,
    is_named: bool,
    /// The year is a number without a name, which is a date only if a month follows.
    is_bare: bool,
}

impl FolderDate {
    /// Reads the folders of a path.
    pub(crate) fn of(folders: &str) -> Self {
        let mut date = Self::default();
        for folder in folders.split('/').filter(|f| !f.is_empty()) {
            date.push(folder);
        }
        date
    }

    /// True if a year is known.
    pub(crate) fn is_dated(&self) -> bool {
        self.year.is_some()
    }

    /// True if a day is known: what is below is small enough to be listed at once.
    pub(crate) fn is_a_day(&self) -> bool {
        self.day.is_some()
    }

    fn push(&mut self, folder: &str) {
        if let Some((name, value)) = folder.split_once('=') {
            if let Some(day) = whole_day(value) {
                *self = Self::default();
                (self.year, self.month, self.day) = (Some(day.0), Some(day.1), Some(day.2));
                return;
            }
            let number = value.parse::<u32>().ok().filter(|_| value.len() <= 4);
            match (name.to_ascii_lowercase().as_str(), number) {
                ("y" | "year", Some(n @ 2000..=2199)) => {
                    *self = Self {
                        year: i32::try_from(n).ok(),
                        is_named: name == "y",
                        ..Self::default()
                    };
                }
                ("m" | "month", Some(n @ 1..=12))
                    if self.year.is_some() && self.month.is_none() =>
                {
                    self.month = Some(n);
                }
                ("d" | "day", Some(n @ 1..=31)) if self.month.is_some() && self.day.is_none() => {
                    self.day = Some(n);
                }
                ("h" | "hour", Some(n @ 0..=23)) if self.day.is_some() && self.hour.is_none() => {
                    self.hour = Some(n);
                }
                _ => {}
            }
        } else if let Some(day) = whole_day(folder) {
            *self = Self::default();
            (self.year, self.month, self.day) = (Some(day.0), Some(day.1), Some(day.2));
        } else if let Some(n) = digits(folder) {
            match (self, folder.len()) {
                (date, 4) if date.year.is_none() && (2000..=2199).contains(&n) => {
                    date.year = i32::try_from(n).ok();
                    date.is_bare = true;
                }
                (
                    Self {
                        year: Some(_),
                        month: month @ None,
                        ..
                    },
                    2,
                ) if (1..=12).contains(&n) => {
                    *month = Some(n);
                }
                (
                    Self {
                        month: Some(_),
                        day: day @ None,
                        ..
                    },
                    2,
                ) if (1..=31).contains(&n) => {
                    *day = Some(n);
                }
                (
                    Self {
                        day: Some(_),
                        hour: hour @ None,
                        ..
                    },
                    2,
                ) if n <= 23 => *hour = Some(n),
                _ => {}
            }
        } else if self.year.is_some() && self.month.is_none() {
            // `2024/reports`: that was no date.
            *self = Self::default();
        }
    }

    fn period(&self) -> Option<Period> {
        let year = self
            .year
            .filter(|_| !self.is_bare || self.month.is_some())?;
        let first = NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?;
        let (start, end) = match (self.month, self.day, self.hour) {
            (None, ..) => (
                midnight(first),
                midnight(first.checked_add_months(Months::new(12))?),
            ),
            (_, None, _) => (
                midnight(first),
                midnight(first.checked_add_months(Months::new(1))?),
            ),
            (_, _, None) => (
                midnight(first),
                midnight(first.checked_add_days(Days::new(1))?),
            ),
            (_, _, Some(hour)) => {
                let start = midnight(first) + TimeDelta::hours(i64::from(hour));
                (start, start + TimeDelta::hours(1))
            }
        };
        Some(Period {
            start,
            end,
            is_utc: self.is_named,
        })
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

fn digits(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// `2026-11-20`, nothing else.
fn whole_day(text: &str) -> Option<(i32, u32, u32)> {
    let (day, rest) = leading_day(text)?;
    use chrono::Datelike as _;
    rest.is_empty()
        .then(|| (day.year(), day.month(), day.day()))
}

/// The day at the beginning of a text, and the rest.
fn leading_day(text: &str) -> Option<(NaiveDate, &str)> {
    let head = text.get(..10)?;
    let bytes = head.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(&head[..4]).filter(|y| (2000..=2199).contains(y))?;
    let day = NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        digits(&head[5..7])?,
        digits(&head[8..])?,
    )?;
    Some((day, &text[10..]))
}

/// `audit-2026-11-20T11-44-19.675.log.gz` is (`audit-`, 20 November).
pub(crate) fn dated_name(name: &str) -> Option<(&str, NaiveDate)> {
    let starts = name.char_indices().filter(|(at, c)| {
        let is_inside = name[..*at].ends_with(|c: char| c.is_ascii_digit());
        *c == '2' && !is_inside
    });
    let mut found = starts.filter_map(|(at, _)| {
        let (day, rest) = leading_day(&name[at..])?;
        (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some((&name[..at], day))
    });
    found.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    #[test]
    fn only_what_cannot_hold_the_window_is_skipped() {
        let window = Window {
            since: at("2026-11-18T10:00:00Z"),
            until: at("2026-11-20T10:00:00Z"),
        };
        for (key, is_needed) in [
            ("r/y=2026/m=11/d=18/h=08/m=00/PT1H.json", false),
            ("r/y=2026/m=11/d=18/h=09/m=00/PT1H.json", true),
            ("r/y=2026/m=11/d=22/h=11/m=00/PT1H.json", true),
            ("r/y=2026/m=11/d=22/h=12/m=00/PT1H.json", false),
            ("r/y=2025/m=11/d=19/h=00/m=00/PT1H.json", false),
            ("aud/2026/11/17/14/stream-1", false),
            ("aud/2026/11/18/00/stream-1", true),
            ("aud/2026/11/17/18/stream-1", false),
            ("aud/2026/11/17/19/stream-1", true),
            ("aud/2026/10/30/18/stream-1", false),
            ("aud/dt=2026-11-16/x", false),
            ("aud/dt=2026-11-17/x", true),
            ("2026-11-16/x.gz", false),
            ("aud/dt=2026-12-01/x", false),
            ("audit-2026-11-16T11-44-19.675.log.gz", false),
            ("audit-2026-11-17T11-44-19.675.log.gz", true),
            ("audit-2026-12-17T11-44-19.675.log.gz", true),
            ("2024/reports/audit.log", true),
            ("audit.log", true),
            ("y=2026/m=13/d=45/x", true),
            ("20241231/x", true),
        ] {
            assert_eq!(window.may_hold_key(key), is_needed, "{key}");
        }
        assert!(Window::default().may_hold_key("y=1/2020/x"));
        assert!(window.may_hold_folder("r/2024") && !window.may_hold_folder("r/2024/05"));
        assert!(!window.may_hold_folder("r/y=2025"));
        assert!(window.may_hold_folder("r/y=2026"));
    }

    #[test]
    fn names_are_read_where_the_date_begins() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        assert_eq!(
            dated_name("audit-2026-11-20T11-44-19.675.log"),
            Some(("audit-", day))
        );
        assert_eq!(
            dated_name("s-1-2026-11-20-11-44-19-uuid"),
            Some(("s-1-", day))
        );
        for name in [
            "audit.log",
            "2026-13-40",
            "12026-11-20",
            "2026-11-201",
            "20é6-11-20",
            "2",
        ] {
            assert_eq!(dated_name(name), None, "{name}");
        }
    }
}
