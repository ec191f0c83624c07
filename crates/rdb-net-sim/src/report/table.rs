//! Figures in rows and columns.

use std::fmt::Write;

use serde_json::Value;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A word.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number, shown with so many digits after the point.
    Number(f64, usize),
    /// There is none.
    None,
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number, digits) => format!("{number:.digits$}"),
            Self::None => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Count(count) => Value::from(*count),
            Self::Number(number, _) => Value::from(*number),
            Self::None => Value::Null,
        }
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

/// Rows of figures under the names of their columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What each column is, unit included.
    pub columns: Vec<&'static str>,
    /// As many cells as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// For a terminal: columns as wide as they need to be, figures to the right.
    pub fn text(&self) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let width = |column: usize| {
            let own = cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            own.unwrap_or(0).max(self.columns.get(column).map_or(0, |name| name.chars().count()))
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            let _ = writeln!(text, "{}", padded.join("  "));
        };
        line(&self.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        cells.iter().for_each(|row| line(row));
        text
    }

    /// One line for the names and one for each row. A cell with a comma, a quote or a line's end is quoted (RFC 4180).
    pub fn csv(&self) -> String {
        let line = |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n";
        let names = line(self.columns.iter().map(|name| (*name).to_owned()).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().map(Cell::text).collect()));
        names + &rows.collect::<String>()
    }

    /// An object for each row, by the names of the columns.
    pub fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(pairs.collect())
        };
        Value::Array(self.rows.iter().map(row).collect())
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}
