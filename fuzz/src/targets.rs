//! The targets, one file each.

pub(crate) mod acceptor;
pub(crate) mod cluster_message;
pub(crate) mod compressed;
pub(crate) mod control_message;
pub(crate) mod datagram;
pub(crate) mod dialer;
pub(crate) mod envelope;
pub(crate) mod fragments;
pub(crate) mod header;
pub(crate) mod hello;
pub(crate) mod lanes;
pub(crate) mod stream;
