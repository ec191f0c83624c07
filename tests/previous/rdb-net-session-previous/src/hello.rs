//! The hello of either side: what it says, and whether it is accepted.

use std::time::Duration;

use rdb_net_types::RefusalReason;
use rdb_net_wire::Hello;

use crate::{Config, Identity, Side};

/// The smallest frame limit that a peer may name: below it not even the protocol's own messages fit.
const FRAME_BYTES_MIN: u32 = 4096;

/// What the hello of this side says.
pub(crate) fn hello(config: &Config, identity: &Identity, side: &Side) -> Hello {
    let target = match side {
        Side::Dialer { target } => target.clone(),
        Side::Acceptor => None,
    };
    Hello {
        cluster: identity.cluster.clone(),
        node: identity.node.clone(),
        target,
        incarnation: identity.incarnation,
        boot: identity.boot,
        address: identity.address.clone(),
        protocol: identity.protocol,
        features: 0,
        codecs: Vec::new(),
        frame_bytes_max: config.frame_bytes_max,
        message_bytes_max: config.frame_bytes_max,
        requests_max: config.requests_max,
        credits: config.lane_credit_bytes.to_vec(),
        liveness_ms: u32::try_from(config.liveness.as_millis()).unwrap_or(u32::MAX),
        checksum: config.checksum,
        channel_binding: Vec::new(),
        token: identity.token.clone(),
        software: identity.software.clone(),
    }
}

/// Whether the other side's hello is accepted, as far as the connection itself can tell; who may come at all is decided by
/// its owner.
pub(crate) fn check(identity: &Identity, side: &Side, theirs: &Hello) -> Result<(), RefusalReason> {
    if identity.protocol.agree(theirs.protocol).is_none() {
        return Err(RefusalReason::Version);
    }
    if theirs.cluster != identity.cluster {
        return Err(RefusalReason::Cluster);
    }
    if theirs.node == identity.node {
        let same_process = theirs.boot == identity.boot;
        return Err(if same_process { RefusalReason::SelfConnection } else { RefusalReason::DuplicateNode });
    }
    let meant = match side {
        Side::Dialer { target } => target.as_ref().is_none_or(|target| *target == theirs.node),
        Side::Acceptor => theirs.target.as_ref().is_none_or(|target| *target == identity.node),
    };
    if !meant {
        return Err(RefusalReason::TargetNode);
    }
    if theirs.frame_bytes_max < FRAME_BYTES_MIN || theirs.requests_max == 0 {
        return Err(RefusalReason::Malformed);
    }
    Ok(())
}

/// How long the other side waits for a byte.
pub(crate) fn peer_liveness(theirs: &Hello) -> Duration {
    Duration::from_millis(u64::from(theirs.liveness_ms))
}
