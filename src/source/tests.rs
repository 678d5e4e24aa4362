//! Listing and reading of object stores, over a store in memory that counts and fails on purpose.

use std::{
    collections::VecDeque,
    fmt,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, memory::InMemory, path::Path,
};

use super::{
    Compression, ListedObject,
    dates::Window,
    list::{ListOptions, Listing, list_remote},
    read::{ContentReader, ReadError, sniff},
    remote::Remote,
};
use crate::store::{Limits, address::Address};

/// What goes wrong with the next GET.
#[derive(Debug, Clone)]
enum Trouble {
    None,
    /// 500.
    Error,
    /// So many bytes, then the connection is lost.
    Cut(usize),
    /// So many bytes, then an end that looks like one.
    Short(usize),
    /// The object becomes this before it is read.
    Becomes(&'static [u8]),
    Append(&'static [u8]),
}

#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    lists: AtomicUsize,
    keys: Arc<AtomicUsize>,
    gets: AtomicUsize,
    troubles: Mutex<VecDeque<Trouble>>,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "counting",
        source: "500 Internal Server Error".into(),
    }
}

impl Counting {
    fn counted(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let keys = Arc::clone(&self.keys);
        listed
            .inspect(move |_| {
                keys.fetch_add(1, Ordering::SeqCst);
            })
            .boxed()
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, o).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        o: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, o).await
    }
    async fn get_opts(&self, at: &Path, o: GetOptions) -> Result<GetResult> {
        if o.head {
            return self.inner.get_opts(at, o).await;
        }
        self.gets.fetch_add(1, Ordering::SeqCst);
        let trouble = self.troubles.lock().unwrap().pop_front();
        let trouble = trouble.unwrap_or(Trouble::None);
        let is_cut = matches!(trouble, Trouble::Cut(_));
        match trouble {
            Trouble::None => self.inner.get_opts(at, o).await,
            Trouble::Error => Err(broken()),
            Trouble::Becomes(bytes) => {
                self.inner.put(at, bytes.into()).await?;
                self.inner.get_opts(at, o).await
            }
            Trouble::Append(bytes) => {
                let mut all = self.inner.get(at).await?.bytes().await?.to_vec();
                all.extend_from_slice(bytes);
                self.inner.put(at, all.into()).await?;
                self.inner.get_opts(at, o).await
            }
            Trouble::Cut(n) | Trouble::Short(n) => {
                let got = self.inner.get_opts(at, o).await?;
                let (meta, range, attributes) =
                    (got.meta.clone(), got.range.clone(), got.attributes.clone());
                let bytes = got.bytes().await?;
                let mut parts = vec![Ok(bytes.slice(..n.min(bytes.len())))];
                if is_cut {
                    parts.push(Err(broken()));
                }
                let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
                Ok(GetResult {
                    payload,
                    meta,
                    range,
                    attributes,
                })
            }
        }
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list(prefix))
    }
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted(self.inner.list_with_offset(prefix, offset))
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let listed = self.inner.list_with_delimiter(prefix).await?;
        let n = listed.objects.len() + listed.common_prefixes.len();
        self.keys.fetch_add(n, Ordering::SeqCst);
        Ok(listed)
    }
    async fn copy_opts(&self, from: &Path, to: &Path, o: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, o).await
    }
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap().unwrap()
}

async fn put(store: &Counting, key: &str, bytes: impl Into<PutPayload>) {
    let path = Path::parse(key).unwrap();
    store.inner.put(&path, bytes.into()).await.unwrap();
}

fn remote(store: &Arc<Counting>, block_bytes: u64) -> Arc<Remote> {
    let limits = Limits {
        block_bytes,
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        ..Limits::default()
    };
    Remote::with_store(&address("s3://b/"), Arc::clone(store) as _, limits)
}

async fn listed(store: &Arc<Counting>, text: &str, options: &ListOptions<'_>) -> Listing {
    let remote = remote(store, 8 << 20);
    list_remote(remote, &address(text), options).await.unwrap()
}

fn window(since: &str, until: &str) -> Window {
    Window {
        since: (!since.is_empty()).then(|| at(since)),
        until: (!until.is_empty()).then(|| at(until)),
    }
}

