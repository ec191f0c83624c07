//! Types that a key can have: how each is read, and how it is written as TOML.
//!
//! A value that is wrong is reported with the place of the very element that is wrong, and everything that is wrong in a
//! list is reported at once.

use std::path::PathBuf;
use std::time::Duration;

use rdb_net_types::nearest_name;

use super::error::{ConfigError, Origin};
use super::input::{Input, Value, shown};
use super::key::{Key, Range};

/// The type of a key's field.
pub(super) trait Entry: Sized {
    /// The type for people, with its article.
    const KIND: &'static str;

    /// The value as TOML; `None` where it is not set.
    fn write(&self) -> Option<String>;

    /// The value of an input; `None` when it was reported as wrong.
    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Reads for one key, and takes down what is wrong.
pub(super) struct Reader<'a> {
    key: &'static Key,
    /// Which element of the key's list or table is being read: `.node1`, `[2]`.
    element: String,
    errors: &'a mut Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(key: &'static Key, errors: &'a mut Vec<ConfigError>) -> Self {
        Self { key, element: String::new(), errors }
    }

    /// Reads an element of the key's list or table.
    pub(super) fn element<T>(&mut self, element: String, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.element = element;
        let value = read(self);
        self.element.clear();
        value
    }

    fn place(&self, input: &Input) -> (Origin, String) {
        (input.origin.clone(), format!("{}{}", self.key.path, self.element))
    }

    pub(super) fn wrong_type<T>(&mut self, input: &Input, expected: &'static str) -> Option<T> {
        let (at, key) = self.place(input);
        let example = format!("{} = {}", self.key.name(), self.key.example);
        self.errors.push(ConfigError::WrongType { at, key, expected, found: input.describe(), example });
        None
    }

    pub(super) fn out_of_range<T>(&mut self, input: &Input, value: impl ToString) -> Option<T> {
        let (at, key) = self.place(input);
        let range = self.key.range.to_string();
        self.errors.push(ConfigError::OutOfRange { at, key, value: value.to_string(), range });
        None
    }

    pub(super) fn illegal<T>(&mut self, input: &Input, problem: impl ToString) -> Option<T> {
        let (at, key) = self.place(input);
        self.errors.push(ConfigError::Illegal { at, key, problem: problem.to_string() });
        None
    }

    pub(super) fn not_built<T>(&mut self, input: &Input, problem: impl ToString) -> Option<T> {
        let (at, key) = self.place(input);
        self.errors.push(ConfigError::NotBuilt { at, key, problem: problem.to_string() });
        None
    }

    /// A name that is none of the known ones.
    pub(super) fn unknown_name<T>(&mut self, input: &Input, name: &str, known: &[&str]) -> Option<T> {
        let meant = nearest_name(name, known.iter().copied());
        let hint = meant.map(|meant| format!("did you mean {meant:?}? ")).unwrap_or_default();
        let known = known.join(", ");
        self.illegal(input, format!("{:?} is not known; {hint}known are {known}", shown(name)))
    }

    pub(super) fn text<'i>(&mut self, input: &'i Input, expected: &'static str) -> Option<&'i str> {
        let text = match input.text() {
            Some(text) => text,
            None => return self.wrong_type(input, expected),
        };
        match self.key.range {
            Range::Length(bytes) if text.len() > bytes => self.out_of_range(input, format!("{:?}", shown(text))),
            _ => Some(text),
        }
    }

    pub(super) fn whole(&mut self, input: &Input) -> Option<i64> {
        let Value::Integer(value) = input.value else { return self.wrong_type(input, "a whole number") };
        let (min, max) = match self.key.range {
            Range::Whole { min, max, .. } => (min, max),
            _ => (i64::MIN, i64::MAX),
        };
        match i64::try_from(value) {
            Ok(value) if (min..=max).contains(&value) => Some(value),
            _ => self.out_of_range(input, value),
        }
    }

    pub(super) fn number(&mut self, input: &Input) -> Option<f64> {
        let value = match input.value {
            Value::Float(value) => value,
            Value::Integer(value) => value as f64,
            _ => return self.wrong_type(input, "a number"),
        };
        match self.key.range {
            Range::Number { min, max } if !(min..=max).contains(&value) => self.out_of_range(input, value),
            _ => Some(value),
        }
    }

    /// A list or table that is not too long.
    pub(super) fn bounded<'i, T>(&mut self, input: &Input, entries: &'i [T]) -> Option<&'i [T]> {
        match self.key.range {
            Range::Entries(max) if entries.len() > max => {
                self.out_of_range(input, format!("the number of entries, {},", entries.len()))
            }
            _ => Some(entries),
        }
    }
}

/// A text as a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Entry for bool {
    const KIND: &'static str = "true or false";

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        match input.value {
            Value::Boolean(value) => Some(value),
            _ => reader.wrong_type(input, Self::KIND),
        }
    }
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Entry for $type {
            const KIND: &'static str = "a whole number";

            fn write(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
                let value = reader.whole(input)?;
                Self::try_from(value).ok().or_else(|| reader.out_of_range(input, value))
            }
        }
    )+};
}

whole_number!(u8, u16, u32, u64, usize, i32);

/// Whole milliseconds.
impl Entry for Duration {
    const KIND: &'static str = "a whole number";

    fn write(&self) -> Option<String> {
        Some(self.as_millis().to_string())
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        u64::read(input, reader).map(Self::from_millis)
    }
}

/// The credits of the four lanes. The System lane's is fixed; the others have the same.
impl Entry for [u64; 4] {
    const KIND: &'static str = "a whole number";

    fn write(&self) -> Option<String> {
        self[1].write()
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let credit = u64::read(input, reader)?;
        let [system, ..] = rdb_net_session::Config::default().lane_credit_bytes;
        Some([system, credit, credit, credit])
    }
}

impl Entry for String {
    const KIND: &'static str = "a text";

    fn write(&self) -> Option<String> {
        Some(quoted(self))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(input, Self::KIND).map(str::to_owned)
    }
}

/// A relative path in a file starts at the file's folder, anywhere else at the working directory.
impl Entry for PathBuf {
    const KIND: &'static str = "a path";

    fn write(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(input, Self::KIND)?;
        if text.is_empty() {
            return reader.illegal(input, "a path may not be empty");
        }
        match &input.origin {
            Origin::File { path, .. } => {
                Some(path.parent().map_or_else(|| Self::from(text), |folder| folder.join(text)))
            }
            _ => Some(Self::from(text)),
        }
    }
}

impl<T: Entry> Entry for Option<T> {
    const KIND: &'static str = T::KIND;

    fn write(&self) -> Option<String> {
        self.as_ref().and_then(T::write)
    }

    fn read(input: &Input, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(input, reader).map(Some)
    }
}
