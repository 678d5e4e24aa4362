//! What `SET` and `SHOW` know: the parameters that clients of PostgreSQL send and ask for, for one
//! connection. Nothing here changes how the engine works but the time zone and the time for a statement,
//! which can only get shorter than what the operator allows.

use std::collections::BTreeMap;
use std::time::Duration;

use pgwire::error::ErrorInfo;
use pgwire::types::format::FormatOptions;

use super::failure::refused;
use crate::serve::desk::Wishes;

/// Name, value at the start, and whether a client may set it.
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("array_nulls", "on", true),
    ("bytea_output", "hex", true),
    ("check_function_bodies", "on", true),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", true),
    ("datestyle", "ISO, MDY", true),
    ("default_transaction_deferrable", "off", true),
    ("default_transaction_isolation", "read committed", true),
    ("default_transaction_read_only", "on", true),
    ("enable_hashjoin", "on", true),
    ("enable_mergejoin", "on", true),
    ("enable_nestloop", "on", true),
    ("enable_seqscan", "on", true),
    ("escape_string_warning", "on", true),
    ("extra_float_digits", "1", true),
    ("geqo", "on", true),
    ("idle_in_transaction_session_timeout", "0", true),
    ("idle_session_timeout", "0", true),
    ("in_hot_standby", "off", false),
    ("integer_datetimes", "on", false),
    ("intervalstyle", "postgres", true),
    ("is_superuser", "off", false),
    ("jit", "off", true),
    ("lc_collate", "C", false),
    ("lc_ctype", "C", false),
    ("lc_messages", "C", true),
    ("lock_timeout", "0", true),
    ("max_identifier_length", "63", false),
    ("max_index_keys", "32", false),
    ("max_parallel_workers_per_gather", "0", true),
    ("plan_cache_mode", "auto", true),
    ("role", "none", false),
    ("row_security", "on", true),
    ("search_path", "public", true),
    ("server_encoding", "UTF8", false),
    ("server_version", super::SERVER_VERSION, false),
    ("server_version_num", super::SERVER_VERSION_NUM, false),
    ("session_authorization", "", false),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", true),
    ("synchronize_seqscans", "on", true),
    ("synchronous_commit", "off", true),
    ("tcp_keepalives_idle", "0", true),
    ("timezone", "UTC", true),
    ("transaction_deferrable", "off", true),
    ("transaction_isolation", "read committed", true),
    ("transaction_read_only", "on", true),
    ("work_mem", "4MB", true),
    ("xmloption", "content", true),
];

/// What the server tells without being asked, with its name in the case clients expect.
const REPORTED: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    (
        "default_transaction_read_only",
        "default_transaction_read_only",
    ),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("search_path", "search_path"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("session_authorization", "session_authorization"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

const VALUE_BYTES_MAX: usize = 1024;

/// The parameters of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    user: String,
    /// What the client asked for when it came; `RESET` goes back to it.
    start: BTreeMap<&'static str, String>,
    session: BTreeMap<&'static str, String>,
    /// Until the end of the transaction.
    local: BTreeMap<&'static str, String>,
}

fn known(name: &str) -> Result<&'static (&'static str, &'static str, bool), ErrorInfo> {
    KNOWN
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| refused("42704", format!("there is no parameter {name} here")))
}

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            ..Self::default()
        }
    }

    /// What the first message of a connection asks for; what is unknown does not matter there.
    pub(super) fn start_with(&mut self, name: &str, value: &str) -> Result<(), ErrorInfo> {
        if known(name).is_err() {
            return Ok(());
        }
        self.set(name, value, false)?;
        self.start = self.session.clone();
        Ok(())
    }

    /// Sets a parameter.
    pub(super) fn set(&mut self, name: &str, value: &str, local: bool) -> Result<(), ErrorInfo> {
        let (name, _, may_set) = known(name)?;
        if !may_set {
            return Err(refused("55P02", format!("{name} cannot be changed")));
        }
        let value = checked(name, value)?;
        let values = if local {
            &mut self.local
        } else {
            &mut self.session
        };
        values.insert(name, value);
        Ok(())
    }

    /// Back to the value at the start.
    pub(super) fn reset(&mut self, name: &str) -> Result<(), ErrorInfo> {
        let (name, ..) = known(name)?;
        match self.start.get(name) {
            Some(value) => self.session.insert(name, value.clone()),
            None => self.session.remove(name),
        };
        Ok(())
    }

    /// Back to the values at the start.
    pub(super) fn reset_all(&mut self) {
        self.session = self.start.clone();
        self.local.clear();
    }

    /// What was set for a transaction is over.
    pub(super) fn end_transaction(&mut self) {
        self.local.clear();
    }

    /// The value of a parameter.
    pub(super) fn show(&self, name: &str) -> Result<&str, ErrorInfo> {
        let (name, default, _) = known(name)?;
        if *name == "session_authorization" {
            return Ok(&self.user);
        }
        let set = self.local.get(name).or_else(|| self.session.get(name));
        Ok(set.map_or(default, String::as_str))
    }

    /// Every parameter and its value.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        KNOWN
            .iter()
            .map(|(name, ..)| (*name, self.show(name).unwrap_or_default()))
    }

    /// What the server tells without being asked.
    pub(super) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let reported = REPORTED.iter();
        reported.map(|(name, shown)| (*shown, self.show(name).unwrap_or_default()))
    }

    /// The name under which a change of this parameter is told.
    pub(super) fn reported_as(name: &str) -> Option<&'static str> {
        let found = REPORTED.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, shown)| *shown)
    }

    /// What the engine is asked to do otherwise.
    pub(super) fn wishes(&self) -> Wishes {
        let zone = self.show("timezone").ok().and_then(zone);
        let timeout = self.show("statement_timeout").ok().and_then(milliseconds);
        Wishes {
            zone: zone.filter(|zone| *zone != chrono_tz::Tz::UTC),
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
        }
    }

    /// How values are written as text.
    pub(super) fn formats(&self) -> FormatOptions {
        let mut formats = FormatOptions::default();
        let shown = |name| self.show(name).unwrap_or_default().to_owned();
        formats.bytea_output = shown("bytea_output");
        formats.interval_style = shown("intervalstyle");
        formats.extra_float_digits = shown("extra_float_digits").parse().unwrap_or(1);
        formats
    }
}

