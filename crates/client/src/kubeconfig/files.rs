//! Kubeconfig files: where they are, reading them as one, changing them without harm to others.

use super::{Kubeconfig, KubeconfigError, Section};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a locked file is tried, and how long between: kubectl holds its lock for milliseconds.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The largest kubeconfig that is read: thousands of clusters with their certificates.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The files that count, first to last, as kubectl chooses them: the flag's file alone; else those of `KUBECONFIG`,
/// separated by colons; else `.kube/config` in the home directory.
pub fn locate(flag: Option<&Path>, variable: Option<&OsStr>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = flag.filter(|file| !file.as_os_str().is_empty()) {
        return vec![file.to_owned()];
    }
    let mut listed: Vec<PathBuf> = Vec::new();
    for file in variable.map(std::env::split_paths).into_iter().flatten() {
        if !file.as_os_str().is_empty() && !listed.contains(&file) {
            listed.push(file);
        }
    }
    if listed.is_empty() {
        listed.extend(home.map(|home| home.join(".kube").join("config")));
    }
    listed
}

/// Several kubeconfig files seen as one: what the first of them says counts.
#[derive(Clone, Debug, Default)]
pub struct KubeconfigSet {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    exists: bool,
    config: Kubeconfig,
}

impl KubeconfigSet {
    /// From documents in memory, each with the path that its relative paths start from.
    pub fn from_documents(documents: Vec<(PathBuf, Kubeconfig)>) -> Self {
        let files = documents.into_iter().map(|(path, config)| File { path, exists: true, config }).collect();
        Self { files }
    }

    /// The context that is in force.
    pub fn current_context(&self) -> Option<&str> {
        self.files.iter().find_map(|file| file.config.current_context())
    }

    /// Makes a context the current one.
    pub fn set_current_context(&mut self, name: &str) {
        let holder = self.files.iter().position(|file| file.config.current_context().is_some());
        if let Some(file) = self.at(holder) {
            file.config.set_current_context(name);
        }
    }

    /// The names of a section over all files, in order, each once.
    pub fn names(&self, section: Section) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.files.iter().flat_map(|file| file.config.names(section)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The content of an entry.
    pub fn get(&self, section: Section, name: &str) -> Option<&Value> {
        self.files.iter().find_map(|file| file.config.get(section, name))
    }

    /// The content of an entry, and the file that it comes from.
    pub(super) fn find(&self, section: Section, name: &str) -> Option<(&Value, &Path)> {
        self.files.iter().find_map(|file| Some((file.config.get(section, name)?, file.path.as_path())))
    }

    /// Sets an entry in the file that has it, or in the default file.
    pub fn set(&mut self, section: Section, name: &str, content: Value) {
        let holder = self.files.iter().position(|file| file.config.get(section, name).is_some());
        if let Some(file) = self.at(holder) {
            file.config.set(section, name, content);
        }
    }

    /// Removes an entry from every file. Whether there was one.
    pub fn remove(&mut self, section: Section, name: &str) -> bool {
        let mut removed = false;
        for file in &mut self.files {
            removed |= file.config.remove(section, name);
        }
        removed
    }

    /// The value of an extension of the file as a whole.
    pub fn extension(&self, name: &str) -> Option<&Value> {
        self.files.iter().find_map(|file| file.config.extension(name))
    }

    /// Sets an extension of the file as a whole.
    pub fn set_extension(&mut self, name: &str, value: Value) {
        let holder = self.files.iter().position(|file| file.config.extension(name).is_some());
        if let Some(file) = self.at(holder) {
            file.config.set_extension(name, value);
        }
    }

    /// The value of an extension of a context.
    pub fn context_extension(&self, context: &str, name: &str) -> Option<&Value> {
        let holder = self.files.iter().find(|file| file.config.get(Section::Contexts, context).is_some())?;
        holder.config.context_extension(context, name)
    }

    /// Sets an extension of a context. Whether the context is there.
    pub fn set_context_extension(&mut self, context: &str, name: &str, value: Value) -> bool {
        let holder = self.files.iter_mut().find(|file| file.config.get(Section::Contexts, context).is_some());
        holder.is_some_and(|file| file.config.set_context_extension(context, name, value))
    }

    /// The file that new entries go to: the first that exists, else the last that is named.
    pub fn default_file(&self) -> Option<&Path> {
        self.default_index().map(|index| self.files[index].path.as_path())
    }

    fn default_index(&self) -> Option<usize> {
        self.files.iter().position(|file| file.exists).or_else(|| self.files.len().checked_sub(1))
    }

    fn at(&mut self, holder: Option<usize>) -> Option<&mut File> {
        let index = holder.or_else(|| self.default_index())?;
        self.files.get_mut(index)
    }
}

/// Reads files as one. A file that does not exist counts as empty.
///
/// # Errors
/// If a file cannot be read or is not a kubeconfig.
pub fn read(paths: &[PathBuf]) -> Result<KubeconfigSet, KubeconfigError> {
    let files = paths.iter().map(|path| read_file(path)).collect::<Result<_, _>>()?;
    Ok(KubeconfigSet { files })
}

fn read_file(path: &Path) -> Result<File, KubeconfigError> {
    let failed = |cause| KubeconfigError::File { action: "cannot read", file: path.to_owned(), cause };
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            let cause = format!("it is larger than {FILE_BYTES_MAX} bytes");
            return Err(KubeconfigError::Syntax { file: path.to_owned(), cause });
        }
        Ok(_) => {}
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(File { path: path.to_owned(), exists: false, config: Kubeconfig::default() });
        }
        Err(cause) => return Err(failed(cause)),
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let config = Kubeconfig::parse(&text).map_err(|cause| KubeconfigError::Syntax { file: path.to_owned(), cause })?;
    Ok(File { path: path.to_owned(), exists: true, config })
}

