//! Placeholder until the legacy decoder lands.
use crate::{
    decode::reject::{Reason, Reject},
    event::audit::AuditEvent,
};
/// x
pub fn is_legacy(text: &str) -> bool {
    text.contains(" AUDIT: ")
}
/// x
/// # Errors
/// x
pub fn parse(_line: &str) -> Result<AuditEvent<'_>, Reject> {
    Err(Reject::new(Reason::InvalidLegacyLine, ""))
}
