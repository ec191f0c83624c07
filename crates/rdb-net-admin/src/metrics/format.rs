//! The two text formats, and which of them a scraper gets.

use std::borrow::Cow;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::exposition::Exposition;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Text,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics when it is named and nothing else is preferred, text otherwise.
    pub(crate) fn negotiate(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let quality = quality.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0);
            match media_type.as_str() {
                OPEN_METRICS => open_metrics = open_metrics.max(quality),
                "text/plain" | "text/*" => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(crate) fn render(self, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(exposition));
        let mut written = String::new();
        text::encode(&mut written, &registry).expect("writing into a String never fails");
        match self {
            Self::OpenMetrics => written,
            Self::Text => to_text_format(&written),
        }
    }
}

/// The older format names a counter with its suffix in the comments too, and knows no units and no end mark.
fn to_text_format(open_metrics: &str) -> String {
    let mut counter = "";
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    // Descriptions come before the types that they depend on: which names are counters is looked up ahead.
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let line: Cow<'_, str> = match words[..] {
            ["#", "EOF"] | ["#", "UNIT", ..] => continue,
            ["#", "HELP", name, help] => {
                let is_counter = |next: &&str| next.strip_prefix("# TYPE ") == Some(&format!("{name} counter"));
                counter = if lines.peek().is_some_and(is_counter) { name } else { "" };
                if counter.is_empty() { line.into() } else { format!("# HELP {name}_total {help}").into() }
            }
            ["#", "TYPE", name, "counter"] if name == counter => format!("# TYPE {name}_total counter").into(),
            _ => line.into(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_what_they_ask_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
        assert_eq!(Format::negotiate("Application/OpenMetrics-Text"), Format::OpenMetrics);
        for text in [
            "",
            "*/*",
            "text/plain",
            "text/html,*/*;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;q=0.2, text/plain;q=0.9",
        ] {
            assert_eq!(Format::negotiate(text), Format::Text, "{text}");
        }
    }

    #[test]
    fn the_text_format_names_counters_with_their_suffix() {
        let open_metrics = "# HELP a_b Help of a.\n# TYPE a_b counter\na_b_total{x=\"# TYPE y counter\"} 1\n\
                            # HELP g G.\n# TYPE g gauge\n# UNIT g seconds\ng 2\n# EOF\n";
        let text = "# HELP a_b_total Help of a.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE y counter\"} 1\n\
                    # HELP g G.\n# TYPE g gauge\ng 2\n";
        assert_eq!(to_text_format(open_metrics), text);
    }
}
