//! What a person does with `ingest`, and what the world does to the files: they grow, are rotated,
//! renamed, compressed, copied, broken. After each, the counts and what is stored.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use kolumn::{
    pipeline::{Options, Redaction, Report, SourceSettings},
    table::Archive,
};
use proptest::prelude::*;

use crate::archive::{check_invariants, event_line, ingest, ingest_as, number, texts, url};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(place.logs()).unwrap();
        place
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.logs().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    async fn ingest(&self) -> Counts {
        self.ingest_as(&SourceSettings::default()).await
    }

    async fn ingest_as(&self, settings: &SourceSettings) -> Counts {
        let archive = Archive::open_or_create(&url(&self.archive()))
            .await
            .unwrap();
        let report = ingest_as(archive, &[&self.logs()], settings, Options::default())
            .await
            .unwrap();
        check_invariants(&self.archive()).await;
        Counts::of(&report)
    }

    async fn number(&self, sql: &str) -> i64 {
        number(&crate::archive::session(&self.archive()).await, sql).await
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        texts(&crate::archive::session(&self.archive()).await, sql).await
    }
}

/// Records, rows, duplicates, rejected.
#[derive(Debug, PartialEq, Eq)]
struct Counts(u64, u64, u64, u64);

impl Counts {
    fn of(report: &Report) -> Self {
        Self(
            report.total(|o| o.records),
            report.total(|o| o.rows),
            report.total(|o| o.duplicates),
            report.total(|o| o.rejected),
        )
    }
}