const CLUSTER: &str = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/C";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_days_of_two_years_cost_few_requests() {
    let store = Arc::new(Counting::default());
    let mut hour = at("2025-01-01T00:00:00Z");
    let mut written = 0;
    while hour < at("2027-01-01T00:00:00Z") {
        let key = format!(
            "{CLUSTER}/{}/PT1H.json",
            hour.format("y=%Y/m=%m/d=%d/h=%H/m=00")
        );
        put(&store, &key, "x").await;
        hour += TimeDelta::hours(1);
        written += 1;
    }
    assert_eq!(written, 17_520);
    let options = ListOptions {
        window: window("2026-03-10T00:00:00Z", "2026-03-13T00:00:00Z"),
        ..ListOptions::default()
    };
    let found = listed(&store, "s3://b/", &options).await;
    // An hour before, and two days after for what came late.
    assert_eq!(
        found.objects.len(),
        1 + 72 + 48 + 1 + 1,
        "{}",
        found.objects[0].uri
    );
    assert!(
        found.objects[0]
            .uri
            .ends_with("y=2026/m=03/d=09/h=23/m=00/PT1H.json")
    );
    assert!(found.objects.is_sorted_by(|a, b| a.uri < b.uri));
    let lists = store.lists.load(Ordering::SeqCst);
    let keys = store.keys.load(Ordering::SeqCst);
    assert!(lists <= 20, "{lists} list calls");
    assert!(keys <= 1_300, "{keys} keys: a page of 1,000, and the days");
    assert!(found.requests <= 25, "{} requests told", found.requests);
    // Nothing is left out without a window.
    let all = listed(&store, "s3://b/resourceId=", &ListOptions::default()).await;
    assert_eq!((all.objects.len(), all.requests), (17_520, 19));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_folder_of_dated_names_is_entered_where_it_is_needed() {
    let store = Arc::new(Counting::default());
    let mut time = at("2025-01-01T00:00:00Z");
    for _ in 0..20_000 {
        let key = format!("logs/audit-{}.log.gz", time.format("%Y-%m-%dT%H-%M-%S%.3f"));
        put(&store, &key, "x").await;
        time += TimeDelta::minutes(50);
    }
    put(&store, "logs/audit.log", "x").await;
    let options = ListOptions {
        not_before: Some(time - TimeDelta::days(3)),
        ..ListOptions::default()
    };
    let found = listed(&store, "s3://b/logs/", &options).await;
    let days = found.objects.len() as f64 * 50. / 1440.;
    assert!((3. ..4.7).contains(&days), "{days} days");
    assert!(
        found
            .objects
            .iter()
            .any(|o| o.uri == "s3://b/logs/audit.log")
    );
    assert!(store.keys.load(Ordering::SeqCst) < 1_200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_globs_the_archive_and_known_objects() {
    let store = Arc::new(Counting::default());
    for key in [
        "p",
        "p/a.log",
        "p/x/b.log",
        "p/x/c d.gz",
        "pq/no.log",
        "p/arch/audit/1.parquet",
    ] {
        put(&store, key, "x").await;
    }
    put(&store, "p/marker", "").await;
    let names = |l: &Listing| -> Vec<String> {
        let keys = l
            .objects
            .iter()
            .map(|o| o.uri.trim_start_matches("s3://b/").to_owned());
        keys.collect()
    };
    let archive = url::Url::parse("s3://b/p/arch/").unwrap();
    let options = ListOptions {
        exclude: Some(&archive),
        ..ListOptions::default()
    };
    let found = listed(&store, "s3://b/p", &options).await;
    assert_eq!(names(&found), ["p", "p/a.log", "p/x/b.log", "p/x/c%20d.gz"]);
    assert_eq!(found.keys, 6);
    assert!(found.objects[0].modified.is_some());
    for (text, expected) in [
        ("s3://b/p/", vec!["p/a.log", "p/x/b.log", "p/x/c%20d.gz"]),
        ("s3://b/p/*.log", vec!["p/a.log"]),
        ("s3://b/p/**/*.log", vec!["p/a.log", "p/x/b.log"]),
        ("s3://b/p/x/c d.gz", vec!["p/x/c%20d.gz"]),
        ("s3://b/p/x/c%20d.gz", vec!["p/x/c%20d.gz"]),
    ] {
        assert_eq!(
            names(&listed(&store, text, &options).await),
            expected,
            "{text}"
        );
    }
    let version = found.objects[1].version.clone();
    let keep = move |uri: &str, v: &str| !(uri == "s3://b/p/a.log" && v == version);
    let options = ListOptions {
        keep: Some(&keep),
        ..ListOptions::default()
    };
    let found = listed(&store, "s3://b/p/*.log", &options).await;
    assert_eq!((found.objects.len(), found.known), (0, 1));
    let missing = list_remote(remote(&store, 1), &address("s3://b/none"), &options).await;
    assert_eq!(
        missing.unwrap_err().kind(),
        crate::error::ErrorKind::Missing
    );
}

async fn object(store: &Arc<Counting>, bytes: &[u8], block_bytes: u64) -> ListedObject {
    put(store, "o", bytes.to_vec()).await;
    let found = list_remote(
        remote(store, block_bytes),
        &address("s3://b/o"),
        &ListOptions::default(),
    )
    .await;
    found.unwrap().objects.remove(0)
}

/// Reads as the pipeline does: planned now, read then.
async fn read(
    store: &Arc<Counting>,
    object: ListedObject,
    from: u64,
    troubles: Vec<Trouble>,
) -> (Vec<u8>, Option<ReadError>) {
    let store = Arc::clone(store);
    let work = tokio::task::spawn_blocking(move || {
        let sniffed = sniff(&object).unwrap().unwrap();
        store.troubles.lock().unwrap().extend(troubles);
        let digest = Some(sniffed.head_digest.as_str());
        let mut reader =
            ContentReader::open(&object, object.size, sniffed.compression, from, digest).unwrap();
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return (all, None),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(e) => return (all, Some(e)),
            }
        }
    });
    work.await.unwrap()
}

