//! The records of the last transfers: a file each in the state folder, for the user alone.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::record::Record;
use crate::state;

/// How many are kept.
const KEPT: usize = 100;
/// Bytes of one; a larger file is not ours.
const LENGTH_MAX: u64 = 1 << 20;

/// Keeps a record, and forgets the oldest if there are more than [`KEPT`]; whether that worked. Without a folder to keep it in there
/// is none.
pub(crate) fn keep(record: &Record) -> bool {
    let Some(folder) = state::transfers() else {
        return false;
    };
    match write(&folder, record).and_then(|()| forget_old(&folder)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the record of the transfer could not be kept");
            false
        }
    }
}

/// All records, the latest first. What cannot be read is left out.
pub(crate) fn all() -> Result<Vec<Record>, Failure> {
    let Some(folder) = state::transfers() else {
        return Ok(Vec::new());
    };
    let mut records: Vec<Record> = files(&folder)
        .map_err(|error| unusable(&folder, &error))?
        .iter()
        .filter_map(|file| read(file).ok())
        .collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.started_ms));
    Ok(records)
}

/// The record of one transfer.
pub(crate) fn one(id: &str) -> Result<Record, Failure> {
    let unknown = || {
        Failure::new(
            Exit::USAGE,
            format!(
                "there is no transfer {}; `rdv transfers` lists those that are kept",
                rdv::show(id, 64)
            ),
        )
    };
    let id = id.to_ascii_lowercase();
    if !is_id(&id) {
        return Err(unknown());
    }
    let folder = state::transfers().ok_or_else(unknown)?;
    let file = path_of(&folder, &id);
    match read(&file) {
        Ok(record) => Ok(record),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown()),
        Err(error) => Err(unusable(&file, &error)),
    }
}

fn write(folder: &Path, record: &Record) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let file = path_of(folder, &record.id);
    let new = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&new)
        .and_then(|mut to| {
            to.write_all(&text)?;
            to.sync_all()
        })
        .and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        fs::remove_file(&new).ok();
    }
    written
}

fn read(file: &Path) -> io::Result<Record> {
    let mut text = Vec::new();
    fs::File::open(file)?
        .take(LENGTH_MAX)
        .read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn forget_old(folder: &Path) -> io::Result<()> {
    let mut files: Vec<_> = files(folder)?
        .into_iter()
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file)))
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(KEPT);
    for (_, file) in files.into_iter().take(surplus) {
        match fs::remove_file(file) {
            // Another process forgets as well.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The files that are records by their names.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str());
        if id.is_some_and(is_id) && path.extension().is_some_and(|kind| kind == "json") {
            files.push(path);
        }
    }
    Ok(files)
}

fn path_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

fn is_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::FILES, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::moved;

    #[test]
    fn a_record_is_the_users_alone_and_reads_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("rdv/transfers");
        let record = moved();
        write(&folder, &record).unwrap();
        let file = path_of(&folder, &record.id);
        assert_eq!(read(&file).unwrap(), record);
        #[cfg(unix)]
        for (path, mode) in [(&file, 0o600), (&folder, 0o700)] {
            use std::os::unix::fs::PermissionsExt as _;
            let is = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(is & 0o777, mode, "{}", path.display());
        }
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn the_oldest_are_forgotten_and_other_files_stay() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let begin = std::time::SystemTime::now();
        for number in 0..KEPT + 5 {
            let record = Record {
                id: format!("{number:08x}"),
                ..moved()
            };
            write(folder, &record).unwrap();
            let age = std::time::Duration::from_secs(u64::try_from(1000 - number).unwrap());
            let file = fs::File::options()
                .write(true)
                .open(path_of(folder, &record.id))
                .unwrap();
            file.set_modified(begin - age).unwrap();
        }
        fs::write(folder.join("notes.json"), "mine").unwrap();
        forget_old(folder).unwrap();
        let kept = files(folder).unwrap();
        assert_eq!(kept.len(), KEPT);
        assert!(!kept.contains(&path_of(folder, "00000004")));
        assert!(kept.contains(&path_of(folder, "00000005")));
        assert!(folder.join("notes.json").exists());
    }

    #[test]
    fn ids_are_eight_hexadecimal_digits() {
        assert!(is_id("1a2b3c4d"));
        for bad in ["", "1a2b3c4", "../../x", "1a2b3c4d5", "1a2b3c4g"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
