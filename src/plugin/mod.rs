//! The public seams, the plain facts that they are given, and the registry of kinds by name.

mod reason;

pub use reason::{Cause, EndReason, Phase};

/// stub
#[derive(Debug)]
pub struct Registry;
impl Registry {
    /// stub
    pub fn build_balancer(
        &self,
        _c: &crate::config::Choice,
    ) -> Result<std::sync::Arc<dyn crate::balance::Balancer>, Vec<crate::config::Problem>> {
        Ok(std::sync::Arc::new(crate::balance::First))
    }
}
