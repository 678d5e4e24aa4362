//! `audit.k8s.io` events as JSON: the exact form that kube-apiserver writes on a fast path, anything
//! else that is still an audit event (v1beta1, odd time text, unknown or mistyped fields, nulls) on a
//! lenient one that keeps verbatim in `extra` whatever has no typed place.
//!
//! The fast path takes a field only if the rebuilt event would hold it again exactly; every doubt is
//! an error there, and the lenient path decides.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    decode::{
        JsonText, Shape, json_text,
        reject::{Reason, Reject},
    },
    event::{
        audit::{AuditEvent, CUT, ObjectReference, ResponseStatus, Text, User},
        time::Micros,
    },
};

/// `apiVersion` of the events of every supported Kubernetes.
pub const API_VERSION: &str = "audit.k8s.io/v1";

/// Field of `extra` that lists the fields, usually present, that the event did not have.
pub const ABSENT: &str = "kolumn.io/absent";

/// Field of `extra` that tells the wrapper's time, which stands for the event's own: it was cut off.
pub const WRAPPER_TIME: &str = "kolumn.io/wrapper-time";

/// Parses an event as the log backend writes it, with `kind` and `apiVersion`.
///
/// # Errors
/// If the text is no JSON, no audit event, or an event without any time.
pub fn parse(json: &str) -> Result<AuditEvent<'_>, Reject> {
    match serde_json::from_str::<Exact<'_>>(json) {
        Ok(exact)
            if exact.kind.as_deref() == Some("Event")
                && exact.api_version.as_deref() == Some(API_VERSION) =>
        {
            exact
                .into_event()
                .map_or_else(|| parse_leniently(json, Origin::Line), Ok)
        }
        _ => parse_leniently(json, Origin::Line),
    }
}

/// Parses an item of an `EventList`, which has neither `kind` nor `apiVersion` of its own.
///
/// # Errors
/// As [`parse`].
pub fn parse_item(json: &str) -> Result<AuditEvent<'_>, Reject> {
    match serde_json::from_str::<Exact<'_>>(json) {
        Ok(exact) if exact.kind.0.is_none() && exact.api_version.0.is_none() => exact
            .into_event()
            .map_or_else(|| parse_leniently(json, Origin::Item), Ok),
        _ => parse_leniently(json, Origin::Item),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Line,
    Item,
}

/// A field that may be absent but, unlike `Option`, not null.
#[derive(Debug)]
struct Maybe<T>(Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl<'a> Maybe<JsonText<'a>> {
    fn text(self) -> Option<Text<'a>> {
        self.0.map(|t| t.0)
    }

    fn as_deref(&self) -> Option<&str> {
        self.0.as_ref().map(|t| t.0.as_ref())
    }
}

impl<'a> Maybe<&'a RawValue> {
    fn json(&self) -> Option<Text<'a>> {
        self.0.map(|v| Cow::Borrowed(v.get()))
    }
}

fn texts(values: Vec<JsonText<'_>>) -> Vec<Text<'_>> {
    values.into_iter().map(|t| t.0).collect()
}

/// The event exactly as kube-apiserver writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Exact<'a> {
    #[serde(borrow, default)]
    kind: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    api_version: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    level: Maybe<JsonText<'a>>,
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    stage: Maybe<JsonText<'a>>,
    #[serde(borrow, default, rename = "requestURI")]
    request_uri: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    verb: Maybe<JsonText<'a>>,
    #[serde(borrow)]
    user: ExactUser<'a>,
    #[serde(borrow, default)]
    impersonated_user: Maybe<&'a RawValue>,
    #[serde(borrow, default, rename = "sourceIPs")]
    source_ips: Maybe<Vec<JsonText<'a>>>,
    #[serde(borrow, default)]
    user_agent: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    object_ref: Maybe<ExactReference<'a>>,
    #[serde(borrow, default)]
    response_status: Maybe<&'a RawValue>,
    #[serde(borrow, default)]
    request_object: Maybe<&'a RawValue>,
    #[serde(borrow, default)]
    response_object: Maybe<&'a RawValue>,
    #[serde(borrow)]
    request_received_timestamp: JsonText<'a>,
    #[serde(borrow)]
    stage_timestamp: JsonText<'a>,
    #[serde(borrow, default)]
    annotations: Maybe<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExactUser<'a> {
    #[serde(borrow, default)]
    username: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    uid: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    groups: Maybe<Vec<JsonText<'a>>>,
    #[serde(borrow, default)]
    extra: Maybe<&'a RawValue>,
}

