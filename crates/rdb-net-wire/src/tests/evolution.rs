//! Structs that grow at their end: older and newer sides read each other.

use bytes::Bytes;
use proptest::prelude::{prop_assert_eq, proptest};

use super::vectors::{self, Vector};
use crate::codec::{self, Fields, Malformed, wire_struct};

#[derive(Debug, Clone, PartialEq)]
struct First {
    id: u64,
    name: String,
}

wire_struct!(First { id, name });

#[derive(Debug, Clone, PartialEq)]
struct Second {
    id: u64,
    name: String,
    limit: u32,
}

wire_struct!(Second { id, name; limit = 100 });

#[derive(Debug, Clone, PartialEq)]
struct Third {
    id: u64,
    name: String,
    limit: u32,
    tags: Vec<String>,
}

wire_struct!(Third { id, name; limit = 100, tags = vec!["none".to_owned()] });

fn written(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

#[test]
fn the_field_count_comes_first() {
    let bytes = written(|out| First { id: 300, name: "n".to_owned() }.encode_fields(out));
    assert_eq!(bytes, [2, 0xac, 0x02, 1, b'n']);
}

proptest! {
    #[test]
    fn an_older_writer_is_read_with_defaults(id: u64, name: String, limit: u32) {
        let first = written(|out| First { id, name: name.clone() }.encode_fields(out));
        let expected = Second { id, name: name.clone(), limit: 100 };
        prop_assert_eq!(Second::decode_fields(&first), Ok(expected));
        let tags = vec!["none".to_owned()];
        let expected = Third { id, name: name.clone(), limit: 100, tags: tags.clone() };
        prop_assert_eq!(Third::decode_fields(&first), Ok(expected));
        let second = written(|out| Second { id, name: name.clone(), limit }.encode_fields(out));
        prop_assert_eq!(Third::decode_fields(&second), Ok(Third { id, name, limit, tags }));
    }

    #[test]
    fn a_newer_writer_is_read_without_what_it_added(id: u64, name: String, limit: u32, tags: Vec<String>) {
        let third = written(|out| Third { id, name: name.clone(), limit, tags: tags.clone() }.encode_fields(out));
        prop_assert_eq!(Third::decode_fields(&third), Ok(Third { id, name: name.clone(), limit, tags }));
        prop_assert_eq!(Second::decode_fields(&third), Ok(Second { id, name: name.clone(), limit }));
        prop_assert_eq!(First::decode_fields(&third), Ok(First { id, name }));
    }

    #[test]
    fn any_bytes_are_a_struct_or_malformed(bytes: Vec<u8>) {
        let _ = Third::decode_fields(&bytes);
    }
}

#[test]
fn a_field_that_every_version_has_is_not_made_up() {
    assert_eq!(Second::decode_fields(&[0]), Err(Malformed));
    assert_eq!(Second::decode_fields(&[1, 7]), Err(Malformed));
    assert_eq!(Second::decode_fields(&[]), Err(Malformed));
    // Three fields are promised and two are there: that is a cut message, not an older writer's.
    assert_eq!(Second::decode_fields(&[3, 7, 1, b'n']), Err(Malformed));
}

#[test]
fn fields_beyond_the_count_are_not_read() {
    let bytes = [1, 7, 9];
    let mut fields = Fields::new(&bytes).expect("a count");
    assert_eq!(fields.next::<u64>(), Ok(Some(7)));
    assert_eq!(fields.next::<u64>(), Ok(None));
    assert_eq!(fields.required::<u64>(), Err(Malformed));
}

/// The structs of all messages, and whether a reader takes them for what they are.
fn structures() -> impl Iterator<Item = (Vector, Bytes)> {
    vectors::all().into_iter().filter(Vector::has_structure).map(|vector| {
        let structure = Bytes::copy_from_slice(super::body(vector.message.as_ref()).structure());
        (vector, structure)
    })
}

#[test]
fn every_message_tolerates_what_a_newer_writer_adds() {
    for (vector, structure) in structures() {
        assert!(structure[0] < 0x7f, "the count is one byte");
        let mut longer = structure.to_vec();
        longer[0] += 1;
        codec::put(&mut longer, "a field of tomorrow");
        assert!(vector.reads_as_itself(longer.into()), "{}", vector.name);
    }
}

#[test]
fn every_message_that_is_cut_anywhere_is_malformed() {
    for (vector, structure) in structures() {
        for length in 0..structure.len() {
            assert!(!vector.is_readable(structure.slice(..length)), "{} cut to {length}", vector.name);
        }
    }
}

#[test]
fn every_message_with_a_field_less_than_its_first_version_is_malformed() {
    for (vector, structure) in structures() {
        for count in 0..structure[0] - vector.later_fields {
            let mut fewer = structure.to_vec();
            fewer[0] = count;
            assert!(!vector.is_readable(fewer.into()), "{} with {count} fields", vector.name);
        }
    }
}
