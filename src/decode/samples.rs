//! What becomes of the public samples in tests/data; docs/formats.md has the list of all.

use crate::decode::{
    Context, Record, decode_frame_of,
    frame::{Framed, Framer, Framing, Pool},
};

/// Counts of audit events, lines, rows of inventory, dropped records and rejections, and the codes
/// of the latter.
fn outcome(bytes: &[u8]) -> ([usize; 5], Vec<&'static str>) {
    let mut framer = Framer::new(Framing::sniff(bytes), 0, &Pool::default());
    let mut chunks = Vec::new();
    framer.push(bytes, &mut |f| chunks.push(f));
    let tail = framer.finish(&mut |f| chunks.push(f));
    chunks.extend(tail.map(Framed::Chunk));
    let mut counts = [0; 5];
    let mut reasons = Vec::new();
    for chunk in &chunks {
        let Framed::Chunk(chunk) = chunk else {
            panic!("no sample is that long")
        };
        for (_, frame) in chunk.frames() {
            decode_frame_of(frame, &Context::default(), &mut |record| {
                let kind = match record {
                    Record::Audit(..) => 0,
                    Record::Line(_) => 1,
                    Record::Inventory(..) => 2,
                    Record::Dropped(_) => 3,
                    Record::Rejected(reject, _) => {
                        reasons.push(reject.reason.as_str());
                        4
                    }
                };
                counts[kind] += 1;
            });
        }
    }
    reasons.sort_unstable();
    reasons.dedup();
    (counts, reasons)
}

macro_rules! sample {
    ($path:literal) => {
        include_bytes!(concat!("../../tests/data/", $path)).as_slice()
    };
}

#[test]
fn every_record_of_a_public_sample_is_a_row_or_a_stated_rejection() {
    let none: &[&str] = &[];
    for (bytes, counts, reasons) in [
        (
            sample!("aks-blob/datadog-aks_logs.json"),
            [21, 0, 0, 0, 0],
            none,
        ),
        (
            sample!("aks-blob/panther-Azure.MonitorActivity.jsonl"),
            [0, 0, 0, 0, 35],
            &["no-timestamp", "unsupported-category"],
        ),
        (
            sample!("audit-json/v1beta1-audit2rbac-demo.log"),
            [37, 0, 0, 0, 0],
            none,
        ),
        (
            sample!("audit-json/panther-other.jsonl"),
            [0, 0, 0, 0, 6],
            &["no-timestamp", "unknown-json"],
        ),
        (
            sample!("aks-eventhub/imitated-message.json"),
            [4, 1, 0, 0, 0],
            none,
        ),
        (sample!("eks/ocsf-eks-v1.5.0.raw"), [1, 0, 0, 0, 0], none),
        (
            sample!("eks/otel-valid_cloudwatch_log_control.json"),
            [0, 0, 0, 1, 0],
            none,
        ),
        (
            sample!("eks/otel-cwlog-multiple_records"),
            [0, 2, 0, 0, 0],
            none,
        ),
        (
            sample!("not-taken/panther-GCP.AuditLog.jsonl"),
            [0, 0, 0, 0, 34],
            &["unknown-json"],
        ),
        (
            sample!("not-taken/fluentbit-watch_v1_with_lastTimestamp.json"),
            [0, 0, 0, 0, 1],
            &["unknown-json"],
        ),
    ] {
        assert_eq!(outcome(bytes), (counts, reasons.to_vec()));
    }
}
