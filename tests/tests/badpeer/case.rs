//! A misbehaviour: its name, what is sent, what must come back, and which counter moves.

use std::fmt;

use rdb_net_session::CloseReason;
use rdb_net_tests::{End, Stranger, frame, hello, message};
use rdb_net_types::{MessageType, RefusalReason};
use rdb_net_wire::{Close, CloseCode, ErrorReply, Flags, FrameError, FrameHead, Hello, Message, control_type};

use crate::CASE_BYTES_MAX;
use crate::world::{ECHO, World};

/// The correlation id of the request by which a connection shows that it lives.
const PROBE: u64 = u64::MAX;

/// One misbehaviour.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) sends: &'static str,
    pub(crate) act: Act,
    pub(crate) counted: Counted,
    /// What it may hold at once.
    pub(crate) bytes_max: usize,
    /// Whether the healthy peer's latencies are judged meanwhile.
    pub(crate) floods: bool,
}

/// What is done, and what must come of it.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes on a new connection, after a sound hello where there is one.
    Send { hello: Option<Box<Hello>>, bytes: Vec<u8>, then: Then },
    /// Anything; the text says what must come back.
    Play(fn(&mut World) -> Result<(), String>, &'static str),
}

/// What must come back.
#[derive(Clone)]
pub(crate) enum Then {
    /// The node ends the connection.
    Ends(End),
    /// The connection lives: these come back, in this order, and a request behind them is answered.
    Lives(Vec<Said>),
    /// The hello is answered, and the connection lives.
    ComesUp,
}

/// A frame that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The answer to this request.
    Reply(u64),
    /// The answer to this request is an error of this code; `true` where it was not started.
    Error(u64, u16, bool),
    Pong,
}

/// The counters that must move, each by so much, and no other one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// A connection error of this name.
    pub(crate) error: Option<(&'static str, u64)>,
    pub(crate) late_replies: u64,
    /// Messages that nobody handles.
    pub(crate) dropped: u64,
    /// At least so many messages of this type were received from the stranger.
    pub(crate) received: Option<(MessageType, u64)>,
}

impl Counted {
    pub(crate) const NOTHING: Self = Self { error: None, late_replies: 0, dropped: 0, received: None };

    pub(crate) const fn error(name: &'static str) -> Self {
        Self { error: Some((name, 1)), ..Self::NOTHING }
    }

    pub(crate) const fn errors(name: &'static str, count: u64) -> Self {
        Self { error: Some((name, count)), ..Self::NOTHING }
    }
}

impl Case {
    fn new(name: &'static str, sends: &'static str, act: Act, counted: Counted) -> Self {
        Self { name, sends, act, counted, bytes_max: CASE_BYTES_MAX, floods: false }
    }

    /// Bytes instead of a hello.
    pub(crate) fn first(
        name: &'static str,
        sends: &'static str,
        bytes: impl Into<Vec<u8>>,
        end: End,
        counted: &'static str,
    ) -> Self {
        let act = Act::Send { hello: None, bytes: bytes.into(), then: Then::Ends(end) };
        Self::new(name, sends, act, Counted::error(counted))
    }

    /// Bytes instead of a hello that are no frame.
    pub(crate) fn no_frame(
        name: &'static str,
        sends: &'static str,
        bytes: impl Into<Vec<u8>>,
        error: FrameError,
    ) -> Self {
        Self::first(name, sends, bytes, End::Closed(CloseCode::Protocol), error.name())
    }

    /// A hello that is refused.
    pub(crate) fn refused(name: &'static str, sends: &'static str, bytes: Vec<u8>, reason: RefusalReason) -> Self {
        Self::first(name, sends, bytes, End::Rejected(reason.code()), reason.name())
    }

    /// A hello that is odd and accepted.
    pub(crate) fn welcome(name: &'static str, sends: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(name, sends, Act::Send { hello: None, bytes, then: Then::ComesUp }, Counted::NOTHING)
    }

    /// Bytes behind the hello that end the connection.
    pub(crate) fn ends(
        name: &'static str,
        sends: &'static str,
        bytes: impl Into<Vec<u8>>,
        reason: CloseReason,
        code: CloseCode,
    ) -> Self {
        let then = Then::Ends(End::Closed(code));
        let act = Act::Send { hello: Some(Box::new(hello("stranger"))), bytes: bytes.into(), then };
        Self::new(name, sends, act, Counted::error(reason.name()))
    }

    /// Bytes behind the hello that are no frame.
    pub(crate) fn bad_frame(name: &'static str, sends: &'static str, bytes: Vec<u8>, error: FrameError) -> Self {
        Self::ends(name, sends, bytes, CloseReason::Frame(error), CloseCode::Protocol)
    }

    /// A frame behind the hello that may not be sent.
    pub(crate) fn breach(name: &'static str, sends: &'static str, bytes: Vec<u8>) -> Self {
        Self::ends(name, sends, bytes, CloseReason::Protocol(""), CloseCode::State)
    }

    /// Bytes behind the hello that end the connection without a word, and are counted under this name.
    pub(crate) fn goes(name: &'static str, sends: &'static str, bytes: Vec<u8>, counted: Counted) -> Self {
        let hello = Some(Box::new(hello("stranger")));
        Self::new(name, sends, Act::Send { hello, bytes, then: Then::Ends(End::Silent) }, counted)
    }

