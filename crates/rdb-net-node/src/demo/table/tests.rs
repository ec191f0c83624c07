//! The table, its partitions and its queries.

use super::*;

fn partitions(of: usize) -> Vec<Vec<Row>> {
    (1..=of).map(|number| Partition::new(number, of).expect("in range").rows()).collect()
}

fn query(text: &str) -> Query {
    text.parse().expect(text)
}

#[test]
fn every_row_is_in_exactly_one_partition_and_none_is_empty() {
    for of in [1, 3, 5, 20] {
        let partitions = partitions(of);
        assert!(partitions.iter().all(|rows| rows.len() as u64 > ROWS / of as u64 / 2), "{of} partitions are uneven");
        let mut keys: Vec<u64> = partitions.iter().flatten().map(|row| row.0).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..ROWS).collect::<Vec<_>>());
        assert!(partitions.iter().flatten().all(|row| (1..=VALUE_MAX).contains(&row.1)));
    }
}

#[test]
fn a_partition_reads_as_its_number_of_how_many() {
    let partition: Partition = "2/5".parse().expect("legal");
    assert_eq!(partition, Partition::new(2, 5).expect("in range"));
    assert_eq!(partition.to_string(), "2/5");
    for wrong in ["", "2", "0/5", "6/5", "a/5", "1/", "-1/5", "1/2/3"] {
        assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
    }
}

#[test]
fn queries_have_the_answers_that_were_counted_by_hand() {
    let rows = [Row(3, 5), Row(10, 9), Row(4, 1)];
    for (text, answer) in [
        ("count", Answer::Number(3)),
        ("sum", Answer::Number(15)),
        ("max where key % 7 = 4", Answer::Number(1)),
        ("max where key % 7 = 6", Answer::Number(0)),
        ("sum where key % 7 = 3", Answer::Number(14)),
        ("select  where key % 7 = 3 ", Answer::Rows(vec![Row(3, 5), Row(10, 9)])),
        ("select", Answer::Rows(vec![Row(3, 5), Row(4, 1), Row(10, 9)])),
    ] {
        assert_eq!(query(text).run(&rows), answer, "{text}");
    }
}

#[test]
fn merged_fragments_are_the_answer_over_all_their_rows() {
    let partitions = partitions(5);
    // With and without a partition that did not answer.
    for answered in [&partitions[..], &partitions[1..]] {
        for number in 0..200 {
            let query = query(&Query::text(number));
            let fragments = answered.iter().map(|rows| query.read(&query.run(rows).tuples()).expect("its own answer"));
            assert_eq!(query.merge(fragments), Ok(query.run(answered.iter().flatten())), "{}", Query::text(number));
        }
    }
}

#[test]
fn an_answer_changes_with_the_partitions_that_gave_it() {
    let partitions = partitions(5);
    let differs = |number: u64| {
        let query = query(&Query::text(number));
        query.run(partitions.iter().flatten()) != query.run(partitions[1..].iter().flatten())
    };
    // A missing partition may hold no row of a filter, and seldom the largest one.
    assert!((0..200).filter(|number| differs(*number)).count() > 150);
}

#[test]
fn what_is_no_query_is_refused() {
    for text in [
        "",
        "drop",
        "sum where",
        "sum key % 7 = 3",
        "sum where key % 0 = 0",
        "sum where key % x = 3",
        "sum where key % 7 = 3 4",
        "sum where key % -7 = 3",
    ] {
        assert_eq!(text.parse::<Query>(), Err(QueryError(text.to_owned())));
    }
}

#[test]
fn rows_that_do_not_fit_the_query_are_refused() {
    let tuple = |bytes: &'static [u8]| Tuple(Bytes::from_static(bytes));
    let number = Answer::Number(7).tuples();
    let rows = Answer::Rows(vec![Row(1, 2)]).tuples();
    assert_eq!(query("sum").read(&rows), Err(AnswerError));
    assert_eq!(query("sum").read(&[]), Err(AnswerError));
    assert_eq!(query("sum").read(&[number[0].clone(), number[0].clone()]), Err(AnswerError));
    assert_eq!(query("sum").read(&[tuple(&[0; 9])]), Err(AnswerError));
    assert_eq!(query("select").read(&number), Err(AnswerError));
    assert_eq!(query("select").read(&[tuple(&[0; 17])]), Err(AnswerError));
    assert_eq!(query("select").merge([Answer::Number(1)]), Err(AnswerError));
}
