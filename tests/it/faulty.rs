//! A store that fails on purpose: operation number N goes wrong in one of the ways real stores do.
//! Everything else passes through to the local disk.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    local::LocalFileSystem, path::Path,
};

/// How the chosen operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, an error is reported; so do all operations after it (the process is dying).
    Dead,
    /// Nothing is done, an error is reported; later operations work.
    Error,
    /// It is done, but an error is reported.
    LostAnswer,
    /// It is done, after a while.
    Slow,
    /// A read gives fewer bytes than it should, then an error.
    Short,
}

/// A local store in which one operation goes wrong.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<LocalFileSystem>,
    fault: Fault,
    at: usize,
    count: AtomicUsize,
}

impl FaultyStore {
    /// Operation number `at`, counting from 1, goes wrong.
    pub(crate) fn new(fault: Fault, at: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(LocalFileSystem::new()),
            fault,
            at,
            count: AtomicUsize::new(0),
        })
    }

    /// Operations seen.
    pub(crate) fn operations(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn fault_now(&self) -> Option<Fault> {
        let n = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let hit = n == self.at || (self.fault == Fault::Dead && n > self.at);
        hit.then_some(self.fault)
    }

    fn error(&self) -> Error {
        Error::Generic {
            store: "faulty",
            source: format!("fault {:?} at operation {}", self.fault, self.at).into(),
        }
    }

    /// Runs an operation that changes something.
    async fn change<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fault_now() {
            None => work.await,
            Some(Fault::Dead | Fault::Error) => Err(self.error()),
            Some(Fault::LostAnswer | Fault::Short) => {
                work.await?;
                Err(self.error())
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                work.await
            }
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty store")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.change(self.inner.put_opts(at, payload, o)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        o: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.change(self.inner.put_multipart_opts(at, o)).await
    }

    async fn get_opts(&self, at: &Path, o: GetOptions) -> Result<GetResult> {
        let fault = self.fault_now();
        match fault {
            None => self.inner.get_opts(at, o).await,
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                self.inner.get_opts(at, o).await
            }
            Some(Fault::Short) => {
                let result = self.inner.get_opts(at, o).await?;
                let (meta, range, attributes) = (
                    result.meta.clone(),
                    result.range.clone(),
                    result.attributes.clone(),
                );
                let bytes = result.bytes().await?;
                let half = bytes.slice(..bytes.len() / 2);
                let parts = vec![Ok(half), Err(self.error())];
                let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
                Ok(GetResult {
                    payload,
                    meta,
                    range,
                    attributes,
                })
            }
            Some(_) => Err(self.error()),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault_now() {
            None | Some(Fault::Slow) => self.inner.list(prefix),
            Some(_) => futures::stream::iter([Err(self.error())]).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault_now() {
            None | Some(Fault::Slow) => self.inner.list_with_offset(prefix, offset),
            Some(_) => futures::stream::iter([Err(self.error())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.change(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, o: CopyOptions) -> Result<()> {
        self.change(self.inner.copy_opts(from, to, o)).await
    }
}
