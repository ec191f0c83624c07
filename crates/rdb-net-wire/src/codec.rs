//! Structs that can grow: the one encoding of every body.
//!
//! A struct is its field count as a varint, then each top-level field in postcard. Only the top level grows, and only at its
//! end: a reader takes the fields that it knows, gives defaults to those that an older writer did not send, and leaves those
//! that a newer writer sent behind them. Nested structs are frozen.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// Appends a field. Encoding plain data into memory does not fail.
pub(crate) fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, field: &T) {
    let appended = postcard::serialize_with_flavor(field, Appender(out));
    appended.expect("plain data with known lengths encodes into memory");
}

/// Appends a sequence of numbers, as [`put`] does a vector of them. There are thousands in a message, and postcard copies each.
pub(crate) fn put_numbers(out: &mut Vec<u8>, numbers: impl ExactSizeIterator<Item = u64>) {
    put_number(out, numbers.len() as u64);
    numbers.for_each(|number| put_number(out, number));
}

/// A varint: seven bits a byte, the lowest first, and a bit that says that there are more.
#[inline]
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads the fields of a struct one by one.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    remaining: u32,
}

/// The struct cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Fields<'a> {
    /// Reads the field count. Bytes behind the last known field are a newer writer's, and are left alone.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (remaining, rest) = postcard::take_from_bytes(bytes).map_err(|_| Malformed)?;
        Ok(Self { rest, remaining })
    }

    /// The next field, `None` where an older writer did not send it.
    pub(crate) fn next<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, Malformed> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let (field, rest) = postcard::take_from_bytes(self.rest).map_err(|_| Malformed)?;
        self.rest = rest;
        self.remaining -= 1;
        Ok(Some(field))
    }

    /// The next field, which every version has.
    pub(crate) fn required<T: Deserialize<'a>>(&mut self) -> Result<T, Malformed> {
        self.next()?.ok_or(Malformed)
    }
}

/// Writes `encode_fields` and `decode_fields` of a struct: the fields that every version has, then those that came later,
/// each with what a message of an older writer gets.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? $(; $($later:ident = $default:expr),* $(,)?)? }) => {
        impl $name {
            pub(crate) fn encode_fields(&self, out: &mut Vec<u8>) {
                let fields: &[&str] = &[$(stringify!($field),)* $($(stringify!($later),)*)?];
                $crate::codec::put(out, &(fields.len() as u32));
                $($crate::codec::put(out, &self.$field);)*
                $($($crate::codec::put(out, &self.$later);)*)?
            }

            pub(crate) fn decode_fields(bytes: &[u8]) -> Result<Self, $crate::codec::Malformed> {
                let mut fields = $crate::codec::Fields::new(bytes)?;
                Ok(Self {
                    $($field: fields.required()?,)*
                    $($($later: match fields.next()? {
                        Some(value) => value,
                        None => $default,
                    },)*)?
                })
            }
        }
    };
}

pub(crate) use wire_struct;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_a_vector_of_them_is() {
        let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]).chain([u64::MAX]);
        let edges: Vec<u64> = edges.collect();
        for count in [0, 1, 127, 128, edges.len()] {
            let numbers: Vec<u64> = edges.iter().copied().cycle().take(count).collect();
            let (mut one, mut other) = (vec![7], vec![7]);
            put(&mut one, &numbers);
            put_numbers(&mut other, numbers.iter().copied());
            assert_eq!(one, other);
        }
    }
}
