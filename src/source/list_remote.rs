//! Lists a place of an object store. With a time window, folders with dates are walked level by
//! level, so that years that are not asked for cost no request; and a long folder of files with
//! dates in their names is entered at the first that is needed. Without, everything below the
//! prefix comes as one stream, which is the fewest requests.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use glob::{MatchOptions, Pattern};
use object_store::{ObjectMeta, ObjectStoreExt as _, path::Path};

use crate::{
    error::{Context as _, Error, ErrorKind, Result},
    source::{
        ListedObject,
        dates::{FolderDate, Window, dated_name},
        list::{ListOptions, Listing},
        remote::Remote,
    },
    store::address::{Address, Provider},
};

/// Keys that one request of S3 tells; Azure's tells more.
const PAGE_KEYS: u64 = 1_000;
/// Folders listed at a time.
const FOLDERS_AT_ONCE: usize = 16;
/// So many folders without a date are looked into one by one; more are listed as a stream.
const UNDATED_FOLDERS_MAX: usize = 512;

const GLOB: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Lists what is at an address into `listing`.
pub(super) async fn list_in(
    remote: &Arc<Remote>,
    address: &Address,
    options: &ListOptions<'_>,
    listing: &mut Listing,
) -> Result<()> {
    let place = Place::new(remote, address, options)?;
    let mut found = Found::default();
    // The object itself, which may be all that these credentials may read.
    let itself = match place.itself(address) {
        Some(path) => {
            found.requests += 1;
            remote.store().head(&path).await.ok()
        }
        None => None,
    };
    let walked = place.walk(&mut found).await;
    if let Some(meta) = &itself {
        place.take(meta, &mut found);
    }
    match walked {
        Err(e) if itself.is_some() && e.kind() == ErrorKind::Denied => {}
        Err(e) => return Err(e).context(format!("cannot list {address}")),
        Ok(()) if found.keys + found.folders == 0 => {
            return Err(
                Error::new(ErrorKind::Missing, format!("there is nothing at {address}")).hint(
                    "a prefix ends at a slash: s3://bucket/logs means logs/... and the object logs",
                ),
            );
        }
        Ok(()) => {}
    }
    listing.requests += found.requests;
    listing.keys += found.keys;
    listing.known += found.known;
    listing.objects.append(&mut found.objects);
    Ok(())
}

#[derive(Default)]
struct Found {
    objects: Vec<ListedObject>,
    requests: u64,
    keys: u64,
    folders: u64,
    known: u64,
}

impl Found {
    fn merge(&mut self, mut other: Self) {
        self.objects.append(&mut other.objects);
        self.requests += other.requests;
        self.keys += other.keys;
        self.folders += other.folders;
        self.known += other.known;
    }
}

/// What is listed, and what of it is taken.
struct Place<'a> {
    remote: &'a Arc<Remote>,
    options: &'a ListOptions<'a>,
    window: Window,
    root: String,
    glob: Option<Pattern>,
    excluded: Option<String>,
}

impl<'a> Place<'a> {
    fn new(
        remote: &'a Arc<Remote>,
        address: &Address,
        options: &'a ListOptions<'a>,
    ) -> Result<Self> {
        let key = address.key.as_str();
        let (root, glob) = match key.find(['*', '?', '[']) {
            None => (key.trim_end_matches('/').to_owned(), None),
            Some(first) => {
                let pattern = Pattern::new(key).map_err(|e| {
                    Error::new(ErrorKind::Usage, format!("cannot read {address} as a glob"))
                        .because(e)
                })?;
                let root = key[..first].rsplit_once('/').map_or("", |(root, _)| root);
                (root.to_owned(), Some(pattern))
            }
        };
        Path::parse(&root).map_err(|e| {
            Error::new(ErrorKind::Usage, format!("cannot use {address}")).because(e)
        })?;
        Ok(Self {
            remote,
            options,
            window: options.arrival(),
            root,
            glob,
            excluded: excluded_prefix(remote.address(), options),
        })
    }

    /// The object that has the address as its key.
    fn itself(&self, address: &Address) -> Option<Path> {
        let may_be_one =
            self.glob.is_none() && !self.root.is_empty() && !address.key.ends_with('/');
        may_be_one.then(|| Path::parse(&self.root).ok()).flatten()
    }

    fn prefix(folder: &str) -> Option<Path> {
        // `root` was tried before, and folders come from the store.
        Path::parse(folder).ok().filter(|_| !folder.is_empty())
    }