/// Locks the files, reads them, lets `change` change them, and writes those that did change: each by a new file that
/// takes the old one's place, so that a reader sees the whole old or the whole new one. Blocks while another program
/// has the lock, a few seconds at most.
///
/// # Errors
/// What `change` returns, and then nothing is written; or that a file cannot be locked, read or written.
pub fn edit<R, E: From<KubeconfigError>>(
    paths: &[PathBuf],
    change: impl FnOnce(&mut KubeconfigSet) -> Result<R, E>,
) -> Result<R, E> {
    if paths.is_empty() {
        let text = "no kubeconfig file: set KUBECONFIG or HOME, or give --kubeconfig";
        return Err(KubeconfigError::Content(text.into()).into());
    }
    // A link is followed, so that what it points to is replaced and not the link.
    let real: Vec<PathBuf> = paths.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect();
    let mut ordered = real.clone();
    ordered.sort(); // two programs that lock several files cannot wait for each other
    ordered.dedup();
    let mut locks = Vec::new();
    for path in &ordered {
        if path.parent().is_some_and(|parent| parent.as_os_str().is_empty() || parent.exists()) {
            locks.push(Lock::take(path, LOCK_ATTEMPTS)?);
        } else if path == &real[real.len() - 1] || real.len() == 1 {
            make_parent(path)?;
            locks.push(Lock::take(path, LOCK_ATTEMPTS)?);
        }
    }
    let before = read(&real)?;
    let mut after = before.clone();
    let result = change(&mut after)?;
    for (old, new) in before.files.iter().zip(&after.files) {
        if old.config != new.config {
            write(&new.path, &new.config)?;
        }
    }
    drop(locks);
    Ok(result)
}

fn make_parent(path: &Path) -> Result<(), KubeconfigError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|cause| KubeconfigError::File {
        action: "cannot create",
        file: parent.to_owned(),
        cause,
    })
}

