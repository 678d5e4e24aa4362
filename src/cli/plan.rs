//! Completes what was typed: flags, then environment, then `kolumn.toml`, then defaults. In:
//! [`GlobalArgs`]. Out: a [`Plan`] without optional behaviour. This file is the only reader of the
//! environment. Paths in `kolumn.toml` count from its folder, others from the working folder.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;
use serde::Deserialize;
use url::Url;

use super::{
    GlobalArgs,
    serve::ServeConfig,
    sources::{SourceConfig, option_texts},
};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::output::{Format, Output, terminal};
use crate::query::time::{TimeReader, parse_duration};
use crate::query::{MEMORY_BYTES_DEFAULT, SessionOptions};
use crate::store::StoreSettings;
use crate::table::provider::Pruning;

const CONFIG_FILE: &str = "kolumn.toml";

/// `kolumn.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The archive: a path or URL.
    pub archive: Option<String>,
    /// IANA name of the time zone.
    pub timezone: Option<String>,
    /// Name of the cluster whose logs are ingested.
    pub cluster: Option<String>,
    /// Folder with questions of one's own.
    pub questions: Option<PathBuf>,
    /// `[query]`.
    pub query: QueryConfig,
    /// `[ingest]`.
    pub ingest: IngestConfig,
    /// `[serve]`.
    pub serve: ServeConfig,
    /// `[[source]]`, each.
    pub source: Vec<SourceConfig>,
    /// Options of the archive's store: `endpoint`, `region`, `account`, `allow_http` …
    pub archive_options: BTreeMap<String, toml::Value>,
    #[serde(skip)]
    folder: PathBuf,
}

/// `[query]` of `kolumn.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Memory for a query, such as `2GiB`.
    pub memory: Option<String>,
    /// Time for a query, such as `30s`.
    pub timeout: Option<String>,
}

/// `[ingest]` of `kolumn.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Memory for sorting rows, such as `256MiB`.
    pub memory: Option<String>,
    /// File with the key under which redacted values are digested.
    pub redaction_key: Option<PathBuf>,
    /// How far back blobs that still grow are looked for, such as `48h`.
    pub look_back: Option<String>,
    /// File that each run writes its figures to, in Prometheus' text format.
    pub metrics_file: Option<PathBuf>,
}

impl Config {
    /// Reads the file that is named, or `kolumn.toml` in the working folder if it is there.
    ///
    /// # Errors
    /// `Missing` when a named file does not exist, `Usage` when it is not well-formed.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let named = path.unwrap_or(Path::new(CONFIG_FILE));
        let text = match std::fs::read_to_string(named) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                return Ok(Self::default());
            }
            text => text.context(format!("cannot read {}", named.display()))?,
        };
        let mut config: Self = toml::from_str(&text).map_err(|e| {
            Error::new(ErrorKind::Usage, format!("cannot use {}", named.display()))
                .because(e)
                .hint("its keys are archive, timezone, cluster, questions, [query], [ingest], [serve], [[source]], [archive_options]")
        })?;
        config.folder = named.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    /// A path as the file means it: from the file's folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The folder with questions of one's own.
    pub fn questions_folder(&self) -> Option<PathBuf> {
        self.questions.as_deref().map(|path| self.path(path))
    }
}

/// What a command works with: complete and checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The archive, with a slash at its end.
    pub archive: Url,
    /// Zone in which times are read and shown.
    pub zone: Tz,
    /// The present.
    pub now: DateTime<Utc>,
    /// `kolumn.toml`, for what only one command reads.
    pub config: Config,
    /// How much to tell.
    pub verbose: u8,
    /// Folder for what is remembered between runs, such as the shell's history.
    pub state_folder: Option<PathBuf>,
    /// What object stores need to know.
    pub stores: StoreSettings,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variables that tell about object stores.
