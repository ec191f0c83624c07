//! Requests on the Interactive lane beside a full Bulk lane where packets get lost, over TCP and over QUIC in the same run.
//!
//! A network namespace of its own has a loopback device with packets as large as Ethernet's, each sent by itself, of which
//! nftables drops as many of a hundred at random: in both directions, since both processes are in it. This program runs the two
//! probes in it, in turn.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::peers::Peer;
use crate::probe::Probe;
use crate::race::figure::Readings;
use crate::race::gate::{Judgement, Requirement};
use crate::race::statistics::{Interval, median_interval};

/// The peers that are compared: over TCP inside TLS, and over QUIC.
const COMPARED: [Peer; 2] = [Peer::OursTls, Peer::OursQuic];
/// What QUIC's p99 is of TCP's at the judged loss.
const WANTED: Requirement = Requirement::AtMost(0.5);
/// The loss that is judged, of a hundred packets.
const JUDGED_PERCENT: u8 = 1;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// The system gives no network that loses packets; it takes root, `ip` and `nft`.
    #[error("no network that loses packets: `{command}`: {problem}")]
    Network {
        /// What was run.
        command: String,
        /// What it said.
        problem: String,
    },
    /// The program in it ended without figures: a bug of it, or what its error output says.
    #[error("the program in the network told nothing: {0}")]
    Untold(String),
}

/// What came of one loss.
#[derive(Debug, Clone)]
pub struct LossRow {
    /// Packets lost of a hundred.
    pub percent: u8,
    /// Values by figure, one a run.
    values: BTreeMap<String, Vec<f64>>,
    /// Why runs failed.
    failures: Vec<String>,
}

/// A network; it goes when this is dropped.
struct Network(String);

