//! Events into sorted Arrow batches: every decision about columns, partitions and row order.

pub mod columns;
