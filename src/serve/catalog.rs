//! The catalog that clients of PostgreSQL ask before they show anything: schemas, tables, columns, types
//! and what they mean. Tables and views are the same for everybody and never change while the server
//! runs, so their numbers are the same for every connection; what a user sees of their rows is no
//! business of the catalog.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as Planned};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog,
};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::columns::TableName;
use crate::query::{CATALOG, SCHEMA, Sessions, parse, sql_error, views};

const PG_CATALOG: &str = "pg_catalog";
const DESCRIPTIONS: &str = "pg_description";

/// A table of the catalog: its schema, name, columns, and whether it is a view.
type Entry = (&'static str, String, SchemaRef, bool);

#[derive(Debug, Clone)]
struct Entries(Arc<[Entry]>);

impl Entries {
    fn find(&self, schema: &str, table: &str) -> Option<&Entry> {
        self.0.iter().find(|e| e.0 == schema && e.1 == table)
    }
}

#[async_trait]
impl CatalogInfo for Entries {
    async fn catalog_names(&self) -> Planned<Vec<String>> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, _: &str) -> Planned<Option<Vec<String>>> {
        let names = [PG_CATALOG, SCHEMA, "information_schema"];
        Ok(Some(names.map(str::to_owned).to_vec()))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Planned<Option<Vec<String>>> {
        let entries = self.0.iter().filter(|e| e.0 == schema);
        Ok(Some(entries.map(|e| e.1.clone()).collect()))
    }

    async fn table_schema(&self, _: &str, schema: &str, name: &str) -> Planned<Option<SchemaRef>> {
        Ok(self.find(schema, name).map(|e| Arc::clone(&e.2)))
    }

    async fn table_type(&self, _: &str, schema: &str, name: &str) -> Planned<Option<TableType>> {
        Ok(self.find(schema, name).map(|e| match e.3 {
            true => TableType::View,
            false => TableType::Base,
        }))
    }
}

type Provider = PgCatalogSchemaProvider<Entries, EmptyContextProvider>;

/// `pg_catalog`, with our descriptions.
#[derive(Debug)]
struct PgCatalog {
    inner: Provider,
    descriptions: Arc<MemTable>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Planned<Option<Arc<dyn TableProvider>>> {
        match name.eq_ignore_ascii_case(DESCRIPTIONS) {
            true => Ok(Some(
                Arc::clone(&self.descriptions) as Arc<dyn TableProvider>
            )),
            false => self.inner.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// What is told of a table (column 0) and of its columns.
type Descriptions = HashMap<(i32, i32), String>;

fn bug(e: &DataFusionError) -> Error {
    Error::new(
        ErrorKind::Bug,
        format!("cannot make the catalog: {}", sql_error(e).to_chain()),
    )
}

/// Adds the catalog and its functions. Tells the tables and views, their columns, and which are views.
///
/// # Errors
/// `Bug` if the catalog cannot be made.
pub(super) async fn add(sessions: Sessions) -> Result<(Sessions, Vec<(String, SchemaRef, bool)>)> {
    let failed = |e: DataFusionError| bug(&e);
    setup_pg_catalog(sessions.base(), CATALOG, EmptyContextProvider).map_err(|e| bug(&e))?;
    let tables = Arc::new(PgCatalogStaticTables::try_new().map_err(failed)?);
    let provider = |entries: Arc<[Entry]>| {
        Provider::try_new(Entries(entries), Arc::clone(&tables), EmptyContextProvider)
    };
    let empty = provider(Arc::new([])).map_err(failed)?;
    let mut entries: Vec<Entry> = Vec::new();
    for name in PG_CATALOG_TABLES {
        if let Some(table) = empty.build_table_by_name(name).map_err(failed)? {
            entries.push((PG_CATALOG, (*name).to_owned(), table.schema(), false));
        }
    }
    let ours = sessions.schemas_of_tables().await?;
    for (name, schema, is_view) in &ours {
        entries.push((SCHEMA, name.clone(), Arc::clone(schema), *is_view));
    }
    let entries: Arc<[Entry]> = entries.into();
    let inner = provider(Arc::clone(&entries)).map_err(failed)?;
    let (descriptions, class) = describe(&inner, &Entries(entries)).await?;
    for function in functions(&Arc::new(descriptions.clone())) {
        sessions.base().register_udf(function);
    }
    let catalog = PgCatalog {
        inner,
        descriptions: Arc::new(table_of(&descriptions, class).map_err(failed)?),
    };
    Ok((sessions.with_schema(PG_CATALOG, Arc::new(catalog)), ours))
}

/// The descriptions by the numbers of tables, and the number of `pg_class` itself.
async fn describe(provider: &Provider, entries: &Entries) -> Result<(Descriptions, i32)> {
    let context = datafusion::prelude::SessionContext::new();
    let classes = provider.table("pg_class").await.map_err(|e| bug(&e))?;
    let classes = classes.ok_or_else(|| Error::new(ErrorKind::Bug, "there is no pg_class"))?;
    context
        .register_table("classes", Arc::clone(&classes))
        .map_err(|e| bug(&e))?;
    let plan = context
        .state()
        .statement_to_plan(parse("SELECT oid, relname FROM classes")?)
        .await
        .map_err(|e| bug(&e))?;
    let frame = context
        .execute_logical_plan(plan)
        .await
        .map_err(|e| bug(&e))?;
    let mut numbers = HashMap::new();
    for batch in frame.collect().await.map_err(|e| bug(&e))? {
        let oids = batch.column(0).as_primitive::<Int32Type>();
        let names = batch.column(1).as_string::<i32>();
        for (oid, name) in oids.iter().zip(names.iter()) {
            if let (Some(oid), Some(name)) = (oid, name) {
                numbers.insert(name.to_owned(), oid);
            }
        }
    }
    let mut found = Descriptions::new();
    let mut add = |name: &str, title: &str, columns: &[(usize, &str)]| {
        if let Some(oid) = numbers.get(name) {
            found.insert((*oid, 0), title.to_owned());
            for (at, about) in columns {
                let at = i32::try_from(at + 1).unwrap_or(i32::MAX);
                found.insert((*oid, at), (*about).to_owned());
            }
        }
    };
    for table in TableName::ALL {
        let columns: Vec<_> = table.columns().iter().map(|c| c.doc).enumerate().collect();
        add(table.as_str(), table.title(), &columns);
    }
    for view in views::docs()? {
        let Some((_, _, schema, _)) = entries.find(SCHEMA, &view.name) else {
            continue;
        };
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(at, field)| {
                let about = view.columns.iter().find(|(name, _)| name == field.name());
                about.map(|(_, about)| (at, about.as_str()))
            })
            .collect();
        add(&view.name, &view.title, &columns);
    }
    let class = numbers.get("pg_class").copied().unwrap_or(0);
    Ok((found, class))
}

fn table_of(descriptions: &Descriptions, class: i32) -> Planned<MemTable> {
    let mut rows: Vec<_> = descriptions.iter().collect();
    rows.sort();
    let int = |name: &str| Field::new(name, DataType::Int32, false);
    let schema = Arc::new(Schema::new(vec![
        int("objoid"),
        int("classoid"),
        int("objsubid"),
        Field::new("description", DataType::Utf8, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            rows.iter()
                .map(|((oid, _), _)| Some(*oid))
                .collect::<Int32Array>(),
        ),
        Arc::new(rows.iter().map(|_| Some(class)).collect::<Int32Array>()),
        Arc::new(
            rows.iter()
                .map(|((_, at), _)| Some(*at))
                .collect::<Int32Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|(_, about)| Some(about.as_str()))
                .collect::<StringArray>(),
        ),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    MemTable::try_new(schema, vec![vec![batch]])
}

type Answering = dyn Fn(&[ArrayRef], usize) -> Planned<ArrayRef> + Send + Sync;

/// A function of the catalog that takes anything.
struct Told {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    answer: Box<Answering>,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Told {}

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Planned<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Planned<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Planned<Vec<ArrayRef>> =
            args.args.into_iter().map(|a| a.into_array(rows)).collect();
        (self.answer)(&arrays?, rows).map(ColumnarValue::Array)
    }
}

fn function(
    name: &'static str,
    returns: DataType,
    answer: impl Fn(&[ArrayRef], usize) -> Planned<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    ScalarUDF::from(Told {
        name,
        signature: Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::VariadicAny,
                datafusion::logical_expr::TypeSignature::Nullary,
            ],
            Volatility::Stable,
        ),
        returns,
        answer: Box::new(answer),
    })
}

/// Always the same text.
fn text(name: &'static str, value: String) -> ScalarUDF {
    function(name, DataType::Utf8, move |_, rows| {
        let values = std::iter::repeat_n(Some(value.as_str()), rows);
        Ok(Arc::new(values.collect::<StringArray>()))
    })
}

fn nothing(name: &'static str, returns: DataType) -> ScalarUDF {
    let of = returns.clone();
    function(name, returns, move |_, rows| Ok(new_null_array(&of, rows)))
}

fn always(name: &'static str, value: bool) -> ScalarUDF {
    function(name, DataType::Boolean, move |_, rows| {
        Ok(Arc::new(arrow::array::BooleanArray::from(vec![
            value;
            rows
        ])))
    })
}

/// The functions that tell who asks.
pub(super) fn who(user: &str) -> Vec<Arc<ScalarUDF>> {
    ["session_user", "current_user", "current_role", "user"]
        .into_iter()
        .map(|name| Arc::new(text(name, user.to_owned())))
        .collect()
}

fn functions(descriptions: &Arc<Descriptions>) -> Vec<ScalarUDF> {
    let described = |name, with_column: bool| {
        let descriptions = Arc::clone(descriptions);
        function(name, DataType::Utf8, move |args, rows| {
            let number = |at: usize| {
                args.get(at)
                    .map(|array| cast(array, &DataType::Int32))
                    .transpose()
            };
            let (oids, places) = (number(0)?, if with_column { number(1)? } else { None });
            let at = |array: &Option<ArrayRef>, row: usize| {
                let array = array.as_ref()?.as_primitive::<Int32Type>();
                array.is_valid(row).then(|| array.value(row))
            };
            let found = (0..rows).map(|row| {
                let place = if with_column { at(&places, row)? } else { 0 };
                descriptions
                    .get(&(at(&oids, row)?, place))
                    .map(String::as_str)
            });
            Ok(Arc::new(found.collect::<StringArray>()))
        })
    };
    let of_argument = |name, at: usize, value: fn(&str) -> Option<String>| {
        function(name, DataType::Utf8, move |args, rows| {
            let Some(given) = args.get(at) else {
                return Ok(new_null_array(&DataType::Utf8, rows));
            };
            let given = cast(given, &DataType::Utf8)?;
            let values = given.as_string::<i32>().iter().map(|given| value(given?));
            Ok(Arc::new(values.collect::<StringArray>()))
        })
    };
    let version = format!(
        "PostgreSQL {} (kolumn {})",
        super::pg::SERVER_VERSION,
        env!("CARGO_PKG_VERSION")
    );
    let mut functions = vec![
        text("version", version),
        described("obj_description", false),
        described("col_description", true),
        of_argument("current_setting", 0, super::pg::default_setting),
        // Settings belong to SET; whoever sets by a function goes on with what is.
        of_argument("set_config", 1, |value| Some(value.to_owned())),
        // Types that extensions would add.
        nothing("to_regtype", DataType::Int32),
        always("pg_is_in_recovery", false),
        always("pg_is_other_temp_schema", false),
        always("has_function_privilege", true),
        always("has_sequence_privilege", false),
        always("has_column_privilege", true),
        always("pg_type_is_visible", true),
        always("pg_function_is_visible", true),
    ];
    for name in [
        "shobj_description",
        "pg_get_viewdef",
        "pg_get_indexdef",
        "pg_get_ruledef",
        "pg_get_triggerdef",
        "pg_get_functiondef",
        "pg_get_function_arguments",
        "pg_get_function_identity_arguments",
        "pg_get_function_result",
        "pg_get_serial_sequence",
        "pg_tablespace_location",
        "inet_server_addr",
        "inet_client_addr",
    ] {
        functions.push(nothing(name, DataType::Utf8));
    }
    for name in [
        "inet_server_port",
        "pg_my_temp_schema",
        "pg_advisory_unlock_all",
    ] {
        functions.push(nothing(name, DataType::Int32));
    }
    functions
}