fn store_variables() -> HashMap<String, String> {
    let is_one = |name: &str| {
        ["AWS_", "AZURE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || matches!(name, "HOME" | "USERPROFILE")
    };
    let all = std::env::vars_os();
    let texts = all.filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    texts
        .filter(|(name, value)| is_one(name) && !value.is_empty())
        .collect()
}

impl Plan {
    /// Completes the flags of every command.
    ///
    /// # Errors
    /// `Usage` or `Missing`, naming the flag, variable or file that is wrong.
    pub fn build(args: &GlobalArgs) -> Result<Self> {
        let config = Config::load(args.config.as_deref())?;
        let archive = match (
            &args.archive,
            environment("KOLUMN_ARCHIVE"),
            &config.archive,
        ) {
            (Some(flag), _, _) => location(flag, Path::new("")).context("--archive")?,
            (None, Some(name), _) => location(&name, Path::new("")).context("KOLUMN_ARCHIVE")?,
            (None, None, Some(name)) => location(name, &config.folder).context(CONFIG_FILE)?,
            (None, None, None) => location("archive", Path::new(""))?,
        };
        let zone = match (&args.timezone, &config.timezone) {
            (Some(name), _) => zone(name).context("--timezone")?,
            (None, Some(name)) => zone(name).context(CONFIG_FILE)?,
            (None, None) => Tz::UTC,
        };
        let state_folder = environment("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".local/state")))
            .map(|folder| folder.join("kolumn"));
        let now = crate::clock::now();
        Ok(Self {
            archive,
            zone,
            now,
            config,
            verbose: args.verbose,
            state_folder,
            stores: StoreSettings {
                variables: store_variables(),
                ..StoreSettings::default()
            },
        })
    }

    /// What the store of the archive needs to know.
    pub fn archive_stores(&self) -> StoreSettings {
        self.stores
            .with_options(option_texts(&self.config.archive_options))
    }

    /// Reads times as this run does.
    pub fn times(&self) -> TimeReader {
        TimeReader {
            zone: self.zone,
            now: self.now,
        }
    }

    /// The limits of queries: flags, else `[query]` of `kolumn.toml`, else defaults.
    ///
    /// # Errors
    /// `Usage`.
    pub fn session(&self, args: &LimitArgs) -> Result<SessionOptions> {
        let memory_bytes = match (&args.memory, &self.config.query.memory) {
            (Some(text), _) => parse_bytes(text).context("--memory")?,
            (None, Some(text)) => parse_bytes(text).context("kolumn.toml: query.memory")?,
            (None, None) => MEMORY_BYTES_DEFAULT,
        };
        let timeout = match (&args.timeout, &self.config.query.timeout) {
            (Some(text), _) => Some(parse_timeout(text).context("--timeout")?),
            (None, Some(text)) => Some(parse_timeout(text).context("kolumn.toml: query.timeout")?),
            (None, None) => None,
        };
        Ok(SessionOptions {
            memory_bytes,
            timeout,
            zone: self.zone,
            pruning: if args.no_pruning {
                Pruning::Off
            } else {
                Pruning::On
            },
            partitions: args.partitions,
            traced: false,
        })
    }

    /// Where and how an answer is written.
    pub fn output(&self, args: &OutputArgs) -> Output {
        let width = if args.output_file.is_some() {
            None
        } else {
            terminal::width()
        };
        Output {
            format: args.output,
            zone: self.zone,
            width,
            file: args.output_file.clone(),
        }
    }
}

/// Limits of a query.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Memory for the query, such as 2GiB [default: 2GiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Time for the query, such as 30s [default: none]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Read everything and skip nothing: slow, to check that the answer is the same
    #[arg(long, hide = true)]
    pub no_pruning: bool,
    /// Partitions read side by side [default: one a core]
    #[arg(long, hide = true, value_name = "N")]
    pub partitions: Option<NonZeroUsize>,
}

/// Where and how an answer is written.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Format of the answer
    #[arg(long, short, value_name = "FORMAT", value_parser = format_parser(), default_value = "table")]
    pub output: Format,
    /// Write the answer to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(Format::ALL.map(|(name, _)| name)).map(|name| {
        Format::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(Format::Table, |(_, format)| *format)
    })
}

/// A path or URL as a URL of a folder.
///
/// # Errors
/// `Usage` when it is neither.
pub fn location(text: &str, folder: &Path) -> Result<Url> {
    if text.contains("://") {
        let mut url = Url::parse(text).map_err(|e| {
            Error::new(ErrorKind::Usage, format!("'{text}' is not a URL")).because(e)
        })?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        return Ok(url);
    }
    let path = std::path::absolute(folder.join(text))
        .context(format!("cannot find the folder of '{text}'"))?;
    Url::from_directory_path(&path).map_err(|()| {
        Error::new(
            ErrorKind::Usage,
            format!("{} cannot be written as a URL", path.display()),
        )
    })
}

/// A time zone by its IANA name.
///
/// # Errors
/// `Usage` if there is none of that name.
pub fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        Error::new(ErrorKind::Usage, format!("'{name}' is not a time zone"))
            .hint("time zones have IANA names, such as Europe/Berlin, Asia/Tokyo or UTC")
    })
}

/// A size such as `512MiB`, `2g` or `1000000`.
///
/// # Errors
/// `Usage` when it is no size, or zero.
pub fn parse_bytes(text: &str) -> Result<usize> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit: Option<usize> = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "kb" => Some(1_000),
        "m" | "mib" => Some(1 << 20),
        "mb" => Some(1_000_000),
        "g" | "gib" => Some(1 << 30),
        "gb" => Some(1_000_000_000),
        _ => None,
    };
    let bytes = text[..digits]
        .parse::<usize>()
        .ok()
        .zip(unit)
        .and_then(|(n, u)| n.checked_mul(u));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("'{text}' is not a size"))
            .hint("sizes look like 512MiB, 2GiB or 1000000")
    })
}

fn parse_timeout(text: &str) -> Result<Duration> {
    let span = parse_duration(text)?;
    span.to_std()
        .ok()
        .filter(|span| !span.is_zero())
        .ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("'{text}' leaves no time")).hint("such as 30s")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("2g", 2 << 30),
            ("7", 7),
            ("1 kB", 1000),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "x", "0", "1.5g", "99999999999999999999", "-1"] {
            assert_eq!(
                parse_bytes(text).unwrap_err().kind(),
                ErrorKind::Usage,
                "{text}"
            );
        }
    }

    #[test]
    fn locations_are_paths_or_urls() {
        assert_eq!(
            location("/a b", Path::new("")).unwrap().as_str(),
            "file:///a%20b/"
        );
        assert_eq!(
            location("x", Path::new("/etc")).unwrap().as_str(),
            "file:///etc/x/"
        );
        assert_eq!(
            location("s3://b/p", Path::new("")).unwrap().as_str(),
            "s3://b/p/"
        );
        assert!(location("://", Path::new("")).is_err());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kolumn.toml");
        std::fs::write(&path, "archve = 'x'\n").unwrap();
        let e = Config::load(Some(&path)).unwrap_err();
        assert!(e.to_chain().contains("archve"), "{}", e.to_chain());
        std::fs::write(
            &path,
            "archive = 'x'\nquestions = 'q'\n[query]\nmemory = '2GiB'\n",
        )
        .unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!(config.questions_folder().unwrap(), folder.path().join("q"));
    }
}
