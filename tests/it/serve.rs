//! `kolumn serve`: who gets in, what they see, what they cannot do, and that one cannot hurt others.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kolumn::error::ErrorKind;
use kolumn::layout::columns::TableName;
use kolumn::query::SessionOptions;
use kolumn::serve::users::{User, write};
use kolumn::serve::{Addresses, Limits, ServeOptions, Server, TlsFiles, Verifier};
use kolumn::table::provider::Sight;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{File, Fixture, event};
use crate::wire::{Answer, Wire, message, startup, text};

const PASSWORD: &str = "correct horse";

/// A server over a small archive of two clusters.
struct Served {
    fixture: Fixture,
    server: Option<Server>,
    at: Addresses,
    log: PathBuf,
    users: PathBuf,
    _folder: tempfile::TempDir,
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        verifier: Verifier::of_password(PASSWORD).unwrap(),
        sight: Sight::default(),
        rows_max: None,
        timeout: None,
    }
}

fn local() -> Option<SocketAddr> {
    Some("127.0.0.1:0".parse().unwrap())
}

async fn archive() -> Fixture {
    let mut fixture = Fixture::new().await;
    for (cluster, names) in [("prod", ["a", "b"]), ("test", ["c", "d"])] {
        let rows = names
            .iter()
            .map(|n| {
                let body = json!({"request_object": "{\"secret\":1}", "user_groups": ["g1", "g2"]});
                event(n, "2026-11-19T10:00:00.123456Z", body)
            })
            .collect();
        fixture
            .write(File::audit(cluster, "2026-11-19", rows))
            .await;
    }
    let rejected = File {
        rows: vec![json!({
            "source_uri": "file:///x", "source_offset": 1, "reason": "no JSON", "detail": "at x",
        })],
        sorted: false,
        ..File::audit("test", "2026-11-19", Vec::new())
    };
    fixture.write_to(TableName::Rejected, rejected).await;
    fixture
}

impl Served {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users.toml");
        let log = folder.path().join("access.log");
        let mut limited = user("limited");
        limited.sight = Sight {
            clusters: Some(["prod".to_owned()].into()),
            no_bodies: true,
        };
        limited.rows_max = Some(10);
        limited.timeout = Some(Duration::from_secs(20));
        write(&users, &[user("ana"), limited]).unwrap();
        let mut options = ServeOptions {
            postgres: local(),
            flight: local(),
            http: local(),
            tls: None,
            users: users.clone(),
            access_log: Some(log.clone()),
            limits: Limits {
                refresh: Duration::ZERO,
                grace: Duration::from_secs(2),
                ..Limits::default()
            },
        };
        change(&mut options);
        let fixture = archive().await;
        let server = Server::start(&fixture.archive, &options, &SessionOptions::default()).await;
        let server = server.unwrap_or_else(|e| panic!("{}", e.to_chain()));
        Self {
            fixture,
            at: server.addresses(),
            server: Some(server),
            log,
            users,
            _folder: folder,
        }
    }

    fn postgres(&self) -> SocketAddr {
        self.at.postgres.unwrap()
    }

    async fn ana(&self) -> Wire {
        Wire::login(self.postgres(), "ana", PASSWORD).await
    }

    fn logged(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    fn psql(&self, arguments: &[&str]) -> Output {
        let port = self.postgres().port().to_string();
        let mut command = Command::new("psql");
        command
            .env("PGPASSWORD", PASSWORD)
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "ana",
                "-d",
                "kolumn",
                "-X",
            ])
            .args(arguments);
        command
            .output()
            .expect("run scripts/emulators first, as scripts/test does")
    }
}

