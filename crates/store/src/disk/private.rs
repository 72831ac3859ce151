//! Makes and opens files and folders that only their owner can read: the log holds every Secret of every space.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Who may do what with a file: its owner may read and write it.
const FILE_MODE: u32 = 0o600;
/// Who may do what with a folder: its owner may list and change it.
const FOLDER_MODE: u32 = 0o700;
/// The rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes a file, or empties the one that is there, and opens it to be written.
pub(super) fn create(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().write(true).create(true).truncate(true))
}

/// Opens a file to be read and written; makes it if it is not there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
}

fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.mode(FILE_MODE).open(path)?;
    // The mode counts only for a file that is new.
    tighten_open(path, &file)?;
    Ok(file)
}

/// Makes a folder, and those above it if need be: the last one is private, those above get the usual mode, since others
/// may put things there too. A folder that is there already is tightened.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(path),
        made => made,
    }
}

/// Takes everybody's rights but the owner's from a file or folder that an earlier version made.
pub(super) fn tighten(path: &Path) -> io::Result<()> {
    tighten_open(path, &File::open(path)?)
}

/// A file system without modes, or a file that is somebody else's, does not keep the store from working: then it is
/// said, since somebody has to see to it.
fn tighten_open(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(mode & 0o7777 & !OTHERS)) {
        Err(error) => tracing::warn!(path = %path.display(), %error,
            "other users of this machine may be able to read this, and its mode cannot be changed: make the folder private"),
        Ok(()) => tracing::info!(path = %path.display(), "made private: others could read it"),
    }
    Ok(())
}
