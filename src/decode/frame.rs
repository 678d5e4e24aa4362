//! Where one record ends: a stream of bytes into chunks of whole frames.
//!
//! A frame is a line, or, in pretty-printed files, a whole JSON document. Frames are cut without
//! being understood, so this runs at the speed of the disk; what a frame holds is decided elsewhere
//! and on other threads. The last frame, if it has no end, is left to the caller.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::component;

/// A frame may be this long: an audit event holds a request and a response object, each bounded by
/// etcd's 1.5 MiB, and a webhook body is at most 10 MiB; 64 MiB leaves room for arrays of these.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes that a chunk holds at least, unless the stream ends.
pub const CHUNK_BYTES: usize = 4 << 20;

/// How frames end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// At each newline.
    Lines,
    /// Where the brackets of a JSON document close: it is printed over several lines.
    Documents,
    /// Where the next subscription payload of CloudWatch begins: Firehose puts nothing between.
    Payloads,
}

/// How a subscription payload begins. Inside of one these bytes stand nowhere else: in a message
/// their quotes are escaped.
const PAYLOAD_MARKS: [&[u8]; 2] = [b"{\"messageType\":", b"{\"owner\":"];

/// The marks, first the one that the payload at the beginning has: all of a stream have the same, and
/// the other one is looked for only in between.
fn payload_marks(bytes: &[u8]) -> [&'static [u8]; 2] {
    let [first, second] = PAYLOAD_MARKS;
    if bytes.trim_ascii_start().starts_with(second) {
        [second, first]
    } else {
        [first, second]
    }
}

/// Where the first payload begins, from an offset on.
fn next_payload(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let [usual, other] = payload_marks(bytes);
    let found = memchr::memmem::find(rest, usual);
    let before = &rest[..found.unwrap_or(rest.len())];
    memchr::memmem::find(before, other)
        .or(found)
        .map(|at| from + at)
}

/// Where the last payload begins, from an offset on.
fn last_payload(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let [usual, other] = payload_marks(bytes);
    let found = memchr::memmem::rfind(rest, usual);
    let start = found.unwrap_or(0);
    memchr::memmem::rfind(&rest[start..], other)
        .map(|at| start + at)
        .or(found)
        .map(|at| from + at)
}

impl Framing {
    /// Tells by the first line: one that ends inside a JSON value, between two tokens, is the
    /// beginning of a pretty-printed document.
    pub fn sniff(head: &[u8]) -> Self {
        let text = skip_bom(head).trim_ascii_start();
        let opening = &text[..text.len().min(OPENING_BYTES)];
        let names_group = memchr::memmem::find(opening, b"\"logGroup\":").is_some();
        if names_group && PAYLOAD_MARKS.iter().any(|mark| text.starts_with(mark)) {
            return Self::Payloads;
        }
        let Some(end) = memchr::memchr(b'\n', text) else {
            return Self::Lines;
        };
        let line = text[..end].trim_ascii();
        let opens = matches!(line.first(), Some(b'{' | b'['));
        let ends_open = matches!(line.last(), Some(b'{' | b'[' | b',' | b':'));
        if opens && ends_open {
            Self::Documents
        } else {
            Self::Lines
        }
    }
}

/// Within so many bytes a payload names its log group: what stands before it has bounded lengths.
const OPENING_BYTES: usize = 4096;

/// Text without its byte order mark.
pub fn skip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Memory of a chunk, taken from a pool and given back when nobody needs it any more: fresh memory
/// has to be cleared page by page, which costs as much as parsing it.
#[derive(Debug)]
struct Block {
    memory: Vec<u8>,
    len: usize,
    pool: Pool,
}

/// Memory that waits to be used again, shared by the framers of a run.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// Blocks that wait at most: as many as rows that wait to be sorted may refer to.
const POOLED_MAX: usize = 96;

/// A chunk this short is copied: it may wait for long with many others, and must not hold a block.
const COPIED_BYTES_MAX: usize = CHUNK_BYTES / 4;

