//! What is looked for, as grams and UUIDs.

use std::collections::BTreeSet;

use super::grams::{UUID_BYTES, fits_uuid, gram_of_three, gram_of_word, uuid_hash};

/// What a block must hold to be a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Nothing is known: every block is a candidate.
    Anything,
    /// All of these.
    All(Vec<Wanted>),
    /// One of these.
    Any(Vec<Wanted>),
    /// This text, if the index covers all of these columns.
    Text {
        /// The columns in which it may stand.
        columns: Vec<String>,
        /// The text.
        piece: Piece,
    },
}

impl Wanted {
    /// Whether no block can ever be left out.
    pub fn is_vague(&self) -> bool {
        match self {
            Self::Anything => true,
            Self::All(parts) => parts.iter().all(Self::is_vague),
            Self::Any(parts) => parts.iter().any(Self::is_vague),
            Self::Text { piece, .. } => piece.is_vague(),
        }
    }

    /// The same for a file: columns that it does not have hold no text; of columns that its index
    /// does not cover nothing is known.
    #[must_use]
    pub fn for_file(&self, exists: &dyn Fn(&str) -> bool, covered: &dyn Fn(&str) -> bool) -> Self {
        let each = |parts: &[Self]| parts.iter().map(|p| p.for_file(exists, covered)).collect();
        match self {
            Self::Anything => Self::Anything,
            Self::All(parts) => Self::All(each(parts)),
            Self::Any(parts) => Self::Any(each(parts)),
            Self::Text { columns, .. } => {
                if columns.iter().any(|c| exists(c) && !covered(c)) {
                    Self::Anything
                } else {
                    self.clone()
                }
            }
        }
    }

    /// Calls `found` for each piece.
    pub(super) fn each_piece(&self, found: &mut impl FnMut(&Piece)) {
        match self {
            Self::Anything => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|p| p.each_piece(found)),
            Self::Text { piece, .. } => found(piece),
        }
    }
}

/// A text that stands somewhere in one text, whatever the case of its letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// Grams that stand in the index wherever the text stands.
    pub(super) grams: BTreeSet<usize>,
    /// UUIDs of the text.
    pub(super) uuids: Vec<WantedUuid>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedUuid {
    pub(super) hash: u64,
    /// At an edge of the text what stands beside the UUID is not known: if a letter or digit touches
    /// it, it is none, and these grams stand in the index instead.
    pub(super) or_grams: Option<BTreeSet<usize>>,
}

impl Piece {
    /// Takes a text apart.
    pub fn new(text: &str) -> Self {
        let text = text.as_bytes();
        // What lies within a UUID is not in the index: leave out trigrams that may be part of one,
        // wherever it begins, before the text too.
        let mut known = vec![true; text.len()];
        let mut whole = Vec::new();
        let edge = |at: Option<usize>| {
            at.and_then(|at| text.get(at))
                .is_none_or(|b| !b.is_ascii_alphanumeric())
        };
        for shifted in 1..text.len() + UUID_BYTES {
            // Where the UUID begins, plus its length.
            let (from, to) = (shifted.saturating_sub(UUID_BYTES), shifted.min(text.len()));
            let fits = (from..to).all(|at| fits_uuid(at + UUID_BYTES - shifted, text[at]));
            let before = shifted.checked_sub(UUID_BYTES + 1);
            if !fits || !edge(before) || !edge(Some(shifted)) {
                continue;
            }
            if shifted >= UUID_BYTES && shifted <= text.len() {
                whole.push(from);
            } else {
                (from..to.saturating_sub(2)).for_each(|at| known[at] = false);
            }
        }
        let uuids = whole
            .iter()
            .map(|from| {
                let to = from + UUID_BYTES;
                let at_edge = *from == 0 || to == text.len();
                WantedUuid {
                    hash: uuid_hash(&text[*from..to]),
                    or_grams: at_edge.then(|| {
                        // Those from its dashes on: they stand on one page and are rarer.
                        let dashes = (*from..to).filter(|at| known[*at] && text[*at] == b'-');
                        let three = |at: usize| gram_of_three(*text.get(at..)?.first_chunk()?);
                        dashes.filter_map(three).collect()
                    }),
                }
            })
            .collect();
        for from in whole {
            known[from..from + UUID_BYTES - 2].fill(false);
        }
        Self {
            grams: grams(text, &known),
            uuids,
        }
    }

    /// A text that is all of a text: no letter or digit touches it.
    pub fn whole(text: &str) -> Self {
        let mut piece = Self::new(text);
        piece.uuids.iter_mut().for_each(|uuid| uuid.or_grams = None);
        piece
    }

    /// Whether a UUID stands in it.
    pub fn holds_uuid(&self) -> bool {
        !self.uuids.is_empty()
    }

    fn is_vague(&self) -> bool {
        self.grams.is_empty() && self.uuids.is_empty()
    }
}

/// The grams of a text whose trigrams are known to be in the index at these places. A word's gram
/// stands for the two trigrams in it.
fn grams(text: &[u8], known: &[bool]) -> BTreeSet<usize> {
    let word = |at: usize| {
        let both = known.get(at..at + 2)?;
        let four = text.get(at..)?.first_chunk::<4>()?;
        (both == [true, true])
            .then(|| gram_of_word(*four))
            .flatten()
    };
    let three = |at: usize| {
        let implied = word(at).is_some() || at.checked_sub(1).and_then(word).is_some();
        let three = text.get(at..)?.first_chunk::<3>()?;
        (known[at] && !implied)
            .then(|| gram_of_three(*three))
            .flatten()
    };
    (0..text.len())
        .flat_map(|at| [word(at), three(at)])
        .flatten()
        .collect()
}
