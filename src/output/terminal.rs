//! Where bytes leave the program: stdout, stderr, or a file that appears when it is complete. Lines
//! for people go through here; a reader that went away is no error.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Context, Result};

/// Prints one line to stdout.
pub fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe means that nobody reads: nothing is left to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints one line to stderr.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes bytes to stdout as they are.
///
/// # Errors
/// Those of stdout; a closed pipe is none.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to stdout"),
    }
}

/// The width of stdout; `None` when it is no terminal.
pub fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0).max(20))
}

/// Whether a person types on stdin.
pub fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Whether a person reads stderr.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// What must happen for the output to stay.
pub(crate) enum Target {
    Open,
    Renamed(NamedTempFile, PathBuf),
}

impl Target {
    /// Makes a complete file appear under its name.
    pub(crate) fn keep(self) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::Renamed(file, path) => {
                let act = format!("cannot write {}", path.display());
                file.persist(&path).map_err(|e| e.error).context(act)?;
                Ok(())
            }
        }
    }
}

/// Opens the output: a file is written under another name first.
pub(crate) fn open(path: Option<&Path>) -> Result<(Box<dyn Write + Send>, Target)> {
    let Some(path) = path else {
        return Ok((Box::new(std::io::stdout()), Target::Open));
    };
    let act = format!("cannot write {}", path.display());
    let found = std::fs::metadata(path).ok();
    if found.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)).context(act);
    }
    // A pipe or a device cannot be replaced by a file.
    if found.is_some_and(|m| !m.is_file()) {
        let file = OpenOptions::new().write(true).open(path).context(act)?;
        return Ok((Box::new(file), Target::Open));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let file = temporary(folder).context(&act)?;
    let writer: File = file.reopen().context(act)?;
    Ok((Box::new(writer), Target::Renamed(file, path.to_owned())))
}

fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kolumn-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As a plain open would make it; the umask still applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