impl<'a> ExactUser<'a> {
    fn into_user(self) -> User<'a> {
        User {
            username: self.username.text(),
            uid: self.uid.text(),
            groups: self.groups.0.map(texts),
            extra: self.extra.json(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExactReference<'a> {
    #[serde(borrow, default)]
    resource: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    namespace: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    name: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    uid: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    api_group: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    api_version: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    resource_version: Maybe<JsonText<'a>>,
    #[serde(borrow, default)]
    subresource: Maybe<JsonText<'a>>,
}

impl<'a> ExactReference<'a> {
    fn into_reference(self) -> ObjectReference<'a> {
        ObjectReference {
            resource: self.resource.text(),
            namespace: self.namespace.text(),
            name: self.name.text(),
            uid: self.uid.text(),
            api_group: self.api_group.text(),
            api_version: self.api_version.text(),
            resource_version: self.resource_version.text(),
            subresource: self.subresource.text(),
        }
    }
}

impl ObjectReference<'_> {
    fn is_empty(&self) -> bool {
        let fields = [
            &self.resource,
            &self.namespace,
            &self.name,
            &self.uid,
            &self.api_group,
            &self.api_version,
            &self.resource_version,
            &self.subresource,
        ];
        fields.iter().all(|f| f.is_none())
    }
}

impl<'a> Exact<'a> {
    /// `None` if a value would not come back exactly.
    fn into_event(self) -> Option<AuditEvent<'a>> {
        let object = match self.object_ref.0 {
            // `"objectRef":{}` would come back as no objectRef at all.
            Some(reference) => Some(reference.into_reference()).filter(|r| !r.is_empty())?,
            None => ObjectReference::default(),
        };
        let mut event = AuditEvent {
            stage_timestamp: Micros::parse_exact(&self.stage_timestamp.0)?,
            request_received_timestamp: Some(Micros::parse_exact(
                &self.request_received_timestamp.0,
            )?),
            audit_id: self.audit_id.text(),
            stage: self.stage.text(),
            level: self.level.text(),
            verb: self.verb.text(),
            request_uri: self.request_uri.text(),
            user: self.user.into_user(),
            impersonated_user: self.impersonated_user.json(),
            source_ips: self.source_ips.0.map(texts),
            user_agent: self.user_agent.text(),
            object,
            request_object: self.request_object.json(),
            response_object: self.response_object.json(),
            ..AuditEvent::default()
        };
        if let Some(status) = self.response_status.json() {
            event.response = parse_status(status);
        }
        if let Some(annotations) = self.annotations.json() {
            set_annotations(&mut event, annotations);
        }
        set_impersonated_username(&mut event);
        Some(event)
    }
}

fn parse_status(json: Text<'_>) -> ResponseStatus<'_> {
    let Cow::Borrowed(text) = json else {
        return ResponseStatus {
            json: Some(json),
            ..Default::default()
        };
    };
    let Ok(shape) = Shape::of(text) else {
        return ResponseStatus {
            json: Some(json),
            ..Default::default()
        };
    };
    ResponseStatus {
        code: shape.get("code").and_then(|v| v.get().parse().ok()),
        reason: shape.text("reason"),
        message: shape.text("message"),
        json: Some(json),
    }
}

fn set_annotations<'a>(event: &mut AuditEvent<'a>, json: Text<'a>) {
    if let Cow::Borrowed(text) = json
        && let Ok(shape) = Shape::of(text)
    {
        event.authorization_decision = shape.text("authorization.k8s.io/decision");
        event.authorization_reason = shape.text("authorization.k8s.io/reason");
        event.truncated = shape.text("audit.k8s.io/truncated").as_deref() == Some("true");
    }
    event.annotations = Some(json);
}

fn set_impersonated_username(event: &mut AuditEvent<'_>) {
    if let Some(Cow::Borrowed(text)) = event.impersonated_user
        && let Ok(shape) = Shape::of(text)
    {
        event.impersonated_username = shape.text("username");
    }
}

