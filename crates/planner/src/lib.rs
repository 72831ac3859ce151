//! What should be, as pure functions on plain data: which objects go where, what is sent, what comes back.
//!
//! Nothing here waits, asks the time, draws a random number or reads the environment.

pub mod apply;
pub mod binding;
pub mod customize;
pub mod digest;
pub mod explain;
pub mod feedback;
pub mod inventory;
pub mod registration;
pub mod space;
pub mod status;
pub mod transform;
pub mod transport;
