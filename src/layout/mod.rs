//! Events into sorted Arrow batches: every decision about columns, partitions and row order.

pub mod audit;
pub mod build;
pub mod columns;
pub mod component;
pub mod forms;
pub mod inventory;
pub mod partition;
pub mod sort;