fn lines(range: std::ops::Range<u32>) -> String {
    range
        .map(|i| event_line(&format!("id-{i}"), i, &format!("pod-{}", i % 5)) + "\n")
        .collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_gives_only_its_new_records_and_half_a_line_waits() {
    let place = Place::new();
    let whole = lines(0..10);
    let cut = whole.len() - 100;
    place.write("audit.log", &whole.as_bytes()[..cut]);
    assert_eq!(place.ingest().await, Counts(9, 9, 0, 0));
    assert_eq!(place.ingest().await, Counts(0, 0, 0, 0), "nothing new");
    place.write("audit.log", whole + &lines(10..12));
    assert_eq!(place.ingest().await, Counts(3, 3, 0, 0));
    assert_eq!(place.ingest().await, Counts(0, 0, 0, 0), "nothing new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_rotated_and_compressed_meanwhile_gives_nothing_new() {
    let place = Place::new();
    let old = lines(0..10) + "no event, and it must not be rejected a second time\n";
    let path = place.write("audit.log", &old);
    assert_eq!(place.ingest().await, Counts(11, 10, 0, 1));
    // Rotated: the old content under a new name, a new file under the old one.
    fs::remove_file(path).unwrap();
    place.write("audit-2026-11-20T11-44-19.675.log", &old);
    place.write("audit.log", lines(10..13));
    assert_eq!(place.ingest().await, Counts(3, 3, 0, 0));
    // Compressed, while the plain one is still there; a few records came in before the rotation.
    let longer = old + &lines(20..22);
    place.write(
        "audit-2026-11-20T11-44-19.675.log.gz",
        gzip(longer.as_bytes()),
    );
    assert_eq!(place.ingest().await, Counts(2, 2, 0, 0));
    fs::remove_file(place.logs().join("audit-2026-11-20T11-44-19.675.log")).unwrap();
    assert_eq!(place.ingest().await, Counts(0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_cut_differently_gives_duplicates_and_no_rows() {
    let place = Place::new();
    place.write("a.log", lines(0..10));
    assert_eq!(place.ingest().await, Counts(10, 10, 0, 0));
    place.write("b.log", lines(3..12));
    assert_eq!(place.ingest().await, Counts(9, 2, 7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_gzip_members_and_zstd_frames_are_read_to_the_last() {
    let place = Place::new();
    let mut members = gzip(lines(0..3).as_bytes());
    members.extend(gzip(lines(3..5).as_bytes()));
    place.write("members", members);
    let mut frames = zstd::encode_all(lines(5..7).as_bytes(), 1).unwrap();
    frames.extend(zstd::encode_all(lines(7..9).as_bytes(), 1).unwrap());
    place.write("frames", frames);
    assert_eq!(place.ingest().await, Counts(9, 9, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_gzip_member_gives_its_whole_lines_and_is_reported() {
    let place = Place::new();
    let random: String = (0..400u32)
        .map(|i| event_line(&blake3::hash(&i.to_le_bytes()).to_hex(), i % 3000, "p") + "\n")
        .collect();
    let member = gzip(random.as_bytes());
    place.write("cut.gz", &member[..member.len() / 2]);
    let report = ingest(&place.archive(), &[&place.logs()], Options::default())
        .await
        .unwrap();
    let Counts(records, rows, _, rejected) = Counts::of(&report);
    assert!(
        rows > 50 && rejected == 1 && records == rows + 1,
        "{report:?}"
    );
    assert!(
        report.objects[0]
            .ended_early
            .as_deref()
            .unwrap()
            .contains("cut off")
    );
    assert_eq!(
        place.ingest().await,
        Counts(0, 0, 0, 0),
        "not read again while it is the same"
    );
    // The rest arrives.
    place.write("cut.gz", member);
    let Counts(_, more, _, rejected) = place.ingest().await;
    assert_eq!((rows + more, rejected), (400, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reuses_an_audit_id_makes_no_event_vanish() {
    let place = Place::new();
    let alice = event_line("chosen", 5, "web");
    let eve = alice.replace("alice", "eve");
    let other_object = alice.replace("/pods/web", "/pods/db");
    let other_verb = alice.replace("\"verb\":\"get\"", "\"verb\":\"delete\"");
    let later = alice.replace(".000002Z", ".000003Z");
    let all = [&alice, &eve, &other_object, &other_verb, &later, &alice];
    place.write("audit.log", all.map(|l| format!("{l}\n")).concat());
    assert_eq!(place.ingest().await, Counts(6, 5, 1, 0));
    place.write(
        "again.log",
        format!("{eve}\n{}\n", alice.replace("alice", "mallory")),
    );
    assert_eq!(place.ingest().await, Counts(2, 1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuller_copy_supersedes_one_whose_body_was_skipped() {
    let place = Place::new();
    let with_body = |body: &str| {
        event_line("id", 1, "web").replace(
            "\"requestReceivedTimestamp\"",
            &format!("\"responseObject\":{body},\"requestReceivedTimestamp\""),
        ) + "\n"
    };
    place.write("a.log", with_body("\"skipped-too-big-size-object\""));
    assert_eq!(place.ingest().await, Counts(1, 1, 0, 0));
    place.write(
        "b.log",
        with_body("{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n1\"}}"),
    );
    assert_eq!(place.ingest().await, Counts(1, 1, 0, 0));
    place.write(
        "c.log",
        with_body("\"skipped-too-big-size-object\"").repeat(2),
    );
    // The first line is known from a.log already.
    assert_eq!(place.ingest().await, Counts(1, 0, 1, 0));
    assert_eq!(place.number("SELECT count(*) FROM audit").await, 2);
    assert_eq!(place.texts("SELECT node_name FROM events").await, ["n1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_rejected_with_their_reason_and_the_rest_goes_in() {
    let place = Place::new();
    let good = event_line("good", 1, "web");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let body = |b: &str| {
        good.replace(
            "\"responseStatus\"",
            &format!("\"requestObject\":{b},\"responseStatus\""),
        )
    };
    let mut content = Vec::new();
    let mut put = |line: &[u8]| {
        content.extend_from_slice(line);
        content.push(b'\n');
    };
    put(good.as_bytes());
    put(b"plain text");
    put(b"\xff\xfe\x00bad");
    put(good.replace("\"code\":200", "\"code\":NaN").as_bytes());
    put(&good.as_bytes()[..good.len() / 2]);
    put(good
        .replace("\"verb\"", "\"verb\":\"x\",\"verb\"")
        .as_bytes());
    put(b"{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"reason\":\"Killing\"}");
    put(b"{}");
    put(b"[]");
    put(b"[1]");
    put(b"null");
    put(good
        .replace("2026-11-20T11:00:01.000002Z", "yesterday")
        .replace("2026-11-20T11:00:01.000001Z", "never")
        .as_bytes());
    // These are odd, but are events.
    put(body(&deep).replace("\"good\"", "\"deep\"").as_bytes());
    put(body("{\"n\":123456789012345678901234567890}")
        .replace("\"good\"", "\"big\"")
        .as_bytes());
    put(body("{\"s\":\"\\ud800\"}")
        .replace("\"good\"", "\"surrogate\"")
        .as_bytes());
    put(body(&format!("{{\"blob\":\"{}\"}}", "x".repeat(2 << 20)))
        .replace("\"good\"", "\"large\"")
        .as_bytes());
    put(good
        .replace("\"good\"", "\"future\"")
        .replace(
            "{\"kind\"",
            "{\"authenticationMetadata\":{\"a\":1},\"kind\"",
        )
        .as_bytes());
    place.write("hostile.log", content);
    place.write("empty.log", "");
    place.write("blank.log", "\n\n  \n");
    place.write("binary.bin", [0u8, 159, 146, 150, 10, 1, 2, 3, 10]);
    let Counts(records, rows, duplicates, rejected) = place.ingest().await;
    assert_eq!((records, rows, duplicates), (rows + rejected, 6, 0));
    let reasons = place
        .texts(
            "SELECT reason FROM rejected WHERE source_uri LIKE '%hostile%' ORDER BY source_offset",
        )
        .await;
    assert_eq!(
        reasons,
        [
            "unknown-text",
            "invalid-utf8",
            "invalid-json",
            "truncated-json",
            "invalid-json",
            "unknown-json",
            "unknown-json",
            "unknown-json",
            "unknown-text",
            "no-timestamp",
        ]
    );
    let ids = place.texts("SELECT audit_id FROM audit ORDER BY 1").await;
    assert_eq!(ids, ["big", "deep", "future", "good", "large", "surrogate"]);
    assert_eq!(
        place
            .texts("SELECT extra FROM audit WHERE audit_id = 'future'")
            .await,
        ["{\"authenticationMetadata\":{\"a\":1}}"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_any_century_lie_in_their_own_day() {
    let place = Place::new();
    let at =
        |time: &str| event_line(time, 1, "web").replace("2026-11-20T11:00:01.000002Z", time) + "\n";
    let times = [
        "2000-01-01T00:00:00.000000Z",
        "2000-02-29T23:59:59.999999Z",
        "2026-12-31T23:59:59.999999Z",
        "2027-01-01T00:00:00.000000Z",
        "2099-12-31T23:59:59.999999Z",
        "2026-03-29T01:30:00.000000Z",
    ];
    place.write("audit.log", times.map(at).concat());
    assert_eq!(place.ingest().await, Counts(6, 6, 0, 0));
    let days = place
        .texts("SELECT CAST(date AS VARCHAR) FROM audit ORDER BY stage_timestamp")
        .await;
    assert_eq!(
        days,
        [
            "2000-01-01",
            "2000-02-29",
            "2026-03-29",
            "2026-12-31",
            "2027-01-01",
            "2099-12-31"
        ]
    );
    let late = "SELECT audit_id FROM audit WHERE stage_timestamp >= TIMESTAMP '2099-12-31T23:59:59.999999Z'";
    assert_eq!(place.texts(late).await, ["2099-12-31T23:59:59.999999Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_aks_categories_and_every_wrapping_give_each_event_once() {
    let place = Place::new();
    let demo = samples().join("demo");
    let report = ingest(&place.archive(), &[&demo], Options::default())
        .await
        .unwrap();
    check_invariants(&place.archive()).await;
    // tests/data/README.md: 3,781 kube-audit records, 2,340 of them again in kube-audit-admin.
    assert_eq!(Counts::of(&report), Counts(6121, 3781, 2340, 0));
    assert_eq!(
        place.texts("SELECT DISTINCT cluster FROM audit").await,
        ["aks-prod"]
    );
    let again = ingest(&place.archive(), &[&demo], Options::default())
        .await
        .unwrap();
    assert_eq!(
        (Counts::of(&again), again.unchanged),
        (Counts(0, 0, 0, 0), 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_batches_sent_again_are_stored_once() {
    let place = Place::new();
    let report = ingest(
        &place.archive(),
        &[&samples().join("webhook")],
        Options::default(),
    )
    .await
    .unwrap();
    check_invariants(&place.archive()).await;
    // Three bodies of 25 items, the third a resend of the second.
    assert_eq!(Counts::of(&report), Counts(75, 50, 25, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_stored_unless_asked_for() {
    let place = Place::new();
    let secret = event_line("s", 1, "db").replace("pods", "secrets").replace(
        "\"responseStatus\"",
        "\"requestObject\":{\"kind\":\"Secret\",\"data\":{\"password\":\"aHVudGVyMg==\"}},\"responseStatus\"",
    );
    place.write("audit.log", format!("{secret}\n"));
    let redacting = SourceSettings {
        redaction: Redaction::On([7; 32]),
        ..SourceSettings::default()
    };
    assert_eq!(place.ingest_as(&redacting).await, Counts(1, 1, 0, 0));
    let body = place
        .texts("SELECT request_object FROM audit")
        .await
        .remove(0);
    assert!(
        body.contains("\"password\":\"[redacted ") && !body.contains("aHVudGVyMg"),
        "{body}"
    );
    let open = Place::new();
    open.write("audit.log", format!("{secret}\n"));
    open.ingest().await;
    assert!(open.texts("SELECT request_object FROM audit").await[0].contains("aHVudGVyMg=="));
}

proptest! {
    // A fixed seed: each case costs seconds, and a run that fails must fail again.
    #![proptest_config(ProptestConfig {
        cases: 6,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_120),
        ..ProptestConfig::default()
    })]

    /// K1 on lines that were mangled, cut, joined or repeated: every record is counted once.
    #[test]
    fn mangled_lines_are_all_accounted_for(
        cuts in prop::collection::vec((0usize..5_000, 0u8..4), 0..12),
        step in 1usize..4_000,
    ) {
        let mut content = lines(0..12).into_bytes();
        for (at, how) in cuts {
            let at = at % content.len();
            match how {
                0 => { content.remove(at); }
                1 => content.insert(at, b'\n'),
                2 => content[at] = 0xff,
                _ => { let tail = content[at..].to_vec(); content.extend(tail); }
            }
        }
        content.push(b'\n');
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            // The file comes in two pieces; the second run goes on where the first one stopped.
            place.write("audit.log", &content[..step.min(content.len())]);
            let first = place.ingest().await;
            place.write("audit.log", &content);
            let second = place.ingest().await;
            let total = first.0 + second.0;
            let whole = Place::new();
            whole.write("audit.log", &content);
            let at_once = whole.ingest().await;
            assert_eq!(total, at_once.0, "two pieces give the records of one");
            assert_eq!(first.1 + second.1, at_once.1);
        });
    }
}
