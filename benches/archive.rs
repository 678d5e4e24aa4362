//! Times the whole way: ingest into an archive, opening it, and every named question. Of the bundled
//! sample events, or of the first 256 MiB of the file that `KOLUMN_BENCH_LOG` names:
//!
//! ```sh
//! KOLUMN_BENCH_LOG=audit.log cargo bench --bench archive -- question/denied
//! ```

use std::{hint::black_box, path::Path, sync::Arc, time::Duration};

use chrono::{TimeZone as _, Utc};
use chrono_tz::Tz;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kolumn::{
    error::Result,
    pipeline::{self, Options, Source, SourceSettings, Unobserved},
    query::{
        Session, SessionOptions,
        question::{Question, Values, load},
        time::TimeReader,
    },
    source::list::list_local,
    table::Archive,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

mod sample;

/// Parameters without which a question cannot be asked.
const GIVEN: [(&str, &str, &str); 6] = [
    ("container-args", "name", "azure-vote-front"),
    ("container-args", "namespace", "azure-vote"),
    ("event", "audit_id", "b1624f5d-4101-4e69-809f-20a84717edc2"),
    ("pod-scheduling-history", "pod", "hungry"),
    ("search", "text", "azure-vote"),
    ("timeline", "namespace", "azure-vote"),
];

fn archive(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads can be started");
    let folder = TempDir::new().expect("there is a temporary folder");
    let log = folder.path().join("audit.log");
    let content = sample::read(256 << 20);
    std::fs::write(&log, &content).expect("the temporary folder can be written");
    let mut group = criterion.benchmark_group("archive");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("ingest", |b| {
        b.iter_batched(
            || TempDir::new().expect("there is a temporary folder"),
            |fresh| {
                runtime
                    .block_on(ingest(fresh.path(), &log))
                    .expect("sample events are ingested");
                fresh
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let kept = folder.path().join("archive");
    runtime
        .block_on(ingest(&kept, &log))
        .expect("sample events are ingested");
    let mut group = criterion.benchmark_group("archive");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    group.bench_function("open", |b| {
        b.iter(|| runtime.block_on(open(&kept)).expect("an archive is opened"));
    });
    let session = runtime.block_on(open(&kept)).expect("an archive is opened");
    for question in load(None).expect("the bundled questions are read") {
        let values = values_of(&question).expect("the parameters are of their types");
        group.bench_function(format!("question/{}", question.name), |b| {
            b.iter(|| {
                let rows = runtime
                    .block_on(async { question.ask(&session, &values).await?.collect().await });
                black_box(rows.expect("a bundled question is answered"))
            });
        });
    }
    group.finish();
}

async fn ingest(archive: &Path, log: &Path) -> Result<()> {
    std::fs::create_dir_all(archive).expect("the temporary folder can be written");
    let listing = list_local(&log.to_string_lossy(), None)?;
    let source = Source {
        listing,
        settings: SourceSettings::default(),
    };
    let archive = Archive::open_or_create(&url(archive)).await?;
    let observer = Arc::new(Unobserved);
    let report = pipeline::ingest(archive, vec![source], Options::default(), observer).await?;
    assert!(report.total(|o| o.rows) > 0, "sample events become rows");
    Ok(())
}

async fn open(archive: &Path) -> Result<Session> {
    let archive = Archive::open(&url(archive)).await?;
    Session::open(&archive, &SessionOptions::default()).await
}

fn url(folder: &Path) -> Url {
    Url::from_directory_path(folder).expect("a temporary folder has an absolute path")
}

fn values_of(question: &Question) -> Result<Values> {
    let times = TimeReader {
        zone: Tz::UTC,
        now: Utc
            .with_ymd_and_hms(2026, 11, 21, 0, 0, 0)
            .single()
            .unwrap_or_default(),
    };
    let mut given = Values::new();
    for (name, param, text) in GIVEN {
        if let Some(param) = question.params.iter().find(|p| p.name == param)
            && question.name == name
        {
            given.insert(param.name.clone(), param.read(&[text.to_owned()], &times)?);
        }
    }
    question.complete(given, &times)
}

criterion_group!(benches, archive);
criterion_main!(benches);
