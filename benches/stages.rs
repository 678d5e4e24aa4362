//! Times the stages of ingest on one thread: framing, decoding, facts and rows. Run it with
//! `cargo bench --bench stages -- FILE`; without a file it uses the bundled sample events, which are
//! too few for figures worth quoting. Prints MB/s, best of five.

use std::{hint::black_box, time::Instant};

use kolumn::{
    decode::{
        Record, decode_frame,
        frame::{Framer, Framing, Pool},
    },
    layout::{
        audit::{Lengths, Origin, push_audit_row},
        build::Rows,
        columns::TableName,
    },
};

fn main() {
    let path = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with('-'))
        .unwrap_or_else(|| {
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/data/audit-json/kube-apiserver-audit.log"
            )
            .to_owned()
        });
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(e) => {
            report(&format!("cannot read {path}: {e}"));
            return;
        }
    };
    time("frame", &content, |content| {
        let mut framer = Framer::new(Framing::Lines, 0, &Pool::default());
        for part in content.chunks(1 << 20) {
            framer.push(part, &mut |f| {
                black_box(f);
            });
        }
        black_box(framer.digest());
    });
    time("decode", &content, |content| {
        for line in content.split(|b| *b == b'\n') {
            decode_frame(line, &mut |record| {
                black_box(&record);
            });
        }
    });
    time("decode, facts, rows", &content, |content| {
        let mut rows = Rows::new(TableName::Audit);
        for line in content.split(|b| *b == b'\n') {
            decode_frame(line, &mut |record| {
                if let Record::Audit(record, length) = record {
                    let origin = Origin {
                        source_uri: "bench",
                        source_offset: 0,
                    };
                    let lengths = Lengths {
                        record: length,
                        request_object: None,
                        response_object: None,
                    };
                    push_audit_row(&mut rows, *record, origin, lengths);
                }
            });
        }
        black_box(rows.finish());
    });
}

fn time(name: &str, content: &[u8], work: impl Fn(&[u8])) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            work(content);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min);
    report(&format!(
        "{name:22} {:8.0} MB/s",
        content.len() as f64 / 1e6 / best
    ));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn report(line: &str) {
    println!("{line}");
}
