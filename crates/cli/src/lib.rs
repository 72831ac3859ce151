//! Commands for people, and their output: `kflex` for spaces, `kubestellar` for clusters.
//!
//! What an argument means, what happens to a kubeconfig and how a table looks are functions of data; the commands around
//! them do the IO. Nothing here knows how a server runs: every command works through the API of some space.

pub mod clusters;
pub mod contexts;
mod error;
mod explain;
pub mod kflex;
mod kind_of_space;
mod output;
mod places;
mod session;
mod table;

#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use explain::Explain;
pub use output::Output;
pub use places::{GetCommand, Where, table_of};
pub use session::{Environment, Session};
pub use table::{age, go_age, table};
