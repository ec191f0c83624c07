//! How well something is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How well a node or a component is. Ordered from best to worst, so that an aggregate is the maximum of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Works.
    Healthy,
    /// Not known yet: not asked, or no answer was due yet.
    #[default]
    Unknown,
    /// Works with less than everything; retries go on.
    Degraded,
    /// Does not work.
    Unhealthy,
}

impl HealthStatus {
    /// The status in lower case, as JSON and metrics show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A status with what it is made of, worst first, for people at three in the morning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthReport {
    /// The worst of the parts.
    pub status: HealthStatus,
    /// Each part's name, its status, and why.
    pub parts: Vec<(String, HealthStatus, String)>,
}

impl HealthReport {
    /// The report of these parts; `Unknown` where there is none.
    pub fn of(mut parts: Vec<(String, HealthStatus, String)>) -> Self {
        parts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let status = parts.first().map_or(HealthStatus::Unknown, |part| part.1);
        Self { status, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_its_worst_part() {
        let part = |name: &str, status| (name.to_owned(), status, String::new());
        let report = HealthReport::of(vec![part("a", HealthStatus::Healthy), part("b", HealthStatus::Degraded)]);
        assert_eq!(report.status, HealthStatus::Degraded);
        assert_eq!(report.parts[0].0, "b");
        assert_eq!(HealthReport::of(Vec::new()).status, HealthStatus::Unknown);
    }
}
