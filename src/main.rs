//! The `kolumn` binary.
fn main() {}
