//! The protocol's own messages but the hello: any body read as each of them.

use bytes::Bytes;
use rdb_net_wire::{Body, Close, CloseCode, Credit, ErrorReply, GoAway, Message, Ping, Pong, Reject};

use crate::{memory, messages};

/// The bytes are a struct; each type has to cope with it.
pub(crate) fn run(bytes: &[u8]) {
    let body = Body::new(Bytes::copy_from_slice(bytes), &[]);
    if let Some(reject) = read::<Reject>(&body)
        && let Some(reason) = reject.reason()
    {
        assert_eq!(reason.code(), reject.code);
    }
    read::<Ping>(&body);
    read::<Pong>(&body);
    read::<Credit>(&body);
    read::<GoAway>(&body);
    if let Some(close) = read::<Close>(&body)
        && let Some(code) = CloseCode::from_code(close.code)
    {
        assert_eq!(code as u16, close.code);
    }
    if let Some(error) = read::<ErrorReply>(&body) {
        let (effect, reason) = error.outcome();
        // Said on, it means the same, although a long text is cut.
        assert_eq!(ErrorReply::new(effect, reason, &error.detail).outcome(), (effect, reason));
    }
}

fn read<M: Message + PartialEq + std::fmt::Debug>(body: &Body) -> Option<M> {
    let message = memory::within(memory::decoding(body.len()), "a control message", || M::decode(body)).ok()?;
    let written = messages::body(&message);
    assert_eq!(M::decode(&written).as_ref(), Ok(&message));
    Some(message)
}
