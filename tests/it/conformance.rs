//! The same input gives the same rows, whatever place it lies in: a folder, S3 (moto), Azure Blob
//! Storage (azurite). And a source that fails at any request loses and doubles nothing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use kolumn::{
    error::Result,
    pipeline::{self, Options, Report, Source, SourceSettings, Unobserved},
    source::{
        list::{ListOptions, list, list_remote},
        remote::Remote,
    },
    store::{Limits, Purpose, StoreSettings, address::Address, open},
    table::Archive,
};
use object_store::{ObjectStoreExt as _, PutPayload};
use url::Url;

use crate::{
    archive::{check_invariants, number, session, texts, url},
    emulators::Emulator,
    faulty::{Fault, FaultyStore},
};

/// Samples of every kind, below tests/data.
const SAMPLES: [&str; 8] = [
    "aks-blob",
    "aks-eventhub",
    "aks-log-analytics",
    "audit-json",
    "audit-legacy",
    "eks",
    "places",
    "webhook",
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The files below a folder, in a fixed order.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

async fn upload(place: &str, settings: &StoreSettings) {
    let address = Address::parse(place).unwrap().unwrap();
    let opened = open(&address, settings, Purpose::Source).unwrap();
    for sample in SAMPLES {
        for file in files_of(&data().join(sample)) {
            let key = file.strip_prefix(data()).unwrap().to_str().unwrap();
            let bytes = std::fs::read(&file).unwrap();
            let path = object_store::path::Path::parse(format!("{}/{key}", address.key)).unwrap();
            opened
                .store
                .put(&path, PutPayload::from(bytes))
                .await
                .unwrap();
        }
    }
}

/// Ingests every sample of a place, each as a source of its own, twice.
async fn ingest_all(archive: &Path, place: &str, settings: &StoreSettings) -> (Report, Report) {
    let archive = Archive::open_or_create(&url(archive)).await.unwrap();
    let mut reports = Vec::new();
    for _ in 0..2 {
        let mut sources = Vec::new();
        for sample in SAMPLES {
            let options = ListOptions {
                settings: settings.clone(),
                ..ListOptions::default()
            };
            let listing = list(&format!("{place}/{sample}"), &options).await.unwrap();
            sources.push(Source {
                listing,
                settings: SourceSettings::default(),
            });
        }
        let observer = Arc::new(Unobserved);
        let report = pipeline::ingest(archive.clone(), sources, Options::default(), observer);
        reports.push(report.await.unwrap());
    }
    let second = reports.pop().unwrap();
    (reports.pop().unwrap(), second)
}

/// Every row of every table, without where it was read.
async fn everything(archive: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let session = session(archive).await;
    let mut found = BTreeMap::new();
    let queries = [
        (
            "audit",
            "concat_ws('|', cluster, date, stage_timestamp, audit_id, stage, verb, request_uri, \
             username, name, response_code, request_object, response_object, extra, envelope, \
             envelope_time, format, record_bytes, source_offset)",
        ),
        (
            "component",
            "concat_ws('|', cluster, date, time, component, severity, message, caller_file, \
             caller_line, fields, node, namespace, pod, source_pod, source_container, stream, \
             format, wrapper, record, lines, envelope, envelope_time, event_id, record_bytes, \
             source_offset)",
        ),
        (
            "inventory",
            "concat_ws('|', cluster, date, time, source_table, record)",
        ),
        (
            "rejected",
            "concat_ws('|', reason, detail, record_bytes, record_digest, source_offset)",
        ),
    ];
    for (table, columns) in queries {
        let sql = format!("SELECT {columns} AS row FROM {table} ORDER BY 1");
        found.insert(table, texts(&session, &sql).await);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, azure) = (Emulator::s3().await, Emulator::azure().await);
    s3.make_bucket("logs").await;
    azure.make_container("logs");
    let none = StoreSettings::default();
    let places = [
        ("disk", data().to_str().unwrap().to_owned(), none),
        ("s3", "s3://logs/data".to_owned(), s3.settings()),
        ("azure", "az://logs/data".to_owned(), azure.settings()),
    ];
    let mut rows = Vec::new();
    for (name, place, settings) in &places {
        if *name != "disk" {
            upload(place, settings).await;
        }
        let archive = folder.path().join(name);
        let (first, second) = ingest_all(&archive, place, settings).await;
        assert!(first.failures.is_empty(), "{name}: {:?}", first.failures);
        assert_eq!(second.total(|o| o.records), 0, "{name}: nothing is new");
        check_invariants(&archive).await;
        rows.push(everything(&archive).await);
    }
    for table in ["audit", "component", "inventory", "rejected"] {
        let counts: Vec<usize> = rows.iter().map(|r| r[table].len()).collect();
        assert_eq!(counts[0], counts[1], "{table}: disk and S3");
        assert_eq!(counts[0], counts[2], "{table}: disk and Azure");
    }
    assert!(
        rows[0]["component"].len() > 300,
        "{}",
        rows[0]["component"].len()
    );
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0], rows[2]);
}

