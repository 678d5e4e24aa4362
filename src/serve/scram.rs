//! Passwords that are never stored: SCRAM-SHA-256 (RFC 5802, RFC 7677). A users file holds a verifier in
//! the form PostgreSQL uses, from which neither the password nor a login can be made. In: a verifier and
//! the two messages of a client. Out: the two answers of the server, or a refusal. A user who does not
//! exist is asked for a password like one who does.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use tokio_rustls::rustls::crypto::ring::{cipher_suite, default_provider};
use tokio_rustls::rustls::crypto::tls13::OkmBlock;

use crate::error::{Error, ErrorKind, Result};

/// The name of the mechanism.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

const ITERATIONS: usize = 10_000;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

type Key = [u8; KEY_BYTES];

fn bug(what: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("cannot check passwords: {what}"))
}

fn key(bytes: &[u8]) -> Result<Key> {
    bytes
        .try_into()
        .map_err(|_| bug("a digest has an odd length"))
}

fn hmac(secret: &[u8], message: &[u8]) -> Result<Key> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.ok_or_else(|| bug("there is no SHA-256"))?;
    key(suite
        .hkdf_provider
        .hmac_sign(&OkmBlock::new(secret), message)
        .as_ref())
}

fn sha256(message: &[u8]) -> Result<Key> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.ok_or_else(|| bug("there is no SHA-256"))?;
    key(suite.common.hash_provider.hash(message).as_ref())
}

/// Bytes that nobody can guess.
///
/// # Errors
/// `Bug` if the system gives none.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| bug("there is no randomness"))?;
    Ok(bytes)
}

/// Takes as long for bytes that differ early as for those that differ late.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// What proves a password without telling it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: usize,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// The verifier of a new password.
    ///
    /// # Errors
    /// `Bug` if the system gives no random bytes.
    pub fn of_password(password: &str) -> Result<Self> {
        Self::salted(password, random::<SALT_BYTES>()?.to_vec(), ITERATIONS)
    }

    fn salted(password: &str, salt: Vec<u8>, iterations: usize) -> Result<Self> {
        let salted = gen_salted_password(password, &salt, iterations);
        Ok(Self {
            stored_key: sha256(&hmac(&salted, b"Client Key")?)?,
            server_key: hmac(&salted, b"Server Key")?,
            iterations,
            salt,
        })
    }

    /// A verifier that no password fits, the same for the same name, so that a login does not tell who
    /// exists.
    ///
    /// # Errors
    /// `Bug` if there is no SHA-256.
    pub(super) fn of_nobody(secret: &[u8], name: &str) -> Result<Self> {
        Ok(Self {
            iterations: ITERATIONS,
            salt: hmac(secret, name.as_bytes())?[..SALT_BYTES].to_vec(),
            stored_key: random()?,
            server_key: random()?,
        })
    }

    /// Whether this is the password.
    ///
    /// # Errors
    /// `Bug` if there is no SHA-256.
    pub fn fits(&self, password: &str) -> Result<bool> {
        let other = Self::salted(password, self.salt.clone(), self.iterations)?;
        Ok(same(&other.stored_key, &self.stored_key))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }
}

impl FromStr for Verifier {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = || {
            let (method, rest) = text.split_once('$')?;
            let (how, keys) = rest.split_once('$')?;
            let (iterations, salt) = how.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let iterations = iterations.parse().ok().filter(|n| *n >= 4096);
            let bytes = |text: &str| BASE64.decode(text).ok();
            (method == MECHANISM).then_some(Self {
                iterations: iterations?,
                salt: bytes(salt).filter(|salt| !salt.is_empty())?,
                stored_key: bytes(stored)?.try_into().ok()?,
                server_key: bytes(server)?.try_into().ok()?,
            })
        };
        parts().ok_or_else(|| {
            format!("a password is a {MECHANISM} verifier, as `kolumn user add` writes it")
        })
    }
}

/// A login of which the first message came.
pub(super) struct Exchange {
    verifier: Verifier,
    header: String,
    client_first: String,
    server_first: String,
    nonce: String,
}

/// A message that breaks the protocol, or a password that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    WrongPassword,
}