    fn is_excluded(&self, key: &str) -> bool {
        self.excluded.as_deref().is_some_and(|prefix| {
            key.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Counts a key, and takes it if it is asked for and not known.
    fn take(&self, meta: &ObjectMeta, found: &mut Found) {
        found.keys += 1;
        let key = meta.location.as_ref();
        // Folder markers and files without content.
        let is_empty = meta.size == 0;
        let matches = self.glob.as_ref().is_none_or(|g| g.matches_with(key, GLOB));
        if is_empty || !matches || self.is_excluded(key) || !self.window.may_hold_key(key) {
            return;
        }
        let object = self.remote.object_of(meta);
        if self
            .options
            .keep
            .is_none_or(|keep| keep(&object.uri, &object.version))
        {
            found.objects.push(object);
        } else {
            found.known += 1;
        }
    }

    async fn walk(&self, found: &mut Found) -> Result<()> {
        if self.window.is_open() {
            return self.flat(&self.root, None, found).await;
        }
        // One page tells if there are dates in the folders, or is everything.
        let mut stream = self.remote.store().list(Self::prefix(&self.root).as_ref());
        let mut first = Found::default();
        let mut is_dated = false;
        while first.keys < PAGE_KEYS {
            let Some(meta) = stream.next().await else {
                first.requests = 1;
                found.merge(first);
                return Ok(());
            };
            let meta = meta.context("no list")?;
            let folders = meta
                .location
                .as_ref()
                .rsplit_once('/')
                .map_or("", |(f, _)| f);
            is_dated |= FolderDate::of(folders).is_dated();
            self.take(&meta, &mut first);
        }
        if !is_dated {
            found.merge(first);
            return self.flat(&self.root, Some(stream), found).await;
        }
        drop(stream);
        found.requests += 1;
        self.levels(found).await
    }

    /// Walks folders level by level.
    async fn levels(&self, found: &mut Found) -> Result<()> {
        let mut folders = vec![self.root.clone()];
        let mut undated = 0;
        while !folders.is_empty() {
            let steps: Vec<(String, bool)> = folders
                .drain(..)
                .map(|folder| {
                    let date = FolderDate::of(&folder);
                    undated += usize::from(!date.is_dated());
                    let is_flat = date.is_a_day()
                        || self.window.holds_folder(&folder)
                        || (!date.is_dated() && undated > UNDATED_FOLDERS_MAX);
                    (folder, is_flat)
                })
                .collect();
            let work: Vec<_> = steps
                .into_iter()
                .map(|(folder, is_flat)| self.step(folder, is_flat).boxed())
                .collect();
            let mut work = futures::stream::iter(work).buffer_unordered(FOLDERS_AT_ONCE);
            let mut next = Vec::new();
            while let Some(done) = work.next().await {
                let (part, below) = done?;
                found.merge(part);
                next.extend(below);
            }
            drop(work);
            folders = next;
        }
        Ok(())
    }

    /// Lists a folder in one of both ways.
    async fn step(&self, folder: String, is_flat: bool) -> Result<(Found, Vec<String>)> {
        let mut found = Found::default();
        let below = if is_flat {
            self.flat(&folder, None, &mut found).await?;
            Vec::new()
        } else {
            self.level(&folder, &mut found).await?
        };
        Ok((found, below))
    }

    /// Lists one folder; gives the folders below it that are needed.
    async fn level(&self, folder: &str, found: &mut Found) -> Result<Vec<String>> {
        let prefix = Self::prefix(folder);
        let listed = self
            .remote
            .store()
            .list_with_delimiter(prefix.as_ref())
            .await
            .context("no list")?;
        let entries = (listed.objects.len() + listed.common_prefixes.len()) as u64;
        found.requests += 1 + entries.saturating_sub(1) / PAGE_KEYS;
        found.folders += listed.common_prefixes.len() as u64;
        for meta in &listed.objects {
            self.take(meta, found);
        }
        let below = listed.common_prefixes.into_iter().map(String::from);
        Ok(below
            .filter(|f| self.window.may_hold_folder(f) && !self.is_excluded(f))
            .collect())
    }

    /// Lists everything below a folder, in order; goes on with a stream that was begun.
    async fn flat(
        &self,
        folder: &str,
        begun: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
        found: &mut Found,
    ) -> Result<()> {
        let prefix = Self::prefix(folder);
        let mut in_stream = if begun.is_some() { PAGE_KEYS } else { 0 };
        let mut requests = 1;
        let store = self.remote.store();
        let mut stream = begun.unwrap_or_else(|| store.list(prefix.as_ref()));
        while let Some(meta) = stream.next().await {
            let meta = meta.context("no list")?;
            in_stream += 1;
            self.take(&meta, found);
            // A jump is a request, and so is a page.
            if in_stream > PAGE_KEYS
                && let Some(first) = self.first_needed(meta.location.as_ref())
            {
                requests += 1 + in_stream / PAGE_KEYS;
                in_stream = 0;
                stream = store.list_with_offset(prefix.as_ref(), &first);
            }
        }
        found.requests += requests + in_stream.saturating_sub(1) / PAGE_KEYS;
        Ok(())
    }

    /// Where a listing may go on, if this name and those behind it have dates that are too old. Only
    /// names that begin like this one and go on with an earlier year, month or day are left out.
    fn first_needed(&self, key: &str) -> Option<Path> {
        if !self.remote.can_skip() {
            return None;
        }
        let day = self.window.first_day()?;
        let (folder, name) = key
            .rsplit_once('/')
            .map_or((None, key), |(f, n)| (Some(f), n));
        let (stem, its_day) = dated_name(name)?;
        if its_day >= day {
            return None;
        }
        let name = format!("{stem}{}", day.format("%Y-%m-%d"));
        let first = folder.map_or(name.clone(), |folder| format!("{folder}/{name}"));
        (first.as_str() > key)
            .then(|| Path::parse(first).ok())
            .flatten()
    }
}

/// The archive, if it lies in the same bucket.
fn excluded_prefix(here: &Address, options: &ListOptions<'_>) -> Option<String> {
    let archive = Address::parse(options.exclude?.as_str()).ok()??;
    let same_account = here.provider == Provider::S3
        || archive.account.is_none()
        || archive.account == here.account;
    let is_here =
        archive.provider == here.provider && archive.container == here.container && same_account;
    let prefix = archive.key.trim_end_matches('/').to_owned();
    (is_here && !prefix.is_empty()).then_some(prefix)
}
