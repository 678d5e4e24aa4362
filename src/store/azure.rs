//! Azure Blob Storage: settings in the order address, options, environment, connection string.
//! Account key, shared access signature, service principal, workload identity, managed identity and
//! the token of the `az` command line are object_store's; connection strings are read here.

use std::collections::HashMap;

use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::{Address, Purpose, StoreSettings, allow_http, refuse_for_archive, usage};
use crate::error::{Context as _, Result};

/// The account and key that every Azurite has; no secret.
const DEVELOPMENT: &str = "AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

/// Builds the store of a container and completes the address by its account.
pub(super) fn build(
    address: &mut Address,
    settings: &StoreSettings,
    purpose: Purpose,
) -> Result<MicrosoftAzure> {
    if purpose == Purpose::Archive {
        for (option, variable) in [
            ("skip_signature", "AZURE_SKIP_SIGNATURE"),
            (
                "allow_invalid_certificates",
                "AZURE_ALLOW_INVALID_CERTIFICATES",
            ),
        ] {
            if settings.is_on(option, variable) {
                return Err(refuse_for_archive(
                    option,
                    "what is stored could be changed on the way",
                ));
            }
        }
    }
    let mut values: HashMap<AzureConfigKey, String> = HashMap::new();
    let mut variables: Vec<_> = settings.variables.iter().collect();
    variables.sort();
    for (name, value) in variables {
        let known = name
            .starts_with("AZURE_")
            .then(|| name.to_ascii_lowercase());
        if let Some(Ok(key)) = known.map(|n| key_of(&n))
            && !value.is_empty()
            && !matches!(key, AzureConfigKey::Client(_))
        {
            values.insert(key, value.clone());
        }
    }
    let connection = settings
        .option("connection_string")
        .or_else(|| settings.variable("AZURE_STORAGE_CONNECTION_STRING"));
    let connection = connection.map(connection_string).transpose()?;
    for (key, value) in connection.unwrap_or_default() {
        values.insert(key, value);
    }
    for (name, value) in &settings.options {
        match key_of(&name.to_ascii_lowercase()) {
            Ok(AzureConfigKey::Client(_)) if name == "allow_http" => {}
            Ok(key) => {
                values.insert(key, value.clone());
            }
            Err(_) if name == "connection_string" => {}
            Err(_) => {
                return Err(usage(
                    format!("Azure has no option {name}"),
                    "options are account, account_key, sas_token, connection_string, endpoint, use_azure_cli, allow_http and others of object_store",
                ));
            }
        }
    }
    settle_account(address, &mut values)?;
    if let Some(endpoint) = &address.endpoint {
        values.insert(AzureConfigKey::Endpoint, endpoint.clone());
    }
    if let Some(sas) = &address.sas {
        values.remove(&AzureConfigKey::AccessKey);
        values.insert(AzureConfigKey::SasKey, sas.clone());
    }
    if !has_credentials(&values) && is_logged_in(settings) {
        values.insert(AzureConfigKey::UseAzureCli, "true".to_owned());
    }
    let endpoint = values.get(&AzureConfigKey::Endpoint).cloned();
    let allow_http = allow_http(
        endpoint.as_deref(),
        settings.is_on("allow_http", "AZURE_ALLOW_HTTP"),
    )?;
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in values {
        builder = builder.with_config(key, value);
    }
    builder
        .with_container_name(&address.container)
        .with_retry(settings.limits.retry_config())
        .with_client_options(settings.limits.client_options(allow_http))
        .build()
        .context("wrong settings")
}

/// object_store's keys, and those of the `az` command line.
fn key_of(name: &str) -> object_store::Result<AzureConfigKey> {
    match name {
        "account" | "azure_storage_account" => Ok(AzureConfigKey::AccountName),
        "key" | "azure_storage_key" => Ok(AzureConfigKey::AccessKey),
        other => other.parse(),
    }
}

/// The account of the address counts; a key of another account must not be sent to it.
fn settle_account(
    address: &mut Address,
    values: &mut HashMap<AzureConfigKey, String>,
) -> Result<()> {
    let told = values.get(&AzureConfigKey::AccountName);
    match (&address.account, told) {
        (None, Some(told)) => address.account = Some(told.clone()),
        (None, None) => {
            return Err(usage(
                "it does not tell the storage account",
                "write az://CONTAINER@ACCOUNT/PREFIX, or set AZURE_STORAGE_ACCOUNT",
            ));
        }
        (Some(account), Some(told)) if account != told => {
            // What belongs to another account is of no use here.
            for key in [
                AzureConfigKey::AccessKey,
                AzureConfigKey::SasKey,
                AzureConfigKey::Endpoint,
            ] {
                values.remove(&key);
            }
            values.insert(AzureConfigKey::AccountName, account.clone());
        }
        (Some(account), _) => {
            values.insert(AzureConfigKey::AccountName, account.clone());
        }
    }
    Ok(())
}

fn has_credentials(values: &HashMap<AzureConfigKey, String>) -> bool {
    use AzureConfigKey as Key;
    let keys = [
        Key::AccessKey,
        Key::SasKey,
        Key::Token,
        Key::FederatedTokenFile,
        Key::ClientSecret,
        Key::MsiEndpoint,
        Key::SkipSignature,
        Key::UseAzureCli,
    ];
    keys.iter().any(|k| values.contains_key(k))
}

/// True if somebody logged in with `az login` here.
fn is_logged_in(settings: &StoreSettings) -> bool {
    let folder = settings
        .variable("AZURE_CONFIG_DIR")
        .map(std::path::PathBuf::from)
        .or_else(|| {
            settings
                .variable("HOME")
                .map(|h| std::path::Path::new(h).join(".azure"))
        });
    folder.is_some_and(|f| f.join("azureProfile.json").exists())
}

/// Reads `DefaultEndpointsProtocol=https;AccountName=...`.
fn connection_string(text: &str) -> Result<Vec<(AzureConfigKey, String)>> {
    let parts: HashMap<String, &str> = text
        .split(';')
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    if parts
        .get("usedevelopmentstorage")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        return connection_string(DEVELOPMENT);
    }
    let part = |name: &str| parts.get(name).copied();
    let mut values = Vec::new();
    let endpoint = part("blobendpoint").map(|e| e.trim_end_matches('/').to_owned());
    let account = part("accountname").map(str::to_owned).or_else(|| {
        let host = endpoint.as_deref()?.split_once("://")?.1;
        Some(host.split_once('.')?.0.to_owned())
    });
    let Some(account) = account else {
        return Err(usage(
            "the connection string names no account",
            "it looks like DefaultEndpointsProtocol=https;AccountName=NAME;AccountKey=KEY;EndpointSuffix=core.windows.net",
        ));
    };
    let endpoint = endpoint.or_else(|| {
        let protocol = part("defaultendpointsprotocol").unwrap_or("https");
        let suffix = part("endpointsuffix").unwrap_or("core.windows.net");
        let is_usual = protocol == "https" && suffix == "core.windows.net";
        (!is_usual).then(|| format!("{protocol}://{account}.blob.{suffix}"))
    });
    values.push((AzureConfigKey::AccountName, account));
    values.extend(endpoint.map(|e| (AzureConfigKey::Endpoint, e)));
    let key = part("accountkey").map(str::to_owned);
    values.extend(key.map(|k| (AzureConfigKey::AccessKey, k)));
    let sas = part("sharedaccesssignature").map(|s| s.trim_start_matches('?').to_owned());
    values.extend(sas.map(|s| (AzureConfigKey::SasKey, s)));
    Ok(values)
}
