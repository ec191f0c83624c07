//! The table of keys in writing: a commented file, and the reference for people.

use std::fmt::Write;

use super::key::{Key, Range, Reload};
use super::keys::{KEYS, SECTIONS};
use super::settings::Config;

/// Comments are broken before this column.
const LINE_CHARS_MAX: usize = 100;

const INTRODUCTION: &str = "\
# Configuration

Generated from the table of keys in `rdb-net-manager`; a test compares it. Keys are written in TOML:

```toml
[networking]
bind_address = \"0.0.0.0:7000\"
advertise_address = \"node1.example.com:7000\"

[networking.service_discovery]
seeds = [\"node1:7000\", \"node2:7000\"]
```

A value comes from the last of these layers that has one:

1. the default;
2. the file;
3. an environment variable: `RUSTYDB_` and the key in capitals, two underscores for each dot, as in
   `RUSTYDB_NETWORKING__TLS__CERT_PATH`. The value is read as TOML where it is TOML, else as text;
4. an override `key=value`: a flag of the command line, or a change at run time.

A list or table of a later layer replaces the whole one of an earlier layer. A relative path in a file starts at the file's
folder, anywhere else at the working directory. Unknown keys, values out of range and values that do not go together are
errors, with file, line and column; everything that is wrong is told at once.

How a change can take effect: *hot* at once, *reconnect* for connections made from then on, *restart* at the next start of the
process. This version takes changes of `[networking.gossip]` and
`[networking.split_brain]` that are *hot* while it runs: on SIGHUP, or on `POST /api/v1/network/configuration/reload`, a node reads its
layers again. What is wrong in them changes nothing. Changes of all other keys are named, and wait for the next start.
";

impl Config {
    /// The configuration as a file with comments, every key of the table in it; keys that are not set stand there as
    /// examples, commented out. `Config::default().to_toml()` is a file to start from. Loading the text gives an equal
    /// configuration.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, about) in SECTIONS {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(gap);
            comment(&mut text, about);
            line(&mut text, format_args!("[{section}]"));
            for key in KEYS.iter().filter(|key| key.section() == *section) {
                text.push('\n');
                self.describe(&mut text, key);
            }
        }
        text
    }

    fn describe(&self, text: &mut String, key: &Key) {
        comment(text, key.doc);
        let value = key.value(self);
        let unset = if value.is_none() { format!(" Not set: {}.", key.unset) } else { String::new() };
        let effect = match key.reload {
            Reload::Hot => "a change takes effect at once",
            Reload::Reconnect => "a change takes effect for new connections",
            Reload::Restart => "a change needs a restart",
        };
        comment(text, &format!("Takes {}; {effect}.{unset}{}", allowed(key), remark(key)));
        match value {
            Some(value) => line(text, format_args!("{} = {value}", key.name())),
            None => line(text, format_args!("# {} = {}", key.name(), key.example)),
        }
    }
}

/// The reference of all keys in Markdown: `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let default = Config::default();
    let mut text = String::from(INTRODUCTION);
    for (section, about) in SECTIONS {
        line(&mut text, format_args!("\n## `[{section}]`\n\n{about}\n"));
        line(&mut text, format_args!("| key | takes | default | change | meaning |\n|---|---|---|---|---|"));
        for key in KEYS.iter().filter(|key| key.section() == *section) {
            let value = key.value(&default).map_or_else(|| key.unset.to_owned(), |value| format!("`{value}`"));
            let (name, allowed, class, remark) = (key.name(), allowed(key), key.reload, remark(key));
            let row = format!("| `{name}` | {allowed} | {value} | {class} | {}{remark} |", key.doc);
            line(&mut text, format_args!("{row}"));
        }
    }
    text
}

/// Type and range.
fn allowed(key: &Key) -> String {
    let kind = key.kind.strip_prefix("a ").or_else(|| key.kind.strip_prefix("an ")).unwrap_or(key.kind);
    match key.range {
        Range::Any => kind.to_owned(),
        Range::Whole { .. } => key.range.to_string(),
        Range::OneOf(names) => names.iter().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", "),
        range => format!("{kind}, {range}"),
    }
}

fn remark(key: &Key) -> String {
    if key.pending.is_empty() { String::new() } else { format!(" No effect yet: it {}.", key.pending) }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("a string takes every text");
}

fn comment(text: &mut String, content: &str) {
    let mut current = String::from("#");
    for word in content.split_whitespace() {
        if current.chars().count() + 1 + word.chars().count() > LINE_CHARS_MAX {
            line(text, format_args!("{current}"));
            current = String::from("#");
        }
        current.push(' ');
        current.push_str(word);
    }
    line(text, format_args!("{current}"));
}
