//! What keeps the tree in order: documentation names every column, and a folder knows only those that
//! the way of the data has passed before it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kolumn::layout::columns::TableName;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn docs_format_describes_every_column_as_the_schema_does() {
    let text = fs::read_to_string(root().join("docs/format.md")).unwrap();
    let mut missing = Vec::new();
    for table in TableName::ALL {
        for column in table.columns() {
            let row = format!(
                "| `{}` | {} | {} |",
                column.name,
                column.kind.label().replace('<', "\\<"),
                column.doc
            );
            if !text.contains(&row) {
                missing.push(format!("{}: {row}", table.as_str()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/format.md lacks:\n{}",
        missing.join("\n")
    );
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The folders that a file names behind `crate::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let name = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if !rest.starts_with('{') {
            found.insert(name(rest));
            continue;
        }
        // The names at the first level of a group.
        let (mut depth, mut starts) = (0, true);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => starts = true,
                c if depth == 1 && starts && c.is_ascii_lowercase() => {
                    found.insert(name(&rest[i..]));
                    starts = false;
                }
                _ => {}
            }
            starts |= c == '{' && depth == 1;
            if depth == 0 {
                break;
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn a_folder_imports_only_what_comes_before_it() {
    let everywhere = ["clock", "error"];
    let allowed: [(&str, &[&str]); 11] = [
        ("event", &[]),
        ("decode", &["event"]),
        ("store", &[]),
        ("source", &["store"]),
        ("layout", &["decode", "event"]),
        ("encode", &["layout", "event"]),
        ("table", &["encode", "layout", "store"]),
        ("commit", &["encode", "event", "layout", "source", "table"]),
        ("maintain", &["commit", "encode", "layout", "table"]),
        ("query", &["event", "layout", "output", "table"]),
        ("serve", &["layout", "output", "query", "table"]),
    ];
    let mut wrong = Vec::new();
    for (folder, others) in allowed {
        let mut files = Vec::new();
        rust_files(&root().join("src").join(folder), &mut files);
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            for import in imports(&fs::read_to_string(&file).unwrap()) {
                let fits = import == folder
                    || everywhere.contains(&import.as_str())
                    || others.contains(&import.as_str());
                if !fits {
                    wrong.push(format!("{} imports {import}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
