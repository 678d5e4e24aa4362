//! kolumn: a columnar archive and indexer for Kubernetes audit and control-plane logs.

pub mod clock;
pub mod error;
pub mod layout;
pub mod table;
