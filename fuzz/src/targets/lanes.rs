//! Either side of a connection on which each lane has a stream of its own: frames on their lanes' streams and on others', fences that
//! are passed and such that are not.

use arbitrary::Unstructured;
use rdb_net_session::Side;

use crate::script::Script;
use crate::world;

/// The first byte tells the side.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, told)) = bytes.split_first() else { return };
    let side = if kind & 1 == 0 { Side::Acceptor } else { Side::Dialer { target: None } };
    world::play_once(&Script::of_lanes(side, &mut Unstructured::new(told)));
}
