//! An agent between two spaces of the real server: the ITS over HTTPS with its own certificate, its WEC in-process.
#![allow(clippy::unwrap_used)] // a test says what failed by where it failed

mod deliver;
mod join;
mod world;
