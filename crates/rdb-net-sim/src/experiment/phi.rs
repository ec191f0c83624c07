//! `phi`: what a threshold costs and buys.
//!
//! Hayashibara, Défago, Yared, Katayama: "The φ accrual failure detector" (SRDS 2004), section 5: over a week of heartbeats
//! between Japan and Switzerland the rate of mistakes falls steeply and then slowly with the threshold, and the time of detection
//! rises. Their trace is not public. This one is drawn from a seed with their figures: a beat every 103.5 ms, 0.4 % of them
//! lost in bursts of 29 on average, by the model of Gilbert ("Capacity of a burst-noise channel", 1960) and Elliott (1963).
//! All thresholds listen to one detector.

use std::time::Duration;

use rdb_net_types::SeededRandom;
use rdb_phi::{Config, Listeners, Model, Notice, PhiDetector};

use crate::experiment::Progress;
use crate::report::{Axis, Cell, Figure, Findings, Panel, Series, Stroke, Table};

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_micros(103_500);
/// How long a heartbeat travels on average, and the deviation.
const DELAY_MS: (f64, f64) = (141.5, 13.5);
/// The chance that a burst of losses begins with a beat, and that it ends with one.
const BURST: (f64, f64) = (0.004 / 29.0, 1.0 / 29.0);
/// Thresholds are from 1 to this.
const THRESHOLDS: usize = 12;
/// How many beats lie between two reports of progress.
const BEATS_A_REPORT: u64 = 10_000;

/// What `phi` does.
#[derive(Debug, Clone, PartialEq)]
pub struct PhiPlan {
    /// The trace follows from it.
    pub seed: u64,
    /// How many heartbeats are sent. Default 1,000,000: 29 hours.
    pub beats: u64,
}

/// What a link that loses in bursts lets pass.
#[derive(Debug)]
struct Link {
    random: SeededRandom,
    is_lossy: bool,
}

impl Link {
    fn new(seed: u64) -> Self {
        Self { random: SeededRandom::new(seed), is_lossy: false }
    }

    /// How long the next beat takes; `None` where it is lost.
    fn next(&mut self) -> Option<Duration> {
        let (begins, ends) = BURST;
        self.is_lossy = if self.is_lossy { !self.random.chance(ends) } else { self.random.chance(begins) };
        // Twelve equal draws make a normal one, near enough, without a tail that no network has.
        let normal = (0..12).map(|_| self.random.unit()).sum::<f64>() - 6.0;
        let delay_ms = (DELAY_MS.0 + DELAY_MS.1 * normal).max(0.0);
        (!self.is_lossy).then(|| Duration::from_secs_f64(delay_ms / 1_000.0))
    }
}

/// What one model's thresholds have come to.
#[derive(Debug)]
struct Trial {
    model: Model,
    name: &'static str,
    mistakes: [u64; THRESHOLDS],
    /// From the last beat that was sent to the suspicion, summed over all beats.
    detection_s: [f64; THRESHOLDS],
    beats: u64,
    lost: u64,
    time: Duration,
}

impl PhiPlan {
    /// A million heartbeats.
    pub fn new(seed: u64) -> Self {
        Self { seed, beats: 1_000_000 }
    }

    /// The command that does it again.
    pub fn replay(&self) -> String {
        format!("rdb-net-sim phi --seed {} --beats {}", self.seed, self.beats)
    }

    /// Carries it out.
    pub fn run(&self, progress: &mut Progress<'_>) -> Findings {
        let models = [(Model::Normal, "normal"), (Model::Exponential, "exponential")];
        let trials: Vec<Trial> = (0..)
            .zip(models)
            .map(|(index, (model, name))| {
                self.listen(model, name, &mut |done| progress(index * self.beats + done, 2 * self.beats))
            })
            .collect();
        Findings {
            experiment: "phi",
            about: format!(
                "{} heartbeats, one each 103.5 ms, over a link that loses 0.4 % of them in bursts of 29; thresholds 1 to {THRESHOLDS} listen \
                 to one detector, without a tolerated pause and without a least deviation.",
                self.beats
            ),
            table: table(&trials),
            figure: figure(&trials),
            summary: Table::default(),
            problems: trials.iter().flat_map(Trial::problems).collect(),
            replay: self.replay(),
        }
    }

