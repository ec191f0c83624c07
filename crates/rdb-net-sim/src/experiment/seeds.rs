//! Several seeds of one experiment, one after the other.
//!
//! Each is judged by itself, as if it had been alone, and one that is not as it must be tells the command that repeats it and no
//! other. What they come to together is the median and the worst of each figure; nothing is judged by those.

use crate::experiment::Progress;
use crate::fleet::FleetError;
use crate::report::{Cell, Findings, Table};

/// One seed's share of the progress that is told.
const SHARE: u64 = 10_000;

/// Seeds, and what is told of all of them.
#[derive(Debug)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The columns whose median and worst are told. Of each of them more is worse, and none at all the worst.
    pub(crate) figures: &'static [&'static str],
    /// The command that does all of them again.
    pub(crate) replay: String,
}

impl Seeds {
    /// Runs each of them, and one where there are none. One seed has the findings that it has alone.
    ///
    /// # Errors
    ///
    /// [`FleetError`] where the size is not legal.
    pub(crate) fn run(
        self,
        progress: &mut Progress<'_>,
        mut one: impl FnMut(u64, &mut Progress<'_>) -> Result<Findings, FleetError>,
    ) -> Result<Findings, FleetError> {
        if self.count <= 1 {
            return one(self.first, progress);
        }
        let whole = self.count * SHARE;
        let mut runs = Vec::new();
        for (seed, begun) in (self.first..).take(self.count as usize).zip((0..).step_by(SHARE as usize)) {
            let findings = one(seed, &mut |done, total| {
                progress(begun + SHARE * done.min(total) / total.max(1), whole);
            })?;
            progress(begun + SHARE, whole);
            runs.push((seed, findings));
        }
        Ok(self.together(runs))
    }

    fn together(self, runs: Vec<(u64, Findings)>) -> Findings {
        let summary = self.summary(&runs);
        let failed = |(seed, findings): &(u64, Findings)| {
            let problems = findings.problems.join("; ");
            (!findings.is_good()).then(|| format!("seed {seed}: {problems}; again: {}", findings.replay))
        };
        let problems: Vec<String> = runs.iter().filter_map(failed).collect();
        // Who looks at the picture wants to see what has failed.
        let shown = runs.iter().position(|(_, findings)| !findings.is_good()).unwrap_or_default();
        let mut rows = Vec::new();
        for (seed, findings) in &runs {
            rows.extend(findings.table.rows.iter().map(|row| [&[Cell::Count(*seed)], row.as_slice()].concat()));
        }
        let (seed, mut findings) = runs.into_iter().nth(shown).expect("invariant: there are two seeds or more");
        findings.figure.panels.iter_mut().for_each(|panel| panel.title = format!("{}, seed {seed}", panel.title));
        findings.about = format!("{} {} seeds from {} on.", findings.about, self.count, self.first);
        findings.table.columns.insert(0, "seed");
        Findings { table: Table { rows, ..findings.table }, summary, problems, replay: self.replay, ..findings }
    }

    /// A row for each figure of each row that a seed has.
    fn summary(&self, runs: &[(u64, Findings)]) -> Table {
        let Some((_, first)) = runs.first() else { return Table::default() };
        let columns = &first.table.columns;
        let name = columns.first().copied().unwrap_or_default();
        let mut summary = Table { columns: vec![name, "figure", "median", "worst", "its seed"], rows: Vec::new() };
        for (index, row) in first.table.rows.iter().enumerate() {
            let at = |figure: &&str| columns.iter().position(|column| column == figure);
            for (figure, column) in self.figures.iter().filter_map(|figure| Some((figure, at(figure)?))) {
                let cell = |(seed, findings): &(u64, Findings)| {
                    Some((*seed, findings.table.rows.get(index)?.get(column)?.clone()))
                };
                let mut cells: Vec<(u64, Cell)> = runs.iter().filter_map(cell).collect();
                // Stable: of several that are as bad the last is told.
                cells.sort_by(|(_, a), (_, b)| badness(a).total_cmp(&badness(b)));
                let median = cells.get(cells.len().saturating_sub(1) / 2);
                let (Some((_, median)), Some((seed, worst)), Some(row)) = (median, cells.last(), row.first()) else {
                    continue;
                };
                let figure = Cell::Text((*figure).to_owned());
                summary.rows.push(vec![row.clone(), figure, median.clone(), worst.clone(), Cell::Count(*seed)]);
            }
        }
        summary
    }
}

/// What a command has for so many seeds.
pub(crate) fn option(seeds: u64) -> String {
    if seeds <= 1 { String::new() } else { format!(" --seeds {seeds}") }
}

fn badness(cell: &Cell) -> f64 {
    match cell {
        Cell::Count(count) => *count as f64,
        Cell::Number(number, _) => *number,
        Cell::Text(_) | Cell::None => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Figure, Format, Panel};

    /// What a seed finds: one row, that takes as long as is said, or for ever.
    fn found(seed: u64, took: Option<f64>) -> Findings {
        let took_cell = took.map_or(Cell::None, |took| Cell::Number(took, 1));
        let axis = || Axis::linear("", 0.0, 1.0);
        Findings {
            experiment: "x",
            about: "About.".to_owned(),
            table: Table { columns: vec!["run", "took (s)"], rows: vec![vec![Cell::Text("a".to_owned()), took_cell]] },
            figure: Figure { panels: vec![Panel { title: "X".to_owned(), x: axis(), y: axis(), series: Vec::new() }] },
            summary: Table::default(),
            problems: if took.is_some_and(|took| took < 9.0) { Vec::new() } else { vec!["too slow".to_owned()] },
            replay: format!("rdb-net-sim x --seed {seed}"),
        }
    }

    fn run(first: u64, took: &[Option<f64>]) -> Findings {
        let count = took.len() as u64;
        let replay = format!("rdb-net-sim x --seed {first} --seeds {count}");
        let seeds = Seeds { first, count, figures: &["took (s)"], replay };
        seeds.run(&mut |_, _| {}, |seed, _| Ok(found(seed, took[(seed - first) as usize]))).expect("legal")
    }

    #[test]
    fn one_seed_finds_what_it_finds_alone() {
        assert_eq!(run(7, &[Some(1.0)]), found(7, Some(1.0)));
    }

    #[test]
    fn each_seed_has_its_rows_and_all_of_them_a_median_and_a_worst() {
        let findings = run(7, &[Some(2.0), Some(8.0), Some(1.0)]);
        let table = "seed  run  took (s)\n   7    a       2.0\n   8    a       8.0\n   9    a       1.0\n";
        let summary = "run    figure  median  worst  its seed\n  a  took (s)     2.0    8.0         8\n";
        let again = "as it must be; again: rdb-net-sim x --seed 7 --seeds 3";
        let expected = format!("About. 3 seeds from 7 on.\n\n{table}\n{summary}\n{again}\n");
        assert_eq!(findings.render(Format::Table), expected);
        assert_eq!(findings.figure.panels[0].title, "X, seed 7");
        let json: serde_json::Value = serde_json::from_str(&findings.render(Format::Json)).expect("JSON");
        assert_eq!((&json["rows"][1]["seed"], &json["summary"][0]["worst"]), (&8.into(), &8.0.into()));
        assert_eq!(findings.render(Format::Csv), "seed,run,took (s)\n7,a,2.0\n8,a,8.0\n9,a,1.0\n");
    }

    #[test]
    fn a_seed_that_fails_is_the_worst_is_shown_and_tells_its_own_command() {
        let findings = run(7, &[Some(1.0), None, Some(2.0), Some(9.5)]);
        let expected =
            ["seed 8: too slow; again: rdb-net-sim x --seed 8", "seed 10: too slow; again: rdb-net-sim x --seed 10"];
        assert_eq!(findings.problems, expected);
        assert_eq!(findings.summary.rows[0][2..], [Cell::Number(2.0, 1), Cell::None, Cell::Count(8)]);
        assert_eq!(findings.figure.panels[0].title, "X, seed 8");
    }

    #[test]
    fn progress_is_told_of_all_seeds() {
        let mut reports = Vec::new();
        let seeds = Seeds { first: 1, count: 2, figures: &[], replay: String::new() };
        let one = |seed, progress: &mut Progress<'_>| {
            [(1, 4), (4, 4)].into_iter().for_each(|(done, total)| progress(done, total));
            Ok(found(seed, Some(1.0)))
        };
        seeds.run(&mut |done, total| reports.push((done, total)), one).expect("legal");
        let done = [2_500, 10_000, 10_000, 12_500, 20_000, 20_000];
        assert_eq!(reports, done.map(|done| (done, 20_000)));
    }
}
