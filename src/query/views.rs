//! The views: meaning built on the tables, one SELECT a file of `sql/views`, registered in the order
//! of their file names. A view may use tables and views before it. `events` costs nothing where no
//! file can hold a superseding row: then it is the table `audit` itself.

use std::sync::Arc;

use datafusion::datasource::ViewTable;
use datafusion::prelude::SessionContext;

use super::dialect;
use super::embedded::{SqlFile, VIEWS};
use super::failure::sql_error;
use super::header;
use crate::error::{Error, ErrorKind, Result};
use crate::table::provider::TableFiles;

/// What a view's header says.
#[derive(Debug, Clone)]
pub struct ViewDoc {
    /// Name in SQL.
    pub name: String,
    /// One line on what a row is.
    pub title: String,
    /// Columns and their meaning; columns of the table it is built on may be left out.
    pub columns: Vec<(String, String)>,
}

/// The documentation of every view.
///
/// # Errors
/// `Bug` when a built-in file is not well-formed.
pub fn docs() -> Result<Vec<ViewDoc>> {
    VIEWS.iter().map(parse).collect()
}

fn parse(file: &SqlFile) -> Result<ViewDoc> {
    let bug = |e: Error| Error::new(ErrorKind::Bug, e.to_string());
    let lines = header::parse(file.path, file.text, &["title", "column"]).map_err(bug)?;
    let title = header::single(file.path, &lines, "title").map_err(bug)?;
    let columns = lines
        .iter()
        .filter(|l| l.key == "column")
        .map(|l| (l.words.clone(), l.value.clone()))
        .collect();
    let name = file
        .name
        .split_once('_')
        .map_or(file.name, |(_, name)| name);
    Ok(ViewDoc {
        name: name.to_owned(),
        title,
        columns,
    })
}

/// Registers every view; `audit` is the table if it exists.
pub(super) async fn register_all(
    context: &SessionContext,
    audit: Option<&Arc<TableFiles>>,
) -> Result<Vec<ViewDoc>> {
    let docs = docs()?;
    for (file, doc) in VIEWS.iter().zip(&docs) {
        let failed = |e| {
            let cause = sql_error(&e);
            Error::new(
                ErrorKind::Bug,
                format!("{}: {}", file.path, cause.to_chain()),
            )
        };
        if doc.name == "events" {
            let superseding = audit.is_some_and(|files| files.may_hold_true("supersedes"));
            if !superseding {
                let table = context.table_provider("audit").await.map_err(failed)?;
                context.register_table("events", table).map_err(failed)?;
                continue;
            }
        }
        let statement = dialect::parse(file.text)
            .map_err(|e| Error::new(ErrorKind::Bug, format!("{}: {}", file.path, e.to_chain())))?;
        let plan = context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(failed)?;
        let view = ViewTable::new(plan, Some(file.text.to_owned()));
        context
            .register_table(doc.name.as_str(), Arc::new(view))
            .map_err(failed)?;
    }
    Ok(docs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_has_a_number_and_a_header() {
        for (file, doc) in VIEWS.iter().zip(docs().unwrap()) {
            let (number, name) = file.name.split_once('_').expect("NN_name");
            assert!(
                number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()),
                "{name}"
            );
            assert!(!doc.title.is_empty());
        }
    }
}
