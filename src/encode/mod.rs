//! Sorted rows into a Parquet file in memory, all at once or as they come: same rows and layout give
//! the same bytes (K7).

pub mod properties;
pub mod search_index;
pub mod statistics;
pub mod stream;
pub mod write;
