//! KubeStellar under chance: random histories, faults, and what must hold whatever happens. Never shipped.

pub mod chaos;
pub mod history;
mod link;
pub mod oracle;
mod random;
pub mod restart;
pub mod scenario;
pub mod time;
mod watchman;
mod world;

pub use random::Random;
