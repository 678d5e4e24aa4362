//! Emulators of S3 (moto) and Azure Blob Storage (azurite), which `scripts/emulators` installs: each
//! is a process of its own on a free port, with its state in memory, and dies with its owner.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kolumn::store::{Limits, Purpose, StoreSettings, address::Address, open};
use object_store::ObjectStoreExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The account that every azurite has; no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const AZURE: &str = r#"
import sys
from azure.storage.blob import BlobServiceClient
connection, act, container, blob = sys.argv[1:5]
service = BlobServiceClient.from_connection_string(connection)
if act == "create":
    service.create_container(container)
else:
    client = service.get_blob_client(container, blob)
    if not client.exists():
        client.create_append_blob()
    client.append_block(sys.stdin.buffer.read())
"#;

/// A running emulator.
#[derive(Debug)]
pub(crate) struct Emulator {
    process: Child,
    port: u16,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn installed() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    cache.unwrap_or_else(home).join("kolumn/emulators")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Emulator {
    /// Starts moto.
    pub(crate) async fn s3() -> Self {
        let port = free_port();
        let mut command = Command::new(installed().join("venv/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start(command, port).await
    }

    /// Starts azurite.
    pub(crate) async fn azure() -> Self {
        let port = free_port();
        let mut command = Command::new(installed().join("node/node_modules/.bin/azurite-blob"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.args([
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--inMemoryPersistence",
        ]);
        Self::start(command, port).await
    }

    async fn start(mut command: Command, port: u16) -> Self {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = started.expect("run scripts/emulators first, as scripts/test does");
        let emulator = Self { process, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return emulator;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no answer from {emulator:?}");
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn connection_string(&self) -> String {
        let endpoint = self.endpoint();
        format!("AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};")
    }

    /// Settings that reach this emulator, with quick retries.
    pub(crate) fn settings(&self) -> StoreSettings {
        let variables = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AZURE_STORAGE_CONNECTION_STRING", self.connection_string()),
        ];
        StoreSettings {
            variables: variables.map(|(n, v)| (n.to_owned(), v)).into(),
            limits: Limits {
                retries: 2,
                retry_time: Duration::from_secs(2),
                backoff: Duration::from_millis(10),
                backoff_max: Duration::from_millis(50),
                ..Limits::default()
            },
            ..StoreSettings::default()
        }
    }

    /// Makes a bucket, for which moto asks no signature.
    pub(crate) async fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let port = self.port;
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Puts an object into a bucket.
    pub(crate) async fn put(&self, uri: &str, body: &str) {
        let address = Address::parse(uri).unwrap().unwrap();
        let opened = open(&address, &self.settings(), Purpose::Source).unwrap();
        let path = object_store::path::Path::parse(&address.key).unwrap();
        let payload = object_store::PutPayload::from(body.to_owned());
        opened.store.put(&path, payload).await.unwrap();
    }

    /// Makes a container.
    pub(crate) fn make_container(&self, name: &str) {
        self.azure_client(&["create", name, "-"], &[]);
    }

    /// Appends to an append blob, making it first, as AKS does.
    pub(crate) fn append(&self, container: &str, blob: &str, bytes: &[u8]) {
        self.azure_client(&["append", container, blob], bytes);
    }

    fn azure_client(&self, arguments: &[&str], input: &[u8]) {
        let mut input_file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut input_file, input).unwrap();
        std::io::Seek::rewind(&mut input_file).unwrap();
        let python: &Path = &installed().join("venv/bin/python");
        let done = Command::new(python)
            .args(["-c", AZURE, &self.connection_string()])
            .args(arguments)
            .stdin(input_file)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}
