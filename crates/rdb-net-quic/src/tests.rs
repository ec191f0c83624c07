//! Two backends on loopback, as a transport uses them.

mod bounds;
mod datagrams;
mod end;
mod heartbeats;
mod lanes;
mod load;
mod network;
mod path;
mod scene;
