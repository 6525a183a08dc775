//! The `rdv` binary under measurement.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The binary: `RDV_BIN` if that is set, else the release build of this workspace, brought up to date first.
///
/// # Errors
/// If it cannot be built or found.
pub fn rdv() -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("RDV_BIN") {
        let path = PathBuf::from(given);
        if path.is_file() {
            return Ok(path);
        }
        return Err(format!("RDV_BIN names no file: {}", path.display()).into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut build = Command::new(cargo);
    // What cargo tells this program about its own package would make build scripts run anew.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| is_about_a_package(&name.to_string_lossy()))
    {
        build.env_remove(name);
    }
    let built = build
        .args([
            "build",
            "--release",
            "-p",
            "rdv-cli",
            "--message-format=json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the release build of rdv failed".into());
    }
    executable(&String::from_utf8(built.stdout)?).ok_or_else(|| "cargo named no executable".into())
}

fn is_about_a_package(name: &str) -> bool {
    let parts = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_CRATE_",
        "CARGO_BIN_",
        "CARGO_PRIMARY_",
    ];
    name == "OUT_DIR" || parts.iter().any(|part| name.starts_with(part))
}

/// The last executable that cargo's messages, one JSON object per line, name.
fn executable(messages: &str) -> Option<PathBuf> {
    const FIELD: &str = "\"executable\":\"";
    let line = messages.lines().rev().find(|line| line.contains(FIELD))?;
    let (_, rest) = line.split_once(FIELD)?;
    let (path, _) = rest.split_once('"')?;
    Some(PathBuf::from(path.replace("\\\\", "\\")))
}

/// `rdv` in surroundings of its own: nothing that the user has configured, its state in `home`.
#[must_use]
pub fn command(rdv: &Path, home: &Path) -> Command {
    let mut command = Command::new(rdv);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RDV_"))
    {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("XDG_DATA_HOME", home)
        .env("XDG_CACHE_HOME", home);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_the_messages_of_cargo() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"executable\":null,\"fresh\":true}\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/release/rdv\",\"fresh\":true}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/rdv")));
        assert_eq!(executable("{\"executable\":null}"), None);
    }
}
