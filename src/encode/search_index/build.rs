//! Rows into an index. A block's grams are a set of bits; rows of one object follow each other and
//! are nearly equal, so what stands in the same column of the row before is not looked at again.

use std::mem;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Schema},
};

use super::{
    BLOCK_ROWS, MAGIC,
    bits::{BitWriter, put_number},
    checksum,
    grams::{GRAM_PAGES, GRAMS, PAGE_GRAMS, UUID_BYTES, each, holds_odd_letter},
};
use crate::error::{Context as _, Result};

/// Bits of a UUID's hash beyond those that tell all UUIDs of the file apart: with two, one look-up
/// in four names a block that does not hold it.
const SPARE_HASH_BITS: u32 = 2;

/// UUIDs of a page, about: 7 KiB.
const PAGE_UUIDS: usize = 4_096;

/// Level of zstd for pages of grams.
const ZSTD_LEVEL: i32 = 9;

/// Builds the index of one file from its rows.
#[derive(Debug)]
pub struct Builder {
    columns: Vec<TextColumn>,
    block_rows: usize,
    /// Rows of each finished row group, and of the one that is being filled.
    groups: Vec<usize>,
    group_rows: usize,
    blocks: Vec<Block>,
    open: Block,
    open_rows: usize,
}

#[derive(Debug)]
struct TextColumn {
    name: String,
    at: usize,
    /// The text in the last row of this block that had one.
    before: Vec<u8>,
}

/// What stands in one block.
#[derive(Debug)]
struct Block {
    /// One bit a gram.
    grams: Vec<u64>,
    uuids: Vec<u64>,
    /// It holds a letter that other comparisons take for an ASCII letter.
    odd: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            grams: vec![0; GRAMS / 64],
            uuids: Vec::new(),
            odd: false,
        }
    }
}

impl Block {
    fn add(&mut self, text: &[u8]) {
        let Self { grams, uuids, odd } = self;
        each(
            text,
            |gram| grams[gram / 64] |= 1 << (gram % 64),
            |uuid| uuids.push(uuid),
        );
        *odd |= holds_odd_letter(text);
    }
}

impl Builder {
    /// Begins an index over the columns of text, and of lists of text, of a file with this schema.
    pub fn new(schema: &Schema) -> Self {
        Self::with_block_rows(schema, BLOCK_ROWS)
    }

    /// As [`Builder::new`], with blocks of so many rows.
    pub fn with_block_rows(schema: &Schema, block_rows: usize) -> Self {
        let fields = schema.fields().iter().enumerate();
        let columns = fields
            .filter(|(_, field)| match field.data_type() {
                DataType::List(element) => is_text(element.data_type()),
                other => is_text(other),
            })
            .map(|(at, field)| TextColumn {
                name: field.name().clone(),
                at,
                before: Vec::new(),
            })
            .collect();
        Self {
            columns,
            block_rows: block_rows.max(1),
            groups: Vec::new(),
            group_rows: 0,
            blocks: Vec::new(),
            open: Block::default(),
            open_rows: 0,
        }
    }

    /// Takes the next rows of the file. Columns are those of the schema, in its order; their text may
    /// be of any of Arrow's types.
    pub fn push(&mut self, rows: &RecordBatch) {
        let mut from = 0;
        while from < rows.num_rows() {
            let to = rows.num_rows().min(from + self.block_rows - self.open_rows);
            for column in &mut self.columns {
                match rows.columns().get(column.at) {
                    Some(array) => add_rows(&mut self.open, column, array, from..to),
                    None => self.open.odd = true,
                }
            }
            self.open_rows += to - from;
            self.group_rows += to - from;
            if self.open_rows == self.block_rows {
                self.end_block();
            }
            from = to;
        }
    }

    fn end_block(&mut self) {
        if self.open_rows == 0 {
            return;
        }
        self.open.uuids.sort_unstable();
        self.open.uuids.dedup();
        self.open.uuids.shrink_to_fit();
        self.blocks.push(mem::take(&mut self.open));
        self.open_rows = 0;
        for column in &mut self.columns {
            column.before.clear();
        }
    }

    /// The rows that were pushed since the last call are one row group.
    pub fn end_row_group(&mut self) {
        self.end_block();
        if self.group_rows > 0 {
            self.groups.push(mem::take(&mut self.group_rows));
        }
    }

