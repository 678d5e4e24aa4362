//! Times the stages of ingest on one thread: framing, decoding, rows, sorting, encoding. Of the bundled
//! sample events, which are few, or of the first 64 MiB of the file that `KOLUMN_BENCH_LOG` names:
//!
//! ```sh
//! KOLUMN_BENCH_LOG=audit.log cargo bench --bench stages -- --save-baseline before
//! ```

use std::{hint::black_box, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kolumn::{
    decode::{
        Record, decode_frame,
        frame::{Framer, Framing, Pool},
    },
    encode::{properties::writer_properties, write::encode},
    layout::{
        audit::{Lengths, Origin, push_audit_row},
        build::Rows,
        columns::TableName,
        sort::SortedRows,
    },
};

mod sample;

fn stages(criterion: &mut Criterion) {
    let content = sample::read(64 << 20);
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Bytes(content.len() as u64));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.bench_function("frame", |b| b.iter(|| frame(&content)));
    group.bench_function("decode", |b| {
        b.iter(|| {
            for line in content.split(|b| *b == b'\n') {
                decode_frame(line, &mut |record| {
                    black_box(&record);
                });
            }
        });
    });
    group.bench_function("layout", |b| b.iter(|| rows(&content)));
    let batches = [rows(&content)];
    group.bench_function("sort", |b| {
        b.iter(|| black_box(sorted(&batches).len()));
    });
    let sorted = sorted(&batches);
    for level in [3, 9] {
        let properties =
            writer_properties(TableName::Audit, level).expect("the level is one of zstd's");
        let properties = Arc::new(properties);
        group.bench_function(format!("encode, zstd {level}"), |b| {
            b.iter(|| encode(&sorted, &properties, 1).expect("rows of real events are encoded"));
        });
    }
    group.finish();
}

fn frame(content: &[u8]) {
    let mut framer = Framer::new(Framing::Lines, 0, &Pool::default());
    for part in content.chunks(1 << 20) {
        framer.push(part, &mut |f| {
            black_box(f);
        });
    }
    black_box(framer.digest());
}

fn rows(content: &[u8]) -> RecordBatch {
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
    rows.finish()
}

fn sorted(batches: &[RecordBatch; 1]) -> SortedRows<'_> {
    let all = (0..batches[0].num_rows()).map(|row| (0, row)).collect();
    SortedRows::sort(TableName::Audit, batches, all).expect("rows have the sort columns")
}

criterion_group!(benches, stages);
criterion_main!(benches);
