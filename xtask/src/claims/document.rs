//! A Markdown file as the check of claims sees it: the evidence that it names, where that is used, and the claims without.
//!
//! Evidence is a link definition whose title says what shows the claim:
//!
//! ```text
//! [killed]: tests/tests/cluster.rs "test rdb-net-tests::cluster a_kill_is_noticed"
//! [profiles]: xtask/src/features.rs "cargo xtask features"
//! ```
//!
//! A claim is a sentence with a reference behind it: `A killed process is noticed. [test][killed]`. Under a heading that
//! `<!-- claims -->` follows, every sentence and every row of a table needs one.

use std::collections::BTreeSet;

/// Stands behind the heading of a section in which every sentence is a claim.
const MARK: &str = "<!-- claims -->";

/// What shows a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A test, by the name of its program and its path.
    Test { program: String, path: String },
    /// A command, by its words.
    Command(Vec<String>),
}

/// A link definition that names evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub line: usize,
    pub label: String,
    /// The file that the reader of the page gets to see, from the folder of the document.
    pub file: String,
    pub evidence: Evidence,
}

/// Something that is wrong at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: usize,
    pub text: String,
}

/// What a file claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub definitions: Vec<Definition>,
    /// How many claims have evidence.
    pub claims_count: usize,
    /// How many sections have only claims.
    pub sections_count: usize,
    pub faults: Vec<Fault>,
}

/// A paragraph, an item of a list, or a row of a table, with its first line.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    text: String,
    /// Whether every sentence of it is a claim.
    strict: bool,
}

impl Block {
    fn is_row(&self) -> bool {
        self.text.starts_with('|')
    }
}

/// Reads a file.
pub(super) fn parse(text: &str) -> Document {
    let mut document = Document::default();
    for (line, content) in unfenced(text) {
        match definition(line, content) {
            Some(Ok(found)) => document.define(found),
            Some(Err(fault)) => document.faults.push(fault),
            None => {}
        }
    }
    let labels: BTreeSet<String> = document.definitions.iter().map(|found| found.label.clone()).collect();
    let mut used = BTreeSet::new();
    let (blocks, sections_count) = blocks(text);
    document.sections_count = sections_count;
    for block in &blocks {
        let claim = Claim::of(&block.text, &labels);
        used.extend(claim.labels.iter().cloned());
        document.claims_count += claim.pieces.len();
        if block.strict {
            let fault = |text| Fault { line: block.line, text };
            document.faults.extend(claim.faults(block.is_row()).into_iter().map(fault));
        }
    }
    for found in document.definitions.iter().filter(|found| !used.contains(&found.label)) {
        document.faults.push(Fault { line: found.line, text: format!("[{}] shows no claim", found.label) });
    }
    document.faults.sort_by_key(|fault| fault.line);
    document
}

impl Document {
    fn define(&mut self, found: Definition) {
        if self.definitions.iter().any(|other| other.label == found.label) {
            self.faults.push(Fault { line: found.line, text: format!("[{}] is defined twice", found.label) });
        } else {
            self.definitions.push(found);
        }
    }
}

/// The lines of a file with their numbers; each block of code is one empty line.
fn unfenced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        let shown = if fence { "" } else { line };
        let skipped = fenced && !fence;
        fenced ^= fence;
        (!skipped).then_some((index + 1, shown))
    })
}

/// Reads `[label]: file "title"`; `None` for other lines, and for definitions whose titles name no evidence.
fn definition(line: usize, content: &str) -> Option<Result<Definition, Fault>> {
    let (label, rest) = content.strip_prefix('[')?.split_once("]: ")?;
    let (file, title) = rest.split_once(' ')?;
    let title = title.trim().strip_prefix('"')?.strip_suffix('"')?;
    let words: Vec<String> = title.split_whitespace().map(str::to_owned).collect();
    let evidence = match words.first()?.as_str() {
        "cargo" => Evidence::Command(words),
        "test" => {
            let [_, program, path] = words.as_slice() else {
                let text = format!("[{label}] names no test: \"test PROGRAM PATH\", and not {title:?}");
                return Some(Err(Fault { line, text }));
            };
            Evidence::Test { program: program.clone(), path: path.clone() }
        }
        _ => return None,
    };
    Some(Ok(Definition { line, label: label.to_owned(), file: file.to_owned(), evidence }))
}

