//! Log events that were searched for: documents of OpenSearch and rows of Logs Insights. Both name
//! what they know of a log event with `@`; `@message` is the event, and the fields beside it that
//! were read from it are left out again.

use crate::decode::{
    Record, Shape,
    cloudwatch::{Carried, Kind, Message, cluster_of_group, hand_over, text_or_json},
    object::{JsonObject, check_names_differ},
    reject::{Reason, Reject},
};

/// Decodes the answer of `get-query-results`: a row is a list of fields.
pub(super) fn decode_results(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    for row in shape.array("results").unwrap_or_default() {
        let raw = row.get();
        match row_object(raw) {
            Ok(object) => decode_row(&object, raw, sink),
            Err(reject) => sink(Record::Rejected(reject, raw.as_bytes())),
        }
    }
    if shape.array("results").is_none() {
        let reject = Reject::new(Reason::UnknownJson, "results is no list");
        sink(Record::Rejected(reject, text.as_bytes()));
    }
}

/// `[{"field":"@message","value":…},…]` as `{"@message":…,…}`.
fn row_object(raw: &str) -> Result<String, Reject> {
    let unknown = |detail: &str| Reject::new(Reason::UnknownJson, detail);
    let fields: Vec<Shape<'_>> =
        serde_json::from_str(raw).map_err(|_| unknown("a row of results that is no list"))?;
    let mut json = JsonObject::with_capacity(raw.len());
    for field in &fields {
        match (field.text("field"), field.get("value")) {
            (Some(name), Some(value)) => json.push(&name, value.get()),
            _ => return Err(unknown("a field of a row without name or value")),
        }
    }
    Ok(json.finish())
}

/// Decodes the answer of a search: `{"hits":{"hits":[…]}}`.
pub(super) fn decode_hits(text: &str, shape: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    let documents = shape
        .get("hits")
        .and_then(|hits| Shape::of(hits.get()).ok())
        .and_then(|hits| hits.array("hits"));
    let Some(documents) = documents else {
        let reject = Reject::new(Reason::UnknownJson, "hits without a list of hits");
        return sink(Record::Rejected(reject, text.as_bytes()));
    };
    for document in documents {
        decode_row(document.get(), document.get(), sink);
    }
}

/// Decodes a document of OpenSearch or a row of the console's export.
pub(super) fn decode_document(text: &str, _: &Shape<'_>, sink: &mut dyn FnMut(Record<'_>)) {
    decode_row(text, text, sink);
}

fn decode_row(object: &str, raw: &str, sink: &mut dyn FnMut(Record<'_>)) {
    if let Err(reject) = try_row(object, raw, sink) {
        sink(Record::Rejected(reject, raw.as_bytes()));
    }
}

fn try_row(object: &str, raw: &str, sink: &mut dyn FnMut(Record<'_>)) -> Result<(), Reject> {
    let document = Shape::of(object).map_err(|e| Reject::from_json(&e))?;
    check_names_differ(&document)?;
    let source = match document.get("_source") {
        Some(source) => {
            let source = Shape::of(source.get()).map_err(|e| Reject::from_json(&e))?;
            check_names_differ(&source)?;
            Some(source)
        }
        None => None,
    };
    let fields = source.as_ref().unwrap_or(&document);
    let message = Message::of(fields, "@message")?;
    check_no_body(fields, &message)?;
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| fields.text(name));
    let group = first(["@log_group", "@log"]);
    // Logs Insights puts the account before it.
    let group = group.as_deref().map(|g| match g.split_once(':') {
        Some((account, group)) if account.bytes().all(|b| b.is_ascii_digit()) => group,
        _ => g,
    });
    let stream = first(["@log_stream", "@logStream"]);
    let is_object = fields
        .get("@message")
        .is_some_and(|v| v.get().starts_with('{'));
    let carried = Carried {
        cluster: group.and_then(cluster_of_group),
        stream: stream.as_deref().filter(|s| !s.is_empty()),
        id: first(["@id", "@ptr"]).or_else(|| document.text("_id")),
        time: fields.get("@timestamp").map(|t| text_or_json(t.get())),
        length: raw.len(),
        message,
    };
    let derived = Shape::of(&carried.message.text).ok();
    let envelope = |kind: Kind| {
        let rest = rest_of(fields, derived.as_ref(), is_object, kind);
        if source.is_none() {
            return rest;
        }
        let mut json = JsonObject::with_capacity(rest.len() + 128);
        for (name, value) in &document.fields {
            match &**name {
                "_source" => json.push(name, &rest),
                "_id" if kind == Kind::Line && value.get().starts_with('"') => {}
                _ => json.push(name, value.get()),
            }
        }
        json.finish()
    };
    hand_over(&carried, &envelope, sink)
}

/// The fields without the message, its time, and what was read from the message.
fn rest_of(fields: &Shape<'_>, message: Option<&Shape<'_>>, is_object: bool, kind: Kind) -> String {
    let mut json = JsonObject::with_capacity(512);
    for (name, value) in &fields.fields {
        let is_text = value.get().starts_with('"');
        match &**name {
            // `{}` tells that it was an object.
            "@message" if is_object => json.push(name, "{}"),
            "@message" => {}
            "@timestamp" if is_text => {}
            "@id" | "@ptr" if kind == Kind::Line && is_text => {}
            name if is_derived(name, message) => {}
            _ => json.push(name, value.get()),
        }
    }
    json.finish()
}

/// True if the message has such a field. The Lambda casts numbers and puts JSON that was text into
/// a field of its own, `$name`; whatever it made of the value, the message holds it.
fn is_derived(name: &str, message: Option<&Shape<'_>>) -> bool {
    message.is_some_and(|message| {
        let plain = name.strip_prefix('$').unwrap_or(name);
        // Logs Insights names a value within the message by its path.
        let top = plain.split('.').next().unwrap_or(plain);
        [name, plain, top].iter().any(|n| message.get(n).is_some())
    })
}

/// A body that the message does not have would stand in the envelope, where no secret is looked for.
fn check_no_body(fields: &Shape<'_>, message: &Message<'_>) -> Result<(), Reject> {
    let derived = Shape::of(&message.text).ok();
    let body = fields.fields.iter().find(|(name, _)| {
        let plain = name.strip_prefix('$').unwrap_or(name);
        let top = plain.split('.').next().unwrap_or(plain);
        matches!(top, "requestObject" | "responseObject") && !is_derived(name, derived.as_ref())
    });
    match body {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("{name} stands beside @message, not in it");
            Err(Reject::new(Reason::UnknownJson, detail))
        }
    }
}
