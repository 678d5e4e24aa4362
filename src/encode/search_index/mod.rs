//! The search index of a data file: which grams of texts, and which UUIDs, stand in which block of
//! rows.
//!
//! [`Builder`] takes the rows of a file in their order and gives the bytes that are put between the
//! last row group and the footer; the footer's key [`KEY`] says where they are, so they come and go
//! with the file and other readers never see them. A reader takes the [`Directory`], asks it for the
//! pages that a [`Wanted`] needs, and gets the blocks that may hold a match. It never leaves out a
//! block that does: whatever cannot be told, or is damaged, is a candidate.
//!
//! ```text
//! directory  magic, rows of a block, rows of each row group, covered columns, blocks that are
//!            always candidates, lengths and checksums of the pages, checksum of all this
//! pages      64 of trigrams and 31 of grams of four of words, by first character, each a zstd
//!            frame; then 2^n of UUIDs, by hash
//! ```

mod bits;
mod build;
mod grams;
mod needle;
mod read;
#[cfg(test)]
mod tests;

pub use build::Builder;
pub use needle::{Piece, Wanted};
pub use read::{Directory, PageNumber, Place};

/// The footer's key; its value is a [`Place`].
pub const KEY: &str = "kolumn.search_index";

/// Rows of a block: two or three pages of bodies. Half of it makes the index a quarter larger.
pub const BLOCK_ROWS: usize = 4_096;

/// The first bytes of a directory; the last one is the version.
const MAGIC: &[u8; 4] = b"KSI\x01";

/// Bytes of a checksum.
const CHECKSUM: usize = 8;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut short = [0; CHECKSUM];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    short
}
