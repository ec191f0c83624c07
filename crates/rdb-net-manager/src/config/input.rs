//! A value as somebody wrote it, with the place where it stands; and TOML text to such values.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// Text in messages is cut after this many characters.
const SHOWN_CHARS_MAX: usize = 60;

/// A value of any type, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// The text itself, where it was not written as TOML but may be read as such.
    literal: Option<Arc<str>>,
}

/// What TOML can say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Date,
    List(Vec<Input>),
    Table(Vec<Entry>),
}

/// A key of a table, where it stands, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) input: Input,
}

impl Entry {
    /// The name as a value of its own, for names that must be legal.
    pub(crate) fn name_input(&self) -> Input {
        Input { value: Value::Text(self.name.clone()), origin: self.origin.clone(), literal: None }
    }
}

impl Input {
    /// A value outside of a file: TOML if it reads as such, else text.
    pub(crate) fn literal(text: &str, origin: Origin) -> Self {
        let place = Place { origin: origin.clone(), text: None };
        let value = match DeValue::parse(text.trim()) {
            Ok(value) => place.value(value.get_ref()),
            Err(_) => Value::Text(text.to_owned()),
        };
        Self { value, origin, literal: Some(Arc::from(text)) }
    }

    /// The value as a text. Outside of a file nobody writes quotes around `7` where a name is expected.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => self.literal.as_deref(),
        }
    }

    /// What stands there, for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Boolean(value) => value.to_string(),
            Value::Integer(value) => format!("the whole number {value}"),
            Value::Float(value) => format!("the number {value:?}"),
            Value::Text(text) => format!("the text {:?}", shown(text)),
            Value::Date => String::from("a date"),
            Value::List(_) => String::from("a list"),
            Value::Table(_) => String::from("a table"),
        }
    }
}

/// The text, cut when it is long.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The top level of a file.
///
/// # Errors
///
/// Every syntax error and every key that stands twice; of errors on one line the first, because the others follow from it.
pub(crate) fn parse_document(path: &Arc<Path>, text: &str) -> Result<Vec<Entry>, Vec<ConfigError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let place = Place { origin: Origin::File { path: Arc::clone(path), line: 1, column: 1 }, text: Some(text) };
    if errors.is_empty() {
        return Ok(place.entries(table.get_ref()));
    }
    let mut found: Vec<ConfigError> = Vec::new();
    for error in &errors {
        let start = error.span().map_or(text.len(), |span| span.start);
        let at = place.at(start);
        if found.last().and_then(ConfigError::origin).map(line) == Some(line(&at)) {
            continue;
        }
        found.push(if error.message().starts_with("duplicate key") {
            let key = key_at(text, start);
            let first = place.first_line_of(table.get_ref(), &key, start);
            ConfigError::DuplicateKey { at, key, first }
        } else {
            ConfigError::Syntax { at, problem: syntax_problem(text, start, error.message()) }
        });
    }
    Err(found)
}

/// What the parser says, or better where a word stands behind an equals sign.
fn syntax_problem(text: &str, start: usize, message: &str) -> String {
    let (before, from) = (text.get(..start).unwrap_or_default(), text.get(start..).unwrap_or_default());
    let is_word = from.starts_with(|c: char| c.is_alphabetic() || c == '/') && before.trim_end().ends_with('=');
    if is_word {
        return String::from("a text stands in quotes");
    }
    message.strip_suffix(", expected nothing").unwrap_or(message).to_owned()
}

fn line(origin: &Origin) -> usize {
    if let Origin::File { line, .. } = origin { *line } else { 0 }
}

/// The whole key of which a part stands at this byte: the table's header before it, the left side of the line, and for an
/// inline table the name within it.
fn key_at(text: &str, byte: usize) -> String {
    let line_start = text[..byte].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let header = |line: &str| {
        let inside = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
        Some(inside.split(']').next().unwrap_or_default().trim().to_owned())
    };
    if let Some(header) = header(line) {
        return header;
    }
    let (left, _) = line.split_once('=').unwrap_or((line, ""));
    let mut parts: Vec<String> = text[..line_start].lines().rev().find_map(header).into_iter().collect();
    parts.push(left.trim().to_owned());
    if byte > line_start + left.len() {
        let name = text[byte..].split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or_default();
        parts.push(name.to_owned());
    }
    parts.join(".")
}

/// Turns the parser's spans into places.
struct Place<'a> {
    /// Where the whole text stands.
    origin: Origin,
    /// The text of a file; `None` for a literal, whose parts all stand at one place.
    text: Option<&'a str>,
}

impl Place<'_> {
    /// The place of a byte. One within a character counts as its beginning, one beyond the end as the end.
    fn at(&self, byte: usize) -> Origin {
        let (Some(text), Origin::File { path, .. }) = (self.text, &self.origin) else { return self.origin.clone() };
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        Origin::File { path: Arc::clone(path), line, column }
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let entry = |(key, value): (&toml::Spanned<Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| Entry {
            name: key.get_ref().clone().into_owned(),
            origin: self.at(key.span().start),
            input: self.input(value),
        };
        table.iter().map(entry).collect()
    }

    fn input(&self, value: &toml::Spanned<DeValue<'_>>) -> Input {
        Input { value: self.value(value.get_ref()), origin: self.at(value.span().start), literal: None }
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::Boolean(value) => Value::Boolean(*value),
            // A number that is too large for this is out of every range.
            DeValue::Integer(digits) => {
                Value::Integer(i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.input(item)).collect()),
            DeValue::Table(table) => Value::Table(self.entries(table)),
        }
    }

    /// The line of an earlier key of the same name. The parser keeps the first of two keys, but the last of two tables.
    fn first_line_of(&self, table: &DeTable<'_>, key: &str, second: usize) -> Option<usize> {
        let (parent, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = table;
        for part in parent.split('.').filter(|part| !part.is_empty()) {
            table = table.get(part)?.get_ref().as_table()?;
        }
        let (first, _) = table.get_key_value(name)?;
        (first.span().start < second).then(|| line(&self.at(first.span().start)))
    }
}
