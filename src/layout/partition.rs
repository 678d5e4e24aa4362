//! The partition of a row, and the only maker of partition paths.

use std::{collections::HashMap, fmt};

use chrono::{Days, NaiveDate};

use crate::error::{Error, ErrorKind, Result};

/// A checked cluster name: letters, digits, `.`, `_`, `-`, at most 128 of them, so that it is the
/// same in a path, in a URL and in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks a name.
    ///
    /// # Errors
    /// `Usage` if it holds other characters, is empty or too long.
    pub fn parse(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && name.len() <= 128 && name.chars().all(fits) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::new(
            ErrorKind::Usage,
            format!("cannot use {name:?} as a cluster name"),
        )
        .hint(
            "use letters, digits, '.', '_' and '-', starting with a letter or digit, at most 128",
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The partition of a row (K5): its cluster and its UTC day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Cluster.
    pub cluster: ClusterName,
    /// Days since 1970-01-01.
    pub day: i32,
}

impl Partition {
    /// The day as `2026-11-20`.
    pub fn date_text(&self) -> String {
        date_of_day(self.day).to_string()
    }

    /// The folder of the partition's files: `cluster=aks-prod/date=2026-11-20`.
    pub fn path(&self) -> String {
        format!("cluster={}/date={}", self.cluster, self.date_text())
    }

    /// The values as the Delta log holds them.
    pub fn values(&self) -> HashMap<String, Option<String>> {
        HashMap::from([
            ("cluster".to_owned(), Some(self.cluster.to_string())),
            ("date".to_owned(), Some(self.date_text())),
        ])
    }
}

/// The date of a day number.
pub fn date_of_day(day: i32) -> NaiveDate {
    let epoch = NaiveDate::default();
    let days = Days::new(u64::from(day.unsigned_abs()));
    let date = if day < 0 {
        epoch.checked_sub_days(days)
    } else {
        epoch.checked_add_days(days)
    };
    date.unwrap_or(NaiveDate::MAX)
}
