//! Nothing lost, nothing twice, whatever fails when: a store that fails operation 1, 2, 3, … until a
//! run ends unharmed, kill -9 of the real program, and several programs at once. After each, the
//! same ingest is run again and K1-K5 are checked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kolumn::pipeline::Options;
use tempfile::TempDir;

use crate::{
    archive::{check_invariants, event_line, ingest, ingest_on, number},
    faulty::{Fault, FaultyStore},
};

const EVENTS: u32 = 24;

/// A folder with three files: 24 events, some of them twice, and two lines that are no events.
fn sources(folder: &TempDir) -> PathBuf {
    let place = folder.path().join("logs");
    fs::create_dir_all(&place).unwrap();
    let line = |i: u32| event_line(&format!("id-{i}"), i, &format!("pod-{}", i % 7)) + "\n";
    let first: String = (0..16).map(line).collect();
    let second: String = (12..EVENTS).map(line).collect();
    fs::write(place.join("a.log"), first + "this is no event\n").unwrap();
    fs::write(place.join("b.log"), second + "{\"kind\":\"Ev").unwrap();
    fs::write(place.join("c.log"), "{\"no\":\"event\"}\n").unwrap();
    place
}

/// A small buffer, so that one batch has several files.
fn options() -> Options {
    Options {
        buffer_bytes: 4 << 10,
        ..Options::default()
    }
}

/// Small batches as well, so that a run has several.
fn small_batches() -> Options {
    Options {
        batch_bytes: 12 << 10,
        ..options()
    }
}

async fn check_everything_is_in(archive: &Path) {
    let session = check_invariants(archive).await;
    let events = number(&session, "SELECT count(DISTINCT audit_id) FROM audit").await;
    assert_eq!(events, i64::from(EVENTS));
    assert_eq!(number(&session, "SELECT count(*) FROM rejected").await, 2);
}

/// Runs with one fault after the other until a run ends before the fault comes.
async fn fail_everywhere(fault: Fault, step: usize, options: fn() -> Options) {
    let folder = tempfile::tempdir().unwrap();
    let logs = sources(&folder);
    let mut at = 1;
    loop {
        let archive = folder.path().join(format!("archive-{at}"));
        fs::create_dir_all(&archive).unwrap();
        let store = FaultyStore::new(fault, at);
        let outcome = ingest_on(store.clone(), &archive, &[&logs], options()).await;
        let unharmed = store.operations() < at;
        assert!(
            !unharmed || outcome.is_ok(),
            "a run without a fault ends well: {outcome:?}"
        );
        let report = ingest(&archive, &[&logs], options()).await;
        assert!(
            report.is_ok(),
            "{fault:?} at {at}: the next run ends well: {report:?}"
        );
        check_everything_is_in(&archive).await;
        if unharmed {
            assert!(at > 20, "the faults hit something: {at}");
            return;
        }
        at += step;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_at_any_operation_loses_and_doubles_nothing() {
    fail_everywhere(Fault::Dead, 1, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_any_one_operation_loses_and_doubles_nothing() {
    fail_everywhere(Fault::Error, 1, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_lost_at_any_operation_loses_and_doubles_nothing() {
    fail_everywhere(Fault::LostAnswer, 1, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_read_at_any_operation_loses_and_doubles_nothing() {
    fail_everywhere(Fault::Short, 1, options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_between_batches_loses_and_doubles_nothing() {
    fail_everywhere(Fault::Dead, 11, small_batches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_only_slow() {
    let folder = tempfile::tempdir().unwrap();
    let logs = sources(&folder);
    for at in [1, 9, 22] {
        let archive = folder.path().join(format!("archive-{at}"));
        fs::create_dir_all(&archive).unwrap();
        ingest_on(
            FaultyStore::new(Fault::Slow, at),
            &archive,
            &[&logs],
            options(),
        )
        .await
        .unwrap();
        check_everything_is_in(&archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingests_of_the_same_folder_at_once_store_each_event_once() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let logs = sources(&folder);
        let archive = folder.path().join("archive");
        let copy = folder.path().join("copy");
        fs::create_dir_all(&copy).unwrap();
        for entry in fs::read_dir(&logs).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        // Two runs of one folder, and one of a copy of it: other names, the same events.
        let (original, copied) = ([logs.as_path()], [copy.as_path()]);
        let (one, two, three) = tokio::join!(
            ingest(&archive, &original, options()),
            ingest(&archive, &original, options()),
            ingest(&archive, &copied, options()),
        );
        for outcome in [one, two, three] {
            outcome.unwrap();
        }
        let session = check_invariants(&archive).await;
        // A record that cannot be decoded has no identity, so a copy under another name that is
        // read at the same moment rejects it again.
        let events = number(&session, "SELECT count(DISTINCT audit_id) FROM audit").await;
        assert_eq!(events, i64::from(EVENTS));
    }
}

fn program(archive: &Path, home: &Path, source: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kolumn"));
    command
        .args(["ingest", "--archive"])
        .arg(archive)
        .args(["--memory", "2MiB"])
        .arg(source)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_killed_at_many_moments_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let logs = folder.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    for file in 0..3 {
        let line =
            |i: u32| event_line(&format!("id-{file}-{i}"), i, &format!("pod-{}", i % 11)) + "\n";
        fs::write(
            logs.join(format!("{file}.log")),
            (0..1500).map(line).collect::<String>(),
        )
        .unwrap();
    }
    let archive = folder.path().join("archive");
    let mut kills = 0;
    for step in 0..60 {
        let mut child = program(&archive, &home, &logs).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(20 + step * 25)).await;
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
    let status = program(&archive, &home, &logs).status().unwrap();
    assert!(status.success());
    let session = check_invariants(&archive).await;
    assert_eq!(number(&session, "SELECT count(*) FROM audit").await, 4500);
}
