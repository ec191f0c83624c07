//! What an experiment has found, for people and for programs: a table, lines of values, JSON, or a picture.

mod picture;
mod table;

pub use picture::{Axis, Figure, Panel, Series, Stroke};
pub use table::{Cell, Table};

use serde_json::json;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for a terminal.
    Table,
    /// One object.
    Json,
    /// The table's values, separated by commas.
    Csv,
    /// The picture.
    Svg,
}

/// What an experiment has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The experiment's name on the command line.
    pub experiment: &'static str,
    /// What was done, in a sentence or two.
    pub about: String,
    /// The figures.
    pub table: Table,
    /// The picture.
    pub figure: Figure,
    /// What several seeds come to together; without rows where there is one seed.
    pub summary: Table,
    /// What is not as it must be; empty where everything is.
    pub problems: Vec<String>,
    /// The command that does it again.
    pub replay: String,
}

impl Findings {
    /// Whether everything is as it must be.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// The findings in this form.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => {
                let problems: String = self.problems.iter().map(|problem| format!("  FAILED: {problem}\n")).collect();
                let verdict = if self.is_good() { "as it must be" } else { "not as it must be" };
                let summary =
                    if self.summary.rows.is_empty() { String::new() } else { format!("\n{}", self.summary.text()) };
                let Self { about, table, replay, .. } = self;
                format!("{about}\n\n{}{summary}\n{verdict}; again: {replay}\n{problems}", table.text())
            }
            Format::Csv => self.table.csv(),
            Format::Svg => self.figure.svg(),
            Format::Json => {
                let mut object = json!({
                    "experiment": self.experiment,
                    "about": self.about,
                    "good": self.is_good(),
                    "problems": self.problems,
                    "rows": self.table.json(),
                    "replay": self.replay,
                });
                if !self.summary.rows.is_empty() {
                    object["summary"] = self.summary.json();
                }
                format!("{object}\n")
            }
        }
    }
}

#[cfg(test)]
mod tests;
