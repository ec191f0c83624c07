//! Messages and replies in fragments, sound and changed, beside each other on all lanes and within little memory.

use arbitrary::Unstructured;
use rdb_net_session::Side;

use crate::script::Script;
use crate::world;

/// The first byte tells into which pieces the stream is cut the second time, and which side it is.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, told)) = bytes.split_first() else { return };
    let side = if kind & 1 != 0 { Side::Dialer { target: None } } else { Side::Acceptor };
    let script = Script::of_fragments(side, &mut Unstructured::new(told));
    world::play(&script, usize::from(kind >> 1));
}
