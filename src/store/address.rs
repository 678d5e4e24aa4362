//! A place in an object store as people write it, in any of the usual forms, brought to one:
//!
//! | typed | means |
//! |---|---|
//! | `s3://bucket/key`, `s3a://` | S3 |
//! | `az://container/key`, `azure://`, `adl://`, `abfs[s]://container/key` | Azure, the account from the settings |
//! | `az://container@account/key` | Azure, the form in which the ledger names objects |
//! | `abfs[s]://container@account.dfs.core.windows.net/key` | Azure, as Spark writes it |
//! | `https://account.blob.core.windows.net/container/key`, also `dfs`, also with a SAS behind `?` | Azure, as the portal shows it |
//!
//! Keys are percent-encoded as in every URL, so that an address of a report can be pasted back.

use std::fmt;

use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Whose protocol a store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and what is compatible with it.
    S3,
    /// Azure Blob Storage.
    Azure,
}

/// A bucket or container and a key in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whose protocol.
    pub provider: Provider,
    /// Azure's storage account, if the address tells it.
    pub account: Option<String>,
    /// The bucket or container.
    pub container: String,
    /// What follows, decoded, without a slash at its beginning.
    pub key: String,
    /// Endpoint of the service, if the address tells one other than the public cloud's.
    pub endpoint: Option<String>,
    /// A shared access signature that was part of the address; never shown.
    pub sas: Option<String>,
    typed: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

/// As it was typed, without a signature.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl Address {
    /// Reads an address; `None` for what is a local path or a `file://` URL.
    ///
    /// # Errors
    /// `Usage` for a scheme that no store has, and for an address without bucket or container.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(None);
        };
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut address = Self {
            provider: Provider::Azure,
            account: None,
            container: authority.to_owned(),
            key: String::new(),
            endpoint: None,
            sas: None,
            typed: text.to_owned(),
        };
        let mut path = path;
        match scheme.as_str() {
            "file" => return Ok(None),
            "s3" | "s3a" => address.provider = Provider::S3,
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                if let Some((container, host)) = authority.split_once('@') {
                    container.clone_into(&mut address.container);
                    address.set_host(host);
                }
            }
            "https" if is_azure_host(authority) => {
                address.set_host(authority);
                let (bare, query) = path.split_once('?').unwrap_or((path, ""));
                if query.contains("sig=") {
                    address.sas = Some(query.to_owned());
                    address.typed = text.strip_suffix(query).unwrap_or(text).to_owned() + "...";
                    path = bare;
                }
                let (container, key) = path.split_once('/').unwrap_or((path, ""));
                container.clone_into(&mut address.container);
                path = key;
            }
            other => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("cannot use {text}: there is no store for {other}://{}", {
                        if other.starts_with("http") {
                            authority
                        } else {
                            ""
                        }
                    }),
                )
                .hint(
                    "places are folders, s3://bucket/prefix, az://container/prefix, \
                     abfss://container@account.dfs.core.windows.net/prefix or \
                     https://account.blob.core.windows.net/container/prefix",
                ));
            }
        }
        address.key = decode(path.trim_start_matches('/'));
        if address.container.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("cannot use {address}: it names no bucket or container"),
            ));
        }
        Ok(Some(address))
    }

    /// `account.dfs.core.windows.net`, or just the account.
    fn set_host(&mut self, host: &str) {
        match host.split_once('.') {
            None => self.account = Some(host.to_owned()),
            Some((account, suffix)) => {
                self.account = Some(account.to_owned());
                let service = suffix.strip_prefix("dfs.").map(|s| format!("blob.{s}"));
                let service = service.as_deref().unwrap_or(suffix);
                if service != "blob.core.windows.net" {
                    self.endpoint = Some(format!("https://{account}.{service}"));
                }
            }
        }
    }

    /// What all URIs of the store begin with: `s3://bucket/` or `az://container@account/`.
    pub fn base(&self) -> String {
        match (self.provider, &self.account) {
            (Provider::S3, _) => format!("s3://{}/", self.container),
            (Provider::Azure, Some(account)) => format!("az://{}@{account}/", self.container),
            (Provider::Azure, None) => format!("az://{}/", self.container),
        }
    }

    /// The URI of a key of the same store.
    pub fn uri_of(&self, key: &str) -> String {
        self.base() + &encode(key)
    }

    /// The URL under which the tables of an archive are known to the table log and to queries: its
    /// path is the path in the store.
    ///
    /// # Errors
    /// `Usage` if it cannot be written as a URL.
    pub fn table_url(&self) -> Result<Url> {
        let scheme = match self.provider {
            Provider::S3 => "s3",
            Provider::Azure => "az",
        };
        let slash = if self.key.is_empty() || self.key.ends_with('/') {
            ""
        } else {
            "/"
        };
        let text = format!("{scheme}://{}/{}{slash}", self.container, encode(&self.key));
        Url::parse(&text).map_err(|e| {
            Error::new(ErrorKind::Usage, format!("cannot use {self} as a folder")).because(e)
        })
    }
}

