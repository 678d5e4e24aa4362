//! A location as typed (file, folder, glob, or place of an object store) into the objects found
//! there, sorted by URI, so that rotated files come in the order of their time. What cannot be
//! listed is reported, not skipped.

use std::{
    fmt,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use url::Url;

use crate::{
    clock,
    error::{Context as _, Error, ErrorKind, Result},
    source::{ListedObject, Place, dates::Window, list_remote, remote::Remote},
    store::{StoreSettings, address::Address},
};

/// What a location holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Short stable name of the location, the ledger's `source`.
    pub source: String,
    /// The objects, in a fixed order.
    pub objects: Vec<ListedObject>,
    /// Things that could not be listed, with the reason.
    pub failures: Vec<(String, Error)>,
    /// The bucket, if it is one.
    pub remote: Option<Arc<Remote>>,
    /// Objects that were left out because they are known ([`ListOptions::keep`]).
    pub known: u64,
    /// Keys that were looked at.
    pub keys: u64,
    /// When it was begun, if it holds all that arrived before, but for what the ledger knows: the
    /// next run need not look back further than this.
    pub complete_at: Option<DateTime<Utc>>,
    /// Requests that the listing took, as far as pages of 1,000 keys tell.
    pub requests: u64,
}

/// Tells by URI and version if an object is kept in a listing.
pub type Keep<'a> = dyn Fn(&str, &str) -> bool + Send + Sync + 'a;

/// What of a location is listed.
#[derive(Default)]
pub struct ListOptions<'a> {
    /// Settings of object stores.
    pub settings: StoreSettings,
    /// The archive, which may lie inside a place that is ingested.
    pub exclude: Option<&'a Url>,
    /// Times of events that are asked for; what cannot hold any is left out, by dates in names.
    pub window: Window,
    /// What arrived before is known already.
    pub not_before: Option<DateTime<Utc>>,
    /// Objects for which this is false are left out, so that millions of known ones need no memory.
    pub keep: Option<&'a Keep<'a>>,
}

impl fmt::Debug for ListOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListOptions")
            .field("exclude", &self.exclude.map(Url::as_str))
            .field("window", &self.window)
            .field("not_before", &self.not_before)
            .finish_non_exhaustive()
    }
}

impl ListOptions<'_> {
    /// The time of arrival that is asked for.
    pub(super) fn arrival(&self) -> Window {
        Window {
            since: self.window.since.max(self.not_before),
            until: self.window.until,
        }
    }
}

/// A location whose place is known; nothing was asked of it yet.
#[derive(Debug)]
pub enum Located {
    /// A path or glob of the local disk.
    Local(String),
    /// A place of a bucket.
    Remote {
        /// The bucket.
        remote: Arc<Remote>,
        /// The place in it.
        address: Address,
        /// The ledger's name of it.
        source: String,
    },
}

impl Located {
    /// Finds out what a location names.
    ///
    /// # Errors
    /// `Usage` for a malformed URL or wrong settings of its store.
    pub fn of(location: &str, settings: &StoreSettings) -> Result<Self> {
        let Some(address) = Address::parse(location)? else {
            return Ok(Self::Local(location.to_owned()));
        };
        let remote = Remote::open(&address, settings)?;
        let source = name_of(&remote.address().uri_of(&address.key));
        Ok(Self::Remote {
            remote,
            address,
            source,
        })
    }

    /// Finds out whether it can be read, and says what is there.
    ///
    /// # Errors
    /// As [`list`].
    pub async fn probe(&self) -> Result<String> {
        let (remote, address) = match self {
            Self::Local(location) => {
                let found = list_local(location, None)?.objects.len();
                return Ok(format!("{found} files are there"));
            }
            Self::Remote {
                remote, address, ..
            } => (remote, address),
        };
        let fixed = address.key.find(['*', '?', '[']);
        let prefix = &address.key[..fixed.unwrap_or(address.key.len())];
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let prefix = if fixed.is_some() { folder } else { prefix };
        let act = || format!("cannot list {address}");
        let path = object_store::path::Path::parse(prefix)
            .map_err(|e| Error::new(ErrorKind::Usage, act()).because(e))?;
        let first = remote.store().list(Some(&path)).next().await;
        match first.transpose().context(act())? {
            Some(object) => Ok(format!("objects are there, such as {}", object.location)),
            None => Ok("it can be listed; there is no object yet".to_owned()),
        }
    }

