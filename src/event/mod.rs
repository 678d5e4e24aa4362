//! What a log record means: the audit event, its time text, its identity, and what must not be
//! kept of it. No I/O, no Arrow.

pub mod audit;
pub mod component;
pub mod facts;
pub mod identity;
pub mod inventory;
pub mod lenient;
pub mod redact;
pub mod time;
pub mod uri;
