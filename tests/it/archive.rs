//! What a test needs to ingest into an archive and to look into it: the invariants K1-K5 of
//! docs/ARCHITECTURE.md, checked on the stored files.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use kolumn::{
    error::Result,
    event::time::Micros,
    layout::columns::TableName,
    pipeline::{self, Options, Report, Source, SourceSettings, Unobserved},
    query::{Session, SessionOptions},
    source::list::list_local,
    table::Archive,
};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

/// An archive folder's URL.
pub(crate) fn url(folder: &Path) -> Url {
    Url::from_directory_path(folder).unwrap()
}

/// Ingests locations into an archive on the local disk.
pub(crate) async fn ingest(archive: &Path, sources: &[&Path], options: Options) -> Result<Report> {
    let archive = Archive::open_or_create(&url(archive)).await?;
    ingest_into(archive, sources, options).await
}

/// Ingests locations into an archive on a given store.
pub(crate) async fn ingest_on(
    store: Arc<dyn ObjectStore>,
    archive: &Path,
    sources: &[&Path],
    options: Options,
) -> Result<Report> {
    ingest_into(Archive::with_store(&url(archive), store), sources, options).await
}

async fn ingest_into(archive: Archive, sources: &[&Path], options: Options) -> Result<Report> {
    ingest_as(archive, sources, &SourceSettings::default(), options).await
}

