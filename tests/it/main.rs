//! The only integration-test binary.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test; helpers are not seen as test code"
)]

mod archive;
mod cli;
mod conformance;
mod crash;
mod emulators;
mod faulty;
mod fixture;
mod generate;
mod ingest;
mod maintain;
mod nightly;
mod query;
mod questions;
mod search_index;
mod serve;
mod stores;
mod tidy;
mod wire;
