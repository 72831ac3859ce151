//! Compaction: copies what lives of some closed files into a new base, a little at a time.

use super::dead::Dead;
use super::frame::{self, Builder, FILE_HEADER, Kind};
use super::scan::{Next, Scan};
use super::{LogFile, private, sync_dir};
use crate::error::EngineError;
use crate::key::Revision;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much one step reads at least, in bytes: under a millisecond, which is what a commit may have to wait for it.
const STEP_BYTES: u64 = 256 << 10;
/// How much is written between two syncs, in bytes: one sync of everything at the end would hold commits up.
const SYNC_BYTES: u64 = 2 << 20;

/// A finished compaction.
pub(super) struct Done {
    pub(super) base: LogFile,
    /// Records of the files that it replaces.
    pub(super) read: u64,
    /// Records that it kept.
    pub(super) written: u64,
    /// Bytes of the new base.
    pub(super) bytes: u64,
}

/// A compaction under way. Dropped before its end, it leaves a file that the next start deletes.
pub(super) struct Rewrite {
    dir: PathBuf,
    base: LogFile,
    temporary: PathBuf,
    out: File,
    offset: u64,
    synced: u64,
    builder: Builder,
    sources: VecDeque<LogFile>,
    scan: Option<Scan>,
    /// Fixed at the beginning: a tombstone that dies later must not go while what it buries was copied already.
    dead: Dead,
    read: u64,
    written: u64,
}

impl Rewrite {
    /// Begins to copy `sources`, which hold `records` records up to revision `upto`, without those that are `dead`, which
    /// it takes.
    pub(super) fn begin(
        dir: &Path,
        upto: Revision,
        sources: Vec<LogFile>,
        dead: &mut Dead,
        records: u64,
    ) -> Result<Self, EngineError> {
        let base = LogFile::new(dir, Kind::Base, upto);
        let temporary = base.path.with_extension("tmp");
        let io = |source| EngineError::Io { action: "create", path: temporary.clone(), source };
        let out = private::create(&temporary).map_err(io)?;
        out.write_all_at(&frame::file_header(Kind::Base, upto), 0).map_err(io)?;
        Ok(Self {
            dir: dir.to_owned(),
            base,
            temporary,
            out,
            offset: FILE_HEADER,
            synced: 0,
            builder: Builder::default(),
            sources: sources.into(),
            scan: None,
            dead: std::mem::take(dead),
            read: records,
            written: 0,
        })
    }

    /// Gives up; hands back what is dead still.
    pub(super) fn abandon(self) -> Dead {
        self.dead
    }

    fn io(&self, action: &'static str) -> impl Fn(std::io::Error) -> EngineError + use<> {
        let path = self.temporary.clone();
        move |source| EngineError::Io { action, path: path.clone(), source }
    }

    /// Copies a little, but twice what was `appended` meanwhile, so that it ends however fast the log grows. Hands out
    /// the new base when it is in place.
    pub(super) fn step(&mut self, appended: u64) -> Result<Option<Done>, EngineError> {
        let mut budget = STEP_BYTES.max(appended * 2);
        while budget > 0 {
            let Some(scan) = &mut self.scan else {
                let Some(source) = self.sources.pop_front() else { return self.finish().map(Some) };
                self.scan = Some(Scan::open(&source.path, source.kind, source.revision)?);
                continue;
            };
            let frame = match scan.next()? {
                Next::Frame(frame) => frame,
                Next::Bad(what) => return Err(scan.damaged(what)),
                Next::End => {
                    self.scan = None;
                    continue;
                }
            };
            budget = budget.saturating_sub(frame.header.frame_len() as u64);
            let mut rest = scan.payload();
            for _ in 0..frame.header.count {
                let Some((revision, record, more)) = frame::split_record(rest) else {
                    return Err(scan.damaged("no record where one should be"));
                };
                rest = more;
                if !self.dead.contains(revision) {
                    self.builder.raw(revision, record);
                    self.written += 1;
                }
            }
            if self.builder.len() as u64 >= STEP_BYTES {
                self.flush()?;
            }
        }
        Ok(None)
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if self.builder.is_empty() {
            return Ok(());
        }
        self.write_frame()?;
        if self.offset - self.synced >= SYNC_BYTES {
            self.out.sync_data().map_err(self.io("sync"))?;
            self.synced = self.offset;
        }
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), EngineError> {
        let failed = self.io("write");
        let frame = self.builder.finish(self.offset);
        self.out.write_all_at(frame, self.offset).map_err(failed)?;
        self.offset += frame.len() as u64;
        self.builder.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<Done, EngineError> {
        self.flush()?;
        self.builder.footer(self.written, self.base.revision);
        self.write_frame()?;
        self.out.sync_all().map_err(self.io("sync"))?;
        std::fs::rename(&self.temporary, &self.base.path).map_err(self.io("rename"))?;
        sync_dir(&self.dir)?;
        Ok(Done { base: self.base.clone(), read: self.read, written: self.written, bytes: self.offset })
    }
}
