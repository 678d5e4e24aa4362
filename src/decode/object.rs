//! Wrappers taken apart and written again: what the decoders of all clouds have in common.

use std::borrow::Cow;

use crate::{
    decode::{
        Shape, json_text,
        reject::{Reason, Reject},
    },
    event::{audit::Text, time::Micros},
};

/// How many times JSON may be wrapped into a string: `log` is once, some forwarders wrap again.
const WRAPPINGS_MAX: usize = 4;

/// A name that stands twice would leave a second payload, perhaps a secret, in the envelope.
pub(super) fn check_names_differ(shape: &Shape<'_>) -> Result<(), Reject> {
    for (i, (name, _)) in shape.fields.iter().enumerate() {
        if shape.fields[..i].iter().any(|(earlier, _)| earlier == name) {
            let detail = format!("field {name} stands twice");
            return Err(Reject::new(Reason::InvalidJson, detail));
        }
    }
    Ok(())
}

/// Takes JSON out of the string, or strings, it is wrapped into.
pub(super) fn unwrapped(json: &str) -> Result<Text<'_>, Reject> {
    let mut text = Cow::Borrowed(json);
    for _ in 0..WRAPPINGS_MAX {
        if !text.trim_start().starts_with('"') {
            return Ok(text);
        }
        text = match text {
            Cow::Borrowed(text) => json_text(text.trim()),
            Cow::Owned(text) => json_text(text.trim()).map(|t| Cow::Owned(t.into_owned())),
        }
        .ok_or_else(|| Reject::new(Reason::InvalidJson, "a string that cannot be unescaped"))?;
    }
    Ok(text)
}

/// Says in which field of the record the decoder was.
pub(super) fn within(place: &str, reject: Reject) -> Reject {
    Reject {
        detail: format!("{place}: {}", reject.detail),
        ..reject
    }
}

/// A JSON object, written member by member.
pub(super) struct JsonObject(String);

impl JsonObject {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    pub(super) fn push(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            self.0.push('"');
            self.0.push_str(name);
            self.0.push('"');
        } else {
            self.0.push_str(&serde_json::Value::from(name).to_string());
        }
        self.0.push(':');
        self.0.push_str(json);
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

/// The time that a wrapper tells: RFC 3339, the same without a zone (then UTC), or milliseconds
/// since the epoch.
pub(super) fn wrapper_time(text: &str) -> Option<Micros> {
    let text = text.trim();
    if (11..=14).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1000).map(Micros);
    }
    Micros::parse(text).or_else(|| Micros::parse(&format!("{text}Z")))
}

/// A line of text without the newline at its end, which containers write and wrappers keep.
pub(super) fn without_newline(text: Text<'_>) -> Text<'_> {
    match text {
        Cow::Borrowed(t) => Cow::Borrowed(t.strip_suffix('\n').unwrap_or(t)),
        Cow::Owned(mut t) => {
            if t.ends_with('\n') {
                t.pop();
            }
            Cow::Owned(t)
        }
    }
}
