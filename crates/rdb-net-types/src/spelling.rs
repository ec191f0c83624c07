//! Which known name was probably meant by an unknown one, for errors that help: in configurations, and in files of nodes.

/// Longer names are no typing mistakes.
const NAME_CHARS_MAX: usize = 64;
/// A beginning of a name that says enough.
const PREFIX_CHARS_MIN: usize = 4;

/// The candidate that is nearest to a wrong name, if one is near: a few wrong, missing or swapped letters, another
/// separator or case, or the beginning of the name.
pub fn nearest_name<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = folded(wrong);
    if wrong.len() > NAME_CHARS_MAX {
        return None;
    }
    let scored = candidates.into_iter().filter_map(|candidate| Some((score(&wrong, &folded(candidate))?, candidate)));
    scored.min_by_key(|(score, _)| *score).map(|(_, candidate)| candidate)
}

fn folded(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

/// How far a name is from a candidate; `None` when it is too far to be meant.
fn score(wrong: &[char], right: &[char]) -> Option<usize> {
    let distance = distance(wrong, right);
    let shorter = wrong.len().min(right.len());
    if distance <= (shorter / 3).max(1) && distance < shorter {
        return Some(distance);
    }
    let is_beginning = shorter >= PREFIX_CHARS_MIN && (wrong.starts_with(right) || right.starts_with(wrong));
    is_beginning.then_some(distance)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours that turn one into the
/// other, no place touched twice (Damerau 1964, restricted).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut best = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wrong: &str, meant: Option<&str>) {
        let known = ["max_connections", "connection_timeout_ms", "health_check", "least_connections", "tls", "enabled"];
        assert_eq!(nearest_name(wrong, known), meant);
    }

    #[test]
    fn a_typing_mistake_finds_the_name() {
        check("max_conections", Some("max_connections"));
        check("healthcheck", Some("health_check"));
        check("health-check", Some("health_check"));
        check("HealthCheck", Some("health_check"));
        check("leastconn", Some("least_connections"));
        check("connection_timeout", Some("connection_timeout_ms"));
        check("tsl", Some("tls"));
        check("enabeld", Some("enabled"));
    }

    #[test]
    fn another_word_finds_nothing() {
        check("x", None);
        check("ssh", None);
        check("compression", None);
        check("", None);
        check(&"tls".repeat(1000), None);
    }

    #[test]
    fn the_distance_counts_single_mistakes() {
        let count = |one: &str, other: &str| distance(&folded(one), &folded(other));
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", "abc"), 0);
        assert_eq!(count("abc", "acb"), 1);
        assert_eq!(count("abc", "ab"), 1);
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("ca", "abc"), 3);
    }
}
