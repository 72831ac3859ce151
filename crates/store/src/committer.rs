//! The one thread that talks to the engine: takes all records that wait, makes them durable with one append, says so,
//! and meanwhile the next ones gather. It never waits to fill a batch.

use crate::engine::{Engine, Record};
use crate::entry::Meta;
use crate::error::EngineError;
use crate::key::Revision;
use crate::limits::APPEND_BYTES;
use crate::metrics::micros;
use crate::store::Shared;
use clock::Stopwatch;
use std::collections::VecDeque;

/// Records that wait for the engine, in the order of revisions.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) records: VecDeque<Record>,
    pub(crate) bytes: usize,
    /// Records no longer needed, to be told to the engine.
    pub(crate) removed: Vec<Revision>,
    /// No more will come: finish and leave.
    pub(crate) stop: bool,
}

impl Pending {
    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.weight();
        self.records.push_back(record);
    }

    /// All that wait, but not more than one append should carry.
    fn take(&mut self, batch: &mut Vec<Record>) {
        let mut bytes = 0;
        while let Some(record) = self.records.front() {
            let weight = record.weight();
            if !batch.is_empty() && bytes + weight > APPEND_BYTES {
                break;
            }
            bytes += weight;
            self.bytes -= weight;
            batch.extend(self.records.pop_front());
        }
        if self.records.is_empty() && self.records.capacity() > 1024 {
            self.records.shrink_to(64); // a burst must not leave its largest queue behind
        }
    }
}

/// Runs until the store stops or the engine fails. The engine, and with it the lock of its directory, is let go of
/// before the store says that it is closed.
pub(crate) fn run<M: Meta>(shared: &Shared<M>, mut engine: Box<dyn Engine>) {
    let reason = match serve(shared, engine.as_mut()) {
        Ok(()) => "it was closed".to_owned(),
        Err(error) => {
            let text = chain(&error);
            tracing::error!(error = %text, "the engine failed: nothing is acknowledged any more");
            text
        }
    };
    shared.close(&reason);
    drop(engine);
    shared.finished();
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn serve<M: Meta>(shared: &Shared<M>, engine: &mut dyn Engine) -> Result<(), EngineError> {
    let mut batch = Vec::new();
    let mut idle = false;
    loop {
        let removed = {
            let mut pending = shared.pending.lock();
            while pending.records.is_empty() && pending.removed.is_empty() && (idle || pending.stop) {
                if pending.stop {
                    return Ok(());
                }
                shared.wake.wait(&mut pending);
            }
            pending.take(&mut batch);
            std::mem::take(&mut pending.removed)
        };
        if let Some(last) = batch.last().map(|record| record.revision) {
            let stopwatch = Stopwatch::start();
            engine.append(&batch)?;
            let took = stopwatch.elapsed();
            shared.set_durable(last);
            let mut samples = shared.samples.lock();
            samples.syncs.observe(micros(took));
            samples.batches.observe(batch.len() as u64);
            drop(samples);
            batch.clear();
            batch.shrink_to(1024);
        }
        engine.remove(&removed)?;
        let more = engine.tend()?;
        let dropped = shared.trim_step();
        idle = !more && dropped.is_empty();
    }
}
