//! The audit event as it was received (`audit.k8s.io/v1 Event`), with its parts borrowed from the
//! record where they stand there unescaped.
//!
//! The rule that keeps it lossless: a field is taken into its typed place only if it has exactly the
//! form the API gives it; whatever else an event holds goes, under its own name and verbatim, into
//! [`AuditEvent::extra`], which overlays the typed fields when the event is rebuilt.

use std::borrow::Cow;

use crate::event::{
    facts::{Object, ReadBodies},
    time::Micros,
};

/// Text of an event, borrowed from the record where it needed no unescaping.
pub type Text<'a> = Cow<'a, str>;

/// One audit event: one stage of one request.
#[derive(Debug, Default, Clone)]
pub struct AuditEvent<'a> {
    /// `stageTimestamp`, or the only time that the format has.
    pub stage_timestamp: Micros,
    /// `requestReceivedTimestamp`.
    pub request_received_timestamp: Option<Micros>,
    /// `auditID`. Chosen by the client if it likes.
    pub audit_id: Option<Text<'a>>,
    /// `stage`.
    pub stage: Option<Text<'a>>,
    /// `level`.
    pub level: Option<Text<'a>>,
    /// `verb`; may be empty.
    pub verb: Option<Text<'a>>,
    /// `requestURI`.
    pub request_uri: Option<Text<'a>>,
    /// `user`.
    pub user: User<'a>,
    /// `impersonatedUser`, JSON.
    pub impersonated_user: Option<Text<'a>>,
    /// `impersonatedUser.username`.
    pub impersonated_username: Option<Text<'a>>,
    /// `sourceIPs`.
    pub source_ips: Option<Vec<Text<'a>>>,
    /// `userAgent`.
    pub user_agent: Option<Text<'a>>,
    /// `objectRef`.
    pub object: ObjectReference<'a>,
    /// `responseStatus`.
    pub response: ResponseStatus<'a>,
    /// `annotations`, JSON.
    pub annotations: Option<Text<'a>>,
    /// Annotation `authorization.k8s.io/decision`.
    pub authorization_decision: Option<Text<'a>>,
    /// Annotation `authorization.k8s.io/reason`.
    pub authorization_reason: Option<Text<'a>>,
    /// Annotation `audit.k8s.io/truncated` is "true": both bodies were cut out by the server.
    pub truncated: bool,
    /// `requestObject`, JSON, verbatim.
    pub request_object: Option<Text<'a>>,
    /// `responseObject`, JSON, verbatim.
    pub response_object: Option<Text<'a>>,
    /// What was read in `requestObject` while its end was looked for; `None`: not read yet.
    pub request_facts: Option<Box<Object<'a>>>,
    /// What was read in `responseObject`, likewise.
    pub response_facts: Option<Box<Object<'a>>>,
    /// Fields that no typed place holds, a JSON object.
    pub extra: Option<String>,
    /// The text was cut: what stood behind its last whole field, verbatim, to the end.
    pub cut_text: Option<Text<'a>>,
    /// Legacy text format: the line.
    pub legacy_line: Option<Text<'a>>,
    /// True once a value of a body was replaced by a placeholder.
    pub redacted: bool,
}

/// `authentication/v1 UserInfo`.
#[derive(Debug, Default, Clone)]
pub struct User<'a> {
    /// `username`; none on 401.
    pub username: Option<Text<'a>>,
    /// `uid`.
    pub uid: Option<Text<'a>>,
    /// `groups`.
    pub groups: Option<Vec<Text<'a>>>,
    /// `extra`, JSON.
    pub extra: Option<Text<'a>>,
}

/// `audit.k8s.io/v1 ObjectReference`.
#[derive(Debug, Default, Clone)]
pub struct ObjectReference<'a> {
    /// `resource`, plural.
    pub resource: Option<Text<'a>>,
    /// `namespace`.
    pub namespace: Option<Text<'a>>,
    /// `name`.
    pub name: Option<Text<'a>>,
    /// `uid`.
    pub uid: Option<Text<'a>>,
    /// `apiGroup`.
    pub api_group: Option<Text<'a>>,
    /// `apiVersion`.
    pub api_version: Option<Text<'a>>,
    /// `resourceVersion`.
    pub resource_version: Option<Text<'a>>,
    /// `subresource`.
    pub subresource: Option<Text<'a>>,
}

/// `metav1.Status`, as far as questions ask for it.
#[derive(Debug, Default, Clone)]
pub struct ResponseStatus<'a> {
    /// `code`, the HTTP status.
    pub code: Option<i32>,
    /// `reason`.
    pub reason: Option<Text<'a>>,
    /// `message`.
    pub message: Option<Text<'a>>,
    /// The whole, JSON.
    pub json: Option<Text<'a>>,
}

/// What became of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyState {
    /// The body is there.
    Present,
    /// Not logged at this level, or the request had none.
    Absent,
    /// AKS put the text `skipped-too-big-size-object` in its place.
    Skipped,
    /// The server cut it out and annotated the event, or the event's text was cut before its end.
    Truncated,
}

impl BodyState {
    /// The value of the `*_object_state` columns.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Skipped => "skipped",
            Self::Truncated => "truncated",
        }
    }
}

/// Field of `extra` that holds [`AuditEvent::cut_text`].
pub const CUT: &str = "kolumn.io/cut";

/// The JSON text that AKS puts in place of a body over 32 KiB.
pub const SKIPPED_BODY: &str = "\"skipped-too-big-size-object\"";

impl<'a> AuditEvent<'a> {
    /// What became of `requestObject`.
    pub fn request_object_state(&self) -> BodyState {
        self.body_state(self.request_object.as_deref())
    }

    /// What became of `responseObject`.
    pub fn response_object_state(&self) -> BodyState {
        self.body_state(self.response_object.as_deref())
    }

    fn body_state(&self, body: Option<&str>) -> BodyState {
        match body {
            Some(SKIPPED_BODY) => BodyState::Skipped,
            Some(_) => BodyState::Present,
            None if self.truncated => BodyState::Truncated,
            None => BodyState::Absent,
        }
    }

    /// Takes out what was read in the bodies while they were decoded.
    pub fn take_read(&mut self) -> ReadBodies<'a> {
        ReadBodies {
            request: self.request_facts.take(),
            response: self.response_facts.take(),
        }
    }

    /// The value of column `extra`: the fields that no typed place holds, and the text behind a cut.
    pub fn extra_json(&self) -> Option<Text<'_>> {
        let extra = self.extra.as_deref();
        let Some(cut) = self.cut_text.as_deref() else {
            return extra.map(Cow::Borrowed);
        };
        let members = extra
            .and_then(|e| e.strip_suffix('}'))
            .map_or_else(|| "{".to_owned(), |members| format!("{members},"));
        // A string always serialises.
        let cut = serde_json::to_string(cut).unwrap_or_default();
        Some(Cow::Owned(format!("{members}\"{CUT}\":{cut}}}")))
    }

    /// True if a body was skipped or truncated, so that a later, fuller copy is worth keeping.
    pub fn is_incomplete(&self) -> bool {
        use BodyState::{Skipped, Truncated};
        self.cut_text.is_some()
            || matches!(self.request_object_state(), Skipped | Truncated)
            || matches!(self.response_object_state(), Skipped | Truncated)
    }
}
