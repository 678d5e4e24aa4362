//! Prints an error for the person at the terminal: what failed and why, what to do about it; the
//! exit code says who must act.

use std::process::ExitCode;

use crate::error::Error;
use crate::output::terminal;

/// Prints the error and gives its exit code.
pub fn failed(e: &Error) -> ExitCode {
    show(e);
    ExitCode::from(e.kind().exit_code())
}

/// Prints the error.
pub fn show(e: &Error) {
    terminal::note(&format!("error: {}", e.to_chain()));
    if let Some(hint) = e.hint_text() {
        terminal::note(&format!("hint: {hint}"));
    }
}