impl Exchange {
    /// The answer to the client's first message.
    pub(super) fn begin(
        message: &[u8],
        verifier: Verifier,
    ) -> std::result::Result<(String, Self), Refused> {
        let text = std::str::from_utf8(message).map_err(|_| Refused::Malformed)?;
        let mut commas = text.match_indices(',').map(|(at, _)| at);
        let (Some(_), Some(second)) = (commas.next(), commas.next()) else {
            return Err(Refused::Malformed);
        };
        let (header, bare) = text.split_at(second + 1);
        // Binding to the channel is not offered; a client that insists on it must not be let in without.
        if !(header.starts_with("n,") || header.starts_with("y,")) {
            return Err(Refused::Malformed);
        }
        let mut parts = bare.split(',');
        let nonce = match (parts.next(), parts.next()) {
            (Some(name), Some(nonce)) if name.starts_with("n=") => nonce.strip_prefix("r="),
            _ => None,
        };
        let nonce = nonce.filter(|n| !n.is_empty()).ok_or(Refused::Malformed)?;
        let more = random::<18>().map_err(|_| Refused::Malformed)?;
        let nonce = format!("{nonce}{}", BASE64.encode(more));
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64.encode(&verifier.salt),
            verifier.iterations
        );
        let exchange = Self {
            verifier,
            header: header.to_owned(),
            client_first: bare.to_owned(),
            server_first: server_first.clone(),
            nonce,
        };
        Ok((server_first, exchange))
    }

    /// The answer to the client's last message, if it proves the password.
    pub(super) fn end(self, message: &[u8]) -> std::result::Result<String, Refused> {
        let text = std::str::from_utf8(message).map_err(|_| Refused::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Refused::Malformed)?;
        let proof = BASE64.decode(proof).map_err(|_| Refused::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|p| p.strip_prefix("c="));
        let nonce = parts.next().and_then(|p| p.strip_prefix("r="));
        if binding != Some(BASE64.encode(&self.header).as_str()) || nonce != Some(&self.nonce) {
            return Err(Refused::Malformed);
        }
        let signed = format!(
            "{},{},{without_proof}",
            self.client_first, self.server_first
        );
        let checked = || -> Result<Option<Key>> {
            let signature = hmac(&self.verifier.stored_key, signed.as_bytes())?;
            let client_key: Vec<u8> = signature.iter().zip(&proof).map(|(a, b)| a ^ b).collect();
            let proven =
                proof.len() == KEY_BYTES && same(&sha256(&client_key)?, &self.verifier.stored_key);
            Ok(match proven {
                true => Some(hmac(&self.verifier.server_key, signed.as_bytes())?),
                false => None,
            })
        };
        match checked() {
            Ok(Some(signature)) => Ok(format!("v={}", BASE64.encode(signature))),
            Ok(None) => Err(Refused::WrongPassword),
            Err(_) => Err(Refused::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3, whose nonce of the server is given.
    #[test]
    fn the_example_of_the_standard() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::salted("pencil", salt, 4096).unwrap();
        let exchange = Exchange {
            verifier,
            header: "n,,".to_owned(),
            client_first: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
            server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                .to_owned(),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        };
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            exchange.end(last.as_bytes()).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_verifier_goes_through_text_and_tells_no_password() {
        let verifier = Verifier::of_password("töp secret").unwrap();
        let text = verifier.to_string();
        assert!(!text.contains("secret"));
        let read: Verifier = text.parse().unwrap();
        assert!(read.fits("töp secret").unwrap());
        assert!(!read.fits("Töp secret").unwrap());
        for wrong in [
            "",
            "secret",
            "SCRAM-SHA-256$1:AA==$AA==:AA==",
            &text.replace("SHA-256", "SHA-1"),
            &text[..text.len() - 4],
        ] {
            assert!(wrong.parse::<Verifier>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn odd_messages_are_refused() {
        let begin = |message: &str| {
            let nobody = Verifier::of_nobody(b"secret", "eve").unwrap();
            Exchange::begin(message.as_bytes(), nobody).map(|(first, _)| first)
        };
        assert!(begin("n,,n=,r=abc").unwrap().starts_with("r=abc"));
        for message in [
            "",
            "n",
            "n,,",
            "n,,n=,r=",
            "n,,r=abc",
            "p=tls-server-end-point,,n=,r=abc",
            ",,,,,",
        ] {
            assert_eq!(begin(message), Err(Refused::Malformed), "{message}");
        }
    }
}
