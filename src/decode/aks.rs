//! Placeholder until the AKS decoder lands.
use crate::decode::{
    AuditRecord, Shape,
    reject::{Reason, Reject},
};
/// x
pub fn is_aks(shape: &Shape<'_>) -> bool {
    shape.get("category").is_some()
}
/// x
/// # Errors
/// x
pub fn decode(_s: &Shape<'_>, _sink: &mut dyn FnMut(AuditRecord<'_>)) -> Result<(), Reject> {
    Err(Reject::new(Reason::UnknownJson, ""))
}
