//! The shells of `hub` against the real API server, in-process, over the memory engine.

mod hosting;
mod pipeline;
mod world;
