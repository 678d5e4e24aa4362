//! The report of an ingest: a table for people, one JSON object for monitoring.

use std::fmt::Write as _;

use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;
use url::Url;

use super::ingest::ReportFormat;
use crate::{
    error::{Error, ErrorKind, Result},
    output::terminal,
    pipeline::{
        ObjectReport, Report,
        preview::{Fate, Preview},
    },
    table::display_url,
};

/// Objects that are listed one by one in a report for people.
const OBJECTS_SHOWN: usize = 20;

/// True if nothing was rejected and everything could be read to its end.
pub fn is_clean(report: &Report) -> bool {
    report.failures.is_empty()
        && report
            .objects
            .iter()
            .all(|o| o.rejected == 0 && o.ended_early.is_none())
}

/// Prints a report for people.
///
/// # Errors
/// If stdout cannot be written.
pub fn print_text(report: &Report, seconds: f64, archive: &Url) -> Result<()> {
    let mut text = String::new();
    write_text(&mut text, report, seconds, archive)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot write the report").because(e))?;
    terminal::print_bytes(text.as_bytes())
}

fn write_text(
    out: &mut String,
    report: &Report,
    seconds: f64,
    archive: &Url,
) -> Result<(), std::fmt::Error> {
    let records = report.total(|o| o.records);
    write_objects(out, report)?;
    if records == 0 && report.failures.is_empty() {
        writeln!(out, "Nothing new in {} files.", HumanCount(report.listed))?;
    } else {
        let (bytes_in, rows) = (report.total(|o| o.content_bytes), report.total(|o| o.rows));
        writeln!(
            out,
            "files       {} read, {} unchanged",
            HumanCount(report.objects.len() as u64),
            HumanCount(report.unchanged)
        )?;
        writeln!(out, "records     {}", HumanCount(records))?;
        writeln!(out, "  rows      {}", HumanCount(rows))?;
        if report.rows_by_table.len() > 1 || !report.rows_by_table.contains_key("audit") {
            for (table, rows) in &report.rows_by_table {
                writeln!(out, "    {table}: {}", HumanCount(*rows))?;
            }
        }
        writeln!(
            out,
            "  duplicates {}",
            HumanCount(report.total(|o| o.duplicates))
        )?;
        writeln!(
            out,
            "  rejected  {}",
            HumanCount(report.total(|o| o.rejected))
        )?;
        for (reason, count) in &report.rejected_by_reason {
            writeln!(out, "    {reason}: {}", HumanCount(*count))?;
        }
        let continuations = report.total(|o| o.continuations);
        if continuations > 0 {
            writeln!(
                out,
                "  besides   {} continuation lines, parts of the rows above",
                HumanCount(continuations)
            )?;
        }
        for (reason, count) in &report.filtered_by_reason {
            writeln!(out, "  dropped   {} as {reason}", HumanCount(*count))?;
        }
        let ratio = if report.bytes_out > 0 {
            format!(
                ", {:.0}:1, {:.1} bytes a row",
                bytes_in as f64 / report.bytes_out as f64,
                report.bytes_out as f64 / rows.max(1) as f64
            )
        } else {
            String::new()
        };
        writeln!(
            out,
            "bytes       {} in, {} out in {} files{ratio}",
            BinaryBytes(bytes_in),
            BinaryBytes(report.bytes_out),
            report.files_out
        )?;
        writeln!(
            out,
            "time        {seconds:.1} s, {:.0} MB/s, peak memory {}",
            bytes_in as f64 / 1e6 / seconds.max(1e-6),
            peak_memory().map_or("unknown".to_owned(), |b| BinaryBytes(b).to_string())
        )?;
        writeln!(out, "archive     {}", display_url(archive))?;
    }
    let waiting = report.total(|o| o.waiting_bytes) + report.unchanged_waiting_bytes;
    if waiting > 0 {
        writeln!(
            out,
            "{} of half-written last records wait for the next run.",
            BinaryBytes(waiting)
        )?;
    }
    if report.resumed_batches > 0 {
        writeln!(
            out,
            "{} batches that an earlier run had left open were finished.",
            report.resumed_batches
        )?;
    }
    if report.abandoned_batches > 0 {
        writeln!(
            out,
            "{} batches of an earlier run were given up: their files are gone or changed.",
            report.abandoned_batches
        )?;
    }
    for object in report.objects.iter().filter(|o| o.ended_early.is_some()) {
        writeln!(
            out,
            "incomplete: {}: {}",
            object.uri,
            object.ended_early.as_deref().unwrap_or_default()
        )?;
    }
    for (name, e) in &report.failures {
        writeln!(out, "not read: {name}: {}", e.to_chain())?;
    }
    if report.total(|o| o.rejected) > 0 {
        writeln!(out, "See what was rejected: kolumn ask quarantine")?;
    }
    Ok(())
}

