//! A parser for the tests that refuses whatever the two text formats do not allow.
//!
//! Written from the OpenMetrics 1.0 specification (sections "Text format" and "Metric types") and from the description of the
//! Prometheus text format 0.0.4, and knowing nothing of the encoder.

use std::collections::{BTreeMap, BTreeSet};

use super::Format;

/// A sample: its name, its labels and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A family: its type and its samples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// Families by the name that their `TYPE` line gives.
pub(crate) type Families = BTreeMap<String, Family>;

/// Everything in an exposition.
///
/// # Panics
///
/// On the first line that is not allowed.
#[track_caller]
pub(crate) fn parse(text: &str, format: Format) -> Families {
    let body = match format {
        Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("ends with its mark"),
        Format::Text => text,
    };
    assert!(body.ends_with('\n') && !body.contains('\r') && !body.contains("\n\n"), "lines end with one line feed");
    let (mut families, mut current) = (Families::new(), String::new());
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a name and a text");
            assert!(is_name(name) && !text.is_empty(), "{line}");
            let declared =
                lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("the type follows the help");
            let (typed, kind) = declared.split_once(' ').expect("a name and a type");
            assert_eq!(typed, name, "help and type name the same family");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{declared}");
            let is_new = families.insert(name.to_owned(), Family { kind: kind.to_owned(), samples: Vec::new() });
            assert!(is_new.is_none(), "{name} comes twice");
            current = name.to_owned();
        } else {
            let sample = parse_sample(line);
            let family = families.get_mut(&current).expect("a family before its samples");
            assert!(belongs(&sample, &current, &family.kind, format), "{line} under {current}");
            family.samples.push(sample);
        }
    }
    check_names(&families, format);
    families.iter().for_each(|(name, family)| check_family(name, family));
    families
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name, then labels or a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"").expect("a label and its value");
            let (value, after) = quoted(after);
            assert!(is_name(label), "{line}");
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
            assert!(after.starts_with(['}', ',']) && !after.starts_with(",}"), "{line}");
        }
    }
    let value = rest.strip_prefix(' ').expect("one space before the value");
    let value: f64 = if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") };
    Sample { name: name.to_owned(), labels, value }
}

/// A label's value up to its closing quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().expect("an escaped character").1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                other => panic!("\\{other} is no escape"),
            }),
            _ => value.push(c),
        }
    }
    panic!("no closing quote")
}

fn belongs(sample: &Sample, family: &str, kind: &str, format: Format) -> bool {
    let suffix = sample.name.strip_prefix(family).unwrap_or("-");
    let has_le = sample.labels.contains_key("le");
    assert!(!sample.labels.contains_key("quantile"), "quantile belongs to summaries");
    match kind {
        "counter" => !has_le && suffix == if format == Format::OpenMetrics { "_total" } else { "" },
        "gauge" => !has_le && suffix.is_empty(),
        _ => (suffix == "_bucket" && has_le) || (matches!(suffix, "_sum" | "_count") && !has_le),
    }
}

/// No family may have a name that a sample of another could have.
fn check_names(families: &Families, format: Format) {
    for (name, family) in families {
        let suffixes: &[&str] = match (family.kind.as_str(), format) {
            ("counter", Format::OpenMetrics) => &["_total", "_created"],
            ("counter", Format::Text) => {
                assert!(name.ends_with("_total"), "{name}");
                &[]
            }
            ("histogram", _) => &["_bucket", "_count", "_sum", "_created"],
            _ => &[],
        };
        suffixes
            .iter()
            .for_each(|suffix| assert!(!families.contains_key(&format!("{name}{suffix}")), "{name}{suffix}"));
        assert!(format == Format::Text || !name.ends_with("_total"), "{name}");
    }
}

fn check_family(name: &str, family: &Family) {
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        assert!(seen.insert((&sample.name, &sample.labels)), "{sample:?} twice");
        assert!(family.kind == "gauge" || sample.value >= 0.0, "{sample:?}");
    }
    if family.kind == "histogram" {
        check_histograms(name, family);
    }
}

fn check_histograms(name: &str, family: &Family) {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let bucket_name = format!("{name}_bucket");
    for sample in family.samples.iter().filter(|sample| sample.name == bucket_name) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").expect("checked before");
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
        buckets.entry(labels).or_default().push((bound, sample.value));
    }
    let index: BTreeMap<_, f64> = family.samples.iter().map(|s| ((s.name.as_str(), &s.labels), s.value)).collect();
    for (labels, buckets) in &buckets {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{labels:?} is not cumulative");
        let one = |suffix: &str| index[&(format!("{name}{suffix}").as_str(), labels)];
        assert_eq!(buckets.last().copied(), Some((f64::INFINITY, one("_count"))));
        assert!(one("_sum") >= 0.0);
    }
}

mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &'static str, format: Format) {
        assert!(std::panic::catch_unwind(|| parse(text, format)).is_err(), "{text}");
    }

    #[test]
    fn the_parser_refuses_what_is_not_allowed() {
        let legal = "# HELP a A.\n# TYPE a gauge\na{x=\"1\",y=\"\\\"\\\\\\n\"} 1.5\n# EOF\n";
        let families = parse(legal, Format::OpenMetrics);
        assert_eq!(families["a"].samples[0].labels["y"], "\"\\\n");
        refused("# HELP a A.\n# TYPE a gauge\na 1\n", Format::OpenMetrics);
        refused("# HELP a A.\n# TYPE a counter\na 1\n# EOF\n", Format::OpenMetrics);
        refused("# HELP a A.\n# TYPE a counter\na_total 1\n", Format::Text);
        refused("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", Format::Text);
        refused("# HELP a A.\n# TYPE a gauge\na{x=\"1\" 1\n", Format::Text);
        refused("# HELP a A.\n# TYPE a gauge\na{x=\"1\",} 1\n", Format::Text);
        refused("# HELP a A.\n# TYPE a gauge\nb 1\n", Format::Text);
        refused("# HELP a A.\n# TYPE a gauge\na{quantile=\"0.5\"} 1\n", Format::Text);
        refused("# TYPE a gauge\na 1\n", Format::Text);
        let histogram =
            "# HELP a A.\n# TYPE a histogram\na_sum 1\na_count 2\na_bucket{le=\"1\"} 3\na_bucket{le=\"+Inf\"} 2\n";
        refused(histogram, Format::Text);
    }
}
