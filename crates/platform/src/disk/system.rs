//! The system's disk: `std::fs` on tokio's blocking threads.

use super::{BoxFuture, Disk, DiskError, DiskErrorKind, DiskResult, File};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = "LOCK";

/// A directory of the file system.
pub struct SystemDisk {
    root: PathBuf,
}

impl SystemDisk {
    /// The directory `root`, made if absent, readable by its owner only.
    pub fn new(root: impl Into<PathBuf>) -> DiskResult<SystemDisk> {
        use std::os::unix::fs::DirBuilderExt;
        let root = root.into();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&root);
        made.map_err(|e| error("create directory", &root, &e))?;
        Ok(SystemDisk { root })
    }
}

fn error(operation: &'static str, path: &Path, e: &io::Error) -> DiskError {
    let kind = match e.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => DiskErrorKind::Full,
        io::ErrorKind::WouldBlock => DiskErrorKind::Locked,
        _ => DiskErrorKind::Other,
    };
    DiskError { operation, path: path.display().to_string(), kind, detail: e.to_string() }
}

/// Runs `work` where it may block.
fn blocking<T: Send + 'static>(
    operation: &'static str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> BoxFuture<'static, DiskResult<T>> {
    Box::pin(async move {
        let task = tokio::task::spawn_blocking(move || work(&path).map_err(|e| error(operation, &path, &e)));
        task.await.unwrap_or_else(|e| {
            Err(DiskError {
                operation,
                path: String::new(),
                kind: DiskErrorKind::Other,
                detail: format!("the disk task ended: {e}"),
            })
        })
    })
}

impl Disk for SystemDisk {
    fn list(&self) -> BoxFuture<'_, DiskResult<Vec<String>>> {
        blocking("list", self.root.clone(), |root| {
            let mut names = Vec::new();
            for entry in fs::read_dir(root)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string()
                    && name != LOCK
                    && entry.file_type()?.is_file()
                {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        })
    }

    fn open(&self, name: &str, create: bool) -> BoxFuture<'_, DiskResult<Arc<dyn File>>> {
        let path = self.root.join(name);
        blocking("open", path.clone(), move |p| {
            use std::os::unix::fs::OpenOptionsExt;
            let file =
                fs::OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(p)?;
            let file: Arc<dyn File> = Arc::new(SystemFile { file: Arc::new(file), path });
            Ok(file)
        })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<'_, DiskResult<()>> {
        let to = self.root.join(to);
        blocking("rename", self.root.join(from), move |from| fs::rename(from, to))
    }

    fn remove(&self, name: &str) -> BoxFuture<'_, DiskResult<()>> {
        blocking("remove", self.root.join(name), |p| match fs::remove_file(p) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        })
    }

    fn sync_dir(&self) -> BoxFuture<'_, DiskResult<()>> {
        blocking("sync directory", self.root.clone(), |p| fs::File::open(p)?.sync_all())
    }

    fn lock(&self) -> BoxFuture<'_, DiskResult<Box<dyn Send + Sync>>> {
        blocking("lock", self.root.join(LOCK), |p| {
            let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(p)?;
            match file.try_lock() {
                Ok(()) => {
                    let guard: Box<dyn Send + Sync> = Box::new(file);
                    Ok(guard)
                }
                Err(fs::TryLockError::WouldBlock) => Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another process uses this data directory; stop it first",
                )),
                Err(fs::TryLockError::Error(e)) => Err(e),
            }
        })
    }

    fn path(&self) -> String {
        self.root.display().to_string()
    }
}

struct SystemFile {
    file: Arc<fs::File>,
    path: PathBuf,
}

impl SystemFile {
    fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, DiskResult<T>> {
        let file = self.file.clone();
        blocking(operation, self.path.clone(), move |_| work(&file))
    }
}

impl File for SystemFile {
    fn len(&self) -> BoxFuture<'_, DiskResult<u64>> {
        self.run("stat", |f| Ok(f.metadata()?.len()))
    }

    fn read(&self, offset: u64, len: usize) -> BoxFuture<'_, DiskResult<Vec<u8>>> {
        self.run("read", move |f| {
            let size = usize::try_from(f.metadata()?.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut out = vec![0; len.min(size)];
            let mut done = 0;
            while done < out.len() {
                match f.read_at(&mut out[done..], offset + done as u64) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            out.truncate(done);
            Ok(out)
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>, sync: bool) -> BoxFuture<'_, DiskResult<()>> {
        self.run("write", move |f| {
            f.write_all_at(&data, offset)?;
            if sync { f.sync_data() } else { Ok(()) }
        })
    }

    fn truncate(&self, len: u64) -> BoxFuture<'_, DiskResult<()>> {
        self.run("truncate", move |f| f.set_len(len))
    }

    fn sync(&self) -> BoxFuture<'_, DiskResult<()>> {
        self.run("sync", fs::File::sync_data)
    }
}
