//! The product: flags, configuration, wiring. Everything else is in the libraries.

mod agent_command;
mod args;
mod background;
mod demo;
mod fleet;
mod host;
mod local;
mod serve;
mod serving;

pub use args::{Program, main};
pub use fleet::{Cluster, Fleet};
pub use serve::{HOSTING, Options, Serve};
