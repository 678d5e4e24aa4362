//! Audit events whose text was cut: CloudWatch cuts a message over its limit and puts
//! `[Truncated...]` behind it, which leaves no JSON. The whole fields before the cut say who did
//! what to which object, so they become an event; the text behind them is kept as it stands.

use serde_json::value::RawValue;

use crate::{
    decode::{
        Shape, audit, json_text,
        reject::{Reason, Reject},
    },
    event::{audit::AuditEvent, time::Micros},
};

/// What CloudWatch puts behind a message that it cut.
const MARK: &str = "[Truncated...]";

/// Parses an event; of one that was cut, takes the fields before the cut. `time` is the wrapper's,
/// for an event that was cut before its own.
///
/// # Errors
/// If the text is no audit event, or was cut too early to tell who did what, or when.
pub fn parse(text: &str, time: Option<Micros>) -> Result<AuditEvent<'_>, Reject> {
    audit::parse(text).or_else(|reject| salvage(text, time, reject))
}

/// Takes the fields before the cut.
///
/// # Errors
/// The given rejection if the text was not cut, or nothing can be told by what is left of it.
pub fn salvage(text: &str, time: Option<Micros>, reject: Reject) -> Result<AuditEvent<'_>, Reject> {
    let is_marked = text.trim_end().ends_with(MARK);
    let reject = match reject.reason {
        Reason::TruncatedJson => reject,
        Reason::InvalidJson if is_marked => Reject {
            reason: Reason::TruncatedJson,
            ..reject
        },
        _ => return Err(reject),
    };
    let Some((shape, end)) = whole_fields(text) else {
        return Err(reject);
    };
    audit::parse_cut(&shape, text.get(end..).unwrap_or_default(), time).map_err(|why| {
        let detail = format!("{}; cut, and before it: {}", reject.detail, why.detail);
        Reject { detail, ..reject }
    })
}

/// The fields of a JSON object that stand whole before the cut, and where the last of them ends.
fn whole_fields(text: &str) -> Option<(Shape<'_>, usize)> {
    let mut at = text.find('{')?;
    if !text[..at].trim().is_empty() {
        return None;
    }
    at += 1;
    let mut fields = Vec::with_capacity(16);
    let mut end = at;
    while let Some((name, colon)) = value_at(text, at) {
        let Some(value_start) = after(text, colon, b':') else {
            break;
        };
        let Some((value, value_end)) = value_at(text, value_start) else {
            break;
        };
        let Some(name) = json_text(name.get()) else {
            break;
        };
        let comma = after(text, value_end, b',');
        // A number may go on behind the cut.
        let closes = value.get().ends_with(['"', '}', ']']);
        if !closes && comma.is_none() && after(text, value_end, b'}').is_none() {
            break;
        }
        fields.push((name, value));
        end = value_end;
        let Some(next) = comma else {
            break;
        };
        at = next;
    }
    (!fields.is_empty()).then_some((Shape { fields }, end))
}

