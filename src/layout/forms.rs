//! How a text that someone looks for may stand in a column: as it is, or escaped in JSON.

use std::fmt::Write as _;

/// A text in every form in which it may stand in a column, in lower case.
pub fn forms(text: &str) -> Vec<String> {
    // Bodies are JSON text: a quote in a value stands there as \", and Go writes < > & as \u003c…
    let mut forms: Vec<String> = vec![text.to_lowercase()];
    for html in [Html::Escaped, Html::Plain] {
        let once = json_escaped(text, html);
        // JSON inside a string of JSON, such as the last-applied annotation.
        let twice = json_escaped(&once, Html::Plain);
        for form in [once, twice] {
            let form = form.to_lowercase();
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Html {
    Escaped,
    Plain,
}

fn json_escaped(text: &str, html: Html) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '<' | '>' | '&' if html == Html::Escaped => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c if u32::from(c) < 0x20 => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}
