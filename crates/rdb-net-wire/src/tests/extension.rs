//! Extensions: unknown ones are stepped over, and none reaches beyond its envelope.

use bytes::Bytes;
use rdb_net_types::{MessageType, Payload, QueryRequest};

use super::{mend, request_head, sealed, small_frame, with_extensions};
use crate::{Body, Flags, FrameError, HEAD_BYTES, Message, decode_frame};

fn query() -> QueryRequest {
    QueryRequest { query_id: 1, fragment: 2, query: "select".to_owned(), parameters: Payload::from("parameters") }
}

#[test]
fn unknown_extensions_are_stepped_over() {
    let longest = [&[0xff, 249][..], &[0xaa; 249 * 4 - 2]].concat();
    let several = [0x01, 1, 0xaa, 0xaa, 0x3f, 2, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0x00, 1, 0xaa, 0xaa];
    for flags in [Flags::default(), Flags::CHECKSUM] {
        for extensions in [&several[..4], &several[..], &longest] {
            let frame = with_extensions(&small_frame(flags), extensions);
            let read = decode_frame(&frame, false).expect("unknown extensions harm nothing");
            assert_eq!((&frame[read.structure()], read.attachment().len()), (&b"abc"[..], 0));
        }
    }
}

#[test]
fn an_attachment_is_found_behind_an_unknown_extension() {
    let frame = sealed(request_head(MessageType::QUERY_REQUEST), &query(), 0);
    let frame = Bytes::from(with_extensions(&frame, &[0x3f, 2, 0, 0, 1, 2, 3, 4]));
    let read = decode_frame(&frame, false).expect("sound");
    assert_eq!(&frame[read.attachment()], b"parameters");
    assert_eq!(QueryRequest::decode(&Body::of(&read, &frame)), Ok(query()));
}

#[track_caller]
fn refused(extensions: &[u8]) {
    for flags in [Flags::default(), Flags::CHECKSUM] {
        let frame = with_extensions(&small_frame(flags), extensions);
        assert_eq!(decode_frame(&frame, false), Err(FrameError::Extension), "{extensions:?}");
    }
}

#[test]
fn an_extension_without_a_length_is_refused() {
    refused(&[0x3f, 0, 0, 0]);
    refused(&[0x3f, 1, 0, 0, 0x3f, 0, 0, 0]);
    refused(&[0, 0, 0, 0]);
}

#[test]
fn an_extension_beyond_its_envelope_is_refused() {
    refused(&[0x3f, 2, 0, 0]);
    refused(&[0x3f, 255, 0, 0]);
    refused(&[0x3f, 1, 0, 0, 0x3f, 2, 0, 0]);
}

#[test]
fn an_attachment_extension_is_two_words_long() {
    refused(&[0x04, 1, 0, 0]);
    refused(&[0x04, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn an_attachment_longer_than_the_body_is_refused() {
    refused(&[0x04, 2, 0, 0, 0, 0, 0, 4]);
    refused(&[0x04, 2, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn an_attachment_may_be_the_whole_body_or_nothing() {
    let frame = |bytes: u8| with_extensions(&small_frame(Flags::default()), &[0x04, 2, 0, 0, 0, 0, 0, bytes]);
    let whole = decode_frame(&frame(3), false).expect("the whole body");
    assert_eq!((whole.structure(), whole.attachment()), (40..40, 40..43));
    let none = decode_frame(&frame(0), false).expect("nothing");
    assert_eq!((none.structure(), none.attachment()), (40..43, 43..43));
}

#[test]
fn the_last_of_two_attachment_extensions_counts() {
    let frame = with_extensions(&small_frame(Flags::default()), &[4, 2, 0, 0, 0, 0, 0, 1, 4, 2, 0, 0, 0, 0, 0, 2]);
    assert_eq!(decode_frame(&frame, false).expect("sound").attachment(), 49..51);
}

#[test]
fn a_frame_that_is_all_envelope_has_an_empty_body() {
    let mut frame = small_frame(Flags::default());
    frame.truncate(HEAD_BYTES);
    frame[28..32].fill(0);
    mend(&mut frame);
    let read = decode_frame(&frame, false).expect("sound");
    assert!(read.structure().is_empty() && read.attachment().is_empty());
}
