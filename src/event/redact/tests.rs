//! What is replaced, what is not, and that nothing of a secret is left.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::audit::Text;

const PASSWORD: &str = "hunter2-hunter2";
/// `PASSWORD` in base64.
const PASSWORD_BASE64: &str = "aHVudGVyMi1odW50ZXIy";

fn redactor() -> Redactor {
    Redactor::new([7; 32])
}

fn event<'a>(resource: &'a str, subresource: Option<&'a str>, body: &'a str) -> AuditEvent<'a> {
    let mut event = AuditEvent {
        request_object: Some(Cow::Borrowed(body)),
        ..AuditEvent::default()
    };
    event.object.resource = Some(Cow::Borrowed(resource));
    event.object.subresource = subresource.map(Cow::Borrowed);
    event
}

/// The body after redaction, as request and, which must be the same, as response body.
fn redacted_in(resource: &str, subresource: Option<&str>, body: &str) -> String {
    let mut event = event(resource, subresource, body);
    event.response_object = event.request_object.clone();
    redactor().redact(&mut event);
    assert_eq!(event.request_object, event.response_object);
    let out = event
        .request_object
        .map(Text::into_owned)
        .unwrap_or_default();
    assert_eq!(event.redacted, out != body, "{body}");
    out
}

fn redacted(resource: &str, body: &str) -> String {
    redacted_in(resource, None, body)
}

fn placeholder(value: &str) -> String {
    redactor().placeholders.text(value.as_bytes())
}

fn assert_clean(text: &str) {
    assert!(
        !text.contains("hunter2") && !text.contains("aHVudGVy"),
        "{text}"
    );
}

#[test]
fn values_of_a_secret_are_replaced_and_all_else_stays_byte_for_byte() {
    let body = r#"{ "kind":"Secret", "data" : {"a\u0062":"aHVudGVyMi1odW50ZXIy" , "gone":null,"e":""}, "stringData":{"p":"hunter2-hunter2"},
        "n":100000000000000000000000000001, "metadata":{"name":"s\u003c","annotations":{}}, "type":"Opaque","immutable":false}"#;
    let out = redacted("secrets", body);
    let mark = placeholder(PASSWORD);
    let expected = body
        .replace(PASSWORD_BASE64, &mark)
        .replace(PASSWORD, &mark)
        .replace("\"e\":\"\"", &format!("\"e\":\"{}\"", placeholder("")));
    assert_eq!(out, expected);
    let key_id = redactor().key_id();
    assert!(
        mark.starts_with(&format!("[redacted blake3:{key_id}:")) && mark.len() == 43,
        "{mark}"
    );
    assert_eq!(key_id.len(), 8);
}

#[test]
fn digests_depend_on_the_key_and_debug_does_not_show_it() {
    let other = Redactor::new([8; 32]);
    assert_ne!(other.key_id(), redactor().key_id());
    assert_ne!(
        other.placeholders.text(b"x"),
        redactor().placeholders.text(b"x")
    );
    assert_eq!(
        format!("{other:?}"),
        format!("Redactor({})", other.key_id())
    );
}

