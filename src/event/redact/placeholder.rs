//! What stands in place of a secret: `[redacted blake3:KEY-ID:DIGEST]`. The digest is keyed, so that
//! equal values can be seen to be equal by who has the archive, yet not guessed by trying values.

const START: &str = "[redacted blake3:";
const KEY_ID_HEX: usize = 8;
const DIGEST_HEX: usize = 16;

/// Makes placeholders.
pub(super) struct Placeholders {
    key: [u8; 32],
    key_id: String,
}

impl Placeholders {
    pub(super) fn new(key: [u8; 32]) -> Self {
        let id = blake3::derive_key("kolumn 2026-11-20 id of a redaction key", &key);
        let key_id = blake3::Hash::from(id).to_hex()[..KEY_ID_HEX].to_owned();
        Self { key, key_id }
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The placeholder of a value.
    pub(super) fn text(&self, value: &[u8]) -> String {
        let digest = blake3::keyed_hash(&self.key, value).to_hex();
        format!("{START}{}:{}]", self.key_id, &digest[..DIGEST_HEX])
    }
}

/// True if a text is a placeholder already, of whatever key.
pub(super) fn is_placeholder(text: &str) -> bool {
    let inner = text.strip_prefix(START).and_then(|t| t.strip_suffix(']'));
    let hex = |t: &str, length| t.len() == length && t.bytes().all(|b| b.is_ascii_hexdigit());
    inner
        .and_then(|t| t.split_once(':'))
        .is_some_and(|(id, digest)| hex(id, KEY_ID_HEX) && hex(digest, DIGEST_HEX))
}

/// Decodes base64 as the API server does for `data`: padded, line breaks ignored.
pub(super) fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for four in digits[..digits.len() - padding].chunks(4) {
        let mut bits = 0u32;
        for digit in four {
            bits = bits << 6 | u32::from(base64_value(*digit)?);
        }
        bits <<= 6 * (4 - four.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

fn base64_value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
