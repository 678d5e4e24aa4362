//! Which sources an ingest reads, and how: those of the command line, else those of `kolumn.toml`.
//! Flags of the command line win over the settings of a source, these over the whole file's.

use std::{collections::BTreeMap, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::{ingest::redaction_of, plan::Plan};
use crate::{
    decode::FormatFamily,
    error::{Context as _, Error, ErrorKind, Result},
    layout::partition::ClusterName,
    pipeline::{Filters, Redaction, SourceSettings},
    query::time::parse_duration,
};

/// Blobs that still grow and data that came late are looked for this far back.
const LOOK_BACK_DEFAULT: TimeDelta = TimeDelta::hours(48);

/// `[[source]]` of `kolumn.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Name, for `--source` and reports.
    pub name: Option<String>,
    /// Path or URL.
    pub url: String,
    /// Format family, as for `--format`.
    pub format: Option<String>,
    /// Cluster of its records.
    pub cluster: Option<String>,
    /// Component whose text logs these are.
    pub component: Option<String>,
    /// IANA zone of text logs that tell none.
    pub log_timezone: Option<String>,
    /// False stores Secrets and tokens as received.
    pub redaction: Option<bool>,
    /// What is dropped: `request-received`, `health-probes`.
    pub drop: Option<Vec<String>>,
    /// How far back blobs that still grow are looked for, such as `48h`.
    pub look_back: Option<String>,
    /// Options of its store: `endpoint`, `region`, `account`, `allow_http` …
    pub options: BTreeMap<String, toml::Value>,
}

/// What is dropped on purpose, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Drop {
    /// Audit events of stage RequestReceived
    RequestReceived,
    /// Requests to /healthz, /livez and /readyz
    HealthProbes,
}

/// Flags that say what is known and wanted of a source.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Ingest only these sources of kolumn.toml
    #[arg(long = "source", value_name = "NAME", conflicts_with = "sources")]
    pub names: Vec<String>,
    /// Cluster name of all records [default: kolumn.toml, else what the records tell, else `default`]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Take only records of this format, reject others [default: auto]
    #[arg(long, value_enum)]
    pub format: Option<FormatFamily>,
    /// Component whose text logs these are [default: told by names and wrappers]
    #[arg(long, value_name = "NAME")]
    pub component: Option<String>,
    /// IANA zone of text logs that tell none [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub log_timezone: Option<String>,
    /// Do not store these records, only count them
    #[arg(long, value_name = "WHAT", value_enum)]
    pub drop: Vec<Drop>,
    /// List everything of object stores, also what arrived before the look-back of 48 h
    #[arg(long)]
    pub relist: bool,
    /// Read only objects whose path tells a time after this
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Read only objects whose path tells a time before this; data may come 48 h late
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// A source that is to be listed: complete and checked.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Name in reports.
    pub name: String,
    /// Path, URL, or `-`.
    pub location: String,
    /// What is known and wanted of its records.
    pub settings: SourceSettings,
    /// Options of its store.
    pub options: BTreeMap<String, String>,
    /// How far back blobs that still grow are looked for.
    pub look_back: TimeDelta,
    /// Lists everything, also what arrived before the look-back.
    pub relist: bool,
    /// Only objects whose path tells a time from here on.
    pub since: Option<DateTime<Utc>>,
    /// Only objects whose path tells a time before.
    pub until: Option<DateTime<Utc>>,
}

/// The sources of a run.
///
/// # Errors
/// `Usage` or `Missing`, naming the flag or the source of `kolumn.toml` that is wrong.
pub fn resolve(
    locations: &[String],
    args: &SourceArgs,
    redaction: &RedactionArgs,
    plan: &Plan,
) -> Result<Vec<SourcePlan>> {
    let configured = &plan.config.source;
    let chosen: Vec<SourceConfig> = if !locations.is_empty() {
        let typed = locations.iter().map(|location| SourceConfig {
            url: location.clone(),
            ..SourceConfig::default()
        });
        typed.collect()
    } else if args.names.is_empty() {
        configured.iter().map(|s| in_folder(s, plan)).collect()
    } else {
        let find = |name: &String| {
            let found = configured.iter().find(|s| s.name.as_ref() == Some(name));
            found.map(|s| in_folder(s, plan)).ok_or_else(|| {
                let known: Vec<_> = configured
                    .iter()
                    .filter_map(|s| s.name.as_deref())
                    .collect();
                Error::new(
                    ErrorKind::Usage,
                    format!("kolumn.toml has no source '{name}'"),
                )
                .hint(format!("its sources are: {}", known.join(", ")))
            })
        };
        args.names.iter().map(find).collect::<Result<_>>()?
    };
    if chosen.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "there is no source to ingest")
            .hint("name files, folders or URLs, or add [[source]] to kolumn.toml"));
    }
    chosen
        .iter()
        .map(|source| source_plan(source, args, redaction, plan).context(label(source)))
        .collect()
}

