//! Latency by load as a picture: SVG for a browser, plain text for a terminal. Latency is drawn by its logarithm.

use std::fmt::Write;

use crate::measure::Latency;
use crate::peers::Peer;
use crate::race::offered::OfferedRow;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 4] = ["#0b62a8", "#c2410c", "#15803d", "#7e22ce"];
const TEXT_COLUMNS: usize = 60;

/// The quantiles that are drawn: name, dashes, which.
type Drawn = (&'static str, &'static str, fn(&Latency) -> f64);
const DRAWN: [Drawn; 3] = [
    ("p50", "none", |latency| latency.p50_us),
    ("p99", "8 4", |latency| latency.p99_us),
    ("p99.9", "2 3", |latency| latency.p999_us),
];

/// Decades of microseconds that hold every latency.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(rows: &[OfferedRow]) -> Self {
        let latencies = || rows.iter().filter_map(OfferedRow::latency);
        let low = latencies().map(|latency| latency.p50_us).fold(f64::INFINITY, f64::min);
        let high = latencies().map(|latency| latency.p999_us).fold(1.0, f64::max);
        let low = low.clamp(1.0, high).log10().floor() as i32;
        Self { low, high: (high.log10().ceil() as i32).max(low + 1) }
    }

    /// 0 at the lower end, 1 at the upper.
    fn place(self, us: f64) -> f64 {
        ((us.max(1e-3).log10() - f64::from(self.low)) / f64::from(self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn peers_of(rows: &[OfferedRow]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = rows.iter().map(|row| row.peer).collect();
    peers.sort();
    peers.dedup();
    peers
}

/// The rows as one line a peer and load, with a mark for each quantile.
#[must_use]
pub fn text(rows: &[OfferedRow]) -> String {
    let scale = Scale::of(rows);
    let mut out = format!(
        "latency from 10^{} to 10^{} us, by its logarithm; 5 = p50, 9 = p99, X = p99.9\n",
        scale.low, scale.high
    );
    for peer in peers_of(rows) {
        for row in rows.iter().filter(|row| row.peer == peer) {
            let mut marks = vec![b'.'; TEXT_COLUMNS + 1];
            if let Some(latency) = row.latency() {
                for (us, mark) in [(latency.p50_us, b'5'), (latency.p99_us, b'9'), (latency.p999_us, b'X')] {
                    marks[(scale.place(us) * TEXT_COLUMNS as f64).round() as usize] = mark;
                }
            }
            let marks = String::from_utf8_lossy(&marks);
            let _written = writeln!(
                out,
                "{:>13} {:>3.0} % {:>9.0}/s |{marks}|",
                peer.name(),
                row.share * 100.0,
                row.calls_per_second
            );
        }
    }
    out
}

/// The rows as a picture: calls per second to the right, latency upwards, a colour a peer and dashes a quantile.
#[must_use]
pub fn svg(rows: &[OfferedRow]) -> String {
    let scale = Scale::of(rows);
    let most = rows.iter().map(|row| row.calls_per_second).fold(1.0, f64::max);
    let x = |rate: f64| MARGIN + rate / most * (WIDTH - 2.0 * MARGIN);
    let y = |us: f64| HEIGHT - MARGIN - scale.place(us) * (HEIGHT - 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\">Latency from when a 64-byte call was due, by calls a second</text>\n"
    );
    for decade in scale.low..=scale.high {
        let us = 10_f64.powi(decade);
        let (left, right, at) = (MARGIN, WIDTH - MARGIN, y(us));
        let _grid = writeln!(
            out,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{us} us</text>",
            left - 6.0,
            at + 4.0
        );
    }
    for quarter in 0..=4 {
        let rate = most * f64::from(quarter) / 4.0;
        let _axis = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} k/s</text>",
            x(rate),
            HEIGHT - MARGIN + 18.0,
            rate / 1e3
        );
    }
    for (place, peer) in peers_of(rows).into_iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        for (number, (name, dashes, quantile)) in DRAWN.into_iter().enumerate() {
            let points: Vec<(f64, f64)> = rows
                .iter()
                .filter(|row| row.peer == peer)
                .filter_map(|row| Some((x(row.calls_per_second), y(quantile(&row.latency()?)))))
                .collect();
            let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _line = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
                line.join(" ")
            );
            for (x, y) in points {
                let _dot = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let (left, top) = (MARGIN + 10.0 + 130.0 * number as f64, 38.0 + 14.0 * place as f64);
            let _key = writeln!(
                out,
                "<line x1=\"{left}\" y1=\"{top}\" x2=\"{:.1}\" y2=\"{top}\" stroke=\"{colour}\" stroke-width=\"2\" \
                 stroke-dasharray=\"{dashes}\"/><text x=\"{:.1}\" y=\"{:.1}\">{} {name}</text>",
                left + 24.0,
                left + 30.0,
                top + 4.0,
                peer.name()
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Offered;

    fn row(peer: Peer, share: f64, us: f64) -> OfferedRow {
        let latency = Latency { p50_us: us, p99_us: us * 10.0, p999_us: us * 100.0 };
        let calls_per_second = 1e6 * share;
        let run = Offered { calls_per_second, calls: 10, unanswered: 0, latency, longest_us: us * 200.0 };
        OfferedRow { peer, share, calls_per_second, runs: vec![run], failures: Vec::new() }
    }

    #[test]
    fn a_decade_is_as_wide_as_any_other() {
        let text = text(&[row(Peer::Ours, 0.5, 10.0), row(Peer::TonicStream, 0.5, 100.0)]);
        let marks = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap().split('|').nth(1).unwrap().to_owned();
            ['5', '9', 'X'].map(|mark| line.find(mark).unwrap())
        };
        assert_eq!(marks("ours"), [0, 20, 40]);
        assert_eq!(marks("tonic-stream"), [20, 40, 60]);
    }

    #[test]
    fn the_picture_has_a_line_for_each_quantile_of_each_peer() {
        let svg = svg(&[row(Peer::Ours, 0.25, 10.0), row(Peer::Ours, 0.5, 20.0), row(Peer::TonicStream, 0.5, 50.0)]);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (6, 9));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }

    #[test]
    fn peers_without_figures_are_drawn_empty() {
        let mut lost = row(Peer::Ours, 0.5, 10.0);
        lost.runs.clear();
        assert!(!svg(std::slice::from_ref(&lost)).contains("NaN") && text(&[lost]).contains("ours"));
    }
}
