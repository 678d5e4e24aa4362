//! `--explain`: what was read for an answer, on stderr behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

use crate::output::terminal;
use crate::query::{Session, reads::Reads};

/// Tells what a traced session has read.
pub(super) fn tell(session: &Session, elapsed: Duration) {
    for line in lines(&session.reads(), elapsed) {
        terminal::note(&line);
    }
}

/// Sums over the scans of one table.
#[derive(Default)]
struct Table {
    scans: u64,
    files: u64,
    opened: u64,
    bytes: u64,
}

fn lines(reads: &Reads, elapsed: Duration) -> Vec<String> {
    let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
    for scan in &reads.scans {
        let table = tables.entry(scan.table).or_default();
        table.scans += 1;
        table.files = scan.files as u64;
        table.opened += scan.opened as u64;
        table.bytes = scan.bytes;
    }
    let mut lines = Vec::new();
    for (name, table) in &tables {
        let times = match table.scans {
            1 => String::new(),
            scans => format!(" in {scans} scans"),
        };
        lines.push(format!(
            "{name}: {} of {} files opened{times}",
            HumanCount(table.opened),
            HumanCount(table.files),
        ));
    }
    let index_bytes: u64 = reads.scans.iter().map(|s| s.index_bytes).sum();
    let all: u64 = tables.values().map(|t| t.bytes).sum();
    let read = reads.bytes + index_bytes;
    lines.push(format!(
        "read: {} of {}, {:.2} %",
        BinaryBytes(read),
        BinaryBytes(all),
        read as f64 * 100.0 / all.max(1) as f64
    ));
    lines.push(format!(
        "row groups: {} looked into, {} left out by bounds and Bloom filters; {} rows left out by bounds of pages, {} taken",
        HumanCount(reads.row_groups),
        HumanCount(reads.row_groups_pruned),
        HumanCount(reads.rows_pruned),
        HumanCount(reads.rows),
    ));
    let sum =
        |of: fn(&crate::query::reads::Scanned) -> u64| reads.scans.iter().map(of).sum::<u64>();
    lines.push(match sum(|s| s.searched as u64) {
        0 => "search index: not used".to_owned(),
        searched => format!(
            "search index: left out {} of {} files and {} of {} rows, for {} read",
            HumanCount(sum(|s| s.left_out as u64)),
            HumanCount(searched),
            HumanCount(sum(|s| s.rows - s.rows_left)),
            HumanCount(sum(|s| s.rows)),
            BinaryBytes(index_bytes),
        ),
    });
    lines.push(format!("time: {:.3} s", elapsed.as_secs_f64()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::reads::Scanned;

    #[test]
    fn bytes_of_a_table_count_once_however_often_it_is_scanned() {
        let scan = Scanned {
            table: "audit",
            files: 10,
            bytes: 1 << 20,
            opened: 2,
            searched: 4,
            left_out: 3,
            rows: 20_000,
            rows_left: 4_096,
            index_bytes: 1 << 10,
        };
        let reads = Reads {
            scans: vec![scan.clone(), scan],
            bytes: 9 << 10,
            row_groups: 2,
            row_groups_pruned: 1,
            rows_pruned: 0,
            rows: 7,
        };
        assert_eq!(
            lines(&reads, Duration::from_millis(250)),
            [
                "audit: 4 of 10 files opened in 2 scans",
                "read: 11.00 KiB of 1.00 MiB, 1.07 %",
                "row groups: 2 looked into, 1 left out by bounds and Bloom filters; 0 rows left out by bounds of pages, 7 taken",
                "search index: left out 6 of 8 files and 31,808 of 40,000 rows, for 2.00 KiB read",
                "time: 0.250 s",
            ]
        );
        let nothing = lines(&Reads::default(), Duration::ZERO);
        assert!(
            nothing.contains(&"search index: not used".to_owned()),
            "{nothing:?}"
        );
    }
}
