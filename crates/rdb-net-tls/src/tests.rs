//! Handshakes, files and secrets, one sentence a test.

mod authenticator;
mod config;
mod connections;
mod expiry;
mod handshakes;
mod identity;
mod limits;
mod mint;
mod quiet;
mod raw;
mod reload;
mod rotation;
mod scene;
mod secret;
mod suites;
