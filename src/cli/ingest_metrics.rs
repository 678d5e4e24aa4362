//! The figures of an ingest as a file for Prometheus' textfile collector, so that a nightly job that
//! stopped working is noticed by the monitoring that is there already.

use std::{fmt::Write as _, path::Path};

use chrono::{DateTime, Utc};

use super::ingest_report::{is_clean, peak_memory};
use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    pipeline::Report,
};

/// Writes the file aside and renames it into place, so that nobody reads half of it.
///
/// # Errors
/// Errors of the file system.
pub(super) fn write(
    path: &Path,
    report: &Report,
    seconds: f64,
    started: DateTime<Utc>,
) -> Result<()> {
    let act = || format!("cannot write metrics to {}", path.display());
    let text = text_of(report, seconds, started)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot write metrics").because(e))?;
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).context(act())?;
    std::fs::rename(&aside, path).context(act())
}

fn text_of(
    report: &Report,
    seconds: f64,
    started: DateTime<Utc>,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let plain = [
        (
            "last_run_timestamp_seconds",
            "When the run began",
            started.timestamp() as f64,
        ),
        ("last_run_duration_seconds", "How long it took", seconds),
        (
            "last_run_clean",
            "1 if everything could be read and nothing was rejected",
            f64::from(u8::from(is_clean(report))),
        ),
        (
            "last_run_objects",
            "Objects read",
            report.objects.len() as f64,
        ),
        (
            "last_run_objects_unchanged",
            "Objects without anything new",
            report.unchanged as f64,
        ),
        (
            "last_run_failures",
            "Objects that could not be read",
            report.failures.len() as f64,
        ),
        (
            "last_run_input_bytes",
            "Bytes read, decompressed",
            report.total(|o| o.content_bytes) as f64,
        ),
        (
            "last_run_output_bytes",
            "Bytes of data files written",
            report.bytes_out as f64,
        ),
        (
            "last_run_peak_memory_bytes",
            "Peak resident memory",
            peak_memory().unwrap_or(0) as f64,
        ),
    ];
    for (name, help, value) in plain {
        gauge(&mut text, name, help)?;
        writeln!(text, "kolumn_ingest_{name} {value}")?;
    }
    gauge(
        &mut text,
        "last_run_records",
        "Records by what became of them",
    )?;
    let fates = [
        ("row", report.total(|o| o.rows)),
        ("duplicate", report.total(|o| o.duplicates)),
        ("rejected", report.total(|o| o.rejected)),
        ("filtered", report.total(|o| o.filtered)),
    ];
    for (fate, count) in fates {
        writeln!(
            text,
            "kolumn_ingest_last_run_records{{fate=\"{fate}\"}} {count}"
        )?;
    }
    Ok(text)
}

fn gauge(text: &mut String, name: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP kolumn_ingest_{name} {help}.")?;
    writeln!(text, "# TYPE kolumn_ingest_{name} gauge")
}
