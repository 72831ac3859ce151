//! The engine that keeps the log in files of a directory.
//!
//! ```text
//! lock                      held by the one process that may write
//! acknowledged              up to which revision commits were acknowledged (mark.rs)
//! base-<last>.log           what compaction left of everything up to a revision
//! tail-<first>.log ...      every commit from a revision on; the last one is written
//! ```
//! A tail is written ahead with zeros, since overwriting needs no change of the file's metadata: that halves a sync.
//! Compaction copies the base and all tails but the last, without what is dead, into a new base, in small steps, and
//! puts it in place by a rename: so a tombstone and what it buries go at the same instant.
//! Why not a bought engine: docs/design/0001-storage-engine.md.

mod crc;
mod dead;
mod frame;
mod lock;
mod mark;
mod private;
mod rewrite;
mod scan;

use crate::engine::{Engine, Record};
use crate::error::{EngineError, OpenError};
use crate::key::{Key, Revision};
use clock::SharedClock;
use dead::Dead;
use frame::{Builder, FILE_HEADER, Kind};
use mark::Mark;
use rewrite::Rewrite;
use scan::{Next, Scan};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How far a new tail is written ahead, in bytes: enough for the first hundred writes of a fresh directory, and little
/// enough to start at once.
const FIRST_AHEAD: u64 = 256 << 10;
/// How far a tail is written ahead at least, in bytes; an eighth of its length if that is more ...
const MIN_AHEAD: u64 = 1 << 20;
/// ... but not more than this, so that zeros cost little disk and each step little time.
const MAX_AHEAD: u64 = 8 << 20;
/// A log smaller than this is not compacted: it loads in a few milliseconds anyway.
const COMPACT_BYTES: u64 = 8 << 20;

/// After a compaction failed, it is tried again when the log has so many more records.
const RETRY_RECORDS: u64 = 4096;

const ZEROS: &[u8] = &[0; 64 << 10];

/// Opens the log of a directory, which is made if need be.
///
/// The directory is the store's own: nothing else should be kept there. It gets mode 0700 and its files 0600, also when
/// they are there already with a wider one. Directories above it are not touched.
///
/// # Errors
/// When another process has it open, or it cannot be read.
pub fn open_disk(dir: &Path, clock: SharedClock) -> Result<Box<dyn Engine>, OpenError> {
    private::folder(dir).map_err(|source| EngineError::Io { action: "create", path: dir.to_owned(), source })?;
    let lock = lock::lock(dir, &clock)?;
    let mark = Mark::open(dir)?;
    Ok(Box::new(Disk {
        dir: dir.to_owned(),
        _lock: lock,
        mark,
        closed: Vec::new(),
        tail: None,
        builder: Builder::default(),
        last: Revision::ZERO,
        records: 0,
        dead: Dead::default(),
        rewrite: None,
        closed_bytes: 0,
        appended: 0,
        compact_from: 0,
    }))
}

/// A file of the log, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogFile {
    kind: Kind,
    /// The last revision of a base, the first one of a tail.
    revision: Revision,
    path: PathBuf,
}

impl LogFile {
    fn new(dir: &Path, kind: Kind, revision: Revision) -> Self {
        let name = match kind {
            Kind::Base => format!("base-{:020}.log", revision.0),
            Kind::Tail => format!("tail-{:020}.log", revision.0),
        };
        Self { kind, revision, path: dir.join(name) }
    }

    fn parse(path: PathBuf) -> Option<Self> {
        let (kind, number) = path.file_name()?.to_str()?.strip_suffix(".log")?.split_once('-')?;
        let kind = match kind {
            "base" => Kind::Base,
            "tail" => Kind::Tail,
            _ => return None,
        };
        Some(Self { kind, revision: Revision(number.parse().ok()?), path })
    }

    fn delete(&self) -> Result<(), EngineError> {
        let deleted = std::fs::remove_file(&self.path);
        deleted.map_err(|source| EngineError::Io { action: "delete", path: self.path.clone(), source })
    }
}

/// The files that make up the log, in order, and those that a newer base replaces.
fn arrange(mut files: Vec<LogFile>) -> (Vec<LogFile>, Vec<LogFile>) {
    let base = files.iter().filter(|file| file.kind == Kind::Base).map(|file| file.revision).max();
    let upto = base.unwrap_or_default();
    files.sort_by_key(|file| (file.kind == Kind::Tail, file.revision));
    files.into_iter().partition(|file| match file.kind {
        Kind::Base => file.revision == upto,
        Kind::Tail => file.revision > upto,
    })
}

