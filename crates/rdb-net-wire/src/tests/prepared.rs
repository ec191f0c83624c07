//! Messages that are cut into frames, and bodies that are compressed: what goes in comes out, and what no honest peer sends is
//! refused before anything is set aside for it.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rdb_net_types::{MessageType, Payload, QueryResponse, Tuple};

use super::arbitrary::cluster_message;
use super::{application, checked, mend, request_head};
use crate::{
    Body, Codec, Codecs, Encode, FRAGMENT_BYTES_MIN, Flags, Frame, FrameBuffer, FrameError, FrameHead, FrameRules,
    Message, Prepared, decode_cluster_message, frame_length,
};

const FRAME_BYTES_MAX: u32 = 4096;

fn rules() -> FrameRules {
    FrameRules {
        codecs: Codecs::built_in(),
        fragments: true,
        streams: true,
        raw_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: 1 << 20,
        ..FrameRules::plain(true)
    }
}

fn frames(message: &dyn Encode, codec: Option<Codec>) -> Vec<Bytes> {
    let mut prepared = Prepared::new(message).expect("not too large");
    if let Some(codec) = codec {
        prepared.compress(codec, FRAME_BYTES_MAX);
    }
    let mut frames = Vec::new();
    loop {
        let mut buffer = FrameBuffer::new();
        let mark = buffer.push_part(checked(request_head(message.message_type())), &mut prepared, FRAME_BYTES_MAX);
        buffer.seal(&mark, 0);
        assert_eq!(mark.wire_bytes as usize, buffer.len());
        assert!(mark.wire_bytes <= FRAME_BYTES_MAX);
        frames.push(Bytes::from(buffer.to_vec()));
        if prepared.is_done() {
            return frames;
        }
    }
}

fn join(frames: &[Bytes]) -> Body {
    let read: Vec<(Frame, &Bytes)> =
        frames.iter().map(|bytes| (rules().read(bytes).expect("our own frame"), bytes)).collect();
    let attachment_bytes = read[0].0.attachment_bytes;
    let pieces = read.iter().map(|(frame, bytes)| Body::unpacked(frame, bytes, 0).expect("our own body").into_bytes());
    Body::of_pieces(pieces.collect(), attachment_bytes)
}

proptest! {
    #[test]
    fn any_message_comes_back_in_frames_of_4_kib(message in cluster_message(), codec in 0u8..4) {
        let codec = Codec::from_number(codec).filter(|codec| codec.is_built_in());
        let body = join(&frames(&message, codec));
        prop_assert_eq!(decode_cluster_message(message.message_type(), body), Ok(message));
    }

    #[test]
    fn rows_come_back_wherever_the_frames_end(rows in vec(vec(any::<u8>(), 0..3000), 0..12), codec in 0u8..4) {
        let codec = Codec::from_number(codec).filter(|codec| codec.is_built_in());
        let result = rows.into_iter().map(|row| Tuple(row.into())).collect();
        let message = QueryResponse { result, ..QueryResponse::default() };
        prop_assert_eq!(QueryResponse::decode(&join(&frames(&message, codec))), Ok(message));
    }

    #[test]
    fn any_bytes_are_decompressed_or_refused(bytes in vec(any::<u8>(), 0..300), raw_bytes in 0usize..4096) {
        for codec in Codec::ALL {
            if let Ok(raw) = codec.decompress(&bytes, raw_bytes) {
                prop_assert!(codec.is_built_in() && raw.len() == raw_bytes);
            }
        }
    }

    #[test]
    fn a_body_reads_the_same_however_it_is_cut(
        pieces in vec(vec(any::<u8>(), 0..9), 0..9),
        attachment in any::<proptest::sample::Index>(),
    ) {
        let whole = pieces.concat();
        let attachment_bytes = attachment.index(whole.len() + 1);
        let body = Body::of_pieces(pieces.into_iter().map(Bytes::from).collect(), attachment_bytes as u32);
        let (structure, attachment) = whole.split_at(whole.len() - attachment_bytes);
        prop_assert_eq!(body.structure(), structure);
        prop_assert_eq!(&body.attachment().into_bytes()[..], attachment);
        prop_assert_eq!(body.len(), whole.len());
        prop_assert_eq!(body.detach().into_bytes(), body.clone().into_bytes());
        prop_assert_eq!(&body.into_bytes()[..], &whole[..]);
    }
}

#[test]
fn large_pieces_are_shared_through_the_frames_they_are_cut_into() {
    let large = Bytes::from(vec![3; 20_000]);
    let message = application(Payload::from(large.clone()));
    let mut prepared = Prepared::new(&message).expect("not too large");
    let mut buffer = FrameBuffer::new();
    let frame_bytes_max = 6000;
    while !prepared.is_done() {
        buffer.push_part(request_head(message.message_type), &mut prepared, frame_bytes_max);
    }
    let mut slices = [std::io::IoSlice::new(&[]); 16];
    let filled = buffer.io_slices(0, &mut slices);
    let of_the_message = slices[..filled].iter().filter(|slice| large.as_ptr_range().contains(&slice.as_ptr()));
    assert!(of_the_message.map(|slice| slice.len()).sum::<usize>() > 17_000, "the same memory, not a copy");
}

