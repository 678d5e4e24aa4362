//! The legacy text format of kube-apiserver's log backend: one line an event, `key="value"` pairs
//! quoted as Go quotes (`audit.EventString` in k8s.io/apiserver). It has no bodies, no annotations
//! and no object reference; the object is read from the URI. Its one time is when the request was
//! received, so it stands for the stage's time too. The line itself is kept: it is the record.

use std::borrow::Cow;

use crate::{
    decode::reject::{Reason, Reject},
    event::{
        audit::{AuditEvent, Text},
        time::Micros,
        uri::{object_of_uri, selected_name_of_uri},
    },
};

/// What stands between the time and the fields.
const MARK: &str = " AUDIT: ";

/// A time with nanoseconds and an offset has 35 characters; the mark follows it.
const MARK_END_MAX: usize = 48;

/// True if the text looks like a line of the legacy format.
pub fn is_legacy(text: &str) -> bool {
    let head = &text.as_bytes()[..text.len().min(MARK_END_MAX)];
    head.first().is_some_and(u8::is_ascii_digit)
        && memchr::memmem::find(head, MARK.as_bytes()).is_some()
}

/// Parses one line.
///
/// # Errors
/// `InvalidLegacyLine` if it is malformed or cut, `NoTimestamp` if its time is none.
pub fn parse(line: &str) -> Result<AuditEvent<'_>, Reject> {
    let (time, mut rest) = line
        .split_once(MARK)
        .ok_or_else(|| malformed("no ` AUDIT: `"))?;
    let received = Micros::parse(time)
        .ok_or_else(|| Reject::new(Reason::NoTimestamp, format!("`{time}` is no time")))?;
    let mut event = AuditEvent {
        stage_timestamp: received,
        request_received_timestamp: Some(received),
        legacy_line: Some(Cow::Borrowed(line)),
        ..AuditEvent::default()
    };
    let mut fields = Fields::default();
    while let Some((key, value, after)) = next_field(rest)? {
        fields.take(&mut event, key, value)?;
        rest = after;
    }
    fields.finish(&mut event)?;
    Ok(event)
}

fn malformed(detail: impl std::fmt::Display) -> Reject {
    Reject::new(Reason::InvalidLegacyLine, detail)
}

/// What must wait for the other fields of the line.
#[derive(Default)]
struct Fields<'a> {
    namespace: Option<Text<'a>>,
    impersonated_groups: Option<Vec<Text<'a>>>,
    has_response: bool,
}

