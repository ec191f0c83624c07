//! The side that asks: it dialled somebody who answers with frames, sound and unsound.

use arbitrary::Unstructured;
use rdb_net_session::Side;

use crate::script::Script;
use crate::world;

/// The first byte tells into which pieces the stream is cut the second time.
pub(crate) fn run(bytes: &[u8]) {
    let Some((pieces, told)) = bytes.split_first() else { return };
    let script = Script::read(Side::Dialer { target: None }, &mut Unstructured::new(told));
    world::play(&script, usize::from(*pieces));
}
