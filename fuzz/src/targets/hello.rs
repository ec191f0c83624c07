//! The hello: any struct read as one, and any hello written, read back, cut and followed by later fields.

use arbitrary::Unstructured;
use bytes::Bytes;
use rdb_net_wire::{Body, Hello, Message};

use crate::{memory, messages};

/// The first byte decides whether the rest is a struct or tells what a hello says.
pub(crate) fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((kind, structure)) if kind % 2 == 0 => drop(read(structure)),
        Some((_, told)) => {
            if let Ok(hello) = messages::hello(&mut Unstructured::new(told)) {
                written(&hello);
            }
        }
        None => {}
    }
}

fn read(structure: &[u8]) -> Option<Hello> {
    let body = Body::new(Bytes::copy_from_slice(structure), &[]);
    let hello = memory::within(memory::decoding(body.len()), "a hello", || Hello::decode(&body)).ok()?;
    assert_eq!(Hello::decode(&messages::body(&hello)).as_ref(), Ok(&hello));
    Some(hello)
}

fn written(hello: &Hello) {
    let body = messages::body(hello);
    let structure = body.structure();
    assert_eq!(read(structure).as_ref(), Some(hello));
    // Every field is of the first version: none may be missing.
    for end in (0..structure.len()).step_by(1 + structure.len() / 16) {
        assert_eq!(read(&structure[..end]), None, "cut at {end}");
    }
    // A later version's fields follow behind those of this one.
    let longer = [&[structure[0] + 1], &structure[1..], b"later".as_slice()].concat();
    assert_eq!(read(&longer).as_ref(), Some(hello));
}