const LINE: &[u8] = b"{\"kind\":\"Event\",\"auditID\":\"a-first-line-that-is-long-enough-to-tell-contents-apart\"}\n";

fn content() -> Vec<u8> {
    let mut all = LINE.to_vec();
    all.extend((0..30_000u32).map(|i| (i % 251) as u8));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_read_in_blocks_whatever_the_network_does() {
    let whole = content();
    let troubles = [
        vec![],
        vec![Trouble::Error, Trouble::Error],
        vec![
            Trouble::Cut(701),
            Trouble::Cut(1),
            Trouble::None,
            Trouble::Error,
        ],
        vec![Trouble::Short(700), Trouble::Short(0), Trouble::Short(2)],
    ];
    for troubles in troubles {
        for from in [0, 5, 4096, 30_000] {
            let store = Arc::new(Counting::default());
            let o = object(&store, &whole, 4096).await;
            let (bytes, error) = read(&store, o, from, troubles.clone()).await;
            assert!(error.is_none(), "{error:?} {troubles:?}");
            assert_eq!(bytes, &whole[usize::try_from(from).unwrap()..]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stays_down_ends_the_read() {
    let store = Arc::new(Counting::default());
    let o = object(&store, &content(), 4096).await;
    let (bytes, error) = read(&store, o, 0, vec![Trouble::Error; 100]).await;
    assert!(
        bytes.is_empty() && matches!(error, Some(ReadError::Io(_))),
        "{error:?}"
    );
    assert!(store.gets.load(Ordering::SeqCst) <= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_appended_meanwhile_is_left_and_what_was_replaced_is_noticed() {
    let whole = content();
    let store = Arc::new(Counting::default());
    let o = object(&store, &whole, 4096).await;
    let appends = vec![
        Trouble::Append(b"more\n"),
        Trouble::None,
        Trouble::None,
        Trouble::Append(b"and\n"),
    ];
    let (bytes, error) = read(&store, o, 0, appends).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(bytes, whole);
    static OTHER: [u8; 50_000] = [b'x'; 50_000];
    for replaced in [&OTHER[..], LINE] {
        let store = Arc::new(Counting::default());
        let o = object(&store, &whole, 4096).await;
        let troubles = vec![Trouble::None, Trouble::None, Trouble::Becomes(replaced)];
        let (bytes, error) = read(&store, o, 0, troubles).await;
        assert!(matches!(error, Some(ReadError::Changed)), "{error:?}");
        assert_eq!(bytes, &whole[..bytes.len()], "no byte of another version");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_levels_of_compression_are_undone() {
    let whole = content();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for (packed, compression) in [
        (gzip(&whole), Compression::Gzip),
        (gzip(&gzip(&whole)), Compression::Gzip),
        (gzip(&zstd(&whole)), Compression::Gzip),
        (zstd(&gzip(&whole)), Compression::Zstd),
    ] {
        let store = Arc::new(Counting::default());
        let o = object(&store, &packed, 100).await;
        let plain = object(&Arc::new(Counting::default()), &whole, 100).await;
        let (one, other) = tokio::task::spawn_blocking({
            let o = o.clone();
            move || (sniff(&o).unwrap().unwrap(), sniff(&plain).unwrap().unwrap())
        })
        .await
        .unwrap();
        assert_eq!(one.compression, compression);
        assert_eq!(
            one.head_digest, other.head_digest,
            "one content, however packed"
        );
        let (bytes, error) = read(&store, o, 10, vec![]).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(bytes, &whole[10..]);
    }
    // A network that fails is no damage of the stream.
    let store = Arc::new(Counting::default());
    let o = object(&store, &gzip(&whole), 100).await;
    let (_, error) = read(&store, o, 0, vec![Trouble::Error; 100]).await;
    assert!(matches!(error, Some(ReadError::Io(_))), "{error:?}");
}
