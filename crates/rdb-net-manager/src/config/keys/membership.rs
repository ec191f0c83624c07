//! The keys of membership, and of what is decided when a cluster comes apart.

use super::{HOUR_MS, bytes, count, kind, last, ms};
use crate::config::entry::Entry;
use crate::config::key::{Key, Range, Reload};

pub(super) const KEYS: &[Key] = &[
    key! { "networking.gossip.profile", gossip, Hot, Range::OneOf(&["lan", "wan", "local"]), "\"wan\"",
    "For which distances the times of the protocol are set: one data centre, several continents, one host. The \
     keys below win over it, in whichever layer they stand; the defaults that they show are those of \"lan\"." },
    key! { "networking.gossip.transport", gossip.transport, Restart, Range::OneOf(&["auto", "udp", "stream", "quic"]), "\"stream\"",
    "On which way gossip travels. \"udp\": packets of its own, sealed where TLS is on or nodes share a secret. \"stream\": inside the \
     connections, which costs one to each probed member. \"quic\": the same, as datagrams of QUIC. \"auto\": as datagrams where a QUIC \
     connection is up, by UDP where none is, and inside the connections as long as UDP does not pass." },
    key! { "networking.gossip.key_rotation_ms", gossip.key_rotation, Restart,
    Range::Whole { min: 0, max: 8760 * HOUR_MS, unit: "ms" }, "3600000",
    "How long a key seals gossip packets before another takes its place. 0 never replaces it by itself. One that follows from a \
     shared secret stays." },
    key! { "networking.gossip.probe_interval_ms", gossip.swim.probe_interval, Hot, ms(1), "2000",
    "Time between two probes of members. Shorter finds crashes sooner and costs two packets per member and \
     interval." },
    key! { "networking.gossip.probe_timeout_ms", gossip.swim.probe_timeout, Hot, ms(1), "300",
    "How long a probe waits before others are asked to probe too, where the member's round trip is not known, and at the most; \
     below `probe_interval_ms`." },
    key! { "networking.gossip.probe_timeout_min_ms", gossip.swim.probe_timeout_min, Hot, ms(1), "50",
    "The same at the least. In between the time follows the member's round trips. From `probe_timeout_ms` on it follows nothing." },
    key! { "networking.gossip.indirect_probes", gossip.swim.indirect_probes, Hot, count(0, 16), "5",
    "How many other members are asked to probe a silent one." },
    key! { "networking.gossip.interval_ms", gossip.swim.gossip_interval, Hot, ms(1), "500",
    "Time between two rounds of gossip while there is something to say." },
    key! { "networking.gossip.fanout", gossip.swim.gossip_fanout, Hot, count(1, 16), "4",
    "How many members a round of gossip tells." },
    key! { "networking.gossip.suspicion_pause_ms", gossip.swim.suspicion_pause, Hot, ms(0), "5000",
    "The pause of a healthy process that must not make it failed: garbage collection, a busy host." },
    key! { "networking.gossip.probe_pings", gossip.swim.probe_pings, Hot, count(1, 8), "2",
    "How often a silent member is pinged in each of the two stages of a probe. Costs nothing where the first ping is answered." },
    key! { "networking.gossip.retransmit_factor", gossip.swim.retransmit_factor, Hot, count(1, 100), "6",
    "How often each member tells a piece of news, times the decimal digits of the number of members." },
    key! { "networking.gossip.news_gap_ms", gossip.swim.news_gap, Hot, ms(1), "30",
    "Least time between two rounds of gossip that news brings forward." },
    key! { "networking.gossip.refusal_window_ms", gossip.swim.refusal_window, Hot, ms(1), "500",
    "How long a member whose address refuses connections has to answer before it is failed." },
    key! { "networking.gossip.refusal_observers", gossip.swim.refusal_observers, Hot, count(1, 8), "3",
    "How many members must have been refused before that time begins." },
    key! { "networking.gossip.sync_interval_ms", gossip.swim.sync_interval, Hot, ms(1), "60000",
    "Time between two exchanges of views in a cluster of up to 32 members; one more for each doubling." },
    key! { "networking.gossip.revisit_interval_ms", gossip.swim.revisit_interval, Hot, ms(1), "5000",
    "Time between two draws whether to call on a failed member: each gets about three calls in it from the whole cluster." },
    key! { "networking.gossip.partition_window_ms", gossip.swim.partition_window, Hot, ms(1), "60000",
    "Members that fail within this time have failed together: many of them are a partition." },
    key! { "networking.gossip.farewell_acks", gossip.swim.farewell_acks, Hot, count(0, 16), "5",
    "By how many members a farewell must be acknowledged." },
    key! { "networking.gossip.farewell_timeout_ms", gossip.swim.farewell_timeout, Hot, ms(0), "5000",
    "After this time who leaves waits for them no longer." },
    key! { "networking.gossip.tombstone_age_ms", gossip.swim.tombstone_age, Hot,
    Range::Whole { min: 1, max: 8760 * HOUR_MS, unit: "ms" }, "3600000",
    "How long a member that has left is listed, and for how long after that its old records are refused." },
    key! { "networking.gossip.members_max", gossip.swim.members_max, Hot, count(1, 1_000_000), "1000",
    "How many members are held, gone ones included. At the limit the one that is gone for longest is forgotten; where none is, a \
     new one is not taken in. Below a new limit nobody is dropped." },
    key! { "networking.gossip.packet_bytes_max", gossip.swim.packet_bytes_max, Hot, bytes(812, 9000), "8000",
    "The largest gossip packet that is sent, its seal included." },
    key! { "networking.split_brain.strategy", split_brain.strategy, Hot,
    Range::OneOf(&["none", "static_quorum", "keep_majority", "keep_oldest"]), "\"keep_majority\"",
    "What decides whether this node's side goes on. A side that has decided to withdraw takes no new messages to other nodes: each is refused as \
     not sent, and the node's health is unhealthy, until the strategy says otherwise. Membership goes on, so sides heal. \"none\": \
     nothing is decided and nothing refused; a partition is only told. \"static_quorum\": who sees at least `members`. \
     \"keep_majority\": who sees more than half of the members that have not left, or half with the smallest id. \"keep_oldest\": who sees the \
     member that has been running for the longest time, unless that one is alone. Only \"static_quorum\" holds where nodes \
     restart within a partition." },
    key! { "networking.split_brain.members", split_brain.members, Hot, count(0, 1_000_000), "3",
    "How many members are enough for `strategy` \"static_quorum\": more than half of all that there will ever be. 0 with any other." },
    key! { "networking.split_brain.stable_after_ms", split_brain.stable_after, Hot, ms(1), "20000",
    "How long nobody must have come or gone before the strategy is asked; at most four times that is waited." },
];
