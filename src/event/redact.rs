//! What must not be kept of an event: the values of Secrets, and tokens. Takes an event, replaces
//! such values in its bodies by placeholders, and marks it. Names of fields stay, and everything
//! outside the replaced values stays byte for byte.
//!
//! An event about one of these resources is walked whole, and whatever may be a secret's value is
//! taken for one, whatever the body says of itself: it may be a patch without kind, or one that the
//! server refused. Events about other resources are walked only if their text mentions a Secret,
//! and there only an object that says that it is one is touched.

use std::{borrow::Cow, fmt, sync::LazyLock};

use memchr::memmem::Finder;

use crate::event::{
    audit::{AuditEvent, ObjectReference, SKIPPED_BODY},
    uri::object_of_uri,
};
use placeholder::{Placeholders, base64_decoded, is_placeholder};
use tree::{Cut, Tree, unescaped};
use walk::Walk;

mod placeholder;
mod rejected;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

/// Annotation in which kubectl keeps the object as it was applied, JSON as text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Start of the audit annotations that hold what a webhook changed, JSON with a JSON patch as text.
const WEBHOOK_PATCH: &str = "patch.webhook.admission.k8s.io/";

/// Replaces secrets by placeholders, under one key.
pub struct Redactor {
    placeholders: Placeholders,
}

impl fmt::Debug for Redactor {
    /// Shows the key's id, never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({})", self.placeholders.key_id())
    }
}

impl Redactor {
    /// A redactor whose digests depend on a key.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            placeholders: Placeholders::new(key),
        }
    }

    /// What the key is called in placeholders: eight hex digits that do not tell the key.
    pub fn key_id(&self) -> String {
        self.placeholders.key_id().to_owned()
    }

    /// Replaces secrets in the bodies of an event, and marks it if there were any.
    pub fn redact(&self, event: &mut AuditEvent<'_>) {
        let scope = Scope::of(event);
        let mut redacted = false;
        for body in [&mut event.request_object, &mut event.response_object] {
            if let Some(new) = body
                .as_deref()
                .and_then(|text| self.redacted_body(text, scope))
            {
                *body = Some(Cow::Owned(new));
                redacted = true;
            }
        }
        if let Some(new) = event
            .annotations
            .as_deref()
            .and_then(|text| self.redacted_annotations(text, scope))
        {
            event.annotations = Some(Cow::Owned(new));
            redacted = true;
        }
        if let Some(new) = event
            .extra
            .as_deref()
            .and_then(|text| self.redacted_extra(text, scope))
        {
            event.extra = Some(new);
            redacted = true;
        }
        if let Some(new) = self.redacted_cut(event, scope) {
            event.cut_text = Some(Cow::Owned(new));
            redacted = true;
        }
        if redacted {
            // What was read before may hold what was taken away.
            drop(event.take_read());
            event.redacted = true;
        }
    }

    /// The text behind a cut is no JSON, so it is treated as a record that could not be decoded.
    fn redacted_cut(&self, event: &AuditEvent<'_>, scope: Scope) -> Option<String> {
        let text = event.cut_text.as_deref()?;
        let in_body = event.request_object.as_deref();
        let suspicious = scope.is_sensitive() || in_body.is_some_and(mentions_secret_at_all);
        let patch = text
            .find(WEBHOOK_PATCH)
            .filter(|_| suspicious || mentions_secret_at_all(text));
        let body = rejected::cut_position(text.as_bytes(), suspicious);
        let at = body.into_iter().chain(patch).min()?;
        let (kept, cut) = text.split_at_checked(at)?;
        let replacement = self.placeholders.text(cut.as_bytes());
        (!is_placeholder(cut)).then(|| format!("{kept}{replacement}"))
    }

    /// Cuts off what may be secret in a record that could not be decoded.
    pub fn redact_rejected<'r>(&self, record: &'r [u8]) -> Cow<'r, [u8]> {
        let Some(at) = rejected::cut_position(record, false) else {
            return Cow::Borrowed(record);
        };
        let (kept, cut) = record.split_at(at);
        Cow::Owned([kept, self.placeholders.text(cut).as_bytes()].concat())
    }

    fn redacted_body(&self, text: &str, scope: Scope) -> Option<String> {
        if text == SKIPPED_BODY || text == "null" || !scope.is_sensitive() && !mentions_secret(text)
        {
            return None;
        }
        match Tree::parse(text).filter(Tree::has_container) {
            Some(tree) => tree.splice(Walk::new(self, &tree, scope, 0).cuts()),
            // What cannot be walked is taken away whole.
            None => Some(self.replacement(text, Coding::Plain)),
        }
    }

    /// Annotations hold values of the object only as the patches of webhooks, at level Request.
    fn redacted_annotations(&self, text: &str, scope: Scope) -> Option<String> {
        let suspicious = scope.is_sensitive() || mentions_secret(text);
        if !suspicious || !text.contains(WEBHOOK_PATCH) {
            return None;
        }
        let tree = Tree::parse(text)?;
        tree.splice(Walk::new(self, &tree, scope, 0).cuts())
    }

    /// `extra` holds fields in a form that no typed place takes, bodies among them.
    fn redacted_extra(&self, text: &str, scope: Scope) -> Option<String> {
        if !scope.is_sensitive() && !mentions_secret(text) {
            return None;
        }
        let tree = Tree::parse(text)?;
        let mut cuts = Walk::new(self, &tree, scope, 0).cuts();
        for member in tree.children(0) {
            let is_body = matches!(
                tree.key(member).as_deref(),
                Some("requestObject" | "responseObject")
            );
            let json = tree.json(member);
            if is_body && !json.starts_with(['{', '[', 'n']) && json != SKIPPED_BODY {
                cuts.push(Cut {
                    node: member,
                    replacement: self.replacement(json, Coding::Plain),
                });
            }
        }
        tree.splice(cuts)
    }

    /// The placeholder of a JSON value, JSON. A placeholder stays as it is, so that an exported event
    /// keeps it when it is ingested again.
    fn replacement(&self, json: &str, coding: Coding) -> String {
        let text = unescaped(json).unwrap_or(Cow::Borrowed(json));
        if is_placeholder(&text) {
            return json.to_owned();
        }
        let decoded = match coding {
            Coding::Base64 if json.starts_with('"') => base64_decoded(&text),
            _ => None,
        };
        let value = decoded.as_deref().unwrap_or(text.as_bytes());
        format!("\"{}\"", self.placeholders.text(value))
    }
}

