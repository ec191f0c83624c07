//! What is measured and how it is placed: the workloads, the modes and the runtimes.
//!
//! The set is closed on purpose. A figure can be compared only when payload, window and placement are the same, so
//! these are names and not free parameters.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One traffic pattern over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// 64 B echo, 1 in flight: latency of an idle connection.
    W1,
    /// 64 B echo, 64 in flight: cost per call under load.
    W2,
    /// 4 KiB echo, 64 in flight: cost of bytes at a database page's size.
    W3,
    /// 64 B one-way messages from one sender: cost per message.
    W4,
    /// 1 MiB one-way messages from one sender: cost of copies.
    W5,
    /// 128 KiB echo, 8 in flight: messages above one read buffer.
    W6k,
    /// 128 KiB one-way messages from one sender: what a log with such batches is held against. In no report of the race.
    #[value(skip)]
    W5k,
}

/// Whether a message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Every message is answered with its own payload.
    Echo,
    /// No message is answered; the server tells at a barrier how many it received.
    OneWay,
}

impl Workload {
    /// All workloads of the race, in the order of the report.
    pub const ALL: [Self; 6] = [Self::W1, Self::W2, Self::W3, Self::W4, Self::W5, Self::W6k];

    /// Bytes of one message, without any header.
    #[must_use]
    pub const fn payload_bytes(self) -> usize {
        match self {
            Self::W1 | Self::W2 | Self::W4 => 64,
            Self::W3 => 4 << 10,
            Self::W5 => 1 << 20,
            Self::W5k | Self::W6k => 128 << 10,
        }
    }

    /// Independent callers, each with one call in flight; for one-way workloads the senders.
    #[must_use]
    pub const fn callers(self) -> usize {
        match self {
            Self::W1 | Self::W4 | Self::W5 | Self::W5k => 1,
            Self::W2 | Self::W3 => 64,
            Self::W6k => 8,
        }
    }

    /// Whether messages are answered.
    #[must_use]
    pub const fn pattern(self) -> Pattern {
        match self {
            Self::W1 | Self::W2 | Self::W3 | Self::W6k => Pattern::Echo,
            Self::W4 | Self::W5 | Self::W5k => Pattern::OneWay,
        }
    }

    /// The name used on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W3 => "w3",
            Self::W4 => "w4",
            Self::W5 => "w5",
            Self::W6k => "w6k",
            Self::W5k => "w5k",
        }
    }
}

/// The tokio runtime of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Everything on the thread that calls `block_on`.
    CurrentThread,
    /// Two worker threads.
    MultiThread,
}

impl Runtime {
    /// The name used on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current-thread",
            Self::MultiThread => "multi-thread",
        }
    }

    /// Builds the runtime.
    ///
    /// # Errors
    ///
    /// The operating system's, when threads or the poller cannot be made.
    pub fn build(self) -> std::io::Result<tokio::runtime::Runtime> {
        match self {
            Self::CurrentThread => tokio::runtime::Builder::new_current_thread().enable_all().build(),
            Self::MultiThread => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        }
    }
}

/// Runtime and placement of both processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Both processes pinned to one core, current-thread runtimes: the software path and the context switch.
    OneCore,
    /// Current-thread runtimes, placed by the scheduler: on two cores it includes waking an idle one.
    Free,
    /// Runtimes with two workers each, placed by the scheduler: the cost of wake-ups across threads.
    Mt,
}

impl Mode {
    /// All modes, in the order of the report.
    pub const ALL: [Self; 3] = [Self::OneCore, Self::Free, Self::Mt];

    /// The runtime of both processes.
    #[must_use]
    pub const fn runtime(self) -> Runtime {
        match self {
            Self::OneCore | Self::Free => Runtime::CurrentThread,
            Self::Mt => Runtime::MultiThread,
        }
    }

    /// The name used on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneCore => "one-core",
            Self::Free => "free",
            Self::Mt => "mt",
        }
    }
}