fn output(done: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&done.stdout) + &text(&done.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_proves_a_password_gets_in() {
    let served = Served::new().await;
    for (name, password) in [
        ("ana", "wrong horse"),
        ("ana", ""),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("ANA", PASSWORD),
    ] {
        let begun = Instant::now();
        let mut wire = Wire::connect(served.postgres()).await;
        let (code, told) = wire.try_login(name, password, &[]).await.unwrap_err();
        assert!(code.starts_with("28"), "{code} {told}");
        assert!(begun.elapsed() >= Duration::from_millis(400) || name.is_empty());
        assert!(wire.next().await.is_none(), "the connection ends");
    }
    let mut ana = served.ana().await;
    let asked = "SELECT count(*), session_user, current_database() FROM audit";
    assert_eq!(ana.query(asked).await.rows(), ["4|ana|kolumn"]);
    let refused: Vec<Value> = served.logged();
    let refused: Vec<&Value> = refused.iter().filter(|l| l["event"] == "refused").collect();
    assert_eq!(refused.len(), 5);
    assert!(
        !std::fs::read_to_string(&served.log)
            .unwrap()
            .contains("horse")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_of_the_login_can_be_left_out() {
    let served = Served::new().await;
    let start = startup(&[("user", "ana")]);
    let with_method = |method: &str, first: &str| {
        let length = u32::try_from(first.len()).unwrap();
        message(
            b'p',
            &[&text(method)[..], &length.to_be_bytes(), first.as_bytes()].concat(),
        )
    };
    for (what, bytes) in [
        (
            "a query instead of a password",
            message(b'Q', &text("SELECT 1")),
        ),
        ("a plain password", message(b'p', &text(PASSWORD))),
        (
            "another method",
            with_method("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=x"),
        ),
        ("no message at all", message(b'p', &[])),
        ("an empty first message", with_method("SCRAM-SHA-256", "")),
        (
            "a first message without nonce",
            with_method("SCRAM-SHA-256", "n,,n=ana"),
        ),
        (
            "a proof that proves nothing",
            [
                with_method("SCRAM-SHA-256", "n,,n=,r=x"),
                message(b'p', b"c=biws,r=x,p=AAAA"),
            ]
            .concat(),
        ),
        ("the first message twice", start.clone()),
        (
            "a parse",
            message(b'P', &[&text("")[..], &text("SELECT 1"), &[0, 0]].concat()),
        ),
    ] {
        let mut wire = Wire::connect(served.postgres()).await;
        wire.send(&[start.clone(), bytes].concat()).await;
        let mut last = None;
        while let Some(message) = wire.next().await {
            assert!(
                !matches!(message.tag, b'Z' | b'D' | b'T'),
                "{what}: {message:?}"
            );
            assert!(message.tag != b'R' || message.body[..4] != [0; 4], "{what}");
            last = Some(message);
        }
        let told = last.filter(|m| m.tag == b'E').map(|m| m.error());
        assert!(
            told.is_none_or(|(code, _)| code.starts_with("28") || code == "08P01"),
            "{what}"
        );
    }
    assert_eq!(served.ana().await.query("SELECT 1").await.rows(), ["1"]);
}

/// Statements that must change, read or break nothing, each with a word on why.
const HOSTILE: &[&str] = &[
    // DDL
    "CREATE TABLE t (a int)",
    "CREATE TABLE t AS SELECT * FROM audit",
    "CREATE OR REPLACE TABLE audit AS SELECT 1",
    "CREATE TEMP TABLE t (a int)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE OR REPLACE VIEW events AS SELECT 1",
    "CREATE MATERIALIZED VIEW v AS SELECT 1",
    "CREATE SCHEMA s",
    "CREATE DATABASE d",
    "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc/passwd'",
    "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'http://127.0.0.1:1/x'",
    "CREATE UNBOUNDED EXTERNAL TABLE x STORED AS CSV LOCATION '/dev/zero'",
    "CREATE INDEX i ON audit (name)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION f(int) RETURNS int RETURN $1 + 1",
    "CREATE EXTENSION dblink",
    "CREATE ROLE eve SUPERUSER",
    "CREATE USER eve PASSWORD 'x'",
    "CREATE SERVER s FOREIGN DATA WRAPPER w",
    "CREATE SEQUENCE s",
    "CREATE TRIGGER t BEFORE INSERT ON audit EXECUTE FUNCTION f()",
    "CREATE TYPE t AS (a int)",
    "ALTER TABLE audit ADD COLUMN x int",
    "ALTER TABLE audit RENAME TO gone",
    "ALTER ROLE ana SUPERUSER",
    "ALTER USER ana PASSWORD 'hunter2'",
    "ALTER SYSTEM SET x = 1",
    "DROP TABLE audit",
    "DROP TABLE IF EXISTS audit CASCADE",
    "DROP VIEW events",
    "DROP SCHEMA public CASCADE",
    "DROP SCHEMA pg_catalog CASCADE",
    "DROP DATABASE kolumn",
    "DROP FUNCTION text_matches",
    "TRUNCATE audit",
    "COMMENT ON TABLE audit IS 'x'",
    "VACUUM",
    "ANALYZE audit",
    "REFRESH MATERIALIZED VIEW v",
    "GRANT ALL ON audit TO PUBLIC",
    "REVOKE ALL ON audit FROM ana",
    // DML
    "INSERT INTO audit (name) VALUES ('x')",
    "INSERT INTO audit SELECT * FROM audit",
    "INSERT INTO pg_catalog.pg_class SELECT * FROM pg_catalog.pg_class",
    "UPDATE audit SET name = 'x'",
    "DELETE FROM audit",
    "DELETE FROM pg_catalog.pg_description",
    "MERGE INTO audit USING audit AS b ON true WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM audit RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO audit (name) VALUES ('x') RETURNING *) SELECT * FROM x",
    "SELECT * INTO t FROM audit",
    "EXPLAIN ANALYZE INSERT INTO audit (name) VALUES ('x')",
    "EXPLAIN ANALYZE DELETE FROM audit",
    "EXPLAIN CREATE TABLE t (a int)",
    // COPY, files and programs
    "COPY audit FROM '/etc/passwd'",
    "COPY audit FROM STDIN",
    "COPY audit FROM PROGRAM 'id'",
    "COPY audit TO '/tmp/kolumn-hostile.csv'",
    "COPY (SELECT 1) TO '/tmp/kolumn-hostile.parquet'",
    "COPY (SELECT 1) TO '/tmp/kolumn-hostile.parquet' STORED AS PARQUET",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/kolumn-hostile'",
    "COPY audit TO 's3://bucket/x' STORED AS PARQUET",
    "COPY (DELETE FROM audit) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT (FORMAT parquet)",
    "LOAD DATA INPATH '/etc/passwd' INTO TABLE audit",
    "LOAD 'libc.so.6'",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/etc/passwd')",
    "SELECT * FROM metadata_cache()",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/kolumn-hostile')",
    "SELECT * FROM dblink('host=127.0.0.1', 'SELECT 1')",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_sleep(1000)",
    "SELECT system('id')",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL f()",
    // What a connection must not change
    "SET datafusion.execution.batch_size = 1",
    "SET datafusion.catalog.information_schema = false",
    "SET datafusion.runtime.memory_limit = '100G'",
    "SET datafusion.runtime.temp_directory = '/etc'",
    "SET SESSION AUTHORIZATION root",
    "SET ROLE root",
    "SET role = 'root'",
    "SET session_authorization = 'root'",
    "SET is_superuser = on",
    "SET GLOBAL statement_timeout = 0",
    "SET client_encoding = 'LATIN1'",
    "SET standard_conforming_strings = off",
    "SET (a, b) = (1, 2)",
    "SET statement_timeout = 'forever'",
    "SET server_version = '1'",
    "RESET datafusion.execution.batch_size",
    "PREPARE p AS DELETE FROM audit",
    "EXECUTE p",
    "LISTEN x",
    "NOTIFY x",
    "LOCK TABLE audit",
    "KILL 1",
    "USE other",
    "CHECKPOINT",
    "ATTACH DATABASE 'x' AS y",
    "INSTALL httpfs",
    "DECLARE c BINARY CURSOR FOR SELECT 1",
    "FETCH ALL FROM nothing",
    // Nothing at all
    "",
    "this is no SQL",
    "SELECT 'never closed",
    "SELECT 1 /* never closed",
    "SELECT $$",
    "SELECT \u{202e}",
    "SELECT (((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    "SELECT * FROM audit WHERE no_such_column = 1",
    "SELECT * FROM no_such_table",
    "SELECT * FROM other.public.audit",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_are_refused_and_leave_nothing_behind() {
    let served = Served::new().await;
    assert!(HOSTILE.len() >= 100, "{}", HOSTILE.len());
    let mut wire = served.ana().await;
    let tables = "SELECT count(*) FROM information_schema.tables";
    let before = wire.query(tables).await.rows();
    let mut let_through = Vec::new();
    for statement in HOSTILE {
        for answer in [wire.query(statement).await, wire.ask(statement, &[]).await] {
            match answer {
                Answer::Error { code, message } => {
                    assert!(code != "XX000", "{statement}: {message}");
                }
                Answer::Rows(rows) if rows.is_empty() && statement.is_empty() => {}
                Answer::Rows(rows) => let_through.push(format!("{statement}: {rows:?}")),
            }
        }
        // A statement of its own, and behind an innocent one.
        let stacked = format!("SELECT 1; {statement}");
        if !statement.is_empty()
            && let Answer::Rows(rows) = wire.query(&stacked).await
        {
            let_through.push(format!("{stacked}: {rows:?}"));
        }
    }
    assert!(let_through.is_empty(), "{}", let_through.join("\n"));
    assert_eq!(wire.query("SELECT count(*) FROM audit").await.rows(), ["4"]);
    assert_eq!(
        wire.query("SELECT count(*) FROM events").await.rows(),
        ["4"]
    );
    assert_eq!(wire.query(tables).await.rows(), before);
    for path in ["", ".csv", ".parquet"] {
        assert!(!Path::new(&format!("/tmp/kolumn-hostile{path}")).exists());
    }
    let log = std::fs::read_to_string(&served.log).unwrap();
    assert!(log.contains("DROP TABLE audit") && !log.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_too_big_or_deep_hurt_nobody() {
    let served = Served::with(|options| options.limits.timeout = Duration::from_secs(3)).await;
    let deep = [
        format!("SELECT {}1", "1+".repeat(200_000)),
        format!("SELECT {}1{}", "(".repeat(30_000), ")".repeat(30_000)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!(
            "SELECT * FROM audit WHERE {}",
            vec!["name = 'a'"; 30_000].join(" OR ")
        ),
        vec!["SELECT 1"; 30_000].join(" UNION ALL "),
        format!("SELECT {}1{}", "abs(".repeat(1_900), ")".repeat(1_900)),
        format!("SELECT {}1", "1+".repeat(1_900)),
        format!("SELECT {}1", "-".repeat(1_900)),
        format!(
            "SELECT {} 1 {}",
            "CASE WHEN true THEN ".repeat(900),
            "END ".repeat(900)
        ),
    ];
    for sql in deep {
        let mut wire = served.ana().await;
        // Some are answered, some refused: the server lives.
        let _ = wire.query(&sql).await;
    }
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT max(a.name || p.name || h.name) FROM audit a, audit b, audit c, audit d, audit e, audit f, \
         audit g, audit h, audit i, audit j, audit k, audit l, audit m, audit n, audit o, audit p \
         WHERE a.name || b.name || c.name || d.name || e.name || f.name || g.name || o.name <> p.name",
    ] {
        let begun = Instant::now();
        assert_eq!(served.ana().await.query(sql).await.code(), "57014", "{sql}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(served.ana().await.query("SELECT 1").await.rows(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_end_their_connection_only() {
    let served = Served::with(|options| options.limits.message_bytes = 100_000).await;
    let raw =
        |tag: u8, length: u32, body: &[u8]| [&[tag], &length.to_be_bytes()[..], body].concat();
    let bind = |body: &[u8]| message(b'B', body);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a length of zero", raw(b'Q', 0, &[])),
        ("a length of three", raw(b'Q', 3, b"abc")),
        ("a negative length", raw(b'Q', u32::MAX, b"SELECT 1\0")),
        (
            "the greatest length",
            raw(b'Q', i32::MAX as u32, b"SELECT 1\0"),
        ),
        (
            "a message of a GiB",
            raw(b'Q', 0x3fff_fff0, &vec![b' '; 200_000]),
        ),
        (
            "a message above the limit",
            message(b'Q', &vec![b' '; 200_000]),
        ),
        ("an unknown tag", raw(b'!', 4, &[])),
        ("a tag of zero", raw(0, 4, &[])),
        ("a query without an end", message(b'Q', b"SELECT 1")),
        ("an empty bind", bind(&[])),
        ("a bind with 65535 formats", bind(b"\0\0\xff\xff")),
        ("a bind with 65535 values", bind(b"\0\0\0\0\xff\xff")),
        (
            "a bind whose value is too long",
            bind(b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        ),
        (
            "a parse with 65535 types",
            message(b'P', b"\0SELECT 1\0\xff\xff"),
        ),
        ("an empty parse", message(b'P', &[])),
        ("an empty describe", message(b'D', &[])),
        ("an empty execute", message(b'E', &[])),
        ("an empty close", message(b'C', &[])),
        ("a startup in the middle", startup(&[("user", "eve")])),
        ("a password in the middle", message(b'p', &text("x"))),
        ("noise", (0..=255).cycle().take(5_000).collect()),
    ];
    for (what, bytes) in cases {
        let mut wire = served.ana().await;
        wire.send(&bytes).await;
        wire.stream.shutdown().await.unwrap();
        while let Some(message) = wire.next().await {
            assert!(!matches!(message.tag, b'D' | b'T'), "{what}: {message:?}");
        }
    }
    for (what, bytes) in [
        ("no startup", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "a startup of a GiB",
            [&0x3fff_fff0_u32.to_be_bytes()[..], &[0; 4]].concat(),
        ),
        ("a startup without parameters", startup(&[])),
        (
            "an old protocol",
            [&8_u32.to_be_bytes()[..], &131_072_u32.to_be_bytes()].concat(),
        ),
        ("noise", vec![0x80; 9_000]),
    ] {
        let mut stream = TcpStream::connect(served.postgres()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        // Closed, politely or not.
        let _ = read.unwrap_or_else(|_| panic!("{what}: still open"));
    }
    assert_eq!(served.ana().await.query("SELECT 1").await.rows(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misused_extended_protocol_is_told_and_goes_on_at_sync() {
    let served = Served::new().await;
    let mut wire = served.ana().await;
    let parse =
        |name: &str, sql: &str| message(b'P', &[&text(name)[..], &text(sql), &[0, 0]].concat());
    let bind = |portal: &str, name: &str, rest: &[u8]| {
        message(b'B', &[&text(portal)[..], &text(name), rest].concat())
    };
    let execute =
        |portal: &str, rows: u32| message(b'E', &[&text(portal)[..], &rows.to_be_bytes()].concat());
    let sync = message(b'S', &[]);
    let none: &[u8] = &[0; 6];
    for (code, messages) in [
        ("26000", vec![bind("", "absent", none)]),
        ("34000", vec![execute("absent", 0)]),
        (
            "26000",
            vec![message(b'D', &[&b"S"[..], &text("absent")].concat())],
        ),
        (
            "34000",
            vec![message(b'D', &[&b"P"[..], &text("absent")].concat())],
        ),
        (
            "08P01",
            vec![message(b'D', &[&b"X"[..], &text("")].concat())],
        ),
        (
            "08P01",
            vec![message(b'C', &[&b"X"[..], &text("")].concat())],
        ),
        (
            "08P01",
            vec![parse("", "SELECT $1::text"), bind("", "", none)],
        ),
        (
            "08P01",
            vec![
                parse("", "SELECT 1, 2, 3"),
                bind("", "", &[0, 0, 0, 0, 0, 2, 0, 0, 0, 1]),
            ],
        ),
        ("42601", vec![parse("", "SELECT 1; SELECT 2")]),
        (
            "42601",
            vec![parse("", "SELEC 1"), bind("", "", none), execute("", 0)],
        ),
    ] {
        wire.send(&[messages.concat(), sync.clone()].concat()).await;
        assert_eq!(wire.answer().await.code(), code, "{messages:?}");
    }
    // As many rows as a client can ask for need no memory of that size.
    wire.send(
        &[
            parse("", "SELECT name FROM audit ORDER BY 1"),
            bind("", "", none),
            execute("", u32::MAX >> 1),
            sync.clone(),
        ]
        .concat(),
    )
    .await;
    assert_eq!(wire.answer().await.rows(), ["a", "b", "c", "d"]);
    wire.send(
        &[
            parse("", "SELECT name FROM audit ORDER BY 1"),
            bind("", "", none),
            execute("", u32::MAX),
            sync.clone(),
        ]
        .concat(),
    )
    .await;
    assert_eq!(wire.answer().await.rows(), ["a", "b", "c", "d"]);
    // Two at a time, and the rest.
    wire.send(
        &[
            parse("", "SELECT name FROM audit ORDER BY 1"),
            bind("", "", none),
            execute("", 2),
            execute("", 1),
            execute("", 0),
            execute("", 0),
            sync,
        ]
        .concat(),
    )
    .await;
    assert_eq!(wire.answer().await.rows(), ["a", "b", "c", "d"]);
    let asked = "SELECT name FROM audit WHERE name > $1 AND response_code = $2 ORDER BY 1 LIMIT $3";
    assert_eq!(wire.ask(asked, &["a", "201", "2"]).await.rows(), ["b", "c"]);
    let injected = "SELECT count(*) FROM audit WHERE name = $1";
    assert_eq!(wire.ask(injected, &["' OR true --"]).await.rows(), ["0"]);
    assert_eq!(wire.ask("SELECT $1", &["a"]).await.rows(), ["a"]);
    assert_eq!(wire.ask("SELECT $1::int + 1", &["x"]).await.code(), "22P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_sees_its_clusters_and_no_bodies_whatever_it_asks() {
    let served = Served::new().await;
    let mut limited = Wire::login(served.postgres(), "limited", PASSWORD).await;
    for (sql, told) in [
        ("SELECT DISTINCT cluster FROM audit", "prod"),
        ("SELECT count(*) FROM audit", "2"),
        ("SELECT count(*) FROM events", "2"),
        ("SELECT count(*) FROM mutations", "2"),
        ("SELECT count(*) FROM audit WHERE cluster = 'test'", "0"),
        (
            "SELECT count(*) FROM audit WHERE cluster <> 'prod' OR true",
            "2",
        ),
        ("SELECT max(name) FROM audit", "b"),
        ("SELECT count(*) FROM rejected", "0"),
        ("SELECT count(*) FROM ledger", "0"),
        (
            "SELECT count(request_object), count(response_object), count(name) FROM audit",
            "0|0|2",
        ),
        (
            "SELECT count(*) FROM audit WHERE request_object IS NULL",
            "2",
        ),
        (
            "SELECT count(*) FROM audit WHERE request_object LIKE '%secret%'",
            "0",
        ),
        (
            "SELECT count(*) FROM audit WHERE NOT coalesce(request_object LIKE '%secret%', false)",
            "2",
        ),
        (
            "SELECT count(*) FROM audit WHERE text_matches('secret', request_object)",
            "0",
        ),
        (
            "SELECT count(*) FROM audit WHERE length(response_object) > 0 AND cluster = 'prod'",
            "0",
        ),
        (
            "SELECT min(request_object), name FROM audit GROUP BY name ORDER BY name LIMIT 1",
            "|a",
        ),
        (
            "SELECT a.request_object FROM audit a JOIN audit b ON a.name = b.name LIMIT 1",
            "",
        ),
    ] {
        assert_eq!(limited.query(sql).await.rows(), [told], "{sql}");
        assert_eq!(limited.ask(sql, &[]).await.rows(), [told], "{sql}");
    }
    let too_many = "SELECT * FROM generate_series(1, 11)";
    assert_eq!(limited.query(too_many).await.code(), "54000");
    assert_eq!(
        limited
            .query("SELECT * FROM generate_series(1, 10)")
            .await
            .rows()
            .len(),
        10
    );
    let mut ana = served.ana().await;
    let all = "SELECT count(*), count(request_object), count(DISTINCT cluster) FROM audit";
    assert_eq!(ana.query(all).await.rows(), ["4|4|2"]);
    // Taken out of the file, a user is out: the open connection and the next one.
    write(&served.users, &[user("ana")]).unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(limited.query("SELECT 1").await.code(), "42501");
    let mut again = Wire::connect(served.postgres()).await;
    assert_eq!(
        again
            .try_login("limited", PASSWORD, &[])
            .await
            .unwrap_err()
            .0,
        "28P01"
    );
    assert_eq!(ana.query("SELECT 1").await.rows(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_do_not_share_what_they_set() {
    let served = Served::new().await;
    let (mut one, mut other) = (served.ana().await, served.ana().await);
    one.query("SET TIME ZONE 'Asia/Tokyo'").await.rows();
    one.query("SET application_name = 'one'").await.rows();
    assert_eq!(one.query("SHOW timezone").await.rows(), ["Asia/Tokyo"]);
    assert_eq!(other.query("SHOW timezone").await.rows(), ["UTC"]);
    let naive = "SELECT count(*) FROM audit WHERE stage_timestamp < '2026-11-19 12:00:00'";
    assert_eq!(one.query(naive).await.rows(), ["0"]);
    assert_eq!(other.query(naive).await.rows(), ["4"]);
    one.query("RESET ALL").await.rows();
    assert_eq!(one.query(naive).await.rows(), ["4"]);
    one.query("BEGIN").await.rows();
    assert_eq!(one.query("SELECT nothing").await.code(), "42703");
    assert_eq!(one.query("SELECT 1").await.code(), "25P02");
    one.query("ROLLBACK").await.rows();
    assert_eq!(one.query("SELECT 1").await.rows(), ["1"]);
    one.query("BEGIN; DECLARE c CURSOR FOR SELECT name FROM audit ORDER BY 1")
        .await
        .rows();
    assert_eq!(other.query("FETCH ALL FROM c").await.code(), "34000");
    assert_eq!(one.query("FETCH 3 FROM c").await.rows(), ["a", "b", "c"]);
    assert_eq!(one.query("FETCH ALL FROM c").await.rows(), ["d"]);
    assert_eq!(one.query("CLOSE c; COMMIT").await.rows(), [""; 0]);
    one.query("SET statement_timeout = 200").await.rows();
    let long = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    assert_eq!(one.query(long).await.code(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_can_be_cancelled_with_its_secret_only() {
    let served = Served::new().await;
    let mut wire = served.ana().await;
    let cancel = |process: u32, secret: u32| {
        let address = served.postgres();
        async move {
            let numbers = [16, 80_877_102, process, secret];
            let bytes: Vec<u8> = numbers.iter().flat_map(|n: &u32| n.to_be_bytes()).collect();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut end = Vec::new();
            stream.read_to_end(&mut end).await.unwrap();
            assert!(end.is_empty());
        }
    };
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT * FROM generate_series(1, 1000000000000)",
    ] {
        wire.send(&message(b'Q', &text(sql))).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel(wire.process, wire.secret.wrapping_add(1)).await;
        cancel(wire.process + 1, wire.secret).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel(wire.process, wire.secret).await;
        assert_eq!(wire.answer().await.code(), "57014", "{sql}");
    }
    assert_eq!(wire.query("SELECT 1").await.rows(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_commits_are_seen_and_a_running_statement_keeps_its_version() {
    let mut served = Served::new().await;
    let mut wire = served.ana().await;
    wire.query("BEGIN; DECLARE c CURSOR FOR SELECT name FROM audit")
        .await
        .rows();
    assert_eq!(wire.query("FETCH 1 FROM c").await.rows().len(), 1);
    let mut prepared = served.ana().await;
    let count = "SELECT count(*) FROM audit";
    let parse = [&text("kept")[..], &text(count), &[0, 0]].concat();
    let bind = [&text("")[..], &text("kept"), &[0; 6]].concat();
    let run = [
        message(b'B', &bind),
        message(b'E', &[0; 5]),
        message(b'S', &[]),
    ]
    .concat();
    prepared
        .send(&[message(b'P', &parse), run.clone()].concat())
        .await;
    assert_eq!(prepared.answer().await.rows(), ["4"]);
    let rows = vec![event("new", "2026-11-20T10:00:00Z", json!({}))];
    served
        .fixture
        .write(File::audit("prod", "2026-11-20", rows))
        .await;
    assert_eq!(wire.query("FETCH ALL FROM c").await.rows().len(), 3);
    assert_eq!(wire.query(count).await.rows(), ["5"]);
    assert_eq!(
        wire.query("SELECT count(*) FROM events").await.rows(),
        ["5"]
    );
    prepared.send(&run).await;
    assert_eq!(prepared.answer().await.rows(), ["5"]);
    let mut limited = Wire::login(served.postgres(), "limited", PASSWORD).await;
    assert_eq!(
        limited.query("SELECT count(*) FROM mutations").await.rows(),
        ["3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hold_a_connection_lose_it() {
    let served = Served::with(|options| {
        options.limits.startup = Duration::from_millis(700);
        options.limits.idle = Duration::from_secs(2);
        options.limits.connections = 6;
    })
    .await;
    // Silent, and one byte at a time.
    let mut silent = TcpStream::connect(served.postgres()).await.unwrap();
    let mut slow = TcpStream::connect(served.postgres()).await.unwrap();
    let begun = Instant::now();
    for byte in startup(&[("user", "ana")]) {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut end = Vec::new();
    let _ = slow.read_to_end(&mut end).await;
    let _ = silent.read_to_end(&mut end).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    // One more than there is room for.
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(served.ana().await);
    }
    let mut one_more = Wire::connect(served.postgres()).await;
    assert_eq!(one_more.next().await.unwrap().error().0, "53300");
    // Those who are idle make room.
    let mut first = held.remove(0);
    let told = first.next().await.unwrap();
    assert_eq!(told.error().0, "57P05");
    assert!(first.next().await.is_none());
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(served.ana().await.query("SELECT 1").await.rows(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_get_their_own_answers() {
    let served = Served::new().await;
    let clients = (0..32).map(|client| {
        let address = served.postgres();
        tokio::spawn(async move {
            let mut wire = Wire::login(address, "ana", PASSWORD).await;
            for round in 0..10 {
                let sql = format!("SELECT {client}, {round}, count(*) FROM audit");
                let told = format!("{client}|{round}|4");
                assert_eq!(wire.query(&sql).await.rows(), std::slice::from_ref(&told));
                let (c, r) = (client.to_string(), round.to_string());
                let sql = "SELECT $1::int, $2::int, count(*) FROM events";
                assert_eq!(wire.ask(sql, &[&c, &r]).await.rows(), [told]);
            }
        })
    });
    for done in futures::future::join_all(clients).await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_one_connection_is_limited() {
    let served = Served::with(|options| options.limits.session_memory_bytes = 200_000).await;
    let mut wire = served.ana().await;
    let greedy = "SELECT count(*) FROM (SELECT value % 500000 AS k, count(*) FROM \
                  generate_series(1, 2000000) GROUP BY 1)";
    match wire.query(greedy).await {
        Answer::Error { code, message } => assert_eq!(code, "53200", "{message}"),
        rows => assert_eq!(rows.rows(), ["500000"], "spilled"),
    }
    assert_eq!(wire.query("SELECT 1").await.rows(), ["1"]);
}

fn certificate(folder: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_nothing_is_said_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path());
    let served = Served::with(|options| options.tls = Some(files.clone())).await;
    let mut wire = Wire::connect(served.postgres()).await;
    let (code, _) = wire.try_login("ana", PASSWORD, &[]).await.unwrap_err();
    assert_eq!(code, "28000");
    // Bytes behind the request for TLS are somebody else's.
    let mut stream = TcpStream::connect(served.postgres()).await.unwrap();
    let request: Vec<u8> = [8_u32, 80_877_103]
        .iter()
        .flat_map(|n| n.to_be_bytes())
        .collect();
    stream
        .write_all(&[request, startup(&[("user", "ana")])].concat())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer[0] == b'S', "{answer:?}");
    let root = files.certificate.display().to_string();
    let by_psql = |mode: &str, host: &str| {
        let port = served.postgres().port();
        let connection = format!(
            "host={host} hostaddr=127.0.0.1 port={port} user=ana dbname=kolumn \
             sslmode={mode} sslrootcert={root}"
        );
        let asked = [
            "-X",
            "-A",
            "-t",
            "-c",
            "SELECT count(*) FROM audit",
            &connection,
        ];
        let done = Command::new("psql")
            .env("PGPASSWORD", PASSWORD)
            .args(asked)
            .output();
        let done = done.expect("run scripts/emulators first, as scripts/test does");
        (done.status.success(), output(&done))
    };
    for mode in ["require", "verify-full"] {
        let (ok, told) = by_psql(mode, "localhost");
        assert!(ok && told.trim() == "4", "{mode}: {told}");
    }
    for (mode, host) in [("disable", "localhost"), ("verify-full", "elsewhere")] {
        let (ok, told) = by_psql(mode, host);
        assert!(!ok, "{mode} {host}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_safe_does_not_start() {
    let fixture = archive().await;
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    write(&users, &[user("ana")]).unwrap();
    let files = certificate(folder.path());
    let safe = ServeOptions {
        postgres: local(),
        flight: None,
        http: None,
        tls: None,
        users: users.clone(),
        access_log: Some(folder.path().join("log")),
        limits: Limits::default(),
    };
    let everywhere: Option<SocketAddr> = Some("0.0.0.0:0".parse().unwrap());
    let with = |change: &dyn Fn(&mut ServeOptions)| {
        let mut options = safe.clone();
        change(&mut options);
        options
    };
    let tls = |certificate: &Path, key: &Path| {
        Some(TlsFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    };
    let absent = folder.path().join("absent");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let other = tempfile::tempdir().unwrap();
    let stranger = certificate(other.path());
    let nobody = folder.path().join("nobody.toml");
    write(&nobody, &[]).unwrap();
    for (what, options, kind) in [
        (
            "plain beyond loopback",
            with(&|o| o.postgres = everywhere),
            ErrorKind::Usage,
        ),
        (
            "plain flight beyond loopback",
            with(&|o| o.flight = everywhere),
            ErrorKind::Usage,
        ),
        (
            "no users file",
            with(&|o| o.users = absent.clone()),
            ErrorKind::Missing,
        ),
        (
            "nobody in it",
            with(&|o| o.users = nobody.clone()),
            ErrorKind::Usage,
        ),
        (
            "no certificate",
            with(&|o| o.tls = tls(&absent, &files.key)),
            ErrorKind::Missing,
        ),
        (
            "an empty key",
            with(&|o| o.tls = tls(&files.certificate, &empty)),
            ErrorKind::Usage,
        ),
        (
            "a key of another certificate",
            with(&|o| o.tls = tls(&files.certificate, &stranger.key)),
            ErrorKind::Usage,
        ),
        (
            "nothing to serve",
            with(&|o| o.postgres = None),
            ErrorKind::Usage,
        ),
    ] {
        let started = Server::start(&fixture.archive, &options, &SessionOptions::default()).await;
        assert_eq!(started.expect_err(what).kind(), kind, "{what}");
    }
    let beyond = with(&|o| {
        o.postgres = everywhere;
        o.tls = Some(files.clone());
    });
    let started = Server::start(&fixture.archive, &beyond, &SessionOptions::default()).await;
    started.unwrap().stop().await;
}

async fn http(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_access_log_tell_what_happens() {
    let mut served = Served::new().await;
    let mut wire = served.ana().await;
    wire.query("SET application_name = 'chart'").await.rows();
    wire.query("SELECT name FROM audit").await.rows();
    wire.query("SELECT nothing FROM audit").await.code();
    let at = served.at.http.unwrap();
    assert!(http(at, "/healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(http(at, "/other").await.starts_with("HTTP/1.1 404"));
    let metrics = http(at, "/metrics").await;
    for line in [
        "kolumn_serve_connections{protocol=\"postgres\"} 1",
        "kolumn_serve_logins_total{protocol=\"postgres\",outcome=\"accepted\"} 1",
        "kolumn_serve_statements_total{protocol=\"postgres\",outcome=\"ok\"} 2",
        "kolumn_serve_statements_total{protocol=\"postgres\",outcome=\"failed\"} 1",
        "kolumn_serve_rows_total{protocol=\"postgres\"} 4",
        "kolumn_serve_statement_seconds_count{protocol=\"postgres\"} 3",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    let log = served.logged();
    let asked: Vec<&Value> = log.iter().filter(|l| l["event"] == "statement").collect();
    assert_eq!(asked[1]["statement"], "SELECT name FROM audit");
    assert_eq!(asked[1]["user"], "ana");
    assert_eq!(asked[1]["application"], "chart");
    assert_eq!(asked[1]["client"], "127.0.0.1");
    assert_eq!(asked[1]["rows"], 4);
    assert_eq!(asked[1]["outcome"], "ok");
    assert!(asked[2]["outcome"].as_str().unwrap().contains("nothing"));
    // Stopped while a statement runs: it is cut off after its time, others are told at once.
    let mut running = served.ana().await;
    let long = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    running.send(&message(b'Q', &text(long))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    served.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(wire.next().await.unwrap().error().0, "57P01");
    // The columns of its answer were told before.
    assert_eq!(running.next().await.unwrap().tag, b'T');
    assert_eq!(running.next().await.unwrap().error().0, "57P01");
    assert!(TcpStream::connect(served.postgres()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_describes_asks_and_copies() {
    let served = Served::new().await;
    for (arguments, told) in [
        (vec!["-c", "\\l"], "kolumn"),
        (vec!["-c", "\\dn"], "public"),
        (vec!["-c", "\\d"], "audit"),
        (vec!["-c", "\\dt"], "component"),
        (vec!["-c", "\\dv"], "mutations"),
        (vec!["-c", "\\d audit"], "stage_timestamp"),
        (vec!["-c", "\\d+ events"], "request_uri"),
        (vec!["-c", "\\du"], ""),
        (vec!["-c", "\\df text_matches"], ""),
        (vec!["-c", "\\conninfo"], "kolumn"),
        (vec!["-A", "-t", "-c", "SELECT version()"], "PostgreSQL"),
        (
            vec!["-A", "-t", "-c", "SELECT user_groups FROM audit LIMIT 1"],
            "{g1,g2}",
        ),
        (
            vec![
                "-c",
                "COPY (SELECT name, null, 'x,\"y' FROM audit ORDER BY 1 LIMIT 1) TO STDOUT (FORMAT csv, HEADER)",
            ],
            "a,,\"x,\"\"y\"",
        ),
        (
            vec!["-c", "\\copy (SELECT name FROM audit ORDER BY 1) TO STDOUT"],
            "a\nb\nc\nd\n",
        ),
        (
            vec![
                "-A",
                "-t",
                "-v",
                "FETCH_COUNT=1",
                "-c",
                "SELECT name FROM audit ORDER BY 1",
            ],
            "a\nb\nc\nd\n",
        ),
    ] {
        let done = served.psql(&arguments);
        let text = output(&done);
        assert!(
            done.status.success() && text.contains(told),
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("ERROR"), "{arguments:?}: {text}");
    }
}

fn clients() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    cache.unwrap_or_else(home).join("kolumn/emulators")
}

fn python(served: &Served, program: &str) -> String {
    let done = Command::new(clients().join("clients/bin/python"))
        .args(["-c", program])
        .env("PG_PORT", served.postgres().port().to_string())
        .env("FLIGHT_PORT", served.at.flight.unwrap().port().to_string())
        .env("PASSWORD", PASSWORD)
        .output()
        .expect("run scripts/emulators first, as scripts/test does");
    assert!(done.status.success(), "{}: {}", done.status, output(&done));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_binds_streams_and_copies() {
    let served = Served::new().await;
    for program in [
        include_str!("../clients/psycopg.py"),
        include_str!("../clients/psycopg2.py"),
    ] {
        assert!(python(&served, program).ends_with("done\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlalchemy_reflects_tables_and_views() {
    let served = Served::new().await;
    let told = python(&served, include_str!("../clients/sqlalchemy_reflect.py"));
    assert_eq!(told.trim(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_reads_by_postgres_and_by_flight_sql() {
    let served = Served::new().await;
    let told = python(&served, include_str!("../clients/adbc.py"));
    assert_eq!(told.trim(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn flight_sql_refuses_strangers_and_writes_and_tells_structure() {
    let served = Served::new().await;
    let told = python(&served, include_str!("../clients/flight.py"));
    assert_eq!(told.trim(), "done");
    let log = served.logged();
    let refused = log
        .iter()
        .filter(|l| l["protocol"] == "flight" && l["event"] == "refused");
    assert!(refused.count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_asks() {
    let served = Served::new().await;
    let done = Command::new("node")
        .args(["-e", include_str!("../clients/node.js")])
        .current_dir(clients().join("node"))
        .env("PG_PORT", served.postgres().port().to_string())
        .env("PASSWORD", PASSWORD)
        .output()
        .expect("run scripts/emulators first, as scripts/test does");
    assert!(done.status.success(), "{}: {}", done.status, output(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "done");
}
