//! The shells of `hub` against the real API server, in-process, over the memory engine.

#[cfg(test)]
mod control;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod hosting;
#[cfg(test)]
mod its;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod world;
