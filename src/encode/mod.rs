//! Sorted rows into a Parquet file in memory: same rows and layout give the same bytes (K7).

pub mod properties;
pub mod statistics;
pub mod write;
