//! The query side against archives that the tests wrote: what is skipped, what is kept in order,
//! which answers come, and that they are the same with everything switched off (K8).

use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::displayable;
use kolumn::error::ErrorKind;
use kolumn::layout::columns::TableName;
use kolumn::query::question::{self, Value, Values};
use kolumn::query::{Session, SessionOptions, time::TimeReader};
use kolumn::table::provider::Pruning;
use serde_json::json;

use crate::fixture::{File, Fixture, event};

async fn session(fixture: &Fixture, pruning: Pruning) -> Session {
    let options = SessionOptions {
        pruning,
        ..SessionOptions::default()
    };
    Session::open(&fixture.archive, &options).await.unwrap()
}

async fn texts(session: &Session, sql: &str) -> Vec<String> {
    let answer = session
        .query(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {}", e.to_chain()));
    let mut rows = Vec::new();
    for batch in answer
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}: {}", e.to_chain()))
    {
        let options = FormatOptions::default().with_null("NULL");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows
}

/// The answer with pruning; the one without must be the same.
async fn both(fixture: &Fixture, sql: &str) -> Vec<String> {
    let on = texts(&session(fixture, Pruning::On).await, sql).await;
    let off = texts(&session(fixture, Pruning::Off).await, sql).await;
    assert_eq!(on, off, "K8: {sql}");
    on
}

async fn plan(fixture: &Fixture, sql: &str) -> String {
    let plan = session(fixture, Pruning::On)
        .await
        .physical_plan(sql)
        .await
        .unwrap();
    displayable(plan.as_ref()).indent(true).to_string()
}

async fn two_days() -> Fixture {
    let mut fixture = Fixture::new().await;
    for (day, names) in [
        ("2026-11-19", ["a", "b", "c"]),
        ("2026-11-20", ["a", "d", "e"]),
    ] {
        let rows = names
            .iter()
            .enumerate()
            .map(|(at, n)| event(n, &format!("{day}T10:0{at}:00.123456Z"), json!({})))
            .collect();
        fixture.write(File::audit("aks-prod", day, rows)).await;
    }
    fixture
}

#[tokio::test]
async fn partition_columns_come_first_and_have_their_types() {
    let fixture = two_days().await;
    let rows = both(
        &fixture,
        "SELECT * FROM audit ORDER BY stage_timestamp LIMIT 1",
    )
    .await;
    assert!(
        rows[0].starts_with("aks-prod|2026-11-19|2026-11-19T10:00:00.123456Z|"),
        "{}",
        rows[0]
    );
    let types =
        "SELECT DISTINCT arrow_typeof(cluster), arrow_typeof(date), arrow_typeof(name) FROM audit";
    assert_eq!(
        texts(&session(&fixture, Pruning::On).await, types).await,
        ["Utf8|Date32|Utf8View"]
    );
    let count = "SELECT count(*) FROM audit";
    assert_eq!(both(&fixture, count).await, ["6"]);
    let picked = "SELECT name, date, cluster FROM audit WHERE name = 'd'";
    assert_eq!(both(&fixture, picked).await, ["d|2026-11-20|aks-prod"]);
    let bounds = "SELECT min(date), max(date), min(cluster) FROM audit";
    assert_eq!(
        both(&fixture, bounds).await,
        ["2026-11-19|2026-11-20|aks-prod"]
    );
}

#[tokio::test]
async fn files_are_skipped_by_partition_and_by_bounds() {
    let fixture = two_days().await;
    for filter in [
        "date = DATE '2026-11-20'",
        "date > '2026-11-19'",
        "stage_timestamp >= '2026-11-20T00:00:00Z'",
        "name = 'e'",
    ] {
        let text = plan(&fixture, &format!("SELECT name FROM audit WHERE {filter}")).await;
        assert!(text.contains("1 group: [["), "{filter}: {text}");
        assert_eq!(text.matches(".parquet").count(), 1, "{filter}: {text}");
    }
    let none = plan(&fixture, "SELECT name FROM audit WHERE cluster = 'other'").await;
    assert!(none.contains("EmptyExec"), "{none}");
    assert_eq!(
        both(
            &fixture,
            "SELECT count(*) FROM audit WHERE cluster = 'other'"
        )
        .await,
        ["0"]
    );
    let explained = both(&fixture, "SELECT name FROM audit WHERE cluster = 'other'").await;
    assert!(explained.is_empty());
    texts(
        &session(&fixture, Pruning::On).await,
        "EXPLAIN ANALYZE SELECT name FROM audit WHERE cluster = 'other'",
    )
    .await;
}

#[tokio::test]
async fn the_last_microsecond_of_a_file_is_found() {
    // The log's maximum is cut to milliseconds: 10:02:00.123, and this row is later than that.
    let fixture = two_days().await;
    let sql = "SELECT name FROM audit WHERE stage_timestamp >= '2026-11-20T10:02:00.123456Z'";
    assert_eq!(both(&fixture, sql).await, ["e"]);
    let sql = "SELECT name FROM audit WHERE stage_timestamp > '2026-11-20T10:02:00.123456Z'";
    assert!(both(&fixture, sql).await.is_empty());
}

#[tokio::test]
async fn a_partition_without_a_value_is_null_and_no_other_is() {
    let mut fixture = two_days().await;
    assert_eq!(
        both(&fixture, "SELECT count(*) FROM audit WHERE date IS NULL").await,
        ["0"]
    );
    fixture
        .write(File {
            partition: vec![("cluster", Some("x")), ("date", None)],
            ..File::audit(
                "x",
                "",
                vec![event("n", "2026-11-20T10:00:00.5Z", json!({}))],
            )
        })
        .await;
    let sql = "SELECT name, date FROM audit WHERE date IS NULL";
    assert_eq!(both(&fixture, sql).await, ["n|NULL"]);
    let sql = "SELECT count(*) FROM audit WHERE date IS NOT NULL";
    assert_eq!(both(&fixture, sql).await, ["6"]);
    let sql = "SELECT count(date), count(*), max(date) FROM audit";
    assert_eq!(both(&fixture, sql).await, ["6|7|2026-11-20"]);
    assert_eq!(
        both(
            &fixture,
            "SELECT count(*) FROM audit WHERE NOT (date > '2026-11-19')"
        )
        .await,
        ["3"]
    );
}

#[tokio::test]
async fn odd_names_of_clusters_lead_to_their_files() {
    let mut fixture = Fixture::new().await;
    for cluster in ["it's 50% off", "a b", "plain"] {
        let rows = vec![event(cluster, "2026-11-20T10:00:00Z", json!({}))];
        fixture
            .write(File::audit(cluster, "2026-11-20", rows))
            .await;
    }
    let sql = "SELECT name FROM audit WHERE cluster = 'it''s 50% off'";
    assert_eq!(both(&fixture, sql).await, ["it's 50% off"]);
    let sql = "SELECT name FROM audit WHERE cluster = name ORDER BY name";
    assert_eq!(both(&fixture, sql).await, ["a b", "it's 50% off", "plain"]);
    let sql = "SELECT name FROM audit WHERE cluster NOT IN ('plain', 'a b')";
    assert_eq!(both(&fixture, sql).await, ["it's 50% off"]);
}

#[tokio::test]
async fn a_column_that_a_file_does_not_have_is_null() {
    let mut fixture = two_days().await;
    fixture
        .write(File {
            without: vec!["replicas", "name", "conditions", "supersedes"],
            ..File::audit(
                "old",
                "2026-11-18",
                vec![event("x", "2026-11-18T10:00:00Z", json!({}))],
            )
        })
        .await;
    let sql = "SELECT cluster, name, replicas, conditions FROM audit WHERE name IS NULL";
    assert_eq!(both(&fixture, sql).await, ["old|NULL|NULL|NULL"]);
    assert_eq!(
        both(&fixture, "SELECT count(*) FROM audit WHERE name = 'a'").await,
        ["2"]
    );
    assert_eq!(
        both(&fixture, "SELECT count(name), count(*) FROM events").await,
        ["6|7"]
    );
}

#[tokio::test]
async fn the_order_of_sorted_files_needs_no_sort() {
    let fixture = two_days().await;
    let sql = "SELECT name FROM audit ORDER BY resource, namespace, name, stage_timestamp";
    let text = plan(&fixture, sql).await;
    assert!(!text.contains("SortExec"), "{text}");
    assert!(text.contains("SortPreservingMergeExec"), "{text}");
    assert_eq!(both(&fixture, sql).await, ["a", "a", "b", "c", "d", "e"]);
    let window = "SELECT name, lag(stage_timestamp) OVER (PARTITION BY resource, namespace, name \
                  ORDER BY stage_timestamp) AS p FROM audit ORDER BY name, stage_timestamp";
    assert_eq!(
        both(&fixture, window).await[1],
        "a|2026-11-19T10:00:00.123456Z"
    );
}

#[tokio::test]
async fn files_that_do_not_say_they_are_sorted_are_sorted_again() {
    let mut fixture = Fixture::new().await;
    let rows = ["c", "a", "b"]
        .map(|n| event(n, "2026-11-20T10:00:00Z", json!({})))
        .to_vec();
    fixture
        .write(File {
            sorted: false,
            ..File::audit("x", "2026-11-20", rows)
        })
        .await;
    let sql = "SELECT name FROM audit ORDER BY resource, namespace, name";
    assert!(plan(&fixture, sql).await.contains("SortExec"));
    assert_eq!(both(&fixture, sql).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn the_latest_rows_come_first_with_desc_and_limit() {
    let mut fixture = Fixture::new().await;
    let rows: Vec<_> = (0..500)
        .map(|at| {
            event(
                &format!("p{at:03}"),
                &format!("2026-11-20T10:{:02}:{:02}Z", at / 60, at % 60),
                json!({}),
            )
        })
        .collect();
    let file = File {
        rows_per_group: 50,
        ..File::audit("x", "2026-11-20", rows)
    };
    fixture.write(file).await;
    let sql = "SELECT name FROM audit ORDER BY stage_timestamp DESC LIMIT 3";
    assert_eq!(both(&fixture, sql).await, ["p499", "p498", "p497"]);
    let sql = "SELECT name FROM audit ORDER BY resource DESC, namespace DESC, name DESC LIMIT 2";
    assert_eq!(both(&fixture, sql).await, ["p499", "p498"]);
    let sql = "SELECT name FROM audit WHERE response_object LIKE '%p007%' AND verb = 'create'";
    assert_eq!(both(&fixture, sql).await, ["p007"]);
}

#[tokio::test]
async fn nested_columns_and_json_are_read() {
    let mut fixture = Fixture::new().await;
    let more = json!({
        "conditions": [{"type": "Ready", "status": "True"}],
        "user_groups": ["system:authenticated"],
        "response_object": "{\"spec\":{\"nodeName\":\"n1\"},\"n\":3}",
    });
    let rows = vec![event("a", "2026-11-20T10:00:00Z", more)];
    fixture.write(File::audit("x", "2026-11-20", rows)).await;
    for (sql, expected) in [
        ("SELECT conditions[1]['type'] FROM audit", "Ready"),
        (
            "SELECT name FROM audit WHERE array_has(user_groups, 'system:authenticated')",
            "a",
        ),
        (
            "SELECT response_object->'spec'->>'nodeName' FROM audit",
            "n1",
        ),
        ("SELECT json_get_int(response_object, 'n') FROM audit", "3"),
        (
            "SELECT c['status'] FROM (SELECT unnest(conditions) AS c FROM audit)",
            "True",
        ),
        (
            "SELECT name FROM audit WHERE text_matches('NODEname\":\"N1', username, response_object)",
            "a",
        ),
        (
            "SELECT duration_text(stage_timestamp - TIMESTAMP '2026-11-20T09:00:00Z') FROM audit",
            "1h 00m 00s",
        ),
        ("SELECT duration_text(INTERVAL '90 seconds')", "1m 30s"),
    ] {
        assert_eq!(both(&fixture, sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn events_leave_out_what_a_fuller_copy_supersedes() {
    let mut fixture = two_days().await;
    let sql = "SELECT name FROM events WHERE cluster = 'y'";
    let text = plan(&fixture, "SELECT name FROM events").await;
    assert!(
        !text.contains("Join"),
        "costs nothing when no file holds a superseding row: {text}"
    );
    let time = "2026-11-20T11:00:00Z";
    let thin =
        json!({"response_object_state": "skipped", "response_object": null, "username": null});
    let full = json!({"supersedes": true, "username": null});
    let other = json!({"response_object_state": "skipped", "username": "bob"});
    for row in [event("a", time, thin), event("a", time, other)] {
        fixture
            .write(File::audit("y", "2026-11-20", vec![row]))
            .await;
    }
    assert_eq!(both(&fixture, sql).await, ["a", "a"]);
    fixture
        .write(File::audit("y", "2026-11-20", vec![event("a", time, full)]))
        .await;
    let shown = "SELECT username, response_object_state FROM events WHERE cluster = 'y' ORDER BY 1";
    assert_eq!(both(&fixture, shown).await, ["bob|skipped", "NULL|present"]);
    // The superseding copy may itself have lost a body: it must not vanish before itself.
    let partly = json!({"supersedes": true, "request_object_state": "truncated"});
    fixture
        .write(File::audit(
            "z",
            "2026-11-20",
            vec![event("q", time, partly)],
        ))
        .await;
    assert_eq!(
        both(&fixture, "SELECT name FROM events WHERE cluster = 'z'").await,
        ["q"]
    );
}

#[tokio::test]
async fn sql_can_only_read() {
    let fixture = two_days().await;
    let session = session(&fixture, Pruning::On).await;
    for sql in [
        "DROP TABLE audit",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "INSERT INTO audit SELECT * FROM audit",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE VIEW v AS SELECT 1",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    ] {
        let e = session.query(sql).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage, "{sql}: {}", e.to_chain());
        assert!(
            e.hint_text().is_some() || sql.contains("EXPLAIN"),
            "{sql}: {}",
            e.to_chain()
        );
    }
    let e = session
        .query("SELECT * FROM '/etc/passwd'")
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Usage);
    for (sql, part) in [
        ("SELEC 1", "cannot be understood"),
        ("SELECT nope FROM audit", "nope"),
        ("SELECT * FROM nope", "table 'nope' not found"),
        ("SELECT nope(1)", "nope"),
        ("SELECT 1; SELECT 2", ""),
    ] {
        let e = session.query(sql).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage, "{sql}: {}", e.to_chain());
        assert!(e.to_string().contains(part), "{sql}: {e}");
    }
}

// The time is looked at between polls, which need a thread while another one counts.
#[tokio::test(flavor = "multi_thread")]
async fn limits_end_a_query_with_a_hint() {
    let fixture = two_days().await;
    let many = "SELECT count(*) FROM range(0, 100000000) a CROSS JOIN range(0, 1000) b";
    let options = SessionOptions {
        timeout: Some(Duration::from_millis(200)),
        ..SessionOptions::default()
    };
    let slow = Session::open(&fixture.archive, &options).await.unwrap();
    let e = match slow.query(many).await {
        Err(e) => e,
        Ok(answer) => answer.collect().await.unwrap_err(),
    };
    assert_eq!(e.kind(), ErrorKind::Limit, "{}", e.to_chain());
    assert!(e.hint_text().unwrap().contains("--timeout"));
    let options = SessionOptions {
        memory_bytes: 1 << 20,
        ..SessionOptions::default()
    };
    let small = Session::open(&fixture.archive, &options).await.unwrap();
    let big = "SELECT a.value, count(*) FROM range(0, 3000000) a JOIN range(0, 3000000) b ON a.value = b.value GROUP BY 1";
    let e = match small.query(big).await {
        Err(e) => e,
        Ok(answer) => answer.collect().await.unwrap_err(),
    };
    assert_eq!(e.kind(), ErrorKind::Limit, "{}", e.to_chain());
    assert!(e.hint_text().unwrap().contains("--memory"));
}

#[tokio::test]
async fn times_without_an_offset_are_read_in_the_zone_of_the_session() {
    let fixture = two_days().await;
    let options = |zone| SessionOptions {
        zone,
        ..SessionOptions::default()
    };
    let utc = Session::open(&fixture.archive, &options(chrono_tz::UTC))
        .await
        .unwrap();
    let tokyo = Session::open(&fixture.archive, &options(chrono_tz::Asia::Tokyo))
        .await
        .unwrap();
    let (first, local) = ("2026-11-19 10:00:00.123456", "2026-11-19 19:00:00.123456");
    for (session, text, count) in [
        (&utc, first, "1"),
        (&tokyo, local, "1"),
        (&tokyo, first, "0"),
    ] {
        for of in ["'{}'", "TIMESTAMP '{}'", "'{}'::timestamp"] {
            let of = of.replace("{}", text);
            for condition in [
                format!("stage_timestamp <= {of}"),
                format!("stage_timestamp BETWEEN '2000-01-01' AND {of}"),
            ] {
                let sql = format!("SELECT count(*) FROM audit WHERE {condition}");
                assert_eq!(texts(session, &sql).await, [count], "{sql}");
            }
        }
        // An offset is an offset.
        let sql = format!("SELECT count(*) FROM audit WHERE stage_timestamp <= '{first}Z'");
        assert_eq!(texts(session, &sql).await, ["1"], "{sql}");
    }
}

fn times() -> TimeReader {
    TimeReader {
        zone: chrono_tz::Tz::UTC,
        now: "2026-11-21T00:00:00Z".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_question_is_asked_with_bound_values() {
    let fixture = two_days().await;
    let session = session(&fixture, Pruning::On).await;
    let text = "-- title: t\n-- param name text optional: n\n-- param names text-list optional: n\n-- param for duration default 1h: d\n-- param code int optional: c\n-- param yes flag default true: f\n-- param part float default 0.5: f\n-- param limit int default 5: l\n\nSELECT name, duration_text($for), $part, $yes FROM events WHERE ($since IS NULL OR stage_timestamp >= $since) AND ($name IS NULL OR name = $name) AND ($names IS NULL OR array_has($names, name)) AND ($code IS NULL OR response_code = $code) ORDER BY stage_timestamp DESC LIMIT $limit";
    let question = question::Question::parse("q", "q.sql", text).unwrap();
    let ask = async |given: Values| {
        let values = question.complete(given, &times()).unwrap();
        let batches = question
            .ask(&session, &values)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        batches.iter().map(|b| b.num_rows()).sum::<usize>()
    };
    let given = |name: &str, value| Values::from([(name.to_owned(), value)]);
    assert_eq!(ask(Values::new()).await, 5);
    assert_eq!(ask(given("name", Value::Text("a".into()))).await, 2);
    assert_eq!(
        ask(given("name", Value::Text("a' OR 'a'='a".into()))).await,
        0
    );
    assert_eq!(
        ask(given(
            "names",
            Value::TextList(vec!["a".into(), "e'".into()])
        ))
        .await,
        2
    );
    assert_eq!(ask(given("limit", Value::Int(1))).await, 1);
    assert_eq!(ask(given("code", Value::Int(-1))).await, 0);
    let day = Value::Time("2026-11-20T00:00:00Z".parse().unwrap());
    assert_eq!(ask(given("since", day.clone())).await, 3);
    let plan = question
        .to_sql(&question.complete(given("since", day), &times()).unwrap())
        .unwrap();
    let plan = session.physical_plan(&plan).await.unwrap();
    let plan = displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(
        plan.matches(".parquet").count(),
        1,
        "a bound time prunes: {plan}"
    );
}

#[tokio::test]
async fn an_answer_says_what_it_cannot_know() {
    let mut fixture = two_days().await;
    let metadata = json!({"resource": "nodes", "subresource": "status", "verb": "patch",
        "level": "Metadata", "response_object_state": "absent"});
    let skipped = json!({"resource": "nodes", "subresource": "status", "verb": "patch",
        "response_object_state": "skipped"});
    let rows = vec![
        event("n1", "2026-11-20T10:00:00Z", metadata.clone()),
        event("n1", "2026-11-20T10:05:00Z", metadata),
        event("n1", "2026-11-20T10:10:00Z", skipped),
    ];
    fixture.write(File::audit("n", "2026-11-20", rows)).await;
    let session = session(&fixture, Pruning::On).await;
    let text = "-- title: t\n-- needs: resource=nodes subresource=status body=response verbs=patch,update\n\nSELECT 1 WHERE $since IS NULL AND $until IS NULL AND $cluster IS NULL";
    let question = question::Question::parse("node-ready-history", "q.sql", text).unwrap();
    let values = question.complete(Values::new(), &times()).unwrap();
    let notes = question.notes(&session, &values, 1).await.unwrap();
    assert_eq!(
        notes,
        [
            "1 response bodies of nodes/status were skipped (skipped-too-big-size-object) in cluster n from 2026-11-20T10:10:00Z to 2026-11-20T10:10:00Z",
            "nodes/status is logged at level Metadata in cluster n from 2026-11-20T10:00:00Z to 2026-11-20T10:05:00Z (2 events): node-ready-history needs RequestResponse",
        ]
    );
    let since = Value::Time("2026-11-30T00:00:00Z".parse().unwrap());
    let values = question
        .complete(Values::from([("since".into(), since)]), &times())
        .unwrap();
    let notes = question.notes(&session, &values, 0).await.unwrap();
    assert!(
        notes[0].starts_with("no events at all in this window; the archive holds 9"),
        "{notes:?}"
    );
    let values = question.complete(Values::new(), &times()).unwrap();
    let notes = question.notes(&session, &values, 0).await.unwrap();
    assert!(notes[2].starts_with("no rows; the archive holds 9 events in this window, from"));
}

#[tokio::test]
async fn an_empty_archive_answers_with_no_rows() {
    let fixture = Fixture::new().await;
    for table in ["audit", "events", "rejected", "ledger"] {
        assert_eq!(
            both(&fixture, &format!("SELECT count(*) FROM {table}")).await,
            ["0"]
        );
    }
    assert!(fixture.folder.path().join("audit/_delta_log").is_dir());
}

/// Two days of every table with rows, a file each.
async fn two_days_of_all_tables() -> Fixture {
    let mut fixture = two_days().await;
    for day in ["2026-11-19", "2026-11-20"] {
        let time = format!("{day}T10:00:00Z");
        let component = json!({"time": time, "component": "kube-controller-manager",
            "message": "Event occurred", "record": "x",
            "fields": "{\"object\":\"d/p\",\"kind\":\"Pod\",\"reason\":\"R\",\"message\":\"m\"}"});
        let sample = json!({"time": time, "source_table": "KubeEvents", "object_kind": "pod",
            "namespace": "d", "name": "q", "reason": "R", "record": "{}"});
        let request = json!({"resource": "events", "event_reason": "R", "regarding_name": "a"});
        for (table, row) in [
            (TableName::Audit, event("e", &time, request)),
            (TableName::Component, component),
            (TableName::Inventory, sample),
        ] {
            let mut file = File::audit("aks-prod", day, vec![row]);
            file.sorted = false;
            fixture.write_to(table, file).await;
        }
    }
    fixture
}

#[tokio::test]
async fn a_window_reaches_the_files_of_every_route_of_events() {
    let fixture = two_days_of_all_tables().await;
    let all = plan(&fixture, "SELECT time, reason FROM event_reports").await;
    assert_eq!(all.matches(".parquet").count(), 6, "{all}");
    for filter in [
        "time >= '2026-11-20T00:00:00Z'",
        "time < '2026-11-20T00:00:00Z' AND cluster = 'aks-prod'",
    ] {
        let sql = format!("SELECT time, reason FROM event_reports WHERE {filter}");
        let text = plan(&fixture, &sql).await;
        assert_eq!(text.matches(".parquet").count(), 3, "{filter}: {text}");
    }
    let sql = "SELECT source, name, reason FROM event_reports ORDER BY time, source";
    let one_day = ["audit|a|R", "component|p|R", "inventory|q|R"];
    assert_eq!(both(&fixture, sql).await, [one_day, one_day].concat());
}

#[test]
fn a_window_keeps_questions_from_the_files_of_other_days() {
    // Plans are walked recursively, in debug builds with large frames: as the binary has it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(8 << 20)
        .build()
        .unwrap();
    let asked = runtime.spawn(async {
        let fixture = two_days_of_all_tables().await;
        let session = session(&fixture, Pruning::On).await;
        let questions = question::load(None).unwrap();
        for name in [
            "authenticator",
            "autoscaler",
            "component-messages",
            "component-volume",
            "coverage",
            "kubernetes-events",
            "node-ready-history",
            "search",
            "timeline",
        ] {
            let question = question::find(&questions, name).unwrap();
            let mut given = Values::from([(
                "since".to_owned(),
                Value::Time("2026-11-20T06:00:00Z".parse().unwrap()),
            )]);
            if name == "search" {
                given.insert("text".to_owned(), Value::Text("x".to_owned()));
            }
            if name == "node-ready-history" {
                given.insert("lookback".to_owned(), Value::Duration(1_000_000));
            }
            let values = question.complete(given, &times()).unwrap();
            let sql = question.to_sql(&values).unwrap();
            let plan = session.physical_plan(&sql).await;
            let plan = plan.unwrap_or_else(|e| panic!("{name}: {}", e.to_chain()));
            let text = displayable(plan.as_ref()).indent(true).to_string();
            // There is no node: bounds keep it from all files.
            let day = text.contains("2026-11-20/part");
            assert_eq!(day, name != "node-ready-history", "{name}: {text}");
            assert!(!text.contains("2026-11-19/part"), "{name}: {text}");
        }
    });
    runtime.block_on(asked).unwrap();
}