/// The fields, in the order in which `extra` lists them, that did not fit.
#[derive(Default)]
struct Extra {
    json: String,
    absent: Vec<&'static str>,
}

impl Extra {
    fn push(&mut self, name: &str, value: &str) {
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        // A string always serialises.
        self.json
            .push_str(&serde_json::to_string(name).unwrap_or_default());
        self.json.push(':');
        self.json.push_str(value);
    }

    fn finish(mut self) -> Option<String> {
        if !self.absent.is_empty() {
            let list = serde_json::to_string(&self.absent).unwrap_or_default();
            self.push(ABSENT, &list);
        }
        (!self.json.is_empty()).then(|| self.json + "}")
    }
}

fn parse_leniently(json: &str, origin: Origin) -> Result<AuditEvent<'_>, Reject> {
    let shape = Shape::of(json).map_err(|e| Reject::from_json(&e))?;
    check_is_audit(&shape, origin)?;
    event_of_shape(&shape, origin, None)
}

/// Makes an event of the fields that stand before a cut; `rest` is the text behind them, `time` the
/// wrapper's.
///
/// # Errors
/// If the fields do not tell who did what, or if there is no time.
pub(super) fn parse_cut<'a>(
    shape: &Shape<'a>,
    rest: &'a str,
    time: Option<Micros>,
) -> Result<AuditEvent<'a>, Reject> {
    let is_event = shape.text("kind").is_none_or(|kind| kind == "Event");
    let has_content = shape.get("auditID").is_some()
        || shape.get("requestURI").is_some() && shape.get("verb").is_some();
    if !is_event || !has_content {
        let detail = "neither auditID nor requestURI and verb";
        return Err(Reject::new(Reason::UnknownJson, detail));
    }
    if let Some(version) = shape.text("apiVersion")
        && !version.starts_with("audit.k8s.io/")
    {
        let detail = format!("apiVersion {version}");
        return Err(Reject::new(Reason::UnknownJson, detail));
    }
    let mut event = event_of_shape(shape, Origin::Line, time)?;
    set_cut(&mut event, Cow::Borrowed(rest));
    Ok(event)
}

/// At level Metadata there was no body to cut.
fn set_cut<'a>(event: &mut AuditEvent<'a>, rest: Text<'a>) {
    event.truncated |= event.level.as_deref() != Some("Metadata");
    event.cut_text = Some(rest);
}

fn event_of_shape<'a>(
    shape: &Shape<'a>,
    origin: Origin,
    wrapper_time: Option<Micros>,
) -> Result<AuditEvent<'a>, Reject> {
    let mut event = AuditEvent::default();
    let mut extra = Extra::default();
    let mut stage_timestamp = None;
    let mut cut = None;
    for (i, (name, value)) in shape.fields.iter().enumerate() {
        if shape.fields[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(Reject::new(
                Reason::InvalidJson,
                format!("field {name} stands twice"),
            ));
        }
        let json = value.get();
        let fits = match name.as_ref() {
            "kind" => json == "\"Event\"" && origin == Origin::Line,
            "apiVersion" => {
                json_text(json).as_deref() == Some(API_VERSION) && origin == Origin::Line
            }
            "level" => set(&mut event.level, json_text(json)),
            "auditID" => set(&mut event.audit_id, json_text(json)),
            "stage" => set(&mut event.stage, json_text(json)),
            "requestURI" => set(&mut event.request_uri, json_text(json)),
            "verb" => set(&mut event.verb, json_text(json)),
            "userAgent" => set(&mut event.user_agent, json_text(json)),
            "user" => set_user(&mut event, json),
            "impersonatedUser" => set(&mut event.impersonated_user, Some(Cow::Borrowed(json))),
            "sourceIPs" => set(&mut event.source_ips, json_texts(json)),
            "objectRef" => set_object(&mut event, json),
            "responseStatus" => {
                event.response = parse_status(Cow::Borrowed(json));
                true
            }
            "requestObject" => set(&mut event.request_object, Some(Cow::Borrowed(json))),
            "responseObject" => set(&mut event.response_object, Some(Cow::Borrowed(json))),
            "annotations" => {
                set_annotations(&mut event, Cow::Borrowed(json));
                true
            }
            "requestReceivedTimestamp" => set_time(&mut event.request_received_timestamp, json),
            "stageTimestamp" => set_time(&mut stage_timestamp, json),
            CUT => set(&mut cut, json_text(json)),
            _ => false,
        };
        if !fits {
            extra.push(name, json);
        }
    }
    let fixed: &[&'static str] = match origin {
        Origin::Line => &["kind", "apiVersion", "user", "stageTimestamp"],
        Origin::Item => &["user", "stageTimestamp"],
    };
    extra
        .absent
        .extend(fixed.iter().filter(|name| shape.get(name).is_none()));
    if let (None, Some(time)) = (stage_timestamp, wrapper_time) {
        stage_timestamp = Some(time);
        extra.push(WRAPPER_TIME, &format!("\"{}\"", time.to_micro_time()));
    }
    event.stage_timestamp = stage_timestamp
        .or_else(|| shape.text(WRAPPER_TIME).and_then(|t| Micros::parse(&t)))
        .or(event.request_received_timestamp)
        .or_else(|| shape.text("timestamp").and_then(|t| Micros::parse(&t)))
        .ok_or_else(|| {
            Reject::new(
                Reason::NoTimestamp,
                "neither stageTimestamp nor another time can be read",
            )
        })?;
    if let Some(cut) = cut {
        set_cut(&mut event, cut);
    }
    set_impersonated_username(&mut event);
    event.extra = extra.finish();
    Ok(event)
}

