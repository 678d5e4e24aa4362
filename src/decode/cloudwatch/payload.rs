//! Payloads as base64 inside of JSON: what invokes a Lambda, and what Kinesis and Firehose hand on.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::decode::{
    AuditRecord, Envelope, Format, Record, Shape, audit,
    cloudwatch::{Style, decode_subscription},
    frame::FRAME_BYTES_MAX,
    object::{check_names_differ, within},
    reject::{Reason, Reject},
};

/// Magic number of gzip.
const GZIP: &[u8] = b"\x1f\x8b";

/// Decodes `{"awslogs":{"data":…}}`.
pub(super) fn decode_lambda(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    let inner = shape.get("awslogs").map_or("", |v| v.get());
    decode_inner(text, "awslogs", inner, sink);
}

/// Decodes `{"Records":[{"kinesis":{"data":…}}]}`.
pub(super) fn decode_kinesis(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    let Some(records) = shape.array("Records") else {
        let reject = Reject::new(Reason::UnknownJson, "Records is no list");
        return sink(Record::Rejected(reject, text.as_bytes()));
    };
    for record in records {
        let inner = Shape::of(record.get()).ok().and_then(|r| r.get("kinesis"));
        let inner = inner.map_or("", |v| v.get());
        decode_inner(record.get(), "kinesis", inner, sink);
    }
}

/// Decodes a record whose object in field `place` has the data.
fn decode_inner(record: &str, place: &str, inner: &str, sink: &mut dyn FnMut(Record<'_>)) {
    match Shape::of(inner) {
        Ok(shape) => decode_data(record, &shape, sink),
        Err(_) => {
            let detail = format!("a record without an object {place}");
            let reject = Reject::new(Reason::UnknownJson, detail);
            sink(Record::Rejected(reject, record.as_bytes()));
        }
    }
}

/// Decodes a record by its field `data`.
pub(super) fn decode_data(record: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    let content = shape
        .text("data")
        .ok_or_else(|| Reject::new(Reason::UnknownJson, "data is missing or no text"))
        .and_then(|data| decoded(&data).map_err(|e| within("data", e)));
    match content {
        Ok(content) => decode_content(&content, sink),
        Err(reject) => sink(Record::Rejected(reject, record.as_bytes())),
    }
}

/// Takes text out of base64 and, if it is so, gzip.
fn decoded(data: &str) -> Result<String, Reject> {
    let bytes = STANDARD
        .decode(data.trim())
        .map_err(|e| Reject::new(Reason::InvalidBase64, e))?;
    let bytes = if bytes.starts_with(GZIP) {
        gunzipped(&bytes, FRAME_BYTES_MAX as u64)?
    } else {
        bytes
    };
    String::from_utf8(bytes).map_err(|e| Reject::new(Reason::InvalidUtf8, e))
}

fn gunzipped(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Reject> {
    let mut content = Vec::new();
    flate2::bufread::MultiGzDecoder::new(bytes)
        .take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|e| Reject::new(Reason::DamagedCompression, e))?;
    if content.len() as u64 > limit {
        let detail = format!("over {limit} bytes");
        return Err(Reject::new(Reason::DecompressionBomb, detail));
    }
    Ok(content)
}

/// Decodes what a payload holds: subscription payloads, or audit events that somebody put there. No
/// payload within a payload, however deep: that would be a way to make this run for ever.
fn decode_content(content: &str, sink: &mut dyn FnMut(Record<'_>)) {
    let mut values = serde_json::Deserializer::from_str(content).into_iter::<&RawValue>();
    let mut is_empty = true;
    loop {
        let start = values.byte_offset();
        let result = match values.next() {
            None => break,
            Some(Err(e)) => {
                let rest = content.get(start..).unwrap_or_default();
                let reject = within("data", Reject::from_json(&e));
                return sink(Record::Rejected(reject, rest.as_bytes()));
            }
            Some(Ok(value)) => value.get(),
        };
        is_empty = false;
        decode_value(result, sink);
    }
    if is_empty {
        let reject = Reject::new(Reason::UnknownJson, "data is empty");
        sink(Record::Rejected(reject, content.as_bytes()));
    }
}

fn decode_value(value: &str, sink: &mut dyn FnMut(Record<'_>)) {
    if let Ok(shape) = Shape::of(value)
        && matches!(Style::of(&shape), Some(Style::Subscription))
    {
        return match check_names_differ(&shape) {
            Ok(()) => decode_subscription(value, &shape, sink),
            Err(reject) => sink(Record::Rejected(reject, value.as_bytes())),
        };
    }
    match audit::parse(value) {
        Ok(event) => {
            let record = AuditRecord {
                event,
                format: Format::CloudWatch,
                envelope: Envelope::default(),
            };
            sink(Record::Audit(Box::new(record), value.len()));
        }
        Err(reject) => sink(Record::Rejected(within("data", reject), value.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_expands_beyond_the_limit_is_a_bomb() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert!(gunzipped(&bytes, 1 << 20).is_ok());
        let reject = gunzipped(&bytes, (1 << 20) - 1).unwrap_err();
        assert_eq!(reject.reason, Reason::DecompressionBomb);
        let reject = gunzipped(&bytes[..bytes.len() / 2], 1 << 20).unwrap_err();
        assert_eq!(reject.reason, Reason::DamagedCompression);
    }
}
