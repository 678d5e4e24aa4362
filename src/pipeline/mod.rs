//! The whole way of the data, in one place: locations are listed, what is new is planned into
//! batches, each batch is read, framed, decoded, redacted, sorted, encoded and committed.
//!
//! ```text
//!            1 thread          cores            cores                        await
//! object -> read, frame --3--> decode --order-> collect -> dedup, sort, encode -> stage -> publish
//! ```
//!
//! Channels are bounded, so that memory is bounded by [`Options::buffer_bytes`] whatever the input.

pub mod batch;
mod collect;
pub mod horizon;
pub mod plan;
pub mod preview;
mod rows;
mod stream;

use std::sync::Arc;

use chrono_tz::Tz;

use crate::{
    commit::ledger::{Ledger, RangeRecord},
    decode::{DropReason, FormatFamily},
    error::{Error, Result},
    event::{audit::AuditEvent, redact::Redactor},
    layout::{columns::TableName, partition::ClusterName},
    source::list::Listing,
    table::Archive,
};

/// Whether secrets are replaced.
#[derive(Debug, Clone)]
pub enum Redaction {
    /// Values of secrets become placeholders, digested under this key.
    On([u8; 32]),
    /// Everything is stored as received.
    Off,
}

impl Redaction {
    /// The value of ledger column `redaction`.
    pub fn label(&self) -> String {
        match self {
            Self::On(key) => format!("on:{}", Redactor::new(*key).key_id()),
            Self::Off => "off".to_owned(),
        }
    }
}

/// Records that are dropped on purpose, and counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filters {
    /// Drops events of stage `RequestReceived`: half of all events, which tell nothing that the
    /// later stage of the same request does not, unless the API server died in between.
    pub request_received: bool,
    /// Drops requests to `/healthz`, `/livez` and `/readyz`.
    pub health_probes: bool,
}

impl Filters {
    /// Why an event is dropped, if it is.
    pub fn drops(self, event: &AuditEvent<'_>) -> Option<DropReason> {
        if self.request_received && event.stage.as_deref() == Some("RequestReceived") {
            return Some(DropReason::RequestReceived);
        }
        let path = event.request_uri.as_deref().unwrap_or_default();
        let is_probe = ["/healthz", "/livez", "/readyz"].iter().any(|probe| {
            path.strip_prefix(probe)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        });
        (self.health_probes && is_probe).then_some(DropReason::HealthProbe)
    }
}

/// What is known and wanted of the records of one source.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Cluster of its records; none: the records tell.
    pub cluster: Option<ClusterName>,
    /// Formats that are taken.
    pub format: FormatFamily,
    /// Component whose text logs these are; none: names and wrappers tell.
    pub component: Option<String>,
    /// Zone of text logs that tell none.
    pub zone: Tz,
    /// Redaction.
    pub redaction: Redaction,
    /// What is dropped.
    pub filters: Filters,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            cluster: None,
            format: FormatFamily::Auto,
            component: None,
            zone: Tz::UTC,
            redaction: Redaction::Off,
            filters: Filters::default(),
        }
    }
}

/// A listed location with what is known and wanted of it.
#[derive(Debug)]
pub struct Source {
    /// What was found there.
    pub listing: Listing,
    /// What is known and wanted.
    pub settings: SourceSettings,
}

/// How a run behaves; nothing here is optional any more.
#[derive(Debug, Clone)]
pub struct Options {
    /// zstd level of data files.
    pub zstd_level: i32,
    /// Threads for decoding and encoding.
    pub threads: usize,
    /// Bytes of decoded rows that are sorted at a time.
    pub buffer_bytes: usize,
    /// Decompressed bytes of a batch, about.
    pub batch_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zstd_level: crate::encode::properties::INGEST_ZSTD_LEVEL,
            threads: 2,
            buffer_bytes: 320 << 20,
            batch_bytes: 2 << 30,
        }
    }
}

/// Receives what happens while it happens.
pub trait Observer: Send + Sync {
    /// A batch begins; so many bytes of content are to be read, as far as that is known.
    fn batch_planned(&self, _objects: usize, _content_bytes: Option<u64>) {}
    /// So many more bytes of objects were read and decoded to so many records.
    fn progressed(&self, _object: &str, _content_bytes: u64, _records: u64) {}
    /// Rows are being sorted and encoded.
    fn encoding(&self, _rows: usize) {}
    /// A batch is committed.
    fn batch_committed(&self, _rows: u64) {}
}

/// Nobody looks.
#[derive(Debug)]
pub struct Unobserved;
impl Observer for Unobserved {}

