//! The only integration-test binary.

mod cli;
mod fixture;
mod query;
