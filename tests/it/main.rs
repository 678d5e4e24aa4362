//! The only integration-test binary.

mod archive;
mod cli;
mod crash;
mod faulty;
mod fixture;
mod ingest;
mod query;
mod questions;
