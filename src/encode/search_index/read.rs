//! The index of a file, asked which blocks may hold something.

use std::{collections::BTreeMap, ops::Range};

use super::{
    CHECKSUM, MAGIC,
    bits::{BitReader, Bytes},
    build::{RICE_BITS, block_bits},
    checksum,
    grams::{GRAM_PAGES, PAGE_GRAMS},
    needle::{Piece, Wanted},
};

/// More than any file holds: what says so is damaged.
const BLOCKS_MAX: usize = 1 << 20;

/// Where the index stands in its file: the value of [`super::KEY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// First byte of the index.
    pub offset: u64,
    /// Bytes of its directory, with which it begins.
    pub directory: u64,
    /// Bytes of all of it.
    pub length: u64,
}

impl Place {
    /// Reads the value of the footer's key; `None` if it is of another version or odd.
    pub fn parse(value: &str, file_size: u64) -> Option<Self> {
        let mut numbers = value.split(':').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (version, offset, directory, length) = (next()?, next()?, next()?, next()?);
        let place = Self {
            offset,
            directory,
            length,
        };
        (version == 1 && directory <= length && offset.checked_add(length)? <= file_size)
            .then_some(place)
    }

    /// The value of the footer's key.
    pub fn value(&self) -> String {
        format!("1:{}:{}:{}", self.offset, self.directory, self.length)
    }
}

/// One page of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageNumber(usize);

/// What an index covers, and where its pages are.
#[derive(Debug)]
pub struct Directory {
    block_rows: usize,
    group_rows: Vec<usize>,
    columns: Vec<String>,
    always: Vec<bool>,
    hash_bits: u32,
    page_bits: u32,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    range: Range<u64>,
    checksum: [u8; CHECKSUM],
}

impl Directory {
    /// Reads a directory; `None` if it is damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let directory = bytes.len() as u64;
        let mut bytes = Bytes::checked(bytes)?;
        if bytes.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let block_rows = bytes.size().filter(|rows| *rows > 0)?;
        let groups = bytes.size()?;
        let mut group_rows = Vec::new();
        let mut blocks = 0_usize;
        for _ in 0..groups {
            let rows = bytes.size()?;
            blocks = blocks.checked_add(rows.div_ceil(block_rows))?;
            group_rows.push(rows);
        }
        if blocks > BLOCKS_MAX {
            return None;
        }
        let mut columns = Vec::new();
        for _ in 0..bytes.size()? {
            let length = bytes.size()?;
            columns.push(str::from_utf8(bytes.take(length)?).ok()?.to_owned());
        }
        let always = bits_of(bytes.take(blocks.div_ceil(8))?, blocks);
        let hash_bits = u32::try_from(bytes.number()?).ok()?;
        let page_bits = u32::try_from(bytes.number()?).ok()?;
        if hash_bits > 63 || page_bits > hash_bits {
            return None;
        }
        let mut pages = Vec::new();
        let mut at = directory;
        while !bytes.0.is_empty() {
            let length = bytes.number()?;
            let mut checksum = [0; CHECKSUM];
            if length > 0 {
                checksum.copy_from_slice(bytes.take(CHECKSUM)?);
            }
            let range = at..at.checked_add(length)?;
            at = range.end;
            pages.push(Page { range, checksum });
        }
        let uuid_pages = if hash_bits == 0 { 0 } else { 1 << page_bits };
        (pages.len() == GRAM_PAGES + uuid_pages).then_some(Self {
            block_rows,
            group_rows,
            columns,
            always,
            hash_bits,
            page_bits,
            pages,
        })
    }

    /// Whether it knows the texts of a column.
    pub fn covers(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c == column)
    }

    /// Rows of each row group.
    pub fn group_rows(&self) -> &[usize] {
        &self.group_rows
    }

    /// Rows of a block; the last one of a row group has what is left.
    pub fn block_rows(&self) -> usize {
        self.block_rows
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.always.len()
    }

    /// The pages that [`Directory::candidates`] needs, with their places counted from the first byte
    /// of the index.
    pub fn pages(&self, wanted: &Wanted) -> Vec<(PageNumber, Range<u64>)> {
        let mut numbers = Vec::new();
        wanted.each_piece(&mut |piece| {
            let in_uuids = piece.uuids.iter().filter_map(|u| u.or_grams.as_ref());
            let grams = piece.grams.iter().chain(in_uuids.flatten());
            numbers.extend(grams.map(|gram| PageNumber(gram / PAGE_GRAMS)));
            if self.hash_bits > 0 {
                numbers.extend(piece.uuids.iter().map(|uuid| self.uuid_page(uuid.hash)));
            }
        });
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .into_iter()
            .map(|number| (number, self.pages[number.0].range.clone()))
            .filter(|(_, range)| !range.is_empty())
            .collect()
    }

    fn uuid_page(&self, hash: u64) -> PageNumber {
        let page = hash.checked_shr(64 - self.page_bits).unwrap_or(0);
        PageNumber(GRAM_PAGES + usize::try_from(page).unwrap_or_default())
    }

    /// For each block, whether it may hold what is wanted; `None` if a page is missing or damaged.
    pub fn candidates(
        &self,
        wanted: &Wanted,
        pages: &[(PageNumber, impl AsRef<[u8]>)],
    ) -> Option<Vec<bool>> {
        let mut contents = Contents::default();
        for (number, bytes) in pages {
            let bytes = bytes.as_ref();
            if checksum(bytes) != self.pages.get(number.0)?.checksum {
                return None;
            }
            if number.0 < GRAM_PAGES {
                let page = GramPage::read(bytes, self.blocks())?;
                contents.grams.insert(number.0, page);
            } else {
                contents.uuids.insert(number.0, bytes);
            }
        }
        let mut found = self.evaluate(wanted, &contents)?;
        for (found, always) in found.iter_mut().zip(&self.always) {
            *found |= always;
        }
        Some(found)
    }

    fn evaluate(&self, wanted: &Wanted, contents: &Contents<'_>) -> Option<Vec<bool>> {
        match wanted {
            Wanted::Anything => Some(vec![true; self.blocks()]),
            Wanted::All(parts) => {
                let mut all = vec![true; self.blocks()];
                for part in parts {
                    keep(&mut all, &self.evaluate(part, contents)?);
                }
                Some(all)
            }
            Wanted::Any(parts) => {
                let mut any = vec![false; self.blocks()];
                for part in parts {
                    let one = self.evaluate(part, contents)?;
                    any.iter_mut().zip(one).for_each(|(any, one)| *any |= one);
                }
                Some(any)
            }
            Wanted::Text { piece, .. } => self.holders(piece, contents),
        }
    }

    /// The blocks that may hold a text.
    fn holders(&self, piece: &Piece, contents: &Contents<'_>) -> Option<Vec<bool>> {
        let mut all = vec![true; self.blocks()];
        for gram in &piece.grams {
            self.keep_gram(&mut all, *gram, contents)?;
        }
        for uuid in &piece.uuids {
            let mut any = vec![false; self.blocks()];
            if let Some(grams) = &uuid.or_grams {
                any.fill(true);
                for gram in grams {
                    self.keep_gram(&mut any, *gram, contents)?;
                }
            }
            self.mark_uuid(&mut any, uuid.hash, contents)?;
            keep(&mut all, &any);
        }
        Some(all)
    }

    fn keep_gram(&self, blocks: &mut [bool], gram: usize, contents: &Contents<'_>) -> Option<()> {
        let number = gram / PAGE_GRAMS;
        if self.pages[number].range.is_empty() {
            blocks.fill(false);
            return Some(());
        }
        let page = contents.grams.get(&number)?;
        keep(blocks, &page.blocks(gram % PAGE_GRAMS, self.blocks())?);
        Some(())
    }

    fn mark_uuid(&self, blocks: &mut [bool], hash: u64, contents: &Contents<'_>) -> Option<()> {
        if self.hash_bits == 0 {
            return Some(());
        }
        let number = self.uuid_page(hash);
        let mut bytes = Bytes(contents.uuids.get(&number.0)?);
        let count = bytes.number()?;
        let mut bits = BitReader::new(bytes.0);
        let wanted = hash >> (64 - self.hash_bits);
        let low_bits = self.hash_bits - self.page_bits;
        let mut found = ((number.0 - GRAM_PAGES) as u64) << low_bits;
        let block_bits = block_bits(self.blocks());
        for _ in 0..count {
            found = found.checked_add(bits.rice(RICE_BITS)?)?;
            let block = usize::try_from(bits.take(block_bits)?).ok()?;
            if found == wanted {
                *blocks.get_mut(block)? = true;
            } else if found > wanted {
                break;
            }
        }
        Some(())
    }
}