impl Pool {
    fn block(&self) -> Block {
        let pooled = self.0.lock().ok().and_then(|mut waiting| waiting.pop());
        Block {
            memory: pooled.unwrap_or_else(|| vec![0; CHUNK_BYTES]),
            len: 0,
            pool: self.clone(),
        }
    }
}

impl Block {
    /// The free rest, never empty: a block that is full grows.
    fn space(&mut self) -> &mut [u8] {
        if self.len == self.memory.len() {
            self.memory.resize(self.len * 2, 0);
        }
        &mut self.memory[self.len..]
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.memory.len() - self.len < bytes.len() {
            self.memory
                .resize((self.len + bytes.len()).max(self.memory.len() * 2), 0);
        }
        self.memory[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn into_bytes(self) -> Bytes {
        if self.len <= COPIED_BYTES_MAX {
            Bytes::copy_from_slice(self.as_ref())
        } else {
            Bytes::from_owner(self)
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.memory.len() == CHUNK_BYTES
            && let Ok(mut waiting) = self.pool.0.lock()
            && waiting.len() < POOLED_MAX
        {
            waiting.push(std::mem::take(&mut self.memory));
        }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

/// Whole frames, one after the other.
#[derive(Debug)]
pub struct Chunk {
    /// Offset of the first byte in the decompressed object.
    pub offset: u64,
    /// The bytes; rows may refer to them for as long as they live.
    pub bytes: Bytes,
    /// How the frames end.
    pub framing: Framing,
    /// Where its documents end.
    ends: Vec<usize>,
}

impl Chunk {
    /// A chunk of whole lines.
    pub fn of_lines(offset: u64, lines: &[u8]) -> Self {
        Self {
            offset,
            bytes: Bytes::copy_from_slice(lines),
            framing: Framing::Lines,
            ends: Vec::new(),
        }
    }

    /// The frames with their offsets in the object; blank lines are none.
    pub fn frames(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        let mut ends = self.ends.iter().copied();
        std::iter::from_fn(move || {
            while start < self.bytes.len() {
                let all = self.bytes.len();
                let (end, next) = match self.framing {
                    Framing::Documents => ends.next().map_or((all, all), |end| (end, end)),
                    Framing::Payloads => {
                        next_payload(&self.bytes, start + 1).map_or((all, all), |end| (end, end))
                    }
                    Framing::Lines => memchr::memchr(b'\n', &self.bytes[start..])
                        .map_or((all, all), |i| (start + i, start + i + 1)),
                };
                let offset = self.offset + start as u64;
                let mut frame = &self.bytes[start..end];
                start = next;
                if offset == 0 {
                    frame = skip_bom(frame);
                }
                if !frame.trim_ascii().is_empty() {
                    return Some((offset, frame));
                }
            }
            None
        })
    }
}

/// What comes out of the framer.
#[derive(Debug)]
pub enum Framed {
    /// Whole frames.
    Chunk(Chunk),
    /// A frame over [`FRAME_BYTES_MAX`], with its beginning only.
    Oversize {
        /// Offset in the object.
        offset: u64,
        /// Length of the whole frame, bytes.
        length: u64,
        /// The first bytes.
        head: Vec<u8>,
    },
}

/// Bytes kept of an oversize frame.
const OVERSIZE_HEAD_BYTES: usize = 1 << 20;

/// Cuts a stream into chunks. Bytes are read into [`Framer::space`] and taken by [`Framer::filled`].
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    /// Offset of `block` in the object.
    offset: u64,
    block: Block,
    /// Where to go on looking for an end.
    scanned: usize,
    document: DocumentScan,
    /// Where documents end in `block`.
    ends: Vec<usize>,
    /// The beginning and length so far of a frame that is being skipped.
    oversize: Option<(u64, u64, Vec<u8>)>,
    /// Digest of the bytes before `block`.
    digest: blake3::Hasher,
}

#[derive(Debug, Default, Clone, Copy)]
struct DocumentScan {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl DocumentScan {
    /// True if the document, or a stray line between documents, ends with this byte.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' if self.depth > 0 => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b'\n' => return self.depth == 0,
            _ => {}
        }
        false
    }
}

impl Framer {
    /// A framer for a stream that starts at an offset of its object.
    pub fn new(framing: Framing, offset: u64, pool: &Pool) -> Self {
        Self {
            framing,
            offset,
            block: pool.block(),
            scanned: 0,
            document: DocumentScan::default(),
            ends: Vec::new(),
            oversize: None,
            digest: blake3::Hasher::new(),
        }
    }

    /// BLAKE3 digest of all bytes that were handed out, hex.
    pub fn digest(&self) -> String {
        self.digest.finalize().to_hex().to_string()
    }

    /// Where the next bytes of the stream go.
    pub fn space(&mut self) -> &mut [u8] {
        self.block.space()
    }

    /// Takes so many bytes that were written to [`Framer::space`], and hands whole frames out.
    pub fn filled(&mut self, bytes: usize, out: &mut dyn FnMut(Framed)) {
        self.block.len += bytes;
        if self.oversize.is_some() && !self.skip_oversize(out) {
            return;
        }
        match self.framing {
            Framing::Lines => self.cut_lines(out),
            Framing::Documents => self.cut_documents(out),
            Framing::Payloads => self.cut_payloads(out),
        }
        if self.block.len >= FRAME_BYTES_MAX {
            let length = self.block.len as u64;
            self.digest.update(self.block.as_ref());
            let head = self.block.as_ref()[..OVERSIZE_HEAD_BYTES].to_vec();
            self.oversize = Some((self.offset, length, head));
            self.offset += length;
            self.begin_block(self.block.len);
        }
    }

    /// Takes bytes that lie elsewhere.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Framed)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.space();
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            self.filled(n, out);
            rest = &rest[n..];
        }
    }

    /// A new block with what the old one holds from an offset on; gives the old one.
    fn begin_block(&mut self, from: usize) -> Block {
        let mut next = self.block.pool.block();
        next.append(&self.block.as_ref()[from..]);
        self.scanned = 0;
        self.document = DocumentScan::default();
        std::mem::replace(&mut self.block, next)
    }

    /// Skips to the end of the line in which an oversize frame ends; documents begin anew there. A
    /// payload begins anew at its mark; one whose mark two reads cut apart is skipped too. False if
    /// the end is not there yet.
    fn skip_oversize(&mut self, out: &mut dyn FnMut(Framed)) -> bool {
        let end = match self.framing {
            Framing::Payloads => next_payload(self.block.as_ref(), 0),
            _ => memchr::memchr(b'\n', self.block.as_ref()).map(|i| i + 1),
        };
        let skipped = end.unwrap_or(self.block.len);
        self.offset += skipped as u64;
        self.digest.update(&self.block.as_ref()[..skipped]);
        if let Some((_, length, _)) = &mut self.oversize {
            *length += skipped as u64;
        }
        self.begin_block(skipped);
        if end.is_some()
            && let Some((offset, length, head)) = self.oversize.take()
        {
            out(Framed::Oversize {
                offset,
                length,
                head,
            });
        }
        end.is_some()
    }

    fn cut_lines(&mut self, out: &mut dyn FnMut(Framed)) {
        if self.block.len < CHUNK_BYTES {
            return;
        }
        match memchr::memrchr(b'\n', &self.block.as_ref()[self.scanned..]) {
            Some(i) => {
                // Lines that make up one entry stay together.
                let end = self.scanned + i + 1;
                let entry = component::last_entry_start(&self.block.as_ref()[..end]);
                self.emit(entry.unwrap_or(end), out);
            }
            None => self.scanned = self.block.len,
        }
    }

    fn cut_payloads(&mut self, out: &mut dyn FnMut(Framed)) {
        if self.block.len < CHUNK_BYTES {
            return;
        }
        match last_payload(self.block.as_ref(), self.scanned.max(1)) {
            Some(at) => self.emit(at, out),
            // A mark may stand across the end of the block.
            None => self.scanned = self.block.len - PAYLOAD_MARKS[0].len(),
        }
    }

    fn cut_documents(&mut self, out: &mut dyn FnMut(Framed)) {
        for at in self.scanned..self.block.len {
            if self.document.ends_with(self.block.memory[at]) {
                self.ends.push(at + 1);
                self.document = DocumentScan::default();
            }
        }
        self.scanned = self.block.len;
        if self.block.len >= CHUNK_BYTES
            && let Some(end) = self.ends.last().copied()
        {
            let (scanned, document) = (self.scanned - end, self.document);
            self.emit(end, out);
            (self.scanned, self.document) = (scanned, document);
        }
    }

    fn emit(&mut self, end: usize, out: &mut dyn FnMut(Framed)) {
        let offset = self.offset;
        let mut block = self.begin_block(end);
        block.len = end;
        self.digest.update(block.as_ref());
        self.offset += end as u64;
        let ends = std::mem::take(&mut self.ends);
        let is_blank = block.as_ref().trim_ascii().is_empty();
        let chunk = Chunk {
            offset,
            bytes: block.into_bytes(),
            framing: self.framing,
            ends,
        };
        if !is_blank {
            out(Framed::Chunk(chunk));
        }
    }

    /// Ends the stream: hands out every frame that has an end, and gives back what has none.
    pub fn finish(&mut self, out: &mut dyn FnMut(Framed)) -> Option<Chunk> {
        if let Some((offset, length, head)) = self.oversize.take() {
            out(Framed::Oversize {
                offset,
                length,
                head,
            });
        }
        let end = match self.framing {
            Framing::Lines => memchr::memrchr(b'\n', self.block.as_ref()).map(|i| i + 1),
            Framing::Documents => self.ends.last().copied(),
            Framing::Payloads => last_payload(self.block.as_ref(), 1),
        };
        if let Some(end) = end {
            self.emit(end, out);
        }
        if self.block.as_ref().trim_ascii().is_empty() {
            return None;
        }
        let bytes = self.begin_block(self.block.len).into_bytes();
        Some(Chunk {
            offset: self.offset,
            bytes,
            framing: self.framing,
            ends: Vec::new(),
        })
    }

    /// Takes an unfinished last frame for whole after all.
    pub fn accept(&mut self, tail: &Chunk) {
        self.digest.update(&tail.bytes);
        self.offset += tail.bytes.len() as u64;
    }

    /// Offset in the object up to which everything was handed out.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn run(
        framing: Framing,
        input: &[u8],
        step: usize,
    ) -> (Vec<(u64, String)>, Option<Range<u64>>) {
        let mut framer = Framer::new(framing, 0, &Pool::default());
        let mut chunks = Vec::new();
        for part in input.chunks(step) {
            framer.push(part, &mut |f| chunks.push(f));
        }
        let tail = framer
            .finish(&mut |f| chunks.push(f))
            .map(|c| c.offset..c.offset + c.bytes.len() as u64);
        let frames = chunks.iter().flat_map(|f| match f {
            Framed::Chunk(c) => c
                .frames()
                .map(|(o, f)| (o, String::from_utf8_lossy(f).trim().to_owned()))
                .collect::<Vec<_>>(),
            Framed::Oversize { offset, length, .. } => {
                vec![(*offset, format!("oversize {length}"))]
            }
        });
        (frames.collect(), tail)
    }