fn write_objects(out: &mut String, report: &Report) -> Result<(), std::fmt::Error> {
    let interesting: Vec<&ObjectReport> = report.objects.iter().filter(|o| o.records > 0).collect();
    if interesting.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{:>12} {:>12} {:>12} {:>9}  file",
        "records", "rows", "duplicates", "rejected"
    )?;
    for o in interesting.iter().take(OBJECTS_SHOWN) {
        let name = o.uri.strip_prefix("file://").unwrap_or(&o.uri);
        writeln!(
            out,
            "{:>12} {:>12} {:>12} {:>9}  {name}",
            count(o.records),
            count(o.rows),
            count(o.duplicates),
            count(o.rejected)
        )?;
    }
    if interesting.len() > OBJECTS_SHOWN {
        writeln!(
            out,
            "{:>12} files more (--report json lists all)",
            interesting.len() - OBJECTS_SHOWN
        )?;
    }
    writeln!(out)
}

/// A count with separators, as text, so that it can be aligned.
fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// Prints a report as one JSON object.
///
/// # Errors
/// If stdout cannot be written.
pub fn print_json(report: &Report, seconds: f64) -> Result<()> {
    let objects: Vec<_> = report
        .objects
        .iter()
        .map(|o| {
            json!({
                "uri": o.uri, "records": o.records, "rows": o.rows, "duplicates": o.duplicates,
                "rejected": o.rejected, "filtered": o.filtered,
                "continuations": o.continuations, "bytes_in": o.content_bytes,
                "waiting_bytes": o.waiting_bytes, "ended_early": o.ended_early,
            })
        })
        .collect();
    let failures: Vec<_> = report
        .failures
        .iter()
        .map(|(name, e)| json!({"name": name, "error": e.to_chain()}))
        .collect();
    let summary = json!({
        "files": report.objects.len(),
        "files_listed": report.listed,
        "files_unchanged": report.unchanged,
        "records": report.total(|o| o.records),
        "rows": report.total(|o| o.rows),
        "duplicates": report.total(|o| o.duplicates),
        "rejected": report.total(|o| o.rejected),
        "rejected_by_reason": report.rejected_by_reason,
        "rows_by_table": report.rows_by_table,
        "filtered": report.total(|o| o.filtered),
        "filtered_by_reason": report.filtered_by_reason,
        "continuations": report.total(|o| o.continuations),
        "bytes_in": report.total(|o| o.content_bytes),
        "bytes_out": report.bytes_out,
        "files_out": report.files_out,
        "waiting_bytes": report.total(|o| o.waiting_bytes) + report.unchanged_waiting_bytes,
        "resumed_batches": report.resumed_batches,
        "abandoned_batches": report.abandoned_batches,
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(),
        "objects": objects,
        "failures": failures,
    });
    terminal::print_bytes(format!("{summary}\n").as_bytes())
}

/// Prints what an ingest would read.
///
/// # Errors
/// If stdout cannot be written.
pub fn print_previews(previews: &[Preview], format: ReportFormat) -> Result<()> {
    let mut text = String::new();
    for p in previews {
        let fate = p.fate.to_string();
        let line = match format {
            ReportFormat::Json => json!({
                "uri": p.uri, "size": p.size, "new_bytes": p.new_bytes(), "content": p.content,
                "compression": p.compression, "fate": fate,
            })
            .to_string(),
            ReportFormat::Text => format!(
                "{:>12}  {:<16} {:<5} {fate}  {}",
                BinaryBytes(p.size).to_string(),
                p.content,
                p.compression,
                p.uri.strip_prefix("file://").unwrap_or(&p.uri),
            ),
        };
        text.push_str(&line);
        text.push('\n');
    }
    if format == ReportFormat::Text {
        let read: Vec<_> = previews
            .iter()
            .filter(|p| matches!(p.fate, Fate::Read { .. }))
            .collect();
        text.push_str(&format!(
            "{} of {} objects would be read, {}.\n",
            HumanCount(read.len() as u64),
            HumanCount(previews.len() as u64),
            BinaryBytes(read.iter().map(|p| p.new_bytes()).sum())
        ));
    }
    terminal::print_bytes(text.as_bytes())
}

/// Peak resident memory of this process, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}
