use super::*;

fn settings(variables: &[(&str, &str)], options: &[(&str, &str)]) -> StoreSettings {
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let own = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        own.collect()
    };
    StoreSettings {
        variables: own(variables).into_iter().collect(),
        options: own(options).into_iter().collect(),
        limits: Limits::default(),
    }
}

fn opened(text: &str, settings: &StoreSettings, purpose: Purpose) -> Result<Opened> {
    open(&Address::parse(text).unwrap().unwrap(), settings, purpose)
}

#[test]
fn what_could_lose_commits_is_refused_for_an_archive_and_named() {
    let unsafe_ones = [
        ("AWS_CONDITIONAL_PUT", "disabled"),
        ("AWS_COPY_IF_NOT_EXISTS", "header: x: y"),
        ("AWS_S3_ALLOW_UNSAFE_RENAME", "true"),
        ("AWS_S3_LOCKING_PROVIDER", "dynamodb"),
        ("AWS_UNSIGNED_PAYLOAD", "true"),
        ("AWS_SKIP_SIGNATURE", "true"),
    ];
    for (name, value) in unsafe_ones {
        let settings = settings(&[(name, value)], &[]);
        let e = opened("s3://b/p", &settings, Purpose::Archive).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage);
        assert!(e.to_chain().contains(name), "{}", e.to_chain());
    }
    let option = settings(&[], &[("conditional_put", "disabled")]);
    assert!(opened("s3://b/p", &option, Purpose::Archive).is_err());
    let fine = settings(&[("AWS_CONDITIONAL_PUT", "etag")], &[]);
    opened("s3://b/p", &fine, Purpose::Archive).unwrap();
}

#[test]
fn plain_http_is_for_this_machine_or_by_permission() {
    for (endpoint, allowed, is_fine) in [
        ("http://127.0.0.1:9000", "false", true),
        ("http://[::1]:9000", "false", true),
        ("http://minio.example:9000", "false", false),
        ("http://minio.example:9000", "true", true),
        ("https://minio.example", "false", true),
    ] {
        let settings = settings(
            &[("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", allowed)],
            &[],
        );
        let found = opened("s3://b", &settings, Purpose::Archive);
        assert_eq!(found.is_ok(), is_fine, "{endpoint} {allowed}");
    }
}

#[test]
fn profiles_give_static_keys_and_say_what_they_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let aws = folder.path().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    std::fs::write(
        aws.join("config"),
        "[default]\nregion = eu-west-1\n[profile sso]\nsso_session = x\nregion = eu-north-1\n\
         [profile role]\nrole_arn = arn:x\nsource_profile = default\n[profile minio]\nendpoint_url = http://127.0.0.1:9\ns3 =\n  max_concurrent_requests = 2\n",
    )
    .unwrap();
    std::fs::write(
        aws.join("credentials"),
        "# mine\n[default]\naws_access_key_id = AK\naws_secret_access_key=SK\n[minio]\naws_access_key_id=a\naws_secret_access_key=b\naws_session_token=c\n",
    )
    .unwrap();
    let home = folder.path().to_str().unwrap();
    for name in ["", "default", "minio"] {
        let settings = settings(&[("HOME", home), ("AWS_PROFILE", name)], &[]);
        opened("s3://b", &settings, Purpose::Source).unwrap();
    }
    for (name, says) in [
        ("sso", "sso_session"),
        ("role", "role_arn"),
        ("none", "no AWS profile"),
    ] {
        let settings = settings(&[("HOME", home), ("AWS_PROFILE", name)], &[]);
        let e = opened("s3://b", &settings, Purpose::Source).unwrap_err();
        assert!(e.to_chain().contains(says), "{}", e.to_chain());
        assert!(e.hint_text().is_some());
    }
    // Keys of the environment need no profile's.
    let both = settings(
        &[
            ("HOME", home),
            ("AWS_PROFILE", "sso"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
        ],
        &[],
    );
    opened("s3://b", &both, Purpose::Source).unwrap();
}

#[test]
fn the_account_comes_from_the_address_or_the_settings() {
    let key = "a2V5";
    let of = |pairs: &[(&str, &str)], text: &str| {
        opened(text, &settings(pairs, &[]), Purpose::Source).map(|o| o.address.base())
    };
    assert_eq!(of(&[], "az://c/p").unwrap_err().kind(), ErrorKind::Usage);
    let account = [("AZURE_STORAGE_ACCOUNT", "acc"), ("AZURE_STORAGE_KEY", key)];
    assert_eq!(of(&account, "az://c/p").unwrap(), "az://c@acc/");
    assert_eq!(of(&account, "az://c@other/p").unwrap(), "az://c@other/");
    for text in [
        "UseDevelopmentStorage=true",
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/devstoreaccount1;",
    ] {
        let connection = [("AZURE_STORAGE_CONNECTION_STRING", text)];
        assert_eq!(
            of(&connection, "az://c/p").unwrap(),
            "az://c@devstoreaccount1/"
        );
    }
    let e = opened(
        "az://c@a/p",
        &settings(&[], &[("acount", "x")]),
        Purpose::Source,
    )
    .unwrap_err();
    assert!(e.to_chain().contains("acount"), "{}", e.to_chain());
}

#[test]
fn debug_shows_no_secret() {
    let settings = settings(
        &[("AWS_SECRET_ACCESS_KEY", "S3CRET")],
        &[("account_key", "S3CRET")],
    );
    assert!(!format!("{settings:?}").contains("S3CRET"));
}