/// Pages that were read.
#[derive(Default)]
struct Contents<'a> {
    grams: BTreeMap<usize, GramPage>,
    uuids: BTreeMap<usize, &'a [u8]>,
}

/// The grams that begin with one character.
struct GramPage {
    bytes: Vec<u8>,
    /// Where the blocks of each gram stand.
    places: Vec<u32>,
}

impl GramPage {
    fn read(bytes: &[u8], blocks: usize) -> Option<Self> {
        let size = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
        let size_max = PAGE_GRAMS * (9 + blocks.div_ceil(4));
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= size_max)?;
        let bytes = zstd::bulk::decompress(bytes, size).ok()?;
        let mut rest = Bytes(&bytes);
        let kinds = rest.take(PAGE_GRAMS)?;
        let mut places = Vec::with_capacity(PAGE_GRAMS);
        for kind in kinds {
            places.push(u32::try_from(bytes.len() - rest.0.len()).ok()?);
            match *kind {
                0 | 1 => {}
                2 => {
                    rest.take(blocks.div_ceil(8))?;
                }
                more => {
                    for _ in 2..more {
                        rest.number()?;
                    }
                }
            }
        }
        Some(Self { bytes, places })
    }

    fn blocks(&self, gram: usize, count: usize) -> Option<Vec<bool>> {
        let mut data = Bytes(self.bytes.get(usize::try_from(self.places[gram]).ok()?..)?);
        match self.bytes[gram] {
            0 => Some(vec![false; count]),
            1 => Some(vec![true; count]),
            2 => Some(bits_of(data.take(count.div_ceil(8))?, count)),
            more => {
                let mut blocks = vec![false; count];
                let mut at = 0_usize;
                for _ in 2..more {
                    at = at.checked_add(data.size()?)?;
                    *blocks.get_mut(at)? = true;
                }
                Some(blocks)
            }
        }
    }
}

fn bits_of(bytes: &[u8], count: usize) -> Vec<bool> {
    (0..count)
        .map(|at| bytes[at / 8] >> (at % 8) & 1 == 1)
        .collect()
}

fn keep(blocks: &mut [bool], those: &[bool]) {
    blocks.iter_mut().zip(those).for_each(|(b, t)| *b &= t);
}