/// The file that is written.
struct Tail {
    file: File,
    log: LogFile,
    /// Where the next frame goes.
    offset: u64,
    /// Up to where the file holds zeros to be overwritten.
    ahead: u64,
}

impl Tail {
    /// Makes a new tail. It gets its name when its header is durable: a file with the name of a log is a log.
    fn create(dir: &Path, first: Revision) -> Result<Self, EngineError> {
        let log = LogFile::new(dir, Kind::Tail, first);
        let temporary = log.path.with_extension("tmp");
        let io = |action| move |source| EngineError::Io { action, path: log_path(dir, first), source };
        let file = private::create(&temporary).map_err(io("create"))?;
        file.write_all_at(&frame::file_header(Kind::Tail, first), 0).map_err(io("write"))?;
        let mut tail = Self { file, log, offset: FILE_HEADER, ahead: FILE_HEADER };
        tail.fill(FIRST_AHEAD).map_err(io("write"))?;
        tail.file.sync_all().map_err(io("sync"))?;
        std::fs::rename(&temporary, &tail.log.path).map_err(io("rename"))?;
        sync_dir(dir)?;
        Ok(tail)
    }

    /// Writes zeros ahead, up to an offset. The caller syncs.
    fn fill(&mut self, upto: u64) -> std::io::Result<()> {
        while self.ahead < upto {
            let len = usize::try_from(upto - self.ahead).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..len], self.ahead)?;
            self.ahead += len as u64;
        }
        Ok(())
    }

    fn step(&self) -> u64 {
        (self.offset / 8).clamp(MIN_AHEAD, MAX_AHEAD)
    }

    fn io(&self, action: &'static str) -> impl Fn(std::io::Error) -> EngineError + use<> {
        let path = self.log.path.clone();
        move |source| EngineError::Io { action, path: path.clone(), source }
    }
}

fn log_path(dir: &Path, first: Revision) -> PathBuf {
    LogFile::new(dir, Kind::Tail, first).path
}

/// Makes creations, renames and deletions in a directory durable.
fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| EngineError::Io { action: "sync", path: dir.to_owned(), source })
}

struct Disk {
    dir: PathBuf,
    _lock: File,
    mark: Mark,
    /// Files that are not written any more, in order.
    closed: Vec<LogFile>,
    /// Absent before `load`.
    tail: Option<Tail>,
    builder: Builder,
    /// The last revision that was appended.
    last: Revision,
    /// How many records the files hold.
    records: u64,
    /// Which of them nothing needs, but for those that `rewrite` is leaving out.
    dead: Dead,
    rewrite: Option<Rewrite>,
    /// Bytes of `closed`.
    closed_bytes: u64,
    /// Bytes appended since the last housekeeping.
    appended: u64,
    /// Not before there are so many records is compaction tried again.
    compact_from: u64,
}

impl Disk {
    /// Files of the log in the directory, without those that a crash left half made or half deleted.
    fn files(&self) -> Result<Vec<LogFile>, EngineError> {
        let io = |source| EngineError::Io { action: "list", path: self.dir.clone(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                let removed = std::fs::remove_file(&path);
                removed.map_err(|source| EngineError::Io { action: "delete", path, source })?;
            } else {
                let Some(file) = LogFile::parse(path) else { continue };
                let tightened = private::tighten(&file.path);
                tightened.map_err(|source| EngineError::Io { action: "open", path: file.path.clone(), source })?;
                files.push(file);
            }
        }
        let (files, replaced) = arrange(files);
        for file in replaced {
            file.delete()?;
        }
        Ok(files)
    }

