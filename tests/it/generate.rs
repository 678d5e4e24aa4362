//! The generator of benches/generate: its days are what they were, and are audit events.

use std::collections::HashMap;

use serde_json::Value;

#[path = "../../benches/generate/chance.rs"]
mod chance;
#[path = "../../benches/generate/shapes.rs"]
mod shapes;
#[path = "../../benches/generate/world.rs"]
mod world;

const SHAPES: &[u8] = include_bytes!("../../benches/generate/shapes.txt.zst");

fn two_days(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let text = String::from_utf8(zstd::decode_all(SHAPES).unwrap()).unwrap();
    let shapes = shapes::parse(&text).unwrap();
    let settings = world::Settings {
        seed,
        events_per_day: 20_000,
        nodes: 6,
    };
    let mut world = world::World::new(&shapes, settings);
    let (mut log, mut truth) = (Vec::new(), Vec::new());
    for day in ["2026-01-01", "2026-01-02"] {
        assert_eq!(world.date(), day);
        let before = log.len();
        let written = world.write_day(&mut log, &mut truth).unwrap();
        assert_eq!(written.bytes, (log.len() - before) as u64);
    }
    (log, truth)
}

/// Whoever changes the generator or its shapes changes every figure that was published: then the digest
/// changes here, and docs/benchmarks.md says since when.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (log, truth) = two_days(7);
    let digest = blake3::hash(&[&log[..], &truth[..], SHAPES].concat());
    assert_eq!(digest.to_hex()[..32], *"9698c839efb60d6572bc15f816d54dfd");
    assert_ne!(two_days(8).0, log);
}

#[test]
fn a_generated_day_is_a_log_as_an_api_server_writes_it() {
    let (log, _) = two_days(7);
    let mut last = String::new();
    let mut stages: HashMap<String, Vec<String>> = HashMap::new();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut events = 0;
    for line in log.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let event: Value = serde_json::from_slice(line).unwrap();
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        let staged = text("stageTimestamp");
        assert!(last <= staged, "{last} before {staged}");
        assert!(text("requestReceivedTimestamp") <= staged);
        last = staged;
        let seen = stages.entry(text("auditID")).or_default();
        assert!(!seen.contains(&text("stage")), "a stage is told once");
        seen.push(text("stage"));
        let reference = &event["objectRef"];
        let pod = reference["resource"] == "pods" && reference["subresource"].is_null();
        if pod && event["verb"] == "create" && event["responseStatus"]["code"] == 201 {
            let made = &event["responseObject"]["metadata"];
            if let (Some(uid), Some(version)) = (
                made["uid"].as_str(),
                made["resourceVersion"]
                    .as_str()
                    .and_then(|v| v.parse().ok()),
            ) {
                assert!(versions.insert(uid.to_owned(), version).is_none());
            }
        }
        events += 1;
    }
    assert!((36_000..50_000).contains(&events), "{events} events");
    let both = stages.values().filter(|s| s.len() > 1).count();
    assert!(both * 10 > stages.len() * 9);
    assert!(versions.len() > 200);
}