impl<'a> Fields<'a> {
    /// Puts one field into its place. An unknown field is kept by the line alone.
    fn take(
        &mut self,
        event: &mut AuditEvent<'a>,
        key: &str,
        value: Text<'a>,
    ) -> Result<(), Reject> {
        match key {
            "id" => event.audit_id = Some(value),
            "stage" => event.stage = Some(value),
            "ip" => event.source_ips = unless(value, "<unknown>").map(|ip| vec![ip]),
            "method" => event.verb = Some(value),
            "user" => event.user.username = unless(value, "<none>"),
            "groups" => event.user.groups = groups(value, "<none>")?,
            "as" => event.impersonated_username = unless(value, "<self>"),
            "asgroups" => self.impersonated_groups = groups(value, "<lookup>")?,
            "user-agent" => event.user_agent = Some(value).filter(|v| !v.is_empty()),
            "namespace" => self.namespace = unless(value, "<none>"),
            "uri" => event.request_uri = Some(value),
            "response" => {
                self.has_response = true;
                event.response.code = response_code(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, event: &mut AuditEvent<'a>) -> Result<(), Reject> {
        if event.audit_id.is_none() {
            return Err(malformed("no id"));
        }
        // Lines with a stage (Kubernetes 1.7 and later) always end with the response. Before, a
        // request was one line and its response another.
        if event.stage.is_some() && !self.has_response {
            return Err(malformed("no response: the line is cut"));
        }
        set_object(event, self.namespace);
        if let Some(username) = &event.impersonated_username {
            let groups = self.impersonated_groups.as_deref();
            event.impersonated_user = Some(Cow::Owned(impersonated_json(username, groups)));
        }
        Ok(())
    }
}

fn set_object<'a>(event: &mut AuditEvent<'a>, namespace: Option<Text<'a>>) {
    if let Some(uri) = &event.request_uri {
        event.object = match uri {
            Cow::Borrowed(uri) => object_of_uri(uri),
            Cow::Owned(uri) => object_of_uri(uri).into_owned(),
        };
        let lists = matches!(event.verb.as_deref(), Some("list" | "watch"));
        if lists && event.object.resource.is_some() && event.object.name.is_none() {
            event.object.name = selected_name_of_uri(uri).map(Cow::Owned);
        }
    }
    if namespace.is_some() {
        event.object.namespace = namespace;
    }
}

fn impersonated_json(username: &str, groups: Option<&[Text<'_>]>) -> String {
    let mut user = serde_json::Map::new();
    user.insert("username".to_owned(), username.into());
    if let Some(groups) = groups {
        user.insert("groups".to_owned(), groups.iter().map(|g| &**g).collect());
    }
    serde_json::Value::Object(user).to_string()
}

/// None for the placeholder.
fn unless<'a>(value: Text<'a>, placeholder: &str) -> Option<Text<'a>> {
    Some(value).filter(|v| v != placeholder)
}

fn response_code(value: Text<'_>) -> Result<Option<i32>, Reject> {
    match unless(value, "<deferred>") {
        None => Ok(None),
        Some(code) => code
            .parse()
            .map(Some)
            .map_err(|e| malformed(format!("response: {e}"))),
    }
}

/// Reads `"a","b"`, which stood quoted once more.
fn groups<'a>(value: Text<'a>, placeholder: &str) -> Result<Option<Vec<Text<'a>>>, Reject> {
    let Some(value) = unless(value, placeholder) else {
        return Ok(None);
    };
    let mut names = Vec::new();
    let mut rest = &*value;
    while !rest.is_empty() {
        let (name, after) = quoted(rest)?;
        names.push(Cow::Owned(name.into_owned()));
        rest = match after.strip_prefix(',') {
            Some(next) if !next.is_empty() => next,
            None if after.is_empty() => after,
            _ => return Err(malformed("a list of groups that is none")),
        };
    }
    Ok(Some(names))
}

type Field<'a> = (&'a str, Text<'a>, &'a str);

/// The next `key="value"` and what follows it.
fn next_field(rest: &str) -> Result<Option<Field<'_>>, Reject> {
    let rest = rest.trim_start_matches(' ');
    if rest.trim_end().is_empty() {
        return Ok(None);
    }
    let (key, rest) = rest
        .split_once('=')
        .ok_or_else(|| malformed("a field without a value"))?;
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
        return Err(malformed("a field name that is none"));
    }
    let (value, rest) = quoted(rest).map_err(|e| malformed(format!("{key}: {}", e.detail)))?;
    Ok(Some((key, value, rest)))
}

/// Reads one string quoted by Go, and gives what follows it.
fn quoted(text: &str) -> Result<(Text<'_>, &str), Reject> {
    let body = text
        .strip_prefix('"')
        .ok_or_else(|| malformed("a value without quotes"))?;
    let mut end = 0;
    let mut escaped = false;
    loop {
        let found = memchr::memchr2(b'"', b'\\', &body.as_bytes()[end..])
            .ok_or_else(|| malformed("a quote is not closed"))?;
        end += found;
        if body.as_bytes()[end] == b'"' {
            break;
        }
        escaped = true;
        // The escaped character may be the last byte of a cut line, or begin a longer one.
        end = (end + 2).min(body.len());
    }
    let (body, rest) = (&body[..end], &body[end + 1..]);
    let value = if escaped {
        Cow::Owned(unescaped(body)?)
    } else {
        Cow::Borrowed(body)
    };
    Ok((value, rest))
}

