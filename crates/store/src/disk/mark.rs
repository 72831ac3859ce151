//! Remembers, beside the log, up to which revision commits were acknowledged.
//!
//! A log alone cannot tell its torn last write, which nobody was promised, from an acknowledged one that was damaged or
//! cut off since. The mark is written after each sync and is itself never synced: it costs a microsecond, survives a
//! kill, and after a loss of power it is at worst a little behind, never ahead.

use super::crc::crc32c;
use super::frame::{array_at, u64_at};
use super::private;
use crate::error::EngineError;
use crate::key::Revision;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Two slots, written in turn, so that one is always whole.
const SLOT: usize = 16;

pub(super) struct Mark {
    path: PathBuf,
    file: File,
    /// The revision that the file holds.
    written: Revision,
    /// Which slot is written next.
    slot: u64,
}

impl Mark {
    /// Opens the mark of a directory and reads it.
    pub(super) fn open(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("acknowledged");
        let io = |action, source| EngineError::Io { action, path: path.clone(), source };
        let file = private::open(&path).map_err(|error| io("open", error))?;
        let bytes = std::fs::read(&path).map_err(|error| io("read", error))?;
        let slots = bytes.chunks(SLOT).map(parse);
        let (slot, written) = slots.enumerate().max_by_key(|(_, revision)| *revision).unwrap_or_default();
        Ok(Self { path, file, written: written.unwrap_or_default(), slot: (slot as u64 + 1) % 2 })
    }

    /// Everything up to here was acknowledged, and maybe more.
    pub(super) fn revision(&self) -> Revision {
        self.written
    }

    /// Says that everything up to `revision` is acknowledged.
    pub(super) fn advance(&mut self, revision: Revision) -> Result<(), EngineError> {
        if revision <= self.written {
            return Ok(());
        }
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&revision.0.to_le_bytes());
        let crc = crc32c(0, &slot[..8]);
        slot[8..12].copy_from_slice(&crc.to_le_bytes());
        let written = self.file.write_all_at(&slot, self.slot * SLOT as u64);
        written.map_err(|source| EngineError::Io { action: "write", path: self.path.clone(), source })?;
        self.written = revision;
        self.slot = (self.slot + 1) % 2;
        Ok(())
    }
}

fn parse(slot: &[u8]) -> Option<Revision> {
    let crc = u32::from_le_bytes(array_at(slot, 8)?);
    (crc32c(0, slot.get(..8)?) == crc)
        .then_some(Revision(u64_at(slot, 0)?))
        .filter(|revision| *revision != Revision::ZERO)
}