/// Where the redaction key comes from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Redaction")]
pub struct RedactionArgs {
    /// Store values of Secrets and tokens as received. Everyone who can read the archive can then use them
    #[arg(long)]
    pub no_redaction: bool,
    /// File with the key under which redacted values are digested [default: made once, in the state folder]
    #[arg(
        long,
        value_name = "FILE",
        env = "KOLUMN_REDACTION_KEY_FILE",
        conflicts_with = "no_redaction"
    )]
    pub redaction_key: Option<PathBuf>,
}

fn label(source: &SourceConfig) -> String {
    let name = source.name.as_deref().unwrap_or(&source.url);
    format!("source {name}")
}

/// A relative path in `kolumn.toml` counts from the file's folder.
fn in_folder(source: &SourceConfig, plan: &Plan) -> SourceConfig {
    let mut source = source.clone();
    if !source.url.contains("://") && source.url != "-" {
        let path = plan.config.path(source.url.as_ref());
        source.url = path.display().to_string();
    }
    source
}

fn source_plan(
    source: &SourceConfig,
    args: &SourceArgs,
    redaction: &RedactionArgs,
    plan: &Plan,
) -> Result<SourcePlan> {
    if source.url.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "it has no url")
            .hint("each [[source]] names a path or URL: url = \"s3://bucket/prefix\""));
    }
    let cluster = [&args.cluster, &source.cluster, &plan.config.cluster]
        .into_iter()
        .find_map(Option::as_deref);
    let zone = args.log_timezone.as_ref().or(source.log_timezone.as_ref());
    let format = match (args.format, &source.format) {
        (Some(format), _) => format,
        (None, Some(name)) => FormatFamily::from_str(name, true).map_err(|_| {
            Error::new(ErrorKind::Usage, format!("'{name}' is no format"))
                .hint(format!("formats are: {}", names::<FormatFamily>()))
        })?,
        (None, None) => FormatFamily::Auto,
    };
    let times = plan.times();
    let read_time = |text: &Option<String>, flag: &str| {
        text.as_ref()
            .map(|t| times.parse(t))
            .transpose()
            .context(flag.to_owned())
    };
    let is_open = redaction.no_redaction || source.redaction == Some(false);
    Ok(SourcePlan {
        name: source.name.clone().unwrap_or_else(|| source.url.clone()),
        location: source.url.clone(),
        settings: SourceSettings {
            cluster: cluster.map(ClusterName::parse).transpose()?,
            format,
            component: args.component.clone().or_else(|| source.component.clone()),
            zone: zone.map_or(Ok(Tz::UTC), |z| super::plan::zone(z))?,
            redaction: if is_open {
                Redaction::Off
            } else {
                redaction_of(redaction, plan)?
            },
            filters: filters(source, args)?,
        },
        options: option_texts(&source.options),
        look_back: match source
            .look_back
            .as_ref()
            .or(plan.config.ingest.look_back.as_ref())
        {
            Some(text) => parse_duration(text).context("look_back")?,
            None => LOOK_BACK_DEFAULT,
        },
        relist: args.relist,
        since: read_time(&args.since, "--since")?,
        until: read_time(&args.until, "--until")?,
    })
}

fn filters(source: &SourceConfig, args: &SourceArgs) -> Result<Filters> {
    let mut wanted = args.drop.clone();
    for name in source.drop.iter().flatten() {
        wanted.push(Drop::from_str(name, true).map_err(|_| {
            Error::new(ErrorKind::Usage, format!("'{name}' cannot be dropped"))
                .hint(format!("what can be dropped: {}", names::<Drop>()))
        })?);
    }
    Ok(Filters {
        request_received: wanted.contains(&Drop::RequestReceived),
        health_probes: wanted.contains(&Drop::HealthProbes),
    })
}

fn names<E: ValueEnum>() -> String {
    let values = E::value_variants().iter().filter_map(E::to_possible_value);
    values
        .map(|v| v.get_name().to_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Options of a store as text, as stores take them.
pub(super) fn option_texts(options: &BTreeMap<String, toml::Value>) -> BTreeMap<String, String> {
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(n) => n.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    options
        .iter()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}