impl Network {
    fn losing(percent: u8) -> Result<Self, LossError> {
        let name = format!("rdb-net-race-{}-{percent}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let network = Self(name);
        network.run(&["ip", "link", "set", "lo", "mtu", "1500", "gso_max_segs", "1"])?;
        network.run(&["ip", "link", "set", "lo", "up"])?;
        let rules = format!(
            "add table ip lossy; add chain ip lossy in {{ type filter hook input priority 0; }}; \
             add rule ip lossy in numgen random mod 100 < {percent} drop"
        );
        if percent > 0 {
            network.run(&["nft", &rules])?;
        }
        Ok(network)
    }

    fn run(&self, command: &[&str]) -> Result<Vec<u8>, LossError> {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is left of it would only be a name.
        let _removed = run("ip", &["netns", "delete", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<Vec<u8>, LossError> {
    let error = |problem| LossError::Network { command: format!("{program} {}", arguments.join(" ")), problem };
    let output = Command::new(program).args(arguments).output().map_err(|problem| error(problem.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(error(String::from_utf8_lossy(&output.stderr).into_owned()))
}

impl LossRow {
    /// Runs the probes where so many of a hundred packets get lost.
    ///
    /// # Errors
    ///
    /// [`LossError`]. That single runs failed is told beside the figures.
    pub fn measure(program: &Path, percent: u8, repetitions: usize) -> Result<Self, LossError> {
        #[derive(Deserialize)]
        struct Told {
            readings: Readings,
        }
        let network = Network::losing(percent)?;
        let probes = Probe::LOSSY.map(Probe::name).join(",");
        let program = program.to_string_lossy();
        let told = network.run(&[
            &program,
            "--probes",
            &probes,
            "--repetitions",
            &repetitions.to_string(),
            "--output",
            "json",
        ])?;
        let told: Told = serde_json::from_slice(&told).map_err(|error| LossError::Untold(error.to_string()))?;
        Ok(Self { percent, values: told.readings.values, failures: told.readings.failures })
    }

    fn values(&self, figure: &str, peer: Peer) -> &[f64] {
        self.values.get(&format!("{figure}-{}", peer.name())).map_or(&[], Vec::as_slice)
    }

    fn figure(&self, figure: &str, peer: Peer) -> Option<Interval> {
        median_interval(self.values(figure, peer))
    }

    /// QUIC's figure as a ratio to TCP's, run by run; `None` where a run failed, since it is not known which.
    #[must_use]
    pub fn ratio(&self, figure: &str) -> Option<Interval> {
        let [tcp, quic] = COMPARED.map(|peer| self.values(figure, peer));
        let ratios: Vec<f64> = quic.iter().zip(tcp).map(|(quic, tcp)| quic / tcp).collect();
        median_interval(&ratios).filter(|_| self.failures.is_empty())
    }

    /// Whether QUIC is as much faster as it has to be, by the unfavourable end.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        match self.ratio("interactive-p99") {
            _ if self.percent != JUDGED_PERCENT => Judgement::Shown,
            Some(ratio) if WANTED.holds(&ratio) => Judgement::Held,
            _ => Judgement::Missed,
        }
    }
}

/// The figures as a table.
#[must_use]
pub fn table(rows: &[LossRow]) -> String {
    let mut out = String::from("| loss | peer | p50 us | p99 us | p99.9 us | Bulk MiB/s | p99 of QUIC / TCP | n | |\n");
    out.push_str("|--:|---|--:|--:|--:|--:|--:|--:|---|\n");
    for row in rows {
        for peer in COMPARED {
            let figure =
                |name: &str| row.figure(name, peer).map_or(String::new(), |value| format!("{:.0}", value.median));
            let ratio = row.ratio("interactive-p99").filter(|_| peer.is_quic());
            let ratio = ratio.map(|ratio| format!("{:.3} [{:.3}, {:.3}]", ratio.median, ratio.low, ratio.high));
            let judged = if peer.is_quic() { format!("{:?}", row.judgement()).to_lowercase() } else { String::new() };
            let _row = writeln!(
                out,
                "| {} % | {} | {} | {} | {} | {} | {} | {} | {judged} |",
                row.percent,
                peer.name(),
                figure("interactive-p50"),
                figure("interactive-p99"),
                figure("interactive-p99.9"),
                figure("bulk-rate"),
                ratio.unwrap_or_default(),
                row.values("interactive-p99", peer).len(),
            );
        }
        for failure in &row.failures {
            let _failure = writeln!(out, "{} %: {failure}", row.percent);
        }
    }
    out
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 2] = ["#c2410c", "#0b62a8"];
/// Decades of microseconds that are drawn.
const DECADES: std::ops::RangeInclusive<i32> = 1..=6;

/// The figures as a picture: for each loss and peer a bar from p50 to p99, by the logarithm of time.
#[must_use]
pub fn svg(rows: &[LossRow]) -> String {
    let (low, high) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
    let y = |us: f64| {
        let place = ((us.max(1.0).log10() - low) / (high - low)).clamp(0.0, 1.0);
        HEIGHT - MARGIN - place * (HEIGHT - 2.0 * MARGIN)
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\">Interactive requests beside a full Bulk lane, by lost packets: p50 to \
         p99</text>\n"
    );
    for decade in DECADES {
        let (us, right) = (10_f64.powi(decade), WIDTH - MARGIN / 2.0);
        let _grid = writeln!(
            out,
            "<line x1=\"{MARGIN}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{left:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{us} us</text>",
            at = y(us),
            left = MARGIN - 6.0,
            text = y(us) + 4.0
        );
    }
    let step = (WIDTH - 1.5 * MARGIN) / rows.len().max(1) as f64;
    for (place, row) in rows.iter().enumerate() {
        let middle = MARGIN + step * (place as f64 + 0.5);
        let _axis = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} % lost</text>",
            HEIGHT - MARGIN + 18.0,
            row.percent
        );
        for (number, peer) in COMPARED.into_iter().enumerate() {
            let Some((p50, p99)) = row.figure("interactive-p50", peer).zip(row.figure("interactive-p99", peer)) else {
                continue;
            };
            let left = middle - 50.0 + 55.0 * number as f64;
            let (top, bottom) = (y(p99.median), y(p50.median));
            let _bar = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"45\" height=\"{:.1}\" fill=\"{}\"/>\
                 <text x=\"{text:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>\
                 <text x=\"{text:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
                (bottom - top).max(1.0),
                COLOURS[number],
                top - 4.0,
                p99.median,
                bottom + 12.0,
                p50.median,
                text = left + 22.5,
            );
        }
    }
    for (number, name) in ["TCP inside TLS", "QUIC"].into_iter().enumerate() {
        let left = MARGIN + 10.0 + 130.0 * number as f64;
        let _key = writeln!(
            out,
            "<rect x=\"{left}\" y=\"30\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"40\">{name}</text>",
            COLOURS[number],
            left + 18.0
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(percent: u8, tcp: &[f64], quic: &[f64]) -> LossRow {
        let mut values = BTreeMap::new();
        for (peer, p99) in COMPARED.into_iter().zip([tcp, quic]) {
            values.insert(format!("interactive-p99-{}", peer.name()), p99.to_vec());
            values.insert(format!("interactive-p50-{}", peer.name()), p99.iter().map(|us| us / 10.0).collect());
        }
        LossRow { percent, values, failures: Vec::new() }
    }

    #[test]
    fn half_the_time_of_tcp_in_every_run_holds_and_more_in_one_does_not() {
        assert_eq!(row(1, &[100.0; 5], &[40.0, 50.0, 50.0, 40.0, 40.0]).judgement(), Judgement::Held);
        assert_eq!(row(1, &[100.0; 5], &[40.0, 40.0, 40.0, 40.0, 51.0]).judgement(), Judgement::Missed);
        assert_eq!(row(5, &[100.0; 5], &[90.0; 5]).judgement(), Judgement::Shown);
    }

    #[test]
    fn what_was_not_measured_is_missed() {
        assert_eq!(row(1, &[], &[]).judgement(), Judgement::Missed);
        let mut failed = row(1, &[100.0; 5], &[40.0; 5]);
        failed.failures.push("a run".to_owned());
        assert_eq!(failed.judgement(), Judgement::Missed);
    }

    #[test]
    fn the_picture_has_a_bar_for_each_loss_and_peer() {
        let svg = svg(&[row(0, &[100.0], &[200.0]), row(1, &[1e5], &[1e3]), row(5, &[], &[])]);
        assert_eq!(svg.matches("width=\"45\"").count(), 4);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
