//! Outputs of `cargo test`, and the record that is read from them.

use super::*;
use crate::house::Member;

/// The messages of cargo about the test programs of one library, and a line of text.
fn built() -> [String; 2] {
    [("lib", "rdb_swim", "rdb_swim-1"), ("test", "life", "life-2")].map(|(kind, target, file)| {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/src/rdb-swim/Cargo.toml","target":{{"kind":["{kind}"],"crate_types":["bin"],"name":"{target}","src_path":"/m/main.rs","edition":"2024","doc":true,"doctest":false,"test":true}},"profile":{{"opt_level":"0","debuginfo":0,"debug_assertions":true,"overflow_checks":true,"test":true}},"features":[],"filenames":[],"executable":"/target/debug/deps/{file}","fresh":true}}"#
        )
    })
}

/// The record of an output as text, and the lines that are shown.
fn read(output: &str) -> (String, Vec<String>) {
    let mut swim = Member::library("rdb-swim", 1, &[]);
    swim.folder = PathBuf::from("/src/rdb-swim");
    let house = House { members: vec![swim], ..House::default() };
    let mut reader = Reader::new(&house);
    for line in built() {
        assert!(!reader.read(&line), "messages are for programs");
    }
    let shown = output.lines().filter(|line| reader.read(line)).map(str::to_owned).collect();
    (reader.record.to_string(), shown)
}

#[track_caller]
fn check(output: &str, recorded: &[&str]) {
    let record = read(output).0;
    assert_eq!(record.lines().collect::<Vec<_>>(), recorded);
    assert_eq!(Record::parse(&record).to_string(), record, "what is written is read back");
}

const PASSING: &str = "\
     Running tests/life.rs (target/debug/deps/life-2)

running 3 tests
test needs_root ... ok
test quick ... ok
test speaks ... ok

successes:

---- needs_root stdout ----
SKIPPED: no root
and more

---- speaks stdout ----
test invented ... ok
MEASURED 3 ms


successes:
    needs_root
    quick
    speaks

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn a_test_has_the_name_of_its_program_and_its_path() {
    let output = "\
   Compiling rdb-swim v0.1.0
     Running unittests src/lib.rs (target/debug/deps/rdb_swim-1)

running 5 tests
test probe::tests::a ... ok
test probe::tests::b ... FAILED
test c ... ignored, needs root
test d - should panic ... ok
test e ... ignored

failures:

---- probe::tests::b stdout ----
test invented ... ok

test result: FAILED. 2 passed; 1 failed; 2 ignored

     Running tests/life.rs (/elsewhere/debug/deps/life-2)
test a ... ok
";
    check(
        output,
        &[
            "ignored\trdb-swim c",
            "passed\trdb-swim d",
            "ignored\trdb-swim e",
            "passed\trdb-swim probe::tests::a",
            "failed\trdb-swim probe::tests::b",
            "passed\trdb-swim::life a",
        ],
    );
    assert_eq!(read(output).1.len(), output.lines().count(), "what failing tests print is shown");
}

#[test]
fn a_skipped_test_is_no_passed_one_and_keeps_its_reason() {
    check(
        PASSING,
        &[
            "skipped\trdb-swim::life needs_root\tno root",
            "passed\trdb-swim::life quick",
            "passed\trdb-swim::life speaks",
        ],
    );
}

#[test]
fn of_what_passing_tests_print_only_skips_and_measurements_are_shown() {
    let shown = read(PASSING).1;
    assert!(shown.iter().any(|line| line == "SKIPPED: no root"), "{shown:?}");
    assert!(shown.iter().any(|line| line == "MEASURED 3 ms"), "{shown:?}");
    for hidden in ["and more", "test invented ... ok", "successes:", "    quick"] {
        assert!(!shown.iter().any(|line| line == hidden), "{hidden:?}: {shown:?}");
    }
    assert!(shown.last().is_some_and(|line| line.starts_with("test result: ok")), "{shown:?}");
}

#[test]
fn a_verdict_behind_output_past_the_capture_is_found() {
    let output = "\
     Running tests/life.rs (target/debug/deps/life-2)
test a ... a child speaks
and again
ok
test b ... another
FAILED
test c ... and the program dies
";
    check(output, &["passed\trdb-swim::life a", "failed\trdb-swim::life b"]);
}

#[test]
fn a_test_that_failed_once_has_failed() {
    let running = "     Running tests/life.rs (target/debug/deps/life-2)\n";
    check(&format!("{running}test a ... FAILED\n{running}test a ... ok\n"), &["failed\trdb-swim::life a"]);
    check(&format!("{running}test a ... ok\n{running}test a ... FAILED\n"), &["failed\trdb-swim::life a"]);
}

#[test]
fn documentation_tests_and_unknown_programs_are_not_kept() {
    check("   Doc-tests rdb_swim\ntest crates/rdb-swim/src/lib.rs - (line 3) ... ok\n", &[]);
    check("     Running tests/other.rs (target/debug/deps/other-3)\ntest a ... ok\n", &[]);
    check("test a ... ok\n", &[]);
}

#[test]
fn every_kind_of_program_has_its_name() {
    let name = |kind| program_name("rdb-net-node", "rdbnet", Some(&kind));
    assert_eq!(name(TargetKind::Lib), "rdb-net-node");
    assert_eq!(name(TargetKind::Bin), "rdb-net-node::bin/rdbnet");
    assert_eq!(name(TargetKind::Test), "rdb-net-node::rdbnet");
    assert_eq!(name(TargetKind::Example), "rdb-net-node::example/rdbnet");
}

#[test]
fn lines_that_no_run_wrote_are_passed_over() {
    assert_eq!(Record::parse("nonsense\nverdict\tname\npassed\ta b\n").to_string(), "passed\ta b\n");
}
