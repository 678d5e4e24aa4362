//! The only integration-test binary.

mod archive;
mod crash;
mod faulty;
mod fixture;
mod query;
mod questions;