/// Ingests locations of which something is known or wanted.
pub(crate) async fn ingest_as(
    archive: Archive,
    sources: &[&Path],
    settings: &SourceSettings,
    options: Options,
) -> Result<Report> {
    let sources = sources
        .iter()
        .map(|s| {
            Ok(Source {
                listing: list_local(s.to_str().unwrap(), None)?,
                settings: settings.clone(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    pipeline::ingest(archive, sources, options, Arc::new(Unobserved)).await
}

/// A session on an archive; opening one is the dear part of a query.
pub(crate) async fn session(archive: &Path) -> Session {
    let archive = Archive::open(&url(archive)).await.unwrap();
    Session::open(&archive, &SessionOptions::default())
        .await
        .unwrap()
}

/// The one number of a query.
pub(crate) async fn number(session: &Session, sql: &str) -> i64 {
    let batches = session.query(sql).await.unwrap().collect().await.unwrap();
    batches
        .iter()
        .find(|b| b.num_rows() > 0)
        .map_or(0, |b| b.column(0).as_primitive::<Int64Type>().value(0))
}

/// Texts of the first column of a query.
pub(crate) async fn texts(session: &Session, sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    for batch in session.query(sql).await.unwrap().collect().await.unwrap() {
        let column = arrow::compute::cast(batch.column(0), &DataType::Utf8).unwrap();
        found.extend(
            column
                .as_string::<i32>()
                .iter()
                .map(|t| t.unwrap_or("NULL").to_owned()),
        );
    }
    found
}

/// Checks K1-K5 on everything that is visible.
pub(crate) async fn check_invariants(archive: &Path) -> Session {
    let opened = session(archive).await;
    let folder = &opened;
    // K1: counts add up for every committed range, and the tables hold what the ledger says.
    let wrong = number(
        folder,
        "SELECT count(*) FROM ledger WHERE state = 'committed' AND records <> rows + duplicates + rejected",
    )
    .await;
    assert_eq!(wrong, 0, "K1: ranges whose counts do not add up");
    let committed = "SELECT coalesce(sum(CASE state WHEN 'committed' THEN rows WHEN 'removed' THEN -rows END), 0) \
                     FROM ledger";
    let all = "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM component) \
               + (SELECT count(*) FROM inventory)";
    let stored = number(folder, all).await;
    assert_eq!(
        stored,
        number(folder, committed).await,
        "K1: rows stored against rows in the ledger"
    );
    let rejected = "SELECT coalesce(sum(CASE state WHEN 'committed' THEN rejected WHEN 'removed' THEN -rejected END), 0) \
                    FROM ledger";
    assert_eq!(
        number(folder, "SELECT count(*) FROM rejected").await,
        number(folder, rejected).await,
        "K1: rejected records stored against those in the ledger"
    );
    // K2: no range twice, no event twice.
    let twice = "SELECT count(*) FROM (SELECT 1 FROM ledger WHERE state = 'committed' AND range_end > range_start \
                 GROUP BY cluster, object_uri, head_digest, range_start HAVING count(*) > 1)";
    assert_eq!(number(folder, twice).await, 0, "K2: ranges committed twice");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM audit WHERE supersedes IS NULL GROUP BY cluster, audit_id, stage, stage_timestamp, \
                 request_received_timestamp, verb, request_uri, username HAVING count(*) > 1)";
    assert_eq!(number(folder, twice).await, 0, "K2: events stored twice");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM component WHERE wrapper = 'plain' \
                 GROUP BY source_uri, source_offset HAVING count(*) > 1)";
    assert_eq!(number(folder, twice).await, 0, "K2: lines stored twice");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM component WHERE wrapper <> 'plain' \
                 GROUP BY cluster, component, source_pod, source_container, stream, envelope_time, time, record \
                 HAVING count(*) > 1)";
    assert_eq!(
        number(folder, twice).await,
        0,
        "K2: wrapped lines stored twice"
    );
    let opened = Archive::open(&url(archive)).await.unwrap();
    for (table, time) in [
        (TableName::Audit, "stage_timestamp"),
        (TableName::Component, "time"),
        (TableName::Inventory, "time"),
    ] {
        check_files(&opened, table, time).await;
    }
    session(archive).await
}

/// K4 and K5 on each visible data file of a table.
async fn check_files(archive: &Archive, name: TableName, time: &str) {
    let Some(table) = archive.load(name).await.unwrap() else {
        return;
    };
    let root = archive.table_url(name).unwrap().to_file_path().unwrap();
    for file in table.snapshot().unwrap().snapshot().log_data().iter() {
        let path = root.join(file.path().as_ref());
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap())
            .unwrap()
            .with_batch_size(1 << 20)
            .build()
            .unwrap();
        let values: BTreeMap<_, _> = file.partition_values_map().into_iter().collect();
        let mut last: Option<Vec<u8>> = None;
        for batch in reader {
            let batch = batch.unwrap();
            let columns: Vec<_> = name
                .sort_columns()
                .iter()
                .map(|c| batch.column_by_name(c).unwrap().clone())
                .collect();
            let fields = columns
                .iter()
                .map(|c| {
                    let options = arrow::compute::SortOptions {
                        descending: false,
                        nulls_first: false,
                    };
                    SortField::new_with_options(c.data_type().clone(), options)
                })
                .collect();
            let converter = RowConverter::new(fields).unwrap();
            for row in &converter.convert_columns(&columns).unwrap() {
                assert!(
                    last.as_deref().is_none_or(|l| l <= row.data()),
                    "K4: {} is not sorted",
                    path.display()
                );
                last = Some(row.data().to_vec());
            }
            let times = batch.column_by_name(time).unwrap();
            for time in times.as_primitive::<TimestampMicrosecondType>().iter() {
                let day = kolumn::layout::partition::date_of_day(Micros(time.unwrap()).utc_day());
                assert_eq!(
                    values["date"].as_deref(),
                    Some(day.to_string().as_str()),
                    "K5"
                );
            }
            assert!(batch.column_by_name("cluster").is_none());
        }
        assert!(path.to_str().unwrap().contains(&format!(
            "cluster={}/date={}/",
            values["cluster"].as_deref().unwrap(),
            values["date"].as_deref().unwrap()
        )));
    }
}

/// A plain audit event as a JSON line, for tests that make their own.
pub(crate) fn event_line(id: &str, second: u32, name: &str) -> String {
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{id}\",\
         \"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/namespaces/dev/pods/{name}\",\"verb\":\"get\",\
         \"user\":{{\"username\":\"alice\"}},\"sourceIPs\":[\"192.0.2.1\"],\
         \"objectRef\":{{\"resource\":\"pods\",\"namespace\":\"dev\",\"name\":\"{name}\",\"apiVersion\":\"v1\"}},\
         \"responseStatus\":{{\"metadata\":{{}},\"code\":200}},\
         \"requestReceivedTimestamp\":\"2026-11-20T11:{:02}:{:02}.000001Z\",\
         \"stageTimestamp\":\"2026-11-20T11:{:02}:{:02}.000002Z\"}}",
        second / 60,
        second % 60,
        second / 60,
        second % 60
    )
}
