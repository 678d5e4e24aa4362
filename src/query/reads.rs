//! What the queries of a session read, for people who want to know why one takes its time: files and
//! bytes of how many, what was skipped and by what. In: the scans as they were planned, and the
//! metrics of the plans that ran. Out: sums.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;

use crate::table::search::ScanLog;
pub use crate::table::search::Scanned;

/// What a session that is traced keeps.
#[derive(Debug, Default)]
pub(super) struct Trace {
    scans: Arc<ScanLog>,
    plans: Mutex<Vec<Arc<dyn ExecutionPlan>>>,
}

/// Sums over everything that a session has asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Each scan of a table.
    pub scans: Vec<Scanned>,
    /// Bytes of data that were read; footers are not counted.
    pub bytes: u64,
    /// Row groups whose rows were looked at.
    pub row_groups: u64,
    /// Row groups of opened files that bounds and Bloom filters left out.
    pub row_groups_pruned: u64,
    /// Rows that bounds of pages left out.
    pub rows_pruned: u64,
    /// Rows that came out of the files, for which all filters that files take are true.
    pub rows: u64,
}

impl Trace {
    /// What scans tell, as an extension of a session's configuration.
    pub(super) fn scans(&self) -> Arc<ScanLog> {
        Arc::clone(&self.scans)
    }

    /// A plan is about to run.
    pub(super) fn add(&self, plan: &Arc<dyn ExecutionPlan>) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push(Arc::clone(plan));
    }

    /// Sums up to now.
    pub(super) fn reads(&self) -> Reads {
        let mut reads = Reads {
            scans: self.scans.scans(),
            ..Reads::default()
        };
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.iter().for_each(|plan| reads.add(plan.as_ref()));
        reads
    }
}

impl Reads {
    fn add(&mut self, plan: &dyn ExecutionPlan) {
        if plan.name() == "DataSourceExec"
            && let Some(metrics) = plan.metrics()
        {
            metrics
                .iter()
                .for_each(|metric| self.add_metric(metric.value()));
        }
        for below in plan.children() {
            self.add(below.as_ref());
        }
    }

    fn add_metric(&mut self, value: &MetricValue) {
        match value {
            MetricValue::OutputRows(count) => self.rows += count.value() as u64,
            MetricValue::Count { name, count } if name == "bytes_scanned" => {
                self.bytes += count.value() as u64;
            }
            MetricValue::PruningMetrics {
                name,
                pruning_metrics,
            } => {
                let pruned = pruning_metrics.pruned() as u64;
                match name.as_ref() {
                    "row_groups_pruned_statistics" => self.row_groups_pruned += pruned,
                    "row_groups_pruned_bloom_filter" => {
                        self.row_groups_pruned += pruned;
                        self.row_groups += pruning_metrics.matched() as u64;
                    }
                    "page_index_rows_pruned" => self.rows_pruned += pruned,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}
