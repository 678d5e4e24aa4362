//! The access log: who came, who was refused, who asked what and what came of it, as one JSON object a
//! line. Passwords never reach it: they are not part of a login here, and what follows the word in a
//! statement that was refused is cut off.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::SecondsFormat;
use serde::Serialize;

use crate::clock;
use crate::error::{Context as _, Result};
use crate::output::terminal;

const STATEMENT_CHARS_MAX: usize = 8192;

/// One line of the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entry<'a> {
    /// login, refused, statement or logout.
    pub(super) event: &'static str,
    /// postgres or flight.
    pub(super) protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) statement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) milliseconds: Option<u128>,
    /// ok, or why not.
    pub(super) outcome: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

/// Where the entries go: a file, else stderr.
#[derive(Debug)]
pub(super) struct AccessLog {
    file: Option<Mutex<File>>,
}

impl AccessLog {
    /// Opens the file to append to it.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let act = format!("cannot write the access log to {}", path.display());
                Some(Mutex::new(options.open(path).context(act)?))
            }
        };
        Ok(Self { file })
    }

    /// Writes one line. A log that cannot be written is told on stderr, and stops nobody.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        let line = Line {
            time: clock::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            entry,
        };
        let Ok(mut text) = serde_json::to_string(&line) else {
            return;
        };
        let Some(file) = &self.file else {
            terminal::note(&text);
            return;
        };
        text.push('\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = file.write_all(text.as_bytes()) {
            terminal::note(&format!("cannot write the access log: {e}"));
        }
    }
}

/// A statement as the log shows it.
pub(super) fn loggable(statement: &str) -> String {
    let end = statement
        .char_indices()
        .nth(STATEMENT_CHARS_MAX)
        .map_or(statement.len(), |(at, _)| at);
    let shown = &statement[..end];
    // Lower-casing ASCII keeps the places of bytes.
    match shown.to_ascii_lowercase().find("password") {
        Some(at) => format!("{}password …", &shown[..at]),
        None if end < statement.len() => format!("{shown} …"),
        None => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_logged() {
        let shown = loggable("ALTER USER ana PASSWORD 'hunter2'");
        assert_eq!(shown, "ALTER USER ana password …");
        assert_eq!(loggable("SELECT 'ü'"), "SELECT 'ü'");
        let long = loggable(&"ü".repeat(STATEMENT_CHARS_MAX + 1));
        assert_eq!(long.chars().count(), STATEMENT_CHARS_MAX + 2);
    }
}
