//! The only reader of wall time, so that every other module receives its times and tests can fix them.

use chrono::{DateTime, Utc};

/// The current wall time in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
