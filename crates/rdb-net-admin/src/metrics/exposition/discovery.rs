//! What is told of the sources from which nodes are found.

use std::fmt;

use rdb_net_manager::{SourceState, SourceView};

use super::{Exposition, Families};

impl Exposition {
    pub(super) fn discovery(&self, families: &mut Families<'_>) -> fmt::Result {
        let sources = &self.discovery.sources;
        let label = |source: &SourceView| [("source", source.name.clone())];
        families.gauge(
            "networking_discovery_up",
            "1 while the list of a source is what the source says, by source.",
            sources.iter().map(|source| (label(source), u64::from(source.state == SourceState::Live))),
        )?;
        families.gauge(
            "networking_discovery_answer_age_seconds",
            "How long ago a source last answered, by source; none while it never has.",
            sources.iter().filter_map(|source| Some((label(source), source.age?.as_secs_f64()))),
        )?;
        families.gauge(
            "networking_discovery_nodes",
            "Nodes that a source names, by source.",
            sources.iter().map(|source| (label(source), source.nodes.len() as u64)),
        )?;
        families.gauge(
            "networking_discovery_registered",
            "1 while this node is registered at a source where it is to be, by source and state.",
            sources.iter().filter_map(|source| {
                let registration = source.registration.as_ref()?;
                let labels = [("source", source.name.clone()), ("state", registration.state.to_owned())];
                Some((labels, u64::from(registration.stands)))
            }),
        )
    }
}
