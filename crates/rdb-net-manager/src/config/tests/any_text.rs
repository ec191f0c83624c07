//! No text makes a loader panic, and errors point into the text.

use proptest::prelude::{Strategy, TestCaseError, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::SPEC_EXAMPLE;
use crate::config::{Config, Loader, Origin};

/// What configurations are made of: it goes wrong in more interesting ways than random letters.
const PIECES: [&str; 21] = [
    "[networking]\n",
    "[networking.tls]\n",
    "networking.",
    "max_connections",
    "weights",
    "seeds",
    " = ",
    "5",
    "-0x_f",
    "\"ä\"",
    "'",
    "\"\"\"",
    "{ a = 1, ",
    "}",
    "[",
    "]",
    "\n",
    "\r",
    "\u{feff}",
    "#",
    "2026-11-22",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat())
}

/// The example of the specification with a part of it taken out and another text put there.
fn damaged() -> impl Strategy<Value = String> {
    let length = SPEC_EXAMPLE.len();
    (0..length, 0..20_usize, "\\PC{0,8}").prop_map(move |(start, cut, text)| {
        let end = (start + cut).min(length);
        format!("{}{text}{}", &SPEC_EXAMPLE[..start], &SPEC_EXAMPLE[end..])
    })
}

fn points_into_the_text(text: &str) -> Result<(), TestCaseError> {
    let Err(errors) = Loader::new().text("node.toml", text).load() else { return Ok(()) };
    for error in &errors {
        let Some(Origin::File { line, column, .. }) = error.origin() else {
            return Err(TestCaseError::fail(format!("no place: {error}")));
        };
        let told = text.split('\n').nth(line - 1);
        // One beyond the last character is a place too: there the text ends.
        prop_assert!(told.is_some_and(|told| *column <= told.chars().count() + 1), "outside of the text: {error}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn errors_point_into_the_text(text in prop_oneof![pieces(), damaged(), "\\PC{0,40}"]) {
        points_into_the_text(&text)?;
    }

    #[test]
    fn no_variable_or_override_panics(name in "(networking\\.)?[a-z_.]{0,20}|\\PC{0,10}", value in "\\PC{0,20}") {
        let variable = format!("RUSTYDB_NETWORKING__{}", name.to_uppercase());
        let _ = Loader::new().environment([(variable, value.as_str())]).load();
        let _ = Loader::new().overrides([format!("{name}={value}"), name]).load();
    }

    #[test]
    fn every_text_is_written_so_that_it_reads_back(text in any::<String>(), label in "\\PC{1,16}") {
        let mut config = Config::default();
        let text: String = text.chars().take(16).collect();
        config.node.locality.zone.clone_from(&text);
        config.node.labels.insert(text, label);
        let read = Loader::new().text("node.toml", config.to_toml()).load();
        prop_assert_eq!(read.map_err(|errors| errors.to_string()), Ok(config));
    }
}