/// Ingests a bucket that is a folder of the local disk, behind a store in which one request goes wrong.
async fn ingest_through(store: Arc<FaultyStore>, folder: &Path, archive: &Path) -> Result<Report> {
    let root = folder.join("bucket");
    let place = format!("s3://bucket{}", root.display());
    let address = Address::parse(&place)?.unwrap();
    let limits = Limits {
        block_bytes: 4 << 10,
        backoff: std::time::Duration::from_millis(1),
        backoff_max: std::time::Duration::from_millis(2),
        ..Limits::default()
    };
    let remote = Remote::with_store(&address, store, limits);
    let listing = list_remote(remote, &address, &ListOptions::default()).await?;
    let source = Source {
        listing,
        settings: SourceSettings::default(),
    };
    let archive = Archive::open_or_create(&Url::from_directory_path(archive).unwrap()).await?;
    let options = Options::default();
    pipeline::ingest(archive, vec![source], options, Arc::new(Unobserved)).await
}

/// A few samples of each kind as a bucket.
fn make_bucket(folder: &Path) {
    for sample in [
        "places/var-log",
        "places/eks-firehose-s3",
        "places/eks-s3-export",
        "webhook",
    ] {
        for file in files_of(&data().join(sample)) {
            let at = folder
                .join("bucket")
                .join(file.strip_prefix(data()).unwrap());
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::copy(&file, &at).unwrap();
        }
    }
}

async fn counts(archive: &Path) -> [i64; 3] {
    let session = check_invariants(archive).await;
    [
        number(&session, "SELECT count(*) FROM audit").await,
        number(&session, "SELECT count(*) FROM component").await,
        number(&session, "SELECT count(*) FROM rejected").await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_at_any_request_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    make_bucket(folder.path());
    let unharmed = folder.path().join("unharmed");
    std::fs::create_dir_all(&unharmed).unwrap();
    let never = FaultyStore::new(Fault::Error, usize::MAX);
    ingest_through(never.clone(), folder.path(), &unharmed)
        .await
        .unwrap();
    let expected = counts(&unharmed).await;
    assert!(expected[0] > 0 && expected[1] > 100, "{expected:?}");
    let requests = never.operations();
    assert!(requests > 20, "{requests}");
    for fault in [Fault::Dead, Fault::Error, Fault::Short] {
        for at in (1..=requests).step_by(requests.div_ceil(12)) {
            let archive = folder.path().join(format!("archive-{fault:?}-{at}"));
            std::fs::create_dir_all(&archive).unwrap();
            // It may fail as a whole, end some objects early, or not notice.
            let _ = ingest_through(FaultyStore::new(fault, at), folder.path(), &archive).await;
            let healthy = FaultyStore::new(Fault::Error, usize::MAX);
            let report = ingest_through(healthy, folder.path(), &archive).await;
            let report = report.unwrap_or_else(|e| panic!("{fault:?} at {at}: {}", e.to_chain()));
            assert!(report.failures.is_empty(), "{fault:?} at {at}: {report:?}");
            assert_eq!(counts(&archive).await, expected, "{fault:?} at {at}");
        }
    }
}
