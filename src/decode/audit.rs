//! `audit.k8s.io` events as JSON: the exact form that kube-apiserver writes on a fast path, anything
//! else that is still an audit event (v1beta1, odd time text, unknown or mistyped fields, nulls) on a
//! lenient one that keeps verbatim in `extra` whatever has no typed place.
//!
//! The fast path takes a field only if the rebuilt event would hold it again exactly; every doubt is
//! an error there, and the lenient path decides.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    decode::{
        JsonText, Shape, json_text,
        reject::{Reason, Reject},
    },
    event::{
        audit::{AuditEvent, CUT, ObjectReference, ResponseStatus, Text, User},
        facts::{Object, response_is_object},
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
    match Exact::parse(json) {
        Some(exact)
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
    match Exact::parse(json) {
        Some(exact) if exact.kind.is_none() && exact.api_version.is_none() => exact
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
#[derive(Default)]
struct Exact<'a> {
    kind: Option<Text<'a>>,
    api_version: Option<Text<'a>>,
    level: Option<Text<'a>>,
    audit_id: Option<Text<'a>>,
    stage: Option<Text<'a>>,
    request_uri: Option<Text<'a>>,
    verb: Option<Text<'a>>,
    user: Option<ExactUser<'a>>,
    impersonated_user: Option<&'a RawValue>,
    source_ips: Option<Vec<JsonText<'a>>>,
    user_agent: Option<Text<'a>>,
    object_ref: Option<ExactReference<'a>>,
    response_status: Option<&'a RawValue>,
    request_object: Option<Body<'a>>,
    response_object: Option<Body<'a>>,
    request_received_timestamp: Option<Text<'a>>,
    stage_timestamp: Option<Text<'a>>,
    annotations: Option<&'a RawValue>,
}

/// A body and what was read in it. Bodies are most of an event, so each is walked once: the facts are
/// read while its end is looked for.
struct Body<'a> {
    json: &'a str,
    facts: Option<Box<Object<'a>>>,
}

impl<'a> Exact<'a> {
    /// `None` if any field is not as kube-apiserver writes it.
    fn parse(json: &'a str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let exact = ExactFields { json }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(exact)
    }
}

/// Reads the fields of an event; the text tells where a body begins and ends.
struct ExactFields<'a> {
    json: &'a str,
}

impl<'de> DeserializeSeed<'de> for ExactFields<'de> {
    type Value = Exact<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ExactFields<'de> {
    type Value = Exact<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an audit event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut e = Exact::default();
        // A body that was read and whose end is not known yet: where it begins.
        let mut open: Option<(&'static str, usize)> = None;
        while let Some(JsonText(key)) = map.next_key()? {
            // An escaped name is copied; kube-apiserver escapes none.
            let Cow::Borrowed(key) = key else {
                return Err(A::Error::custom("an escaped name"));
            };
            if let Some((body, start)) = open.take() {
                let end = self.offset_of(key).saturating_sub(1);
                e.set_body_text(body, value_before(self.json, start, end, ','))?;
            }
            match key {
                "kind" => put_text(&mut e.kind, &mut map)?,
                "apiVersion" => put_text(&mut e.api_version, &mut map)?,
                "level" => put_text(&mut e.level, &mut map)?,
                "auditID" => put_text(&mut e.audit_id, &mut map)?,
                "stage" => put_text(&mut e.stage, &mut map)?,
                "requestURI" => put_text(&mut e.request_uri, &mut map)?,
                "verb" => put_text(&mut e.verb, &mut map)?,
                "user" => put(&mut e.user, &mut map)?,
                "impersonatedUser" => put(&mut e.impersonated_user, &mut map)?,
                "sourceIPs" => put(&mut e.source_ips, &mut map)?,
                "userAgent" => put_text(&mut e.user_agent, &mut map)?,
                "objectRef" => put(&mut e.object_ref, &mut map)?,
                "responseStatus" => put(&mut e.response_status, &mut map)?,
                "requestObject" => {
                    let facts = map.next_value()?;
                    put_body(&mut e.request_object, Some(facts))?;
                    open = Some(("requestObject", self.offset_of(key) + key.len() + 1));
                }
                "responseObject" => {
                    let facts = if response_is_object(e.verb.as_deref()) {
                        Some(map.next_value()?)
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        None
                    };
                    put_body(&mut e.response_object, facts)?;
                    open = Some(("responseObject", self.offset_of(key) + key.len() + 1));
                }
                "requestReceivedTimestamp" => {
                    put_text(&mut e.request_received_timestamp, &mut map)?;
                }
                "stageTimestamp" => put_text(&mut e.stage_timestamp, &mut map)?,
                "annotations" => put(&mut e.annotations, &mut map)?,
                _ => return Err(A::Error::custom("an unknown field")),
            }
        }
        if let Some((body, start)) = open {
            let end = self.json.trim_end().len();
            e.set_body_text(body, value_before(self.json, start, end, '}'))?;
        }
        Ok(e)
    }
}