    /// Reads one file; hands out where its frames end.
    fn load_file(
        &mut self,
        log: &LogFile,
        is_last: bool,
        each: &mut dyn FnMut(Record),
    ) -> Result<(u64, u64), EngineError> {
        let mut scan = Scan::open(&log.path, log.kind, log.revision)?;
        if log.kind == Kind::Tail && log.revision != self.last.next() {
            let what = format!("it begins at revision {}, but the log before it ends at {}", log.revision, self.last);
            return Err(scan.damaged(what));
        }
        let mut key: Option<Key> = None;
        let mut footer = false;
        loop {
            let frame = match scan.next()? {
                Next::Frame(frame) => frame,
                Next::End if log.kind == Kind::Base && !footer => return Err(scan.damaged("its end is missing")),
                Next::End if is_last && self.mark.revision() > self.last => {
                    let (acknowledged, last) = (self.mark.revision(), self.last);
                    let what = format!("the log ends at revision {last}, but {acknowledged} was acknowledged");
                    return Err(scan.damaged(what));
                }
                Next::End => break,
                Next::Bad(what) if !is_last || self.mark.revision() > self.last || scan.frame_follows()? => {
                    return Err(scan.damaged(what));
                }
                Next::Bad(what) => {
                    tracing::warn!(file = %log.path.display(), offset = scan.offset(), last = self.last.0, what,
                        "dropping the torn last write, which was never acknowledged");
                    erase(&log.path, scan.offset(), scan.len())?;
                    break;
                }
            };
            if footer {
                return Err(scan.damaged("something follows its end"));
            }
            let header = frame.header;
            if log.kind == Kind::Base && header.count == 0 {
                footer = true;
                if (header.first, header.last) != (Revision(self.records), log.revision) {
                    return Err(scan.damaged(format!("it has {} records, not {}", self.records, header.first)));
                }
                self.last = log.revision;
                continue;
            }
            if log.kind == Kind::Tail && header.first != self.last.next() {
                let what = format!("revision {} follows {}", header.first, self.last);
                return Err(scan.damaged(what));
            }
            let mut rest = scan.payload();
            for _ in 0..header.count {
                let parsed = frame::split_record(rest);
                let parsed =
                    parsed.and_then(|(_, bytes, rest)| Some((frame::parse_record(bytes, key.as_ref())?, rest)));
                let Some((record, more)) = parsed else {
                    return Err(
                        scan.damaged(format!("no record where one should be, in the frame at {}", frame.offset))
                    );
                };
                rest = more;
                key = Some(record.key.clone());
                self.last = record.revision;
                self.records += 1;
                each(record);
            }
            if self.last != header.last || !rest.is_empty() {
                return Err(scan.damaged(format!("the frame at {} has other records than it says", frame.offset)));
            }
        }
        Ok((scan.offset(), scan.len()))
    }

    fn tail(&mut self) -> &mut Tail {
        self.tail.as_mut().expect("the store loads before everything else")
    }

    /// Whether so much is dead that copying what lives is worth it: at most one byte copied for each byte written.
    fn worth_compacting(&self) -> bool {
        let bytes = self.closed_bytes + self.tail.as_ref().map_or(0, |tail| tail.offset);
        let from = self.compact_from;
        self.rewrite.is_none() && bytes >= COMPACT_BYTES && self.dead.len() * 2 >= self.records && self.records >= from
    }

    /// Closes the tail and begins to copy what lives of everything before the new one.
    fn begin_rewrite(&mut self) -> Result<(), EngineError> {
        let last = self.last;
        if self.tail().log.revision <= last {
            let fresh = Tail::create(&self.dir, last.next())?;
            let closed = std::mem::replace(self.tail(), fresh);
            self.closed_bytes += closed.offset;
            self.closed.push(closed.log);
        }
        self.rewrite = Some(Rewrite::begin(&self.dir, last, self.closed.clone(), &mut self.dead, self.records)?);
        Ok(())
    }

    /// Copies a little more; true if there is more to do.
    fn step_rewrite(&mut self) -> bool {
        let appended = std::mem::take(&mut self.appended);
        let Some(mut rewrite) = self.rewrite.take() else { return false };
        match rewrite.step(appended) {
            Ok(None) => {
                self.rewrite = Some(rewrite);
                true
            }
            Ok(Some(done)) => {
                self.records = self.records - done.read + done.written;
                self.closed_bytes = done.bytes;
                for file in std::mem::replace(&mut self.closed, vec![done.base]) {
                    if let Err(error) = file.delete() {
                        tracing::warn!(%error, "a replaced log file stays until the next start");
                    }
                }
                false
            }
            Err(error) => {
                self.dead.extend(rewrite.abandon());
                self.put_off(&error);
                false
            }
        }
    }

    /// A compaction that fails costs disk space and no data: what is there is whole. So the store goes on.
    fn put_off(&mut self, error: &EngineError) {
        tracing::error!(%error, source = ?std::error::Error::source(error), "cannot compact the log, trying again later");
        self.compact_from = self.records + RETRY_RECORDS;
    }
}

