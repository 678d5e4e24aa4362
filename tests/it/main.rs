//! The only integration-test binary.

mod fixture;
mod query;
