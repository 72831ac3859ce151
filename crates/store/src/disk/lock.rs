//! Keeps a second process out of a data directory.

use super::private;
use crate::error::{EngineError, OpenError};
use clock::SharedClock;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Locks the directory until the file is dropped, by whatever end of the process.
pub(super) fn lock(dir: &Path, clock: &SharedClock) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = |action, source| EngineError::Io { action, path: path.clone(), source };
    let mut file = private::open(&path).map_err(|error| io("open", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a courtesy: any trouble in reading it must not hide the message itself.
            let _ = Read::by_ref(&mut file).take(256).read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() };
            return Err(OpenError::Locked { path: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(io("lock", error).into()),
    }
    file.set_len(0).map_err(|error| io("write", error))?;
    let holder = format!("process {} (since {})\n", std::process::id(), clock.now());
    file.write_all(holder.as_bytes()).map_err(|error| io("write", error))?;
    Ok(file)
}