#[test]
fn secrets_are_found_wherever_a_body_holds_them() {
    let secret = format!(r#"{{"data":{{"p":"{PASSWORD_BASE64}"}},"kind":"Secret"}}"#);
    let item = format!(r#"{{"data":{{"p":"{PASSWORD_BASE64}"}}}}"#);
    for body in [
        secret.clone(),
        item.clone(),
        format!(r#"{{"kind":"SecretList","items":[{item},{item}]}}"#),
        format!(r#"{{"items":[{item}]}}"#),
        format!(r#"{{"kind":"List","items":[{secret}]}}"#),
        format!(r#"{{"kind":"Table","rows":[{{"cells":["s"],"object":{item}}}]}}"#),
        format!(r#"{{"kind":"ConfigMap","data":{{"p":"{PASSWORD}"}}}}"#),
        format!(
            r#"{{"da\u0074a":{{"p":"{PASSWORD}"}},"data":{{"p":"{PASSWORD}"}},"data":{{"p":"{PASSWORD}"}}}}"#
        ),
        format!(r#"{{"data":"{PASSWORD}"}}"#),
        format!(r#"{{"data":["{PASSWORD}"]}}"#),
        format!(r#"{{"stringData":{{"a":{{"b":"{PASSWORD}"}},"c":["{PASSWORD}"]}}}}"#),
        format!(r#"[{{"op":"add","path":"/data","value":{{"p":"{PASSWORD_BASE64}"}}}}]"#),
        format!(r#"[{{"op":"test","path":"/data/p","value":"{PASSWORD_BASE64}"}}]"#),
        format!(r#"[{{"value":"{PASSWORD}","op":"add","path":"\/stringData\/a~1b"}}]"#),
        format!(
            r#"[{{"op":"replace","path":"","value":{item}}},{{"op":"replace","path":"/","value":{item}}}]"#
        ),
        format!(r#"[{{"op":"replace","path":"","value":"{PASSWORD}"}}]"#),
    ] {
        let out = redacted("secrets", &body);
        assert_clean(&out);
        serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    }
}

#[test]
fn operations_of_a_json_patch_keep_what_is_no_secret() {
    let body = r#"[{"op":"replace","path":"/metadata/labels/a","value":"b"},{"op":"remove","path":"/data/p"},{"op":"add","path":"/data/p","value":null}]"#;
    assert_eq!(redacted("secrets", body), body);
}

#[test]
fn in_a_list_of_mixed_kinds_only_the_secret_is_touched() {
    let body = r#"{"kind":"List","items":[{"kind":"ConfigMap","data":{"c":"plain"}},{"kind":"Secret","data":{"p":"aHVudGVyMi1odW50ZXIy"}}]}"#;
    let expected = body.replace(PASSWORD_BASE64, &placeholder(PASSWORD));
    assert_eq!(redacted("secrets", body), expected);
    assert_eq!(redacted("widgets", body), expected);
}

#[test]
fn equal_values_have_equal_placeholders_in_data_and_string_data() {
    for (plain, base64) in [
        ("", ""),
        ("a", "YQ=="),
        ("ab", "YWI="),
        ("abc", "YWJj"),
        ("a\nb", "YQpi"),
    ] {
        let body = json!({"data": {"p": base64}, "stringData": {"p": plain}}).to_string();
        let out: Value = serde_json::from_str(&redacted("secrets", &body)).unwrap();
        assert_eq!(out["data"]["p"], out["stringData"]["p"], "{plain}");
    }
    assert_eq!(base64_decoded("YQ==\n").as_deref(), Some(&b"a"[..]));
    for bad in ["YQ", "YQ=", "Y===", "====", "YQ=a", "a b=", "é==="] {
        assert_eq!(base64_decoded(bad), None, "{bad}");
    }
}

fn last_applied(inner: &str) -> String {
    json!({"kind": "X", "metadata": {"annotations": {LAST_APPLIED: inner, "other": "stays"}}})
        .to_string()
}

#[test]
fn the_last_applied_annotation_is_redacted_inside() {
    let secret =
        json!({"kind": "Secret", "stringData": {"p": PASSWORD}, "type": "Opaque"}).to_string();
    for (resource, inner) in [
        ("secrets", secret.clone()),
        (
            "secrets",
            json!({"data": {"p": PASSWORD_BASE64}}).to_string(),
        ),
        ("argocds", secret.clone()),
        (
            "argocds",
            json!({"spec": {"template": {"kind": "Secret", "data": {"p": PASSWORD}}}}).to_string(),
        ),
        ("argocds", last_applied(&secret)),
    ] {
        let out: Value = serde_json::from_str(&redacted(resource, &last_applied(&inner))).unwrap();
        assert_clean(&out.to_string());
        let annotations = &out["metadata"]["annotations"];
        assert_eq!(annotations["other"], "stays");
        let kept: Value =
            serde_json::from_str(annotations[LAST_APPLIED].as_str().unwrap()).unwrap();
        assert!(kept.to_string().contains("redacted blake3"), "{kept}");
    }
}

#[test]
fn a_last_applied_annotation_that_cannot_be_read_is_replaced_whole() {
    let cut = format!(r#"{{"kind":"Secret","data":{{"p":"{PASSWORD}"#);
    for resource in ["secrets", "argocds"] {
        let out: Value = serde_json::from_str(&redacted(resource, &last_applied(&cut))).unwrap();
        assert_clean(&out.to_string());
        let whole = out["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(is_placeholder(&whole), "{whole}");
    }
    let lone = last_applied("LONE").replace(
        "\"LONE\"",
        r#""{\"kind\":\"Secret\",\"data\":\"hunter2\ud800\"}""#,
    );
    assert_clean(&redacted("argocds", &lone));
}

#[test]
fn a_json_patch_of_the_last_applied_annotation_is_redacted() {
    let secret = json!({"kind": "Secret", "data": {"p": PASSWORD_BASE64}}).to_string();
    let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
    for (path, value) in [
        (path.as_str(), json!(secret)),
        ("/metadata/annotations", json!({LAST_APPLIED: secret})),
        ("/metadata", json!({"annotations": {LAST_APPLIED: secret}})),
    ] {
        let body = json!([{"op": "add", "path": path, "value": value}]).to_string();
        assert_clean(&redacted("secrets", &body));
        assert_clean(&redacted("widgets", &body));
    }
}

#[test]
fn annotations_embedded_many_times_are_redacted_or_replaced() {
    let mut body = json!({"kind": "Secret", "data": {"p": PASSWORD}}).to_string();
    for _ in 0..12 {
        body = json!({LAST_APPLIED: body}).to_string();
    }
    assert_clean(&redacted("secrets", &body));
    assert_clean(&redacted("widgets", &body));
}

#[test]
fn tokens_are_replaced() {
    for (resource, subresource, body) in [
        (
            "serviceaccounts",
            Some("token"),
            json!({"kind": "TokenRequest", "status": {"token": PASSWORD, "expirationTimestamp": "t"}}),
        ),
        (
            "serviceaccounts",
            Some("token"),
            json!({"status": {"token": PASSWORD}}),
        ),
        (
            "tokenreviews",
            None,
            json!({"kind": "TokenReview", "spec": {"token": PASSWORD, "audiences": ["a"]}}),
        ),
        (
            "tokenrequests",
            None,
            json!({"items": [{"token": PASSWORD}]}),
        ),
        (
            "tokenreviews",
            None,
            json!([{"op": "replace", "path": "/spec/token", "value": PASSWORD}]),
        ),
        (
            "unknown",
            None,
            json!({"spec": {"token": PASSWORD}, "kind": "TokenReview"}),
        ),
    ] {
        let text = body.to_string();
        let out = redacted_in(resource, subresource, &text);
        assert_eq!(out, text.replace(PASSWORD, &placeholder(PASSWORD)));
    }
}

#[test]
fn bodies_that_cannot_be_walked_are_replaced_whole() {
    for resource in ["secrets", "tokenreviews"] {
        for body in [
            "\"hunter2\"",
            "42",
            "{\"data\":\"hunter2",
            "true",
            "hunter2: yaml",
            "",
        ] {
            let out = redacted(resource, body);
            assert_clean(&out);
            let text: String = serde_json::from_str(&out).unwrap();
            assert!(is_placeholder(&text), "{text}");
        }
        for body in [SKIPPED_BODY, "null", "{}", "[]"] {
            assert_eq!(redacted(resource, body), body);
        }
    }
}

#[test]
fn other_resources_are_left_alone() {
    for body in [
        r#"{"kind":"ConfigMap","data":{"p":"plain"},"stringData":{"p":"plain"}}"#,
        r#"{"kind":"Pod","spec":{"token":"x","volumes":[{"secret":{"secretName":"s"}}]},"status":{"token":"x"}}"#,
        r#"{"kind":"Event","involvedObject":{"kind":"Secret","name":"s"},"data":{"p":"plain"}}"#,
        "\"skipped-too-big-size-object\"",
    ] {
        assert_eq!(redacted("configmaps", body), body);
    }
    let mut event = event("configmaps", None, r#"{"data":{"p":"plain"}}"#);
    redactor().redact(&mut event);
    assert!(!event.redacted && matches!(event.request_object, Some(Cow::Borrowed(_))));
}

#[test]
fn the_uri_tells_what_an_odd_object_reference_does_not() {
    let body = format!(r#"{{"data":{{"p":"{PASSWORD}"}}}}"#);
    for uri in [
        "/api/v1/namespaces/dev/secrets/s?x=y",
        "/api/v1/namespaces/dev/%73ecrets/s",
    ] {
        let mut event = event("", None, &body);
        event.request_uri = Some(Cow::Borrowed(uri));
        redactor().redact(&mut event);
        assert_clean(event.request_object.as_deref().unwrap());
    }
}

#[test]
fn extra_and_the_patches_of_webhooks_are_redacted_too() {
    let mut event = event("secrets", None, "{}");
    event.extra = Some(format!(
        r#"{{"requestObject":"{PASSWORD}","responseObject":{{"data":{{"p":"{PASSWORD}"}}}},"x":1}}"#
    ));
    let patch = json!({"webhook": "w", "patch": [{"op": "add", "path": "/data/p", "value": PASSWORD_BASE64}]});
    let annotations = json!({
        "authorization.k8s.io/decision": "allow",
        "patch.webhook.admission.k8s.io/round_0_index_0": patch.to_string(),
    });
    event.annotations = Some(Cow::Owned(annotations.to_string()));
    redactor().redact(&mut event);
    let extra: Value = serde_json::from_str(event.extra.as_deref().unwrap()).unwrap();
    assert_clean(&extra.to_string());
    assert_eq!(extra["x"], 1);
    let annotations = event.annotations.as_deref().unwrap();
    assert_clean(annotations);
    assert!(annotations.contains(r#""authorization.k8s.io/decision":"allow""#));
    assert!(event.redacted);
}

#[test]
fn redacting_again_changes_nothing() {
    let body = format!(r#"{{"kind":"Secret","data":{{"p":"{PASSWORD_BASE64}"}}}}"#);
    let once = redacted("secrets", &body);
    let mut again = event("secrets", None, &once);
    redactor().redact(&mut again);
    assert_eq!(again.request_object.as_deref(), Some(once.as_str()));
    assert!(again.redacted);
}

#[test]
fn ten_thousand_levels_do_no_harm() {
    const DEPTH: usize = 10_000;
    for (open, close) in [("[", "]"), ("{\"data\":", "}"), ("{\"a\":[", "]}")] {
        let body = format!(
            "{}\"{PASSWORD}\"{}",
            open.repeat(DEPTH),
            close.repeat(DEPTH)
        );
        let out = redacted(
            "secrets",
            &format!("{{\"kind\":\"Secret\",\"data\":{{\"p\":{body}}}}}"),
        );
        assert_clean(&out);
        let _ = redacted("secrets", &body);
        let _ = redacted("widgets", &format!("[\"Secret\",{body}]"));
    }
}

#[test]
fn the_time_taken_grows_with_the_length_only() {
    const TIMES: usize = 20_000;
    let many = |text: &str| text.repeat(TIMES);
    // With a search in all siblings for each of these values, this test would take minutes.
    for body in [
        format!(
            "{{{}\"kind\":\"Secret\"}}",
            many("\"value\":1,\"path\":\"/data\",")
        ),
        format!(
            "{{{}\"kind\":\"SecretList\",\"items\":[{}1]}}",
            many("\"a\":1,"),
            many("{},")
        ),
        format!(
            "{{{}\"kind\":\"TokenReview\",\"spec\":{{{}\"a\":1}}}}",
            many("\"a\":1,"),
            many("\"token\":1,")
        ),
    ] {
        redacted("secrets", &body);
        redacted("widgets", &body);
    }
}

fn rejected(record: &str) -> String {
    String::from_utf8(redactor().redact_rejected(record.as_bytes()).into_owned()).unwrap()
}

#[test]
fn broken_records_lose_what_may_be_secret() {
    let start =
        r#"{"requestURI":"/api/v1/namespaces/dev/secrets/s","objectRef":{"resource":"secrets"},"#;
    for rest in [
        format!(r#""requestObject":{{"data":{{"p":"{PASSWORD}"#),
        format!(r#""data" : {{"p":"{PASSWORD}"#),
        format!(r#"'data': {{"p":"{PASSWORD}"#),
        format!(r#""d\u0061ta":{{"p":"{PASSWORD}"#),
        format!(r#"kubectl.kubernetes.io/last-applied-configuration":"{PASSWORD}"#),
    ] {
        let out = rejected(&format!("{start}{rest}"));
        assert_clean(&out);
        assert!(out.starts_with(start), "{out}");
        assert!(out.contains("[redacted blake3:"), "{out}");
    }
    let record = format!(r#"{start}"requestObject":{{"p":"{PASSWORD}"#);
    for _ in 0..3 {
        let wrapped = format!("{{\"log\":{}", Value::String(record.clone()));
        assert_clean(&rejected(&wrapped));
    }
    assert_clean(&rejected(&format!(
        r#"{{"kind":"TokenReview","spec":{{"token":"{PASSWORD}"#
    )));
    assert_clean(&rejected(&format!(
        r#"{{\"subresource\":\"token\",\"responseObject\":\"{PASSWORD}"#
    )));
    assert_clean(&rejected(&format!(r#""stringData":{{"p":"{PASSWORD}"#)));
    assert_clean(&rejected(&format!(
        "{{\\u0022kind\\u0022:\\u0022Secret\\u0022,\\u0022data\\u0022:\\u0022{PASSWORD}"
    )));
    let bytes = [&b"\xff secrets \"data\":"[..], PASSWORD.as_bytes()].concat();
    assert!(
        !redactor()
            .redact_rejected(&bytes)
            .windows(7)
            .any(|w| w == b"hunter2")
    );
}

#[test]
fn broken_records_without_secrets_stay_whole() {
    for record in [
        "",
        "\u{feff}{",
        r#"{"kind":"Event","objectRef":{"resource":"pods"},"requestObject":{"data":"#,
        r#"{"objectRef":{"resource":"secrets"},"level":"Metadata","metadata":"x","stage":"#,
        "I1120 11:20:57 httplog.go:134] \"HTTP\" verb=\"GET\" URI=\"/api/v1/secrets?limit=1\"",
    ] {
        assert!(
            matches!(
                redactor().redact_rejected(record.as_bytes()),
                Cow::Borrowed(_)
            ),
            "{record}"
        );
    }
}

/// Any JSON whose strings and names come from few letters, so that names of interest occur often.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[a-z]{1,3}",
        Just("metadata".to_owned()),
        Just("items".to_owned()),
        Just("spec".to_owned())
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[\\PC\"\\\\]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Hides a Secret with given values in a JSON value; `depth` tells how deep.
fn planted(around: &[Value], values: &Value, in_text: bool) -> Value {
    let mut value =
        json!({"kind": "Secret", "data": values, "stringData": values, "type": "Opaque"});
    if in_text {
        value = json!({"metadata": {"annotations": {LAST_APPLIED: value.to_string()}}});
    }
    for (i, around) in around.iter().enumerate() {
        value = match (around, i % 2) {
            (Value::Object(members), _) => {
                let mut members = members.clone();
                members.insert("object".to_owned(), value);
                Value::Object(members)
            }
            (other, 0) => json!([other, value, other]),
            (other, _) => json!({"a": other, "b": value}),
        };
    }
    value
}

/// The same value with every string that is a placeholder replaced by `***`, also in embedded JSON.
fn blanked(value: &Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) if is_placeholder(text) || secrets.contains(text) => json!("***"),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => Value::String(blanked(&inner, secrets).to_string()),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(|v| blanked(v, secrets)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(k, v)| (k.clone(), blanked(v, secrets)))
                .collect(),
        ),
        _ => value.clone(),
    }
}

proptest! {
    #[test]
    fn no_value_of_a_secret_survives_and_all_else_does(
        around in prop::collection::vec(any_json(), 0..4),
        secrets in prop::collection::vec("SECRET[a-zA-Z0-9+\"\\\\\n<é]{4,12}", 1..4),
        in_text in any::<bool>(),
        resource in prop_oneof![Just("secrets"), Just("widgets")],
    ) {
        let values: Value = Value::Object(
            secrets.iter().enumerate().map(|(i, s)| (format!("key-{i}"), s.as_str().into())).collect(),
        );
        let original = planted(&around, &values, in_text);
        let text = original.to_string();
        let out = redacted(resource, &text);
        prop_assert!(!out.contains("SECRET"), "{}", out);
        let parsed: Value = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(blanked(&parsed, &[]), blanked(&original, &secrets));
    }

    #[test]
    fn mangled_bodies_give_no_panic_and_stay_json(at in 0usize..400, cut in 0usize..30, what in "[\\PC\"\\\\{}\\[\\],:]{0,5}") {
        let text = last_applied(&json!({"kind": "Secret", "data": {"a": "b\\\"c", "d": null}}).to_string());
        let edge = |i: usize| (0..=i.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let mangled = format!("{}{what}{}", &text[..edge(at)], &text[edge(at + cut)..]);
        for resource in ["secrets", "widgets"] {
            let mut event = event(resource, None, &mangled);
            event.extra = Some(mangled.clone());
            event.annotations = Some(Cow::Borrowed(&mangled));
            redactor().redact(&mut event);
            if resource == "secrets" || serde_json::from_str::<Value>(&mangled).is_ok() {
                prop_assert!(serde_json::from_str::<Value>(event.request_object.as_deref().unwrap()).is_ok());
            }
        }
        redactor().redact_rejected(mangled.as_bytes());
    }

    #[test]
    fn cut_records_of_secrets_never_show_a_value(at in 0usize..2000, wrap in 0usize..3) {
        let mut record = json!({
            "auditID": "x", "objectRef": {"resource": "secrets"}, "requestURI": "/api/v1/namespaces/d/secrets",
            "requestObject": {"data": {"p": PASSWORD}, "kind": "Secret"},
            "responseObject": {"data": {"p": PASSWORD}, "kind": "Secret"},
        }).to_string();
        for _ in 0..wrap {
            record = json!({"log": record}).to_string();
        }
        // The names come first in this record, as kube-apiserver writes them too.
        let record = &record[..at.min(record.len())];
        prop_assert!(!rejected(record).contains("hunter2"), "{}", rejected(record));
    }

    #[test]
    fn any_bytes_are_taken_as_a_rejected_record(bytes in prop::collection::vec(any::<u8>(), 0..60), word in "(secrets|token|data|\\\\u00|\"|:){0,8}") {
        let record = [&bytes[..], word.as_bytes()].concat();
        redactor().redact_rejected(&record);
    }
}