impl ExactFields<'_> {
    /// Where a part of the text stands in it.
    fn offset_of(&self, part: &str) -> usize {
        part.as_ptr().addr() - self.json.as_ptr().addr()
    }
}

/// The value between the end of its name and the mark behind it.
fn value_before(json: &str, start: usize, end: usize, mark: char) -> Option<&str> {
    let value = json.get(start..end)?.trim_ascii().strip_prefix(':')?;
    Some(value.strip_suffix(mark)?.trim_ascii())
}

fn put<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    match place.replace(map.next_value()?) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("a field twice")),
    }
}

fn put_text<'de, A: MapAccess<'de>>(
    place: &mut Option<Text<'de>>,
    map: &mut A,
) -> Result<(), A::Error> {
    match place.replace(map.next_value::<JsonText<'de>>()?.0) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("a field twice")),
    }
}

fn put_body<'de, E: serde::de::Error>(
    place: &mut Option<Body<'de>>,
    facts: Option<Box<Object<'de>>>,
) -> Result<(), E> {
    match place.replace(Body { json: "", facts }) {
        None => Ok(()),
        Some(_) => Err(E::custom("a field twice")),
    }
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
    fn set_body_text<E: serde::de::Error>(
        &mut self,
        name: &str,
        json: Option<&'a str>,
    ) -> Result<(), E> {
        let place = match name {
            "requestObject" => &mut self.request_object,
            _ => &mut self.response_object,
        };
        let (Some(body), Some(json)) = (place, json) else {
            return Err(E::custom("a body without an end"));
        };
        body.json = json;
        Ok(())
    }

    /// `None` if a value would not come back exactly.
    fn into_event(self) -> Option<AuditEvent<'a>> {
        let object = match self.object_ref {
            // `"objectRef":{}` would come back as no objectRef at all.
            Some(reference) => Some(reference.into_reference()).filter(|r| !r.is_empty())?,
            None => ObjectReference::default(),
        };
        let json = |value: Option<&'a RawValue>| value.map(|v| Cow::Borrowed(v.get()));
        let (request_object, request_facts) = Body::parts(self.request_object);
        let (response_object, response_facts) = Body::parts(self.response_object);
        let mut event = AuditEvent {
            stage_timestamp: Micros::parse_exact(&self.stage_timestamp?)?,
            request_received_timestamp: Some(Micros::parse_exact(
                &self.request_received_timestamp?,
            )?),
            audit_id: self.audit_id,
            stage: self.stage,
            level: self.level,
            verb: self.verb,
            request_uri: self.request_uri,
            user: self.user?.into_user(),
            impersonated_user: json(self.impersonated_user),
            source_ips: self.source_ips.map(texts),
            user_agent: self.user_agent,
            object,
            request_object,
            response_object,
            request_facts,
            response_facts,
            ..AuditEvent::default()
        };
        if let Some(status) = json(self.response_status) {
            event.response = parse_status(status);
        }
        if let Some(annotations) = json(self.annotations) {
            set_annotations(&mut event, annotations);
        }
        set_impersonated_username(&mut event);
        Some(event)
    }
}

impl<'a> Body<'a> {
    fn parts(body: Option<Self>) -> (Option<Text<'a>>, Option<Box<Object<'a>>>) {
        match body {
            Some(body) => (Some(Cow::Borrowed(body.json)), body.facts),
            None => (None, None),
        }
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
