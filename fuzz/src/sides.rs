//! What the two sides of a fuzzed connection are told and say: small limits, so that short inputs reach them.

use rdb_net_session::{CompressionConfig, Config, Identity};
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeAddress, NodeId, ProtocolRange};
use rdb_net_wire::{Codec, Codecs, FrameRules, Hello, feature};

use crate::script::Script;

pub(crate) const FRAME_BYTES_MAX: u32 = 4096;
pub(crate) const MESSAGE_BYTES_MAX: u32 = 4 * FRAME_BYTES_MAX;
pub(crate) const WINDOW_BYTES: u64 = 8192;
pub(crate) const WINDOW_BYTES_FIRST: u64 = 4096;
/// What a session may reserve at most: two large messages and some more.
pub(crate) const BUDGET_BYTES_MAX: u64 = 40_000;
pub(crate) const REQUESTS_MAX: u32 = 6;

/// What a session may write to one that said this hello.
pub(crate) fn rules() -> FrameRules {
    FrameRules {
        fragments: true,
        streams: true,
        codecs: Codecs::built_in(),
        raw_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..FrameRules::plain(false)
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

/// A hello that the session accepts.
pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        cluster: ClusterId::new("fuzz").expect("legal"),
        node: node(name),
        target: None,
        incarnation: Incarnation::first_of(1),
        boot: BootId(7),
        address: NodeAddress::new("10.0.0.1", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        features: feature::LANES | feature::FRAGMENTS | feature::STREAMS,
        codecs: Codec::ALL.map(Codec::number).to_vec(),
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        requests_max: REQUESTS_MAX,
        credits: vec![WINDOW_BYTES; 4],
        liveness_ms: 5000,
        checksum: true,
        channel_binding: Vec::new(),
        token: Vec::new(),
        software: String::new(),
        costs: Vec::new(),
    }
}

pub(crate) fn config(script: &Script) -> Config {
    let compressing = CompressionConfig { codecs: Codec::ALL.to_vec(), above_bytes: 30, types: Vec::new() };
    Config {
        checksum: script.checksum,
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        requests_max: REQUESTS_MAX,
        lane_credit_bytes: [WINDOW_BYTES; 4],
        lane_credit_bytes_first: [WINDOW_BYTES_FIRST; 4],
        compression: if script.compresses { compressing } else { CompressionConfig::off() },
        batch_bytes: 600,
        ..Config::default()
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        cluster: ClusterId::new("fuzz").expect("legal"),
        node: node("self"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(1),
        address: NodeAddress::new("10.0.0.2", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    }
}
