//! The search index never changes an answer (K8): it only leaves out rows that are not in it. The same
//! questions before and after `kolumn optimize`, with and without pruning, over files with and without
//! an index, and over damaged indexes; and it does leave out rows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use kolumn::{
    encode::search_index,
    error::ErrorKind,
    layout::columns::TableName,
    maintain::optimize,
    pipeline::Options,
    query::{Session, SessionOptions, reads::Reads},
    table::{Archive, provider::Pruning},
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::archive::{ingest, number, texts, url};

/// The day after the events.
const TODAY: i32 = 20_778;

/// Events of the first log: ten blocks of rows.
const EVENTS: u32 = 40_000;

/// Of one in so many events, what is rare stands there.
const RARE: u32 = 20_011;

fn uuid(n: u32) -> String {
    let digits = blake3::hash(&n.to_le_bytes()).to_hex();
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32]
    )
}

/// An event whose body holds what needs escaping, JSON in a string of JSON, other letters and ids.
fn event(n: u32) -> String {
    // Rows are sorted by name, so what is rare stands in few blocks.
    let name = format!("web-{:05}", n / 4);
    let applied =
        json!({"image": format!("nginx:1.{}", n / 997), "args": ["--log=\"a<b\"", "c:\\dir"]});
    let mut note = format!("step {} of the Rollout & more\nÜber uns", n / 1009);
    if n % RARE == RARE - 1 {
        note.push_str(" <Zwölf \"Quokkas\"> \u{212a}iwi");
    }
    let body = json!({
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": uuid(n / 4),
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()},
        },
        "note": note,
    });
    let time = format!(
        "2026-11-20T{:02}:{:02}:{:02}",
        n / 3600 % 24,
        n / 60 % 60,
        n % 60
    );
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": uuid(1_000_000 + n),
        "stage": "ResponseComplete",
        "requestURI": format!("/api/v1/namespaces/dev/pods/{name}?x={n}"),
        "verb": "update",
        "user": {"username": "alice", "groups": ["dev", "system:authenticated"]},
        "sourceIPs": [format!("10.244.{}.{}", n / 251 % 250, n % 251)],
        "objectRef": {"resource": "pods", "namespace": "dev", "name": name, "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": format!("{time}.000001Z"),
        "stageTimestamp": format!("{time}.000002Z"),
    });
    event["responseObject"] = body;
    // As Go writes it.
    event
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn write_log(path: &Path, events: std::ops::Range<u32>) {
    let lines: Vec<String> = events.map(event).collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// The archive before and after it was optimized, and after more was added.
struct Archives {
    _folder: TempDir,
    runtime: Runtime,
    plain: PathBuf,
    optimized: PathBuf,
    mixed: PathBuf,
}

static ARCHIVES: LazyLock<Archives> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (plain, optimized, mixed) = (at("plain"), at("optimized"), at("mixed"));
    let (logs, more) = (at("logs"), at("more"));
    fs::create_dir_all(&logs).unwrap();
    fs::create_dir_all(&more).unwrap();
    write_log(&logs.join("audit.log"), 0..EVENTS);
    write_log(&more.join("audit.log"), EVENTS..EVENTS + 3000);
    runtime.block_on(async {
        ingest(&plain, &[&logs], Options::default()).await.unwrap();
        copy(&plain, &optimized);
        optimize_all(&optimized).await;
        copy(&optimized, &mixed);
        ingest(&mixed, &[&more], Options::default()).await.unwrap();
    });
    Archives {
        _folder: folder,
        runtime,
        plain,
        optimized,
        mixed,
    }
});

