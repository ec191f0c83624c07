//! Any experiment, with its plan.

use rdb_net_sim::experiment::{
    ChurnPlan, DetectPlan, DisseminatePlan, IdlePlan, KilledPlan, LifeguardPlan, PartitionPlan, PhiPlan, Progress,
    SilentPlan, SoakPlan, StabilityPlan,
};
use rdb_net_sim::fleet::FleetError;
use rdb_net_sim::report::Findings;

/// An experiment with its plan.
#[derive(Debug, PartialEq)]
pub(crate) enum Experiment {
    Churn(ChurnPlan),
    Detect(DetectPlan),
    Disseminate(DisseminatePlan),
    Idle(IdlePlan),
    Killed(KilledPlan),
    Lifeguard(LifeguardPlan),
    Partition(PartitionPlan),
    Silent(SilentPlan),
    Soak(SoakPlan),
    Stability(StabilityPlan),
    Phi(PhiPlan),
}

impl Experiment {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Churn(_) => "churn",
            Self::Detect(_) => "detect",
            Self::Disseminate(_) => "disseminate",
            Self::Idle(_) => "idle",
            Self::Killed(_) => "killed",
            Self::Lifeguard(_) => "lifeguard",
            Self::Partition(_) => "partition",
            Self::Stability(_) => "stability",
            Self::Silent(_) => "silent",
            Self::Soak(_) => "soak",
            Self::Phi(_) => "phi",
        }
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where a size is not legal.
    pub(crate) fn run(&self, progress: &mut Progress<'_>) -> Result<Findings, FleetError> {
        match self {
            Self::Churn(plan) => plan.run(progress),
            Self::Detect(plan) => plan.run(progress),
            Self::Disseminate(plan) => plan.run(progress),
            Self::Lifeguard(plan) => plan.run(progress),
            Self::Partition(plan) => plan.run(progress),
            Self::Stability(plan) => plan.run(progress),
            Self::Silent(plan) => plan.run(progress),
            Self::Soak(plan) => plan.run(progress),
            Self::Idle(plan) => Ok(plan.run(progress)),
            Self::Killed(plan) => Ok(plan.run(progress)),
            Self::Phi(plan) => Ok(plan.run(progress)),
        }
    }
}
