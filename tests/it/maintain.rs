//! An archive over years: files are merged, old days go, what nothing refers to is deleted, and the
//! log stays short. The same rows and answers before, during and after, whatever fails when and
//! whoever works at the same time; K1-K5 are checked after each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, Add};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use kolumn::{
    clock,
    encode::properties::REST_TAG,
    error::{ErrorKind, Result},
    layout::columns::TableName,
    maintain::{expire, optimize, vacuum},
    pipeline::Options,
    query::{Session, SessionOptions},
    table::{Archive, log::FileList},
};
use object_store::{ObjectStore, local::LocalFileSystem};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    archive::{check_invariants, event_line, ingest, number, session, texts, url},
    faulty::{Fault, FaultyStore},
    fixture::{File, Fixture, event},
};

/// The day after the events of [`event_line`], in days since 1970-01-01.
const TODAY: i32 = 20_778;

fn options() -> optimize::Options {
    optimize::Options::new(TODAY)
}

async fn open(archive: &Path) -> Archive {
    Archive::open(&url(archive)).await.unwrap()
}

async fn optimize_now(archive: &Path, options: &optimize::Options) -> Result<optimize::Report> {
    optimize::optimize(&open(archive).await, options, &optimize::Unobserved).await
}

async fn files(archive: &Path, table: TableName) -> FileList {
    open(archive).await.files(table).await.unwrap().unwrap()
}

/// Every row of `audit` and `rejected`, whole.
async fn everything(archive: &Path) -> Vec<String> {
    let session = session(archive).await;
    let all = "concat_ws('|', cluster, date, stage_timestamp, request_received_timestamp, audit_id, stage, verb, \
               request_uri, username, array_to_string(source_ips, ','), resource, namespace, name, response_code, \
               response_status, extra, record_bytes, source_uri, source_offset, request_object, response_object)";
    let mut rows = texts(&session, &format!("SELECT {all} FROM audit ORDER BY 1")).await;
    let rejected =
        "SELECT concat_ws('|', reason, source_uri, source_offset) FROM rejected ORDER BY 1";
    rows.extend(texts(&session, rejected).await);
    rows
}

/// Puts `count` events into an archive, in as many runs and files as there are files of logs.
async fn fill(folder: &TempDir, log_files: u32, events_each: u32) -> PathBuf {
    let logs = folder.path().join("logs");
    let archive = folder.path().join("archive");
    fs::create_dir_all(&logs).unwrap();
    for file in 0..log_files {
        add_log(&logs, file, events_each);
        ingest(&archive, &[&logs], Options::default())
            .await
            .unwrap();
    }
    archive
}

