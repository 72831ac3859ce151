//! The folder in which a server keeps everything: the store, keys, what it says of itself, its log.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The rights of everybody but the owner.
const OTHERS: u32 = 0o077;
/// The credentials of the agents of simulated clusters, which go with their spaces; those of agents that people run are in
/// `agents`, and only they remove them.
pub(crate) const SIMULATED: &str = "simulated";
/// The folder of the store's files in it.
pub(crate) const STORE: &str = "store";
/// How the names begin that are made in it, also by earlier versions.
const OURS: [&str; 7] = [STORE, "agents", SIMULATED, "admin.kubeconfig", "server.", "serving.", "listen."];

/// Makes the folder, for its owner only. One that is there already is made private if it is a server's own: it holds a
/// store, and nothing that no server makes. One with other things in it keeps its mode, since others may be meant to
/// read them; what is made in it is private all the same.
pub(crate) fn make(data: &Path) -> Result<()> {
    let failed = || format!("create the data folder {}", data.display());
    if let Some(above) = data.parent() {
        fs::create_dir_all(above).with_context(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(data) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.with_context(failed),
    }
    let entries = fs::read_dir(data).with_context(failed)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>();
    if is_own(&names.with_context(failed)?) {
        let folder = File::open(data).with_context(failed)?;
        tighten(data, &folder)?;
    }
    Ok(())
}

/// Whether a folder with these entries is a server's own.
fn is_own(names: &[OsString]) -> bool {
    let made = |name: &OsString| name.to_str().is_some_and(|name| OURS.iter().any(|ours| name.starts_with(ours)));
    names.iter().any(|name| name == STORE) && names.iter().all(made)
}

/// Opens a log file to be continued, for its owner only, also if it is there already with a wider mode.
pub(crate) fn open_log(path: &Path) -> Result<File> {
    let opened = File::options().create(true).append(true).mode(0o600).open(path);
    let log = opened.with_context(|| format!("open the log file {}", path.display()))?;
    tighten(path, &log)?;
    Ok(log)
}

/// Takes everybody's rights but the owner's. A file system that has none, or a folder that is somebody else's, does not
/// keep the server from working: then it is said.
fn tighten(path: &Path, file: &File) -> Result<()> {
    let held = file.metadata().with_context(|| format!("look at {}", path.display()))?;
    let mode = held.permissions().mode() & 0o7777;
    if mode & OTHERS != 0
        && let Err(error) = file.set_permissions(Permissions::from_mode(mode & !OTHERS))
    {
        tracing::warn!(path = %path.display(), %error, "others on this machine may be able to read this");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[track_caller]
    fn check(names: &[&str], own: bool) {
        let names: Vec<OsString> = names.iter().map(OsString::from).collect();
        assert_eq!(is_own(&names), own, "{names:?}");
    }

    #[test]
    fn which_folder_is_a_servers_own() {
        check(&["store", "serving.json", "admin.kubeconfig", "server.json", "server.pid", "agents"], true);
        check(&["store", "server.log", "listen.json", "listen.part"], true);
        check(&["store"], true);
        // Just made by somebody, for a purpose that we do not know.
        check(&[], false);
        check(&["server.log"], false);
        check(&["store", "photos"], false);
        check(&["store", "lost+found"], false);
    }

    #[test]
    fn a_new_folder_and_its_log_are_private() {
        let above = tempfile::tempdir().unwrap();
        let data = above.path().join("a").join("data");
        make(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        let log = data.join("server.log");
        open_log(&log).unwrap();
        assert_eq!(mode(&log), 0o600);
    }

    #[test]
    fn a_folder_of_an_earlier_version_is_tightened_and_one_of_somebody_else_is_not() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let log = data.join("server.log");
        fs::write(&log, "said\n").unwrap();
        fs::create_dir(data.join(STORE)).unwrap();
        let open = || {
            fs::set_permissions(data, Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(&log, Permissions::from_mode(0o644)).unwrap();
        };
        open();
        make(data).unwrap();
        open_log(&log).unwrap();
        assert_eq!((mode(data), mode(&log)), (0o700, 0o600));
        open();
        fs::write(data.join("photos"), "").unwrap();
        make(data).unwrap();
        open_log(&log).unwrap();
        assert_eq!((mode(data), mode(&log)), (0o755, 0o600));
        assert_eq!(fs::read_to_string(&log).unwrap(), "said\n");
    }
}
