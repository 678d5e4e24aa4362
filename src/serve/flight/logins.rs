//! Who calls: a name and a password in the `authorization` header, or a token that was given for them.
//! Tokens live in memory and end; checking passwords costs time, so few are checked at once.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::serve::desk::{Desk, Visitor};
use crate::serve::meters::Protocol;
use crate::serve::scram;

/// Go's driver leaves the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const TOKEN_LASTS: Duration = Duration::from_secs(12 * 3600);
const TOKENS_MAX: usize = 10_000;
const CHECKED_AT_ONCE: usize = 2;
/// How long an answer to a wrong password takes.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

/// The tokens that are good now.
pub(super) struct Logins {
    desk: Arc<Desk>,
    checking: Semaphore,
    tokens: Mutex<HashMap<String, (String, Instant)>>,
}

fn header(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()
}

fn client<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

impl Logins {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            checking: Semaphore::new(CHECKED_AT_ONCE),
            tokens: Mutex::new(HashMap::new()),
        }
    }

    /// Checks a name and a password, and gives a token for them.
    pub(super) async fn login<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let basic = header(request.metadata()).and_then(|text| text.strip_prefix("Basic "));
        let basic =
            basic.ok_or_else(|| Status::unauthenticated("a name and a password are needed"))?;
        let name = self.check(basic, client(request)).await?;
        let token = token()?;
        let now = Instant::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (_, until)| *until > now);
        if tokens.len() >= TOKENS_MAX {
            return Err(Status::resource_exhausted("too many logins are open"));
        }
        tokens.insert(token.clone(), (name, now + TOKEN_LASTS));
        Ok(token)
    }

    async fn check(&self, basic: &str, client: Option<IpAddr>) -> Result<String, Status> {
        let wrong = || Status::unauthenticated("wrong name or password");
        let decoded = BASE64.decode(basic).map_err(|_| wrong())?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
        let (name, password) = decoded.split_once(':').ok_or_else(wrong)?;
        let (name, password) = (name.to_owned(), password.to_owned());
        let permit = self.checking.acquire().await.map_err(|_| wrong())?;
        let nobody = |_| Status::unavailable("nobody can log in now");
        let verifier = self.desk.users.verifier(&name).map_err(nobody)?;
        let checked = tokio::task::spawn_blocking(move || verifier.fits(&password));
        let fits = matches!(checked.await, Ok(Ok(true)));
        drop(permit);
        let shown: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
        let refused = (!fits).then_some("wrong name or password");
        self.desk.login(Protocol::Flight, client, &shown, refused);
        if !fits {
            tokio::time::sleep(REFUSED_AFTER).await;
            return Err(wrong());
        }
        Ok(name)
    }

    /// Who makes a call.
    pub(super) async fn visitor<T: Sync>(&self, request: &Request<T>) -> Result<Visitor, Status> {
        let text = header(request.metadata());
        let text = text.ok_or_else(|| Status::unauthenticated("log in first"))?;
        let user = match (text.strip_prefix("Bearer "), text.strip_prefix("Basic ")) {
            (Some(token), _) => {
                let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                let known = tokens
                    .get(token)
                    .filter(|(_, until)| *until > Instant::now());
                known
                    .map(|(user, _)| user.clone())
                    .ok_or_else(|| Status::unauthenticated("log in again"))?
            }
            (None, Some(basic)) => self.check(basic, client(request)).await?,
            (None, None) => return Err(Status::unauthenticated("log in first")),
        };
        // Who was taken out of the users file has no say any more, whatever the token.
        if let Err(e) = self.desk.user(&user) {
            return Err(Status::unauthenticated(e.to_string()));
        }
        let agent = request.metadata().get("user-agent");
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Ok(Visitor {
            protocol: Protocol::Flight,
            client: client(request),
            user,
            application: agent.map(|agent| agent.chars().take(200).collect()),
        })
    }
}

/// A word that nobody can guess.
pub(super) fn token() -> Result<String, Status> {
    let bytes = scram::random::<32>().map_err(|e| Status::internal(e.to_string()))?;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        write!(text, "{byte:02x}").map_err(|e| Status::internal(e.to_string()))?;
    }
    Ok(text)
}
