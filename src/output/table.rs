//! Rows for people: columns side by side, cut to the width of the terminal; one line a column where
//! there are too many to stand side by side. Text comes from logs that anybody may write to, so
//! whatever could steer a terminal (escape sequences, direction marks) is shown, not sent.

use std::io::Write;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono_tz::Tz;

use super::Output;

/// Rows held back to find the widths of columns.
const HELD_ROWS_MAX: usize = 1_000;
/// A cell is cut to so many characters where no terminal sets the width.
const CELL_CHARS_MAX: usize = 200;
/// A column is not made narrower than this; if that does not fit, rows stand one column a line.
const COLUMN_WIDTH_MIN: usize = 8;
const GAP: usize = 2;

/// Writes rows as a table.
pub(super) struct TableWriter<W: Write> {
    out: W,
    names: Vec<String>,
    right: Vec<bool>,
    width: Option<usize>,
    utc: bool,
    held: Vec<Vec<Option<String>>>,
    shape: Option<Shape>,
    rows: u64,
}

enum Shape {
    Columns(Vec<usize>),
    Records,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W, schema: &SchemaRef, output: &Output) -> Self {
        Self {
            out,
            names: schema
                .fields()
                .iter()
                .map(|f| clean(f.name(), CELL_CHARS_MAX))
                .collect(),
            right: schema
                .fields()
                .iter()
                .map(|f| f.data_type().is_numeric())
                .collect(),
            width: output.width,
            utc: output.zone == Tz::UTC,
            held: Vec::new(),
            shape: None,
            rows: 0,
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let time = if self.utc {
            "%Y-%m-%d %H:%M:%S%.fZ"
        } else {
            "%Y-%m-%d %H:%M:%S%.f%:z"
        };
        let options = FormatOptions::default()
            .with_display_error(true)
            .with_timestamp_tz_format(Some(time))
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        let columns = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        let cell_max = self.width.unwrap_or(CELL_CHARS_MAX).max(CELL_CHARS_MAX);
        for row in 0..batch.num_rows() {
            let cells = columns
                .iter()
                .zip(batch.columns())
                .map(|(text, column)| {
                    (column.is_valid(row) && *column.data_type() != DataType::Null)
                        .then(|| clean(&text.value(row).to_string(), cell_max))
                })
                .collect();
            if self.shape.is_some() {
                self.put(&cells)?;
            } else {
                self.held.push(cells);
                if self.held.len() == HELD_ROWS_MAX {
                    self.settle()?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ArrowError> {
        if self.shape.is_none() {
            self.settle()?;
        }
        let noun = if self.rows == 1 { "row" } else { "rows" };
        writeln!(self.out, "({} {noun})", self.rows)?;
        self.out.flush()?;
        Ok(())
    }

    /// Chooses the shape from the rows held back and writes them.
    fn settle(&mut self) -> Result<(), ArrowError> {
        let mut widths: Vec<usize> = self.names.iter().map(|n| width_of(n)).collect();
        for cells in &self.held {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.as_deref().map_or(0, width_of));
            }
        }
        let shape = match self.width.map(|width| fitted(&widths, width)) {
            None => Shape::Columns(widths),
            Some(Some(widths)) => Shape::Columns(widths),
            Some(None) => Shape::Records,
        };
        if let Shape::Columns(widths) = &shape {
            let header: Vec<Option<String>> = self.names.iter().cloned().map(Some).collect();
            let line = self.line(&header, widths);
            writeln!(self.out, "{line}")?;
            let rules: Vec<String> = widths.iter().map(|w| "─".repeat(*w)).collect();
            writeln!(self.out, "{}", rules.join(&" ".repeat(GAP)))?;
        }
        self.shape = Some(shape);
        for cells in std::mem::take(&mut self.held) {
            self.put(&cells)?;
        }
        Ok(())
    }

    fn put(&mut self, cells: &Vec<Option<String>>) -> Result<(), ArrowError> {
        self.rows += 1;
        if let Some(Shape::Columns(widths)) = &self.shape {
            let line = self.line(cells, widths);
            writeln!(self.out, "{line}")?;
            return Ok(());
        }
        writeln!(self.out, "── {} ──", self.rows)?;
        let label = self.names.iter().map(|n| width_of(n)).max().unwrap_or(0);
        let room = self
            .width
            .map_or(usize::MAX, |w| w.saturating_sub(label + GAP));
        for (name, cell) in self.names.iter().zip(cells) {
            // Columns without a value would bury the others.
            if let Some(cell) = cell {
                let pad = " ".repeat(label - width_of(name) + GAP);
                writeln!(
                    self.out,
                    "{name}{pad}{}",
                    cut(cell, room.max(COLUMN_WIDTH_MIN))
                )?;
            }
        }
        Ok(())
    }

    fn line(&self, cells: &[Option<String>], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let text = cut(cell.as_deref().unwrap_or(""), *width);
            let pad = " ".repeat(width.saturating_sub(width_of(&text)));
            if at > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            if self.right[at] {
                line.push_str(&pad);
                line.push_str(&text);
            } else {
                line.push_str(&text);
                line.push_str(&pad);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Widths that fit `room`: the widest columns give way first. `None` if they cannot fit.
fn fitted(natural: &[usize], room: usize) -> Option<Vec<usize>> {
    let room = room.checked_sub(GAP * natural.len().saturating_sub(1))?;
    let total = |cap: usize| natural.iter().map(|w| (*w).min(cap)).sum::<usize>();
    let widest = natural.iter().copied().max().unwrap_or(0);
    if total(widest) <= room {
        return Some(natural.to_vec());
    }
    let cap = (COLUMN_WIDTH_MIN..widest)
        .rev()
        .find(|cap| total(*cap) <= room)?;
    let mut left = room - total(cap);
    Some(
        natural
            .iter()
            .map(|w| {
                let more = w.saturating_sub(cap).min(left).min(1);
                left -= more;
                (*w).min(cap) + more
            })
            .collect(),
    )
}

/// At most `chars` characters of one line, with what could steer a terminal made visible.
pub(super) fn clean(text: &str, chars: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(chars));
    for (count, c) in text.chars().enumerate() {
        if count == chars {
            cleaned.push('…');
            break;
        }
        match c {
            '\n' => cleaned.push('↵'),
            '\t' => cleaned.push(' '),
            '\r' => {}
            c if c.is_control() || is_direction_mark(c) => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    cleaned
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        if used + char_width(c) + 1 > width {
            break;
        }
        used += char_width(c);
        kept.push(c);
    }
    kept.push('…');
    kept
}

fn width_of(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(char_width).sum()
    }
}

/// Cells of a terminal that a character takes: two for East Asian wide letters and emoji.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_columns_give_way_and_too_many_stand_below_each_other() {
        assert_eq!(fitted(&[5, 10, 4], 30), Some(vec![5, 10, 4]));
        let widths = fitted(&[5, 100, 60], 44).unwrap();
        assert_eq!(widths.iter().sum::<usize>() + 2 * GAP, 44);
        assert_eq!(widths[0], 5);
        assert_eq!(fitted(&[20; 10], 60), None);
    }

    #[test]
    fn what_steers_a_terminal_is_shown() {
        assert_eq!(
            clean("a\u{1b}[2Jb\u{202e}c\nd", 100),
            "a\\u{1b}[2Jb\\u{202e}c↵d"
        );
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
    }
}