    /// The index, whose directory is its first `usize` bytes.
    ///
    /// # Errors
    /// `Bug` if zstd fails.
    pub fn finish(mut self) -> Result<(Vec<u8>, usize)> {
        self.end_row_group();
        let mut pages = self.gram_pages()?;
        let (hash_bits, page_bits, uuid_pages) = self.uuid_pages();
        pages.extend(uuid_pages);
        let mut out = MAGIC.to_vec();
        put_number(&mut out, self.block_rows as u64);
        put_number(&mut out, self.groups.len() as u64);
        for rows in &self.groups {
            put_number(&mut out, *rows as u64);
        }
        put_number(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            put_number(&mut out, column.name.len() as u64);
            out.extend_from_slice(column.name.as_bytes());
        }
        out.extend(bitmap(
            self.blocks.len(),
            (0..self.blocks.len()).filter(|at| self.blocks[*at].odd),
        ));
        put_number(&mut out, u64::from(hash_bits));
        put_number(&mut out, u64::from(page_bits));
        for page in &pages {
            put_number(&mut out, page.len() as u64);
            if !page.is_empty() {
                out.extend_from_slice(&checksum(page));
            }
        }
        let sum = checksum(&out);
        out.extend_from_slice(&sum);
        let directory = out.len();
        out.extend(pages.into_iter().flatten());
        Ok((out, directory))
    }

    /// A page a first character: for each gram what follows (nothing, all blocks, a bitmap, or so
    /// many numbers less two), then the bitmaps and numbers.
    fn gram_pages(&self) -> Result<Vec<Vec<u8>>> {
        let count = self.blocks.len();
        let list_max = (count / 8).min(usize::from(u8::MAX) - 2);
        let words = PAGE_GRAMS / 64;
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); PAGE_GRAMS];
        (0..GRAM_PAGES)
            .map(|page| {
                places.iter_mut().for_each(Vec::clear);
                for (at, block) in self.blocks.iter().enumerate() {
                    for (word, bits) in block.grams[page * words..][..words].iter().enumerate() {
                        let mut bits = *bits;
                        while bits != 0 {
                            places[word * 64 + bits.trailing_zeros() as usize].push(at);
                            bits &= bits - 1;
                        }
                    }
                }
                if places.iter().all(Vec::is_empty) {
                    return Ok(Vec::new());
                }
                let mut kinds = Vec::with_capacity(PAGE_GRAMS);
                let mut data = Vec::new();
                for blocks in &places {
                    if blocks.is_empty() {
                        kinds.push(0);
                    } else if blocks.len() == count {
                        kinds.push(1);
                    } else if blocks.len() > list_max {
                        kinds.push(2);
                        data.extend(bitmap(count, blocks.iter().copied()));
                    } else {
                        kinds.push(2 + blocks.len() as u8);
                        let mut before = 0;
                        for block in blocks {
                            put_number(&mut data, (block - before) as u64);
                            before = *block;
                        }
                    }
                }
                kinds.extend(data);
                zstd::bulk::compress(&kinds, ZSTD_LEVEL).context("cannot compress a search index")
            })
            .collect()
    }

    /// Hashes cut to so many bits, of which the upper ones are the page: differences as Rice codes,
    /// each with its block.
    fn uuid_pages(&mut self) -> (u32, u32, Vec<Vec<u8>>) {
        let count: usize = self.blocks.iter().map(|b| b.uuids.len()).sum();
        if count == 0 {
            return (0, 0, Vec::new());
        }
        let hash_bits = count.next_power_of_two().trailing_zeros() + SPARE_HASH_BITS;
        let page_bits = (count / PAGE_UUIDS).next_power_of_two().trailing_zeros();
        // Hash and block in one number: there are millions.
        let block_bits = block_bits(self.blocks.len());
        let mut found: Vec<u64> = Vec::with_capacity(count);
        for (at, block) in self.blocks.iter_mut().enumerate() {
            let hashes = mem::take(&mut block.uuids).into_iter();
            let hashes = hashes.map(|hash| hash >> (64 - hash_bits));
            found.extend(hashes.map(|hash| hash << block_bits | at as u64));
        }
        found.sort_unstable();
        found.dedup();
        let low_bits = hash_bits - page_bits;
        let mut rest = found.as_slice();
        let pages = (0..1_u64 << page_bits).map(|page| {
            let is_here = |both: &u64| both >> block_bits >> low_bits <= page;
            let (here, after) = rest.split_at(rest.partition_point(is_here));
            rest = after;
            let mut bits = BitWriter::default();
            let mut before = page << low_bits;
            for both in here {
                let hash = both >> block_bits;
                bits.put_rice(hash - before, SPARE_HASH_BITS);
                bits.put(*both, block_bits);
                before = hash;
            }
            let mut out = Vec::new();
            put_number(&mut out, here.len() as u64);
            out.extend(bits.finish());
            out
        });
        let pages = pages.collect();
        (hash_bits, page_bits, pages)
    }
}

/// Low bits of the Rice code of a difference between hashes.
pub(super) const RICE_BITS: u32 = SPARE_HASH_BITS;

/// Bits of a block's number.
pub(super) fn block_bits(blocks: usize) -> u32 {
    blocks.next_power_of_two().trailing_zeros()
}

