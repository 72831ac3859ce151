//! The product: flags, configuration, wiring. Everything else is in the libraries.

mod addresses;
mod agent_command;
mod args;
mod background;
mod data_folder;
mod demo;
mod fleet;
mod host;
mod host_guard;
mod host_marks;
mod host_parts;
#[cfg(test)]
mod host_tests;
mod local;
#[cfg(test)]
mod restart_tests;
mod serve;
mod serving;

/// For every program of this crate, and for those that measure it: see the workspace's Cargo.toml for the reason.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use args::{Program, main};
pub use fleet::{Cluster, Fleet};
pub use serve::{HOSTING, Options, Serve};
