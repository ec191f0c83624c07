//! What is told of each system, row by row, and what ours is to have of it.

use std::time::Duration;

use crate::phases::{Figures, Plan};
use crate::system::Kind;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
    /// `None` where it was not measured.
    pub(crate) figure: fn(&Figures) -> Option<f64>,
    /// The most that a system may have of it; `None` where it has no limit.
    pub(crate) limit: fn(Kind) -> Option<f64>,
}

/// How a figure compares with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Missed,
    /// There is a limit and no figure.
    NotMeasured,
}

const fn row(
    what: &'static str,
    digits: usize,
    figure: fn(&Figures) -> Option<f64>,
    limit: fn(Kind) -> Option<f64>,
) -> Row {
    Row { what, digits, figure, limit }
}

pub(crate) const ROWS: &[Row] = &[
    row("all agree after the last start, s", 2, |figures| figures.agreed.map(secs), |kind| node(kind, 0.5)),
    row("after the first of them, s", 2, |figures| figures.agreed_since_first.map(secs), |_| None),
    row("processor of all until then, s", 2, |figures| figures.agreed_cpu.map(secs), |_| None),
    row("killed: the first knows, median, s", 2, |figures| median(&figures.killed, |times| times.0), |_| None),
    row("killed: all know, median, s", 2, |figures| median(&figures.killed, |times| times.1), |kind| node(kind, 1.0)),
    row("killed: all know, worst, s", 2, |figures| worst(&figures.killed), |kind| node(kind, 2.0)),
    row("stopped: the first knows, median, s", 2, |figures| median(&figures.stopped, |times| times.0), |_| None),
    row("stopped: all know, median, s", 2, |figures| median(&figures.stopped, |times| times.1), |kind| node(kind, 6.5)),
    row("stopped: all know, worst, s", 2, |figures| worst(&figures.stopped), |kind| node(kind, 11.0)),
    row("idle: packets a node and second", 2, |figures| Some(figures.cost.as_ref()?.packets), |kind| node(kind, 2.5)),
    row("idle: UDP bytes", 0, |figures| Some(figures.cost.as_ref()?.udp_bytes), |_| None),
    row("idle: TCP bytes", 0, |figures| Some(figures.cost.as_ref()?.tcp_bytes), |_| None),
    row(
        "idle: bytes together",
        0,
        |figures| figures.cost.as_ref().map(|cost| cost.udp_bytes + cost.tcp_bytes),
        |kind| node(kind, if kind == Kind::OursTls { 300.0 } else { 200.0 }),
    ),
    row("idle: processor, ms", 2, |figures| Some(figures.cost.as_ref()?.cpu_ms), |kind| node(kind, 0.5)),
    row(
        "resident, MiB",
        1,
        |figures| Some(figures.cost.as_ref()?.resident_mib),
        |kind| if kind == Kind::Alone { Some(3.5) } else { node(kind, 8.0) },
    ),
    row("of that without a file behind it, MiB", 1, |figures| Some(figures.cost.as_ref()?.anonymous_mib), |_| None),
    row("false failures, idle", 0, |figures| figures.false_idle.map(|count| count as f64), |kind| node(kind, 0.0)),
    row(
        "false failures, a core busy",
        0,
        |figures| figures.false_busy.map(|count| count as f64),
        |kind| node(kind, 0.0),
    ),
];

/// What a whole node of ours may have.
fn node(kind: Kind, limit: f64) -> Option<f64> {
    matches!(kind, Kind::Ours | Kind::OursTls).then_some(limit)
}

impl Row {
    /// `None` where this system has no limit. What is judged is the figure itself, and not its rounding.
    pub(crate) fn verdict(&self, figures: &Figures) -> Option<Verdict> {
        let limit = (self.limit)(figures.kind)?;
        Some(match (self.figure)(figures) {
            None => Verdict::NotMeasured,
            Some(figure) if figure <= limit => Verdict::Held,
            Some(_) => Verdict::Missed,
        })
    }

    /// The figure, and how it compares with its limit.
    pub(crate) fn cell(&self, figures: &Figures) -> String {
        let figure = (self.figure)(figures).map_or_else(|| "–".to_owned(), |figure| self.number(figure));
        match self.verdict(figures) {
            Some(Verdict::Held) => format!("{figure} held"),
            Some(Verdict::Missed) => format!("{figure} **missed**"),
            Some(Verdict::NotMeasured) | None => figure,
        }
    }