    /// Lists it.
    ///
    /// # Errors
    /// As [`list`].
    pub async fn list(&self, options: &ListOptions<'_>) -> Result<Listing> {
        match self {
            Self::Local(location) => list_path(location, options),
            Self::Remote {
                remote, address, ..
            } => list_remote(Arc::clone(remote), address, options).await,
        }
    }
}

/// Lists a location.
///
/// # Errors
/// `Missing` if a path, bucket or prefix does not exist or a glob matches nothing, `Usage` for a
/// malformed glob or wrong settings, `Denied` and `Unavailable` as the store says.
pub async fn list(location: &str, options: &ListOptions<'_>) -> Result<Listing> {
    Located::of(location, &options.settings)?
        .list(options)
        .await
}

/// Lists a path or glob, and leaves out what its names tell to be of another time.
fn list_path(location: &str, options: &ListOptions<'_>) -> Result<Listing> {
    let path = match Url::parse(location) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        _ => None,
    };
    let path = path.map(|p| p.display().to_string());
    let location = path.as_deref().unwrap_or(location);
    let exclude = options
        .exclude
        .and_then(|url| url.to_file_path().ok())
        .and_then(|path| fs::canonicalize(path).ok());
    let mut listing = list_local(location, exclude.as_deref())?;
    listing.keys = listing.objects.len() as u64;
    let arrival = options.arrival();
    let fixed = location.find(['*', '?', '[']).map(|at| &location[..at]);
    let root = fixed.map_or(location, |f| {
        f.rsplit_once('/').map_or("", |(root, _)| root)
    });
    let root = std::path::absolute(if root.is_empty() { "." } else { root }).unwrap_or_default();
    listing.objects.retain(|object| {
        let Place::File(path) = &object.place else {
            return true;
        };
        // Only what is below the folder that was named tells a date: /data/2019/audit.log may be live.
        let below = path.strip_prefix(&root).unwrap_or(path).to_string_lossy();
        *path == root || arrival.may_hold_key(&below)
    });
    if let Some(keep) = options.keep {
        let before = listing.objects.len();
        listing.objects.retain(|o| keep(&o.uri, &o.version));
        listing.known = (before - listing.objects.len()) as u64;
    }
    Ok(listing)
}

/// Lists a place of a bucket that is open.
///
/// # Errors
/// As [`list`].
pub async fn list_remote(
    remote: Arc<Remote>,
    address: &Address,
    options: &ListOptions<'_>,
) -> Result<Listing> {
    let mut listing = Listing {
        source: name_of(&remote.address().uri_of(&address.key)),
        complete_at: options.window.is_open().then(clock::now),
        ..Listing::default()
    };
    list_remote::list_in(&remote, address, options, &mut listing).await?;
    listing.objects.sort_by(|a, b| a.uri.cmp(&b.uri));
    listing.objects.dedup_by(|a, b| a.uri == b.uri);
    listing.remote = Some(remote);
    Ok(listing)
}

/// Lists a file, folder or glob. `exclude` is a folder to leave out.
///
/// # Errors
/// `Missing` if a path does not exist or a glob matches nothing, `Usage` for a malformed glob.
pub fn list_local(location: &str, exclude: Option<&Path>) -> Result<Listing> {
    let path = Path::new(location);
    let mut listing = Listing {
        source: source_name(location)?,
        ..Listing::default()
    };
    let found = fs::symlink_metadata(path);
    let looks_like_glob = location.contains(['*', '?', '[']);
    if found.is_err() && looks_like_glob {
        let pattern = glob::glob(location).map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                format!("cannot read {location} as a glob"),
            )
            .because(e)
        })?;
        let mut matched = false;
        for entry in pattern {
            matched = true;
            match entry {
                Ok(path) => walk(&path, exclude, &mut listing),
                Err(e) => {
                    let path = e.path().display().to_string();
                    let failed: Result<(), std::io::Error> = Err(e.into());
                    if let Err(e) = failed.context(format!("cannot list {path}")) {
                        listing.failures.push((path, e));
                    }
                }
            }
        }
        if !matched {
            return Err(Error::new(
                ErrorKind::Missing,
                format!("no file matches {location}"),
            ));
        }
    } else {
        found.context(format!("cannot read {location}"))?;
        walk(path, exclude, &mut listing);
    }
    listing.objects.sort_by(|a, b| a.uri.cmp(&b.uri));
    listing.objects.dedup_by(|a, b| a.uri == b.uri);
    Ok(listing)
}