fn zone(name: &str) -> Option<chrono_tz::Tz> {
    chrono_tz::TZ_VARIANTS
        .iter()
        .find(|zone| zone.name().eq_ignore_ascii_case(name))
        .copied()
}

/// `0`, `500`, `500ms`, `5s`, `2min`, `1h`, `1d`; a bare number is milliseconds.
fn milliseconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let count: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(unit)?))
}

fn checked(name: &str, value: &str) -> Result<String, ErrorInfo> {
    let wrong = || refused("22023", format!("'{value}' is no value for {name} here"));
    if value.len() > VALUE_BYTES_MAX || value.contains(char::is_control) {
        return Err(refused("22023", format!("that is no value for {name}")));
    }
    let fits = match name {
        "client_encoding" => {
            let plain = value.to_ascii_lowercase().replace(['-', '_'], "");
            return match plain.as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_owned()),
                _ => Err(wrong()),
            };
        }
        "datestyle" => {
            return match value.get(..3).map(str::to_ascii_uppercase).as_deref() {
                Some("ISO") => Ok("ISO, MDY".to_owned()),
                _ => Err(wrong()),
            };
        }
        "timezone" => {
            return zone(value)
                .map(|zone| zone.name().to_owned())
                .ok_or_else(wrong);
        }
        "statement_timeout" => milliseconds(value).is_some(),
        "bytea_output" => matches!(value, "hex" | "escape"),
        "intervalstyle" => {
            matches!(
                value,
                "postgres" | "postgres_verbose" | "iso_8601" | "sql_standard"
            )
        }
        "extra_float_digits" => value.parse().is_ok_and(|n: i8| (-15..=3).contains(&n)),
        // With other strings a client would escape for a parser that is not here.
        "standard_conforming_strings" => matches!(value, "on" | "true" | "1"),
        "default_transaction_read_only" | "transaction_read_only" => {
            // Clients that say `off` still cannot write; they must not think that they can.
            return Ok("on".to_owned());
        }
        _ => true,
    };
    match fits {
        true => Ok(value.to_owned()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_go_back() {
        let mut settings = Settings::new("ana");
        settings.start_with("TimeZone", "europe/berlin").unwrap();
        settings.start_with("no_such", "x").unwrap();
        settings.set("STATEMENT_TIMEOUT", "5s", false).unwrap();
        assert_eq!(settings.wishes().timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.wishes().zone, Some(chrono_tz::Tz::Europe__Berlin));
        settings.set("timezone", "UTC", true).unwrap();
        assert_eq!(settings.show("TIMEZONE").unwrap(), "UTC");
        settings.end_transaction();
        assert_eq!(settings.show("timezone").unwrap(), "Europe/Berlin");
        settings.reset_all();
        assert_eq!(settings.show("statement_timeout").unwrap(), "0");
        assert_eq!(settings.show("timezone").unwrap(), "Europe/Berlin");
        assert_eq!(settings.show("session_authorization").unwrap(), "ana");
        for (name, value) in [
            ("no_such", "1"),
            ("datafusion.execution.batch_size", "1"),
            ("server_version", "1"),
            ("role", "root"),
            ("client_encoding", "LATIN1"),
            ("timezone", "Mars"),
            ("statement_timeout", "soon"),
            ("standard_conforming_strings", "off"),
            ("search_path", "a\0b"),
        ] {
            assert!(settings.set(name, value, false).is_err(), "{name}");
        }
        settings.set("transaction_read_only", "off", false).unwrap();
        assert_eq!(settings.show("transaction_read_only").unwrap(), "on");
    }
}
