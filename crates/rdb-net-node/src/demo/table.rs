//! The demo's database: a made-up table, cut into one partition for each node, and the queries that it answers.
//!
//! Every value follows from its key, so whoever knows which partitions answered can compute the exact answer.

use std::str::FromStr;

use bytes::Bytes;
use rdb_net_types::Tuple;

/// How many rows all partitions have together.
const ROWS: u64 = 2_000;
/// The largest value of a row.
const VALUE_MAX: u64 = 1_000;
/// Bytes of a row and of a number in an answer: little-endian words.
const WORD_BYTES: usize = 8;

/// A key with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Row(pub(crate) u64, pub(crate) u64);

/// Which part of the table a node owns: `2/5` is the second of five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    number: u64,
    of: u64,
}

impl Partition {
    /// The partition of this number, from 1 to `of`.
    pub(crate) fn new(number: usize, of: usize) -> Option<Self> {
        (1..=of).contains(&number).then_some(Self { number: number as u64, of: of as u64 })
    }

    /// The rows whose keys hash to this partition, by ascending key.
    pub(crate) fn rows(self) -> Vec<Row> {
        let owned = (0..ROWS).filter(|key| mixed(*key) % self.of == self.number - 1);
        owned.map(|key| Row(key, 1 + mixed(!key) % VALUE_MAX)).collect()
    }

    /// Its number as the fragment of a query.
    pub(crate) fn fragment(self) -> u32 {
        self.number as u32
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let partition = parts.and_then(|(number, of)| Self::new(number, of));
        partition.ok_or_else(|| "a partition is its number and how many there are, such as 2/5".to_owned())
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): near keys
/// get far hashes.
fn mixed(key: u64) -> u64 {
    let mut hash = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Count,
    Sum,
    Max,
    Select,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filter {
    modulus: u64,
    remainder: u64,
}

/// A query: `count`, `sum`, `max` or `select`, over all rows or `where key % 7 = 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    operation: Operation,
    filter: Option<Filter>,
}

/// A text that is no query.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no query: `count`, `sum`, `max` or `select`, then nothing or `where key % 7 = 3`")]
pub(crate) struct QueryError(String);

/// An answer's rows that are not those of the query.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows of the answer are not those of the query")]
pub(crate) struct AnswerError;

/// What a query answers, for a partition or for several.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// One number; 0 over no rows.
    Number(u64),
    /// Rows by ascending key.
    Rows(Vec<Row>),
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let wrong = || QueryError(text.to_owned());
        let (operation, condition) = words.split_first().ok_or_else(wrong)?;
        let operation = match *operation {
            "count" => Operation::Count,
            "sum" => Operation::Sum,
            "max" => Operation::Max,
            "select" => Operation::Select,
            _ => return Err(wrong()),
        };
        let filter = match *condition {
            [] => None,
            ["where", "key", "%", modulus, "=", remainder] => {
                let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
                let filter = Filter { modulus: number(modulus)?, remainder: number(remainder)? };
                Some(Some(filter).filter(|filter| filter.modulus > 0).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
        Ok(Self { operation, filter })
    }
}

impl Query {
    /// The text of the query of this number: each operation in turn, over changing rows.
    pub(crate) fn text(number: u64) -> String {
        match number % 4 {
            0 => "sum".to_owned(),
            1 => format!("select where key % 7 = {}", number % 7),
            2 => format!("count where key % 11 = {}", number % 11),
            _ => format!("max where key % 13 = {}", number % 13),
        }
    }

    /// The answer over these rows.
    pub(crate) fn run<'a>(self, rows: impl IntoIterator<Item = &'a Row>) -> Answer {
        let fits = |row: &&Row| self.filter.is_none_or(|filter| row.0 % filter.modulus == filter.remainder);
        let rows = rows.into_iter().filter(fits);
        match self.operation {
            Operation::Count => Answer::Number(rows.count() as u64),
            Operation::Sum => Answer::Number(rows.map(|row| row.1).sum()),
            Operation::Max => Answer::Number(rows.map(|row| row.1).max().unwrap_or(0)),
            Operation::Select => {
                let mut rows: Vec<Row> = rows.copied().collect();
                rows.sort_unstable();
                Answer::Rows(rows)
            }
        }
    }

    /// The answers of several partitions as one.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when one of them is no answer to this query.
    pub(crate) fn merge(self, answers: impl IntoIterator<Item = Answer>) -> Result<Answer, AnswerError> {
        let mut merged = self.run([]);
        for answer in answers {
            match (&mut merged, answer) {
                (Answer::Number(all), Answer::Number(one)) if self.operation == Operation::Max => *all = one.max(*all),
                (Answer::Number(all), Answer::Number(one)) => *all += one,
                (Answer::Rows(all), Answer::Rows(rows)) => all.extend(rows),
                _ => return Err(AnswerError),
            }
        }
        if let Answer::Rows(rows) = &mut merged {
            rows.sort_unstable();
        }
        Ok(merged)
    }

    /// Reads the rows of a response.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when they are no answer to this query.
    pub(crate) fn read(self, tuples: &[Tuple]) -> Result<Answer, AnswerError> {
        let row = |tuple: &Tuple| match words(&tuple.0)[..] {
            [key, value] => Ok(Row(key, value)),
            _ => Err(AnswerError),
        };
        match (self.operation, tuples) {
            (Operation::Select, tuples) => Ok(Answer::Rows(tuples.iter().map(row).collect::<Result<_, _>>()?)),
            (_, [number]) => match words(&number.0)[..] {
                [number] => Ok(Answer::Number(number)),
                _ => Err(AnswerError),
            },
            _ => Err(AnswerError),
        }
    }
}

impl Answer {
    /// The answer as the rows of a response.
    pub(crate) fn tuples(&self) -> Vec<Tuple> {
        let tuple = |words: &[u64]| Tuple(words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into());
        match self {
            Self::Number(number) => vec![tuple(&[*number])],
            Self::Rows(rows) => rows.iter().map(|row| tuple(&[row.0, row.1])).collect(),
        }
    }
}

/// The words of a tuple; none where its length is not a multiple of a word's.
fn words(tuple: &Bytes) -> Vec<u64> {
    let (words, rest) = tuple.as_chunks::<WORD_BYTES>();
    if rest.is_empty() { words.iter().map(|word| u64::from_le_bytes(*word)).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests;
