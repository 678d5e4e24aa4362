//! The fingerprint by which a repeated event is recognised.
//!
//! An audit id is no identity: the client may choose it, and aggregated API servers share it. Two
//! events are the same only if cluster, id, stage, both times, verb, URI and user agree. The
//! fingerprint is BLAKE3 over these, cut to 128 bits: even a client that chooses its id and URI at
//! will cannot make two events collide.

use crate::event::{audit::AuditEvent, time::Micros};

/// A 128-bit fingerprint of the identity of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

/// The parts that make two events the same event.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Cluster name.
    pub cluster: &'a str,
    /// `auditID`.
    pub audit_id: Option<&'a str>,
    /// `stage`.
    pub stage: Option<&'a str>,
    /// `stageTimestamp`.
    pub stage_timestamp: Micros,
    /// `requestReceivedTimestamp`.
    pub request_received_timestamp: Option<Micros>,
    /// `verb`.
    pub verb: Option<&'a str>,
    /// `requestURI`.
    pub request_uri: Option<&'a str>,
    /// `user.username`.
    pub username: Option<&'a str>,
}

impl<'a> Identity<'a> {
    /// The identity of an event of a cluster.
    pub fn of(cluster: &'a str, event: &'a AuditEvent<'_>) -> Self {
        Self {
            cluster,
            audit_id: event.audit_id.as_deref(),
            stage: event.stage.as_deref(),
            stage_timestamp: event.stage_timestamp,
            request_received_timestamp: event.request_received_timestamp,
            verb: event.verb.as_deref(),
            request_uri: event.request_uri.as_deref(),
            username: event.user.username.as_deref(),
        }
    }

    /// The fingerprint. `buffer` is scratch space, reused between calls.
    pub fn fingerprint(&self, buffer: &mut Vec<u8>) -> Fingerprint {
        buffer.clear();
        buffer.extend_from_slice(&self.stage_timestamp.0.to_le_bytes());
        let received = self.request_received_timestamp.map_or(i64::MIN, |t| t.0);
        buffer.extend_from_slice(&received.to_le_bytes());
        let parts = [
            Some(self.cluster),
            self.audit_id,
            self.stage,
            self.verb,
            self.request_uri,
            self.username,
        ];
        fingerprint_of(&parts, buffer)
    }
}

/// The parts that make two entries of component logs the same entry, when a wrapper brought them: a
/// line of a plain file is the same only if it is the same byte of the same content, which the
/// ledger takes care of.
#[derive(Debug, Clone, Copy)]
pub struct LineIdentity<'a> {
    /// Cluster name.
    pub cluster: &'a str,
    /// Component.
    pub component: Option<&'a str>,
    /// Pod, or log stream.
    pub pod: Option<&'a str>,
    /// Container.
    pub container: Option<&'a str>,
    /// `stdout` or `stderr`.
    pub stream: Option<&'a str>,
    /// The wrapper's time, as received.
    pub envelope_time: Option<&'a str>,
    /// When it was written.
    pub time: Micros,
    /// The text.
    pub record: Option<&'a str>,
}

impl LineIdentity<'_> {
    /// The fingerprint. `buffer` is scratch space, reused between calls.
    pub fn fingerprint(&self, buffer: &mut Vec<u8>) -> Fingerprint {
        // The same CloudWatch event has its time in milliseconds on one route, as text on the other.
        let envelope = self.envelope_time.and_then(wrapper_time);
        let times = [self.time.0, envelope.map_or(i64::MIN, |t| t.0)];
        buffer.clear();
        buffer.extend_from_slice(b"line");
        for time in times {
            buffer.extend_from_slice(&time.to_le_bytes());
        }
        let parts = [
            Some(self.cluster),
            self.component,
            self.pod,
            self.container,
            self.stream,
            self.record,
        ];
        fingerprint_of(&parts, buffer)
    }
}

/// The parts that make two polled samples the same sample: the whole row.
#[derive(Debug, Clone, Copy)]
pub struct SampleIdentity<'a> {
    /// Cluster name.
    pub cluster: &'a str,
    /// Table of Log Analytics.
    pub table: Option<&'a str>,
    /// The row, JSON.
    pub record: Option<&'a str>,
}

impl SampleIdentity<'_> {
    /// The fingerprint. `buffer` is scratch space, reused between calls.
    pub fn fingerprint(&self, buffer: &mut Vec<u8>) -> Fingerprint {
        buffer.clear();
        buffer.extend_from_slice(b"sample");
        fingerprint_of(&[Some(self.cluster), self.table, self.record], buffer)
    }
}

/// The time of a wrapper: RFC 3339, or milliseconds since the epoch as CloudWatch gives them.
pub fn wrapper_time(text: &str) -> Option<Micros> {
    match text.parse::<i64>() {
        Ok(millis) => millis.checked_mul(1_000).map(Micros),
        Err(_) => Micros::parse(text),
    }
}

/// Digests what `buffer` holds and the parts, cut to 128 bits.
fn fingerprint_of(parts: &[Option<&str>], buffer: &mut Vec<u8>) -> Fingerprint {
    for part in parts {
        // The length in front keeps ("ab","c") and ("a","bc") apart, and absent from empty.
        let length = part.map_or(u64::MAX, |p| p.len() as u64);
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(part.unwrap_or_default().as_bytes());
    }
    let digest = blake3::hash(buffer);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_bytes()[..16]);
    Fingerprint(u128::from_le_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_audit_id_does_not_make_two_events_one() {
        let mut buffer = Vec::new();
        let first = Identity {
            cluster: "c",
            audit_id: Some("my-own-id"),
            stage: Some("ResponseComplete"),
            stage_timestamp: Micros(5),
            request_received_timestamp: Some(Micros(4)),
            verb: Some("get"),
            request_uri: Some("/api/v1/pods"),
            username: Some("alice"),
        };
        let variants = [
            Identity {
                cluster: "d",
                ..first
            },
            Identity {
                audit_id: None,
                ..first
            },
            Identity {
                audit_id: Some(""),
                ..first
            },
            Identity {
                stage: Some("Panic"),
                ..first
            },
            Identity {
                stage_timestamp: Micros(6),
                ..first
            },
            Identity {
                request_received_timestamp: None,
                ..first
            },
            Identity {
                verb: Some("delete"),
                ..first
            },
            Identity {
                request_uri: Some("/api/v1/secrets"),
                ..first
            },
            Identity {
                username: Some("eve"),
                ..first
            },
        ];
        let same = first.fingerprint(&mut buffer);
        assert_eq!(same, first.fingerprint(&mut buffer));
        for other in variants {
            assert_ne!(same, other.fingerprint(&mut buffer), "{other:?}");
        }
    }
}