    #[test]
    fn lines_keep_their_offsets_and_the_unfinished_one_is_given_back() {
        let input = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"";
        for step in 1..input.len() {
            let (frames, tail) = run(Framing::Lines, input, step);
            assert_eq!(
                frames,
                [(0, "{\"a\":1}".to_owned()), (9, "{\"b\":2}".to_owned())]
            );
            assert_eq!(tail, Some(18..22));
        }
    }

    #[test]
    fn a_pretty_printed_document_is_one_frame() {
        let input = b"\xef\xbb\xbf{\n \"records\": [ {\"x\": \"}\\\"{\"} ]\n}\n{\n}\nstray\n";
        assert_eq!(Framing::sniff(input), Framing::Documents);
        for step in 1..input.len() {
            let (frames, tail) = run(Framing::Documents, input, step);
            assert_eq!(frames.len(), 3, "{frames:?}");
            assert_eq!(frames[1].1, "{\n}");
            assert_eq!(frames[2].1, "stray");
            assert_eq!(tail, None);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_reported_and_the_next_line_is_read() {
        let mut input = vec![b'x'; FRAME_BYTES_MAX + 10];
        input.extend_from_slice(b"\n{\"next\":1}\n");
        let (frames, tail) = run(Framing::Lines, &input, 1 << 20);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], (0, format!("oversize {}", FRAME_BYTES_MAX + 11)));
        assert_eq!(frames[1].1, "{\"next\":1}");
        assert_eq!(tail, None);
    }