/// Writes a kubeconfig of our own making, whole: a new file, readable by its owner only, takes the place of an old one.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, config: &Kubeconfig) -> Result<(), KubeconfigError> {
    let text = config.to_yaml().map_err(|cause| KubeconfigError::Syntax { file: path.to_owned(), cause })?;
    let failed = |cause| KubeconfigError::File { action: "cannot write", file: path.to_owned(), cause };
    make_parent(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let _ = fs::remove_file(&temporary); // left by a process of the same number that died
        // Credentials are in here: nobody else may read them, not even for a moment.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        if let Ok(meta) = fs::metadata(path) {
            file.set_permissions(fs::Permissions::from_mode(meta.permissions().mode() & 0o777))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// A lock as kubectl takes it: a file beside the kubeconfig, made only if absent.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path, attempts: u32) -> Result<Self, KubeconfigError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let lock = path.with_file_name(name);
        for attempt in 0..attempts {
            if attempt > 0 {
                std::thread::sleep(LOCK_WAIT);
            }
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => {
                    return Err(KubeconfigError::File { action: "cannot lock", file: path.to_owned(), cause });
                }
            }
        }
        Err(KubeconfigError::Locked { lock })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Done = Result<(), KubeconfigError>;

    fn context(cluster: &str) -> Value {
        json!({"cluster": cluster, "user": "u"})
    }

    #[test]
    fn where_the_files_are() {
        let home = Some(Path::new("/home/a"));
        let list = |flag: Option<&str>, variable: Option<&str>| {
            let found = locate(flag.map(Path::new), variable.map(OsStr::new), home);
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list(None, None), ["/home/a/.kube/config"]);
        assert_eq!(list(None, Some("")), ["/home/a/.kube/config"]);
        assert_eq!(list(None, Some("/a:/b::/a")), ["/a", "/b"]);
        assert_eq!(list(Some("x"), Some("/a:/b")), ["x"]);
        assert!(locate(None, None, None).is_empty());
    }

    #[test]
    fn a_new_file_is_private_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube/config");
        edit(std::slice::from_ref(&path), |set| -> Done {
            set.set(Section::Contexts, "a", context("c"));
            set.set_current_context("a");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let set = read(&[path]).unwrap();
        assert_eq!(set.current_context(), Some("a"));
        assert_eq!(set.get(Section::Contexts, "a").unwrap()["cluster"], "c");
    }

    #[test]
    fn a_file_that_does_not_change_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let text = "# mine\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        edit(std::slice::from_ref(&path), |set| -> Done {
            set.set_current_context("a");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let failed = edit(std::slice::from_ref(&path), |set| -> Done {
            set.set_current_context("b");
            Err(KubeconfigError::Content("no".into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        edit(std::slice::from_ref(&path), |set| -> Done {
            set.set_current_context("b");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(read(&[path]).unwrap().current_context(), Some("b"));
    }

    #[test]
    fn each_entry_goes_to_the_file_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("absent"), dir.path().join("one"), dir.path().join("two")];
        fs::write(&paths[1], "contexts: [{name: a, context: {cluster: one}}]").unwrap();
        fs::write(
            &paths[2],
            "current-context: b\ncontexts: [{name: a, context: {cluster: two}}, {name: b, context: {}}]",
        )
        .unwrap();
        edit(&paths, |set| -> Done {
            assert_eq!(set.names(Section::Contexts), ["a", "b"]);
            assert_eq!(set.get(Section::Contexts, "a").unwrap()["cluster"], "one");
            assert_eq!(set.current_context(), Some("b"));
            set.set(Section::Contexts, "b", context("changed"));
            set.set(Section::Contexts, "new", context("new"));
            set.set_current_context("new");
            Ok(())
        })
        .unwrap();
        let names = |path: &Path| read_file(path).unwrap().config.names(Section::Contexts).join(",");
        assert!(!paths[0].exists());
        assert_eq!(names(&paths[1]), "a,new");
        assert_eq!(names(&paths[2]), "a,b");
        assert_eq!(read(&paths).unwrap().current_context(), Some("new"));
        edit(&paths, |set| -> Done {
            assert!(set.remove(Section::Contexts, "a"));
            Ok(())
        })
        .unwrap();
        assert_eq!(read(&paths).unwrap().names(Section::Contexts), ["new", "b"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "current-context: a").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        edit(std::slice::from_ref(&link), |set| -> Done {
            set.set_current_context("b");
            Ok(())
        })
        .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&[real]).unwrap().current_context(), Some("b"));
    }

    #[test]
    fn a_lock_of_another_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let held = Lock::take(&path, 1).unwrap();
        let refused = Lock::take(&path, 1).err().unwrap().to_string();
        assert!(refused.contains("config.lock") && refused.contains("remove"), "{refused}");
        drop(held);
        Lock::take(&path, 1).unwrap();
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "contexts: 7").unwrap();
        let error = read(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.contains("config is not a kubeconfig: contexts is not a list"), "{error}");
    }
}
