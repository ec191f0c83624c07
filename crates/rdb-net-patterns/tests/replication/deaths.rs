//! At which steps nodes have died, to see that none was left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use rdb_net_patterns::replication::{Action, Event, Message, Question, Reply, Resumed};

/// How often nodes have died right before or right after a step, and how often a sync has failed.
#[derive(Debug, Default)]
pub(crate) struct Deaths(BTreeMap<String, u64>);

/// Every step of the protocol: what is sent and answered, and what is told to the application.
const STEPS: [&str; 12] = [
    "asking to follow",
    "asking for a place",
    "asking to cut",
    "sending entries",
    "giving up what was sent",
    "promising to follow",
    "refusing to follow",
    "acknowledging entries",
    "refusing entries",
    "beginning a sync",
    "telling of a commit",
    "telling who leads",
];
/// What is written.
const WRITES: [&str; 5] = ["a promise", "entries", "a cut", "a compaction", "a restoration"];

impl Deaths {
    pub(crate) fn count(&mut self, step: String) {
        *self.0.entry(step).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (step, count) in other.0 {
            *self.0.entry(step).or_default() += count;
        }
    }

    /// A line for each step.
    pub(crate) fn table(&self) -> String {
        self.0.iter().fold(String::new(), |mut table, (step, count)| {
            writeln!(table, "{count:>7} {step}").expect("memory takes it");
            table
        })
    }

    /// The steps at which fewer have died.
    pub(crate) fn fewer_than(&self, least: u64) -> Vec<String> {
        let sides = ["before", "after"];
        let steps = STEPS.iter().flat_map(|step| sides.map(|side| format!("{side} {step}")));
        let syncs = WRITES.iter().flat_map(|write| sides.map(|side| format!("{side} the sync of {write}")));
        let written = WRITES.iter().map(|write| format!("before the first action after writing {write}"));
        let failed = WRITES.iter().map(|write| format!("failed: the sync of {write}"));
        let first = ["before the first action of a life".to_owned()];
        let all = steps.chain(syncs).chain(written).chain(failed).chain(first);
        all.filter(|step| self.0.get(step).copied().unwrap_or_default() < least).collect()
    }
}

/// How much more likely a node dies at these steps, as they are rare.
pub(crate) fn weight_of(steps: &[&str]) -> f64 {
    let weight = |step: &&str| match *step {
        "asking for a place" | "asking to cut" | "a cut" | "a restoration" => 30.0,
        "a compaction" => 3.0,
        _ => 1.0,
    };
    steps.iter().map(weight).fold(1.0, f64::max)
}

/// What an action is called where a node dies at it.
pub(crate) const fn name(action: &Action) -> &'static str {
    match action {
        Action::Send { message: Message::Resume(resume), .. } => match resume.question {
            Question::Last => "asking to follow",
            Question::At(_) => "asking for a place",
            Question::Keep(_) => "asking to cut",
        },
        Action::Send { message: Message::Append(_), .. } => "sending entries",
        Action::GiveUp { .. } => "giving up what was sent",
        Action::Reply { reply: Reply::Resumed(Resumed::Granted { .. }), .. } => "promising to follow",
        Action::Reply { reply: Reply::Resumed(Resumed::Refused { .. }), .. } => "refusing to follow",
        Action::Reply { reply: Reply::Ack(ack), .. } if ack.accepted => "acknowledging entries",
        Action::Reply { .. } => "refusing entries",
        Action::Sync { .. } => "beginning a sync",
        Action::Event(Event::Committed { .. }) => "telling of a commit",
        Action::Event(Event::Leading { .. } | Event::NotLeading { .. }) => "telling who leads",
        Action::Event(_) => "telling something else",
    }
}
