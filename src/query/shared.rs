//! What the sessions of one process share: the newest version of every table, the memory for queries,
//! the footers of files that were read, functions. Sessions are cheap: tables are read again only when
//! a commit came, views are planned once a version and once for whoever sees the same of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use tokio::time::Instant;
use url::Position;

use super::reads::Trace;
use super::share::Share;
use super::{CATALOG, Listed, PARTS_CATALOG, SCHEMA, Session, SessionOptions, sql_error, views};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::columns::TableName;
use crate::table::Archive;
use crate::table::provider::{Bodiless, Sight, TableFiles, TableSize, provider, query_schema};

/// Who asks: what they see and what they may use.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// What is seen of the archive.
    pub sight: Sight,
    /// Time for one query; `None`: that of the options.
    pub timeout: Option<Duration>,
    /// Rows of one answer; more is an error.
    pub rows_max: Option<u64>,
    /// Zone in which SQL reads times without an offset; `None`: that of the options.
    pub zone: Option<chrono_tz::Tz>,
    /// Bytes of the common memory; `None`: all of it.
    pub memory_bytes: Option<usize>,
    /// Functions that tell who asks.
    pub functions: Vec<Arc<ScalarUDF>>,
}

/// The tables of an archive at one version each.
#[derive(Debug)]
struct Snapshot {
    number: u64,
    tables: Vec<Option<Arc<TableFiles>>>,
}

/// Tables and views as one sight shows them.
#[derive(Clone)]
pub(super) struct Shown {
    number: u64,
    catalog: Arc<dyn CatalogProvider>,
    pub(super) listed: Arc<[Listed]>,
    /// Plans the views; they are planned as long as this lives.
    planner: SessionContext,
}

/// What sessions share.
pub struct Sessions {
    archive: Archive,
    options: SessionOptions,
    trace: Option<Arc<Trace>>,
    base: SessionContext,
    refresh: Duration,
    schemas: Vec<(String, Arc<dyn SchemaProvider>)>,
    checked: tokio::sync::Mutex<Option<Instant>>,
    newest: Mutex<Option<Arc<Snapshot>>>,
    shown: Mutex<HashMap<Sight, Shown>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("archive", &self.archive)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Prepares functions and memory; tables are read with the first session.
    ///
    /// # Errors
    /// `Bug` when functions cannot be registered.
    pub fn new(archive: &Archive, options: &SessionOptions) -> Result<Self> {
        let trace = options.traced.then(Arc::<Trace>::default);
        let base = super::context(options, trace.as_deref())?;
        let root = &archive.url()[..Position::BeforePath];
        let store_url = url::Url::parse(root)
            .map_err(|e| Error::new(ErrorKind::Bug, format!("odd store {root}")).because(e))?;
        base.register_object_store(&store_url, archive.store());
        Ok(Self {
            archive: archive.clone(),
            options: options.clone(),
            trace,
            base,
            refresh: Duration::ZERO,
            schemas: Vec::new(),
            checked: tokio::sync::Mutex::new(None),
            newest: Mutex::new(None),
            shown: Mutex::new(HashMap::new()),
        })
    }

