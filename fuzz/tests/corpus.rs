//! Every committed input keeps every promise of its target. S9, S24.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use rdb_net_fuzz::{Target, corpora};

/// A corpus is replayed by every run of the tests: no more inputs than they need.
const INPUTS_MAX: usize = 100;
const INPUT_BYTES_MAX: usize = 16 * 1024;

#[test]
fn every_input_keeps_the_promises_of_its_target() {
    let mut broken = Vec::new();
    for corpus in corpora().expect("the corpora can be read") {
        let target = Target::find(&corpus.name).expect("every folder is a target's");
        for (path, bytes) in &corpus.inputs {
            if catch_unwind(|| (target.run)(bytes)).is_err() {
                broken.push(format!("cargo run -p rdb-net-fuzz -- {} {}", target.name, path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "these show what is broken:\n{}", broken.join("\n"));
}

#[test]
fn every_target_has_a_small_corpus_and_every_corpus_a_target() {
    let corpora = corpora().expect("the corpora can be read");
    let folders: BTreeSet<&str> = corpora.iter().map(|corpus| corpus.name.as_str()).collect();
    let targets: BTreeSet<&str> = Target::TABLE.iter().map(|target| target.name).collect();
    assert_eq!(folders, targets);
    for corpus in &corpora {
        assert!((1..=INPUTS_MAX).contains(&corpus.inputs.len()), "{}: {} inputs", corpus.name, corpus.inputs.len());
        for (path, bytes) in &corpus.inputs {
            assert!(bytes.len() <= INPUT_BYTES_MAX, "{}: {} bytes", path.display(), bytes.len());
        }
    }
}

#[test]
fn the_empty_input_is_one() {
    Target::TABLE.iter().for_each(|target| (target.run)(&[]));
}
