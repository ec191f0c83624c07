//! What is told of the members, and of the protocol by which they are known.

use std::fmt;

use super::{Exposition, Families, NO_LABELS};

impl Exposition {
    pub(super) fn members(&self, families: &mut Families<'_>) -> fmt::Result {
        families.gauge(
            "networking_members",
            "Members of the cluster in the view of this node, itself included, by state.",
            self.members.iter().map(|(state, count)| ([("state", state.name())], *count)),
        )?;
        families.gauge(
            "networking_members_vanished",
            "Members that have vanished together and are not back: 0 unless the network has come apart.",
            [(NO_LABELS, self.members_vanished as u64)],
        )?;
        families.gauge(
            "networking_split_brain_withdrawn",
            "1 while a split-brain strategy has this node's side withdraw: it takes no new messages to other nodes.",
            [(NO_LABELS, u64::from(self.is_withdrawn))],
        )?;
        families.gauge(
            "networking_links_busy",
            "Connections of this node's own that carry traffic, and are asked about on an interval.",
            [(NO_LABELS, self.links_busy as u64)],
        )?;
        families.gauge(
            "networking_gossip_waited_seconds_max",
            "The longest that a gossip packet has waited in the socket for this process, since its start.",
            [(NO_LABELS, self.gossip_waited_max.as_secs_f64())],
        )?;
        families.counter(
            "networking_membership",
            "Counters of the membership protocol, by name.",
            self.membership.iter().map(|(name, count)| ([("counter", *name)], *count)),
        )
    }
}