/// How a string stands for the bytes of a secret.
#[derive(Clone, Copy)]
enum Coding {
    /// As it is.
    Plain,
    /// In base64, as in `data`; digested decoded, so that it equals the same value in `stringData`.
    Base64,
}

/// Which secrets the resource of an event makes likely.
#[derive(Clone, Copy)]
struct Scope {
    secrets: bool,
    tokens: bool,
}

impl Scope {
    /// What the event is about, by its objectRef and, lest that is missing or odd, by its URI.
    fn of(event: &AuditEvent<'_>) -> Self {
        let scope = Self::of_object(&event.object);
        let Some(uri) = event.request_uri.as_deref() else {
            return scope;
        };
        if !["secrets", "token", "%"]
            .iter()
            .any(|word| uri.contains(word))
        {
            return scope;
        }
        let by_uri = Self::of_object(&object_of_uri(uri));
        Self {
            secrets: scope.secrets || by_uri.secrets,
            tokens: scope.tokens || by_uri.tokens,
        }
    }

    fn of_object(object: &ObjectReference<'_>) -> Self {
        let resource = object.resource.as_deref().unwrap_or_default();
        let tokens = match resource {
            "tokenreviews" | "tokenrequests" => true,
            "serviceaccounts" => object.subresource.as_deref() == Some("token"),
            _ => false,
        };
        Self {
            secrets: resource == "secrets",
            tokens,
        }
    }

    fn is_sensitive(self) -> bool {
        self.secrets || self.tokens
    }
}

static SECRET: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Secret"));
static TOKEN_KIND: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"TokenRe"));

/// The quick look at bodies of all other resources: a kind Secret or TokenRe…, also in a string, or
/// the annotation of kubectl with a Secret however it is written.
fn mentions_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let quoted = |at: usize| at > 0 && bytes[at - 1] == b'"';
    SECRET.find_iter(bytes).any(quoted)
        || TOKEN_KIND.find(bytes).is_some()
        || mentions_secret_at_all(text) && text.contains("last-applied-configuration")
}

fn mentions_secret_at_all(text: &str) -> bool {
    SECRET.find(text.as_bytes()).is_some()
}