/// The blocks of a file outside of code, headings, comments and definitions; and how many sections are marked.
fn blocks(text: &str) -> (Vec<Block>, usize) {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut open, mut sections_count) = (false, 0);
    let (mut level, mut strict_level): (usize, Option<usize>) = (0, None);
    for (line, content) in unfenced(text) {
        let content = content.trim();
        let was_open = std::mem::take(&mut open);
        if content.is_empty() || definition_like(content) {
            continue;
        }
        if content.starts_with('#') {
            level = content.chars().take_while(|character| *character == '#').count();
            strict_level = strict_level.filter(|strict| *strict < level);
        } else if content == MARK {
            (strict_level, sections_count) = (Some(level), sections_count + 1);
        } else if !content.starts_with("<!--") {
            let goes_on = was_open && !content.starts_with('|') && item(content).is_none();
            match blocks.last_mut().filter(|_| goes_on) {
                Some(block) => {
                    block.text.push(' ');
                    block.text.push_str(content);
                }
                None => {
                    let text = item(content).unwrap_or(content).to_owned();
                    blocks.push(Block { line, text, strict: strict_level.is_some() });
                }
            }
            open = true;
        }
    }
    drop_table_heads(&mut blocks);
    (blocks, sections_count)
}

/// A link definition of any kind: it is no text.
fn definition_like(content: &str) -> bool {
    content.strip_prefix('[').and_then(|rest| rest.split_once(']')).is_some_and(|(_, rest)| rest.starts_with(": "))
}

/// The text of an item of a list.
fn item(content: &str) -> Option<&str> {
    let numbered = || {
        let (number, rest) = content.split_once(". ")?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
    };
    content.strip_prefix("- ").or_else(|| content.strip_prefix("* ")).or_else(numbered)
}

/// Takes out the lines `|---|---|` and the heads before them.
fn drop_table_heads(blocks: &mut Vec<Block>) {
    let is_rule = |block: &Block| block.is_row() && block.text.bytes().all(|byte| b"|-: ".contains(&byte));
    while let Some(rule) = blocks.iter().position(is_rule) {
        let head = rule.saturating_sub(1);
        blocks.drain(head..=rule);
    }
}

/// A block cut at its references.
#[derive(Debug, Default)]
struct Claim {
    /// The pieces of text, each with evidence behind it.
    pieces: Vec<String>,
    /// What stands behind the last evidence.
    rest: String,
    labels: Vec<String>,
    /// Labels of references that are defined nowhere in the file.
    undefined: Vec<String>,
}

impl Claim {
    fn of(text: &str, labels: &BTreeSet<String>) -> Self {
        let text = without_code(text);
        let mut claim = Self::default();
        let mut rest = text.as_str();
        let mut piece = String::new();
        while let Some((start, end, label)) = reference(rest) {
            if !labels.contains(label) {
                claim.undefined.push(label.to_owned());
                piece.push_str(&rest[..end]);
            } else {
                piece.push_str(&rest[..start]);
                claim.labels.push(label.to_owned());
                // Several references behind one sentence are one piece.
                let piece = std::mem::take(&mut piece);
                if has_words(&piece) {
                    claim.pieces.push(piece);
                }
            }
            rest = &rest[end..];
        }
        claim.rest = piece + rest;
        claim
    }

    /// What is wrong with a block in which everything is a claim.
    fn faults(&self, is_row: bool) -> Vec<String> {
        let mut faults: Vec<String> =
            self.undefined.iter().map(|label| format!("[{label}] is defined nowhere as evidence")).collect();
        if is_row {
            if self.labels.is_empty() {
                faults.push(format!("a row without evidence: {}", shortened(&self.rest)));
            }
            return faults;
        }
        for piece in &self.pieces {
            let sentences = sentences(piece);
            for sentence in &sentences[..sentences.len().saturating_sub(1)] {
                faults.push(format!("a claim without evidence: {}", shortened(sentence)));
            }
        }
        // What leads to a list or to code claims nothing.
        let leads = self.pieces.is_empty() && self.rest.trim_end().ends_with(':') && sentences(&self.rest).len() == 1;
        if has_words(&self.rest) && !leads {
            faults.push(format!("a claim without evidence: {}", shortened(&self.rest)));
        }
        faults
    }
}

/// The first `[text][label]`: where it starts and ends, and its label.
fn reference(text: &str) -> Option<(usize, usize, &str)> {
    let mut from = 0;
    loop {
        let middle = from + text[from..].find("][")?;
        let end = middle + 2 + text[middle + 2..].find(']')?;
        if let Some(start) = text[..middle].rfind('[') {
            return Some((start, end + 1, &text[middle + 2..end]));
        }
        from = middle + 2;
    }
}

/// Replaces code spans, which may hold brackets and full stops of their own.
fn without_code(text: &str) -> String {
    text.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "code" }).collect()
}

fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Cuts at each full stop, question mark or exclamation mark with a blank behind it.
fn sentences(text: &str) -> Vec<&str> {
    let pieces = text.split_inclusive(['.', '?', '!']);
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for piece in pieces {
        end += piece.len();
        if text[end..].starts_with(' ') && has_words(&text[end..]) {
            sentences.push(text[start..end].trim());
            start = end;
        }
    }
    sentences.push(text[start..].trim());
    sentences
}

fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let text = text.trim();
    let cut = text.char_indices().nth(CHARACTERS_MAX).map(|(at, _)| format!("{}...", &text[..at]));
    cut.unwrap_or_else(|| text.to_owned())
}
