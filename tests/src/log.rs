//! The log of a process: its lines as they come, and the changes of membership among them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LOCKED: &str = "no reader panics while it holds this lock";

#[derive(Debug, Default)]
struct Content {
    lines: Vec<String>,
    ended: bool,
}

/// What a process has written so far.
#[derive(Debug, Default)]
pub struct Log {
    content: Mutex<Content>,
    grown: Condvar,
}

impl Log {
    /// Reads to the end of the stream, on a thread of its own, and keeps a copy in the file.
    pub(crate) fn follow(stream: impl Read + Send + 'static, mut copy: File) -> (Arc<Self>, JoinHandle<()>) {
        let log = Arc::new(Self::default());
        let filled = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                // The copy is for people; what the test needs is in memory.
                let _ = writeln!(copy, "{line}");
                filled.content.lock().expect(LOCKED).lines.push(line);
                filled.grown.notify_all();
            }
            filled.content.lock().expect(LOCKED).ended = true;
            filled.grown.notify_all();
        });
        (log, reader)
    }

    /// Waits until the lines show what is looked for; `None` at the deadline, or when the stream has ended without it.
    pub fn wait<T>(&self, deadline: Instant, mut find: impl FnMut(&[String]) -> Option<T>) -> Option<T> {
        let mut content = self.content.lock().expect(LOCKED);
        loop {
            if let Some(found) = find(&content.lines) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || content.ended {
                return None;
            }
            content = self.next(content, left);
        }
    }

    /// Waits until the stream has ended; `false` at the deadline.
    pub fn wait_end(&self, deadline: Instant) -> bool {
        let mut content = self.content.lock().expect(LOCKED);
        while !content.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            content = self.next(content, left);
        }
        true
    }

    fn next<'a>(&self, content: MutexGuard<'a, Content>, left: Duration) -> MutexGuard<'a, Content> {
        self.grown.wait_timeout(content, left).expect(LOCKED).0
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.content.lock().expect(LOCKED).lines.clone()
    }

    /// How many lines there are: where a later look begins.
    pub fn mark(&self) -> usize {
        self.content.lock().expect(LOCKED).lines.len()
    }

    /// The changes of membership after a mark.
    pub fn changes(&self, mark: usize) -> Vec<Change> {
        Change::all(&self.lines()[mark..])
    }
}

/// A change of membership, as a node told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, by the node's clock, which is this machine's.
    pub at: SystemTime,
    /// Of which node.
    pub node: String,
    /// The event's name, as the specification spells it.
    pub event: String,
}

impl Change {
    /// The changes among these lines, in order.
    pub fn all(lines: &[String]) -> Vec<Self> {
        lines.iter().filter_map(|line| Self::parse(line)).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.split_once(" membership changed ")?;
        let field = |name: &str| {
            let (_, rest) = fields.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let (node, event) = (field("node")?, field("event")?);
        Some(Self { at: time_of(line)?, node, event })
    }

    /// Whether it is this event of this node.
    pub fn is(&self, event: &str, node: &str) -> bool {
        self.event == event && self.node == node
    }
}

/// When a line was written: RFC 3339 in UTC at its beginning, as in `2026-01-31T23:59:59.123456Z`.
pub(crate) fn time_of(line: &str) -> Option<SystemTime> {
    let stamp = line.split_whitespace().next()?.strip_suffix('Z')?;
    let (date, time) = stamp.split_once('T')?;
    let numbers = |text: &str, at: char| text.split(at).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let (clock, fraction) = time.split_once('.')?;
    let (date, clock) = (numbers(date, '-')?, numbers(clock, ':')?);
    let ([year, month, day], [hours, minutes, seconds]) = (date.as_slice(), clock.as_slice()) else { return None };
    let seconds = ((days_from_civil(*year, *month, *day) * 24 + hours) * 60 + minutes) * 60 + seconds;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_secs_f64(fraction))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, by Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for years from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_read_to_the_microsecond() {
        for (stamp, seconds) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2000-02-29T12:00:00.000000Z", 951_825_600),
            ("2026-11-22T23:15:33.000000Z", 1_795_389_333),
        ] {
            assert_eq!(
                time_of(&format!("{stamp}  INFO x")),
                Some(UNIX_EPOCH + Duration::from_secs(seconds)),
                "{stamp}"
            );
        }
        let since = time_of("1970-01-01T00:00:01.250001Z x").expect("a time stamp").duration_since(UNIX_EPOCH);
        assert_eq!(since.expect("after 1970").as_micros(), 1_250_001);
        for line in ["", "x", "2026-11-22 23:15:33", "2026-11-22T23:15Z", "2026-11-22T23:15:33.1"] {
            assert_eq!(time_of(line), None, "{line}");
        }
    }

    #[test]
    fn a_change_of_membership_is_read_from_its_line() {
        let line = "2026-11-22T23:15:33.500000Z  INFO rdb_net_manager::pump: membership changed node=\"n2\" \
                    state=\"failed\" address=127.0.0.1:7000 event=\"NodeFailed\"";
        let change = Change::all(&["noise".to_owned(), line.to_owned()]);
        assert_eq!(change.len(), 1, "{change:?}");
        assert!(change[0].is("NodeFailed", "n2") && !change[0].is("NodeFailed", "n1"));
    }
}
