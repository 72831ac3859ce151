//! An agent between two spaces of the real server: the ITS over HTTPS with its own certificate, its WEC in-process.

mod deliver;
mod join;
mod world;
