//! Sources and archives in S3 and Azure, against emulators: the same counts as on a local disk, blobs
//! that grow, and what a person is told when a store does not do what was asked.

use std::sync::Arc;

use kolumn::{
    error::{ErrorKind, Result},
    pipeline::{self, Options, Report, Source, SourceSettings, Unobserved},
    query::{Session, SessionOptions},
    source::list::{ListOptions, list},
    store::StoreSettings,
    table::Archive,
};
use url::Url;

use crate::{
    archive::{event_line, number},
    emulators::Emulator,
};

async fn ingest(archive: &str, source: &str, settings: &StoreSettings) -> Result<Report> {
    let url = Url::parse(archive).unwrap();
    let options = ListOptions {
        settings: settings.clone(),
        exclude: Some(&url),
        ..ListOptions::default()
    };
    let listing = list(source, &options).await?;
    let archive = Archive::open_or_create_at(&url, settings).await?;
    let source = Source {
        listing,
        settings: SourceSettings::default(),
    };
    pipeline::ingest(
        archive,
        vec![source],
        Options::default(),
        Arc::new(Unobserved),
    )
    .await
}

fn rows(report: &Report) -> (u64, u64) {
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    (report.total(|o| o.records), report.total(|o| o.rows))
}

async fn count(archive: &str, settings: &StoreSettings) -> i64 {
    let archive = Archive::open_at(&Url::parse(archive).unwrap(), settings)
        .await
        .unwrap();
    let session = Session::open(&archive, &SessionOptions::default())
        .await
        .unwrap();
    number(&session, "SELECT count(*) FROM audit").await
}

fn lines(range: std::ops::Range<u32>) -> String {
    range
        .map(|i| event_line(&format!("id-{i}"), i, "web") + "\n")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_in_s3_become_an_archive_in_the_same_bucket() {
    let s3 = Emulator::s3().await;
    let settings = s3.settings();
    s3.make_bucket("bucket").await;
    let key = |hour: u32| format!("s3://bucket/logs/2026/11/20/{hour:02}/stream-1");
    s3.put(&key(11), &lines(0..50)).await;
    s3.put(&key(12), &lines(50..60)).await;
    let archive = "s3://bucket/logs/archive/";
    let first = ingest(archive, "s3://bucket/logs", &settings)
        .await
        .unwrap();
    assert_eq!(rows(&first), (60, 60));
    let again = ingest(archive, "s3://bucket/logs", &settings)
        .await
        .unwrap();
    assert_eq!(
        rows(&again),
        (0, 0),
        "the archive is no source, and the rest is known"
    );
    s3.put(&key(13), &lines(55..70)).await;
    let third = ingest(archive, "s3://bucket/logs/2026", &settings)
        .await
        .unwrap();
    assert_eq!(rows(&third), (15, 10));
    assert_eq!(count(archive, &settings).await, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn append_blobs_grow_and_every_form_of_an_address_is_one_place() {
    let azure = Emulator::azure().await;
    let settings = azure.settings();
    azure.make_container("logs");
    azure.make_container("kolumn");
    let blob = "resourceId=/SUBSCRIPTIONS/S/y=2026/m=11/d=20/h=11/m=00/PT1H.json";
    let all = lines(0..30);
    let cut = all.len() / 2;
    azure.append("logs", blob, &all.as_bytes()[..cut]);
    let archive = "az://kolumn/archive/";
    let first = ingest(archive, "az://logs/", &settings).await.unwrap();
    let (records, _) = rows(&first);
    assert!((14..=15).contains(&records), "{records}");
    azure.append("logs", blob, &all.as_bytes()[cut..]);
    let source = "abfss://logs@devstoreaccount1.dfs.core.windows.net/resourceId=";
    // That host does not exist here; the connection string has the endpoint.
    let second = ingest(archive, source, &settings).await.unwrap();
    assert_eq!(rows(&second), (30 - records, 30 - records));
    let third = ingest(archive, "az://logs@devstoreaccount1/", &settings)
        .await
        .unwrap();
    assert_eq!(rows(&third), (0, 0));
    assert_eq!(count("abfss://kolumn/archive/", &settings).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_do_it_says_who_must_act() {
    let (s3, azure) = (Emulator::s3().await, Emulator::azure().await);
    s3.make_bucket("bucket").await;
    azure.make_container("logs");
    let kind = async |place: &str, settings: &StoreSettings| {
        let options = ListOptions {
            settings: settings.clone(),
            ..ListOptions::default()
        };
        let e = list(place, &options).await.unwrap_err();
        assert!(e.to_chain().contains(place), "{}", e.to_chain());
        e.kind()
    };
    let settings = s3.settings();
    assert_eq!(
        kind("s3://no-such-bucket/p", &settings).await,
        ErrorKind::Missing
    );
    assert_eq!(
        kind("s3://bucket/nothing/", &settings).await,
        ErrorKind::Missing
    );
    let settings = azure.settings();
    assert_eq!(
        kind("az://nocontainer/p", &settings).await,
        ErrorKind::Missing
    );
    let mut wrong = azure.settings();
    wrong
        .options
        .insert("account_key".to_owned(), "d3Jvbmc=".to_owned());
    assert_eq!(kind("az://logs/p", &wrong).await, ErrorKind::Denied);
    let settings = s3.settings();
    drop(s3);
    assert_eq!(
        kind("s3://bucket/p", &settings).await,
        ErrorKind::Unavailable
    );
    let archive = Url::parse("s3://bucket/archive/").unwrap();
    let e = Archive::open_at(&archive, &settings).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{}", e.to_chain());
}
