//! Curves as SVG, for a page of documentation: no script, no font of its own, the same bytes for the same figures.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const PANEL_HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 54.0;
/// Room for one name in the legend, less where there are many, which stands between title and curves, where it hides none of them.
const LEGEND_WIDTH: f64 = 150.0;
const BOTTOM: f64 = 48.0;
const COLOURS: [&str; 6] = ["#0b62a8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be123c"];

/// Panels below each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figure {
    /// From the top.
    pub panels: Vec<Panel>,
}

/// Curves over one pair of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What is shown.
    pub title: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// In the order of the legend.
    pub series: Vec<Series>,
}

/// One axis. Values outside of it are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it is, unit included.
    pub label: String,
    /// The lower end; above 0 where the axis is logarithmic.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether equal steps are equal factors.
    pub is_logarithmic: bool,
}

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A line with a dot at each point: what was measured.
    Measured,
    /// A dashed line: what theory says.
    Theory,
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// How it is drawn.
    pub stroke: Stroke,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// An axis of equal steps.
    pub fn linear(label: &str, low: f64, high: f64) -> Self {
        Self { label: label.to_owned(), low, high, is_logarithmic: false }
    }

    /// An axis of equal factors, over whole decades around these values.
    pub fn logarithmic(label: &str, low: f64, high: f64) -> Self {
        let (low, high) = (10f64.powf(low.log10().floor()), 10f64.powf(high.log10().ceil()));
        Self { label: label.to_owned(), low, high, is_logarithmic: true }
    }

    /// 0 at the lower end, 1 at the upper; `None` outside.
    fn place(&self, value: f64) -> Option<f64> {
        let of = |value: f64| if self.is_logarithmic { value.log10() } else { value };
        let share = (of(value) - of(self.low)) / (of(self.high) - of(self.low));
        // A rounding error must not drop what lies on the edge.
        (share.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&share)).then_some(share)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10f64.powi(power)).collect();
        }
        let step = step_of(self.high - self.low);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|tick| tick as f64 * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that there are from five to ten steps.
fn step_of(span: f64) -> f64 {
    let power = 10f64.powf((span / 10.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| span / step <= 10.0).unwrap_or(span)
}

impl Figure {
    /// The picture as a file of its own.
    pub fn svg(&self) -> String {
        let height = PANEL_HEIGHT * self.panels.len() as f64;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">"
        );
        let _ = writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>");
        for (index, panel) in self.panels.iter().enumerate() {
            panel.draw(&mut svg, PANEL_HEIGHT * index as f64);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, top: f64) {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (upper, lower) = (top + TOP, top + PANEL_HEIGHT - BOTTOM);
        let at_x = |value: f64| self.x.place(value).map(|share| left + share * (right - left));
        let at_y = |value: f64| self.y.place(value).map(|share| lower - share * (lower - upper));
        text(svg, left, top + 20.0, "start", "font-weight=\"bold\"", &self.title);
        for (x, value) in self.x.ticks().into_iter().filter_map(|value| Some((at_x(value)?, value))) {
            line(svg, (x, upper), (x, lower), "#e5e5e5");
            text(svg, x, lower + 16.0, "middle", "", &number(value));
        }
        for (y, value) in self.y.ticks().into_iter().filter_map(|value| Some((at_y(value)?, value))) {
            line(svg, (left, y), (right, y), "#e5e5e5");
            text(svg, left - 6.0, y + 4.0, "end", "", &number(value));
        }
        line(svg, (left, lower), (right, lower), "#333333");
        line(svg, (left, upper), (left, lower), "#333333");
        text(svg, f64::midpoint(left, right), lower + 36.0, "middle", "", &self.x.label);
        let (label_x, label_y) = (16.0, f64::midpoint(upper, lower));
        let turned = format!("transform=\"rotate(-90 {label_x:.1} {label_y:.1})\"");
        text(svg, label_x, label_y, "middle", &turned, &self.y.label);
        let step = LEGEND_WIDTH.min((right - left) / self.series.len().max(1) as f64);
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<(f64, f64)> =
                series.points.iter().filter_map(|(x, y)| Some((at_x(*x)?, at_y(*y)?))).collect();
            series.draw(svg, &points, colour);
            series.draw_legend(svg, (left + step * index as f64, top + 38.0), colour);
        }
    }
}

impl Series {
    fn draw(&self, svg: &mut String, points: &[(f64, f64)], colour: &str) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashes = if self.stroke == Stroke::Theory { " stroke-dasharray=\"6 4\"" } else { "" };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dashes}/>",
            path.join(" ")
        );
        if self.stroke == Stroke::Measured {
            for (x, y) in points {
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{colour}\"/>");
            }
        }
    }

    fn draw_legend(&self, svg: &mut String, (x, y): (f64, f64), colour: &str) {
        self.draw(svg, &[(x, y), (x + 26.0, y)], colour);
        text(svg, x + 32.0, y + 4.0, "start", "", &self.name);
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, more: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\" {more}>{escaped}</text>"
    );
}

/// The shortest way to write a tick.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
