//! Each rule finds its violation, at its line, and nothing in text that merely looks like one.

use super::mask::{test_regions, without_literals, without_tests};
use super::rules::{Kind, Origin, of_manifest, of_source};
use crate::house::Place;

fn origin(path: &str, kind: Kind) -> Origin {
    Origin { path: path.to_owned(), place: Place::Inside, kind }
}

/// The findings in a file of `kind`, as `line: text`.
#[track_caller]
fn check(kind: Kind, source: &str, expected: &[&str]) {
    check_at("crates/a/src/a.rs", kind, source, expected);
}

#[track_caller]
fn check_at(path: &str, kind: Kind, source: &str, expected: &[&str]) {
    let found: Vec<String> = of_source(&origin(path, kind), source)
        .iter()
        .map(|finding| finding.to_string()[path.len() + 1..].to_owned())
        .collect();
    assert_eq!(found, expected);
}

/// A file with a header, `code` lines of code and `tests` lines in a test module, its attribute and braces included.
fn file(code: usize, tests: usize) -> String {
    let header = String::from("//! A file.\n");
    let body = "const A: u8 = 1;\n".repeat(code - 1);
    let tail = if tests < 3 {
        String::new()
    } else {
        format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const B: u8 = 1;\n".repeat(tests - 3))
    };
    header + &body + &tail
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_found() {
    check(Kind::Free, "// A file.\n", &["1: the file does not open with `//!` and a sentence of what it is"]);
    check(Kind::Free, "", &["1: the file does not open with `//!` and a sentence of what it is"]);
    check(Kind::Free, "//! A file.\n", &[]);
}

#[test]
fn a_file_of_more_than_800_lines_is_found_tests_included() {
    check(Kind::Pure, &file(500, 300), &[]);
    check(Kind::Pure, &file(500, 301), &["1: 801 lines, more than 800: split it by purpose"]);
}

#[test]
fn a_driver_file_of_more_than_400_lines_of_code_is_found() {
    let alarm = "1: 401 lines, more than 400: logic is leaking out of a core";
    check(Kind::Driver, &file(400, 0), &[]);
    check(Kind::Driver, &file(401, 0), &[alarm]);
    check(Kind::Driver, &file(400, 300), &[]);
    check(Kind::Driver, &file(401, 300), &[alarm]);
    check(Kind::Pure, &file(401, 0), &[]);
    check_at("crates/a/src/pump/tests.rs", Kind::Driver, &file(700, 0), &[]);
    check_at("crates/a/examples/demo.rs", Kind::Driver, &file(700, 0), &[]);
}

#[test]
fn unbounded_channels_are_found_and_bounded_ones_are_not() {
    let code = "//! A file.
let a = tokio::sync::mpsc::unbounded_channel();
let b = std::sync::mpsc::channel();
let c = mpsc::channel::<u8>();
use std::sync::mpsc::{Receiver, channel};
let d = mpsc::channel::<u8>(16);
use std::sync::mpsc::sync_channel;
let e = mpsc::channel(16);
";
    let standard = "`std::sync::mpsc::channel`: every queue has a limit: `sync_channel`";
    check(
        Kind::Driver,
        code,
        &[
            "2: `unbounded_channel`: every queue has a limit",
            "3: `mpsc::channel()`: every queue has a limit: `sync_channel`",
            &format!("4: {standard}"),
            &format!("5: {standard}"),
        ],
    );
}

#[test]
fn a_task_outside_of_a_scope_is_found() {
    let code = "//! A file.
tokio::spawn(async {});
tokio::task::spawn(async {});
tokio::task::spawn_blocking(|| {});
tracker.spawn(async {});
";
    check(
        Kind::Driver,
        code,
        &[
            "2: `tokio::spawn`: a task belongs to a scope: `TaskTracker::spawn`",
            "3: `task::spawn`: a task belongs to a scope: `TaskTracker::spawn`",
        ],
    );
}

#[test]
fn a_clock_or_entropy_in_a_pure_crate_is_found_in_its_tests_too() {
    let code = "//! A file.
let now = std::time::Instant::now();
#[cfg(test)]
mod tests {
    let now = SystemTime::now();
    let rng = rand::thread_rng();
}
";
    check(
        Kind::Pure,
        code,
        &[
            "2: `Instant::now`: time is a parameter of a pure crate",
            "5: `SystemTime::now`: time is a parameter of a pure crate",
            "6: `thread_rng`: randomness of a pure crate comes from its seed",
        ],
    );
    check(Kind::Driver, code, &[]);
}

#[test]
fn files_and_sockets_are_found_in_the_code_of_a_pure_crate_but_not_in_its_tests() {
    let code = "//! A file.
use std::net::{IpAddr, UdpSocket};
#[cfg(test)]
mod tests {
    use std::fs;
}
";
    check(Kind::Pure, code, &["2: `UdpSocket`: a pure crate has no sockets"]);
    check_at("crates/a/tests/golden.rs", Kind::Pure, "//! A file.\nuse std::fs;\n", &[]);
}

#[test]
fn what_stands_in_comments_literals_and_longer_names_is_not_code() {
    let code = r##"//! A file without Instant::now.
/* tokio::spawn( /* nested */ thread_rng */
/// Never calls `std::fs`.
const A: &str = "Instant::now \" thread_rng";
const B: &str = r#"tokio::spawn(" "#;
const C: u8 = b'"';
const D: char = '"';
fn instant_nowhere<'a>(a: &'a str) { MyInstant::now(); Instant::nowhere(); my_tokio::spawn(a) }
"##;
    check(Kind::Pure, code, &[]);
}

