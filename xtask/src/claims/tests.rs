//! Documents with and without evidence, and evidence that is and is not there.

use super::*;
use crate::house::Target;

const DEFINITIONS: &str = "\n[a]: src/a.rs \"test rdb-phi tests::a\"\n[c]: xtask/c.rs \"cargo xtask layers\"\n";

/// Lines and texts of what is wrong with a document that names the evidence `[a]` and `[c]`.
#[track_caller]
fn check(text: &str, claims_count: usize, faults: &[(usize, &str)]) {
    let document = document::parse(&format!("{text}{DEFINITIONS}"));
    let found: Vec<(usize, &str)> = document.faults.iter().map(|fault| (fault.line, fault.text.as_str())).collect();
    assert_eq!((document.claims_count, found.as_slice()), (claims_count, faults), "{text}");
}

#[test]
fn a_sentence_with_a_reference_behind_it_is_a_claim() {
    check("It is fast. [test][a] It is layered. [command][c]\n", 2, &[]);
    check("It is fast\nand layered. [test][a] [command][c]\n", 1, &[]);
    check("| it is | shown by |\n|---|---|\n| fast | [test][a], [command][c] |\n", 1, &[]);
}

#[test]
fn outside_of_a_section_of_claims_text_needs_no_evidence() {
    check("# Title\nIt is fast. [test][a] [command][c] It is nice.\n\n- nice\n\n| a |\n|---|\n| b |\n", 1, &[]);
}

#[test]
fn every_sentence_of_a_section_of_claims_needs_evidence() {
    let section = "# Claims\n<!-- claims -->\n\n";
    check(&format!("{section}It is fast. [test][a]\nIt is layered. [command][c]\n"), 2, &[]);
    check(
        &format!("{section}It is fast. It is layered. [test][a] [command][c]\n"),
        1,
        &[(4, "a claim without evidence: It is fast.")],
    );
    check(
        &format!("{section}It is fast. [test][a] [command][c] It is nice.\n"),
        1,
        &[(4, "a claim without evidence: It is nice.")],
    );
    check(
        &format!("{section}* It is fast. [test][a] [command][c]\n* It is nice,\n  and more.\n1. It is good.\n"),
        1,
        &[(5, "a claim without evidence: It is nice, and more."), (7, "a claim without evidence: It is good.")],
    );
    check(
        &format!("{section}| a | b |\n|---|--:|\n| fast | [test][a] |\n| nice | |\n\n[command][c]\n"),
        1,
        &[(7, "a row without evidence: | nice | |")],
    );
}

#[test]
fn a_section_of_claims_ends_with_the_next_heading_of_its_level() {
    let section = "## Claims\n<!-- claims -->\nIt is fast. [test][a] [command][c]\n";
    check(&format!("{section}### Below\nNice.\n"), 1, &[(5, "a claim without evidence: Nice.")]);
    check(&format!("{section}## Beside\nNice.\n"), 1, &[]);
    check(&format!("{section}# Above\nNice.\n"), 1, &[]);
}

#[test]
fn code_and_what_leads_to_something_claim_nothing() {
    let section = "# Claims\n<!-- claims -->\n";
    let used = "It is `a. b[0][1]` and fast. [test][a] [command][c]\n";
    let code = "```text\nnice. very\n# no heading\n[a]: b.rs \"test rdb-phi again\"\n```";
    check(&format!("{section}{used}\n{code}\n\nIn short:\n\n<!-- a comment -->\n"), 1, &[]);
    check(
        &format!("{section}{used}\nIt is nice. In short:\n"),
        1,
        &[(5, "a claim without evidence: It is nice. In short:")],
    );
}

#[test]
fn evidence_is_defined_once_and_used() {
    check("It is fast. [test][a]\n", 1, &[(4, "[c] shows no claim")]);
    let twice = "[a]: b.rs \"test rdb-phi b\"\nIt is fast. [test][a] [command][c]\n";
    check(twice, 1, &[(4, "[a] is defined twice")]);
    let section = "# Claims\n<!-- claims -->\nIt is fast. [test][a] [command][c] It is nice. [test][missing]\n";
    check(
        section,
        1,
        &[
            (3, "[missing] is defined nowhere as evidence"),
            (3, "a claim without evidence: It is nice. [test][missing]"),
        ],
    );
}

