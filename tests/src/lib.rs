//! What the tests of the whole share: real `rdbnet` processes on loopback, their logs, and what a stranger sends them.
//!
//! A node's changes of membership are timed by the time stamps of its own log, so that neither polling nor the test's own
//! scheduling is measured. Nothing here sleeps: every wait is for an event and has a deadline, and every process is killed by
//! its id when its owner is dropped. When a test fails, the folder with the configurations and logs is kept and named.
//!
//! [`conformance`] is another matter: what every transport must do, checked in one process.

mod asker;
mod binary;
mod certificates;
mod cluster;
pub mod conformance;
mod handmade;
mod http;
mod lab;
mod log;
mod measure;
mod metrics;
mod node;
mod openssl;
mod ports;
mod python;
mod servers;
mod stranger;

pub use asker::{Asker, Reply};
pub use binary::{Rdbnet, skip, skip_consul, text};
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use handmade::{compressed, extended, flagged, frame, message, part, patched, sealed, streamed};
pub use http::{ask, get, get_json};
pub use lab::{Lab, inside, port};
pub use log::{Change, Log};
pub use measure::{Samples, runs};
pub use metrics::{connection_errors, resident_bytes};
pub use node::{Node, Spec, Started};
pub use openssl::Openssl;
pub use ports::{Place, closed_port};
pub use python::{Python, Ran, Script};
pub use servers::{Etcd, Knot};
pub use stranger::{End, Stranger, hello};
