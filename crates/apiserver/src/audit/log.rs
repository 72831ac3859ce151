//! The file that events are written to, a line each, and its older parts.

use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How large a file becomes, and how many older ones are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Bytes after which a new file is begun.
    pub bytes_max: u64,
    /// Older files that are kept; 0 keeps all.
    pub kept_max: usize,
}

/// A log that is open.
pub(super) struct Log {
    path: PathBuf,
    rotation: Rotation,
    state: Mutex<State>,
}

struct State {
    file: File,
    bytes: u64,
}

fn open(path: &Path) -> io::Result<State> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(State { file, bytes })
}

impl Log {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), rotation, state: Mutex::new(open(path)?) })
    }

    /// Writes a line; `now` names the older part, if a new file is begun. What cannot be written is said in the log of
    /// the server: a full disk must not stop the requests.
    pub(super) fn write(&self, line: &str, now: &str) {
        let mut state = self.state.lock();
        if state.bytes > 0 && state.bytes + line.len() as u64 >= self.rotation.bytes_max {
            match self.rotate(now) {
                Ok(fresh) => *state = fresh,
                Err(error) => tracing::error!(%error, path = %self.path.display(), "the audit log cannot be rotated"),
            }
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        match state.file.write_all(&bytes) {
            Ok(()) => state.bytes += bytes.len() as u64,
            Err(error) => tracing::error!(%error, path = %self.path.display(), "an audit event was not written"),
        }
    }

    fn older(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, ending) = self.parts();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found: Vec<PathBuf> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                name.starts_with(&format!("{stem}-2")) && name.ends_with(&ending)
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// The name without its ending, and the ending with its dot.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let ending = text(self.path.extension()).map(|ending| format!(".{ending}")).unwrap_or_default();
        (text(self.path.file_stem()).unwrap_or_default(), ending)
    }

    fn rotate(&self, now: &str) -> io::Result<State> {
        let (stem, ending) = self.parts();
        fs::rename(&self.path, self.path.with_file_name(format!("{stem}-{}{ending}", now.replace(':', "-"))))?;
        if self.rotation.kept_max > 0 {
            let older = self.older()?;
            for path in older.iter().take(older.len().saturating_sub(self.rotation.kept_max)) {
                fs::remove_file(path)?;
            }
        }
        open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_a_new_file_and_keeps_some_old_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = Log::open(&path, Rotation { bytes_max: 10, kept_max: 2 }).unwrap();
        for index in 0..5 {
            log.write(&format!("event {index}"), &format!("2026-01-01T00:00:0{index}.000000Z"));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "event 4\n");
        let older = log.older().unwrap();
        let texts: Vec<String> = older.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["event 2\n", "event 3\n"]);
    }
}
