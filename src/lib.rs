//! kolumn: a columnar archive and indexer for Kubernetes audit and control-plane logs.

pub mod cli;
pub mod clock;
pub mod commit;
pub mod decode;
pub mod encode;
pub mod error;
pub mod event;
pub mod layout;
pub mod maintain;
pub mod output;
pub mod pipeline;
pub mod query;
pub mod serve;
pub mod source;
pub mod store;
pub mod table;
