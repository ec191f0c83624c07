//! What ties a claim inside a connection to this very connection: the TLS exporter (RFC 9266).
//!
//! Both ends derive the same 32 bytes, and nobody in between can make two connections derive the same. An identity that is
//! claimed inside the connection together with these bytes was claimed on this connection and on no other.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use rustls::ConnectionCommon;

use crate::refusal::TlsRefusal;

/// RFC 9266, section 2: "The label … is EXPORTER-Channel-Binding … the length is 32 bytes".
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The `tls-exporter` channel binding of one connection. Equality takes the same time whatever the bytes are.
#[derive(Clone, Copy)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// The label of the exporter; its context is empty.
    pub const LABEL: &'static [u8] = LABEL;

    /// From what the other side sent.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For the hello.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of a connection whose handshake is complete. RFC 9266, section 2, wants an empty context, which in TLS 1.3 is the same
    /// as none (RFC 8446, section 7.5).
    pub(crate) fn of<D>(connection: &ConnectionCommon<D>) -> Result<Self, TlsRefusal> {
        let bytes = connection.export_keying_material([0; 32], LABEL, None);
        bytes.map(Self).map_err(|error| TlsRefusal::Internal { problem: error.to_string() })
    }
}

impl PartialEq for ChannelBinding {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for ChannelBinding {}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(…)")
    }
}
