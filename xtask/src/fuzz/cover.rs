//! The few inputs that reach everything: what is worth committing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Place, files};
use crate::failure::Failure;

/// A corpus is replayed by every run of the tests.
const INPUTS_MAX: usize = 96;
/// An input of more bytes is not committed.
const INPUT_BYTES_MAX: u64 = 4 * 1024;

/// Replaces the committed corpus by those inputs, of it and of all that were found, which reach the most edges together.
/// Returns how many there are.
pub(super) fn keep(program: &Path, place: &Place) -> Result<usize, Failure> {
    let control = place.log.with_extension("merge");
    let merged = place.log.with_extension("merged");
    for leftover in [&control, &merged] {
        // Of a former run; where there is none, nothing is to be done.
        let _none = std::fs::remove_file(leftover);
        let _none = std::fs::remove_dir_all(leftover);
    }
    std::fs::create_dir_all(&merged).map_err(|source| Failure::File { path: merged.clone(), source })?;
    let mut command = place.program(program)?;
    command.arg("-set_cover_merge=1").arg(format!("-merge_control_file={}", control.display()));
    let status = command.args([&merged, &place.corpus, &place.found]).status();
    let status = status.map_err(|source| Failure::Start { command: program.display().to_string(), source })?;
    if !status.success() {
        return Err(Failure::Check(format!("merging {} ended with {status}", place.name)));
    }
    let text = std::fs::read_to_string(&control).map_err(|source| Failure::File { path: control.clone(), source })?;
    let chosen = choose(reached(&text));
    replace(place, &chosen)?;
    Ok(chosen.len())
}

/// An input, and the edges that it reaches.
#[derive(Debug, PartialEq, Eq)]
struct Reached {
    path: PathBuf,
    bytes: u64,
    edges: BTreeSet<u32>,
}

/// What the engine calls a feature is an edge and one of eight counts of how often it is passed.
const FEATURES_PER_EDGE: u32 = 8;

/// Reads the engine's file: how many inputs there are, how many it had before, their paths, then `STARTED number bytes` and
/// `FT number feature feature ..` of each.
fn reached(text: &str) -> Vec<Reached> {
    let mut lines = text.lines();
    let count = lines.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    lines.next();
    let paths: Vec<&str> = lines.by_ref().take(count).collect();
    let mut inputs = Vec::new();
    let mut bytes = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("STARTED") => bytes = words.nth(1).and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            Some("FT") => {
                let path =
                    words.next().and_then(|number| number.parse().ok()).and_then(|number: usize| paths.get(number));
                let edges = words
                    .filter_map(|feature| feature.parse::<u32>().ok())
                    .map(|feature| feature / FEATURES_PER_EDGE)
                    .collect();
                inputs.extend(path.map(|path| Reached { path: PathBuf::from(path), bytes, edges }));
            }
            _ => {}
        }
    }
    inputs
}

/// Takes the input that reaches the most new edges, the shorter of two, until none reaches any.
fn choose(mut inputs: Vec<Reached>) -> Vec<PathBuf> {
    inputs.retain(|input| input.bytes <= INPUT_BYTES_MAX);
    let mut chosen = Vec::new();
    while chosen.len() < INPUTS_MAX {
        let best = inputs.iter().enumerate().max_by_key(|(_, input)| (input.edges.len(), u64::MAX - input.bytes));
        let Some(best) = best.filter(|(_, input)| !input.edges.is_empty()).map(|(index, _)| index) else { break };
        let taken = inputs.swap_remove(best);
        inputs.iter_mut().for_each(|input| input.edges.retain(|edge| !taken.edges.contains(edge)));
        chosen.push(taken.path);
    }
    chosen
}

fn replace(place: &Place, chosen: &[PathBuf]) -> Result<(), Failure> {
    let failure = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    };
    let mut kept = Vec::new();
    for path in chosen {
        let name = path.file_name().map(|name| name.to_owned()).unwrap_or_default();
        kept.push((place.corpus.join(name), std::fs::read(path).map_err(failure(path))?));
    }
    for path in files(&place.corpus)? {
        std::fs::remove_file(&path).map_err(failure(&path))?;
    }
    for (path, bytes) in kept {
        std::fs::write(&path, bytes).map_err(failure(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "3\n0\ncorpus/a\ncorpus/b\nfound/c\nSTARTED 0 9\nFT 0 80 88\nCOV 0 1\nSTARTED 1 3\nFT 1 81 89\n\
        COV 1\nSTARTED 2 4\nFT 2 90 96\nCOV 2 3\n";

    #[test]
    fn the_shortest_inputs_that_reach_everything_are_chosen() {
        let inputs = reached(CONTROL);
        assert_eq!(inputs.len(), 3);
        assert_eq!(inputs[0].bytes, 9);
        assert_eq!(choose(inputs), [PathBuf::from("corpus/b"), PathBuf::from("found/c")]);
    }

    #[test]
    fn an_input_that_is_too_large_is_not_chosen() {
        let large = Reached { path: PathBuf::from("a"), bytes: INPUT_BYTES_MAX + 1, edges: BTreeSet::from([1]) };
        assert!(choose(vec![large]).is_empty());
    }
}