/// Undoes the escapes of Go's `%q`. Bytes that are no UTF-8 (`\xff`) become U+FFFD.
fn unescaped(body: &str) -> Result<String, Reject> {
    let bad = || malformed("an escape that Go does not write");
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let (&escape, after) = rest[at + 1..].split_first().ok_or_else(bad)?;
        rest = after;
        let digits = match escape {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => {
                bytes.push(simple_escape(escape).ok_or_else(bad)?);
                continue;
            }
        };
        let code = rest.get(..digits).and_then(hex_number).ok_or_else(bad)?;
        rest = &rest[digits..];
        match u8::try_from(code) {
            Ok(byte) if escape == b'x' => bytes.push(byte),
            _ => {
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    bytes.extend_from_slice(rest);
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn simple_escape(escape: u8) -> Option<u8> {
    Some(match escape {
        b'"' | b'\\' | b'\'' => escape,
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => return None,
    })
}

fn hex_number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |n, d| {
        char::from(*d).to_digit(16).map(|d| n.wrapping_shl(4) | d)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Two lines of recordings/legacy-text.
    const PATCH: &str = r#"2026-11-20T11:55:41.7931114Z AUDIT: id="b5cfe518-fb6e-4732-8ee6-7432738a58ac" stage="ResponseComplete" ip="198.51.100.7" method="list" user="system:serviceaccount:gitops:ci-deployer" groups="\"system:serviceaccounts\",\"system:authenticated\"" as="alice@example.com" asgroups="\"dev-team\",\"entwickler:münchen\"" user-agent="ci-deployer/2.4 (+https://ci.example.com)" namespace="kube-system" uri="/api/v1/namespaces/kube-system/secrets?fieldSelector=metadata.name%3Dtop" response="403""#;
    const READYZ: &str = r#"2026-11-20T11:54:49.72943764Z AUDIT: id="c1165554-d4f3-4c99-8758-4910aa6554c9" stage="RequestReceived" ip="<unknown>" method="get" user="<none>" groups="<none>" as="<self>" asgroups="<lookup>" user-agent="" namespace="<none>" uri="/readyz" response="<deferred>""#;

    fn texts(list: Option<&Vec<Text<'_>>>) -> Vec<String> {
        list.map(|l| l.iter().map(|t| t.to_string()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn every_field_of_a_line_finds_its_place() {
        assert!(is_legacy(PATCH));
        let event = parse(PATCH).unwrap();
        assert_eq!(
            event.stage_timestamp,
            Micros::parse("2026-11-20T11:55:41.793111Z").unwrap()
        );
        assert_eq!(
            event.request_received_timestamp,
            Some(event.stage_timestamp)
        );
        assert_eq!(
            event.audit_id.as_deref(),
            Some("b5cfe518-fb6e-4732-8ee6-7432738a58ac")
        );
        assert_eq!(event.stage.as_deref(), Some("ResponseComplete"));
        assert_eq!(event.verb.as_deref(), Some("list"));
        assert_eq!(texts(event.source_ips.as_ref()), ["198.51.100.7"]);
        assert_eq!(
            texts(event.user.groups.as_ref()),
            ["system:serviceaccounts", "system:authenticated"]
        );
        assert_eq!(
            event.impersonated_username.as_deref(),
            Some("alice@example.com")
        );
        let impersonated: serde_json::Value =
            serde_json::from_str(event.impersonated_user.as_deref().unwrap()).unwrap();
        let expected = serde_json::json!({
            "username": "alice@example.com", "groups": ["dev-team", "entwickler:münchen"],
        });
        assert_eq!(impersonated, expected);
        assert_eq!(
            event.user_agent.as_deref(),
            Some("ci-deployer/2.4 (+https://ci.example.com)")
        );
        assert_eq!(event.object.namespace.as_deref(), Some("kube-system"));
        assert_eq!(event.object.resource.as_deref(), Some("secrets"));
        assert_eq!(event.object.name.as_deref(), Some("top"));
        assert_eq!(event.response.code, Some(403));
        assert_eq!(event.legacy_line.as_deref(), Some(PATCH));
    }

    #[test]
    fn placeholders_are_no_values() {
        let event = parse(READYZ).unwrap();
        assert_eq!(event.user.username, None);
        assert_eq!(event.user.groups, None);
        assert_eq!(event.impersonated_user, None);
        assert_eq!(event.source_ips, None);
        assert_eq!(event.user_agent, None);
        assert_eq!(event.object.resource, None);
        assert_eq!(event.response.code, None);
        assert_eq!(event.request_uri.as_deref(), Some("/readyz"));
    }

    #[test]
    fn escapes_of_go_are_undone() {
        let line = READYZ.replace(
            "user-agent=\"\"",
            r#"user-agent="a\"b\\c\n\u00e9\U0001F600\xff\x41\a""#,
        );
        let event = parse(&line).unwrap();
        assert_eq!(
            event.user_agent.as_deref(),
            Some("a\"b\\c\né😀\u{fffd}A\u{7}")
        );
        let line = READYZ.replace(r#"groups="<none>""#, r#"groups="\"a\\\"b\",\"c,d\"""#);
        assert_eq!(
            texts(parse(&line).unwrap().user.groups.as_ref()),
            ["a\"b", "c,d"]
        );
    }

    #[test]
    fn a_name_in_an_escaped_uri_outlives_it() {
        let line = READYZ.replace("/readyz", r"/api/v1/namespaces/dev/pods/w\u00e9b");
        assert_eq!(parse(&line).unwrap().object.name.as_deref(), Some("wéb"));
    }

    #[test]
    fn lines_of_kubernetes_before_1_7_are_read() {
        let request = r#"2017-03-21T03:57:09.106841886-04:00 AUDIT: id="c939d2a7" ip="127.0.0.1" method="GET" user="admin" groups="\"system:masters\"" as="<self>" asgroups="<lookup>" namespace="default" uri="/api/v1/namespaces/default/pods""#;
        let response = r#"2017-03-21T03:57:09.108403639-04:00 AUDIT: id="c939d2a7" response="200""#;
        assert_eq!(
            parse(request).unwrap().object.resource.as_deref(),
            Some("pods")
        );
        assert_eq!(parse(response).unwrap().response.code, Some(200));
    }

    #[test]
    fn malformed_lines_are_rejected_with_a_reason() {
        let cut = PATCH.rfind(" response").unwrap();
        for bad in [
            &PATCH[..cut],
            &PATCH[..PATCH.len() - 1],
            &PATCH.replace("\"403\"", "\"4o3\""),
            &PATCH.replace("method=", "meth od="),
            &PATCH.replace("id=\"b5", "no=\"b5"),
            &PATCH.replace("\\\"dev-team", "dev-team"),
            &format!("{PATCH} trailing"),
            "2026-11-20T11:54:49Z AUDIT: ",
        ] {
            assert_eq!(
                parse(bad).unwrap_err().reason,
                Reason::InvalidLegacyLine,
                "{bad}"
            );
        }
        let no_time = PATCH.replace("2026-11-20T11", "2026-13-20T11");
        assert_eq!(parse(&no_time).unwrap_err().reason, Reason::NoTimestamp);
    }

    #[test]
    fn other_text_is_not_taken_for_legacy() {
        for text in [
            "",
            "I1120 11:20:57.558526   16461 flags.go:64] AUDIT: id=",
            "{\"a\": \" AUDIT: id=\"}",
            "2026",
        ] {
            assert!(!is_legacy(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cut_and_mangled_lines_give_no_panic(at in 0usize..700, what in "(\\PC|\\\\|\"){0,4}") {
            let at = (0..=at.min(PATCH.len())).rev().find(|i| PATCH.is_char_boundary(*i)).unwrap_or(0);
            let _ = parse(&PATCH[..at]);
            let _ = parse(&format!("{}{what}{}", &PATCH[..at], &PATCH[at..]));
            let _ = is_legacy(&PATCH[at..]);
        }

        #[test]
        fn any_value_quoted_by_go_comes_back(value in "\\PC{0,20}") {
            let quoted_value = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
            let (read, rest) = quoted(&quoted_value).unwrap();
            prop_assert_eq!(&*read, &*value);
            prop_assert_eq!(rest, "");
        }
    }
}
