//! A dialer and an acceptor joined by pipes of memory, on a virtual clock.

mod apart;
mod draining;
mod flow;
mod greeting;
mod heartbeats;
mod hostile;
mod large;
mod liveness;
mod outboxes;
mod pair;
mod random;
mod requests;
mod streams;
mod violations;
