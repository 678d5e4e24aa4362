//! The index against a plain search: it never leaves out a block that holds the text.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder, StringViewArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use proptest::prelude::*;

use super::*;

const UUID: &str = "58043aca-5a62-48f3-bc50-f95c960b59d6";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "text",
        DataType::Utf8View,
        true,
    )]))
}

fn index(texts: &[&str], block_rows: usize, group_rows: usize) -> (Vec<u8>, Directory) {
    let mut builder = Builder::with_block_rows(&schema(), block_rows);
    for group in texts.chunks(group_rows) {
        // Batches end within blocks.
        for rows in group.chunks(block_rows * 2 - 1) {
            let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows));
            builder.push(&RecordBatch::try_new(schema(), vec![array]).unwrap());
        }
        builder.end_row_group();
    }
    let (bytes, directory) = builder.finish().unwrap();
    let directory = Directory::read(&bytes[..directory]).unwrap();
    (bytes, directory)
}

fn ask(bytes: &[u8], directory: &Directory, wanted: &Wanted) -> Option<Vec<bool>> {
    let pages: Vec<_> = directory
        .pages(wanted)
        .into_iter()
        .map(|(page, at)| (page, &bytes[at.start as usize..at.end as usize]))
        .collect();
    directory.candidates(wanted, &pages)
}

fn text(needle: &str) -> Wanted {
    Wanted::Text {
        columns: vec!["text".to_owned()],
        piece: Piece::new(&needle.to_lowercase()),
    }
}

/// The blocks that the index gives, after checking that each that holds the needle is among them.
fn blocks(texts: &[&str], block_rows: usize, needle: &str) -> Vec<bool> {
    let group_rows = block_rows * 2 + 1;
    let (bytes, directory) = index(texts, block_rows, group_rows);
    let found = ask(&bytes, &directory, &text(needle)).unwrap();
    let lower = needle.to_lowercase();
    let holds: Vec<bool> = texts
        .chunks(group_rows)
        .flat_map(|group| group.chunks(block_rows))
        .map(|rows| rows.iter().any(|t| t.to_lowercase().contains(&lower)))
        .collect();
    assert_eq!(found.len(), holds.len());
    for (found, holds) in found.iter().zip(&holds) {
        assert!(*found || !holds, "{needle:?} was left out of {texts:?}");
    }
    found
}

#[test]
fn blocks_without_the_text_are_left_out() {
    let texts = ["Azure-Vote-Front", "kube-scheduler", "node 10.244.0.5", "x"];
    assert_eq!(blocks(&texts, 1, "azure-vote"), [true, false, false, false]);
    assert_eq!(blocks(&texts, 1, "SCHEDULER"), [false, true, false, false]);
    assert_eq!(blocks(&texts, 1, "10.244"), [false, false, true, false]);
    assert_eq!(blocks(&texts, 1, "ube"), [false, true, false, false]);
    assert_eq!(blocks(&texts, 1, "zzz"), [false; 4]);
    assert_eq!(blocks(&texts, 1, "x"), [true; 4], "too short to tell");
    assert_eq!(blocks(&texts, 1, ""), [true; 4]);
}

#[test]
fn a_uuid_is_found_whole_and_in_pieces() {
    let other = "0b1f6471-1bf0-4dda-aec3-cb9272f09590";
    let named = format!("pvc-{UUID}");
    let upper = UUID.to_uppercase();
    let touched = format!("x{UUID}");
    let joined = format!("{other}-{}", &UUID[9..]);
    let texts = [UUID, &named, &upper, &touched, other, &joined, "none"];
    assert_eq!(
        blocks(&texts, 1, UUID),
        [true, true, true, true, false, true, false],
        "a letter may touch it: all that is known then is what stands around its dashes"
    );
    let (bytes, directory) = index(&texts, 1, 7);
    let whole = Wanted::Text {
        columns: vec!["text".to_owned()],
        piece: Piece::whole(UUID),
    };
    assert_eq!(
        ask(&bytes, &directory, &whole).unwrap(),
        [true, true, true, false, false, false, false]
    );
    assert_eq!(
        blocks(&texts, 1, &format!("pvc-{UUID}")),
        [false, true, false, false, false, false, false]
    );
    // What may be a part of one cannot be told.
    assert_eq!(blocks(&texts, 1, "5a62-48f3"), [true; 7]);
    assert_eq!(blocks(&texts, 1, "cafe"), [true; 7]);
    // What cannot be one is told: too long, or a dash at the wrong place.
    assert_eq!(blocks(&texts, 1, "0123456789abcdef"), [false; 7]);
    assert_eq!(blocks(&texts, 1, "cafe-12345-cafe"), [false; 7]);
    for from in 0..UUID.len() {
        for to in from..=UUID.len() {
            blocks(&texts, 1, &UUID[from..to]);
            blocks(&texts, 1, &joined[from..to + 20]);
        }
    }
}

