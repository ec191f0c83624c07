//! What a replica is told before it begins.

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_types::NodeId;

/// How a log is replicated. The same at every replica, as far as members and log are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which log: a node may hold replicas of several.
    pub log_id: u64,
    /// Everybody who holds a replica, this node included. More than half of them are a quorum. It does not change while the log
    /// lives. Each is named once.
    pub members: Vec<NodeId>,
    /// How many bytes of entries travel in one message. Default 256 KiB; one entry may be larger.
    pub batch_bytes_max: usize,
    /// How many entries travel in one message. Default 4,096.
    pub batch_entries_max: usize,
    /// How many bytes of entries may be under way to one follower that it has not acknowledged. Default 4 MiB. More keep a
    /// distant follower busy.
    pub window_bytes: usize,
    /// How many bytes of its newest entries a leader holds in memory for its followers, at what they cost there. Default 16 MiB. Who is further behind is
    /// sent from the log's storage until it has caught up: everybody is, for each batch, where it holds none.
    pub tail_bytes: usize,
    /// How many bytes may wait for a quorum, at what they cost in memory: 32 for each entry beside its data. Beyond it, appending is
    /// refused. Default 16 MiB.
    pub pending_bytes_max: usize,
    /// How many messages of a leader may wait here until the log is durable; beyond it, they are refused. Default 1,024.
    pub replies_max: usize,
    /// After how long a follower is tried again that did not answer. Default 20 ms; doubled each time.
    pub retry_min: Duration,
    /// The longest such time. Default 1 s.
    pub retry_max: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(log_id: u64, members: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            log_id,
            members: members.into_iter().collect(),
            batch_bytes_max: 256 * 1024,
            batch_entries_max: 4096,
            window_bytes: 4 * 1024 * 1024,
            tail_bytes: 16 * 1024 * 1024,
            pending_bytes_max: 16 * 1024 * 1024,
            replies_max: 1024,
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_secs(1),
        }
    }

    /// Whether this node can hold a replica by it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the key.
    pub fn check(&self, node: &NodeId) -> Result<(), ConfigError> {
        let log_id = self.log_id;
        let mut named = BTreeSet::new();
        if let Some(node) = self.members.iter().find(|member| !named.insert(*member)) {
            return Err(ConfigError::NamedTwice { node: node.clone(), log_id });
        }
        if !named.contains(node) {
            return Err(ConfigError::NotAMember { node: node.clone(), log_id });
        }
        let zeros = [
            ("replies_max", self.replies_max == 0),
            ("retry_min", self.retry_min.is_zero()),
            ("retry_max", self.retry_max.is_zero()),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(ConfigError::Zero { key, log_id }),
            None => Ok(()),
        }
    }

    /// How many members have to hold an entry for good.
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }
}

/// A log's configuration is at fault. Nothing has begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// This node is none of the members.
    #[error("`members` of log {log_id} does not name this node, {node}")]
    NotAMember {
        /// This node.
        node: NodeId,
        /// The log.
        log_id: u64,
    },
    /// A member is named twice: it would count as two of a quorum.
    #[error("`members` of log {log_id} names {node} twice")]
    NamedTwice {
        /// Who.
        node: NodeId,
        /// The log.
        log_id: u64,
    },
    /// With a zero here nothing would ever be acknowledged, or nothing be waited for between two tries.
    #[error("`{key}` of log {log_id} is 0; it has to be more")]
    Zero {
        /// Which key.
        key: &'static str,
        /// The log.
        log_id: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_work_is_refused_by_its_key() {
        let node = |name: &str| NodeId::new(name).expect("legal");
        let check = |change: fn(&mut Config)| {
            let mut config = Config::new(7, [node("n1"), node("n2"), node("n3")]);
            change(&mut config);
            config.check(&node("n1")).map_err(|error| error.to_string())
        };
        assert_eq!(check(|_| {}), Ok(()));
        type Change = fn(&mut Config);
        let broken: [(Change, &str); 5] = [
            (|config| config.members.push(config.members[1].clone()), "`members` of log 7 names n2 twice"),
            (|config| drop(config.members.remove(0)), "`members` of log 7 does not name this node, n1"),
            (|config| config.replies_max = 0, "`replies_max` of log 7 is 0; it has to be more"),
            (|config| config.retry_min = Duration::ZERO, "`retry_min` of log 7 is 0; it has to be more"),
            (|config| config.retry_max = Duration::ZERO, "`retry_max` of log 7 is 0; it has to be more"),
        ];
        for (change, expected) in broken {
            assert_eq!(check(change), Err(expected.to_owned()));
        }
    }
}