    #[test]
    fn payloads_with_nothing_between_are_cut_where_the_next_begins() {
        for (first, separator) in [("messageType", ""), ("owner", ""), ("messageType", "\n")] {
            let payload = |n: usize| {
                let message = r#"{\"messageType\":\"x\",\"owner\":1}{"#;
                format!(
                    "{{\"{first}\":\"DATA_MESSAGE\",\"logGroup\":\"g\",\"logEvents\":[{{\"id\":\"{n}\",\"message\":\"{message}\"}}]}}"
                )
            };
            let payloads: Vec<String> = (0..4).map(payload).collect();
            let mut input = payloads.join(separator);
            assert_eq!(Framing::sniff(input.as_bytes()), Framing::Payloads);
            // A broken one does not take the next ones with it.
            input.insert(payloads[0].len() - 2, '"');
            for step in 1..input.len() {
                let (frames, tail) = run(Framing::Payloads, input.as_bytes(), step);
                let texts: Vec<&str> = frames.iter().map(|(_, f)| f.as_str()).collect();
                assert_eq!(texts[1..], [&*payloads[1], &*payloads[2]]);
                assert_eq!(tail.map(|t| t.end), Some(input.len() as u64));
                assert_eq!(
                    frames[1].0 as usize,
                    payloads[0].len() + 1 + separator.len()
                );
            }
        }
        assert_eq!(Framing::sniff(b"{\"owner\":\"x\"}\n"), Framing::Lines);
    }

