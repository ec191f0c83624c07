//! Experiments: what the literature measured, measured here over the code of production.
//!
//! A [scenario](crate::scenario) is good or bad; an experiment has figures, and bounds within which they must lie. Each is a
//! function of its plan, seed included, and tells how far it has come.

mod chance;
mod churn;
mod cost;
mod curve;
mod detect;
mod disseminate;
mod idle;
mod killed;
mod lifeguard;
mod partition;
mod phi;
mod seeds;
mod silent;
mod soak;
mod spread;
mod stability;
mod views;

pub use churn::ChurnPlan;
pub use cost::peak_bytes;
pub use detect::DetectPlan;
pub use disseminate::DisseminatePlan;
pub use idle::IdlePlan;
pub use killed::KilledPlan;
pub use lifeguard::LifeguardPlan;
pub use partition::PartitionPlan;
pub use phi::PhiPlan;
pub use silent::SilentPlan;
pub use soak::SoakPlan;
pub use stability::StabilityPlan;

/// Told now and then: how much is done, and of how much.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

#[cfg(test)]
mod tests;
