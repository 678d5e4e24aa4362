//! `kolumn tables`: the tables and views with their sizes, or the columns of one with their meaning.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use clap::Args;
use futures::StreamExt;
use futures::stream;

use super::plan::{LimitArgs, OutputArgs, Plan};
use crate::error::{Context, Result};
use crate::layout::columns::TableName;
use crate::output::{self, Output};
use crate::query::{Session, views};
use crate::table::Archive;

/// Arguments of `kolumn tables`.
#[derive(Debug, Args)]
pub struct TablesArgs {
    /// Table or view whose columns are listed
    #[arg(value_name = "TABLE")]
    table: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// `Missing` for an unknown table, and those of opening and writing.
pub async fn run(args: TablesArgs, plan: &Plan) -> Result<ExitCode> {
    let archive = Archive::open_at(&plan.archive, &plan.archive_stores()).await?;
    let session = Session::open(&archive, &plan.session(&LimitArgs::default())?).await?;
    let output = plan.output(&args.output);
    match &args.table {
        Some(table) => write_columns(&session, table, &output).await?,
        None => write_tables(&session, &output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the list of tables and views.
pub(super) async fn write_tables(session: &Session, output: &Output) -> Result<()> {
    let listed = session.tables();
    let count = |value: Option<u64>| value.and_then(|v| i64::try_from(v).ok());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", texts(listed.iter().map(|l| Some(l.name.clone())))),
        (
            "kind",
            texts(
                listed
                    .iter()
                    .map(|l| Some(if l.size.is_some() { "table" } else { "view" }.to_owned())),
            ),
        ),
        (
            "rows",
            Arc::new(
                listed
                    .iter()
                    .map(|l| count(l.size.and_then(|s| s.rows)))
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "files",
            Arc::new(
                listed
                    .iter()
                    .map(|l| count(l.size.map(|s| s.files as u64)))
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "bytes",
            Arc::new(
                listed
                    .iter()
                    .map(|l| count(l.size.map(|s| s.bytes)))
                    .collect::<Int64Array>(),
            ),
        ),
        ("about", texts(listed.iter().map(|l| Some(l.title.clone())))),
    ];
    write(columns, output).await
}

/// Writes the columns of a table or view.
pub(super) async fn write_columns(session: &Session, table: &str, output: &Output) -> Result<()> {
    let schema = session.columns(table).await?;
    let mut docs: HashMap<String, String> = HashMap::new();
    // A view's columns mean what they mean in the table, unless the view says otherwise.
    let own = TableName::ALL.into_iter().find(|t| t.as_str() == table);
    for column in own.unwrap_or(TableName::Audit).columns() {
        docs.insert(column.name.to_owned(), column.doc.to_owned());
    }
    for view in views::docs()?.into_iter().filter(|view| view.name == table) {
        docs.extend(view.columns);
    }
    let fields = || schema.fields().iter();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("column", texts(fields().map(|f| Some(f.name().clone())))),
        (
            "type",
            texts(fields().map(|f| Some(type_name(f.data_type())))),
        ),
        (
            "about",
            texts(fields().map(|f| docs.get(f.name()).cloned())),
        ),
    ];
    write(columns, output).await
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

async fn write(columns: Vec<(&str, ArrayRef)>, output: &Output) -> Result<()> {
    let batch = RecordBatch::try_from_iter(columns).context("cannot list the tables")?;
    let schema: SchemaRef = batch.schema();
    output::write(schema, stream::iter([Ok(batch)]).boxed(), output).await?;
    Ok(())
}

/// A type as SQL users know it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _) => {
            "timestamp".to_owned()
        }
        DataType::Binary | DataType::BinaryView => "binary".to_owned(),
        DataType::List(item) => format!("list<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
            format!("struct<{}>", names.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
