//! The table of targets.

use crate::targets::{
    acceptor, cluster_message, compressed, control_message, datagram, dialer, envelope, fragments, header, hello,
    lanes, stream,
};

/// Something that takes any bytes, and panics when a promise is broken.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

impl Target {
    /// Every target.
    pub const TABLE: &[Self] = &[
        Self { name: "header", run: header::run },
        Self { name: "envelope", run: envelope::run },
        Self { name: "cluster_message", run: cluster_message::run },
        Self { name: "control_message", run: control_message::run },
        Self { name: "hello", run: hello::run },
        Self { name: "stream", run: stream::run },
        Self { name: "acceptor", run: acceptor::run },
        Self { name: "dialer", run: dialer::run },
        Self { name: "compressed", run: compressed::run },
        Self { name: "fragments", run: fragments::run },
        Self { name: "lanes", run: lanes::run },
        Self { name: "datagram", run: datagram::run },
    ];

    /// The target of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::TABLE.iter().copied().find(|target| target.name == name)
    }
}
