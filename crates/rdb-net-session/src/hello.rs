//! The hello of either side: what it says, and whether it is accepted.

use std::time::Duration;

use rdb_net_types::RefusalReason;
use rdb_net_wire::{Codec, Codecs, FrameRules, Hello, feature};

use crate::costs::Costs;
use crate::terms::PeerTerms;
use crate::{Config, Identity, Secured, Side};

/// What this side can beyond the first version.
const FEATURES: u64 = feature::LANES | feature::FRAGMENTS | feature::STREAMS;

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
        features: FEATURES,
        codecs: readable_codecs(config).map(Codec::number).collect(),
        frame_bytes_max: config.frame_bytes_max,
        message_bytes_max: config.message_bytes_max.max(config.frame_bytes_max),
        requests_max: config.requests_max,
        credits: first_windows(config).to_vec(),
        liveness_ms: u32::try_from(config.liveness.as_millis()).unwrap_or(u32::MAX),
        checksum: config.checksum,
        channel_binding: config.secured.as_ref().map_or_else(Vec::new, |secured| secured.channel_binding.clone()),
        token: identity.token.clone(),
        software: identity.software.clone(),
        costs: Costs::own(),
    }
}

/// What a lane starts with: never more than it may come to.
pub(crate) fn first_windows(config: &Config) -> [u64; 4] {
    std::array::from_fn(|lane| config.lane_credit_bytes_first[lane].min(config.lane_credit_bytes[lane]))
}

/// What this side reads: those it prefers to write first, then the others.
fn readable_codecs(config: &Config) -> impl Iterator<Item = Codec> {
    let preferred = config.compression.codecs.clone();
    let others = Codec::ALL.into_iter().filter({
        let preferred = preferred.clone();
        move |codec| !preferred.contains(codec)
    });
    preferred.into_iter().chain(others).filter(|codec| codec.is_built_in())
}

/// What frames this side reads, once the hello was sent: what it said in it.
pub(crate) fn rules(config: &Config, checksum: bool) -> FrameRules {
    FrameRules {
        checksum,
        codecs: Codecs::built_in(),
        fragments: true,
        streams: true,
        raw_bytes_max: config.frame_bytes_max,
        message_bytes_max: config.message_bytes_max.max(config.frame_bytes_max),
    }
}

/// What the other side reads, as its hello says.
pub(crate) fn peer_terms(config: &Config, theirs: &Hello, checksum: bool) -> PeerTerms {
    let fragments = theirs.features & feature::FRAGMENTS != 0;
    let reads = |codec: &Codec| codec.is_built_in() && theirs.codecs.contains(&codec.number());
    PeerTerms {
        frame_bytes_max: theirs.frame_bytes_max.min(config.frame_bytes_max),
        message_bytes_max: theirs.message_bytes_max,
        checksum,
        // Blocks of large messages are fragments.
        codec: config.compression.codecs.iter().copied().filter(|_| fragments).find(reads),
        fragments,
        lanes: theirs.features & feature::LANES != 0,
    }
}

/// Whether the other side's hello is accepted, as far as the connection itself can tell; who may come at all is decided by
/// its owner.
pub(crate) fn check(config: &Config, identity: &Identity, side: &Side, theirs: &Hello) -> Result<(), RefusalReason> {
    if identity.protocol.agree(theirs.protocol).is_none() {
        return Err(RefusalReason::Version);
    }
    if !is_proved(config, theirs) {
        return Err(RefusalReason::Identity);
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

/// Whether the hello says what the connection has proved. Where it has proved nothing, the other side must not believe that it
/// has: its TLS would end elsewhere.
fn is_proved(config: &Config, theirs: &Hello) -> bool {
    match &config.secured {
        Some(Secured { node, channel_binding }) => {
            node.as_ref().is_none_or(|node| *node == theirs.node) && *channel_binding == theirs.channel_binding
        }
        None => theirs.channel_binding.is_empty(),
    }
}

/// How long the other side waits for a byte.
pub(crate) fn peer_liveness(theirs: &Hello) -> Duration {
    Duration::from_millis(u64::from(theirs.liveness_ms))
}