/// What became of one object.
#[derive(Debug, Clone, Default)]
pub struct ObjectReport {
    /// The object.
    pub uri: String,
    /// Records read.
    pub records: u64,
    /// Records that became rows.
    pub rows: u64,
    /// Records stored before.
    pub duplicates: u64,
    /// Records that could not be decoded.
    pub rejected: u64,
    /// Records dropped on purpose; not among `records`.
    pub filtered: u64,
    /// Lines that are part of the row of an earlier line; not among `records`.
    pub continuations: u64,
    /// Decompressed bytes read.
    pub content_bytes: u64,
    /// Bytes of a half-written last record, left for the next run.
    pub waiting_bytes: u64,
    /// Why it could not be read to its end.
    pub ended_early: Option<String>,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects listed.
    pub listed: u64,
    /// Objects without anything new.
    pub unchanged: u64,
    /// Bytes of half-written records in unchanged objects.
    pub unchanged_waiting_bytes: u64,
    /// Objects read, in order.
    pub objects: Vec<ObjectReport>,
    /// Records rejected, by reason.
    pub rejected_by_reason: std::collections::BTreeMap<&'static str, u64>,
    /// Records dropped on purpose, by reason.
    pub filtered_by_reason: std::collections::BTreeMap<&'static str, u64>,
    /// Rows by table.
    pub rows_by_table: std::collections::BTreeMap<&'static str, u64>,
    /// Bytes of the data files written.
    pub bytes_out: u64,
    /// Data files written.
    pub files_out: u64,
    /// Open batches of an earlier run that were done again.
    pub resumed_batches: u64,
    /// Open batches of an earlier run whose objects are gone.
    pub abandoned_batches: u64,
    /// Things that could not be read at all.
    pub failures: Vec<(String, Error)>,
}

impl Report {
    /// The sum of one count over all objects.
    pub fn total(&self, count: impl Fn(&ObjectReport) -> u64) -> u64 {
        self.objects.iter().map(count).sum()
    }
}

/// Everything a run works with.
pub(crate) struct Run {
    pub(crate) archive: Archive,
    pub(crate) options: Options,
    pub(crate) observer: Arc<dyn Observer>,
}

/// Ingests what is new in the listed locations.
///
/// # Errors
/// Errors that stop the run: of the archive's store, of the ledger, of the table log. What cannot be
/// read or decoded is no error but part of the report.
pub async fn ingest(
    archive: Archive,
    sources: Vec<Source>,
    options: Options,
    observer: Arc<dyn Observer>,
) -> Result<Report> {
    let run = Run {
        archive,
        options,
        observer,
    };
    let mut report = Report::default();
    for mut source in sources {
        let could_list_all = source.listing.failures.is_empty();
        report.failures.append(&mut source.listing.failures);
        report.listed += source.listing.objects.len() as u64 + source.listing.known;
        report.unchanged += source.listing.known;
        let failed = report.failures.len();
        run.ingest_source(&source, &mut report).await?;
        let ended_early = report.objects.iter().any(|o| o.ended_early.is_some());
        if could_list_all && report.failures.len() == failed && !ended_early {
            horizon::note_complete(&run, &source.listing).await?;
        }
    }
    Ok(report)
}

impl Run {
    /// Plans and runs batches of one location until nothing is new.
    async fn ingest_source(&self, source: &Source, report: &mut Report) -> Result<()> {
        let listing = &source.listing;
        let mut skipped = plan::Skipped::default();
        let mut own_plan = None;
        // An object that cannot be read further is not planned over and over.
        let mut done = plan::Done::new();
        loop {
            let table = self.archive.load_or_create(TableName::Ledger).await?;
            let ledger = Ledger::load(&self.archive, &table).await?;
            if let Some(open) = plan::open_batch_of(&ledger, listing) {
                if open.first().map(|r| r.planned_at) != own_plan {
                    report.resumed_batches += 1;
                }
                done.extend(open.iter().map(|r| (r.object_uri.clone(), r.range_start)));
                self.run_open(open.to_vec(), source, report).await?;
                continue;
            }
            let planned = plan::plan(self, &ledger, source, &done, &mut skipped).await?;
            let Some(first) = planned.first() else { break };
            own_plan = Some(first.planned_at);
            plan::pin(self, &table, &planned).await?;
        }
        report.unchanged += skipped
            .unchanged
            .saturating_sub(report.objects.len() as u64);
        report.unchanged_waiting_bytes += skipped.waiting_bytes;
        report.failures.append(&mut skipped.failures);
        Ok(())
    }

    /// Does an open batch, or gives it up if its objects are not what they were.
    async fn run_open(
        &self,
        open: Vec<RangeRecord>,
        source: &Source,
        report: &mut Report,
    ) -> Result<()> {
        if batch::close_if_landed(self, &open, report).await? {
            return Ok(());
        }
        let objects = plan::objects_of(&open, &source.listing).await;
        if plan::can_be_redone(&open, &objects).await {
            batch::run(self, open, objects, &source.settings, report).await
        } else {
            report.abandoned_batches += 1;
            batch::abandon(self, open).await
        }
    }
}
