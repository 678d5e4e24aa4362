//! Progress of an ingest: a bar on a terminal, a plain line now and then elsewhere, on stderr.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{clock, output::terminal, pipeline::Observer};

/// A plain line is written this often.
const LINE_SECONDS: i64 = 10;

/// What a run has done so far.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    bytes: AtomicU64,
    records: AtomicU64,
    started: DateTime<Utc>,
    last_line: Mutex<DateTime<Utc>>,
}

impl Progress {
    /// Nothing done yet.
    pub fn new() -> Self {
        let bar = if terminal::stderr_is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8))
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(250));
        let started = clock::now();
        Self {
            bar,
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            started,
            last_line: Mutex::new(started),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn summary(&self) -> String {
        let (bytes, records) = (
            self.bytes.load(Ordering::Relaxed),
            self.records.load(Ordering::Relaxed),
        );
        let seconds = (clock::now() - self.started).as_seconds_f64().max(0.001);
        let rate = records as f64 / seconds;
        format!(
            "{} read, {} records, {}/s",
            HumanBytes(bytes),
            HumanCount(records),
            HumanCount(rate as u64)
        )
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Progress {
    fn batch_planned(&self, _objects: usize, content_bytes: Option<u64>) {
        // The length of compressed objects is not known before they are read.
        let template = match content_bytes {
            Some(bytes) => {
                self.bar.set_length(bytes);
                self.bar.set_position(0);
                "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}  {msg}"
            }
            None => "{spinner} {bytes} {bytes_per_sec}  {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    fn progressed(&self, _object: &str, content_bytes: u64, records: u64) {
        self.bytes.fetch_add(content_bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bar.inc(content_bytes);
        if !self.bar.is_hidden() {
            let records = self.records.load(Ordering::Relaxed);
            self.bar
                .set_message(format!("{} records", HumanCount(records)));
            return;
        }
        if let Ok(mut last) = self.last_line.lock()
            && (clock::now() - *last).num_seconds() >= LINE_SECONDS
        {
            *last = clock::now();
            terminal::note(&format!("ingest: {}", self.summary()));
        }
    }

    fn encoding(&self, rows: usize) {
        self.bar.set_message(format!(
            "sorting and writing {} rows",
            HumanCount(rows as u64)
        ));
    }
}
