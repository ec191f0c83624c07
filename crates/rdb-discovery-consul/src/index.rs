//! The index of blocking queries: when to believe that nothing was missed. Pure.
//!
//! Consul's index says up to where an answer goes, and the next question waits for something beyond it. It is no promise: it goes
//! back when servers are restored or another one answers, it moves although nothing has changed, and asked beyond the end, a
//! question waits for what may never come. So it decides how to ask, and never whether the answer is compared.

/// Up to where answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Index(Option<u64>);

/// What an answer's index means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The first answer; nothing is known of what was before.
    First,
    /// Something has happened.
    Onward,
    /// The wait has ended, and nothing has happened.
    Same,
    /// The servers go on from an older state. What is known has to be asked for anew, without an index.
    WentBack,
}

impl Index {
    /// After what to ask; at once where there is nothing.
    pub(crate) fn after(self) -> Option<u64> {
        self.0
    }

    /// Takes the index of an answer.
    pub(crate) fn hear(&mut self, answered: u64) -> Heard {
        // With 0, the next question would not wait, and neither would the one after it.
        let answered = answered.max(1);
        let before = self.0.replace(answered);
        match before.map(|before| answered.cmp(&before)) {
            None => Heard::First,
            Some(std::cmp::Ordering::Greater) => Heard::Onward,
            Some(std::cmp::Ordering::Equal) => Heard::Same,
            Some(std::cmp::Ordering::Less) => {
                self.0 = None;
                Heard::WentBack
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_went_back_is_forgotten() {
        let mut index = Index::default();
        assert_eq!(index.after(), None);
        let heard: Vec<_> = [10, 10, 12, 5, 5, 6].into_iter().map(|answered| index.hear(answered)).collect();
        use Heard::{First, Onward, Same, WentBack};
        assert_eq!(heard, [First, Same, Onward, WentBack, First, Onward]);
        assert_eq!(index.after(), Some(6));
    }

    #[test]
    fn an_index_of_zero_does_not_make_a_busy_loop() {
        let mut index = Index::default();
        assert_eq!(index.hear(0), Heard::First);
        assert_eq!(index.after(), Some(1));
    }
}
