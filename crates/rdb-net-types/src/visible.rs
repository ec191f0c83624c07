//! Text from others, where people see it: in logs, on terminals, in answers.
//!
//! A line end makes a line of a log that nobody wrote, an escape sequence moves a terminal's cursor, and a mark that reverses the
//! direction of text makes it read as something else (CVE-2021-42574).

use std::fmt;

/// A text of somebody else, written with `\u{fffd}` in the place of what is not to be seen: control characters, line and
/// paragraph separators, and marks of direction.
#[derive(Debug, Clone, Copy)]
pub struct Visible<'a>(pub &'a str);

impl Visible<'_> {
    /// The text as it is written, of its beginning so many bytes at most.
    pub fn cut(self, bytes_max: usize) -> String {
        let mut text = String::new();
        for shown in self.0.chars().map(shown) {
            if text.len() + shown.len_utf8() > bytes_max {
                break;
            }
            text.push(shown);
        }
        text
    }
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| f.write_char(shown(c)))
    }
}

fn shown(c: char) -> char {
    let is_hidden = c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if is_hidden { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// S18: what would make lines, move cursors or turn text around is replaced, and everything else is as it was.
    #[test]
    fn what_is_not_to_be_seen_is_replaced() {
        let check = |text: &str, expected: &str| assert_eq!(Visible(text).to_string(), expected);
        check("disk is full", "disk is full");
        check("Größe 3 µs, 数据库", "Größe 3 µs, 数据库");
        check("a\nERROR forged", "a\u{fffd}ERROR forged");
        check("\x1b[2J\x07\x7f\0\u{9b}", "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        check("a\u{202e}b\u{2066}c\u{2028}d\u{61c}", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
    }

    proptest! {
        /// S18.
        #[test]
        fn no_control_character_is_left_and_a_cut_is_no_longer_than_it_may_be(text: String, bytes_max in 0usize..40) {
            let (whole, cut) = (Visible(&text).to_string(), Visible(&text).cut(bytes_max));
            prop_assert!(!whole.chars().any(char::is_control));
            prop_assert_eq!(whole.chars().count(), text.chars().count());
            prop_assert!(cut.len() <= bytes_max && whole.starts_with(&cut));
        }
    }
}
