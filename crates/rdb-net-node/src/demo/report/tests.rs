//! A report as programs and as people read it.

use expect_test::expect;

use super::*;

fn id(text: &str) -> NodeId {
    text.parse().expect("legal")
}

fn noticed(node: &str, times: &[(&str, u64)]) -> Option<Noticed> {
    let noticed_ms = times.iter().map(|(node, ms)| (id(node), *ms)).collect();
    Some(Noticed { node: id(node), noticed_ms })
}

fn report() -> Report {
    let reasons = BTreeMap::from([("not_sent/unreachable".to_owned(), 3), ("unknown/connection_lost".to_owned(), 1)]);
    let outcomes = Outcomes { ok: 26, failed: 4, reasons };
    let queries = Queries {
        total: 10,
        requests: 30,
        outcomes,
        mismatches: 0,
        streamed: BTreeMap::from([("complete".to_owned(), 2), ("broken".to_owned(), 1)]),
        first: BTreeMap::from([("complete".to_owned(), 1), ("broken".to_owned(), 1), ("not_needed".to_owned(), 1)]),
        elapsed_ms: 12,
        slowest_ms: 3,
    };
    let mut report = Report {
        nodes: 3,
        security: "mtls",
        agreed_ms: Some(40),
        replication: Some(Replicated {
            acknowledged: 95,
            unanswered: 5,
            entry_bytes: 1024,
            leaders: vec![id("n1"), id("n2")],
            killed: vec![id("n3"), id("n1")],
            elapsed_ms: 7,
            digests: BTreeMap::from([(id("n1"), "00c0ffee".to_owned()), (id("n2"), "00c0ffee".to_owned())]),
        }),
        queries: Some(queries),
        kill: noticed("n3", &[("n1", 308), ("n2", 310)]),
        recover: noticed("n3", &[("n1", 9), ("n2", 7)]),
        transactions: Some(Transactions {
            total: 20,
            committed: 15,
            aborted: 3,
            unanswered: 2,
            under_way_at_kills: vec![4, 2],
            recovered: 5,
            events: 300,
            elapsed_ms: 900,
        }),
        leave: noticed("n2", &[]),
        ..Report::default()
    };
    report.assert("all nodes agree", true, "3 nodes");
    report.assert("the farewell is heard", false, "no NodeLeft of n2");
    report.conclude();
    report
}

#[test]
fn the_document_has_the_fields_that_programs_rely_on() {
    let document = serde_json::to_string_pretty(&report()).expect("serialises");
    expect![[r#"
        {
          "nodes": 3,
          "security": "mtls",
          "agreed_ms": 40,
          "replication": {
            "acknowledged": 95,
            "unanswered": 5,
            "entry_bytes": 1024,
            "leaders": [
              "n1",
              "n2"
            ],
            "killed": [
              "n3",
              "n1"
            ],
            "elapsed_ms": 7,
            "digests": {
              "n1": "00c0ffee",
              "n2": "00c0ffee"
            }
          },
          "queries": {
            "total": 10,
            "requests": 30,
            "outcomes": {
              "ok": 26,
              "failed": 4,
              "reasons": {
                "not_sent/unreachable": 3,
                "unknown/connection_lost": 1
              }
            },
            "mismatches": 0,
            "streamed": {
              "broken": 1,
              "complete": 2
            },
            "first": {
              "broken": 1,
              "complete": 1,
              "not_needed": 1
            },
            "elapsed_ms": 12,
            "slowest_ms": 3
          },
          "kill": {
            "node": "n3",
            "noticed_ms": {
              "n1": 308,
              "n2": 310
            }
          },
          "recover": {
            "node": "n3",
            "noticed_ms": {
              "n1": 9,
              "n2": 7
            }
          },
          "transactions": {
            "total": 20,
            "committed": 15,
            "aborted": 3,
            "unanswered": 2,
            "under_way_at_kills": [
              4,
              2
            ],
            "recovered": 5,
            "events": 300,
            "elapsed_ms": 900
          },
          "leave": {
            "node": "n2",
            "noticed_ms": {}
          },
          "assertions": [
            {
              "name": "all nodes agree",
              "held": true,
              "detail": "3 nodes"
            },
            {
              "name": "the farewell is heard",
              "held": false,
              "detail": "no NodeLeft of n2"
            }
          ],
          "ok": false,
          "kept": null
        }"#]]
    .assert_eq(&document);
}

#[test]
fn the_story_tells_what_happened_then_what_held() {
    expect![[r#"
        3 nodes agreed on their members after 40 ms (mtls).
        100 entries of 1024 bytes were replicated in 7 ms, 5 of them without a word because their leader was killed; leaders: n1, n2; killed: n3, n1; digests: n1 00c0ffee, n2 00c0ffee.
        10 queries became 30 requests: 26 with a reply, 4 without; 0 wrong answers.
          3 without a reply: not_sent/unreachable
          1 without a reply: unknown/connection_lost
          Two more had rows on their way at the kill. All parts: 1 broken, 2 complete.
          The first complete part: 1 broken, 1 complete, 1 not_needed.
          They took 12 ms, the slowest 3 ms.
        20 transactions over all nodes: 15 committed, 3 aborted, 2 without an answer because their coordinator was killed.
          At the kills 4 and 2 were under way; 5 were found in the logs of the nodes that came back. 300 events, 900 ms.
        n3 was killed: n1 noticed after 308 ms, n2 noticed after 310 ms.
        n3 was started again: n1 noticed after 9 ms, n2 noticed after 7 ms.
        n2 left: nobody noticed.

        held    all nodes agree: 3 nodes
        FAILED  the farewell is heard: no NodeLeft of n2
    "#]]
    .assert_eq(&report().story());
}

#[test]
fn a_cluster_that_runs_on_is_told_with_how_to_look_and_how_to_stop() {
    let node =
        |name: &str, process_id| KeptNode { node: id(name), process_id, admin: format!("127.0.0.1:{process_id}") };
    let kept = Kept { directory: "/tmp/demo".to_owned(), nodes: vec![node("n1", 11), node("n3", 13)] };
    let report = Report { nodes: 3, kept: Some(kept), ..Report::default() };
    expect![[r#"


        The cluster runs on. To look at it:
          rdbnet members --admin 127.0.0.1:11   # n1, process 11
          rdbnet members --admin 127.0.0.1:13   # n3, process 13
        To stop it:
          kill 11 13 && rm -r /tmp/demo
    "#]]
    .assert_eq(&report.story());
}

#[test]
fn a_run_is_well_only_if_something_held_and_nothing_did_not() {
    let mut report = Report::default();
    report.conclude();
    assert!(!report.ok, "nothing was shown");
    report.assert("a", true, "");
    report.conclude();
    assert!(report.ok);
    report.assert("b", false, "why");
    report.conclude();
    assert!(!report.ok);
    assert_eq!(report.failed(), ["failed: b: why"]);
}
