//! The window against a set that remembers everything.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::WINDOW_COUNTERS;
use crate::packet::{Seen, Window};

/// A window that remembers every counter.
#[derive(Default)]
struct Naive {
    seen: HashSet<u64>,
    newest: u64,
}

impl Naive {
    fn mark(&mut self, counter: u64) -> Seen {
        if self.newest >= WINDOW_COUNTERS && counter <= self.newest - WINDOW_COUNTERS {
            return Seen::Unknown;
        }
        self.newest = self.newest.max(counter);
        if self.seen.insert(counter) { Seen::New } else { Seen::Before }
    }
}

/// Where the next counter lies, measured from the newest one.
fn steps() -> impl Strategy<Value = i64> {
    let width = WINDOW_COUNTERS as i64;
    prop_oneof![
        4 => -70_i64..=70,
        4 => -width - 70..=width + 70,
        1 => -width - 1..=-width + 1,
        1 => 0..=20 * width,
    ]
}

proptest! {
    #[test]
    fn a_window_says_what_a_set_of_all_counters_says(start in any::<u32>(), steps in vec(steps(), 1..600)) {
        let (mut window, mut naive) = (Window::new(), Naive::default());
        for (index, step) in steps.into_iter().enumerate() {
            let counter = if index == 0 { u64::from(start) } else { naive.newest.saturating_add_signed(step) };
            prop_assert_eq!(window.mark(counter), naive.mark(counter), "counter {}", counter);
        }
    }
}

#[test]
fn all_counters_of_a_window_are_accepted_once_in_any_order() {
    let mut window = Window::new();
    assert_eq!(window.mark(5_000), Seen::New);
    let stride = (0..WINDOW_COUNTERS).map(|index| 5_000 - index * 389 % WINDOW_COUNTERS);
    for counter in stride.clone() {
        let expected = if counter == 5_000 { Seen::Before } else { Seen::New };
        assert_eq!(window.mark(counter), expected, "{counter}");
    }
    assert!(stride.into_iter().all(|counter| window.mark(counter) == Seen::Before));
    assert_eq!(window.mark(5_000 - WINDOW_COUNTERS), Seen::Unknown);
}

#[test]
fn the_ends_of_the_counters_are_no_special_case() {
    let mut window = Window::new();
    assert_eq!(window.mark(0), Seen::New);
    assert_eq!(window.mark(0), Seen::Before);
    assert_eq!(window.mark(u64::MAX), Seen::New);
    assert_eq!(window.mark(u64::MAX), Seen::Before);
    assert_eq!(window.mark(u64::MAX - WINDOW_COUNTERS + 1), Seen::New);
    assert_eq!(window.mark(u64::MAX - WINDOW_COUNTERS), Seen::Unknown);
    assert_eq!(window.mark(0), Seen::Unknown);
}
