//! Records that could not be decoded, so that nothing in them has a known place. If one may hold a
//! secret, all from the first name on after which a secret's value can stand is cut off. The rules
//! are broad on purpose: a cut too many loses bytes of a broken record, a cut too few a password.

use memchr::memmem;

/// Any of these makes a record suspicious. `stringData` is a field of nothing but Secrets.
/// The last ones are base64: gzip's magic number, and the places where AWS puts a whole payload.
const SUSPICIOUS: [&[u8]; 10] = [
    b"secret",
    b"Secret",
    b"tokenre",
    b"TokenRe",
    b"stringData",
    b"/token",
    b"H4sI",
    b"awslogs",
    b"kinesis",
    b"recordId",
];

/// Suspicious if a quote follows: subresource token, kind Token….
const SUSPICIOUS_QUOTED: &[u8] = b"token";

/// Names after which the value of a secret can stand.
const NAMES: [&[u8]; 7] = [
    b"requestObject",
    b"responseObject",
    b"data",
    b"stringData",
    b"token",
    b"RequestObject",
    b"ResponseObject",
];

/// Stands in an object before its data, and holds a copy of them.
const LAST_APPLIED: &[u8] = b"last-applied-configuration";

/// Where to cut a record that may hold a secret; `None` if it may not. `suspicious` says that what
/// is known of the record beside its bytes makes a secret likely.
pub(super) fn cut_position(record: &[u8], suspicious: bool) -> Option<usize> {
    if !suspicious && !is_suspicious(record) {
        return None;
    }
    let names = NAMES.iter().filter_map(|name| {
        memmem::find_iter(record, name).find(|at| is_name(record, *at, name.len()))
    });
    let last_applied = memmem::find(record, LAST_APPLIED);
    names
        .chain(last_applied)
        .chain(escaped_letter(record))
        .min()
}

fn is_suspicious(record: &[u8]) -> bool {
    SUSPICIOUS
        .iter()
        .any(|word| memmem::find(record, word).is_some())
        || memmem::find_iter(record, SUSPICIOUS_QUOTED)
            .any(|at| matches!(record.get(at + SUSPICIOUS_QUOTED.len()), Some(b'"' | b'\\')))
        || escaped_letter(record).is_some()
}

/// True if the word is the name of a field: not part of a longer word, and a colon, or nothing more
/// than quotes up to the end, follows. The quotes may be escaped, once or more, or be missing.
fn is_name(record: &[u8], start: usize, length: usize) -> bool {
    let before = &record[..start];
    let starts_word = before.ends_with(b"u0022")
        || before
            .last()
            .is_none_or(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'-'));
    let mut after = &record[start + length..];
    loop {
        after = match after {
            [
                b'\\' | b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n',
                rest @ ..,
            ]
            | [b'u', b'0', b'0', b'2', b'2', rest @ ..] => rest,
            _ => break,
        };
    }
    starts_word && matches!(after.first(), None | Some(b':' | b'='))
}

/// The first ASCII letter written as `\u00XX`. No encoder does that; it can hide a field's name.
fn escaped_letter(record: &[u8]) -> Option<usize> {
    memmem::find_iter(record, b"\\u00").find(|at| {
        let code = record
            .get(at + 4..at + 6)
            .and_then(|c| std::str::from_utf8(c).ok());
        let code = code.and_then(|c| u8::from_str_radix(c, 16).ok());
        code.is_some_and(|c| c.is_ascii_alphabetic())
    })
}
