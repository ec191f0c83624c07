//! The cluster's messages: any body read as any type, and any message written and read back.

use arbitrary::Unstructured;
use bytes::Bytes;
use rdb_net_types::{ClusterMessage, MessageSpec, MessageType};
use rdb_net_wire::{Body, decode_cluster_message};

use crate::{memory, messages};

/// The first byte decides: a message to write, or the type as which the rest is read, whose first byte tells how much of it
/// is the attachment.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let Some(row) = MessageSpec::TABLE.get(usize::from(*kind)) else {
        if let Ok(message) = messages::cluster_message(&mut Unstructured::new(rest)) {
            check_same(&message);
        }
        return;
    };
    let Some((attachment_bytes, rest)) = rest.split_first() else { return };
    let (structure, attachment) = rest.split_at(rest.len().saturating_sub(usize::from(*attachment_bytes)));
    read(row.message_type, Body::new(Bytes::copy_from_slice(structure), attachment));
}

fn read(message_type: MessageType, body: Body) {
    let permitted = memory::decoding(body.len());
    let decoded = memory::within(permitted, "a body", || decode_cluster_message(message_type, body));
    if let Ok(message) = decoded {
        assert_eq!(message.message_type(), message_type);
        check_same(&message);
    }
}

/// The message comes back as it was, and is written as it was.
fn check_same(message: &ClusterMessage) {
    let body = messages::body(message);
    let permitted = memory::decoding(body.len());
    let read = memory::within(permitted, "a body of ours", || {
        decode_cluster_message(message.message_type(), body.clone()).expect("our own message")
    });
    assert_eq!(read, *message);
    assert_eq!(messages::body(&read), body);
}