    fn listen(&self, model: Model, name: &'static str, done: &mut dyn FnMut(u64)) -> Trial {
        let config = Config {
            model,
            first_interval: BEAT,
            acceptable_pause: Duration::ZERO,
            deviation_min: Duration::ZERO,
            deviation_min_fraction: 0.0,
            ..Config::default()
        };
        let mut detector = PhiDetector::new(config, Duration::ZERO);
        let mut listeners = Listeners::new();
        (0..THRESHOLDS).for_each(|index| listeners.set(index, threshold_of(index)));
        let mut trial = Trial::new(model, name);
        let mut link = Link::new(self.seed);
        for beat in 1..=self.beats {
            if beat % BEATS_A_REPORT == 0 {
                done(beat);
            }
            let sent = BEAT * beat as u32;
            match link.next() {
                None => trial.lost += 1,
                Some(delay) => trial.hear(&mut detector, &mut listeners, (sent, beat), sent + delay),
            }
            trial.time = sent;
        }
        trial
    }
}

fn threshold_of(index: usize) -> f64 {
    (index + 1) as f64
}

impl Trial {
    fn new(model: Model, name: &'static str) -> Self {
        let (mistakes, detection_s) = ([0; THRESHOLDS], [0.0; THRESHOLDS]);
        Self { model, name, mistakes, detection_s, beats: 0, lost: 0, time: Duration::ZERO }
    }

    /// A beat arrives: who suspected before it was mistaken, since the sender is there.
    fn hear(
        &mut self,
        detector: &mut PhiDetector,
        listeners: &mut Listeners<usize>,
        (sent, sequence): (Duration, u64),
        now: Duration,
    ) {
        while let Some(notice) = listeners.poll(detector, now) {
            if let Notice::Suspected(index) = notice {
                self.mistakes[index] += 1;
            }
        }
        if !detector.heartbeat(now, Some(sequence)) {
            return;
        }
        while listeners.poll(detector, now).is_some() {}
        self.beats += 1;
        // Had the sender crashed after this beat, each threshold would have noticed then.
        for (index, sum) in self.detection_s.iter_mut().enumerate() {
            let deadline = detector.deadline(threshold_of(index)).unwrap_or(now);
            *sum += (deadline - sent).as_secs_f64();
        }
    }

    fn mistakes_per_hour(&self, index: usize) -> f64 {
        self.mistakes[index] as f64 / (self.time.as_secs_f64() / 3_600.0)
    }

    fn detection_s(&self, index: usize) -> f64 {
        self.detection_s[index] / self.beats.max(1) as f64
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for index in 1..THRESHOLDS {
            let (below, at) = (threshold_of(index - 1), threshold_of(index));
            if self.mistakes[index] > self.mistakes[index - 1] {
                problems.push(format!("{}: more mistakes at {at} than at {below}", self.name));
            }
            if self.detection_s(index) <= self.detection_s(index - 1) {
                problems.push(format!("{}: no later detection at {at} than at {below}", self.name));
            }
        }
        if self.mistakes[THRESHOLDS - 1] >= self.mistakes[0] {
            problems.push(format!("{}: the highest threshold is no better than the lowest", self.name));
        }
        problems
    }

    fn series(&self, value: impl Fn(usize) -> f64) -> Series {
        let points = (0..THRESHOLDS).map(|index| (threshold_of(index), value(index))).collect();
        Series { name: format!("{:?}", self.model), stroke: Stroke::Measured, points }
    }
}

fn table(trials: &[Trial]) -> Table {
    let row = |trial: &Trial, index: usize| {
        vec![
            Cell::Text(trial.name.to_owned()),
            Cell::Number(threshold_of(index), 0),
            Cell::Count(trial.mistakes[index]),
            Cell::Number(trial.mistakes_per_hour(index), 2),
            Cell::Number(trial.detection_s(index), 3),
            Cell::Number(trial.lost as f64 / (trial.beats + trial.lost).max(1) as f64 * 100.0, 2),
        ]
    };
    Table {
        columns: vec!["model", "threshold", "mistakes", "mistakes/hour", "detection (s)", "lost (%)"],
        rows: trials.iter().flat_map(|trial| (0..THRESHOLDS).map(move |index| row(trial, index))).collect(),
    }
}

fn figure(trials: &[Trial]) -> Figure {
    let thresholds = || Axis::linear("threshold", 0.0, 13.0);
    let slowest = trials.iter().map(|trial| trial.detection_s(THRESHOLDS - 1)).fold(0.5, f64::max);
    let mistakes = Panel {
        title: "Mistakes".to_owned(),
        x: thresholds(),
        y: Axis::logarithmic("mistakes per hour", 0.5, 5_000.0),
        series: trials.iter().map(|trial| trial.series(|index| trial.mistakes_per_hour(index))).collect(),
    };
    let detection = Panel {
        title: "Detection of a crash".to_owned(),
        x: thresholds(),
        y: Axis::linear("seconds after the last heartbeat", 0.0, slowest.ceil()),
        series: trials.iter().map(|trial| trial.series(|index| trial.detection_s(index))).collect(),
    };
    Figure { panels: vec![mistakes, detection] }
}