/// Tells an audit event from other JSON, such as a core/v1 Event, which is also of kind Event.
fn check_is_audit(shape: &Shape<'_>, origin: Origin) -> Result<(), Reject> {
    let group = shape.text("apiVersion");
    let is_audit = match group.as_deref() {
        Some(version) => version.starts_with("audit.k8s.io/"),
        None => shape.get("auditID").is_some() || origin == Origin::Item,
    };
    let has_content = shape.get("verb").is_some() || shape.get("requestURI").is_some();
    // A document of OpenSearch has the event's fields beside the event.
    let is_document = shape.get("@message").is_some();
    if is_audit && has_content && !is_document {
        return Ok(());
    }
    let names: Vec<&str> = shape
        .fields
        .iter()
        .take(12)
        .map(|(name, _)| name.as_ref())
        .collect();
    Err(Reject::new(
        Reason::UnknownJson,
        format!(
            "a JSON object of no known format, with fields {}",
            names.join(", ")
        ),
    ))
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    *place = value;
    fits
}

fn json_texts(json: &str) -> Option<Vec<Text<'_>>> {
    serde_json::from_str::<Vec<JsonText<'_>>>(json)
        .ok()
        .map(texts)
}

/// Takes a time even if its text would not come back exactly; then the text is kept beside it.
fn set_time(place: &mut Option<Micros>, json: &str) -> bool {
    let Some(text) = json_text(json) else {
        return false;
    };
    *place = Micros::parse(&text);
    Micros::parse_exact(&text).is_some()
}

fn set_user<'a>(event: &mut AuditEvent<'a>, json: &'a str) -> bool {
    if let Ok(user) = serde_json::from_str::<ExactUser<'a>>(json) {
        event.user = user.into_user();
        return true;
    }
    // What can be read is still worth asking for; the whole stands in extra.
    if let Ok(shape) = Shape::of(json) {
        event.user.username = shape.text("username");
        event.user.uid = shape.text("uid");
        event.user.groups = shape.get("groups").and_then(|v| json_texts(v.get()));
    }
    false
}

fn set_object<'a>(event: &mut AuditEvent<'a>, json: &'a str) -> bool {
    if let Ok(reference) = serde_json::from_str::<ExactReference<'a>>(json) {
        event.object = reference.into_reference();
        return !event.object.is_empty();
    }
    if let Ok(shape) = Shape::of(json) {
        event.object.resource = shape.text("resource");
        event.object.namespace = shape.text("namespace");
        event.object.name = shape.text("name");
        event.object.subresource = shape.text("subresource");
        event.object.api_group = shape.text("apiGroup");
        event.object.api_version = shape.text("apiVersion");
    }
    false
}
