//! What was probably meant by a name that nobody has.

/// The one name that is near: a letter or two that are wrong, missing or swapped. `None` where there is none, or several that
/// are equally near: then a guess would be one.
pub(super) fn similar<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = wrong.to_ascii_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|name| {
            let distance = strsim::osa_distance(&folded, &name.to_ascii_lowercase());
            let shorter = folded.len().min(name.len());
            (distance <= (shorter / 3).clamp(1, 3) && distance < shorter).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    match near.as_slice() {
        [(_, only)] => Some(only),
        [(nearest, name), (next, _), ..] if nearest < next => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wrong: &str, known: &[&str], meant: Option<&str>) {
        assert_eq!(similar(wrong, known.iter().copied()), meant, "{wrong}");
    }

    #[test]
    fn a_letter_that_is_wrong_missing_or_swapped_is_seen_through() {
        for wrong in ["noed1", "node", "Node1", "nod1", "nodee1"] {
            check(wrong, &["node1", "client"], Some("node1"));
        }
    }

    #[test]
    fn of_several_that_are_equally_near_none_is_guessed() {
        check("n4", &["n1", "n2"], None);
        check("n22", &["n1", "n2"], Some("n2"));
    }

    #[test]
    fn what_is_far_is_not_meant() {
        check("backup", &["node1", "node2"], None);
        check("x", &["n"], None);
        check("", &["n1"], None);
    }
}