fn bitmap(count: usize, set: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bits = vec![0; count.div_ceil(8)];
    for at in set {
        bits[at / 8] |= 1 << (at % 8);
    }
    bits
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
    )
}

fn add_rows(
    block: &mut Block,
    column: &mut TextColumn,
    array: &ArrayRef,
    rows: std::ops::Range<usize>,
) {
    match array.data_type() {
        DataType::Utf8View => {
            let texts = array.as_string_view();
            add_texts(block, column, rows, |row| texts.value(row), array);
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            add_texts(block, column, rows, |row| texts.value(row), array);
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string::<i64>();
            add_texts(block, column, rows, |row| texts.value(row), array);
        }
        DataType::List(_) => {
            // As `array_to_string(column, ' ')` gives it, so that it may be looked for in that, too.
            let lists = array.as_list::<i32>();
            let mut before = mem::take(&mut column.before);
            let mut joined = Vec::new();
            for row in rows.filter(|row| lists.is_valid(*row)) {
                joined.clear();
                if !join(&lists.value(row), &mut joined) {
                    block.odd = true;
                    break;
                }
                add_new(block, &before, &joined);
                mem::swap(&mut before, &mut joined);
            }
            column.before = before;
        }
        DataType::Null => {}
        // Nothing is known of its text.
        _ => block.odd = true,
    }
}

/// False for a list of another type.
fn join(list: &ArrayRef, out: &mut Vec<u8>) -> bool {
    let mut first = true;
    let mut add = |text: Option<&str>| {
        if let Some(text) = text {
            if !mem::take(&mut first) {
                out.push(b' ');
            }
            out.extend_from_slice(text.as_bytes());
        }
    };
    match list.data_type() {
        DataType::Utf8 => list.as_string::<i32>().iter().for_each(&mut add),
        DataType::Utf8View => list.as_string_view().iter().for_each(&mut add),
        DataType::LargeUtf8 => list.as_string::<i64>().iter().for_each(&mut add),
        _ => return false,
    }
    true
}

fn add_texts<'a>(
    block: &mut Block,
    column: &mut TextColumn,
    rows: std::ops::Range<usize>,
    text: impl Fn(usize) -> &'a str,
    array: &ArrayRef,
) {
    let kept = mem::take(&mut column.before);
    let mut before: &[u8] = &kept;
    for row in rows.filter(|row| array.is_valid(*row)) {
        let text = text(row).as_bytes();
        add_new(block, before, text);
        before = text;
    }
    column.before = before.to_vec();
}

/// Bytes compared at once with the text before.
const STEP: usize = 64;

/// Bytes around a change that are looked at again: a UUID that the change touches, with what stands
/// at its edges.
const AROUND: usize = UUID_BYTES + 2;

/// Adds what is new in `text` after `before`, which stands in the block already: a step that equals
/// the bytes at the same distance from the beginning, or from the end, is left out.
fn add_new(block: &mut Block, before: &[u8], text: &[u8]) {
    if text.len() < 2 * STEP || before.len() < 2 * STEP {
        if text != before {
            block.add(text);
        }
        return;
    }
    let same = |at: usize, from_end: bool| {
        let there = if from_end {
            (before.len() + at).checked_sub(text.len())
        } else {
            Some(at)
        };
        let end = STEP.min(text.len() - at);
        there
            .and_then(|there| before.get(there..there + end))
            .is_some_and(|old| old == &text[at..at + end])
    };
    // What has to be looked at, as long as it may still grow.
    let mut new: Option<(usize, usize)> = None;
    let mut look_at = |from: usize, to: usize| {
        let (from, to) = (from.saturating_sub(AROUND), text.len().min(to + AROUND));
        match &mut new {
            Some((_, last)) if from <= *last => *last = to,
            Some(done) => {
                block.add(whole(text, done.0, done.1));
                *done = (from, to);
            }
            None => new = Some((from, to)),
        }
    };
    let mut from_end = false;
    for at in (0..text.len()).step_by(STEP) {
        if same(at, from_end) {
            continue;
        }
        if same(at, !from_end) {
            // Bytes that were apart before meet here.
            from_end = !from_end;
            look_at(at, at);
        } else {
            look_at(at, text.len().min(at + STEP));
        }
    }
    if !from_end && before.len() != text.len() {
        look_at(text.len(), text.len());
    }
    if let Some((first, last)) = new {
        block.add(whole(text, first, last));
    }
}

/// A part of a text, widened where it would cut a UUID, whose pieces would count as grams.
fn whole(text: &[u8], mut from: usize, mut to: usize) -> &[u8] {
    let of_uuid = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let stop = from.saturating_sub(UUID_BYTES);
    while from > stop && of_uuid(text[from - 1]) {
        from -= 1;
    }
    let stop = text.len().min(to + UUID_BYTES);
    while to < stop && of_uuid(text[to]) {
        to += 1;
    }
    &text[from..to]
}