/// `account.blob.core.windows.net` and its like in other clouds.
fn is_azure_host(authority: &str) -> bool {
    let service = authority.split_once('.').map(|(_, suffix)| suffix);
    service.is_some_and(|s| s.starts_with("blob.") || s.starts_with("dfs."))
}

/// Percent-encodes what would not survive in a URL; everything else stays readable.
fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_control() || c.is_whitespace() || matches!(c, '%' | '#' | '?' | '"' | '<' | '>') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// The inverse of [`encode`]; a percent sign that begins no code stays.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes[at..]
            .get(1..3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap().unwrap()
    }

    #[test]
    fn all_forms_of_one_place_are_one_place() {
        for text in [
            "az://logs@acc/a/b.json",
            "abfss://logs@acc.dfs.core.windows.net/a/b.json",
            "abfs://logs@acc.blob.core.windows.net/a/b.json",
            "https://acc.blob.core.windows.net/logs/a/b.json",
            "https://acc.dfs.core.windows.net/logs/a/b.json",
            "https://acc.blob.core.windows.net/logs/a/b.json?sv=1&sig=secret",
        ] {
            let found = address(text);
            assert_eq!(found.uri_of(&found.key), "az://logs@acc/a/b.json", "{text}");
            assert_eq!(found.table_url().unwrap().as_str(), "az://logs/a/b.json/");
            assert!(!format!("{found} {found:?}").contains("secret"));
        }
        for text in [
            "az://logs/p",
            "adl://logs/p",
            "abfss://logs/p",
            "azure://logs/p",
        ] {
            assert_eq!(
                (address(text).account, address(text).key),
                (None, "p".to_owned())
            );
        }
        assert_eq!(address("s3a://b").base(), "s3://b/");
        assert_eq!(address("s3://b").table_url().unwrap().as_str(), "s3://b/");
        assert_eq!(
            address("abfss://c@acc.dfs.core.chinacloudapi.cn/x")
                .endpoint
                .unwrap(),
            "https://acc.blob.core.chinacloudapi.cn"
        );
    }

    #[test]
    fn keys_survive_the_way_into_a_uri_and_back() {
        for key in [
            "a b/c",
            "dt=2026%3A11/x?y#z",
            "é/日",
            "resourceId=/SUB/y=2026/PT1H.json",
        ] {
            let uri = address("s3://b").uri_of(key);
            assert_eq!(address(&uri).key, key, "{uri}");
        }
        assert_eq!(address("s3://b/100%").key, "100%");
    }

    #[test]
    fn what_is_no_store_is_refused_and_what_is_local_is_not_one() {
        for text in [
            "gs://b/p",
            "https://example.org/x",
            "s3:///p",
            "az://",
            "://",
        ] {
            assert_eq!(
                Address::parse(text).unwrap_err().kind(),
                ErrorKind::Usage,
                "{text}"
            );
        }
        for text in ["/var/log", "logs/*.gz", "file:///var/log", "C:\\x"] {
            assert_eq!(Address::parse(text).unwrap(), None);
        }
    }
}