async fn optimize_all(archive: &Path) {
    let archive = Archive::open(&url(archive)).await.unwrap();
    let options = optimize::Options::new(TODAY);
    let done = optimize::optimize(&archive, &options, &optimize::Unobserved).await;
    assert!(done.unwrap().failures.is_empty());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn session(archive: &Path, pruning: Pruning) -> Session {
    let options = SessionOptions {
        pruning,
        traced: true,
        ..SessionOptions::default()
    };
    let archive = Archive::open(&url(archive)).await.unwrap();
    Session::open(&archive, &options).await.unwrap()
}

async fn ids(session: &Session, filter: &str) -> Vec<String> {
    let sql = format!("SELECT audit_id FROM audit WHERE {filter} ORDER BY audit_id");
    texts(session, &sql).await
}

/// The answer with pruning, which is the same as without, and what it read.
async fn answer(archive: &Path, filter: &str) -> (Vec<String>, Reads) {
    let on = session(archive, Pruning::On).await;
    let off = session(archive, Pruning::Off).await;
    let found = ids(&on, filter).await;
    assert_eq!(found, ids(&off, filter).await, "{filter}");
    (found, on.reads())
}

/// Filters that the index knows, and how many events of the first log they find.
fn filters() -> Vec<(String, usize)> {
    let id = uuid(1_000_007);
    let one = uuid(5_001);
    vec![
        // Escaped in the body, once and twice; across punctuation; in other letters.
        ("search('<zwölf \"QUOKKAS\">')".to_owned(), 1),
        ("search('quokka')".to_owned(), 1),
        ("search('kiwi')".to_owned(), 0),
        ("contains(response_object, 'Quokkas')".to_owned(), 1),
        ("contains(response_object, 'quokkas')".to_owned(), 0),
        ("contains(lower(response_object), 'kiwi')".to_owned(), 1),
        ("response_object ILIKE '%quokka%'".to_owned(), 1),
        ("response_object LIKE '%Zw_lf%Quokkas%'".to_owned(), 1),
        ("response_object LIKE '%uokka\\%%'".to_owned(), 0),
        ("strpos(response_object, 'Quokka') > 0".to_owned(), 1),
        (
            "text_matches('nginx:1.13\"', response_object)".to_owned(),
            997,
        ),
        (format!("text_matches('{one}', response_object, name)"), 4),
        (format!("search('{}')", &one[4..30]), 4),
        (format!("audit_id = '{id}'"), 1),
        (format!("audit_id IN ('{id}', '{}')", uuid(1_000_008)), 2),
        (format!("object_uid = '{one}' AND search('web-05001')"), 4),
        (format!("search('quokka') OR audit_id = '{id}'"), 2),
        ("search('quokka') OR verb = 'get'".to_owned(), 1),
        ("search('quokka') AND NOT search('zwölf')".to_owned(), 0),
        (
            "search('system:authenticated') AND search('quokka')".to_owned(),
            1,
        ),
        (
            "search('dev system:auth') AND search('web-00003')".to_owned(),
            4,
        ),
        ("search('no such text')".to_owned(), 0),
    ]
}

#[test]
fn answers_are_the_same_with_and_without_an_index() {
    let archives = &*ARCHIVES;
    archives.runtime.block_on(async {
        for (filter, count) in filters() {
            let (before, reads) = answer(&archives.plain, &filter).await;
            assert_eq!(before.len(), count, "{filter}");
            assert!(reads.scans.iter().all(|s| s.searched == 0), "{filter}");
            let (after, _) = answer(&archives.optimized, &filter).await;
            assert_eq!(after, before, "{filter}");
            let (mixed, _) = answer(&archives.mixed, &filter).await;
            assert!(before.iter().all(|id| mixed.contains(id)), "{filter}");
        }
    });
}

#[test]
fn rows_are_left_out() {
    let archives = &*ARCHIVES;
    archives.runtime.block_on(async {
        for filter in [
            "search('<zwölf \"quokkas\">')",
            "response_object ILIKE '%quokka%'",
            &format!("audit_id = '{}'", uuid(1_000_007)),
            &format!("contains(response_object, '{}')", uuid(5_001)),
            "contains(lower(response_object), 'quokka') AND verb = 'update'",
        ] {
            let (found, reads) = answer(&archives.optimized, filter).await;
            assert!(!found.is_empty(), "{filter}");
            let [scan] = reads.scans.as_slice() else {
                panic!("{filter}: {reads:?}");
            };
            assert_eq!((scan.searched, scan.left_out), (1, 0), "{filter}");
            assert!(scan.rows_left <= 3 * 4096, "{filter}: {scan:?}");
            let (_, whole) = answer(&archives.plain, filter).await;
            if filter.contains("response_object") {
                assert!(
                    reads.bytes < whole.bytes,
                    "{filter}: {} of {}",
                    reads.bytes,
                    whole.bytes
                );
            }
            // The event in question is in the file without an index, too.
            let (_, mixed) = answer(&archives.mixed, filter).await;
            assert_eq!(
                (mixed.scans[0].searched, mixed.scans[0].opened),
                (1, 2),
                "{filter}"
            );
        }
        // A file in which it does not stand is not opened.
        let folder = tempfile::tempdir().unwrap();
        let (log, small) = (folder.path().join("a.log"), folder.path().join("archive"));
        write_log(&log, 0..200);
        ingest(&small, &[&log], Options::default()).await.unwrap();
        optimize_all(&small).await;
        let (found, reads) = answer(&small, "search('quokka')").await;
        assert!(found.is_empty());
        assert_eq!((reads.scans[0].opened, reads.bytes), (0, 0), "{reads:?}");
        // Nothing is known of these.
        for filter in ["search('we')", "NOT search('quokka')", "name = 'web-00003'"] {
            let (_, reads) = answer(&archives.optimized, filter).await;
            assert_eq!(reads.scans[0].searched, 0, "{filter}");
        }
    });
}

#[test]
fn a_search_looks_into_the_rows_of_one_table() {
    let archives = &*ARCHIVES;
    archives.runtime.block_on(async {
        let session = session(&archives.optimized, Pruning::On).await;
        for (sql, count) in [
            ("SELECT count(*) FROM audit WHERE search('quokka')", 1),
            ("SELECT count(*) FROM events e WHERE search('quokka')", 1),
            ("SELECT count(*) FILTER (WHERE search('quokka')) FROM audit", 1),
            ("SELECT count(*) FROM (SELECT name, note FROM (SELECT name, 'x' AS note FROM audit)) WHERE search('web-00003')", 4),
            ("WITH a AS (SELECT * FROM audit WHERE search('quokka')) SELECT count(*) FROM a JOIN audit b ON a.name = b.name", 4),
            ("SELECT count(*) FROM component WHERE search('quokka')", 0),
            ("SELECT count(*) FROM mutations WHERE search('web-00003')", 4),
        ] {
            assert_eq!(number(&session, sql).await, count, "{sql}");
        }
        for sql in [
            "SELECT search('x')",
            "SELECT count(*) FROM audit a JOIN audit b ON a.name = b.name WHERE search('x')",
            "SELECT count(*) FROM (SELECT response_code FROM audit) WHERE search('x')",
            "SELECT count(*) FROM audit WHERE search(1, 2)",
        ] {
            let failed = match session.query(sql).await {
                Err(e) => e,
                Ok(_) => panic!("{sql} was answered"),
            };
            assert_eq!(failed.kind(), ErrorKind::Usage, "{sql}: {}", failed.to_chain());
            assert!(failed.to_chain().contains("search"), "{}", failed.to_chain());
        }
    });
}

/// The one optimized file of `audit`, and where its index stands.
async fn indexed_file(archive: &Path) -> (PathBuf, search_index::Place) {
    let opened = Archive::open(&url(archive)).await.unwrap();
    let files = opened.files(TableName::Audit).await.unwrap().unwrap();
    assert_eq!(files.len(), 1);
    let root = files.url().to_file_path().unwrap();
    let path = root.join(files.path(0).unwrap().as_ref());
    let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    let keys = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .clone();
    let value = keys
        .iter()
        .find(|k| k.key == search_index::KEY)
        .unwrap()
        .value
        .clone();
    let place = search_index::Place::parse(&value.unwrap(), files.size(0)).unwrap();
    (path, place)
}

#[test]
fn a_damaged_index_is_a_scan() {
    let archives = &*ARCHIVES;
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    copy(&archives.optimized, &archive);
    archives.runtime.block_on(async {
        let (path, place) = indexed_file(&archive).await;
        let whole = fs::read(&path).unwrap();
        let from = usize::try_from(place.offset).unwrap();
        let directory = usize::try_from(place.directory).unwrap();
        let to = from + usize::try_from(place.length).unwrap();
        let filter = format!("search('quokka') OR audit_id = '{}'", uuid(1_000_007));
        let expected = ids(&session(&archives.plain, Pruning::Off).await, &filter).await;
        assert_eq!(expected.len(), 2);
        let mut damages: Vec<(std::ops::Range<usize>, bool)> = vec![
            (from..from + 1, true),
            (from..from + directory, true),
            (from + directory - 1..from + directory, true),
            (from + directory..to, true),
            (from..to, true),
        ];
        // A byte anywhere: perhaps in a page that is not needed.
        let step = (to - from) / 7;
        damages.extend((0..7).map(|n| (from + n * step..from + n * step + 1, false)));
        for (range, is_seen) in damages {
            let mut damaged = whole.clone();
            damaged[range.clone()].iter_mut().for_each(|b| *b ^= 0x55);
            fs::write(&path, damaged).unwrap();
            let session = session(&archive, Pruning::On).await;
            assert_eq!(ids(&session, &filter).await, expected, "{range:?}");
            let searched = session.reads().scans[0].searched;
            assert!(!is_seen || searched == 0, "{range:?}");
        }
    });
}

#[test]
fn texts_of_the_data_are_found_as_without_the_index() {
    let archives = &*ARCHIVES;
    let open = |archive: &Path| archives.runtime.block_on(session(archive, Pruning::On));
    let (indexed, mixed) = (open(&archives.optimized), open(&archives.mixed));
    let plain = archives
        .runtime
        .block_on(session(&archives.plain, Pruning::Off));
    let piece = (
        0..EVENTS,
        any::<prop::sample::Index>(),
        3..60_usize,
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config::with_cases(40));
    let checked = runner.run(&piece, |(n, at, length, upper)| {
        let line = event(n);
        let line: Vec<char> = line.chars().collect();
        let from = at.index(line.len());
        let text: String = line[from..line.len().min(from + length)].iter().collect();
        let text = if upper { text.to_uppercase() } else { text };
        let quoted = text.replace('\'', "''");
        // Escaped for LIKE, whose backslash stands for itself only when doubled.
        let pattern = quoted
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        for filter in [
            format!("search('{quoted}')"),
            format!("response_object LIKE '%{pattern}%'"),
            format!("contains(request_uri, '{quoted}')"),
        ] {
            let sql =
                format!("SELECT count(*) FROM audit WHERE date = '2026-11-20' AND ({filter})");
            let expected = archives.runtime.block_on(number(&plain, &sql));
            let found = archives.runtime.block_on(number(&indexed, &sql));
            prop_assert_eq!(found, expected, "{}", &filter);
            let found = archives.runtime.block_on(number(&mixed, &sql));
            prop_assert!(found >= expected, "{}", filter);
        }
        Ok(())
    });
    if let Err(e) = checked {
        panic!("{e}");
    }
}
