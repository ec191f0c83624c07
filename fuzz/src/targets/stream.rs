//! Either side of a connection, fed with plain bytes: before the hello and after a sound one.

use rdb_net_session::Side;
use rdb_net_wire::Hello;

use crate::script::{Script, Step, hello_frame};
use crate::{sides, world};

/// The first byte tells the side, whether a hello comes before the bytes or with them, whether checksums are agreed, without
/// which more gets through, and into which pieces the stream is cut the second time.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, stream)) = bytes.split_first() else { return };
    let (dials, greets, at_once) = (kind & 1 != 0, kind & 2 != 0, kind & 4 != 0);
    let (side, peer) = if dials { (Side::Dialer { target: None }, "acceptor") } else { (Side::Acceptor, "dialer") };
    let checksum = kind & 8 != 0;
    let hello = Hello { checksum, ..sides::hello(peer) };
    let hello = if greets { hello_frame(&hello) } else { Vec::new() };
    let mut steps = if at_once {
        vec![Step::Arrive([&hello, stream].concat())]
    } else {
        vec![Step::Arrive(hello), Step::Arrive(stream.to_vec())]
    };
    steps.push(Step::Write);
    world::play(&Script { checksum, steps, ..Script::new(side) }, usize::from(kind >> 4));
}