#[test]
fn letters_that_fold_to_ascii_are_not_lost() {
    assert_eq!(
        blocks(&["\u{212a}ubelet", "x"], 1, "kubelet"),
        [true, false]
    );
    assert_eq!(
        blocks(&["\u{130}mage", "x"], 1, "i\u{307}mage"),
        [true, false]
    );
    // A comparison by a regular expression takes the long s for an s.
    assert_eq!(blocks(&["\u{17f}ystem", "x"], 1, "system"), [true, false]);
    assert_eq!(blocks(&["das ÜBER uns", "x"], 1, "über"), [true, false]);
    let odd =
        (char::MIN..=char::MAX).filter(|c| !c.is_ascii() && c.to_lowercase().any(|l| l.is_ascii()));
    for c in odd {
        assert!(
            super::grams::holds_odd_letter(c.to_string().as_bytes()),
            "{c:?}"
        );
    }
}

#[test]
fn near_copies_are_looked_at_where_they_differ() {
    let body = format!(
        "{{\"a\":\"{}\",\"uid\":\"{UUID}\",\"b\":\"{}\"}}",
        "m".repeat(200),
        "n".repeat(200)
    );
    for (from, to) in [
        ("m\"", "m one\""),
        (UUID, "0b1f6471-1bf0-4dda-aec3-cb9272f09590"),
        ("\"b\"", "\"more\""),
        ("nn\"}", "\"}"),
    ] {
        let changed = body.replacen(from, to, 1);
        let cut = &changed[..changed.len() - 120];
        let texts = [body.as_str(), &changed, cut, &changed[9..], &body];
        for needle in [
            "m one",
            UUID,
            "0b1f6471-1bf0-4dda-aec3-cb9272f09590",
            "\"more\"",
            "mnn",
            "n\"}",
        ] {
            blocks(&texts, 5, needle);
        }
        for at in 0..changed.len() {
            let end = changed.len().min(at + 40);
            blocks(&texts, 5, &changed[at..end]);
        }
    }
    // The text ends where the one before goes on, at a UUID.
    let long = format!("{}{UUID}x", "-".repeat(200));
    let short = &long[..long.len() - 1];
    assert_eq!(blocks(&[&long, short], 2, UUID), [true]);
    assert_eq!(blocks(&[short, &long], 2, &format!("{UUID}x")), [true]);
}

#[test]
fn lists_are_searched_as_they_are_joined() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in [
        vec!["", "system:nodes", "b"],
        vec![],
        vec!["system:masters"],
    ] {
        row.iter()
            .for_each(|text| lists.values().append_value(text));
        lists.append(true);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2, 3]));
    let plain: ArrayRef = Arc::new(StringArray::from(vec![None, Some("other"), None]));
    let rows =
        RecordBatch::try_from_iter([("n", numbers), ("groups", lists), ("p", plain)]).unwrap();
    let mut builder = Builder::with_block_rows(&rows.schema(), 1);
    builder.push(&rows);
    let (bytes, directory) = builder.finish().unwrap();
    let directory = Directory::read(&bytes[..directory]).unwrap();
    assert!(directory.covers("groups") && directory.covers("p") && !directory.covers("n"));
    assert_eq!(directory.group_rows(), [3]);
    for (needle, expected) in [
        (" system:nodes b", [true, false, false]),
        ("masters", [false, false, true]),
        ("other", [false, true, false]),
    ] {
        assert_eq!(
            ask(&bytes, &directory, &text(needle)).unwrap(),
            expected,
            "{needle}"
        );
    }
}

