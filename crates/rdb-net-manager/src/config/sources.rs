//! The layers: a file, environment variables, overrides. Each turns text into values by key, and takes down what it finds
//! that is no key.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rdb_net_types::nearest_name;

use super::error::{ConfigError, Origin};
use super::input::{self, Entry, Input, Value, shown};
use super::key::Key;
use super::keys::{KEYS, SECTIONS};

/// A larger file is no configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const VARIABLE_PREFIX: &str = "RUSTYDB_NETWORKING__";

/// What the layers said, earlier layers first, and what was wrong.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) values: Vec<(&'static Key, Input)>,
    pub(super) errors: Vec<ConfigError>,
    /// A layer could not be read at all: what is missing may stand in it.
    pub(super) is_partial: bool,
}

/// The text of a file, or why there is none.
fn read_text(path: &Path) -> Result<String, String> {
    let system = |error: std::io::Error| format!("the file cannot be read: {error}");
    let mut bytes = Vec::new();
    File::open(path).map_err(system)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file has more than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("line {} is not UTF-8", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}

impl Collected {
    /// A file.
    pub(super) fn file(&mut self, path: &Path, shared: bool) {
        match read_text(path) {
            Ok(text) => self.document(&Arc::from(path), &text, shared),
            Err(problem) => {
                self.errors.push(ConfigError::Unreadable { path: path.to_owned(), problem });
                self.is_partial = true;
            }
        }
    }

    /// A file's text. `shared`: tables beside `[networking]` belong to somebody else.
    pub(super) fn document(&mut self, path: &Arc<Path>, text: &str, shared: bool) {
        match input::parse_document(path, text) {
            Err(errors) => {
                self.errors.extend(errors);
                self.is_partial = true;
            }
            Ok(entries) if shared => {
                let is_foreign = |entry: &Entry| matches!(entry.input.value, Value::Table(_)) && !is_meant(&entry.name);
                let ours: Vec<_> = entries.into_iter().filter(|entry| !is_foreign(entry)).collect();
                self.table("", &ours);
            }
            Ok(entries) => self.table("", &entries),
        }
    }

    fn table(&mut self, section: &str, entries: &[Entry]) {
        for entry in entries {
            let path = if section.is_empty() { entry.name.clone() } else { format!("{section}.{}", entry.name) };
            // A quoted key may hold dots, and is then no path.
            let is_plain = !entry.name.contains('.');
            if let Some(key) = Key::find(&path).filter(|_| is_plain) {
                self.values.push((key, entry.input.clone()));
            } else if is_plain && is_table(&path) {
                match &entry.input.value {
                    Value::Table(entries) => self.table(&path, entries),
                    _ => self.errors.push(ConfigError::WrongType {
                        at: entry.input.origin.clone(),
                        key: path.clone(),
                        expected: "a table",
                        found: entry.input.describe(),
                        example: format!("[{path}]"),
                    }),
                }
            } else if is_plain {
                self.unknown(section, &entry.name, path, entry.origin.clone());
            } else {
                let nearest = Key::find(&path).map(|key| key.path.to_owned());
                let hint = nearest.as_ref().map(|path| format!("; did you mean {path} without quotes?"));
                let key = format!("\"{}\"", shown(&entry.name));
                self.errors.push(ConfigError::UnknownKey { at: entry.origin.clone(), key, nearest, hint });
            }
        }
    }

    fn unknown(&mut self, section: &str, name: &str, path: String, at: Origin) {
        let known: BTreeSet<&str> = children(section).collect();
        let near = nearest_name(name, known.iter().copied());
        let near = near.map(|near| if section.is_empty() { near.to_owned() } else { format!("{section}.{near}") });
        // Else a key in the wrong table: without its header, or below another one.
        let elsewhere = || KEYS.iter().find(|key| key.name() == name).map(|key| key.path.to_owned());
        let elsewhere_table = || SECTIONS.iter().find(|(known, _)| known.ends_with(&format!(".{name}")));
        let meant = near.or_else(elsewhere).or_else(|| elsewhere_table().map(|(known, _)| (*known).to_owned()));
        let hint = match &meant {
            Some(meant) => format!("; did you mean {meant}?"),
            None if section.is_empty() => String::from("; everything stands below [networking]"),
            None => format!("; [{section}] has {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let key = shown(&path).into_owned();
        self.errors.push(ConfigError::UnknownKey { at, key, nearest: meant, hint: Some(hint) });
    }

    /// An environment variable. Those of others are passed over.
    pub(super) fn variable(&mut self, name: &str, value: &str) {
        if !is_ours(name) {
            return;
        }
        let origin = Origin::Environment(Arc::from(name));
        if let Some(key) = KEYS.iter().find(|key| key.environment_name() == name) {
            self.values.push((key, Input::literal(value, origin)));
            return;
        }
        let meant = match name.strip_prefix(VARIABLE_PREFIX) {
            Some(rest) => nearest_path(&rest.replace("__", ".")),
            // One underscore between the parts, or small letters.
            None => KEYS.iter().find(|key| collapsed(&key.environment_name()) == collapsed(name)),
        };
        let path = name.strip_prefix("RUSTYDB_").unwrap_or(name).replace("__", ".").to_ascii_lowercase();
        let hint = match meant {
            Some(meant) => format!("; did you mean {}?", meant.environment_name()),
            None => String::from(
                "; two underscores stand between the parts of a key, as in RUSTYDB_NETWORKING__TLS__CERT_PATH",
            ),
        };
        let nearest = meant.map(|key| key.path.to_owned());
        self.errors.push(ConfigError::UnknownKey {
            at: origin,
            key: shown(&path).into_owned(),
            nearest,
            hint: Some(hint),
        });
    }

    /// An environment variable of ours whose value is no text.
    pub(super) fn unreadable_variable(&mut self, name: &str) {
        if name.starts_with(VARIABLE_PREFIX) {
            let at = Origin::Environment(Arc::from(name));
            self.errors.push(ConfigError::Syntax { at, problem: String::from("the value is not UTF-8") });
        }
    }

    /// An override `key=value`.
    pub(super) fn assignment(&mut self, text: &str) {
        let at = Origin::Override(Arc::from(text));
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            let problem = String::from("an override is key=value, such as networking.max_connections=50");
            self.errors.push(ConfigError::Syntax { at, problem });
            return;
        };
        let path = name.trim();
        let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
        if let Some(key) = Key::find(path) {
            self.values.push((key, Input::literal(value.trim(), at)));
        } else if is_table(path) {
            let hint = Some(format!("; it is a table with {}", children(path).collect::<Vec<_>>().join(", ")));
            self.errors.push(ConfigError::UnknownKey { at, key: path.to_owned(), nearest: None, hint });
        } else if is_table(section) || section.is_empty() {
            self.unknown(section, name, path.to_owned(), at);
        } else {
            let nearest = path.strip_prefix("networking.").and_then(nearest_path).map(|key| key.path.to_owned());
            let hint = nearest.as_ref().map(|meant| format!("; did you mean {meant}?"));
            self.errors.push(ConfigError::UnknownKey { at, key: shown(path).into_owned(), nearest, hint });
        }
    }
}

/// Whether a table at the top of a file is ours, or was meant to be.
fn is_meant(name: &str) -> bool {
    nearest_name(name, ["networking"]).is_some()
}

fn is_table(path: &str) -> bool {
    SECTIONS.iter().any(|(known, _)| *known == path)
}

/// The key whose whole name, without the root that all have, is near.
fn nearest_path(wrong: &str) -> Option<&'static Key> {
    let tails = KEYS.iter().filter_map(|key| key.path.strip_prefix("networking."));
    let meant = nearest_name(wrong, tails)?;
    KEYS.iter().find(|key| key.path.strip_prefix("networking.") == Some(meant))
}

/// Whether an environment variable is a key's, or looks as if it were meant for one. Others, such as those that Kubernetes makes for
/// a service of this name, are none of ours.
pub(super) fn is_ours(name: &str) -> bool {
    let plain = collapsed(name);
    // Most variables of a process are others', and to look each of them up among all keys takes a millisecond of its start.
    plain.starts_with("RUSTYDB_NETWORKING_")
        && (name.starts_with(VARIABLE_PREFIX) || KEYS.iter().any(|key| collapsed(&key.environment_name()) == plain))
}

fn collapsed(name: &str) -> String {
    name.to_ascii_uppercase().split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// The names of keys and tables directly in a table.
fn children(section: &str) -> impl Iterator<Item = &'static str> {
    let paths = KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|(known, _)| *known));
    paths.filter_map(move |path| {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        (parent == section).then_some(name)
    })
}
