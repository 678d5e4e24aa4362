//! The views: meaning built on the tables, one SELECT a file of `sql/views`, listed in the order of
//! their file names and planned when they are first used. A view may use tables and views before it.
//! `events` costs nothing where no file can hold a superseding row: then it is the table `audit` itself.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, internal_err};
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
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

/// The file's name without its number.
fn view_name(file: &SqlFile) -> &'static str {
    file.name
        .split_once('_')
        .map_or(file.name, |(_, name)| name)
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
    Ok(ViewDoc {
        name: view_name(file).to_owned(),
        title,
        columns,
    })
}

/// The schema that queries see: tables, and views that are planned when a query first names them.
/// Planning every view would cost each query more than planning the query itself.
pub(super) struct Tables {
    known: MemorySchemaProvider,
    /// The state of the session that this is the schema of, unless the session is gone.
    state: Box<dyn Fn() -> Option<SessionState> + Send + Sync>,
    audit: Option<Arc<TableFiles>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// A schema of a session's context without tables yet; `audit` is that table if it exists.
    pub(super) fn new(context: &SessionContext, audit: Option<Arc<TableFiles>>) -> Self {
        let context = context.state_weak_ref();
        Self {
            known: MemorySchemaProvider::new(),
            state: Box::new(move || context.upgrade().map(|state| state.read().clone())),
            audit,
        }
    }

    /// The view of a name, planned; `None` if there is none.
    async fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(file) = VIEWS.iter().find(|file| view_name(file) == name) else {
            return Ok(None);
        };
        let Some(state) = (self.state)() else {
            return internal_err!("the session of view {name} is gone");
        };
        if name == "events" && !self.superseding() {
            return self.known.table("audit").await;
        }
        let failed = |cause: String| DataFusionError::Internal(format!("{}: {cause}", file.path));
        let statement = dialect::parse(file.text).map_err(|e| failed(e.to_chain()))?;
        let plan = state
            .statement_to_plan(statement)
            .await
            .map_err(|e| failed(sql_error(&e).to_chain()))?;
        let view = ViewTable::new(plan, Some(file.text.to_owned()));
        Ok(Some(Arc::new(view)))
    }

    /// Whether any file may hold a row that supersedes another.
    fn superseding(&self) -> bool {
        self.audit
            .as_ref()
            .is_some_and(|files| files.may_hold_true("supersedes"))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.known.table_names();
        for file in VIEWS {
            if !names.iter().any(|name| name == view_name(file)) {
                names.push(view_name(file).to_owned());
            }
        }
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(table) = self.known.table(name).await? {
            return Ok(Some(table));
        }
        let Some(view) = self.view(name).await? else {
            return Ok(None);
        };
        // Two queries at once may both plan it: the same view twice.
        if !self.known.table_exist(name) {
            self.known
                .register_table(name.to_owned(), Arc::clone(&view))?;
        }
        Ok(Some(view))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.known.table_exist(name) || VIEWS.iter().any(|file| view_name(file) == name)
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.known.register_table(name, table)
    }

    fn deregister_table(
        &self,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.known.deregister_table(name)
    }
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
