//! S3: settings in the order options, environment, profile files. Web identity, ECS and the instance
//! metadata service are object_store's; profile files it does not read, so that is done here.

use std::{collections::HashMap, path::PathBuf};

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};

use super::{Address, Purpose, StoreSettings, allow_http, refuse_for_archive, usage};
use crate::error::{Context as _, Result};

/// Builds the store of a bucket.
pub(super) fn build(
    address: &Address,
    settings: &StoreSettings,
    purpose: Purpose,
) -> Result<AmazonS3> {
    if purpose == Purpose::Archive {
        refuse_unsafe(settings)?;
    }
    let given = |option: &str, variable: &str| {
        let option = settings
            .option(option)
            .or_else(|| settings.option(variable));
        option.or_else(|| settings.variable(&variable.to_ascii_uppercase()))
    };
    let has_credentials = given("access_key_id", "aws_access_key_id").is_some()
        || given("skip_signature", "aws_skip_signature").is_some()
        || (given("web_identity_token_file", "aws_web_identity_token_file").is_some()
            && given("role_arn", "aws_role_arn").is_some());
    let profile = Profile::load(settings)?;
    let mut builder = AmazonS3Builder::new();
    for (key, value) in profile.settings(!has_credentials)? {
        builder = builder.with_config(key, value);
    }
    // One environment gives one result, whatever its order.
    let mut variables: Vec<_> = settings.variables.iter().collect();
    variables.sort();
    for (name, value) in variables {
        let known = name.starts_with("AWS_").then(|| name.to_ascii_lowercase());
        if let Some(Ok(key)) = known.map(|n| n.parse::<AmazonS3ConfigKey>())
            && !value.is_empty()
            && !matches!(key, AmazonS3ConfigKey::Client(_))
        {
            builder = builder.with_config(key, value);
        }
    }
    for (name, value) in &settings.options {
        match name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            Ok(AmazonS3ConfigKey::Client(_)) if name == "allow_http" => {}
            Ok(key) => builder = builder.with_config(key, value),
            Err(_) => {
                return Err(usage(
                    format!("S3 has no option {name}"),
                    "options are endpoint, region, access_key_id, secret_access_key, token, allow_http and others of object_store",
                ));
            }
        }
    }
    let endpoint = settings
        .option("endpoint")
        .or_else(|| settings.option("endpoint_url"))
        .or_else(|| settings.variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| settings.variable("AWS_ENDPOINT_URL"))
        .or_else(|| settings.variable("AWS_ENDPOINT"))
        .or(profile.get("endpoint_url"));
    if let Some(endpoint) = endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        builder = builder
            .with_config(AmazonS3ConfigKey::Endpoint, endpoint)
            .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let allow_http = allow_http(endpoint, settings.is_on("allow_http", "AWS_ALLOW_HTTP"))?;
    builder
        .with_bucket_name(&address.container)
        .with_retry(settings.limits.retry_config())
        .with_client_options(settings.limits.client_options(allow_http))
        .build()
        .context("wrong settings")
}

/// Settings that other tools have for stores that cannot put if absent.
fn refuse_unsafe(settings: &StoreSettings) -> Result<()> {
    let lost = "two writers could overwrite each other's commits";
    let changed = "what is stored could be changed on the way";
    let is_false = |v: &str| matches!(v.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "");
    let is_set = |v: &str| !v.is_empty();
    type Check<'a> = (&'a str, &'a dyn Fn(&str) -> bool, &'a str);
    let checks: [Check<'_>; 7] = [
        ("conditional_put", &|v| v.trim() != "etag", lost),
        ("copy_if_not_exists", &|v| v.trim() != "multipart", lost),
        ("s3_allow_unsafe_rename", &|v| !is_false(v), lost),
        ("s3_locking_provider", &is_set, lost),
        ("unsigned_payload", &|v| !is_false(v), changed),
        ("skip_signature", &|v| !is_false(v), changed),
        ("allow_invalid_certificates", &|v| !is_false(v), changed),
    ];
    for (name, is_unsafe, reason) in checks {
        let long = format!("aws_{name}");
        let variable = long.to_ascii_uppercase();
        let found = [
            (name, settings.option(name)),
            (&long, settings.option(&long)),
            (&variable, settings.variable(&variable)),
        ];
        for (name, value) in found {
            if let Some(value) = value
                && is_unsafe(value)
            {
                return Err(refuse_for_archive(&format!("{name}={value}"), reason));
            }
        }
    }
    Ok(())
}

