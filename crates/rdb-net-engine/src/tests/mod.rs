//! The engine, one sentence a test.

mod any_inputs;
mod events;
mod health;
mod joining;
mod lab;
mod partition;
mod peers;
mod restart;
mod scale;
mod silent_udp;
mod split;
mod versions;
