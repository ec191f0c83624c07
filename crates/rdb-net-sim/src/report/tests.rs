//! Findings in each of their forms.

use super::{Axis, Cell, Figure, Findings, Format, Panel, Series, Stroke, Table};

fn findings(problems: Vec<String>) -> Findings {
    let table = Table {
        columns: vec!["nodes", "mean (s)", "note"],
        rows: vec![
            vec![Cell::Count(5), Cell::Number(1.5, 2), Cell::Text("a, \"b\"".to_owned())],
            vec![Cell::Count(1000), Cell::Number(0.125, 2), Cell::None],
        ],
    };
    let curve = |stroke, points: &[(f64, f64)]| Series { name: "a < b".to_owned(), stroke, points: points.to_vec() };
    let panel = Panel {
        title: "shares".to_owned(),
        x: Axis::linear("period", 0.0, 10.0),
        y: Axis::logarithmic("share", 0.002, 0.7),
        series: vec![
            curve(Stroke::Measured, &[(0.0, 1.0), (1.0, 0.01), (11.0, 0.5), (2.0, 0.0)]),
            curve(Stroke::Theory, &[(0.0, 0.001), (10.0, 1.0)]),
        ],
    };
    let figure = Figure { panels: vec![panel] };
    Findings {
        experiment: "x",
        about: "About.".to_owned(),
        table,
        figure,
        summary: Table::default(),
        problems,
        replay: "rdb-net-sim x".to_owned(),
    }
}

#[test]
fn a_table_aligns_and_ends_with_the_command_that_repeats_it() {
    let text = findings(vec!["too slow".to_owned()]).render(Format::Table);
    let expected = "About.\n\nnodes  mean (s)    note\n    5      1.50  a, \"b\"\n 1000      0.12       -\n\nnot as it must be; again: \
                    rdb-net-sim x\n  FAILED: too slow\n";
    assert_eq!(text, expected);
    assert!(findings(Vec::new()).render(Format::Table).contains("\nas it must be; again: rdb-net-sim x\n"));
}

#[test]
fn csv_quotes_what_needs_it() {
    assert_eq!(findings(Vec::new()).render(Format::Csv), "nodes,mean (s),note\n5,1.50,\"a, \"\"b\"\"\"\n1000,0.12,-\n");
}

#[test]
fn json_has_the_figures_unrounded() {
    let json: serde_json::Value = serde_json::from_str(&findings(Vec::new()).render(Format::Json)).expect("JSON");
    assert_eq!(json["rows"][1]["mean (s)"], 0.125);
    assert_eq!(json["rows"][1]["note"], serde_json::Value::Null);
    assert_eq!(json["good"], true);
}

#[test]
fn a_picture_leaves_out_what_is_not_on_its_axes() {
    let svg = findings(Vec::new()).render(Format::Svg);
    // Two points of the measured curve are on the axes, and each line of the legend has two of its own.
    assert_eq!(svg.matches("<circle").count(), 2 + 2);
    assert_eq!(svg.matches("stroke-dasharray").count(), 2);
    assert!(svg.contains("a &lt; b") && svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    // Decades from 0.001 to 1, and steps of 1 from 0 to 10.
    for tick in ["0.001", "0.01", "0.1", "1", "0", "10"] {
        assert!(svg.contains(&format!(">{tick}</text>")), "{tick}");
    }
}