    #[test]
    fn a_large_stream_of_payloads_comes_in_chunks() {
        let payload = format!(
            "{{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"g\",\"logEvents\":\"{}\"}}",
            "x".repeat(1000)
        );
        let count = 3 * CHUNK_BYTES / payload.len();
        let input = payload.repeat(count);
        for step in [1 << 20, 999_983] {
            let mut framer = Framer::new(Framing::Payloads, 0, &Pool::default());
            let mut chunks = Vec::new();
            for part in input.as_bytes().chunks(step) {
                framer.push(part, &mut |f| chunks.push(f));
            }
            assert!(chunks.len() <= 3);
            let tail = framer.finish(&mut |f| chunks.push(f)).unwrap();
            let mut frames = 1;
            for chunk in &chunks {
                let Framed::Chunk(chunk) = chunk else {
                    panic!("oversize")
                };
                for (offset, frame) in chunk.frames() {
                    assert_eq!(offset as usize, (frames - 1) * payload.len());
                    assert_eq!(frame, payload.as_bytes());
                    frames += 1;
                }
            }
            assert_eq!((frames, &*tail.bytes), (count, payload.as_bytes()));
        }
    }

    #[test]
    fn after_a_payload_over_the_limit_the_next_is_read() {
        let head = b"{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"";
        let mut input = head.to_vec();
        input.resize(FRAME_BYTES_MAX + 10, b'x');
        let start = input.len();
        input.extend_from_slice(b"{\"messageType\":1}{\"messageType\":2}");
        let (frames, tail) = run(Framing::Payloads, &input, 1 << 20);
        assert_eq!(frames[0], (0, format!("oversize {start}")));
        assert_eq!(frames[1].1, "{\"messageType\":1}");
        assert_eq!((frames.len(), tail.is_some()), (2, true));
    }

    #[test]
    fn a_truncated_line_of_a_line_file_does_not_make_it_a_document_file() {
        assert_eq!(
            Framing::sniff(b"{\"kind\":\"Event\",\"auditID\":\"x\n{\"a\":1}\n"),
            Framing::Lines
        );
        assert_eq!(Framing::sniff(b"[\n{}\n]"), Framing::Documents);
    }
}
