//! The one place that builds object stores: for sources and for the archive, for local disks, S3
//! and Azure. In: an [`Address`] and [`StoreSettings`]. Out: a store with one policy of retries,
//! timeouts and concurrency, so that a store that is down ends in an error that says "run again".

pub mod address;
mod aws;
mod azure;
pub(crate) mod durable;
pub(crate) mod failure;
mod guard;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use deltalake_core::logstore::logstore_factories;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig, limit::LimitStore};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use address::{Address, Provider};

/// How long and how often a store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Times a request is repeated.
    pub retries: usize,
    /// Time after which a request is not repeated any more.
    pub retry_time: Duration,
    /// First pause between two tries; it grows, and is spread at random.
    pub backoff: Duration,
    /// Longest pause between two tries.
    pub backoff_max: Duration,
    /// Time for one request with its answer.
    pub request_time: Duration,
    /// Requests under way at a time, over all users of the store.
    pub requests: usize,
    /// Bytes of one ranged read of a source object; two blocks are held.
    pub block_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retries: 10,
            retry_time: Duration::from_secs(180),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(15),
            request_time: Duration::from_secs(60),
            requests: 64,
            block_bytes: 8 << 20,
        }
    }
}

impl Limits {
    fn retry_config(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.backoff,
                max_backoff: self.backoff_max,
                base: 2.,
            },
            max_retries: self.retries,
            retry_timeout: self.retry_time,
        }
    }

    fn client_options(&self, allow_http: bool) -> ClientOptions {
        ClientOptions::new()
            .with_timeout(self.request_time)
            .with_connect_timeout(Duration::from_secs(5).min(self.request_time))
            .with_allow_http(allow_http)
    }
}

/// What stores need to know beside an address.
#[derive(Clone, Default)]
pub struct StoreSettings {
    /// Variables of the environment: `AWS_*`, `AZURE_*` and `HOME` are looked at.
    pub variables: HashMap<String, String>,
    /// Options of one place (`kolumn.toml`), such as `endpoint`, `region`, `account`, `allow_http`;
    /// they go before variables.
    pub options: BTreeMap<String, String>,
    /// Retries, timeouts, concurrency.
    pub limits: Limits,
}

/// Names only: values may be secrets.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.options.keys().collect();
        f.debug_struct("StoreSettings")
            .field("options", &options)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl StoreSettings {
    /// The same with options of one place. `retries` and `retry_seconds` set its limits; any other
    /// option, and one of these without a number, is for the store to take or to refuse.
    #[must_use]
    pub fn with_options(&self, mut options: BTreeMap<String, String>) -> Self {
        let mut number = |name: &str| {
            let value = options.get(name)?.parse::<u32>().ok()?;
            options.remove(name);
            Some(value)
        };
        let mut limits = self.limits.clone();
        if let Some(retries) = number("retries") {
            limits.retries = retries as usize;
        }
        if let Some(seconds) = number("retry_seconds") {
            limits.retry_time = Duration::from_secs(seconds.into());
        }
        Self {
            options,
            limits,
            ..self.clone()
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|v| !v.is_empty())
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// A switch, by option or variable.
    fn is_on(&self, option: &str, variable: &str) -> bool {
        let value = self.option(option).or_else(|| self.variable(variable));
        value.is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "true" | "1" | "yes"))
    }
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Logs are read from it.
    Source,
    /// It keeps an archive, so that commits must exclude each other and answers must be true.
    Archive,
}

/// A store, and the address with everything the settings told about it.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The store, rooted at its bucket or container.
    pub store: Arc<dyn ObjectStore>,
    /// The address; for Azure, its account is known.
    pub address: Address,
}

/// Opens the store of an address. Nothing is sent yet.
///
/// # Errors
/// `Usage` for settings that are wrong, missing or, for an archive, not safe.
pub fn open(address: &Address, settings: &StoreSettings, purpose: Purpose) -> Result<Opened> {
    let during = |e: Error| e.during(format!("cannot use {address}"));
    let mut address = address.clone();
    let store = match address.provider {
        Provider::S3 => aws::build(&address, settings, purpose).map(guard::over),
        Provider::Azure => azure::build(&mut address, settings, purpose).map(guard::over),
    };
    let store = store.map_err(during)?;
    let store = LimitStore::new(store, settings.limits.requests);
    Ok(Opened {
        store: Arc::new(store),
        address,
    })
}

/// The store of an archive and the URL of its folder in it.
///
/// # Errors
/// As [`open`], and `Usage` for a URL of no known store.
pub(crate) fn open_archive(
    url: &Url,
    settings: &StoreSettings,
) -> Result<(Arc<dyn ObjectStore>, Url)> {
    let Some(address) = Address::parse(url.as_str())? else {
        return Ok((Arc::new(durable::DurableLocal::new()), url.clone()));
    };
    register_log_stores();
    let opened = open(&address, settings, Purpose::Archive)?;
    Ok((opened.store, opened.address.table_url()?))
}

/// The table log knows how to commit on any store that can put if absent; it only has to be told
/// that those of these schemes can.
fn register_log_stores() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let factories = logstore_factories();
        let parse = |scheme: &str| Url::parse(&format!("{scheme}://"));
        let Ok(file) = parse("file") else { return };
        let Some(default) = factories.get(&file).map(|f| Arc::clone(f.value())) else {
            return;
        };
        for scheme in ["s3", "az"] {
            if let Ok(scheme) = parse(scheme) {
                factories.insert(scheme, Arc::clone(&default));
            }
        }
    });
}

/// Plain http shows logs to everyone on the way: only to this machine, or if told so.
fn allow_http(endpoint: Option<&str>, is_allowed: bool) -> Result<bool> {
    let Some(endpoint) = endpoint.filter(|e| e.to_ascii_lowercase().starts_with("http://")) else {
        return Ok(is_allowed);
    };
    let host = Url::parse(endpoint)
        .ok()
        .and_then(|u| u.host_str().map(str::to_owned))
        .unwrap_or_default();
    let is_loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    if is_allowed || is_loopback {
        return Ok(true);
    }
    Err(usage(
        format!(
            "its endpoint {endpoint} is plain http, which everyone on the way can read and change"
        ),
        "use https, or set allow_http = \"true\" if the network is yours",
    ))
}

/// Refuses a setting under which commits could be lost or bytes changed on the way.
fn refuse_for_archive(name: &str, reason: &str) -> Error {
    usage(
        format!("{name} is not safe for an archive: {reason}"),
        format!("remove {name} from the environment and from kolumn.toml"),
    )
}

fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message).hint(hint)
}

#[cfg(test)]
mod tests;