    /// Looks for commits at most once in this time.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh;
        self
    }

    /// Adds a schema beside ours, such as a catalog that clients ask for.
    #[must_use]
    pub fn with_schema(mut self, name: &str, schema: Arc<dyn SchemaProvider>) -> Self {
        self.schemas.push((name.to_owned(), schema));
        self
    }

    /// The context on which every session is built, to register functions before the first one.
    pub fn base(&self) -> &SessionContext {
        &self.base
    }

    /// Bytes of the common memory that queries hold now.
    pub fn memory_held(&self) -> usize {
        self.base.runtime_env().memory_pool.reserved()
    }

    /// The names and columns of all tables and views, which no version changes.
    ///
    /// # Errors
    /// `Bug` when a view is not valid SQL.
    pub async fn schemas_of_tables(&self) -> Result<Vec<(String, SchemaRef, bool)>> {
        let snapshot = Snapshot {
            number: 0,
            tables: TableName::ALL.iter().map(|_| None).collect(),
        };
        let shown = self.show(&snapshot, &Sight::default())?;
        let mut found = Vec::new();
        for listed in shown.listed.iter() {
            let table = shown
                .planner
                .table_provider(listed.name.as_str())
                .await
                .map_err(|e| sql_error(&e))?;
            found.push((listed.name.clone(), table.schema(), listed.size.is_none()));
        }
        Ok(found)
    }

    /// A session over the newest version of every table.
    ///
    /// # Errors
    /// `Corrupt` when a table cannot be read, `Bug` when a view is not valid SQL, and the errors of
    /// the store.
    pub async fn session(&self, asker: &Asker) -> Result<Session> {
        let snapshot = self.snapshot().await?;
        let shown = {
            let known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .get(&asker.sight)
                .filter(|shown| shown.number == snapshot.number)
                .cloned()
        };
        let shown = match shown {
            Some(shown) => shown,
            None => {
                let shown = self.show(&snapshot, &asker.sight)?;
                let mut known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(asker.sight.clone(), shown.clone());
                shown
            }
        };
        let parts: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        Ok(Session {
            context: self.over(&shown.catalog, Arc::clone(&parts), asker)?,
            parts,
            memory_bytes: asker.memory_bytes.unwrap_or(self.options.memory_bytes),
            timeout: asker.timeout.or(self.options.timeout),
            rows_max: asker.rows_max,
            zone: asker.zone.unwrap_or(self.options.zone),
            shown,
            trace: self.trace.clone(),
        })
    }

    /// The newest snapshot. While one caller looks for commits, others take the one before.
    async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let newest = || {
            let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.clone()
        };
        let mut checked = match (newest(), self.checked.try_lock()) {
            (_, Ok(checked)) => checked,
            (Some(snapshot), Err(_)) if !self.refresh.is_zero() => return Ok(snapshot),
            _ => self.checked.lock().await,
        };
        let before = newest();
        if let (Some(before), Some(at)) = (&before, *checked)
            && at.elapsed() < self.refresh
        {
            return Ok(Arc::clone(before));
        }
        let loading = TableName::ALL.iter().enumerate().map(|(at, name)| {
            let before = before.as_ref().and_then(|b| b.tables[at].as_ref());
            self.load(*name, before)
        });
        let loaded = futures::future::try_join_all(loading).await?;
        *checked = Some(Instant::now());
        let changed = loaded.iter().any(|(_, changed)| *changed);
        if let Some(before) = before.as_ref().filter(|_| !changed) {
            return Ok(Arc::clone(before));
        }
        let snapshot = Arc::new(Snapshot {
            number: before.map_or(0, |b| b.number + 1),
            tables: loaded.into_iter().map(|(table, _)| table).collect(),
        });
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// A table at its newest version, and whether it is another than before.
    async fn load(
        &self,
        name: TableName,
        before: Option<&Arc<TableFiles>>,
    ) -> Result<(Option<Arc<TableFiles>>, bool)> {
        if let Some(before) = before
            && self.archive.newest_version(name, before.version()).await? == before.version()
        {
            return Ok((Some(Arc::clone(before)), false));
        }
        match self.archive.files(name).await? {
            None => Ok((None, false)),
            Some(files) => Ok((Some(provider(files, self.options.pruning)?), true)),
        }
    }

    /// The tables as they are seen, and the views on them.
    fn show(&self, snapshot: &Snapshot, sight: &Sight) -> Result<Shown> {
        let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
        let failed = |e| sql_error(&e);
        for (name, schema) in &self.schemas {
            catalog
                .register_schema(name, Arc::clone(schema))
                .map_err(failed)?;
        }
        let mut tables = Vec::new();
        let mut listed = Vec::new();
        let mut audit_files: Option<Arc<TableFiles>> = None;
        for (name, table) in TableName::ALL.into_iter().zip(&snapshot.tables) {
            let (table, size): (Arc<dyn TableProvider>, _) = match table {
                Some(files) => {
                    let files = match &sight.clusters {
                        Some(clusters) => Arc::new(files.of_clusters(clusters)),
                        None => Arc::clone(files),
                    };
                    if name == TableName::Audit {
                        audit_files = Some(Arc::clone(&files));
                    }
                    let size = files.size();
                    match sight.no_bodies {
                        true => (Arc::new(Bodiless::new(files)), size),
                        false => (files, size),
                    }
                }
                None => (
                    Arc::new(EmptyTable::new(query_schema(name))),
                    TableSize {
                        files: 0,
                        rows: Some(0),
                        bytes: 0,
                    },
                ),
            };
            tables.push((name, table));
            listed.push(Listed {
                name: name.as_str().to_owned(),
                title: name.title().to_owned(),
                size: Some(size),
            });
        }
        let parts = Arc::new(MemorySchemaProvider::new());
        let planner = self.over(&catalog, parts, &Asker::default())?;
        let public = views::Tables::new(&planner, audit_files);
        for (name, table) in tables {
            public
                .register_table(name.as_str().to_owned(), table)
                .map_err(failed)?;
        }
        catalog
            .register_schema(SCHEMA, Arc::new(public))
            .map_err(failed)?;
        for view in views::docs()? {
            listed.push(Listed {
                name: view.name,
                title: view.title,
                size: None,
            });
        }
        Ok(Shown {
            number: snapshot.number,
            catalog,
            listed: listed.into(),
            planner,
        })
    }

    /// A context of its own: nothing that is set in it reaches another one.
    fn over(
        &self,
        catalog: &Arc<dyn CatalogProvider>,
        parts: Arc<dyn SchemaProvider>,
        asker: &Asker,
    ) -> Result<SessionContext> {
        let own = MemoryCatalogProvider::new();
        own.register_schema(SCHEMA, parts)
            .map_err(|e| sql_error(&e))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::clone(catalog));
        catalogs.register_catalog(PARTS_CATALOG.to_owned(), Arc::new(own));
        let mut builder = SessionStateBuilder::new_from_existing(self.base.state())
            .with_catalog_list(Arc::new(catalogs));
        if let Some(zone) = asker.zone {
            // A default catalog would take the place of ours.
            let mut config = self
                .base
                .copied_config()
                .with_create_default_catalog_and_schema(false);
            config.options_mut().execution.time_zone = Some(zone.name().to_owned());
            builder = builder.with_config(config);
        }
        if let Some(bytes) = asker.memory_bytes {
            let common = self.base.runtime_env();
            let share = Share::of(Arc::clone(&common.memory_pool), bytes);
            let runtime = RuntimeEnvBuilder::from_runtime_env(&common)
                .with_memory_pool(Arc::new(share))
                .build_arc()
                .map_err(|e| sql_error(&e))?;
            builder = builder.with_runtime_env(runtime);
        }
        let context = SessionContext::new_with_state(builder.build());
        for function in &asker.functions {
            context.register_udf(function.as_ref().clone());
        }
        Ok(context)
    }
}