fn add_log(logs: &Path, file: u32, events: u32) {
    let line = |i: u32| {
        let body = format!(
            "\"responseObject\":{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"pod-{}\",\"resourceVersion\":\"{i}\"}}}},\
             \"requestReceivedTimestamp\"",
            i % 7
        );
        event_line(
            &format!("id-{file}-{i}"),
            i % 3600,
            &format!("pod-{}", i % 7),
        )
        .replace("\"requestReceivedTimestamp\"", &body)
            + "\n"
    };
    let text: String = (0..events).map(line).collect();
    fs::write(
        logs.join(format!("{file}.log")),
        text + "this is no event\n",
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_that_is_sorted_and_smaller_and_holds_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 6, 200).await;
    let before = everything(&archive).await;
    let list = files(&archive, TableName::Audit).await;
    assert_eq!(list.len(), 6);
    let dry = optimize::Options {
        dry_run: true,
        ..options()
    };
    let report = optimize_now(&archive, &dry).await.unwrap();
    let partitions: Vec<&str> = report
        .partitions
        .iter()
        .map(|p| p.partition.as_str())
        .collect();
    assert!(
        partitions.contains(&"audit/cluster=default/date=2026-11-20"),
        "{partitions:?}"
    );
    assert_eq!(
        files(&archive, TableName::Audit).await.version(),
        list.version()
    );

    let report = optimize_now(&archive, &options()).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let audit = report
        .partitions
        .iter()
        .find(|p| p.partition.starts_with("audit/"))
        .unwrap();
    assert_eq!(
        (audit.files_before, audit.files_after, audit.rows),
        (6, 1, 1200)
    );
    assert!(audit.bytes_after < audit.bytes_before, "{audit:?}");
    let list = files(&archive, TableName::Audit).await;
    assert_eq!((list.len(), list.rows(0)), (1, Some(1200)));
    assert!(list.is_sorted(0));
    assert!(list.tag(0, REST_TAG).is_some());
    // The twelve files of the ledger became one as well.
    assert_eq!(files(&archive, TableName::Ledger).await.len(), 1);
    check_invariants(&archive).await;
    assert_eq!(everything(&archive).await, before);

    let again = optimize_now(&archive, &options()).await.unwrap();
    assert!(again.partitions.is_empty(), "{:?}", again.partitions);
    assert_eq!(
        files(&archive, TableName::Audit).await.version(),
        list.version()
    );
    // The ledger still knows everything.
    let logs = folder.path().join("logs");
    let report = ingest(&archive, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(report.total(|o| o.records), 0);
    add_log(&logs, 7, 10);
    let report = ingest(&archive, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(report.total(|o| o.rows), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_comes_after_an_optimize_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 2, 50).await;
    optimize_now(&archive, &options()).await.unwrap();
    let other = folder.path().join("other");
    fs::create_dir_all(&other).unwrap();
    let text = fs::read_to_string(folder.path().join("logs/1.log")).unwrap();
    let (first, _) = text.split_once('\n').unwrap();
    // Another beginning, so that the file is not known by its first line.
    let text = format!("{}\n{text}", first.replace("id-1-0", "id-new"));
    fs::write(other.join("copy.log"), text).unwrap();
    let report = ingest(&archive, &[&other], Options::default())
        .await
        .unwrap();
    assert_eq!(
        (report.total(|o| o.rows), report.total(|o| o.duplicates)),
        (1, 50)
    );
    check_invariants(&archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn today_is_left_alone_unless_asked_for_and_scopes_limit() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 2, 20).await;
    let growing = optimize::Options::new(TODAY - 1);
    let audit_only = |mut o: optimize::Options| {
        o.scope.tables = vec![TableName::Audit];
        o
    };
    let report = optimize_now(&archive, &audit_only(growing.clone()))
        .await
        .unwrap();
    assert_eq!((report.partitions.len(), report.growing), (0, 1));
    let mut elsewhere = audit_only(options());
    elsewhere.scope.cluster = Some(kolumn::layout::partition::ClusterName::parse("other").unwrap());
    assert!(
        optimize_now(&archive, &elsewhere)
            .await
            .unwrap()
            .partitions
            .is_empty()
    );
    let mut before = audit_only(options());
    before.scope.until = Some(TODAY - 1);
    assert!(
        optimize_now(&archive, &before)
            .await
            .unwrap()
            .partitions
            .is_empty()
    );
    let all = optimize::Options {
        all: true,
        ..audit_only(growing)
    };
    assert_eq!(
        optimize_now(&archive, &all).await.unwrap().partitions.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_runs_than_fit_into_memory_are_merged_in_passes_into_files_of_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 7, 300).await;
    let before = everything(&archive).await;
    let small = optimize::Options {
        // Two runs at a time.
        memory_bytes: 1 << 20,
        ..options()
    };
    let report = optimize_now(&archive, &small).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    check_invariants(&archive).await;
    assert_eq!(everything(&archive).await, before);
    let list = files(&archive, TableName::Audit).await;
    assert_eq!(list.len(), 1);
    assert!(
        list.version() >= 7 + 6,
        "several passes: {}",
        list.version()
    );
    assert!(
        optimize_now(&archive, &small)
            .await
            .unwrap()
            .partitions
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_in_no_order_or_lack_columns_are_merged_too() {
    let mut fixture = Fixture::new().await;
    let row = |name: &str, second: u32| {
        event(
            name,
            &format!("2026-11-20T10:00:{second:02}.000123Z"),
            json!({}),
        )
    };
    let mut unsorted = File::audit(
        "prod",
        "2026-11-20",
        vec![row("z", 1), row("a", 2), row("m", 3)],
    );
    unsorted.sorted = false;
    fixture.write(unsorted).await;
    let mut old = File::audit("prod", "2026-11-20", vec![row("b", 4), row("y", 5)]);
    old.without = vec!["legacy_line", "record_bytes", "source_uri"];
    fixture.write(old).await;
    fixture
        .write(File::audit("prod", "2026-11-20", vec![row("c", 6)]))
        .await;
    let before = everything(fixture.folder.path()).await;
    let report = optimize::optimize(&fixture.archive, &options(), &optimize::Unobserved)
        .await
        .unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(everything(fixture.folder.path()).await, before);
    let names = texts(
        &session(fixture.folder.path()).await,
        "SELECT name FROM audit",
    )
    .await;
    assert_eq!(names, ["a", "b", "c", "m", "y", "z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_in_the_order_its_tag_says_stops_the_partition_and_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let row = |name: &str| event(name, "2026-11-20T10:00:00.000123Z", json!({}));
    fixture
        .write(File::audit("prod", "2026-11-20", vec![row("z"), row("a")]))
        .await;
    fixture
        .write(File::audit("prod", "2026-11-20", vec![row("b")]))
        .await;
    fixture
        .write(File::audit("prod", "2026-11-19", vec![row("b")]))
        .await;
    let report = optimize::optimize(&fixture.archive, &options(), &optimize::Unobserved)
        .await
        .unwrap();
    let kinds: Vec<_> = report
        .failures
        .iter()
        .map(|(p, e)| (p.as_str(), e.kind()))
        .collect();
    assert_eq!(
        kinds,
        [("audit/cluster=prod/date=2026-11-20", ErrorKind::Corrupt)]
    );
    assert_eq!(report.partitions.len(), 1, "the other day is done");
    assert_eq!(
        files(fixture.folder.path(), TableName::Audit).await.len(),
        3
    );
}

fn with_body(id: &str, body: &str) -> String {
    event_line(id, 1, "web").replace(
        "\"requestReceivedTimestamp\"",
        &format!("\"responseObject\":{body},\"requestReceivedTimestamp\""),
    ) + "\n"
}

const SKIPPED: &str = "\"skipped-too-big-size-object\"";

/// Two events whose bodies were skipped at first, one of which came whole later.
async fn superseded(folder: &TempDir) -> PathBuf {
    let logs = folder.path().join("logs");
    let archive = folder.path().join("archive");
    fs::create_dir_all(&logs).unwrap();
    let skipped = with_body("a", SKIPPED) + &with_body("b", SKIPPED);
    let whole = with_body("a", "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n1\"}}");
    for (name, text) in [("1.log", skipped), ("2.log", whole)] {
        fs::write(logs.join(name), text).unwrap();
        ingest(&archive, &[&logs], Options::default())
            .await
            .unwrap();
    }
    archive
}

const EVENTS: &str =
    "SELECT concat_ws('|', audit_id, response_object_state, node_name) FROM events ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_which_a_fuller_one_is_kept_is_dropped_and_the_ledger_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let archive = superseded(&folder).await;
    let before = texts(&session(&archive).await, EVENTS).await;
    assert_eq!(before, ["a|present|n1", "b|skipped"]);
    let report = optimize_now(&archive, &options()).await.unwrap();
    assert_eq!(
        report.partitions.iter().map(|p| p.superseded).sum::<u64>(),
        1
    );
    let opened = check_invariants(&archive).await;
    assert_eq!(texts(&opened, EVENTS).await, before);
    assert_eq!(number(&opened, "SELECT count(*) FROM audit").await, 2);
    assert_eq!(
        number(&opened, "SELECT count(*) FROM audit WHERE supersedes").await,
        0
    );
    assert_eq!(
        number(
            &opened,
            "SELECT sum(rows) FROM ledger WHERE state = 'removed'"
        )
        .await,
        1
    );
    // The other one comes whole now, and the first once more without its body.
    let logs = folder.path().join("logs");
    let text = with_body("b", "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n2\"}}")
        + &with_body("a", SKIPPED);
    fs::write(logs.join("3.log"), text).unwrap();
    let report = ingest(&archive, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(
        (report.total(|o| o.rows), report.total(|o| o.duplicates)),
        (1, 1)
    );
    let after = ["a|present|n1", "b|present|n2"];
    assert_eq!(texts(&session(&archive).await, EVENTS).await, after);
    let report = optimize_now(&archive, &options()).await.unwrap();
    assert_eq!(
        report.partitions.iter().map(|p| p.superseded).sum::<u64>(),
        1
    );
    let opened = check_invariants(&archive).await;
    assert_eq!(texts(&opened, EVENTS).await, after);
}

/// Runs `work` with one fault after the other until it ends before the fault comes; after each it is
/// done again without one.
async fn fail_everywhere(
    fault: Fault,
    filled: &Path,
    work: impl AsyncFn(Archive) -> Result<()>,
    check: impl AsyncFn(&Path),
) {
    let folder = tempfile::tempdir().unwrap();
    let mut at = 1;
    loop {
        let archive = folder.path().join(format!("archive-{at}"));
        copy(filled, &archive);
        let store = FaultyStore::new(fault, at);
        let outcome = work(Archive::with_store(&url(&archive), store.clone())).await;
        let unharmed = store.operations() < at;
        assert!(!unharmed || outcome.is_ok(), "without a fault: {outcome:?}");
        check_invariants_but_ledger(&archive).await;
        let again = work(open(&archive).await).await;
        assert!(
            again.is_ok(),
            "{fault:?} at {at}: the next run ends well: {again:?}"
        );
        check_invariants(&archive).await;
        check(&archive).await;
        fs::remove_dir_all(&archive).unwrap();
        if unharmed {
            assert!(at > 20, "the faults hit something: {at}");
            return;
        }
        at += 1;
    }
}

/// After a crash the ledger may be behind; the rows are there, and once.
async fn check_invariants_but_ledger(archive: &Path) {
    let opened = session(archive).await;
    let twice = "SELECT count(*) FROM (SELECT 1 FROM audit WHERE supersedes IS NULL \
                 GROUP BY audit_id, stage_timestamp, response_object_state HAVING count(*) > 1)";
    assert_eq!(number(&opened, twice).await, 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

async fn optimize_all(archive: Archive) -> Result<()> {
    let report = optimize::optimize(&archive, &options(), &optimize::Unobserved).await?;
    match report.failures.into_iter().next() {
        Some((_, e)) => Err(e),
        None => Ok(()),
    }
}

async fn an_optimize_survives(fault: Fault) {
    let folder = tempfile::tempdir().unwrap();
    let archive = superseded(&folder).await;
    fail_everywhere(fault, &archive, optimize_all, async |archive| {
        let opened = session(archive).await;
        assert_eq!(texts(&opened, EVENTS).await, ["a|present|n1", "b|skipped"]);
        assert_eq!(number(&opened, "SELECT count(*) FROM audit").await, 2);
        assert_eq!(files(archive, TableName::Audit).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_during_an_optimize_loses_and_doubles_nothing() {
    an_optimize_survives(Fault::Dead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_one_operation_of_an_optimize_loses_and_doubles_nothing() {
    an_optimize_survives(Fault::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_during_an_optimize_loses_and_doubles_nothing() {
    an_optimize_survives(Fault::LostAnswer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_fails_anywhere_is_done_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 2, 5).await;
    for fault in [Fault::Dead, Fault::LostAnswer] {
        let work = async |archive: Archive| {
            expire::expire(&archive, &everything_expires())
                .await
                .map(|_| ())
        };
        fail_everywhere(fault, &archive, work, async |archive| {
            let opened = session(archive).await;
            assert_eq!(number(&opened, "SELECT count(*) FROM audit").await, 0);
            let removed = "SELECT sum(rows) FROM ledger WHERE state = 'removed'";
            assert_eq!(number(&opened, removed).await, 10);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_optimizes_and_an_ingest_at_once_lose_and_double_nothing() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let archive = fill(&folder, 5, 40).await;
        let logs = folder.path().join("logs");
        for file in 10..14 {
            add_log(&logs, file, 40);
        }
        let small = Options {
            batch_bytes: 8 << 10,
            buffer_bytes: 4 << 10,
            ..Options::default()
        };
        let sources = [logs.as_path()];
        let everywhere = options();
        let (ingested, one, two) = tokio::join!(
            ingest(&archive, &sources, small),
            optimize_now(&archive, &everywhere),
            optimize_now(&archive, &everywhere),
        );
        ingested.unwrap();
        for outcome in [one, two] {
            let report = outcome.unwrap();
            assert!(report.failures.is_empty(), "{:?}", report.failures);
        }
        let opened = check_invariants(&archive).await;
        assert_eq!(number(&opened, "SELECT count(*) FROM audit").await, 9 * 40);
        optimize_now(&archive, &everywhere).await.unwrap();
        let opened = check_invariants(&archive).await;
        assert_eq!(number(&opened, "SELECT count(*) FROM audit").await, 9 * 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_asked_during_an_optimize_get_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 12, 100).await;
    let sql = "SELECT concat_ws('|', name, events, first, bytes) \
               FROM (SELECT name, count(*) AS events, min(audit_id) AS first, sum(length(response_object)) AS bytes \
                     FROM events GROUP BY name) ORDER BY 1";
    let before = texts(&session(&archive).await, sql).await;
    // Several passes, so that there is a during.
    let small = optimize::Options {
        memory_bytes: 1 << 20,
        ..options()
    };
    let work = optimize_now(&archive, &small);
    let mut work = std::pin::pin!(work);
    let mut asked = 0;
    loop {
        // A session that was opened before goes on with its version.
        let opened = session(&archive).await;
        tokio::select! {
            done = &mut work => { done.unwrap(); break; }
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        assert_eq!(texts(&opened, sql).await, before);
        asked += 1;
    }
    assert!(asked > 0);
    assert_eq!(texts(&session(&archive).await, sql).await, before);
}

fn program(archive: &Path, command: &str, more: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kolumn"));
    program
        .arg(command)
        .arg("--archive")
        .arg(archive)
        .args(more)
        .current_dir(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_killed_at_many_moments_of_an_optimize_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 8, 400).await;
    let before = everything(&archive).await;
    let mut kills = 0;
    for step in 0..60 {
        let mut child = program(&archive, "optimize", &["--all"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(20 + step * 20)).await;
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "an undisturbed run ends well");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    assert!(kills > 3, "the program was killed at several moments");
    assert!(
        program(&archive, "optimize", &["--all"])
            .status()
            .unwrap()
            .success()
    );
    check_invariants(&archive).await;
    assert_eq!(everything(&archive).await, before);
    assert_eq!(files(&archive, TableName::Audit).await.len(), 1);
}

fn everything_expires() -> expire::Options {
    expire::Options {
        scope: Default::default(),
        keep_from: i32::MAX,
        dry_run: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_days_are_gone_and_do_not_come_back_and_verify_knows() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 2, 30).await;
    let opened = open(&archive).await;
    let keep = expire::Options {
        keep_from: TODAY - 1,
        ..everything_expires()
    };
    let report = expire::expire(&opened, &keep).await.unwrap();
    assert!(
        report
            .partitions
            .iter()
            .all(|p| !p.partition.starts_with("audit"))
    );
    let dry = expire::Options {
        dry_run: true,
        ..everything_expires()
    };
    let report = expire::expire(&opened, &dry).await.unwrap();
    assert!(
        report.partitions.iter().any(|p| p.rows == Some(60)),
        "{report:?}"
    );
    assert_eq!(
        number(&session(&archive).await, "SELECT count(*) FROM audit").await,
        60
    );
    expire::expire(&opened, &everything_expires())
        .await
        .unwrap();
    let session = check_invariants(&archive).await;
    assert_eq!(number(&session, "SELECT count(*) FROM audit").await, 0);
    assert_eq!(number(&session, "SELECT count(*) FROM rejected").await, 0);
    let logs = folder.path().join("logs");
    let report = ingest(&archive, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(report.total(|o| o.records), 0, "nothing is ingested again");
    let output = Command::new(env!("CARGO_BIN_EXE_kolumn"))
        .args(["ask", "verify", "--problems", "-o", "json", "--archive"])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "nothing seems to be missing"
    );
    assert!(
        expire::expire(&opened, &everything_expires())
            .await
            .unwrap()
            .partitions
            .is_empty()
    );
}

fn vacuum_options(older_than: TimeDelta) -> vacuum::Options {
    vacuum::Options {
        tables: Vec::new(),
        older_than,
        force: false,
        dry_run: false,
        now: clock::now() + TimeDelta::days(8),
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_deletes_what_was_replaced_and_keeps_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 4, 30).await;
    let old_session = session(&archive).await;
    let before = everything(&archive).await;
    optimize_now(&archive, &options()).await.unwrap();
    let audit = archive.join("audit");
    assert_eq!(parquet_files(&audit).len(), 5);
    let opened = open(&archive).await;

    let short = vacuum_options(TimeDelta::days(1));
    assert_eq!(
        vacuum::vacuum(&opened, &short).await.unwrap_err().kind(),
        ErrorKind::Usage
    );
    let too_young = vacuum::Options {
        now: clock::now() + TimeDelta::days(6),
        ..vacuum_options(vacuum::RETENTION)
    };
    let report = vacuum::vacuum(&opened, &too_young).await.unwrap();
    assert!(
        report.files.is_empty() && report.kept_files >= 4,
        "{report:?}"
    );
    let dry = vacuum::Options {
        dry_run: true,
        ..vacuum_options(vacuum::RETENTION)
    };
    let told = vacuum::vacuum(&opened, &dry).await.unwrap();
    assert_eq!(parquet_files(&audit).len(), 5);
    assert_eq!(
        number(&old_session, "SELECT sum(length(request_uri)) FROM audit").await,
        120 * 33
    );

    let report = vacuum::vacuum(&opened, &vacuum_options(vacuum::RETENTION))
        .await
        .unwrap();
    assert_eq!(report.files.len(), told.files.len());
    assert_eq!(parquet_files(&audit).len(), 1);
    check_invariants(&archive).await;
    assert_eq!(everything(&archive).await, before);
    // A question on the version before gets an error that says so, not fewer rows.
    let error = old_session
        .query("SELECT sum(length(user_agent)) FROM audit")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.hint_text().unwrap_or_default().contains("again"),
        "{error:?}"
    );
    assert!(
        vacuum::vacuum(&opened, &vacuum_options(vacuum::RETENTION))
            .await
            .unwrap()
            .files
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_keeps_files_of_open_batches_and_deletes_those_of_dead_runs() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 1, 10).await;
    let logs = folder.path().join("logs");
    add_log(&logs, 5, 10);
    // The commit of the rows fails: a batch is open, its file is staged.
    let mut at = 1;
    let staged = loop {
        let dying = folder.path().join(format!("dying-{at}"));
        copy(&archive, &dying);
        let store = FaultyStore::new(Fault::Dead, at);
        let outcome = crate::archive::ingest_on(store, &dying, &[&logs], Options::default()).await;
        if outcome.is_err() && parquet_files(&dying.join("audit")).len() == 2 {
            break dying;
        }
        assert!(outcome.is_err(), "some fault leaves a staged file");
        at += 1;
    };
    let opened = open(&staged).await;
    let report = vacuum::vacuum(&opened, &vacuum_options(vacuum::RETENTION))
        .await
        .unwrap();
    assert!(report.files.is_empty(), "{report:?}");
    assert_eq!(parquet_files(&staged.join("audit")).len(), 2);
    ingest(&staged, &[&logs], Options::default()).await.unwrap();
    let session = check_invariants(&staged).await;
    assert_eq!(number(&session, "SELECT count(*) FROM audit").await, 20);
    // A file of nobody.
    let stray = staged.join("audit/cluster=default/date=2026-11-20/part-0.zstd.parquet");
    fs::write(&stray, "x").unwrap();
    let report = vacuum::vacuum(&opened, &vacuum_options(vacuum::RETENTION))
        .await
        .unwrap();
    assert!(!stray.exists());
    assert_eq!(
        report.files.iter().filter(|f| !f.was_active).count(),
        1,
        "{report:?}"
    );
    // Not even forced: it might be of a run that is under way.
    fs::write(&stray, "x").unwrap();
    let forced = vacuum::Options {
        older_than: TimeDelta::zero(),
        force: true,
        now: clock::now(),
        ..vacuum_options(TimeDelta::zero())
    };
    vacuum::vacuum(&opened, &forced).await.unwrap();
    assert!(stray.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_get_checkpoints_and_old_versions_go_but_not_those_an_open_batch_needs() {
    let folder = tempfile::tempdir().unwrap();
    let archive = fill(&folder, 25, 2).await;
    let log = archive.join("audit/_delta_log");
    assert!(log.join("00000000000000000020.checkpoint.parquet").exists());
    let before = everything(&archive).await;
    let logs = folder.path().join("logs");
    // A batch whose rows are in, and whose closing ledger row is not.
    add_log(&logs, 30, 2);
    let mut at = 1;
    let open_batch = loop {
        let dying = folder.path().join(format!("dying-{at}"));
        copy(&archive, &dying);
        let store = FaultyStore::new(Fault::Dead, at);
        let outcome = crate::archive::ingest_on(store, &dying, &[&logs], Options::default()).await;
        assert!(
            outcome.is_err(),
            "some fault comes between the table and the ledger"
        );
        if number(&session(&dying).await, "SELECT count(*) FROM audit").await == 52 {
            break dying;
        }
        at += 1;
    };
    // Twenty more commits, so that a checkpoint lies behind the one that is needed.
    let opened = open(&open_batch).await;
    for _ in 0..20 {
        commit_nothing(&opened, TableName::Audit).await;
    }
    kolumn::commit::checkpoint::checkpoint_if_due(&opened, TableName::Audit, 40).await;
    let later = vacuum::Options {
        now: clock::now() + TimeDelta::days(40),
        ..vacuum_options(vacuum::RETENTION)
    };
    vacuum::vacuum(&opened, &later).await.unwrap();
    let report = ingest(&open_batch, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(report.total(|o| o.rows), 2, "counts come from the commit");
    let session = check_invariants(&open_batch).await;
    assert_eq!(number(&session, "SELECT count(*) FROM audit").await, 52);

    let report = vacuum::vacuum(&open(&archive).await, &later).await.unwrap();
    assert!(report.log_files >= 20, "{report:?}");
    assert!(!log.join("00000000000000000000.json").exists());
    check_invariants(&archive).await;
    assert_eq!(everything(&archive).await, before);
    let fresh = ingest(&archive, &[&logs], Options::default())
        .await
        .unwrap();
    assert_eq!(fresh.total(|o| o.rows), 2);
}

async fn commit_nothing(archive: &Archive, name: TableName) {
    commit_files(archive, name, Vec::new()).await;
}

async fn commit_files(archive: &Archive, name: TableName, adds: Vec<Add>) {
    let table = archive.load(name).await.unwrap().unwrap();
    let snapshot = table.snapshot().unwrap().snapshot().clone();
    CommitBuilder::from(CommitProperties::default().with_create_checkpoint(false))
        .with_actions(adds.into_iter().map(Action::Add).collect())
        .build(
            Some(&snapshot as &dyn TableReference),
            table.log_store(),
            DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
        )
        .await
        .unwrap();
}

/// Writes the log of a table of so many commits, without the files that it tells of.
pub(crate) async fn long_log(archive: &Path, commits: u64, files_each: u64) {
    let opened = Archive::open_or_create(&url(archive)).await.unwrap();
    for table in [TableName::Ledger, TableName::Audit] {
        opened.load_or_create(table).await.unwrap();
    }
    let log = archive.join("audit/_delta_log");
    for version in 1..=commits {
        let mut text = json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}}).to_string();
        for file in 0..files_each {
            let number = (version - 1) * files_each + file;
            let date = kolumn::layout::partition::date_of_day(
                20_000 + i32::try_from(number % 365).unwrap(),
            );
            let time = |hour: u64| format!("{date}T{hour:02}:00:00.000Z");
            let statistics = json!({
                "numRecords": 1000 + file,
                "minValues": {"stage_timestamp": time(0), "request_received_timestamp": time(0),
                              "resource": "configmaps", "namespace": "default", "name": "a"},
                "maxValues": {"stage_timestamp": time(23), "request_received_timestamp": time(23),
                              "resource": "services", "namespace": "kube-system", "name": "z"},
                "nullCount": {"stage_timestamp": 0, "request_received_timestamp": 0, "resource": 10,
                              "namespace": 20, "name": 30, "supersedes": 1000 + file},
            });
            let add = json!({"add": {
                "path": format!("cluster=prod/date={date}/part-{number:032x}.zstd.parquet"),
                "partitionValues": {"cluster": "prod", "date": date.to_string()},
                "size": 1_000_000, "modificationTime": 0, "dataChange": true,
                "stats": statistics.to_string(),
                "tags": {"sort": TableName::Audit.sort_columns().join(",")},
            }});
            text.push('\n');
            text.push_str(&add.to_string());
        }
        fs::write(log.join(format!("{version:020}.json")), text).unwrap();
    }
    let made = opened.load(TableName::Audit).await.unwrap().unwrap();
    deltalake_core::checkpoints::create_checkpoint(&made, None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_opened_with_few_reads() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    long_log(&archive, 300, 10).await;
    // No fault: it counts.
    let store = FaultyStore::new(Fault::Error, usize::MAX);
    let opened = Archive::with_store(&url(&archive), Arc::clone(&store) as Arc<dyn ObjectStore>);
    let session = Session::open(&opened, &SessionOptions::default())
        .await
        .unwrap();
    assert!(store.operations() < 60, "{} operations", store.operations());
    let sizes: BTreeMap<_, _> = session
        .tables()
        .iter()
        .map(|t| (t.name.as_str(), t.size))
        .collect();
    let size = sizes["audit"].unwrap();
    assert_eq!((size.files, size.rows), (3000, Some(300 * 10_045)));
    let plan = session
        .physical_plan("SELECT name FROM audit WHERE date = '2024-10-04' AND stage_timestamp >= '2024-10-04T10:00:00Z'")
        .await
        .unwrap();
    let shown = datafusion::physical_plan::displayable(plan.as_ref())
        .indent(true)
        .to_string();
    assert!(shown.contains("date=2024-10-04"), "{shown}");
    assert!(!shown.contains("date=2024-10-05"), "{shown}");
}

/// Not a test of anything but a measurement: `KOLUMN_LONG_LOG=<folder>` is where the archive is left.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes 10,000 commits, to measure with the release binary"]
async fn make_a_long_log() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("long-log");
    let _ = fs::remove_dir_all(&folder);
    long_log(&folder, 10_000, 10).await;
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    let opened = Archive::with_store(&url(&folder), store);
    let begun = std::time::Instant::now();
    Session::open(&opened, &SessionOptions::default())
        .await
        .unwrap();
    println!("{}: opened in {:?}", folder.display(), begun.elapsed());
}