/// A profile of `~/.aws/config` and `~/.aws/credentials`.
#[derive(Debug, Default)]
struct Profile {
    name: String,
    values: HashMap<String, String>,
}

impl Profile {
    /// Reads the profile that is named, or `default` if there is one.
    fn load(settings: &StoreSettings) -> Result<Self> {
        let named = settings
            .option("profile")
            .or_else(|| settings.variable("AWS_PROFILE"));
        let name = named.unwrap_or("default");
        let home = settings
            .variable("HOME")
            .or_else(|| settings.variable("USERPROFILE"));
        let path = |variable: &str, file: &str| {
            let given = settings.variable(variable).map(PathBuf::from);
            given.or_else(|| home.map(|h| PathBuf::from(h).join(".aws").join(file)))
        };
        let mut values = HashMap::new();
        let mut is_found = false;
        // The credentials file goes before the other.
        let files = [
            (path("AWS_CONFIG_FILE", "config"), true),
            (path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), false),
        ];
        for (path, is_config) in files {
            let Some(path) = path else { continue };
            let text = match std::fs::read_to_string(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.context(format!("cannot read {}", path.display()))?,
            };
            if let Some(section) = section(&text, name, is_config) {
                is_found = true;
                values.extend(section);
            }
        }
        if named.is_some() && !is_found {
            return Err(usage(
                format!("there is no AWS profile {name}"),
                "look at ~/.aws/config and ~/.aws/credentials, or unset AWS_PROFILE",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.filter(|v| !v.is_empty())
    }

    /// What the profile tells about a bucket, with its credentials if they are needed.
    fn settings(&self, with_credentials: bool) -> Result<Vec<(AmazonS3ConfigKey, &str)>> {
        use AmazonS3ConfigKey as Key;
        let mut found = Vec::new();
        let mut take = |key, name| {
            let value = self.get(name);
            found.extend(value.map(|v| (key, v)));
            value.is_some()
        };
        take(Key::Region, "region");
        if with_credentials {
            let is_static = take(Key::AccessKeyId, "aws_access_key_id");
            if is_static {
                take(Key::SecretAccessKey, "aws_secret_access_key");
                take(Key::Token, "aws_session_token");
            } else if take(Key::WebIdentityTokenFile, "web_identity_token_file") {
                take(Key::RoleArn, "role_arn");
                take(Key::RoleSessionName, "role_session_name");
            } else {
                let needs = [
                    "role_arn",
                    "sso_session",
                    "sso_start_url",
                    "credential_process",
                ];
                if let Some(kind) = needs.into_iter().find(|k| self.get(k).is_some()) {
                    let name = &self.name;
                    return Err(usage(
                        format!(
                            "AWS profile {name} gets its credentials by {kind}, which is not supported"
                        ),
                        format!(
                            "let the AWS command line do it: eval \"$(aws configure export-credentials --profile {name} --format env)\""
                        ),
                    ));
                }
            }
        }
        Ok(found)
    }
}

/// The values of one section of an INI file; nested (indented) values are skipped.
fn section(text: &str, profile: &str, is_config: bool) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut is_in = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            let header = header.trim();
            let name = match header.strip_prefix("profile") {
                Some(rest) if is_config && rest.starts_with([' ', '\t']) => rest.trim(),
                _ if is_config && header != "default" => "",
                _ => header,
            };
            is_in = name.trim_matches('"') == profile;
            if is_in {
                found.get_or_insert_default();
            }
        } else if is_in
            && let Some((key, value)) = line.split_once('=')
            && let Some(found) = &mut found
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}
