//! The comment header of an SQL file: `-- key: value` lines before the first line of SQL. In: the
//! text. Out: the lines with their numbers. Strict: a comment line in the header that is neither
//! `-- key: value`, a continuation (`--   more`) nor empty (`--`) is an error naming file and line.

use crate::error::{Error, ErrorKind, Result};

/// One `-- key words: value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Line number, from 1.
    pub(super) number: usize,
    /// The key: the first word.
    pub(super) key: String,
    /// The words between key and colon.
    pub(super) words: String,
    /// The text after the colon.
    pub(super) value: String,
}

/// An error in an SQL file, with the place.
pub(super) fn wrong(path: &str, line: usize, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, format!("{path}:{line}: {what}"))
}

/// Splits a file into its header lines and the number of lines before its SQL.
pub(super) fn parse(path: &str, text: &str, keys: &[&str]) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let number = at + 1;
        if raw.trim().is_empty() {
            if lines.is_empty() { continue } else { break }
        }
        let Some(comment) = raw.strip_prefix("--") else {
            break;
        };
        if comment.trim().is_empty() {
            continue;
        }
        if comment.starts_with("   ") {
            let Some(last) = lines.last_mut() else {
                return Err(wrong(path, number, "a continuation line continues nothing"));
            };
            last.value.push(' ');
            last.value.push_str(comment.trim());
            continue;
        }
        let comment = comment.trim();
        let Some((head, value)) = split_head(comment) else {
            return Err(wrong(
                path,
                number,
                format!("expected `-- key: value`, found `-- {comment}`"),
            ));
        };
        let (key, words) = head.split_once(' ').unwrap_or((head, ""));
        if !keys.contains(&key) {
            return Err(wrong(
                path,
                number,
                format!("unknown key `{key}`; the keys are {}", keys.join(", ")),
            ));
        }
        lines.push(Line {
            number,
            key: key.to_owned(),
            words: words.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }
    Ok(lines)
}

/// Splits at the first colon that is not inside double quotes.
fn split_head(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ':' if !quoted => return Some((text[..at].trim(), &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// The one value of a key that must be there exactly once.
pub(super) fn single(path: &str, lines: &[Line], key: &str) -> Result<String> {
    optional(path, lines, key)?
        .ok_or_else(|| wrong(path, 1, format!("the header has no `-- {key}: …` line")))
}

/// The one value of a key that may be missing.
pub(super) fn optional(path: &str, lines: &[Line], key: &str) -> Result<Option<String>> {
    let mut found = lines.iter().filter(|l| l.key == key);
    let first = found.next();
    if let Some(second) = found.next() {
        return Err(wrong(path, second.number, format!("a second `{key}` line")));
    }
    match first {
        Some(line) if line.value.is_empty() => {
            Err(wrong(path, line.number, format!("`{key}` has no value")))
        }
        Some(line) if !line.words.is_empty() => Err(wrong(
            path,
            line.number,
            format!("expected a colon after `{key}`"),
        )),
        found => Ok(found.map(|line| line.value.clone())),
    }
}
