//! Numbers as bytes and bits: variable-length numbers, and a stream of bits with Rice codes.

use super::{CHECKSUM, checksum};

/// Appends a number, seven bits a byte, low ones first.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes to read from; every read says if there is nothing left.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The bytes before the checksum at the end, if it is theirs.
    pub(super) fn checked(bytes: &'a [u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        (checksum(content) == sum).then_some(Self(content))
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
}

/// A stream of bits to write to, low bits first.
#[derive(Default)]
pub(super) struct BitWriter {
    out: Vec<u8>,
    used: u32,
}

impl BitWriter {
    pub(super) fn put(&mut self, value: u64, count: u32) {
        for at in 0..count {
            if self.used == 0 {
                self.out.push(0);
            }
            if let Some(last) = self.out.last_mut() {
                *last |= ((value >> at & 1) as u8) << self.used;
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A number as its upper bits in unary, then its `low` lower bits.
    pub(super) fn put_rice(&mut self, value: u64, low: u32) {
        for _ in 0..value >> low {
            self.put(1, 1);
        }
        self.put(0, 1);
        self.put(value, low);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// A stream of bits to read from.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn bit(&mut self) -> Option<u64> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(u64::from(bit))
    }

    pub(super) fn take(&mut self, count: u32) -> Option<u64> {
        let mut value = 0;
        for at in 0..count {
            value |= self.bit()? << at;
        }
        Some(value)
    }

    pub(super) fn rice(&mut self, low: u32) -> Option<u64> {
        let mut upper = 0_u64;
        while self.bit()? == 1 {
            upper += 1;
        }
        Some(upper.checked_shl(low)? | self.take(low)?)
    }
}