#[test]
fn a_definition_says_which_test_or_which_command() {
    let definitions = "[a]: src/a.rs \"test rdb-phi tests::a\"\n[c]: c.rs \"cargo run -p rdb-phi\"\n[d]: d.md \"a title\"\n[e]: e.md\n";
    let document = document::parse(&format!("A. [test][a] B. [command][c]\n{definitions}"));
    let test = Evidence::Test { program: String::from("rdb-phi"), path: String::from("tests::a") };
    let command = Evidence::Command(["cargo", "run", "-p", "rdb-phi"].map(String::from).to_vec());
    let evidence: Vec<&Evidence> = document.definitions.iter().map(|definition| &definition.evidence).collect();
    assert_eq!(evidence, [&test, &command], "other definitions are links");
    assert_eq!((document.definitions[0].line, document.definitions[0].file.as_str()), (2, "src/a.rs"));

    let wrong = document::parse("[a]: src/a.rs \"test rdb-phi of a\"\n[b]: src/b.rs \"test rdb-phi\"\n");
    assert_eq!(wrong.definitions, []);
    assert_eq!(wrong.faults.len(), 2);
    assert!(wrong.faults.iter().all(|fault| fault.text.contains("names no test")), "{wrong:?}");
}

fn house() -> House {
    let mut phi = Member::library("rdb-phi", 1, &[]);
    phi.targets.push(Target { name: "life".into(), kind: ProductKind::Test });
    let mut node = Member::library(crate::test::NODE_PACKAGE, 9, &[]);
    node.targets.push(Target { name: "hello".into(), kind: ProductKind::Other });
    House { root: PathBuf::from(env!("CARGO_MANIFEST_DIR")), members: vec![node, phi], ..House::default() }
}

#[test]
fn a_test_has_to_be_there_to_have_run_and_to_have_passed() {
    let record = Record::parse(
        "passed\trdb-phi tests::a\nfailed\trdb-phi b\nignored\trdb-phi c\nskipped\trdb-phi::life d\tno root\n",
    );
    let check = |program, path| check_test(&house(), &record, program, path);
    assert_eq!(check("rdb-phi", "tests::a"), Ok(None));
    assert_eq!(check("rdb-phi::life", "d"), Ok(Some(String::from("no root"))));
    for (program, path, part) in [
        ("rdb-phi", "b", "failed"),
        ("rdb-phi", "c", "is ignored"),
        ("rdb-phi", "a", "did not run"),
        ("rdb-phi::life", "tests::a", "did not run"),
        ("rdb-phi::death", "a", "there is no test program"),
        ("rdb-chi", "a", "there is no test program"),
    ] {
        let error = check(program, path).unwrap_err();
        assert!(error.contains(part), "{program} {path}: {error}");
    }
}

#[test]
fn a_package_that_could_not_be_built_is_skipped_with_all_its_tests() {
    let record = Record::parse("passed\trdb-phi tests::a\nskipped\trdb-phi\tno compiler\n");
    let check = |program, path| check_test(&house(), &record, program, path);
    assert_eq!(check("rdb-phi", "tests::a"), Ok(None), "what ran all the same counts");
    assert_eq!(check("rdb-phi::life", "d"), Ok(Some(String::from("no compiler"))));
    assert!(check("rdb-net-node::example/hello", "a").is_err(), "another package");
}

#[test]
fn a_command_has_to_be_there() {
    let check = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        check_command(&house(), &words)
    };
    for line in [
        "cargo xtask features",
        "cargo xtask bench count",
        "cargo run --release -- demo",
        "cargo run -p rdb-net-node --example hello",
        "cargo test -p rdb-phi --test life",
    ] {
        assert_eq!(check(line), Ok(()), "{line}");
    }
    for line in [
        "cargo xtask fly",
        "cargo xtask",
        "cargo run -p rdb-chi",
        "cargo run -p rdb-phi --example hello",
        "cargo fly",
        "cargo",
    ] {
        assert!(check(line).is_err(), "{line}");
    }
}

#[test]
fn the_link_has_to_lead_to_the_test() {
    let definition = |file: &str, path: &str| Definition {
        line: 1,
        label: String::from("a"),
        file: file.to_owned(),
        evidence: Evidence::Test { program: String::from("xtask"), path: path.to_owned() },
    };
    let check = |file, path| check_file(&house(), "src/page.md", &definition(file, path));
    assert_eq!(check("claims/tests.rs", "claims::tests::the_link_has_to_lead_to_the_test"), Ok(()));
    assert!(check("claims/tests.rs", "claims::tests::the_link_has_to_lead").is_err());
    assert!(check("claims/absent.rs", "a").is_err());
}

#[test]
fn a_report_tells_skipped_claims_and_demands_a_section_on_the_front_page() {
    let text = "It runs. [test][a]\n\n[a]: src/claims/tests.rs \"test rdb-phi tests::house\"\n";
    let record = Record::parse("skipped\trdb-phi tests::house\tno root\n");
    let mut report = Report::default();
    report.add(&house(), &record, "README.md", &document::parse(text));
    assert_eq!(report.findings, ["README.md:1: there is no section of claims"]);
    assert_eq!(
        report.summary(),
        "README.md:3: [a] SKIPPED: no root\n1 claims, shown by 1 tests and 0 commands; 1 could not run here"
    );
}