/// Collects files below a path. Links to files are followed, links to folders are not, so that a
/// circle of links ends.
fn walk(path: &Path, exclude: Option<&Path>, listing: &mut Listing) {
    let mut pending = vec![path.to_path_buf()];
    while let Some(path) = pending.pop() {
        if let Err(e) = visit(&path, exclude, &mut pending, listing) {
            listing.failures.push((path.display().to_string(), e));
        }
    }
}

fn visit(
    path: &Path,
    exclude: Option<&Path>,
    pending: &mut Vec<PathBuf>,
    listing: &mut Listing,
) -> Result<()> {
    let act = || format!("cannot read {}", path.display());
    let metadata = fs::metadata(path).context(act())?;
    if metadata.is_file() {
        listing.objects.push(object_of(path, &metadata)?);
    } else if metadata.is_dir() {
        let is_excluded = exclude.is_some_and(|e| fs::canonicalize(path).is_ok_and(|p| p == e));
        if is_excluded {
            return Ok(());
        }
        for entry in fs::read_dir(path).context(act())? {
            let entry = entry.context(act())?;
            let is_link_to_folder = entry.file_type().is_ok_and(|t| t.is_symlink())
                && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir());
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if !is_link_to_folder && !is_hidden {
                pending.push(entry.path());
            }
        }
    } else {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{} is no file and no folder", path.display()),
        )
        .hint("pipe it in instead: kolumn ingest - < PIPE"));
    }
    Ok(())
}

/// The object of a file.
///
/// # Errors
/// Errors of the file system.
pub fn object_of(path: &Path, metadata: &Metadata) -> Result<ListedObject> {
    let full = std::path::absolute(path).context(format!("cannot find {}", path.display()))?;
    let uri = Url::from_file_path(&full).map_err(|()| {
        Error::new(
            ErrorKind::Usage,
            format!("cannot name {} by a URL", full.display()),
        )
    })?;
    Ok(ListedObject {
        uri: uri.into(),
        place: Place::File(full),
        size: metadata.len(),
        version: version_of(metadata),
        modified: metadata.modified().ok().map(DateTime::from),
    })
}

/// Size, modification time and inode: changes whenever the content may have changed.
fn version_of(metadata: &Metadata) -> String {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |d| d.as_nanos());
    format!("{:x}-{modified:x}-{:x}", metadata.len(), inode(metadata))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

/// A short stable name for a location: its last part, and a digest of the whole.
fn source_name(location: &str) -> Result<String> {
    let full = std::path::absolute(location).context(format!("cannot find {location}"))?;
    Ok(name_of(&full.to_string_lossy()))
}

fn name_of(full: &str) -> String {
    let last = full
        .rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or("root");
    let slug: String = last
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(40)
        .collect();
    let digest = blake3::hash(full.as_bytes()).to_hex();
    format!("{slug}-{}", &digest.as_str()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_come_before_the_current_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "audit.log",
            "audit-2026-11-20T11-44-19.675.log.gz",
            "audit-2026-11-20T11-44-37.275.log",
            ".hidden",
        ] {
            fs::write(folder.path().join(name), "x\n").unwrap();
        }
        let listing = list_local(folder.path().to_str().unwrap(), None).unwrap();
        let names: Vec<_> = listing
            .objects
            .iter()
            .map(|o| o.uri.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "audit-2026-11-20T11-44-19.675.log.gz",
                "audit-2026-11-20T11-44-37.275.log",
                "audit.log"
            ]
        );
    }

    #[test]
    fn a_missing_path_and_an_empty_glob_are_missing() {
        for location in ["/no/such/path", "/no/such/*.log"] {
            assert_eq!(
                list_local(location, None).unwrap_err().kind(),
                ErrorKind::Missing
            );
        }
    }
}
