//! A small disk: a tmpfs of a few MiB. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::netns::skip;

/// A mounted folder; gone when dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts `mebibytes` on the folder `path`, which is made. None, with a loud word, where that cannot be done.
    ///
    /// # Panics
    /// Instead of skipping where `RDV_TESTS_SKIP_NOTHING` is set.
    #[must_use]
    pub fn mount(path: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a folder");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path)
            .output();
        let reason = match mounted {
            Ok(done) if done.status.success() => {
                return Some(Self {
                    path: path.to_owned(),
                });
            }
            Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        skip(&format!("no small disk ({reason}); it needs root"));
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}