impl Engine for Disk {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), EngineError> {
        let mut files = self.files()?;
        let fresh = files.is_empty();
        let last = match files.last() {
            Some(file) if file.kind == Kind::Tail => files.pop(),
            _ if fresh && self.mark.revision() == Revision::ZERO => None,
            _ => {
                let what = format!("no tail is there, but revision {} was acknowledged", self.mark.revision());
                return Err(EngineError::Damaged { path: self.dir.clone(), offset: 0, what });
            }
        };
        for file in &files {
            self.closed_bytes += self.load_file(file, false, each)?.0;
        }
        self.closed = files;
        self.tail = Some(match last {
            None => Tail::create(&self.dir, Revision(1))?,
            Some(log) => {
                let (offset, ahead) = self.load_file(&log, true, each)?;
                let open = File::options().write(true).open(&log.path);
                let file = open.map_err(|source| EngineError::Io { action: "open", path: log.path.clone(), source })?;
                Tail { file, log, offset, ahead }
            }
        });
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> Result<(), EngineError> {
        let Some(last) = records.last() else { return Ok(()) };
        for record in records {
            self.builder.record(record);
        }
        let tail = self.tail.as_mut().expect("the store loads before everything else");
        let frame = self.builder.finish(tail.offset);
        let end = tail.offset + frame.len() as u64;
        if end > tail.ahead {
            // A burst outran the housekeeping.
            let upto = end + tail.step();
            tail.ahead = tail.ahead.max(end);
            tail.fill(upto).map_err(tail.io("write"))?;
        }
        tail.file.write_all_at(frame, tail.offset).map_err(tail.io("write"))?;
        tail.file.sync_data().map_err(tail.io("sync"))?;
        tail.offset = end;
        self.appended += frame.len() as u64;
        self.builder.clear();
        self.last = last.revision;
        self.records += records.len() as u64;
        Ok(())
    }

    fn remove(&mut self, revisions: &[Revision]) -> Result<(), EngineError> {
        revisions.iter().for_each(|revision| self.dead.insert(*revision));
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, EngineError> {
        self.mark.advance(self.last)?;
        let tail = self.tail();
        let step = tail.step();
        if tail.ahead - tail.offset < step / 2 && tail.offset > FIRST_AHEAD / 2 {
            tail.fill(tail.offset + step).map_err(tail.io("write"))?;
            tail.file.sync_data().map_err(tail.io("sync"))?;
        }
        if self.worth_compacting()
            && let Err(error) = self.begin_rewrite()
        {
            self.put_off(&error);
        }
        Ok(self.step_rewrite())
    }
}

/// Overwrites the rest of a file with zeros, so that a torn write cannot be taken for anything later.
fn erase(path: &Path, from: u64, len: u64) -> Result<(), EngineError> {
    let io = |source| EngineError::Io { action: "repair", path: path.to_owned(), source };
    let file = File::options().write(true).open(path).map_err(io)?;
    let mut at = from;
    while at < len {
        let size = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all_at(&ZEROS[..size], at).map_err(io)?;
        at += size as u64;
    }
    file.sync_all().map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_arrange(names: &[&str], log: &[&str]) {
        let files = names.iter().filter_map(|name| LogFile::parse(PathBuf::from(name))).collect();
        let (kept, replaced) = arrange(files);
        let names_of =
            |files: &[LogFile]| -> Vec<String> { files.iter().map(|file| file.path.display().to_string()).collect() };
        assert_eq!(names_of(&kept), log);
        assert_eq!(kept.len() + replaced.len(), names.iter().filter(|name| name.ends_with(".log")).count());
    }

    #[test]
    fn the_newest_base_replaces_what_is_older() {
        check_arrange(&[], &[]);
        check_arrange(&["tail-1.log"], &["tail-1.log"]);
        check_arrange(&["tail-9.log", "tail-1.log", "lock", "acknowledged"], &["tail-1.log", "tail-9.log"]);
        check_arrange(&["tail-1.log", "tail-9.log", "base-8.log"], &["base-8.log", "tail-9.log"]);
        check_arrange(&["base-8.log", "tail-9.log", "base-20.log", "tail-21.log"], &["base-20.log", "tail-21.log"]);
    }
}