#[test]
fn damage_is_seen() {
    let texts: Vec<String> = (0..200)
        .map(|n| format!("row {n} {UUID} of words"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (bytes, directory) = index(&texts, 7, 50);
    let wanted = Wanted::Any(vec![text("words"), text(UUID)]);
    let expected = ask(&bytes, &directory, &wanted).unwrap();
    let length = bytes.len();
    let pages_at = directory.pages(&Wanted::Anything).len();
    assert_eq!(pages_at, 0);
    let directory_bytes = directory.pages(&wanted)[0].1.start as usize;
    for at in 0..length {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        // The directory ends where the first page may begin.
        let Some(read) = first_directory(&damaged, directory_bytes) else {
            continue;
        };
        if let Some(found) = ask(&damaged, &read, &wanted) {
            assert_eq!(found, expected, "a flipped bit at {at}");
        }
    }
    for cut in 0..directory_bytes {
        assert!(Directory::read(&bytes[..cut]).is_none() || cut == directory_length(&bytes));
    }
    assert!(Directory::read(b"").is_none());
}

fn directory_length(bytes: &[u8]) -> usize {
    (0..bytes.len())
        .find(|at| Directory::read(&bytes[..*at]).is_some())
        .unwrap()
}

fn first_directory(bytes: &[u8], until: usize) -> Option<Directory> {
    (0..=until).find_map(|at| Directory::read(&bytes[..at]))
}

#[test]
fn a_place_is_written_and_read() {
    let place = Place {
        offset: 10,
        directory: 5,
        length: 20,
    };
    assert_eq!(Place::parse(&place.value(), 30), Some(place));
    assert_eq!(Place::parse(&place.value(), 29), None);
    for odd in [
        "",
        "2:10:5:20",
        "1:10:21:20",
        "1:10:5",
        "1:x:5:20",
        "1:-1:5:20",
    ] {
        assert_eq!(Place::parse(odd, 1000), None, "{odd}");
    }
}

#[test]
fn columns_that_are_not_covered_leave_nothing_out() {
    let wanted = Wanted::All(vec![text("azure-vote"), Wanted::Anything]);
    assert!(!wanted.is_vague());
    let known = wanted.for_file(&|_| true, &|_| true);
    assert_eq!(known, wanted);
    assert!(wanted.for_file(&|_| true, &|_| false).is_vague());
    assert!(!wanted.for_file(&|_| false, &|_| false).is_vague());
    assert!(Wanted::Any(vec![text("azure-vote"), Wanted::Anything]).is_vague());
    assert!(Wanted::All(Vec::new()).is_vague());
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(UUID.to_owned()),
        Just(UUID.to_uppercase()),
        Just("0b1f6471-1bf0-4dda-aec3-cb9272f09590".to_owned()),
        (0..36_usize, 0..36_usize).prop_map(|(a, b)| UUID[a.min(b)..a.max(b)].to_owned()),
        "[a-f0-9-]{0,12}",
        "[a-zA-Z\"\\\\ :.]{1,60}",
        "[äſİK€x]{1,3}",
        Just("common words of a body, ".repeat(8)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_is_ever_lost(
        rows in prop::collection::vec(prop::collection::vec(piece(), 0..6), 1..12),
        block_rows in 1..5_usize,
        picked in any::<prop::sample::Index>(),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let texts: Vec<String> = rows.iter().map(|pieces| pieces.concat()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let text: Vec<char> = picked.get(&texts).chars().collect();
        let (a, b) = (cut.0.index(text.len() + 1), cut.1.index(text.len() + 1));
        let needle: String = text[a.min(b)..a.max(b)].iter().collect();
        blocks(&texts, block_rows, &needle);
    }

    #[test]
    fn changes_of_a_long_text_are_not_lost(
        base in prop::collection::vec(piece(), 3..8),
        edits in prop::collection::vec((any::<prop::sample::Index>(), piece(), any::<bool>()), 1..6),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut rows = vec![base.clone()];
        let mut pieces = base;
        for (at, piece, insert) in edits {
            let at = at.index(pieces.len());
            if insert { pieces.insert(at, piece) } else { pieces[at] = piece }
            rows.push(pieces.clone());
        }
        let texts: Vec<String> = rows.iter().map(|pieces| pieces.concat()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for text in &texts {
            let text: Vec<char> = text.chars().collect();
            let (a, b) = (cut.0.index(text.len() + 1), cut.1.index(text.len() + 1));
            let needle: String = text[a.min(b)..a.max(b).min(a.min(b) + 45)].iter().collect();
            blocks(&texts, 50, &needle);
        }
    }
}
