//! Two backends on loopback, as a transport uses them.

mod bounds;
mod end;
mod load;
mod path;
mod scene;
