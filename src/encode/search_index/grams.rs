//! What a text leaves in the index: its trigrams, the words' grams of four, and its UUIDs. Letters
//! count as lower case, bytes outside ASCII end a run. Four letters with a vowel among them tell far
//! more than three and, unlike those of random names and digests, are few. A UUID in canonical form
//! would fill a block with every trigram of hex digits, so only what reaches over its edge counts, and
//! it is kept as one hash.

use memchr::{memchr_iter, memmem};

/// Classes of characters.
const CLASSES: usize = 64;

/// The first classes are those of words: letters and what joins them.
const WORD_CLASSES: usize = 31;

/// Grams that begin with one character stand on one page.
pub(super) const PAGE_GRAMS: usize = CLASSES * CLASSES;

/// Pages of trigrams, then those of words.
pub(super) const GRAM_PAGES: usize = CLASSES + WORD_CLASSES;

/// Different grams.
pub(super) const GRAMS: usize = GRAM_PAGES * PAGE_GRAMS;

/// Characters with a class of their own; all other ASCII characters share the last class.
const ALONE: &[u8; CLASSES - 1] =
    b"abcdefghijklmnopqrstuvwxyz-_./:0123456789\"'()*+,;<=>@[\\]{}|%&# ";

/// The class of each byte, capital letters as small ones.
static CLASS: [u8; 256] = {
    let mut table = [CLASSES as u8 - 1; 256];
    let mut at = 0;
    while at < ALONE.len() {
        table[ALONE[at].to_ascii_uppercase() as usize] = at as u8;
        table[ALONE[at] as usize] = at as u8;
        at += 1;
    }
    table
};

/// One bit a class.
const VOWELS: u64 = {
    let mut bits = 0;
    let mut at = 0;
    while at < WORD_CLASSES {
        if matches!(ALONE[at], b'a' | b'e' | b'i' | b'o' | b'u' | b'y') {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
};

/// Bytes of a UUID in canonical form, 8-4-4-4-12.
pub(super) const UUID_BYTES: usize = 36;

/// The last four characters of a text that was read up to some byte.
#[derive(Default)]
struct Window {
    classes: u32,
    /// Characters since the last one that is of no word.
    word: u32,
    /// Characters since the last vowel, itself included; 0: there was none.
    vowel: u32,
}

impl Window {
    #[inline]
    fn push(&mut self, byte: u8) {
        let class = CLASS[usize::from(byte)];
        self.classes = self.classes << 6 | u32::from(class);
        self.word = if usize::from(class) < WORD_CLASSES {
            self.word + 1
        } else {
            0
        };
        let is_vowel = VOWELS >> class & 1 == 1;
        self.vowel = if is_vowel {
            1
        } else {
            self.vowel + u32::from(self.vowel > 0)
        };
    }

    #[inline]
    fn three(&self) -> usize {
        (self.classes & 0x3_ffff) as usize
    }

    /// The gram of four if they are a part of a word: its page by the first, its place there a hash.
    #[inline]
    fn word(&self) -> Option<usize> {
        let first = (self.classes >> 18 & 0x3f) as usize;
        let rest = (self.classes & 0x3_ffff).wrapping_mul(0x9e37_79b1) >> 20;
        (self.word >= 4 && (1..=4).contains(&self.vowel))
            .then_some((CLASSES + first) * PAGE_GRAMS + rest as usize)
    }
}

/// The trigram of three bytes.
pub(super) fn gram_of_three(text: [u8; 3]) -> Option<usize> {
    let mut window = Window::default();
    text.iter().for_each(|byte| window.push(*byte));
    text.is_ascii().then(|| window.three())
}

/// The gram of four bytes of a word.
pub(super) fn gram_of_word(text: [u8; 4]) -> Option<usize> {
    let mut window = Window::default();
    text.iter().for_each(|byte| window.push(*byte));
    window.word().filter(|_| text.is_ascii())
}

/// Calls `found` for each gram of an ASCII text.
#[inline]
fn each_gram(text: &[u8], mut found: impl FnMut(usize)) {
    let [a, b, rest @ ..] = text else { return };
    let mut window = Window::default();
    window.push(*a);
    window.push(*b);
    for byte in rest {
        window.push(*byte);
        found(window.three());
        if let Some(gram) = window.word() {
            found(gram);
        }
    }
}

/// Calls `gram` for each gram of a text that counts, and `uuid` for the hash of each UUID.
pub(super) fn each(text: &[u8], mut gram: impl FnMut(usize), mut uuid: impl FnMut(u64)) {
    let mut from = 0;
    let mut end = 0;
    for dash in memchr_iter(b'-', text) {
        let Some(start) = dash.checked_sub(8) else {
            continue;
        };
        if start >= end && is_uuid(text, start) {
            runs(&text[from..start + 2], &mut gram);
            end = start + UUID_BYTES;
            uuid(uuid_hash(&text[start..end]));
            from = end - 2;
        }
    }
    runs(&text[from..], &mut gram);
}

fn runs(text: &[u8], found: &mut impl FnMut(usize)) {
    if text.is_ascii() {
        each_gram(text, found);
    } else {
        for run in text.split(|b| !b.is_ascii()) {
            each_gram(run, &mut *found);
        }
    }
}

/// Whether a UUID that stands for itself begins at `start`, whose ninth byte is a dash: no letter or
/// digit touches it.
fn is_uuid(text: &[u8], start: usize) -> bool {
    let end = start + UUID_BYTES;
    text.len() >= end
        && text[start + 13] == b'-'
        && text[start + 18] == b'-'
        && text[start + 23] == b'-'
        && (0..UUID_BYTES).all(|at| fits_uuid(at, text[start + at]))
        && (start == 0 || !text[start - 1].is_ascii_alphanumeric())
        && text.get(end).is_none_or(|b| !b.is_ascii_alphanumeric())
}

/// Whether a byte may stand at a place of a UUID.
pub(super) fn fits_uuid(at: usize, byte: u8) -> bool {
    match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    }
}

/// A hash of a UUID's text, whatever its case.
pub(super) fn uuid_hash(text: &[u8]) -> u64 {
    let mut value = 0_u128;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => continue,
        };
        value = value << 4 | u128::from(digit);
    }
    let mut hash = (value >> 64) as u64 ^ (value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        hash = (hash ^ hash >> 30).wrapping_mul(factor);
    }
    hash ^ hash >> 31
}

/// Whether a text holds a character outside ASCII that some comparison without regard to case takes
/// for an ASCII letter: the Kelvin sign (k), the dotted capital I (i), the long s (s).
pub(super) fn holds_odd_letter(text: &[u8]) -> bool {
    !text.is_ascii()
        && (memmem::find(text, "\u{212a}".as_bytes()).is_some()
            || memmem::find(text, "\u{130}".as_bytes()).is_some()
            || memmem::find(text, "\u{17f}".as_bytes()).is_some())
}