    /// Bytes behind the hello that do no harm.
    pub(crate) fn lives(name: &'static str, sends: &'static str, bytes: Vec<u8>, said: &[Said]) -> Self {
        let hello = Some(Box::new(hello("stranger")));
        let act = Act::Send { hello, bytes, then: Then::Lives(said.to_vec()) };
        Self::new(name, sends, act, Counted::NOTHING)
    }

    /// Anything else.
    pub(crate) fn play_of(
        name: &'static str,
        sends: &'static str,
        comes_back: &'static str,
        play: fn(&mut World) -> Result<(), String>,
        counted: Counted,
    ) -> Self {
        Self::new(name, sends, Act::Play(play, comes_back), counted)
    }

    pub(crate) fn counted(self, counted: Counted) -> Self {
        Self { counted, ..self }
    }

    pub(crate) fn flood(self) -> Self {
        Self { floods: true, ..self }
    }

    pub(crate) fn play(&self, world: &mut World) -> Result<(), String> {
        match &self.act {
            Act::Send { hello, bytes, then } => {
                let mut stranger = Stranger::connect(world.address());
                if let Some(hello) = hello {
                    stranger.shake(hello);
                }
                stranger.send(bytes);
                then.check(stranger)
            }
            Act::Play(play, _) => play(world),
        }
    }

    /// What must come back, for the table.
    pub(crate) fn comes_back(&self) -> String {
        let then = match &self.act {
            Act::Send { then, .. } => then,
            Act::Play(_, comes_back) => return (*comes_back).to_owned(),
        };
        match then {
            Then::Ends(End::Silent) => String::from("end of stream"),
            Then::Ends(End::Closed(code)) => format!("close {}", code.name()),
            Then::Ends(End::Rejected(code)) => {
                format!("reject {}", RefusalReason::from_code(*code).map_or("?", |reason| reason.name()))
            }
            Then::ComesUp => String::from("hello"),
            Then::Lives(said) if said.is_empty() => String::from("nothing"),
            Then::Lives(said) => said.iter().map(Said::name).collect::<Vec<_>>().join(", "),
        }
    }
}

impl Then {
    fn check(&self, mut stranger: Stranger) -> Result<(), String> {
        match self {
            Self::Ends(end) => {
                let seen = stranger.end();
                if seen == *end { Ok(()) } else { Err(format!("{seen:?} instead of {end:?}")) }
            }
            Self::Lives(said) => lives(&mut stranger, said).and_then(|()| leaves(stranger)),
            Self::ComesUp => match stranger.hear() {
                Some((head, _)) if head.message_type == control_type::HELLO => {
                    lives(&mut stranger, &[]).and_then(|()| leaves(stranger))
                }
                other => Err(format!("{other:?} instead of a hello")),
            },
        }
    }
}

/// These frames come back, and then the answer to a request that is sent now.
pub(crate) fn lives(stranger: &mut Stranger, said: &[Said]) -> Result<(), String> {
    stranger.send(&message(ECHO, PROBE, "probe"));
    let mut seen = Vec::new();
    loop {
        let Some((head, body)) = stranger.hear() else { return Err(format!("it has ended after {seen:?}")) };
        match Said::of(&head, &body) {
            Some(Said::Reply(PROBE)) => break,
            heard => seen.extend(heard),
        }
    }
    // A pong overtakes answers: it travels on another lane.
    let in_lane = |said: &[Said]| said.iter().copied().filter(|said| *said != Said::Pong).collect::<Vec<_>>();
    let pongs = |said: &[Said]| said.contains(&Said::Pong);
    if in_lane(&seen) == in_lane(said) && (pongs(&seen) || !pongs(said)) {
        return Ok(());
    }
    Err(format!("{seen:?} instead of {said:?}"))
}

/// The stranger says farewell, and the node ends the stream.
pub(crate) fn leaves(mut stranger: Stranger) -> Result<(), String> {
    stranger.send(&frame(&Close { code: CloseCode::Normal as u16 }));
    let end = stranger.end();
    if end == End::Silent { Ok(()) } else { Err(format!("{end:?} after a farewell")) }
}

impl Said {
    /// What a frame says, as far as cases care: neither credits nor pings.
    pub(crate) fn of(head: &FrameHead, body: &rdb_net_wire::Body) -> Option<Self> {
        if head.flags.has(Flags::ERROR) {
            let error = ErrorReply::decode(body).expect("the node writes its errors well");
            return Some(Self::Error(head.correlation, error.code, error.not_started));
        }
        if head.flags.has(Flags::RESPONSE) {
            return Some(Self::Reply(head.correlation));
        }
        (head.message_type == control_type::PONG).then_some(Self::Pong)
    }

    fn name(&self) -> String {
        match self {
            Self::Reply(_) => String::from("reply"),
            Self::Error(_, code, not_started) => {
                format!("error {code}{}", if *not_started { ", not started" } else { "" })
            }
            Self::Pong => String::from("pong"),
        }
    }
}

/// How a case ended.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) sends: &'static str,
    pub(crate) comes_back: String,
    /// Bytes held at once above what was held before.
    pub(crate) held: usize,
    pub(crate) problem: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.problem.as_deref().map_or(String::from("ok"), |problem| format!("FAILED: {problem}"));
        let held = self.held / 1024;
        write!(f, "{:<34} {:<58} {:<28} {held:>6} KiB  {verdict}", self.name, self.sends, self.comes_back)
    }
}