/// The JSON value that starts here, after blanks, and where it ends.
fn value_at(text: &str, at: usize) -> Option<(&RawValue, usize)> {
    let mut values = serde_json::Deserializer::from_str(text.get(at..)?).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

/// Where to go on behind a character, which may stand after blanks.
fn after(text: &str, at: usize, what: u8) -> Option<usize> {
    let rest = text.as_bytes().get(at..)?;
    let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
    (rest.get(blanks) == Some(&what)).then_some(at + blanks + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{audit::BodyState, redact::Redactor};

    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"808bc0af","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/dev/secrets/c","verb":"update","user":{"username":"alice","groups":["dev-team"]},"sourceIPs":["10.200.0.38"],"userAgent":"kubectl/1.29","objectRef":{"resource":"secrets","namespace":"dev","name":"c","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestObject":{"kind":"Secret","data":{"p":"aHVudGVyMg=="}},"responseObject":{"kind":"Secret","data":{"p":"aHVudGVyMg=="}},"requestReceivedTimestamp":"2024-11-15T21:00:00.146797Z","stageTimestamp":"2024-11-15T21:00:00.154217Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#;
    const TIME: Micros = Micros(1_731_704_400_154_000);

    fn cut_before(place: &str, mark: &str) -> String {
        format!("{}{mark}", &EVENT[..EVENT.find(place).unwrap()])
    }

    #[test]
    fn the_fields_before_the_cut_become_an_event() {
        for mark in [MARK, ""] {
            let text = cut_before("VyMg", mark);
            let event = parse(&text, Some(TIME)).unwrap();
            assert_eq!(event.audit_id.as_deref(), Some("808bc0af"));
            assert_eq!(event.user.username.as_deref(), Some("alice"));
            assert_eq!(event.object.name.as_deref(), Some("c"));
            assert_eq!(event.response.code, Some(200));
            assert_eq!(event.stage_timestamp, TIME);
            assert_eq!(event.request_object_state(), BodyState::Truncated);
            assert!(event.is_incomplete());
            assert_eq!(
                event.cut_text.as_deref(),
                Some(
                    format!(r#","requestObject":{{"kind":"Secret","data":{{"p":"aHVudG{mark}"#)
                        .as_str()
                )
            );
            assert_eq!(
                event.extra.as_deref(),
                Some(
                    r#"{"kolumn.io/wrapper-time":"2024-11-15T21:00:00.154000Z","kolumn.io/absent":["stageTimestamp"]}"#
                )
            );
        }
    }

    #[test]
    fn what_stands_before_the_cut_keeps_its_own_time_and_bodies() {
        let text = cut_before("cision", MARK);
        let event = parse(&text, Some(TIME)).unwrap();
        assert_eq!(
            event.stage_timestamp,
            Micros::parse("2024-11-15T21:00:00.154217Z").unwrap()
        );
        assert_eq!(event.request_object_state(), BodyState::Present);
        assert!(event.is_incomplete());
        assert_eq!(event.extra, None);
        assert_eq!(
            event.extra_json().unwrap(),
            r#"{"kolumn.io/cut":",\"annotations\":{\"authorization.k8s.io/de[Truncated...]"}"#
        );
        let text = format!("{EVENT}{MARK}");
        let event = parse(&text, None).unwrap();
        assert_eq!(event.cut_text.as_deref(), Some("}[Truncated...]"));
    }

    #[test]
    fn without_a_time_or_an_object_it_is_a_rejection() {
        let text = cut_before("VyMg", MARK);
        let reject = parse(&text, None).unwrap_err();
        assert_eq!(reject.reason, Reason::TruncatedJson);
        assert!(reject.detail.contains("time"), "{}", reject.detail);
        let text = cut_before("808bc0af", MARK);
        assert!(parse(&text, Some(TIME)).is_err());
        let text = cut_before("kind", MARK);
        assert!(parse(&text, Some(TIME)).is_err());
        for other in [
            r#"{"kind":"Pod","metadata":{"name":"#,
            "{[Truncated...]",
            "[1,2",
            "{\"a\":tru[Truncated...]",
        ] {
            assert!(parse(other, Some(TIME)).is_err(), "{other}");
        }
    }

    #[test]
    fn an_exported_event_that_was_cut_is_read_again_as_it_was() {
        let text = cut_before("VyMg", MARK);
        let first = parse(&text, Some(TIME)).unwrap();
        let cut = serde_json::to_string(first.cut_text.as_deref().unwrap()).unwrap();
        let head = &text[..text.find(",\"requestObject").unwrap()];
        let exported = format!(
            "{head},\"kolumn.io/wrapper-time\":\"{}\",\"kolumn.io/cut\":{cut}}}",
            TIME.to_micro_time()
        );
        let again = parse(&exported, None).unwrap();
        assert_eq!(again.cut_text, first.cut_text);
        assert_eq!(again.stage_timestamp, first.stage_timestamp);
        assert_eq!(again.extra, first.extra);
        assert!(again.is_incomplete());
    }

    #[test]
    fn no_secret_is_left_in_the_text_behind_the_cut() {
        let redactor = Redactor::new([7; 32]);
        for end in EVENT.find("requestObject").unwrap()..EVENT.len() {
            for mark in [MARK, ""] {
                let text = format!("{}{mark}", &EVENT[..end]);
                let Ok(mut event) = parse(&text, Some(TIME)) else {
                    panic!("{end}")
                };
                redactor.redact(&mut event);
                let kept = format!("{event:?}");
                assert!(!kept.contains("aHVu"), "{kept}");
                let cut = event.cut_text.clone();
                redactor.redact(&mut event);
                assert_eq!(event.cut_text, cut);
            }
        }
    }

    #[test]
    fn a_patch_of_a_webhook_behind_the_cut_is_a_secret_too() {
        let patch = r#""patch.webhook.admission.k8s.io/round_0_index_0":"{\"patch\":[{\"op\":\"add\",\"path\":\"/data/p\",\"value\":\"aHVu"#;
        let text = EVENT.replace(r#""authorization.k8s.io/decision":"allow"}}"#, patch);
        let mut event = parse(&text, None).unwrap();
        Redactor::new([7; 32]).redact(&mut event);
        let cut = event.cut_text.unwrap();
        assert!(
            cut.contains("annotations") && !cut.contains("aHVu"),
            "{cut}"
        );
    }

    proptest! {
        #[test]
        fn the_original_is_its_whole_fields_and_the_cut(end in 0usize..EVENT.len(), marked in any::<bool>()) {
            let text = format!("{}{}", &EVENT[..end], if marked { MARK } else { "" });
            if let Some((shape, at)) = whole_fields(&text) {
                let fields: Vec<String> = shape
                    .fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{}", value.get()))
                    .collect();
                prop_assert_eq!(format!("{{{}{}", fields.join(","), &text[at..]), text.clone());
            }
            if let Ok(event) = parse(&text, Some(TIME)) {
                prop_assert!(text.ends_with(event.cut_text.as_deref().unwrap()));
            }
        }

        #[test]
        fn mangled_text_gives_no_panic(at in 0usize..EVENT.len(), what in "[\\PC\"\\\\{}\\[\\],:]{0,6}", cut in 0usize..EVENT.len()) {
            let text = format!("{}{what}{}", &EVENT[..at], &EVENT[at..]);
            let edge = (0..=cut.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let _ = parse(&text[..edge], Some(TIME));
        }
    }
}
