//! The binary as a caller sees it: stdout, stderr, exit code. Archives come from [`Fixture`].

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::fixture::{File, Fixture, event};

struct Kolumn {
    fixture: Fixture,
    folder: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Kolumn {
    async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        let more = json!({"user_groups": ["a", "b"], "conditions": [
            {"type": "Ready", "last_transition_time": "2026-11-20T10:00:00Z"}]});
        let rows = vec![
            event("web-0", "2026-11-20T12:47:00.000001Z", more),
            event("web-1", "2026-11-20T12:48:00Z", json!({"username": null})),
        ];
        fixture
            .write(File::audit("aks-prod", "2026-11-20", rows))
            .await;
        Self {
            fixture,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kolumn"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("KOLUMN_ARCHIVE", self.fixture.folder.path())
            .env("XDG_STATE_HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        ran(child.wait_with_output().unwrap())
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap_or_else(|_| "<bytes>".to_owned()),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[tokio::test]
async fn json_is_one_object_a_line_with_nulls_and_times_in_the_zone() {
    let k = Kolumn::new().await;
    let sql = "SELECT name, username, stage_timestamp AS t, date, user_groups, conditions, \
               response_code FROM audit ORDER BY name";
    let ran = k.run(&["query", sql, "--output", "json", "--timezone", "Asia/Tokyo"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let rows = lines(&ran.out);
    assert_eq!(
        rows[0],
        json!({"name": "web-0", "username": "alice", "t": "2026-11-20T21:47:00.000001+09:00",
            "date": "2026-11-20", "user_groups": ["a", "b"], "response_code": 201,
            "conditions": [{"type": "Ready", "status": null, "reason": null, "message": null,
                "last_transition_time": "2026-11-20T19:00:00+09:00", "last_heartbeat_time": null}]})
    );
    assert_eq!(rows[1]["username"], Value::Null);
    assert!(ran.out.contains("\"username\":null"));
    let utc = k.run(&["query", sql, "--output", "json"]);
    assert_eq!(lines(&utc.out)[0]["t"], "2026-11-20T12:47:00.000001Z");
}

#[tokio::test]
async fn every_format_is_written() {
    let k = Kolumn::new().await;
    let sql = "SELECT name, user_groups, stage_timestamp AS t FROM audit ORDER BY name";
    let table = k.run(&["query", sql]);
    assert!(
        table
            .out
            .contains("web-0  [a, b]       2026-11-20 12:47:00.000001Z"),
        "{}",
        table.out
    );
    assert!(table.out.ends_with("(2 rows)\n"));
    let csv = k.run(&["query", sql, "-o", "csv"]);
    assert_eq!(
        csv.out,
        "name,user_groups,t\nweb-0,\"[\"\"a\"\",\"\"b\"\"]\",2026-11-20T12:47:00.000001Z\nweb-1,,2026-11-20T12:48:00Z\n"
    );
    let none = k.run(&[
        "query",
        "SELECT name, verb FROM audit WHERE false",
        "-o",
        "csv",
    ]);
    assert_eq!(none.out, "name,verb\n");
    let file = k.folder.path().join("x.parquet");
    let parquet = k.run(&["query", sql, "-o", "parquet", "--output-file", "x.parquet"]);
    assert_eq!(
        (parquet.code, parquet.out.as_str()),
        (0, ""),
        "{}",
        parquet.err
    );
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        std::fs::File::open(&file).unwrap(),
    )
    .unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 2);
    k.run(&["query", sql, "-o", "arrow", "--output-file", "x.arrow"]);
    let stream = std::fs::File::open(k.folder.path().join("x.arrow")).unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(stream, None).unwrap();
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 2);
    let bad = k.run(&["query", sql, "--output-file", "no/such/folder.csv"]);
    assert_eq!(bad.code, 2);
    assert!(bad.err.contains("no/such/folder.csv"), "{}", bad.err);
    let wrong = k.run(&["query", "SELECT 1/0", "--output-file", "y.csv"]);
    assert_ne!(wrong.code, 0);
    assert!(
        !k.folder.path().join("y.csv").exists(),
        "no file for an answer that failed"
    );
}

#[tokio::test]
async fn values_of_json_functions_and_bytes_are_text() {
    let k = Kolumn::new().await;
    let sql = "SELECT json_get(response_object, 'kind') AS a, arrow_cast('hi', 'Binary') AS b, \
               decode('ff00', 'hex') AS c FROM audit LIMIT 1";
    let ran = k.run(&["query", sql, "-o", "json"]);
    assert_eq!(
        lines(&ran.out),
        [json!({"a": "Pod", "b": "hi", "c": "ff00"})],
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn every_type_that_a_query_can_make_is_written_in_every_format() {
    let k = Kolumn::new().await;
    let sql = "SELECT INTERVAL '1 hour' AS i, stage_timestamp - stage_timestamp AS d, \
               date_trunc('hour', stage_timestamp) AS h, avg(1.5) OVER () AS f, NULL AS n, \
               arrow_cast(7, 'UInt64') AS u, {'a': [1, NULL]} AS s, CAST(1.25 AS DECIMAL(9,2)) AS m, \
               to_char(stage_timestamp, '%H') AS c, CAST('10:00:00' AS TIME) AS t, \
               json_get(response_object, 'metadata') AS j FROM audit LIMIT 1";
    for format in ["table", "json", "csv", "parquet", "arrow"] {
        let ran = k.run(&["query", sql, "-o", format]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{format}");
    }
    let row = lines(&k.run(&["query", sql, "-o", "json"]).out).remove(0);
    assert_eq!(row["h"], "2026-11-20T12:00:00Z");
    assert_eq!(row["s"], json!({"a": [1, null]}));
    assert_eq!(row["j"], "{\"name\":\"web-0\"}");
}

#[tokio::test]
async fn a_query_comes_from_argument_file_or_stdin() {
    let k = Kolumn::new().await;
    std::fs::write(k.folder.path().join("q.sql"), "SELECT 2 AS n;").unwrap();
    assert_eq!(
        k.run(&["query", "-f", "q.sql", "-o", "json"]).out,
        "{\"n\":2}\n"
    );
    assert_eq!(
        k.run_with(&["query", "-o", "json"], "SELECT 3 AS n").out,
        "{\"n\":3}\n"
    );
    let sql = "SELECT name FROM audit WHERE cluster = 'none'";
    let explained = k.run(&["query", "--explain", "-o", "json", sql]);
    assert_eq!(explained.out, k.run(&["query", "-o", "json", sql]).out);
    let told = &explained.err;
    assert!(told.contains("audit: 0 of "), "{told}");
    assert!(told.contains("read: 0 B of "), "{told}");
    assert!(told.contains("search index: not used"), "{told}");
    let asked = k.run(&["ask", "creates-by-user", "-o", "json", "--explain"]);
    assert!(asked.err.contains(" files opened"), "{}", asked.err);
    assert_eq!(
        asked.out,
        k.run(&["ask", "creates-by-user", "-o", "json"]).out
    );
}

#[tokio::test]
async fn questions_are_asked_with_flags() {
    let k = Kolumn::new().await;
    let list = k.run(&["ask", "--list"]);
    assert!(list.out.contains("creates-by-user"), "{}", list.out);
    let all = k.run(&["ask", "creates-by-user", "-o", "json"]);
    assert_eq!(lines(&all.out).len(), 2, "{}", all.err);
    let one = k.run(&["ask", "creates-by-user", "--user", "alice", "-o", "json"]);
    assert_eq!(lines(&one.out)[0]["name"], "web-0");
    // 21:48 in Tokyo is 12:48Z.
    let tokyo = ["--timezone", "Asia/Tokyo", "-o", "json"];
    let since = k.run(
        &[
            &["ask", "creates-by-user", "--since", "2026-11-20 21:48"],
            &tokyo[..],
        ]
        .concat(),
    );
    assert_eq!(lines(&since.out).len(), 1);
    assert!(
        lines(&since.out)[0]["time"]
            .as_str()
            .unwrap()
            .starts_with("2026-11-20T21:48:00")
    );
    let evil = k.run(&[
        "ask",
        "creates-by-user",
        "--user",
        "x' OR '1'='1",
        "-o",
        "json",
    ]);
    assert_eq!((evil.code, evil.out.as_str()), (0, ""));
    assert!(
        evil.err
            .contains("note: no rows; the archive holds 2 events"),
        "{}",
        evil.err
    );
    let help = k.run(&["ask", "creates-by-user", "--help"]);
    assert!(
        help.out.starts_with("What was created, by whom"),
        "{}",
        help.out
    );
    let query = k.run(&["query", "--help"]);
    assert!(
        query.out.starts_with("Answer an SQL query"),
        "{}",
        query.out
    );
    for part in [
        "--user <TEXT>",
        "[default: 1000]",
        "Columns:",
        "Cost:",
        "Example:",
        "--since <TIME>",
    ] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
}

#[tokio::test]
async fn wrong_use_is_answered_with_a_hint_and_exit_code_2() {
    let k = Kolumn::new().await;
    for (arguments, parts) in [
        (
            &["ask", "create-by-user"][..],
            &["no question 'create-by-user'", "`creates-by-user`"][..],
        ),
        (&["ask"], &["no question was named", "--list"]),
        (
            &["ask", "creates-by-user", "--limit", "many"],
            &["--limit takes a whole number, not 'many'"],
        ),
        (
            &["ask", "creates-by-user", "--since", "soon"],
            &["--since: 'soon' is not a time", "30d"],
        ),
        (
            &["ask", "creates-by-user", "--usr", "x"],
            &["--usr", "--user"],
        ),
        (&["query", "SELEC 1"], &["cannot be understood"]),
        (&["query", "SELECT nope FROM audit"], &["nope", "hint:"]),
        (
            &["query", "SELECT cluster, nope, FROM audit"],
            &["cannot be understood"],
        ),
        (&["query", "DROP TABLE audit"], &["read-only", "hint:"]),
        (
            &["query", "SELECT 1", "--output", "xml"],
            &["xml", "parquet"],
        ),
        (
            &["query", "SELECT 1", "--timezone", "Mars"],
            &["--timezone", "Europe/Berlin"],
        ),
        (
            &["query", "SELECT 1", "--memory", "lots"],
            &["--memory: 'lots' is not a size"],
        ),
        (
            &["query", "SELECT 1", "--config", "none.toml"],
            &["none.toml"],
        ),
        (
            &["query", "SELECT 1", "--archive", "nowhere"],
            &["no archive at", "nowhere", "hint:"],
        ),
        (&["tables", "nope"], &["no table or view nope", "audit"]),
        (&["query", ""], &["empty"]),
    ] {
        let ran = k.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
        for part in parts {
            assert!(ran.err.contains(part), "{arguments:?}: {part}: {}", ran.err);
        }
    }
    assert!(!Path::new(&k.folder.path().join("nowhere")).exists());
    let slow = "SELECT count(*) FROM range(0, 100000000) a CROSS JOIN range(0, 1000) b";
    let ran = k.run(&["query", slow, "--timeout", "200ms"]);
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("hint:") && ran.err.contains("--timeout"));
}

#[tokio::test]
async fn the_configuration_file_names_archive_zone_and_questions() {
    let k = Kolumn::new().await;
    let folder = k.folder.path();
    std::fs::create_dir(folder.join("mine")).unwrap();
    let question =
        "-- title: Which?\n-- column name: its name\n\nSELECT name FROM events ORDER BY 1\n";
    std::fs::write(folder.join("mine/which.sql"), question).unwrap();
    let archive = k.fixture.folder.path().display();
    let config =
        format!("archive = \"{archive}\"\ntimezone = \"Asia/Tokyo\"\nquestions = \"mine\"\n");
    std::fs::write(folder.join("kolumn.toml"), config).unwrap();
    let run = |arguments: &[&str]| {
        ran(k
            .command(arguments)
            .env_remove("KOLUMN_ARCHIVE")
            .output()
            .unwrap())
    };
    assert_eq!(lines(&run(&["ask", "which", "-o", "json"]).out).len(), 2);
    let time = run(&[
        "query",
        "SELECT min(stage_timestamp) AS t FROM audit",
        "-o",
        "csv",
    ]);
    assert!(time.out.contains("+09:00"), "{}{}", time.out, time.err);
    std::fs::write(folder.join("mine/bad.sql"), "-- titel: x\n\nSELECT 1").unwrap();
    let bad = run(&["ask", "which"]);
    assert_eq!(bad.code, 2);
    assert!(
        bad.err.contains("mine/bad.sql:1: unknown key `titel`"),
        "{}",
        bad.err
    );
    assert_eq!(
        run(&["query", "SELECT 1"]).code,
        0,
        "a bad question stops no query"
    );
    std::fs::write(folder.join("kolumn.toml"), "archiv = 'x'\n").unwrap();
    let unknown = run(&["query", "SELECT 1"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("archiv") && unknown.err.contains("hint:"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn tables_and_columns_are_listed() {
    let k = Kolumn::new().await;
    let rows = lines(&k.run(&["tables", "-o", "json"]).out);
    assert_eq!(
        (&rows[0]["name"], &rows[0]["rows"], &rows[0]["files"]),
        (&json!("audit"), &json!(2), &json!(1))
    );
    assert!(
        rows.iter()
            .any(|r| r["name"] == "events" && r["kind"] == "view")
    );
    for table in ["audit", "events", "rejected", "ledger"] {
        let columns = lines(&k.run(&["tables", table, "-o", "json"]).out);
        assert!(
            columns.len() > 5 && columns.iter().all(|c| c["about"].is_string()),
            "{table}"
        );
    }
}

#[tokio::test]
async fn the_shell_runs_a_script_and_stops_at_its_first_error() {
    let k = Kolumn::new().await;
    let script = ".tables\nSELECT count(*) AS n\nFROM audit;\n.ask creates-by-user --user alice\n.columns events\n.quit\nSELECT 9;";
    let ran = k.run_with(&["shell", "-o", "json"], script);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("{\"n\":2}") && ran.out.contains("\"web-0\""),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains('9') || !ran.out.contains("Int64(9)"));
    let bad = k.run_with(
        &["shell"],
        "SELECT 1;\nSELECT nope FROM audit;\nSELECT 'after';",
    );
    assert_eq!(bad.code, 2);
    assert!(!bad.out.contains("after"));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let k = Kolumn::new().await;
    for format in ["table", "json", "csv", "arrow"] {
        let mut child = k
            .command(&["query", "SELECT value FROM range(0, 2000000)", "-o", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{format}");
        assert_eq!(String::from_utf8(done.stderr).unwrap(), "", "{format}");
    }
}

#[tokio::test]
async fn completions_and_the_manual_page_come_from_the_same_source() {
    let k = Kolumn::new().await;
    let bash = k.run(&["completions", "bash"]);
    assert!(bash.out.contains("creates-by-user") && bash.out.contains("--user"));
    let man = k.run(&["man"]);
    assert!(man.out.contains("kolumn") && man.code == 0);
    assert_eq!(k.run(&["--help"]).code, 0);
    assert_eq!(k.run(&["--version"]).code, 0);
    assert_eq!(k.run(&[]).code, 2);
    assert_eq!(k.run(&["nope"]).code, 2);
}

#[tokio::test]
async fn an_answer_over_time_is_drawn() {
    let k = Kolumn::new().await;
    let window = [
        "--since",
        "2026-11-20T12:45:00Z",
        "--until",
        "2026-11-20T12:50:00Z",
    ];
    let ask = |more: &[&str]| k.run(&[&["ask", "component-volume"], &window[..], more].concat());
    let drawn = ask(&[]);
    let wanted = [
        "audit: 2 messages, at most 1 a minute",
        "  ██",
        "  ██",
        "  ██",
        "··██·",
        "",
        "2026-11-20 12:45 UTC  2026-11-20 12:50 UTC",
        "one column: one minute; · none",
    ];
    let shown: Vec<&str> = drawn.out.lines().collect();
    assert_eq!(shown, wanted, "{}", drawn.err);
    let table = ask(&["--no-chart"]);
    assert!(table.out.contains("(2 rows)"), "{}", table.out);
    let json = ask(&["-o", "json"]);
    assert_eq!(lines(&json.out)[1]["time"], "2026-11-20T12:48:00Z");
    let script = ".ask component-volume --per hour --no-chart\n.ask component-volume --per hour\n";
    let shell = k.run_with(&["shell"], script);
    assert!(shell.out.contains("(1 row)"), "{}", shell.out);
    assert!(shell.out.contains("at most 2 an hour"), "{}", shell.out);
    let wrong = ask(&["--per", "week"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("one of minute, hour, day"),
        "{}",
        wrong.err
    );
    let help = k.run(&["ask", "component-volume", "--help"]);
    assert!(help.out.contains("--per <minute|hour|day>"), "{}", help.out);
    assert!(help.out.contains("--no-chart"), "{}", help.out);
}
