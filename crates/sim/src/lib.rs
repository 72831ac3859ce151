//! KubeStellar under chance: random histories, faults, and what must hold whatever happens. Never shipped.

pub mod history;
pub mod oracle;
mod random;

pub use random::Random;
