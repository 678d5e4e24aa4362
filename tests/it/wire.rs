//! A client of PostgreSQL's protocol that does what it is told, wrong things too: messages are built
//! byte by byte, so that a test can send what no driver would.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use tokio_rustls::rustls::crypto::tls13::OkmBlock;

/// How long a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let tag = suite.hkdf_provider.hmac_sign(&OkmBlock::new(key), message);
    tag.as_ref().to_vec()
}

fn sha256(message: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    suite.common.hash_provider.hash(message).as_ref().to_vec()
}

/// What the server answered to one query: rows of texts, or the code and the text of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Rows(Vec<Vec<Option<String>>>),
    Error { code: String, message: String },
}

impl Answer {
    /// Rows as `a|b`, null as nothing.
    pub(crate) fn rows(self) -> Vec<String> {
        match self {
            Self::Rows(rows) => rows
                .into_iter()
                .map(|row| {
                    let cells: Vec<String> =
                        row.into_iter().map(Option::unwrap_or_default).collect();
                    cells.join("|")
                })
                .collect(),
            Self::Error { code, message } => panic!("{code}: {message}"),
        }
    }

    /// The code of the error.
    pub(crate) fn code(self) -> String {
        match self {
            Self::Rows(rows) => panic!("no error but {} rows", rows.len()),
            Self::Error { code, .. } => code,
        }
    }
}

/// One message of the server.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn error(&self) -> (String, String) {
        assert_eq!(self.tag, b'E', "{self:?}");
        let fields = self.body.split(|b| *b == 0).filter(|f| !f.is_empty());
        let field = |name: u8| {
            let found = fields.clone().find(|f| f[0] == name);
            String::from_utf8(found.unwrap()[1..].to_vec()).unwrap()
        };
        (field(b'C'), field(b'M'))
    }
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), &[0]].concat()
}

/// A message with its tag and length.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// The first message of a connection.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(text(name));
        body.extend(text(value));
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) process: u32,
    pub(crate) secret: u32,
}

impl Wire {
    /// A connection on which nothing was said.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            process: 0,
            secret: 0,
        }
    }

    /// A connection of a user.
    pub(crate) async fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut wire = Self::connect(address).await;
        if let Err((code, message)) = wire.try_login(user, password, &[]).await {
            panic!("{code}: {message}");
        }
        wire
    }

    /// Logs in, or tells the error.
    pub(crate) async fn try_login(
        &mut self,
        user: &str,
        password: &str,
        more: &[(&str, &str)],
    ) -> Result<(), (String, String)> {
        let parameters = [&[("user", user), ("database", "kolumn")], more].concat();
        self.send(&startup(&parameters)).await;
        let methods = self.next().await.unwrap();
        if methods.tag == b'E' {
            return Err(methods.error());
        }
        assert_eq!(methods.body[..4], 10_u32.to_be_bytes());
        let bare = "n=,r=abcdefghijkl";
        let first = format!("n,,{bare}");
        let length = u32::try_from(first.len()).unwrap();
        let body = [
            &text("SCRAM-SHA-256")[..],
            &length.to_be_bytes(),
            first.as_bytes(),
        ]
        .concat();
        self.send(&message(b'p', &body)).await;
        let answer = self.next().await.unwrap();
        if answer.tag == b'E' {
            return Err(answer.error());
        }
        let server_first = String::from_utf8(answer.body[4..].to_vec()).unwrap();
        let part = |name: &str| {
            let found = server_first.split(',').find_map(|p| p.strip_prefix(name));
            found.unwrap().to_owned()
        };
        let salt = BASE64.decode(part("s=")).unwrap();
        let salted = gen_salted_password(password, &salt, part("i=").parse().unwrap());
        let client_key = hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={}", part("r="));
        let signed = format!("{bare},{server_first},{without_proof}");
        let signature = hmac(&sha256(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let last = format!("{without_proof},p={}", BASE64.encode(proof));
        self.send(&message(b'p', last.as_bytes())).await;
        loop {
            let Some(answer) = self.next().await else {
                return Err(("gone".to_owned(), String::new()));
            };
            match answer.tag {
                b'E' => return Err(answer.error()),
                b'K' => {
                    let number =
                        |at| u32::from_be_bytes(answer.body[at..at + 4].try_into().unwrap());
                    (self.process, self.secret) = (number(0), number(4));
                }
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that closed is seen by what it answers.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next message; `None` if the server closed.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let read = async {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Message { tag: head[0], body })
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer")
    }

    /// Asks by the simple protocol.
    pub(crate) async fn query(&mut self, sql: &str) -> Answer {
        self.send(&message(b'Q', &text(sql))).await;
        self.answer().await
    }

    /// Asks by the extended protocol, with parameters as text.
    pub(crate) async fn ask(&mut self, sql: &str, parameters: &[&str]) -> Answer {
        let parse = [&text("")[..], &text(sql), &[0, 0]].concat();
        let count = u16::try_from(parameters.len()).unwrap().to_be_bytes();
        let mut bind = [&text("")[..], &text(""), &[0, 0], &count].concat();
        for parameter in parameters {
            bind.extend(u32::try_from(parameter.len()).unwrap().to_be_bytes());
            bind.extend(parameter.as_bytes());
        }
        bind.extend([0, 0]);
        let all = [
            message(b'P', &parse),
            message(b'B', &bind),
            message(b'D', &[&b"P"[..], &text("")].concat()),
            message(b'E', &[&text("")[..], &[0; 4]].concat()),
            message(b'S', &[]),
        ];
        self.send(&all.concat()).await;
        self.answer().await
    }

    /// What comes until the server is ready, or closes.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut rows = Vec::new();
        let mut error = None;
        while let Some(message) = self.next().await {
            match message.tag {
                b'D' => rows.push(cells(&message.body)),
                b'E' => error = Some(message.error()),
                b'Z' => break,
                _ => {}
            }
        }
        match error {
            Some((code, message)) => Answer::Error { code, message },
            None => Answer::Rows(rows),
        }
    }
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            let length = usize::try_from(length).ok()?;
            let (cell, after) = rest.split_at(length);
            rest = after;
            Some(String::from_utf8_lossy(cell).into_owned())
        })
        .collect()
}