    /// Whose limit is what, in as few words as it takes.
    pub(crate) fn limits(&self) -> String {
        let of = |kind| (self.limit)(kind).map(|limit| self.number(limit));
        let (plain, sealed, alone) = (of(Kind::Ours), of(Kind::OursTls), of(Kind::Alone));
        let other = sealed.filter(|sealed| Some(sealed) != plain.as_ref()).map(|sealed| format!("sealed {sealed}"));
        let parts = [plain, other, alone.map(|alone| format!("alone {alone}"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn number(&self, figure: f64) -> String {
        let digits = self.digits;
        format!("{figure:.digits$}")
    }
}

/// What is to be said in the end, and whether it is good: a limit that is missed, a system of ours that did not come to its end, and a run
/// without any judgement are not.
pub(crate) fn conclude(plan: &Plan, figures: &[Figures]) -> (String, bool) {
    let mut missed = Vec::new();
    let (mut held, mut judged, mut unmeasured) = (0, 0, 0);
    for figures in figures {
        for row in ROWS {
            let verdict = row.verdict(figures);
            judged += usize::from(matches!(verdict, Some(Verdict::Held | Verdict::Missed)));
            match verdict {
                Some(Verdict::Held) => held += 1,
                Some(Verdict::NotMeasured) => unmeasured += 1,
                Some(Verdict::Missed) => missed.push(format!("{}: {}", figures.kind.name(), row.what)),
                None => {}
            }
        }
        if let Some(trouble) = figures.trouble.as_ref().filter(|_| figures.kind.is_ours()) {
            missed.push(format!("{}: it ended early: {trouble}", figures.kind.name()));
        }
    }
    let less = if plan.is_whole() { "" } else { "; this run was smaller than the one that the limits are for" };
    let rest = if unmeasured > 0 { format!(", {unmeasured} not measured") } else { String::new() };
    let counts = format!("{held} of {judged} limits held{rest}{less}");
    match missed.as_slice() {
        [] if judged == 0 => (format!("no limit was judged{less}"), false),
        [] => (counts, true),
        missed => (format!("{counts}; {} MISSED: {}", missed.len(), missed.join("; ")), false),
    }
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn median(times: &[(Duration, Duration)], of: fn(&(Duration, Duration)) -> Duration) -> Option<f64> {
    let mut sorted: Vec<Duration> = times.iter().map(of).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().map(secs)
}

fn worst(times: &[(Duration, Duration)]) -> Option<f64> {
    times.iter().map(|(_, last)| *last).max().map(secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::Cost;

    const WHOLE: Plan = Plan {
        nodes: 50,
        kills: 20,
        stops: 10,
        settle: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        busy: Duration::from_secs(600),
    };

    fn good(kind: Kind) -> Figures {
        let ms = Duration::from_millis;
        let cost = Cost {
            packets: 2.5,
            udp_bytes: 150.0,
            tcp_bytes: 50.0,
            cpu_ms: 0.4,
            resident_mib: if kind == Kind::Alone { 3.5 } else { 8.0 },
            anonymous_mib: 1.0,
        };
        Figures {
            agreed: Some(ms(500)),
            killed: vec![(ms(200), ms(300)), (ms(900), ms(2_000)), (ms(900), ms(1_000))],
            stopped: vec![(ms(6_000), ms(11_000)), (ms(5_000), ms(6_000)), (ms(5_000), ms(6_500))],
            cost: Some(cost),
            false_idle: Some(0),
            false_busy: Some(0),
            ..Figures::new(kind)
        }
    }

    #[test]
    fn what_is_at_its_limit_holds_it() {
        let figures = [Kind::Ours, Kind::OursTls, Kind::Alone, Kind::Serf].map(good);
        assert_eq!(conclude(&WHOLE, &figures), ("23 of 23 limits held".to_owned(), true), "11 each, and one alone");
    }

    #[test]
    fn what_is_missed_is_named_with_whose_it_is() {
        let mut ours = good(Kind::Ours);
        ours.agreed = Some(Duration::from_millis(504));
        let mut sealed = good(Kind::OursTls);
        sealed.cost.as_mut().expect("there").udp_bytes = 251.0;
        let mut alone = good(Kind::Alone);
        alone.cost.as_mut().expect("there").resident_mib = 3.6;
        let (said, is_good) = conclude(&WHOLE, &[ours, sealed, alone, Figures::new(Kind::Serf)]);
        assert!(!is_good);
        let missed = "20 of 23 limits held; 3 MISSED: ours: all agree after the last start, s; ours, TLS and sealed: idle: bytes together; \
                      ours, membership alone: resident, MiB";
        assert_eq!(said, missed, "0.504 is shown as 0.50 and is too much");
    }

    #[test]
    fn what_was_not_measured_is_neither_held_nor_missed() {
        let none = Figures { false_busy: None, stopped: Vec::new(), ..good(Kind::Ours) };
        let small = Plan { stops: 0, busy: Duration::ZERO, ..WHOLE };
        let expected = "8 of 8 limits held, 3 not measured; this run was smaller than the one that the limits are for";
        assert_eq!(conclude(&small, &[none]), (expected.to_owned(), true));
        assert!(!conclude(&WHOLE, &[Figures::new(Kind::Ours)]).1, "nothing was judged");
        let trouble = Figures { trouble: Some("it fell".to_owned()), ..good(Kind::Ours) };
        let (said, is_good) = conclude(&WHOLE, &[trouble]);
        assert!(!is_good && said.ends_with("1 MISSED: ours: it ended early: it fell"), "{said}");
    }

    #[test]
    fn a_row_shows_figure_verdict_and_limit() {
        let row = |what: &str| ROWS.iter().find(|row| row.what == what).expect("a row");
        assert_eq!(row("idle: bytes together").cell(&good(Kind::Ours)), "200 held");
        assert_eq!(row("idle: bytes together").limits(), "200, sealed 300");
        assert_eq!(row("resident, MiB").limits(), "8.0, alone 3.5");
        assert_eq!(row("idle: UDP bytes").limits(), "");
        assert_eq!(row("killed: all know, worst, s").cell(&good(Kind::Serf)), "2.00");
        assert_eq!(row("killed: all know, worst, s").cell(&Figures::new(Kind::Ours)), "–");
        let late = Figures { killed: vec![(Duration::ZERO, Duration::from_secs(3))], ..good(Kind::Ours) };
        assert_eq!(row("killed: all know, worst, s").cell(&late), "3.00 **missed**");
    }
}
