//! Which peers and message types have a label of their own: a series that exists for every name that anybody ever sent is a
//! leak in the scraper.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rdb_net_types::{MessageSpec, MessageType, NodeId};
use rdb_net_wire::control_type;

/// How many peers have a label of their own.
pub(crate) const PEERS_MAX: usize = 2_000;
/// How many application message types have a label of their own.
pub(crate) const APPLICATION_TYPES_MAX: usize = 64;
/// The peers beyond the limit, together.
pub(crate) const OTHER_PEERS: &str = "_other";
/// Connections that ended before their peer had proved its name.
pub(crate) const UNIDENTIFIED: &str = "_unidentified";
/// The application message types beyond the limit, together.
const OTHER_TYPES: &str = "other";

/// The protocol's own messages, by name.
const CONTROL_NAMES: [(MessageType, &str); 10] = [
    (control_type::HELLO, "hello"),
    (control_type::REJECT, "reject"),
    (control_type::PING, "ping"),
    (control_type::PONG, "pong"),
    (control_type::CREDIT, "credit"),
    (control_type::CANCEL, "cancel"),
    (control_type::GO_AWAY, "go_away"),
    (control_type::CLOSE, "close"),
    (control_type::MEMBERSHIP_SYNC, "membership_sync"),
    (control_type::REPLY, "reply"),
];

/// The name of a message type: of the registry, or the number of an application's type such as `0x8001`. Types that this
/// version does not know share one name each side of the application's range.
pub(crate) fn type_label(message_type: MessageType) -> Cow<'static, str> {
    if message_type.is_application() {
        return Cow::Owned(format!("{message_type:?}"));
    }
    if message_type.is_control() {
        let known = CONTROL_NAMES.iter().find(|(number, _)| *number == message_type);
        return Cow::Borrowed(known.map_or("control", |(_, name)| name));
    }
    let known = MessageSpec::TABLE.iter().find(|row| row.message_type == message_type);
    Cow::Borrowed(known.map_or("unknown", |row| row.name))
}

/// Who has a label. A label once given stays while its peer exists, so that a newcomer does not interrupt another's series.
#[derive(Debug, Default)]
pub(crate) struct LabelBook {
    peers: BTreeSet<NodeId>,
    application_types: BTreeSet<MessageType>,
}

impl LabelBook {
    /// Takes the labels of peers that are gone, for those that are new.
    pub(crate) fn update_peers(&mut self, present: &BTreeSet<&NodeId>) {
        self.peers.retain(|node| present.contains(node));
        for node in present {
            if self.peers.len() == PEERS_MAX {
                return;
            }
            if !self.peers.contains(*node) {
                self.peers.insert((*node).clone());
            }
        }
    }

    /// The label of a peer.
    pub(crate) fn peer<'a>(&self, node: &'a NodeId) -> &'a str {
        if self.peers.contains(node) { node.as_str() } else { OTHER_PEERS }
    }

    /// The label of a message type.
    pub(crate) fn message_type(&mut self, message_type: MessageType) -> Cow<'static, str> {
        if message_type.is_application() && !self.application_types.contains(&message_type) {
            if self.application_types.len() == APPLICATION_TYPES_MAX {
                return Cow::Borrowed(OTHER_TYPES);
            }
            self.application_types.insert(message_type);
        }
        type_label(message_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_the_registry() {
        assert_eq!(type_label(MessageType::QUERY_REQUEST), "query_request");
        assert_eq!(type_label(MessageType(0x8001)), "0x8001");
        assert_eq!(type_label(MessageType(0x0003)), "ping");
        assert_eq!(type_label(MessageType(0x00ff)), "control");
        assert_eq!(type_label(MessageType(0x7fff)), "unknown");
    }

    /// S19.
    #[test]
    fn application_types_beyond_the_limit_share_a_label() {
        let mut labels = LabelBook::default();
        let distinct: BTreeSet<_> =
            (0x8000..=u16::MAX).map(|number| labels.message_type(MessageType(number))).collect();
        assert_eq!(distinct.len(), APPLICATION_TYPES_MAX + 1);
        assert_eq!(labels.message_type(MessageType(0x8000)), "0x8000");
        assert_eq!(labels.message_type(MessageType(0x9000)), OTHER_TYPES);
        assert_eq!(labels.message_type(MessageType::HEARTBEAT), "heartbeat");
    }

    #[test]
    fn a_peer_keeps_its_label_until_it_is_gone() {
        let nodes: Vec<NodeId> = (0..=PEERS_MAX).map(|n| NodeId::new(&format!("n{n:05}")).expect("legal")).collect();
        let mut labels = LabelBook::default();
        labels.update_peers(&nodes[1..].iter().collect());
        labels.update_peers(&nodes.iter().collect());
        assert_eq!(labels.peer(&nodes[0]), OTHER_PEERS);
        assert_eq!(labels.peer(&nodes[PEERS_MAX]), nodes[PEERS_MAX].as_str());
        labels.update_peers(&nodes[..PEERS_MAX].iter().collect());
        assert_eq!(labels.peer(&nodes[0]), nodes[0].as_str());
        assert_eq!(labels.peers.len(), PEERS_MAX);
    }
}