#[test]
fn tools_may_use_clocks_tasks_and_threads() {
    let origin = Origin { path: "xtask/src/a.rs".into(), place: Place::Outside, kind: Kind::Free };
    assert_eq!(of_source(&origin, "//! A file.\nInstant::now(); tokio::spawn(a); unbounded_channel();\n"), []);
}

#[test]
fn a_manifest_that_does_not_inherit_the_lints_is_found() {
    assert_eq!(of_manifest("Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n"), None);
    assert!(of_manifest("Cargo.toml", "[package]\nname = \"a\"\n").is_some());
    assert!(of_manifest("Cargo.toml", "[lints]\n[features]\nworkspace = true\n").is_some());
}

#[test]
fn masking_keeps_every_line_and_every_byte_of_code() {
    let source = "let a = \"x\ny\"; // z\nlet r#type = 'é'; let b = '\\''; let c = br\"\\\"; let d = b'\\\\';\n";
    let expected = "let a =   \n  ;     \nlet r#type =     ; let b =     ; let c =      ; let d =      ;\n";
    let masked = without_literals(source);
    assert_eq!(masked, expected);
    assert_eq!(masked.len(), source.len());
}

#[test]
fn literals_that_never_end_mask_the_rest() {
    for opening in ["/* a", "\"a", "\"a\\", "r#\"a\"", "b\"a", "// a"] {
        let masked = without_literals(opening);
        assert_eq!(masked.trim(), "", "{opening}");
    }
    for lifetime in ["'", "'a", "'\\", "b'", "r#", "r", "'é"] {
        assert_eq!(without_literals(lifetime), lifetime);
    }
}

#[test]
fn a_test_item_ends_with_its_brace_or_its_semicolon() {
    let source = "a();\n#[cfg(test)]\nmod tests;\nb();\n#[cfg(test)]\n#[path = \"x\"]\nfn c() { { } }\nd();\n#[cfg(all(test, unix))]\nuse e;\nf();\n";
    let code: Vec<String> = without_tests(source).lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(code, ["a();", "", "", "b();", "", "", "", "d();", "", "", "f();"]);
    assert_eq!(test_regions("#![cfg(test)]\nfn a() {}\n").len(), 1);
    assert_eq!(without_tests("#![cfg(test)]\nfn a() {}\n").trim(), "");
}