#[test]
fn a_small_body_is_compressed_in_its_place() {
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_built_in()) {
        for head in [request_head(MessageType(0x8001)), checked(request_head(MessageType(0x8001)))] {
            let mut buffer = FrameBuffer::new();
            buffer.push(head, &application("before"), FRAME_BYTES_MAX).expect("fits");
            let mark = buffer.push(head, &application(vec![5; 3000]), FRAME_BYTES_MAX).expect("fits");
            let before = buffer.len();
            let (saved, mark) = buffer.compress_last(&mark, codec).expect("worth it");
            assert_eq!(buffer.len(), before - saved as usize);
            buffer.seal(&mark, 0);
            let bytes = Bytes::from(buffer.to_vec()).slice(before - 3032 - if head == checked(head) { 4 } else { 0 }..);
            let length = frame_length(&bytes, FRAME_BYTES_MAX).expect("ours").expect("whole");
            assert_eq!(length, bytes.len());
            let frame = FrameRules { checksum: false, ..rules() }.read(&bytes).expect("agreed");
            assert_eq!((frame.codec, frame.raw_bytes), (Some(codec), 3000));
            assert_eq!(Body::unpacked(&frame, &bytes, 0).expect("readable").into_bytes(), vec![5; 3000]);
        }
    }
}

#[test]
fn what_compression_does_not_shrink_is_sent_as_it_is() {
    let mut random = rdb_net_types::SeededRandom::new(7);
    let noise: Vec<u8> = (0..3000).map(|_| random.next_u64() as u8).collect();
    for codec in Codec::ALL {
        let mut buffer = FrameBuffer::new();
        let message = application(noise.clone());
        let mark = buffer.push(request_head(message.message_type), &message, FRAME_BYTES_MAX).expect("fits");
        let before = buffer.to_vec();
        assert_eq!(buffer.compress_last(&mark, codec), None);
        assert_eq!(buffer.to_vec(), before);
    }
}

/// The middle one of three fragments, changed by hand.
#[track_caller]
fn refused(change: impl FnOnce(&mut [u8]), expected: FrameError) {
    let frames = frames(&application(vec![9; 10_000]), None);
    assert_eq!(frames.len(), 3);
    let mut frame = frames[1].to_vec();
    change(&mut frame);
    mend(&mut frame);
    assert_eq!(rules().read(&frame), Err(expected));
}

const TOTAL: std::ops::Range<usize> = 36..40;
const OFFSET: std::ops::Range<usize> = 40..44;

#[test]
fn a_fragment_that_its_message_cannot_have_is_refused() {
    refused(|frame| frame[TOTAL].copy_from_slice(&8000u32.to_be_bytes()), FrameError::Fragment);
    refused(|frame| frame[OFFSET].copy_from_slice(&u32::MAX.to_be_bytes()), FrameError::Fragment);
    refused(|frame| frame[OFFSET].copy_from_slice(&9_999u32.to_be_bytes()), FrameError::Fragment);
    // The last one, though its end is not the message's.
    refused(|frame| frame[13] &= !(Flags::MORE.0 as u8), FrameError::Fragment);
    // All of its message: that is no fragment.
    let whole = |frame: &mut [u8]| {
        frame[13] &= !(Flags::MORE.0 as u8);
        frame.copy_within(28..32, TOTAL.start);
        frame[OFFSET].fill(0);
    };
    refused(whole, FrameError::Fragment);
    let limit = 1 << 20;
    refused(
        |frame| frame[TOTAL].copy_from_slice(&(limit + 1).to_be_bytes()),
        FrameError::MessageTooLarge { total: limit + 1, limit },
    );
    // More to come, and no extension that says of what.
    refused(|frame| frame[32] = 0x3f, FrameError::Extension);
}

#[test]
fn a_fragment_that_is_smaller_than_it_may_be_is_refused() {
    let head = FrameHead { flags: Flags::MORE, ..request_head(MessageType(0x8001)) };
    let mut prepared = Prepared::new(&application(vec![9; 10_000])).expect("not too large");
    let mut buffer = FrameBuffer::new();
    buffer.push_part(head, &mut prepared, FRAGMENT_BYTES_MIN);
    assert_eq!(FrameRules { checksum: false, ..rules() }.read(&buffer.to_vec()), Err(FrameError::Fragment));
}

/// S8: what it becomes is bounded by what it declares, and that by what is let in.
#[cfg(feature = "lz4")]
#[test]
fn a_compressed_body_that_becomes_more_than_it_may_is_refused_before_it_is_read() {
    let frame = &frames(&application(vec![9; 3_000]), Some(Codec::Lz4))[0];
    let lie = |raw_bytes: u32| {
        let mut frame = frame.to_vec();
        frame[28..32].copy_from_slice(&raw_bytes.to_be_bytes());
        mend(&mut frame);
        Bytes::from(frame)
    };
    assert_eq!(rules().read(&lie(FRAME_BYTES_MAX + 1)), Err(FrameError::Compression));
    assert_eq!(FrameRules { raw_bytes_max: u32::MAX, ..rules() }.read(&lie(u32::MAX)), Err(FrameError::Compression));
    for raw_bytes in [0, 1, 2_999, 3_001, 4_000] {
        let bytes = lie(raw_bytes);
        let frame = rules().read(&bytes).expect("within its limits");
        assert_eq!(Body::unpacked(&frame, &bytes, 0), Err(FrameError::Compression), "{raw_bytes}");
    }
    assert_eq!(FrameRules { codecs: Codecs::NONE, ..rules() }.read(frame), Err(FrameError::NotAgreed));
}
