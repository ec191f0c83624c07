//! A table of handshakes: what each end of a connection does, and what each must see.

use std::fmt;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::node::{Node, PATIENCE, ask};

/// What both ends have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `up`, or how the dialing end says that it has failed.
    pub(crate) dialer: String,
    /// `up`, or the errors that the listening end has counted.
    pub(crate) taker: String,
}

type Play = Box<dyn FnOnce(&Runtime, &Seen) -> Seen>;

/// A handshake.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    play: Play,
    expected: Seen,
}

/// That it comes up, and carries a request.
pub(crate) const UP: (&str, &str) = ("up", "up");

impl Row {
    /// A handshake that both ends must see so, the dialer first. It is told what is expected, to know how long to wait.
    pub(crate) fn new(
        name: &'static str,
        (dialer, taker): (&str, &str),
        play: impl FnOnce(&Runtime, &Seen) -> Seen + 'static,
    ) -> Self {
        let expected = Seen { dialer: dialer.to_owned(), taker: taker.to_owned() };
        Self { name, play: Box::new(play), expected }
    }

    /// Plays it. Returns what went wrong, if something did.
    pub(crate) fn play(self, runtime: &Runtime) -> (String, bool) {
        let Self { name, play, expected } = self;
        let begun = Instant::now();
        let seen = play(runtime, &expected);
        let took = begun.elapsed().as_millis();
        let is_good = seen == expected;
        let verdict = if is_good { "ok".to_owned() } else { format!("FAILED, expected {expected}") };
        (format!("{name:<58} {seen:<58} {took:>5} ms  {verdict}"), is_good)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{} | {}", self.dialer, self.taker);
        f.pad(&text)
    }
}

/// What a listening node has seen, once it is what is expected or has had its time.
fn taken(taker: &Node, expected: &str) -> String {
    let deadline = Instant::now() + PATIENCE / 2;
    loop {
        let errors = taker.errors();
        let names: Vec<String> = errors
            .iter()
            .map(|(name, count)| if *count == 1 { (*name).to_owned() } else { format!("{name} x{count}") })
            .collect();
        let seen = match (names.is_empty(), taker.connections()) {
            (true, 0) => "nothing".to_owned(),
            (true, _) => "up".to_owned(),
            (false, _) => names.join(", "),
        };
        if seen == expected || Instant::now() > deadline {
            return seen;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

/// A stranger against a node: what came back, and what the node has counted. What the stranger holds open stays so while it is
/// looked whether it is up.
pub(crate) fn against<T>(taker: Node, runtime: &Runtime, expected: &Seen, (dialer, open): (String, T)) -> Seen {
    let open = (dialer == "up").then_some(open);
    let seen = Seen { dialer, taker: taken(&taker, &expected.taker) };
    drop(open);
    if expected.taker != "up" {
        assert_eq!(taker.handled(), 0, "no handler is reached");
    }
    taker.stop(runtime);
    seen
}

/// Two nodes: one dials the other by its name.
pub(crate) fn meet(runtime: &Runtime, expected: &Seen, dialer: Node, taker: Node) -> Seen {
    let called = taker.id.clone();
    meet_as(runtime, expected, dialer, taker, Some(called.as_str()))
}

/// Two nodes: one dials the other by this name, or as a seed.
pub(crate) fn meet_as(runtime: &Runtime, expected: &Seen, dialer: Node, taker: Node, called: Option<&str>) -> Seen {
    let address = taker.address().into();
    let peer = match called {
        Some(name) => dialer.transport.peer(&crate::node::id(name), &address),
        None => dialer.transport.seed(&address),
    };
    let mut seen = runtime.block_on(dialer.dialled(&peer));
    if seen == "up" {
        if let Err(error) = runtime.block_on(ask(&peer)) {
            seen = format!("up, then {error}");
        }
        assert_eq!(taker.handled(), 1, "the request reaches its handler");
    } else {
        assert_eq!(taker.handled(), 0, "no handler is reached");
    }
    let seen = Seen { dialer: seen, taker: taken(&taker, &expected.taker) };
    dialer.stop(runtime);
    taker.stop(runtime);
    seen
}
