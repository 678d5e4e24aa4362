//! What the benches read.

/// The bundled sample events, or at most `bytes` of the file that `KOLUMN_BENCH_LOG` names, cut at the
/// end of a line.
pub(crate) fn read(bytes: u64) -> Vec<u8> {
    use std::io::Read as _;

    let bundled = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/audit-json/kube-apiserver-audit.log"
    );
    let path = std::env::var_os("KOLUMN_BENCH_LOG").unwrap_or_else(|| bundled.into());
    let mut content = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(bytes).read_to_end(&mut content))
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let end = content.iter().rposition(|b| *b == b'\n');
    content.truncate(end.map_or(0, |at| at + 1));
    content
}
