//! Where the files of a measurement lie, and what is in them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of its own in memory (`/dev/shm`) if the system has that, else where temporary files go. Removed when dropped.
///
/// # Errors
/// If the folder cannot be made.
pub fn folder() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("rdv-bench-")
        .tempdir_in(place)
}

/// Numbers that look random and are the same in each run (SplitMix64). Incompressible, and good for nothing else.
#[derive(Debug, Clone)]
pub struct Noise(pub u64);

impl Noise {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Fills `buffer`.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }
}

/// Writes one file of `bytes` bytes of noise.
///
/// # Errors
/// As the file system says.
pub fn write_big(path: &Path, bytes: u64) -> io::Result<()> {
    let mut noise = Noise(1);
    let mut block = vec![0; 1 << 20];
    let mut out = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        noise.fill(&mut block);
        let now = left.min(block.len() as u64);
        out.write_all(&block[..now as usize])?;
        left -= now;
    }
    Ok(())
}

/// Writes `files` files of 1 to 8 KiB, a hundred to a folder and ten folders to a folder. Returns the bytes of all.
///
/// # Errors
/// As the file system says.
pub fn write_small(root: &Path, files: u32) -> io::Result<u64> {
    let mut noise = Noise(2);
    let mut block = vec![0; 8 << 10];
    let mut total = 0;
    for number in 0..files {
        let folder = root
            .join(format!("part {}", number / 1000))
            .join(format!("{:02}", number / 100 % 10));
        fs::create_dir_all(&folder)?;
        let length = 1024 + (noise.next_u64() % (7 * 1024 + 1)) as usize;
        noise.fill(&mut block[..length]);
        let mut out = File::create(folder.join(format!("file-{number:05}.bin")))?;
        out.write_all(&block[..length])?;
        total += length as u64;
    }
    Ok(total)
}

/// Whether two files hold the same bytes.
///
/// # Errors
/// As the file system says.
pub fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut left)?;
        if length == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..length])?;
        if left[..length] != right[..length] {
            return Ok(false);
        }
    }
}

/// Whether two folders hold the same files with the same bytes.
///
/// # Errors
/// As the file system says.
pub fn same_tree(one: &Path, other: &Path) -> io::Result<bool> {
    let (names, others) = (names(one)?, names(other)?);
    if names != others {
        return Ok(false);
    }
    for name in names {
        let (one, other) = (one.join(&name), other.join(&name));
        let same = match (one.is_dir(), other.is_dir()) {
            (true, true) => same_tree(&one, &other)?,
            (false, false) => same_file(&one, &other)?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Writes a short file.
///
/// # Errors
/// As the file system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_differ_by_one_byte_and_by_one_name() -> io::Result<()> {
        let place = folder()?;
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        let total = write_small(&one, 120)?;
        assert_eq!(total, write_small(&other, 120)?);
        assert!(same_tree(&one, &other)?);

        let file = other.join("part 0/01/file-00119.bin");
        let mut bytes = fs::read(&file)?;
        bytes[0] ^= 1;
        fs::write(&file, &bytes)?;
        assert!(!same_tree(&one, &other)?);

        fs::remove_file(&file)?;
        assert!(!same_tree(&one, &other)?);
        Ok(())
    }

    #[test]
    fn a_big_file_has_its_size() -> io::Result<()> {
        let place = folder()?;
        let path = place.path().join("big");
        write_big(&path, (1 << 20) + 5)?;
        assert_eq!(fs::metadata(&path)?.len(), (1 << 20) + 5);
        assert!(same_file(&path, &path)?);
        Ok(())
    }
}
